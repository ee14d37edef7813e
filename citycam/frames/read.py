"""Read runs, their answers, maps and scores as pandas frames, through the reader of each file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from citycam.errors import CitycamError, DamagedFile
from citycam.report import elements, stored_maps
from citycam.report.compare import table_of_runs
from citycam.report.ranking import arrange
from citycam.sweep import stored
from citycam.sweep.runs import read_all

if TYPE_CHECKING:
    import pandas as pd

_T = TypeVar("_T")


def read_runs(*places: str | Path) -> pd.DataFrame:
    """Return a row for each run, ranked: the columns of comparison.csv.

    Settings that differ come first, then the run's place among the runs that it can be compared with (``rank``,
    ``p_against_best``, ``row_accuracy`` with its 95 % interval ``row_low`` to ``row_high``), every metric of its last
    epoch (``val_accuracy``, ...) and of its best (``best_val_accuracy``, ...), and what its numbers do not show
    (``marks``, ``warnings``).

    Args:
        places: folders of runs, of sweeps, or of several sweeps.

    Raises:
        CitycamError: a folder does not exist, or holds no run.
    """
    header, lines = table_of_runs(arrange(read_all([Path(place) for place in places])))
    return _frame({name: [line[place] for line in lines] for place, name in enumerate(header)})


def read_epochs(run: str | Path) -> pd.DataFrame:
    """Return a row for each epoch of a run: ``epoch``, and each metric of training and validation.

    Raises:
        CitycamError: the run has no metrics.csv, or it is damaged.
    """
    return _frame(_read(lambda: stored.read_metrics(Path(run)), run, "epochs"))


def read_answers(run: str | Path) -> pd.DataFrame:
    """Return a row for each validation picture of a run: ``picture``, ``city`` (of a binary run its class), the
    ``predicted`` one, its ``probability`` (0 to 1), ``correct``, and the ``walk``, None where walks are not known.

    Raises:
        CitycamError: the run has no predictions.csv or split.csv, or one of them is damaged.
    """
    answers = _read(lambda: stored.read_answers(Path(run) / stored.PREDICTIONS), run, "answers")
    split = _read(lambda: stored.read_split(Path(run)), run, "split")
    walks = {row.path: row.group for row in split}
    columns = {
        "picture": answers.paths,
        "city": answers.labels,
        "predicted": answers.predicted,
        "probability": [float(share) if share else None for share in answers.shares],
        "correct": [label == answer for label, answer in zip(answers.labels, answers.predicted, strict=True)],
        "walk": [walks.get(path) for path in answers.paths],
    }
    return _frame(columns)


def read_maps(run: str | Path) -> pd.DataFrame:
    """Return a row for each map of a run: ``picture``, ``digest``, ``city``, ``predicted``, ``probability``,
    ``correct``, ``method``, what it explains (``target``), whether it is ``blank``, and the ``map`` itself.

    A map is float32 (h, w) as it is shown. Where the method is signed, values below 0 are evidence against what is
    explained.

    Args:
        run: the folder of a run, or one that ``citycam explain`` made.

    Raises:
        CitycamError: there are no maps, or the file is damaged.
    """
    maps = _read(lambda: stored_maps.read_maps(Path(run)), run, "maps")
    count, methods = len(maps.names), maps.methods.items()
    columns: dict[str, list[Any]] = {
        "picture": list(maps.names) * len(methods),
        "digest": list(maps.digests) * len(methods),
        "city": list(maps.cities) * len(methods),
        "predicted": list(maps.predicted) * len(methods),
        "probability": list(maps.probability) * len(methods),
        "correct": list(maps.correct) * len(methods),
        "method": [method for method, _ in methods for _ in range(count)],
        "target": [target for _, its in methods for target in its.targets],
        "blank": [blank for _, its in methods for blank in its.blank.tolist()],
        "map": [its.smoothed(place) for _, its in methods for place in range(count)],
    }
    return _frame(columns)


def read_scores(run: str | Path) -> pd.DataFrame:
    """Return a row for each picture and each method or control of a run: ``picture``, ``digest``, ``method``, and a
    column for each score, empty where a map is blank.

    Raises:
        CitycamError: the run has no scores of maps, or they are damaged.
    """
    rows = _read(lambda: stored.read_map_scores(Path(run)), run, "scores of maps")
    columns: dict[str, Sequence[Any]] = {
        "picture": [row.picture for row in rows],
        "digest": [row.digest for row in rows],
        "method": [row.method for row in rows],
    }
    return _frame(columns | {name: [row.scores[name] for row in rows] for name in rows[0].scores})


def read_elements(study: str | Path) -> pd.DataFrame:
    """Return a row for each element of each city of a study: the columns of elements.csv, the best first.

    ``here`` and ``elsewhere`` are shares of the tested pictures, ``loss`` is what the city's evidence loses where the
    element is blurred, ``superiority`` the share of other places of the picture at which the same costs less, each with
    its 95 % interval (``here_low``, ...). ``q`` (it occurs more here) and ``used_q`` (the network uses it) are p-values
    that are corrected for all elements.

    Args:
        study: the folder of a study (SWEEP/study/RUN).

    Raises:
        CitycamError: there is no study, or it is damaged.
    """
    header, rows = elements.table(_read(lambda: elements.read_study(Path(study)), study, "study"))
    return _frame({name: [row[place] for row in rows] for place, name in enumerate(header)})


def _read(read: Callable[[], _T], run: str | Path, what: str) -> _T:
    """Return what a reader returns; one sentence where it cannot."""
    try:
        return read()
    except FileNotFoundError as error:
        raise CitycamError(f"{run} holds no {what}; give the folder of a completed run that has them.") from error
    except DamagedFile as error:
        raise CitycamError(f"{error.path} cannot be read ({error.reason}); make it again.") from error


def _frame(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise CitycamError("Frames need pandas; install it with pip install 'citycam[frames]'.") from error
    return pd.DataFrame(dict(columns))
