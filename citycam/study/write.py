"""The files of a study, which appear together or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from citycam.errors import CitycamError
from citycam.files import FOLDER_MODE, explain_os_error, write_csv
from citycam.report.elements import NAME, Element, Estimate, Study, write_study
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
    """Write study.json, elements.csv, detections.csv and the crops. The folder is replaced as a whole.

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


def table(study: Study) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of elements.csv: every number of each element of each city, the best first."""
    names = [field.name for field in fields(Element) if field.name != "crops"]
    header: list[str] = []
    for name in names:
        header += [name, f"{name}_low", f"{name}_high"] if name in ("here", "elsewhere", "loss") else [name]
    return header, [[cell for name in names for cell in _cells(getattr(element, name))] for element in study.elements]


def _cells(value: Any) -> Sequence[Any]:
    if isinstance(value, Estimate):
        return [value.value, value.low, value.high]
    return [" ".join(value) if isinstance(value, tuple) else value]


def _detections(study: Study) -> list[list[Any]]:
    return [
        [element.city, element.number, crop.picture, crop.row, crop.column, crop.score, crop.file]
        for element in study.elements
        for crop in element.crops
    ]
