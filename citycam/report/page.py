"""comparison.html: all runs on one page that opens from disk, without a network.

Content of files is embedded as JSON and shown as text, so that no name of a city or picture can become markup.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from citycam.files import write_text
from citycam.report.elements import FOLDER, STUDY_PAGE
from citycam.report.template import asset, filled

if TYPE_CHECKING:
    from citycam.report.ranking import Comparable
    from citycam.sweep.runs import RunRow

_SCRIPTS = ("core.js", "table.js", "curves.js", "maps.js", "scores.js", "gallery.js")


def write_page(path: Path, rows: Sequence[RunRow], comparables: Sequence[Comparable] = ()) -> None:
    """Write the comparison of ``rows`` as one HTML file; equal run folders give an equal file.

    It reads run folders only: curves from metrics.csv, maps from explain/maps.npz, pictures from thumbs/. Missing or
    damaged files are left out, and the page says so. It links to the studies of these runs that lie beside them.

    Args:
        path: the file.
        rows: in the initial order of the table.
        comparables: of these rows, for numbers, ranks and means over seeds; without them runs are numbered from 1.

    Raises:
        CitycamError: ``path`` cannot be written.
    """
    from citycam.report.page_data import gather

    data = gather(rows, comparables) | {"studies": _studies(path.parent, rows)}
    write_text(path, _fill(json.dumps(data, separators=(",", ":"), allow_nan=False)))


def _studies(folder: Path, rows: Sequence[RunRow]) -> list[dict[str, str]]:
    """Return the pages of the studies of runs, as addresses from ``folder`` on; quoted, so that none names a scheme."""
    places = [row.folder.resolve().parent / FOLDER / row.folder.resolve().name / STUDY_PAGE for row in rows]
    here = folder.resolve()
    return [
        {"run": place.parent.name, "href": quote(os.path.relpath(place, here).replace(os.sep, "/"), errors="replace")}
        for place in places
        if place.is_file()
    ]


def _fill(data: str) -> str:
    parts = {"/*css*/": asset("page.css"), "/*data*/": _escape(data), "/*js*/": "\n".join(map(asset, _SCRIPTS))}
    return filled("template.html", parts)


def _escape(data: str) -> str:
    # "</script>" and "<!--" would end or change the script element even within a string.
    return data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
