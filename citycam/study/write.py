"""The files of a study, which appear together or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from citycam.errors import CitycamError
from citycam.files import FOLDER_MODE, explain_os_error, write_csv
from citycam.report.elements import NAME, Study, table, write_study
from citycam.report.page_study import write_study_page
from citycam.study.crops import write_crops
from citycam.study.subject import Subject

ELEMENTS, DETECTIONS = "elements.csv", "detections.csv"


def check_output(folder: Path) -> None:
    """Refuse a folder that holds anything but a study.

    Raises:
        CitycamError: it does.
    """
    if folder.is_file():
        raise CitycamError(f"--output {folder} is a file; give a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / NAME).is_file():
        raise CitycamError(f"{folder} holds something else, which is not written over; give another --output.")


def write_files(folder: Path, study: Study, subject: Subject) -> None:
    """Write study.json, elements.csv, detections.csv, the crops and the page. The folder is replaced as a whole.

    Raises:
        CitycamError: it holds something else, or cannot be written.
    """
    check_output(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".study-", dir=folder.parent))
    except OSError as error:
        raise explain_os_error(error, folder.parent) from error
    try:
        write_study(part, study)
        header, rows = table(study)
        write_csv(part / ELEMENTS, header, rows)
        write_csv(
            part / DETECTIONS, ["city", "number", "picture", "row", "column", "score", "file"], _detections(study)
        )
        write_crops(part, study, subject)
        write_study_page(part, study)
        part.chmod(FOLDER_MODE)
        _replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _replace(part: Path, folder: Path) -> None:
    """Put a finished folder in the place of an older study."""
    aside = folder.with_name(f".{folder.name}-old")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    part.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def _detections(study: Study) -> list[list[Any]]:
    return [
        [element.city, element.number, crop.picture, crop.row, crop.column, crop.score, crop.file]
        for element in study.elements
        for crop in element.crops
    ]
