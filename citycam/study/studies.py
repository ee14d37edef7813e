"""Studies of trained runs: which run, where the files go, and the comparison that links to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from citycam.config import Partition
from citycam.errors import CitycamError
from citycam.files import check_writable
from citycam.inference.runs import TrainedRun
from citycam.report.compare import check_folder
from citycam.report.comparison import PAGE
from citycam.report.elements import FOLDER, Study
from citycam.report.names import named, read_names
from citycam.report.page import write_page
from citycam.report.ranking import arrange
from citycam.study.run import study
from citycam.study.subject import make_subject
from citycam.study.write import check_output, write_files
from citycam.study_config import StudyConfig
from citycam.sweep.runs import read_all
from citycam.words import say


def able(runs: Sequence[TrainedRun], place: Path) -> list[TrainedRun]:
    """Return the runs with a logit for each city, the best balanced accuracy first.

    Raises:
        CitycamError: there is none in ``place``.
    """
    multi = [one for one in runs if one.config.partition is Partition.multi]
    if not multi:
        raise CitycamError(
            f"{place} holds no completed run with partition=multi, and a study needs a logit for each city; train one."
        )
    return sorted(multi, key=lambda one: -float(one.record.final.get("val_balanced_accuracy") or 0.0))


def folder_of(trained: TrainedRun) -> Path:
    """Return the folder of a run's study, beside the run."""
    return trained.folder.parent / FOLDER / trained.folder.name


def make_study(
    trained: TrainedRun, settings: StudyConfig, folder: Path, *, command: str, moved_to: Path | None = None
) -> Study:
    """Study a run and write all files into ``folder``, with the names that people gave there.

    Args:
        trained: a run with partition=multi.
        settings: of the study.
        folder: a new or empty one, or that of an older study.
        command: that asked for it, for the page.
        moved_to: where its pictures are now, if they were moved.

    Raises:
        CitycamError: the run cannot be studied, or ``folder`` holds something else or cannot be written.
    """
    check_output(folder)
    check_writable(folder.parent)
    names = read_names(folder)
    subject = make_subject(trained, settings, moved_to)
    done = named(study(subject, command=command), names)
    write_files(folder, done, subject)
    return done


def link(sweep: Path) -> None:
    """Write the page of a sweep's comparison again, if there is one, since it links to studies.

    Raises:
        CitycamError: the comparison is not ours, or cannot be written.
    """
    if (sweep / PAGE).is_file():
        check_folder(sweep)
        comparables = arrange(read_all([sweep]))
        write_page(sweep / PAGE, [row for comparable in comparables for row in comparable.rows], comparables)
        say(f"{sweep / PAGE} links to it")
