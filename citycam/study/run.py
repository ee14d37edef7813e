"""The order of a study: find elements on training walks, fix them, test them on validation walks."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from citycam.errors import CitycamError
from citycam.report.elements import PICTURES, WALKS, City, Element, Study
from citycam.study.answer import Tested, city_of, element_of, notes_of, occurrence_of, ordered
from citycam.study.cause import Costs, Loss, Regions, clearest, costs, summarise
from citycam.study.cell_maps import cell_maps
from citycam.study.clusters import cluster
from citycam.study.describe import Stage, describe_peaks
from citycam.study.detectors import Detections, detect, make_detectors
from citycam.study.labels import Labels, labels_of
from citycam.study.marks import fixed_marks, sentence
from citycam.study.nominate import Nomination, nominate
from citycam.study.peaks import find_peaks
from citycam.study.prevalence import discoveries, prevalence
from citycam.study.subject import Pictures, Subject
from citycam.study.suspicious import drawn_pictures
from citycam.words import counted, duration, say


def study(subject: Subject, *, command: str) -> Study:
    """Find the elements of every city, and test them; a function of the run, its pictures and the settings alone.

    How long it takes is only said, so that a study that is made again is equal.

    Raises:
        CitycamError: the maps show nothing, or the network's stages have no cells.
    """
    start = time.monotonic()
    stage, labels = Stage.of(subject), labels_of(subject)
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
    cities = _cities(subject, stage, tested, (in_finding, in_testing), labels)
    elements = sorted({its.element for its in nominations})
    whole = time.monotonic() - start
    say(f"citycam: studied in {duration(whole)}, {duration(map_seconds)} of it maps")
    return Study(
        run=subject.run_name,
        backbone=subject.network.backbone.name,
        image_size=subject.side,
        digest=subject.run.inputs.catalog.digest,
        units=WALKS if subject.walks_known else PICTURES,
        pictures=subject.settings.pictures,
        seed=seed,
        candidates=len(detectors),
        suspicious=(*(sentence(mark, subject) for mark in fixed_marks(subject, finding)), *subject.doubts),
        notes=tuple(notes_of(subject)),
        command=command,
        cities=cities,
        occurrence=tuple(occurrence_of(subject, one, in_testing) for one in elements),
    )


def _cities(
    subject: Subject,
    stage: Stage,
    tested: Sequence[Tested],
    detections: tuple[Detections, Detections],
    labels: Labels,
) -> tuple[City, ...]:
    """Return every city with its elements, in the order of the logits, from detections in training and in validation
    pictures."""
    in_finding, in_testing = detections
    drawn, logits = drawn_pictures(subject, subject.testing), _logits(subject)
    elements: list[list[Element]] = [[] for _ in subject.cities]
    for its in tested:
        elements[its.nomination.city].append(element_of(subject, stage, its, in_testing, drawn, labels))
    return tuple(
        city_of(subject, city, ordered(own, subject, city, in_finding), logits) for city, own in enumerate(elements)
    )


def _test(subject: Subject, stage: Stage, nominations: Sequence[Nomination], detections: Detections) -> list[Tested]:
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
    return [Tested(*parts) for parts in zip(able, results, q_values, lost, used_q, strict=True)]


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


@torch.no_grad()
def _logits(subject: Subject) -> NDArray[np.floating]:
    some, step = subject.testing, 64
    parts = [
        subject.network(subject.pictures(some, slice(start, start + step))).float().cpu().numpy()
        for start in range(0, len(some), step)
    ]
    return np.concatenate(parts)
