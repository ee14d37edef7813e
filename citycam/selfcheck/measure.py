"""Measure one mark: heads for both roles and for the null twin, effects of the marks, and where maps point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from citycam.explain.targets import target_values
from citycam.report.verdicts import CONTROL, FAULTY, METHOD
from citycam.selfcheck.drawn import (
    INTEGRATED,
    Drawn,
    Looked,
    class_blind_maps,
    contrast_of,
    faulty_maps,
    method_maps,
    seconds_for,
)
from citycam.selfcheck.features import digests_of, planted_features, planted_views
from citycam.selfcheck.heads import train_head
from citycam.selfcheck.judge import Pointed, Values
from citycam.selfcheck.planting import BOTH, FIRST, ROLES, SECOND, Plan, Role, masks
from citycam.selfcheck.subject import Subject
from citycam.shards import Row
from citycam.words import counted, duration, say

# Seconds that maps may take without a word on it before they start.
_LONG = 10.0


@dataclass(frozen=True)
class MeasuredRole:
    """One role of a mark, over the N explained pictures.

    Attributes:
        head: trained on it.
        contrast: what is explained, with both marks (N,).
        effect, decoy_effect: what is lost when the original pixels are pasted back over cue or decoy (N,).
        null_effect: the same of the cue, for the null twin (N,).
        drawn: maps by name of the method, faulty variant or control.
        pointed: where they lie.
    """

    role: Role
    head: nn.Module
    contrast: Values
    effect: Values
    decoy_effect: Values
    null_effect: Values
    drawn: Mapping[str, Drawn]
    pointed: Mapping[str, Pointed]


@dataclass(frozen=True)
class Measured:
    """One mark in both roles. ``groups``: the walk of each explained picture, or the picture itself. ``masks``: bool
    (N, 2, S, S), in the order of `citycam.selfcheck.marks.COLOURS`. ``kinds``: by name; see `Scores`."""

    plan: Plan
    looked: Looked
    groups: tuple[str, ...]
    masks: NDArray[np.bool_]
    roles: tuple[MeasuredRole, ...]
    kinds: Mapping[str, str]


def measure(subject: Subject, plan: Plan, methods: Sequence[str], plain: NDArray[np.float32]) -> Measured:
    """Plant a mark, pass the changed pictures, train heads and draw maps.

    Args:
        methods: names, `integrated` among them.
        plain: features (M, D) of the training pictures without marks.
    """
    planted = _Planted(subject, plan, plain)
    digests = digests_of(subject, plan.explained)
    views = planted_views(subject, plan.mark, plan.seed, [(digest, BOTH) for digest in digests])
    looked = Looked.at(subject, views, digests)
    shapes = np.stack([masks(plan.mark, views.shape[1], digest, plan.seed) for digest in digests])
    null_head = planted.head(None)
    _say_how_long(looked, null_head, methods)
    null, kinds = _all_maps(looked, null_head, methods, plan.seed)
    roles = []
    for role in ROLES:
        head = planted.head(role)
        drawn, _ = _all_maps(looked, head, methods, plan.seed)
        contrast, null_contrast = planted.contrast(head, BOTH), planted.contrast(null_head, BOTH)
        roles.append(
            MeasuredRole(
                role,
                head,
                contrast,
                effect=contrast - planted.contrast(head, role.without_cue),
                decoy_effect=contrast - planted.contrast(head, role.without_decoy),
                null_effect=null_contrast - planted.contrast(null_head, role.without_cue),
                drawn=drawn,
                pointed={name: _pointed(its, null[name], shapes, role) for name, its in drawn.items()},
            )
        )
    return Measured(plan, looked, groups_of(subject, plan), shapes, tuple(roles), kinds)


def _say_how_long(looked: Looked, head: nn.Module, methods: Sequence[str]) -> None:
    """Say how long methods that pass whole pictures will take for the heads of a mark, if that is long."""
    seconds = (1 + len(ROLES)) * seconds_for(looked, head, methods)
    if seconds > _LONG:
        say(f"maps of {counted(len(looked.views), 'picture')} for {1 + len(ROLES)} heads: about {duration(seconds)}")


def _all_maps(
    looked: Looked, head: nn.Module, methods: Sequence[str], seed: int
) -> tuple[dict[str, Drawn], dict[str, str]]:
    """Return the maps of methods, faulty variants and controls for a head, and the kind of each."""
    own = method_maps(looked, head, methods)
    parts = {METHOD: own, FAULTY: faulty_maps(looked, head), CONTROL: class_blind_maps(looked, own[INTEGRATED], seed)}
    drawn = {name: its for maps in parts.values() for name, its in maps.items()}
    return drawn, {name: kind for kind, maps in parts.items() for name in maps}


def groups_of(subject: Subject, plan: Plan) -> tuple[str, ...]:
    """Return the walk of each explained picture; where walks are not known, or there is one, its digest."""
    walks = subject.run.inputs.groups_of(plan.explained)
    if walks is None or len(set(walks)) < 2:
        return tuple(digests_of(subject, plan.explained))
    return tuple(walks)


class _Planted:
    """Features of all views that a mark needs, and the heads that are trained on them."""

    def __init__(self, subject: Subject, plan: Plan, plain: NDArray[np.float32]) -> None:
        self._subject, self._plan, self._plain = subject, plan, plain
        keys = self._keys()
        self._features = planted_features(subject, plan.mark, plan.seed, keys)
        self._row_of = {key: row for row, key in enumerate(keys)}
        self._device = next(subject.backbone.parameters()).device

    def _keys(self) -> list[Row]:
        pictures = self._subject.run.inputs.catalog.pictures
        numbers: dict[str, set[int]] = {}
        for row in self._plan.planted.tolist():
            needed = {BOTH} if pictures[row].city == self._plan.city else {FIRST, SECOND, BOTH}
            numbers.setdefault(pictures[row].digest, set()).update(needed)
        for digest in digests_of(self._subject, self._plan.explained):
            numbers.setdefault(digest, set()).update({FIRST, SECOND, BOTH})
        return [(digest, number) for digest, some in numbers.items() for number in sorted(some)]

    def head(self, role: Role | None) -> nn.Module:
        """Return the head of a role; None is the null twin."""
        run = self._subject.run
        features = self._plain.copy()
        digests = digests_of(self._subject, run.inputs.train)
        for place, number in enumerate(self._plan.views_of(run.inputs, role).tolist()):
            if number:
                features[place] = self._features[self._row_of[digests[place], number]]
        return train_head(run, features, self._device)

    def contrast(self, head: nn.Module, number: int) -> Values:
        """Return what is explained of the explained pictures (N,), each in the view ``number``."""
        rows = [self._row_of[digest, number] for digest in digests_of(self._subject, self._plan.explained)]
        labels = self._subject.run.inputs.labels
        city = 0 if labels.n_logits == 1 else labels.classes.index(self._plan.city)
        with torch.no_grad():
            logits = head(torch.from_numpy(self._features[rows]).to(self._device))
            values = target_values(logits, [contrast_of(self._subject, city)] * len(rows))
        return values.cpu().numpy().astype(np.float64)


def _pointed(drawn: Drawn, null: Drawn, shapes: NDArray[np.bool_], role: Role) -> Pointed:
    cue, energy = drawn.meets(shapes[:, role.cue])
    decoy, _ = drawn.meets(shapes[:, role.decoy])
    null_cue, null_energy = null.meets(shapes[:, role.cue])
    return Pointed(cue, decoy, energy, null_cue, null_energy, drawn.blank)
