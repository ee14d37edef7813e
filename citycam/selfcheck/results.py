"""From what was measured to what is written: estimates, verdicts, and the sentence beside maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from citycam.report.verdicts import CONTROL, METHOD, NOT_USED, TOO_FEW, Cue, MarkCheck, Scores
from citycam.selfcheck import judge
from citycam.selfcheck.drawn import title_of
from citycam.selfcheck.judge import Pointed
from citycam.selfcheck.measure import Measured, MeasuredRole
from citycam.selfcheck.randomisation import HEAD


def mark_check(measured: Measured, randomised: Mapping[str, Mapping[str, float]]) -> MarkCheck:
    """Return estimates and verdicts of a mark; ``randomised``: see `SelfCheck`, empty where it was not measured."""
    groups = measured.groups
    used = [judge.is_used(role.effect, role.contrast) for role in measured.roles]
    # Where no cue is used nothing is judged, and both are shown.
    judged = [role for role, its in zip(measured.roles, used, strict=True) if its] or list(measured.roles)
    pooled_groups = [group for _ in judged for group in groups]
    pooled = {name: _pooled([role.pointed[name] for role in judged]) for name in measured.kinds}
    controls = {name: its for name, its in pooled.items() if measured.kinds[name] == CONTROL}
    strong = np.concatenate([judge.strongly_used(role.effect, role.contrast) for role in judged])
    methods = {}
    for name, its in pooled.items():
        word, reason = None, ""
        if measured.kinds[name] != CONTROL:
            word, reason = judge.verdict(
                its,
                controls,
                pooled_groups,
                pictures=len(groups),
                used=any(used),
                unchanged=_unchanged(randomised.get(name)),
            )
        methods[name] = _scores(name, measured.kinds[name], its, pooled_groups, strong, word, reason)
    return MarkCheck(
        measured.plan.mark.words,
        measured.plan.mark.side(measured.masks.shape[2]),
        float(measured.masks.mean()),
        len(groups),
        tuple(_cue(role, groups, its) for role, its in zip(measured.roles, used, strict=True)),
        methods,
    )


def sentence(scores: Scores) -> str:
    """Return what is printed beside the maps of a method, after "On your pictures"."""
    if scores.verdict == NOT_USED:
        return "the network hardly uses planted marks, so this method could not be checked"
    if scores.verdict == TOO_FEW:
        return "there are too few to check this method"
    return f"this method finds a planted mark in {100 * scores.cue.value:.0f} %"


def _unchanged(steps: Mapping[str, float] | None) -> float | None:
    """The larger of the rank correlations after the head alone, and after everything, was drawn anew."""
    return None if steps is None else max(steps[HEAD], list(steps.values())[-1])


def _pooled(parts: Sequence[Pointed]) -> Pointed:
    columns = ("cue", "decoy", "energy", "null_cue", "null_energy")
    values = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
    return Pointed(**values, blank=sum(part.blank for part in parts))


def _scores(
    name: str, kind: str, its: Pointed, groups: Sequence[str], strong: np.ndarray, word: str | None, reason: str
) -> Scores:
    some = [group for group, keep in zip(groups, strong.tolist(), strict=True) if keep]
    return Scores(
        title=title_of(name),
        kind=kind,
        cue=judge.share(its.cue, groups),
        decoy=judge.share(its.decoy, groups),
        energy=judge.mean(its.energy, groups),
        null_cue=judge.share(its.null_cue, groups),
        null_energy=judge.mean(its.null_energy, groups),
        strong=judge.share(its.cue[strong], some) if some and kind == METHOD else None,
        blank=its.blank,
        verdict=word,
        reason=reason,
    )


def _cue(role: MeasuredRole, groups: Sequence[str], used: bool) -> Cue:
    return Cue(
        colour=role.role.colour,
        contrast=judge.mean(role.contrast, groups),
        effect=judge.mean(role.effect, groups),
        decoy_effect=judge.mean(role.decoy_effect, groups),
        null_effect=judge.mean(role.null_effect, groups),
        used=used,
    )
