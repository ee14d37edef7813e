"""The order of a study: find elements on training walks, fix them, test them on validation walks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from citycam.errors import CitycamError
from citycam.report.elements import (
    DISTINCTIVE,
    FREQUENT,
    NEITHER,
    PICTURES,
    USED,
    WALKS,
    City,
    Crop,
    Element,
    Estimate,
    Study,
)
from citycam.statistics import clustered
from citycam.study.cause import Costs, Loss, Mean, Regions, clearest, costs, summarise
from citycam.study.cell_maps import cell_maps
from citycam.study.clusters import cluster
from citycam.study.crops import crop_name, whole_name
from citycam.study.describe import Stage, describe_peaks
from citycam.study.detectors import Detections, detect, make_detectors
from citycam.study.labels import most_held
from citycam.study.marks import fixed_marks, sentence
from citycam.study.nominate import LIFT, Nomination, nominate
from citycam.study.peaks import find_peaks
from citycam.study.prevalence import Prevalence, discoveries, prevalence, smallest_p
from citycam.study.repeats import repeats
from citycam.study.subject import FEWEST, Pictures, Subject
from citycam.study.suspicious import drawn_pictures, reasons
from citycam.words import counted, say

# False discoveries among what is called distinctive or frequent.
_LEVEL = 0.05
_CROPS = 6
# A city with fewer walks can hardly be tested.
_FEW_WALKS = 4
_ORDER = (DISTINCTIVE, FREQUENT, USED, NEITHER)


@dataclass(frozen=True)
class _Tested:
    """What the validation pictures say of a nomination. ``q``, ``used_q``: p-values corrected for all tests of their
    kind."""

    nomination: Nomination
    testing: Prevalence
    q: float
    loss: Loss
    used_q: float

    @property
    def verdict(self) -> str:
        """One of `citycam.report.elements.VERDICTS`."""
        more = self.q <= _LEVEL and self.testing.lift >= LIFT
        used = self.used_q <= _LEVEL and self.loss.contrast.value > 0
        if more:
            return DISTINCTIVE if used else FREQUENT
        return USED if used else NEITHER


def study(subject: Subject, *, command: str) -> Study:
    """Find the elements of every city, and test them; a function of the run, its pictures and the settings alone.

    Raises:
        CitycamError: the maps show nothing, or the network's stages have no cells.
    """
    start = time.monotonic()
    stage = Stage.of(subject)
    finding, testing, seed = subject.finding, subject.testing, subject.settings.seed
    say(
        f"citycam: study of {subject.network.backbone.name} at {subject.side} px: elements of "
        f"{len(subject.cities)} cities on {counted(len(finding), 'training picture')}, tested on "
        f"{counted(len(testing), 'validation picture')}"
    )
    maps = cell_maps(subject, finding)
    map_seconds = time.monotonic() - start
    peaks = find_peaks(maps)
    if not len(peaks):
        raise CitycamError(
            "No map of the training pictures has a place with evidence for its city, so there is nothing to find; the "
            "network answers without looking at the pictures. Train it longer, or look at its accuracy first."
        )
    basis, descriptions = describe_peaks(subject, stage, finding, peaks)
    clusters = cluster(descriptions, finding.cities[peaks.picture], seed)
    detectors = make_detectors(descriptions, clusters, basis)
    in_finding = detect(subject, stage, basis, detectors, finding, "find")
    nominations = nominate(in_finding.detected, finding, len(subject.cities))
    in_testing = detect(subject, stage, basis, detectors, testing, "test")
    tested = _test(subject, stage, nominations, in_testing)
    drawn = drawn_pictures(subject, testing)
    made = [(its, _element(subject, stage, its, in_testing, drawn)) for its in tested]
    logits = _logits(subject)
    cities = []
    for city in range(len(subject.cities)):
        elements = sorted((element for its, element in made if its.nomination.city == city), key=_rank)
        cities.append(_city(subject, city, _repeats_last(elements, subject, city, in_finding), logits))
    return Study(
        run=subject.run_name,
        backbone=subject.network.backbone.name,
        image_size=subject.side,
        digest=subject.run.inputs.catalog.digest,
        units=WALKS if subject.walks_known else PICTURES,
        pictures=subject.settings.pictures,
        seed=seed,
        seconds=round(time.monotonic() - start, 1),
        map_seconds=round(map_seconds, 1),
        suspicious=tuple(sentence(mark, subject) for mark in fixed_marks(subject, finding)),
        notes=tuple(_notes(subject, in_testing)),
        command=command,
        cities=tuple(cities),
    )


def _test(subject: Subject, stage: Stage, nominations: Sequence[Nomination], detections: Detections) -> list[_Tested]:
    """Test every nomination on the validation pictures, which had no part in it."""
    some, seed = subject.testing, subject.settings.seed
    able = [its for its in nominations if _both(some, its)]
    results = [
        prevalence(
            detections.detected[:, its.element],
            some.walks,
            some.cities == its.city,
            ~np.isin(some.cities, its.sharers),
            seed,
        )
        for its in able
    ]
    lost = _losses(subject, stage, able, detections)
    q_values = discoveries([result.p for result in results]).tolist()
    used_q = discoveries([loss.p for loss in lost]).tolist()
    return [_Tested(*parts) for parts in zip(able, results, q_values, lost, used_q, strict=True)]


def _losses(subject: Subject, stage: Stage, able: Sequence[Nomination], detections: Detections) -> list[Loss]:
    """Return what the network loses by each nominated element, in pictures of its city that have it."""
    some = subject.testing
    pairs = sorted((place, number) for number, its in enumerate(able) for place in _blurred(some, its, detections))
    places, numbers = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True)) if pairs else _NOTHING
    elements = np.array([able[number].element for number in numbers.tolist()], dtype=np.int64)
    every = costs(subject, stage, some, Regions(places, detections.cells[places, elements], elements))
    summaries = []
    for number in range(len(able)):
        own = numbers == number
        its = Costs(every.values[own], every.superiority[own])
        summaries.append(summarise(its, [some.walks[place] for place in places[own].tolist()]))
    return summaries


def _blurred(some: Pictures, its: Nomination, detections: Detections) -> list[int]:
    """Return the pictures of its city that an element is blurred in."""
    places = np.flatnonzero((some.cities == its.city) & detections.detected[:, its.element])
    walks = [some.walks[place] for place in places.tolist()]
    return [int(places[place]) for place in clearest(detections.scores[places, its.element], walks)]


_NOTHING = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def _both(some: Pictures, its: Nomination) -> bool:
    return bool((some.cities == its.city).any() and (~np.isin(some.cities, its.sharers)).any())


def _element(subject: Subject, stage: Stage, its: _Tested, detections: Detections, drawn: NDArray[np.bool_]) -> Element:
    some, nomination = subject.testing, its.nomination
    own = np.flatnonzero(some.cities == nomination.city)
    element = nomination.element
    having = np.flatnonzero(detections.detected[own, element])
    places = own[having]
    best = places[np.argsort(-detections.scores[places, element], kind="stable")]
    label, share = most_held(
        subject, stage, [some.names[place] for place in best.tolist()], detections.places[best, element]
    )
    walks = [some.walks[place] for place in own.tolist()]
    testing = its.testing
    return Element(
        number=element,
        key=nomination.key,
        name=None,
        city=subject.cities[nomination.city],
        same_as=None,
        shared_with=tuple(subject.cities[city] for city in nomination.sharers if city != nomination.city),
        verdict=its.verdict,
        suspicious=tuple(reasons(stage, detections.places[places, element], walks, drawn[own], having)),
        finding_here=nomination.finding.here,
        finding_elsewhere=nomination.finding.elsewhere,
        here=_estimate(testing.here, testing.here_interval),
        elsewhere=_estimate(testing.elsewhere, testing.elsewhere_interval),
        lift=testing.lift if np.isfinite(testing.lift) else None,
        p=testing.p,
        q=its.q,
        loss=_mean(its.loss.contrast),
        superiority=_mean(its.loss.superiority),
        used_p=its.loss.p,
        used_q=its.used_q,
        pictures=len(places),
        blurred=its.loss.pictures,
        walks=its.loss.walks,
        weak=its.loss.weak,
        label=label,
        label_share=share,
        crops=tuple(_crop(subject, stage, nomination, place, detections) for place in _spread(some, best)[:_CROPS]),
    )


def _spread(some: Pictures, best: NDArray[np.int64]) -> list[int]:
    """Return pictures in order, the best of each walk first: those of one walk show the same thing again."""
    turns: Counter[str] = Counter()
    order = []
    for rank, place in enumerate(best.tolist()):
        order.append((turns[some.walks[place]], rank, place))
        turns[some.walks[place]] += 1
    return [place for _, _, place in sorted(order)]


def _crop(subject: Subject, stage: Stage, its: Nomination, place: int, detections: Detections) -> Crop:
    row, column = divmod(int(detections.places[place, its.element]), len(stage.cells.columns))
    return Crop(
        file=crop_name(subject.cities[its.city], its.element, subject.testing.digests[place]),
        whole=whole_name(subject.testing.digests[place]),
        picture=subject.testing.names[place],
        row=float(min(1.0, max(0.0, stage.cells.rows[row]))),
        column=float(min(1.0, max(0.0, stage.cells.columns[column]))),
        score=float(detections.scores[place, its.element]),
    )


def _city(subject: Subject, city: int, elements: list[Element], logits: NDArray[np.floating]) -> City:
    some = subject.testing
    own = np.flatnonzero(some.cities == city)
    answers = logits[own].argmax(axis=1)
    walks = [some.walks[place] for place in own.tolist()]
    right = answers == city
    wrong = Counter(answers[answers != city].tolist()).most_common(1)
    count = len(set(walks))
    return City(
        name=subject.cities[city],
        finding=int((subject.finding.cities == city).sum()),
        testing=len(own),
        walks=count,
        recall=_estimate(float(right.mean()), clustered(right, walks)) if len(own) else _NOT_KNOWN,
        taken_for=subject.cities[wrong[0][0]] if wrong else None,
        taken_share=wrong[0][1] / len(own) if wrong else None,
        notes=tuple(_city_notes(subject, city, count)),
        elements=tuple(elements),
    )


_NOT_KNOWN = Estimate(None, None, None)


def _rank(element: Element) -> tuple[int, float]:
    difference = (element.here.value or 0.0) - (element.elsewhere.value or 0.0)
    return _ORDER.index(element.verdict), -difference


def _repeats_last(elements: Sequence[Element], subject: Subject, city: int, in_finding: Detections) -> list[Element]:
    """Return the elements of a city, of each verdict those last that repeat another."""
    numbers = [element.number for element in elements]
    same = repeats(numbers, in_finding, subject.finding.cities == city)
    marked = [replace(element, same_as=one) for element, one in zip(elements, same, strict=True)]
    return sorted(marked, key=lambda element: (_ORDER.index(element.verdict), element.same_as is not None))


def _city_notes(subject: Subject, city: int, walks: int) -> list[str]:
    notes = []
    if int((subject.finding.cities == city).sum()) < FEWEST or not walks:
        notes.append("It has too few pictures to find or test elements.")
    elif subject.walks_known and walks < _FEW_WALKS:
        total = len(set(subject.testing.walks))
        notes.append(
            f"Only {counted(walks, 'walk')} of it tested elements: the smallest p-value that is possible is "
            f"{smallest_p(walks, total):.2g} before all tests are corrected for each other. Add walks."
        )
    return notes


def _notes(subject: Subject, detections: Detections) -> list[str]:
    notes = [f"{counted(detections.scores.shape[1], 'element')} were found over all cities before nomination."]
    if not subject.walks_known:
        notes.append(
            "Walks are not known, so the units of every test are pictures, not walks. Pictures of one walk are alike, "
            "so intervals are too narrow and p-values too small; name walks with data.group or data.table."
        )
    return notes


@torch.no_grad()
def _logits(subject: Subject) -> NDArray[np.floating]:
    some, step = subject.testing, 64
    parts = [
        subject.network(subject.pictures(some, slice(start, start + step))).float().cpu().numpy()
        for start in range(0, len(some), step)
    ]
    return np.concatenate(parts)


def _estimate(value: float, interval: tuple[float, float]) -> Estimate:
    low, high = interval
    known = np.isfinite([low, high]).all()
    return Estimate(
        value if np.isfinite(value) else None, float(low) if known else None, float(high) if known else None
    )


def _mean(mean: Mean) -> Estimate:
    return _estimate(mean.value, (mean.low, mean.high))
