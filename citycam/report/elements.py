"""study.json: the elements of every city. Its type and its only reader."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.errors import DamagedFile
from citycam.files import read_json, reason_of, to_dict, write_json
from citycam.report.typed import fitted
from citycam.words import counted

SCHEMA = 3
NAME, STUDY_PAGE, FOLDER, CROPS = "study.json", "index.html", "study", "crops"
# ``distinctive``: it occurs more here, and the network loses by it. ``frequent here``: the first alone. ``used``: the
# second alone, which is no proof of the first. ``neither``.
DISTINCTIVE, FREQUENT, USED, NEITHER = "distinctive", "frequent here", "used, not proven", "neither"
# What the tests count as one: a walk, or a picture where walks are not known.
WALKS, PICTURES = "walks", "pictures"
VERDICTS = (DISTINCTIVE, FREQUENT, USED, NEITHER)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval; None where it is not known."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Crop:
    """Where an element was found in a picture. ``file``, ``whole``: of the crop and of the whole picture, in the
    study's folder. ``row``, ``column``: of its middle, as shares of the picture. ``score``: above its threshold."""

    file: str
    whole: str
    picture: str
    row: float
    column: float
    score: float

    def __post_init__(self) -> None:
        for name in (self.file, self.whole):
            if Path(name).parts[:1] != (CROPS,) or ".." in Path(name).parts or "\0" in name:
                raise ValueError("a crop lies outside the study's folder")


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a city.

    Attributes:
        number: of the element; cities that share it have the same.
        key: of the element by the training pictures that have it, for names.csv; cities that share it have the same.
        name: that people gave it in names.csv.
        city, shared_with: its city, and others that have it at least half as often.
        same_as: the number of a better one of the city that mostly looks at the same places.
        verdict: one of `VERDICTS`.
        suspicious: sentences on why it may be no thing of the city; none for most.
        finding_here, finding_elsewhere: shares of training pictures that have it.
        here, elsewhere: the same of validation pictures, where it is tested; sharers are no elsewhere.
        lift: here / elsewhere; None where it never occurs elsewhere.
        p, q: of the permutation test, and corrected for all tests of the study.
        loss: of the city's contrast, where it is blurred, more than where as much is blurred elsewhere in the picture.
        superiority: the share of such other places that cost less; 0.5 for what does not matter.
        used_p, used_q: that it costs no more than other places, and corrected for all tests of the study.
        pictures, walks: validation pictures of the city that have it, and their walks.
        blurred: the pictures of these that it was blurred in.
        weak: whether they are too few walks for the interval of the loss.
        label, label_share: what most of its regions hold, where label maps are known, and in which share of them.
        crops: the highest detections in validation pictures of the city, the highest first.
    """

    number: int
    key: str
    name: str | None
    city: str
    same_as: int | None
    shared_with: tuple[str, ...]
    verdict: str
    suspicious: tuple[str, ...]
    finding_here: float
    finding_elsewhere: float
    here: Estimate
    elsewhere: Estimate
    lift: float | None
    p: float
    q: float
    loss: Estimate
    superiority: Estimate
    used_p: float
    used_q: float
    pictures: int
    blurred: int
    walks: int
    weak: bool
    label: str | None
    label_share: float | None
    crops: tuple[Crop, ...]

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"{self.verdict[:40]!r} is no verdict")


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole picture. ``file``: in the study's folder; ``picture``: its name in the data."""

    file: str
    picture: str


@dataclass(frozen=True, slots=True)
class City:
    """A city of a study.

    Attributes:
        name: of the city.
        finding, testing: pictures that elements were found on, and tested on.
        walks: of the tested pictures.
        recall: the share of its tested pictures that the network answers right, over walks.
        taken_for: what it answers instead most often, and in which share of all tested pictures of the city; None where
            it is never wrong.
        typical: tested pictures of it that the network is surest of, of several walks.
        notes: what cannot be known of it.
        elements: the best first.
    """

    name: str
    finding: int
    testing: int
    walks: int
    recall: Estimate
    taken_for: str | None
    taken_share: float | None
    typical: tuple[Whole, ...]
    notes: tuple[str, ...]
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """How often an element occurs: ``shares`` of the tested pictures of each city, means over walks; None without a
    picture."""

    number: int
    shares: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """The elements of every city by one network.

    Attributes:
        run: the folder's name of the run.
        backbone, image_size: of the network.
        digest: of the data.
        units: ``walks``, or ``pictures`` where walks are not known.
        pictures, seed: settings.
        candidates: groups of alike places that elements were nominated from.
        suspicious: sentences on what else could tell cities, said before anything else.
        notes: what holds for the whole study.
        command: that asked for it.
        cities: in the order of the logits.
        occurrence: of every nominated element, in every city.
    """

    run: str
    backbone: str
    image_size: int
    digest: str
    units: str
    pictures: int
    seed: int
    candidates: int
    suspicious: tuple[str, ...]
    notes: tuple[str, ...]
    command: str
    cities: tuple[City, ...]
    occurrence: tuple[Occurrence, ...]

    def of_walks(self, count: int) -> str:
        """Return the words that follow a number of pictures on their walks; none where walks are not known."""
        return f" of {counted(count, 'walk')}" if self.units == WALKS else ""

    @property
    def elements(self) -> tuple[Element, ...]:
        """Of all cities."""
        return tuple(element for city in self.cities for element in city.elements)


def write_study(folder: Path, study: Study) -> None:
    """Write study.json into ``folder``."""
    write_json(folder / NAME, {"schema": SCHEMA} | to_dict(study))


def read_study(folder: Path) -> Study:
    """Return the study in ``folder``.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is damaged, or of a newer version.
    """
    path = folder / NAME
    try:
        content = read_json(path)
        if content["schema"] != SCHEMA:
            raise ValueError("it is no study that this version knows")
        return fitted(content, Study)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise DamagedFile(path, reason_of(error)) from error


_ESTIMATES = ("here", "elsewhere", "loss", "superiority")


def table(study: Study) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of elements.csv: every number of each element of each city, the best first."""
    names = [field.name for field in dataclasses.fields(Element) if field.name != "crops"]
    header: list[str] = []
    for name in names:
        header += [name, f"{name}_low", f"{name}_high"] if name in _ESTIMATES else [name]
    return header, [[cell for name in names for cell in _cells(getattr(element, name))] for element in study.elements]


def cities_table(study: Study) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of cities.csv: pictures of each city, the share told right, and what it is taken for."""
    header = ["city", "finding", "testing", "walks", "recall", "recall_low", "recall_high", "taken_for", "taken_share"]
    return header, [
        [city.name, city.finding, city.testing, city.walks, *_cells(city.recall), city.taken_for, city.taken_share]
        for city in study.cities
    ]


def occurrence_table(study: Study) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of occurrence.csv: an element a row, a city a column."""
    header = ["number", *(city.name for city in study.cities)]
    return header, [[one.number, *one.shares] for one in study.occurrence]


def _cells(value: Any) -> Sequence[Any]:
    if isinstance(value, Estimate):
        return [value.value, value.low, value.high]
    return ["; ".join(value) if isinstance(value, tuple) else value]
