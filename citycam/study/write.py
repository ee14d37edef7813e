"""The files of a study."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from citycam.errors import CitycamError, DamagedFile
from citycam.files import FOLDER_MODE, explain_os_error, write_csv
from citycam.report.elements import NAME, Study, cities_table, occurrence_table, read_study, table, write_study
from citycam.report.names import write_names
from citycam.report.page_study import write_study_page
from citycam.study.crops import write_crops
from citycam.study.subject import Subject

ELEMENTS, DETECTIONS = "elements.csv", "detections.csv"
CITIES, OCCURRENCE = "cities.csv", "occurrence.csv"


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
    """Write study.json, the tables, names.csv if it is not there, the crops and the page.

    A new folder appears whole. In that of an older study each file is replaced, and only crops that it names are
    removed, so that what people have put beside them stays.

    Raises:
        CitycamError: the folder holds something else, or cannot be written.
    """
    check_output(folder)
    try:
        if (folder / NAME).is_file():
            stale = _crops_of(folder) - _files(study)
            _write(folder, study, subject)
            for name in stale:
                (folder / name).unlink(missing_ok=True)
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".study-", dir=folder.parent))
        try:
            _write(part, study, subject)
            part.chmod(FOLDER_MODE)
            part.replace(folder)  # which may be there, and is empty then
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise explain_os_error(error, folder) from error


def _write(folder: Path, study: Study, subject: Subject) -> None:
    """Write every file, study.json last."""
    write_crops(folder, study, subject)
    header, rows = table(study)
    write_csv(folder / ELEMENTS, header, rows)
    write_csv(folder / DETECTIONS, ["city", "number", "picture", "row", "column", "score", "file"], _detections(study))
    write_csv(folder / CITIES, *cities_table(study))
    write_csv(folder / OCCURRENCE, *occurrence_table(study))
    write_names(folder, study)
    write_study_page(folder, study)
    write_study(folder, study)


def _crops_of(folder: Path) -> set[str]:
    """Return the crops and pictures that an older study names; none if it is damaged."""
    try:
        return _files(read_study(folder))
    except DamagedFile:
        return set()


def _files(study: Study) -> set[str]:
    crops = {name for element in study.elements for crop in element.crops for name in (crop.file, crop.whole)}
    return crops | {whole.file for city in study.cities for whole in city.typical}


def _detections(study: Study) -> list[list[Any]]:
    return [
        [element.city, element.number, crop.picture, crop.row, crop.column, crop.score, crop.file]
        for element in study.elements
        for crop in element.crops
    ]
