"""The answer of a study: what its tests say of each element and of each city."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from citycam.report.elements import (
    DISTINCTIVE,
    FREQUENT,
    NEITHER,
    USED,
    City,
    Crop,
    Element,
    Estimate,
    Occurrence,
    Whole,
)
from citycam.statistics import clustered
from citycam.study.cause import Loss, Mean
from citycam.study.crops import crop_name, whole_name
from citycam.study.describe import Stage
from citycam.study.detectors import Detections
from citycam.study.labels import Labels, most_held
from citycam.study.nominate import LIFT, Nomination
from citycam.study.prevalence import Prevalence, mean_share, smallest_p
from citycam.study.repeats import repeats
from citycam.study.subject import FEWEST, Pictures, Subject
from citycam.study.suspicious import reasons
from citycam.words import counted

# False discoveries among what is said to occur more here, and among what is said to be used.
_LEVEL = 0.05
_CROPS, _TYPICAL = 6, 4
# A city with fewer walks can hardly be tested.
_FEW_WALKS = 4
_ORDER = (DISTINCTIVE, FREQUENT, USED, NEITHER)


@dataclass(frozen=True)
class Tested:
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


def element_of(
    subject: Subject, stage: Stage, its: Tested, detections: Detections, drawn: NDArray[np.bool_], labels: Labels
) -> Element:
    """Return an element of a city; ``drawn``: which of all tested pictures are no photographs, bool (N,)."""
    some, nomination = subject.testing, its.nomination
    own = np.flatnonzero(some.cities == nomination.city)
    element = nomination.element
    having = np.flatnonzero(detections.detected[own, element])
    places = own[having]
    best = places[np.argsort(-detections.scores[places, element], kind="stable")]
    label, share = most_held(
        labels, stage, [some.names[place] for place in best.tolist()], detections.places[best, element]
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


def city_of(subject: Subject, city: int, elements: list[Element], logits: NDArray[np.floating]) -> City:
    """Return a city with its elements; ``logits`` (N, K): of all tested pictures."""
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
        typical=tuple(_typical(some, own, logits[own], city)),
        notes=tuple(_city_notes(subject, city, count)),
        elements=tuple(elements),
    )


def _typical(some: Pictures, own: NDArray[np.int64], logits: NDArray[np.floating], city: int) -> Iterator[Whole]:
    """Yield the pictures of a city (M,) that the network is surest of by their logits (M, K), the best of each walk
    first."""
    sure = special.log_softmax(logits.astype(np.float64), axis=1)[:, city]
    right = np.flatnonzero(logits.argmax(axis=1) == city)
    surest = own[right[np.argsort(-sure[right], kind="stable")]]
    for place in _spread(some, surest)[:_TYPICAL]:
        yield Whole(whole_name(some.digests[place]), some.names[place])


def occurrence_of(subject: Subject, element: int, detections: Detections) -> Occurrence:
    """Return how often an element occurs in every city."""
    some = subject.testing
    own = [some.cities == city for city in range(len(subject.cities))]
    shares = (mean_share(detections.detected[:, element], some.walks, its) if its.any() else None for its in own)
    return Occurrence(element, tuple(shares))


_NOT_KNOWN = Estimate(None, None, None)


def _rank(element: Element) -> tuple[int, float]:
    difference = (element.here.value or 0.0) - (element.elsewhere.value or 0.0)
    return _ORDER.index(element.verdict), -difference


def ordered(elements: Sequence[Element], subject: Subject, city: int, in_finding: Detections) -> list[Element]:
    """Return the elements of a city, the best first, of each verdict those last that repeat another."""
    elements = sorted(elements, key=_rank)
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


def notes_of(subject: Subject) -> list[str]:
    """Return what cannot be known in the whole study."""
    notes = []
    if not subject.walks_known:
        notes.append(
            "Walks are not known, so the units of every test are pictures, not walks. Pictures of one walk are alike, "
            "so intervals are too narrow and p-values too small; name walks with data.group or data.table."
        )
    return notes


def _estimate(value: float, interval: tuple[float, float]) -> Estimate:
    low, high = interval
    known = np.isfinite([low, high]).all()
    return Estimate(
        value if np.isfinite(value) else None, float(low) if known else None, float(high) if known else None
    )


def _mean(mean: Mean) -> Estimate:
    return _estimate(mean.value, (mean.low, mean.high))
