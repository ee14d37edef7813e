"""The order of the check: plant, pass what changed, train heads, draw maps, draw weights anew, judge."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from citycam.explain.methods import METHODS, check_method
from citycam.report.verdicts import METHOD, NOT_USED, MarkCheck, Pictures, SelfCheck
from citycam.selfcheck.drawn import INTEGRATED, Drawn, title_of
from citycam.selfcheck.features import plain_features
from citycam.selfcheck.judge import UNCHANGED
from citycam.selfcheck.marks import STRONG, WEAK
from citycam.selfcheck.measure import Measured, measure
from citycam.selfcheck.planting import Plan, make_plan
from citycam.selfcheck.randomisation import HEAD, class_swap, randomised
from citycam.selfcheck.results import mark_check, sentence
from citycam.selfcheck.subject import Subject
from citycam.words import counted, decimal, say

_EXAMPLES = 4


@dataclass(frozen=True)
class Example:
    """An explained picture for the page: its view, the pixels of both marks (2, S, S), and its map by each method in
    the first role."""

    name: str
    view: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    maps: Mapping[str, Drawn]


@dataclass(frozen=True)
class Outcome:
    """What the check found, and pictures that show it."""

    check: SelfCheck
    examples: tuple[Example, ...]


def selfcheck(subject: Subject, *, every_mark: bool, command: str) -> Outcome:
    """Check which methods' maps find planted marks; a function of settings, pictures and weights alone.

    Args:
        every_mark: also weak marks and a smaller one.
        command: that asked for it.

    Raises:
        CitycamError: the city has too few pictures, a mark does not fit, or a method does not fit the network.
    """
    start = time.monotonic()
    config, inputs = subject.run.config, subject.run.inputs
    torch.set_num_threads(subject.run.resolved.threads)
    asked = tuple(config.explain.methods) or (INTEGRATED,)
    methods = tuple(dict.fromkeys((*asked, INTEGRATED)))
    for name in methods:
        if name in METHODS:
            check_method(name, subject.backbone.pool_kind)
    seed = config.explain.seed
    plans = [make_plan(inputs, mark, seed) for mark in (STRONG, *(WEAK if every_mark else ()))]
    _announce(subject, plans, methods)
    plain = plain_features(subject, inputs.train)
    measured = [measure(subject, plan, methods, plain) for plan in plans]
    first = measured[0]
    changes = randomised(first.looked, first.roles[0].head, methods, seed)
    marks = tuple(mark_check(its, changes if its is first else {}) for its in measured)
    swap = class_swap(first.looked, first.roles[0].head, methods)
    check = SelfCheck(
        body=subject.key,
        pictures=_pictures(subject, first),
        seed=seed,
        seconds=round(time.monotonic() - start, 1),
        marks=marks,
        randomised=changes,
        class_swap=swap,
        verdicts={name: str(marks[0].methods[name].verdict) for name in methods},
        sentences={name: sentence(marks[0].methods[name]) for name in methods},
        asked=asked,
        notes=(*_notes(subject, marks[0], first), *_unspecific(changes, swap)),
        command=command,
    )
    return Outcome(check, _examples(subject, first))


def _announce(subject: Subject, plans: Sequence[Plan], methods: Sequence[str]) -> None:
    config, inputs = subject.run.config, subject.run.inputs
    say(
        f"citycam: selfcheck of {subject.key.backbone} at {config.image_size} px on "
        f"{counted(len(inputs.train), 'picture')} and {len(plans[0].explained)} held-out ones of {inputs.target}; "
        f"{counted(len(plans), 'mark')}, by {', '.join(methods)}"
    )


def _pictures(subject: Subject, measured: Measured) -> Pictures:
    inputs, held_out = subject.run.inputs, len(measured.groups)
    return Pictures(
        kind=inputs.catalog.kind,
        root=str(inputs.catalog.root),
        digest=inputs.catalog.digest,
        city=inputs.target,
        partition=subject.run.config.partition.name,
        held_out=held_out,
        trained=len(inputs.train),
        intervals_over="pictures" if set(measured.groups) == set(measured.looked.digests) else "walks",
    )


def _notes(subject: Subject, check: MarkCheck, measured: Measured) -> list[str]:
    """What a reader of the verdicts must know."""
    notes = []
    if not subject.kept:
        notes.append(
            "The body was fine-tuned; here it is frozen as it is, and only a head was trained on planted pictures."
        )
    walks = subject.run.inputs.groups_of(measured.plan.explained)
    if walks is not None and len(set(walks)) < 2:
        notes.append("The held-out pictures are of one walk, so intervals are over pictures, and may be too narrow.")
    unused = [cue.colour for cue in check.cues if not cue.used]
    if unused and len(unused) < len(check.cues):
        notes.append(f"The {unused[0]} mark was not used as a cue, and is not judged.")
    if any(its.verdict == NOT_USED for its in check.methods.values() if its.kind == METHOD):
        notes.append("No cue was used by the network, so no method is judged.")
    return notes


def _unspecific(changes: Mapping[str, Mapping[str, float]], swap: Mapping[str, float]) -> list[str]:
    """A note on each method whose maps stay nearly the same without the trained head, or for another class."""
    notes = []
    for name, steps in changes.items():
        stays = {"a head of random weights": steps[HEAD], "the class that comes next": swap.get(name, 0.0)}
        same = [f"{what} (rank correlation {decimal(its, 2)})" for what, its in stays.items() if its >= UNCHANGED]
        if same:
            notes.append(f"{title_of(name)} draws nearly the same maps for {' and for '.join(same)}.")
    return notes


def _examples(subject: Subject, measured: Measured) -> tuple[Example, ...]:
    pictures, role = subject.run.inputs.catalog.pictures, measured.roles[0]
    shown = [name for name, kind in measured.kinds.items() if kind == METHOD]
    return tuple(
        Example(
            pictures[row].name,
            measured.looked.views[place],
            measured.masks[place],
            {name: Drawn(role.drawn[name].maps[place : place + 1], role.drawn[name].cells) for name in shown},
        )
        for place, row in enumerate(measured.plan.explained.tolist()[:_EXAMPLES])
    )
