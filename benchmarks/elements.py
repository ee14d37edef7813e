"""Does a study find what is distinctive of each town? On toytown it is known: three features of each.

    python benchmarks/elements.py [--pictures N] [--seed N]

Trains multi, Adam, 10 epochs on toytown with three seeds (or takes the runs that are there), and studies each. With
``--seed`` the towns are rendered anew: walks that no setting of a study was chosen on.

An element is planted if what most of its regions hold is a feature of its town. Counted are the features among each
town's first three distinctive elements, how many of all distinctive elements are planted, and in how many towns the
first is.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path

from results import RESULTS, Ratio, report
from truths import ROOT, table, trained_runs

from citycam.data.toytown.towns import TOWN_FEATURES
from citycam.doors import door
from citycam.inference.runs import find_runs
from citycam.report.elements import DISTINCTIVE, City, Element, Study
from citycam.study.run import study
from citycam.study.subject import make_subject
from citycam.study_config import StudyConfig

FIRST, HELD = 3, 0.5


@dataclass(frozen=True)
class Found:
    """What a study found: features among each town's first elements, distinctive elements that are planted and all of
    them, and towns whose first element is planted."""

    features: int
    planted: int
    distinctive: int
    first: int


@door
def main() -> int:
    """Train, study, count, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=120, help="per town; 120")
    parser.add_argument("--seed", type=int, default=0, help="of the towns, and the first of the three runs; 0")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the section goes; RESULTS.md")
    asked = parser.parse_args()
    name, words = sweep(asked.pictures, asked.seed)
    trained_runs(words)
    runs = find_runs(ROOT / "multirun" / name)
    studies = [study(make_subject(run, StudyConfig(), None), command="") for run in runs]
    counts = [count(one) for one in studies]
    say(asked, studies, counts)
    return 0


def sweep(pictures: int, seed: int) -> tuple[str, list[str]]:
    """Return the name of the sweep, and the words of its command."""
    name = ("pointing" if pictures == 120 else f"elements{pictures}") + (f"-seed{seed}" if seed else "")
    seeds = ",".join(str(seed + one) for one in range(3))
    more = [f"data.pictures={pictures}"] if pictures != 120 else []
    more += [f"data.seed={seed}"] if seed else []
    return name, ["-m", f"seed={seeds}", "explain=none", f"sweep.name={name}", *more]


def count(one: Study) -> Found:
    """Compare the elements of a study with the features of the towns."""
    distinctive = [element for element in one.elements if element.verdict == DISTINCTIVE]
    return Found(
        features=sum(len({str(element.label) for element in best(city) if is_planted(element)}) for city in one.cities),
        planted=sum(map(is_planted, distinctive)),
        distinctive=len(distinctive),
        first=sum(bool(best(city)) and is_planted(best(city)[0]) for city in one.cities),
    )


def best(city: City) -> list[Element]:
    """Return a town's first distinctive elements."""
    return [element for element in city.elements if element.verdict == DISTINCTIVE][:FIRST]


def is_planted(element: Element) -> bool:
    """Return whether most regions of an element hold a feature of its town."""
    return element.label in TOWN_FEATURES[element.city] and (element.label_share or 0.0) >= HELD


def say(asked: argparse.Namespace, studies: list[Study], counts: list[Found]) -> None:
    """Print and keep the section."""
    goal = 19 if asked.pictures == 120 else 22
    share = sum(one.planted for one in counts) / max(1, sum(one.distinctive for one in counts))
    walks = studies[0].cities[0].walks
    report(
        f"elements: {asked.pictures} pictures a town, seed {asked.seed}",
        how=f"`python benchmarks/elements.py --pictures {asked.pictures} --seed {asked.seed}`: toytown at 64 px, "
        f"ResNet50, {len(studies)} seeds, tested on {walks} walks a town.",
        ratios=[
            Ratio("features of 24, median of the seeds", statistics.median(one.features for one in counts), goal),
            Ratio("planted / distinctive elements", share, 0.95),
            Ratio("towns of 8 whose first is planted, median", statistics.median(one.first for one in counts), 8),
        ],
        figures={
            "features of 24, by seed": ", ".join(str(one.features) for one in counts),
            "planted of distinctive, by seed": ", ".join(f"{one.planted} of {one.distinctive}" for one in counts),
            "towns of 8 whose first is planted, by seed": ", ".join(str(one.first) for one in counts),
        },
        tables=[table(["town", *(f"seed {number}" for number in range(len(studies)))], rows(studies))],
        device="cpu",
        path=asked.results,
    )


def rows(studies: list[Study]) -> list[list[str]]:
    """Return the first elements of each town, by seed."""
    towns = [city.name for city in studies[0].cities]
    return [
        [town, *(", ".join(words(element) for element in best(one.cities[place])) or "–" for one in studies)]
        for place, town in enumerate(towns)
    ]


def words(element: Element) -> str:
    """Return what an element is, with a sign if that is not planted."""
    return f"{element.label}{'' if is_planted(element) else ' (not planted)'}"


if __name__ == "__main__":
    raise SystemExit(main())
