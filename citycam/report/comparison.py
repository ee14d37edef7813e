"""All files of a comparison: tables, figures and page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from citycam.report.compare import FILES, write_comparison
from citycam.report.page import write_page
from citycam.report.panels import write_panels
from citycam.report.ranking import Comparable

PAGE = "comparison.html"


def write_all(folder: Path, comparables: Sequence[Comparable]) -> str:
    """Write every file of a comparison into ``folder``.

    Returns:
        A line for people that names the page, and the other files beside it.

    Raises:
        CitycamError: ``folder`` holds files of these names that are not ours, or cannot be written.
    """
    from citycam.report.side_by_side import write_side_by_side

    write_comparison(folder, comparables)
    write_panels(folder / "curves.png", comparables)
    write_side_by_side(folder / "overlays.png", comparables)
    rows = [row for comparable in comparables for row in comparable.rows]
    write_page(folder / PAGE, rows, comparables)
    others = ", ".join(name for name in FILES if name != PAGE and (folder / name).exists())
    return f"Open {folder / PAGE} in a browser; beside it are {others}."
