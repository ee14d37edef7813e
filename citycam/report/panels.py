"""The curves of a whole comparison as one figure: a small panel per run on common axes, as papers show them."""

from __future__ import annotations

import contextlib
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from citycam.files import read_csv
from citycam.report import figures
from citycam.report.ranking import BEST, Comparable, Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Up to so many rows of the table each have a panel; more are drawn together, a panel for each comparable set.
MOST = 16
_MEASURES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
# Inches.
_COLUMNS, _WIDE, _HIGH, _TOP, _HEADING = 4, 2.9, 3.7, 0.45, 0.35
_FAINT = "#9dc3dd"

Curves = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class _Panel:
    """A pair of axes: its title, the curves of every run in it, which of them stand out, and the majority's line; and
    the heading of the row that begins with it."""

    title: str
    runs: tuple[Curves, ...]
    best: tuple[Curves, ...]
    majority: float | None
    heading: str = ""


def write_panels(path: Path, comparables: Sequence[Comparable]) -> bool:
    """Draw loss (above) and accuracy (below) of every row, training and validation, with the majority's line.

    Several seeds of a row are lines of one panel. Above `MOST` rows each comparable set is one panel of validation
    curves, its best row standing out.

    Returns:
        Whether there was any curve; without one nothing is written.
    """
    curves = {entry.number: _curves(entry) for one in comparables for entry in one.entries}
    shown = sum(bool(its) for its in curves.values())
    together = shown > MOST
    panels: list[_Panel] = []
    for one in comparables:
        its = [entry for entry in one.entries if curves[entry.number]]
        heading = one.title if len(comparables) > 1 else ""
        if its and together:
            panels.append(_set_panel(one, curves))
        elif its:
            panels += [_panel(one, entry, curves[entry.number], heading * (entry is its[0])) for entry in its]
    if panels:
        _draw(path, panels[:MOST], together=together, left_out=len(panels[MOST:]))
    return bool(panels)


def _curves(entry: Entry) -> tuple[Curves, ...]:
    """Points (epoch, value) of each measure from the metrics.csv of each of an entry's runs that has one."""
    found = []
    for row in entry.rows:
        with contextlib.suppress(OSError, ValueError, KeyError):
            epochs = read_csv(row.folder / "metrics.csv")
            one: Curves = {}
            for measure in _MEASURES:
                points = [(float(line["epoch"]), float(line[measure])) for line in epochs if line.get(measure)]
                one[measure] = [point for point in points if math.isfinite(point[1])]
            found.append(one)
    return tuple(one for one in found if any(one.values()))


def _panel(comparable: Comparable, entry: Entry, curves: tuple[Curves, ...], heading: str) -> _Panel:
    title = f"{entry.number}  {comparable.words(entry) or entry.rows[0].name}"
    return _Panel(title, curves, (), entry.mean("majority_accuracy"), heading)


def _set_panel(comparable: Comparable, curves: dict[int, tuple[Curves, ...]]) -> _Panel:
    runs = tuple(one for entry in comparable.entries for one in curves[entry.number])
    best = tuple(one for entry in comparable.entries if entry.rank == BEST for one in curves[entry.number])
    majority = next((found for entry in comparable.entries if (found := entry.mean("majority_accuracy"))), None)
    return _Panel(f"{comparable.title}: {len(runs)} runs", runs, best, majority)


def _draw(path: Path, panels: Sequence[_Panel], *, together: bool, left_out: int) -> None:
    places, rows, headings = _places(panels)
    # Two columns leave room for the legend.
    width = max(2 * _WIDE, *(left + _WIDE for left, _ in places)) - 0.1
    height = _TOP + rows * _HIGH + headings * _HEADING
    figure = figures.figure_of(width, height)
    reach, cut = _reach(panels)
    for panel, (left, down) in zip(panels, places, strict=True):
        if panel.heading:
            figure.text(0.1 / width, 1 - down / height, panel.heading, fontsize=11, fontweight="bold")
        for measure, below in (("loss", 1.75), ("accuracy", 3.3)):
            box = (left / width, 1 - (down + below) / height, (_WIDE - 0.45) / width, 1.4 / height)
            axes = figure.add_axes(box)
            _lines(axes, panel, measure, together=together)
            axes.set_xlim(*reach["epoch"])
            axes.set_ylim(*reach[measure])
            words = f"{measure} (cut off)" if cut and measure == "loss" else measure
            axes.set_ylabel(words if left < _WIDE else "", fontsize=9)
            figures.plain(axes)
            axes.tick_params(labelsize=8)
            if measure == "loss":
                title = textwrap.wrap(panel.title, 42, max_lines=2, placeholder="…")
                axes.set_title("\n".join(title), loc="left", fontsize=9)
                axes.tick_params(labelbottom=False)
    lines = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    named = {word: line for word, line in lines.items() if not word.startswith("_")}
    corner = (0.1 / width, 1 - 0.08 / height)
    figure.legend(
        list(named.values()), list(named), loc="upper left", ncols=4, frameon=False, fontsize=9, bbox_to_anchor=corner,
        borderaxespad=0,
    )  # fmt: skip
    if left_out:
        words = f"{left_out} more sets of comparable runs are in the table only"
        figure.text(1 - 0.1 / width, 1 - 0.2 / height, words, fontsize=9, ha="right", color=figures.GREY)
    figures.save(figure, path)


def _places(panels: Sequence[_Panel]) -> tuple[list[tuple[float, float]], int, int]:
    """Where each panel's axes begin, inches from the left and from the top; rows of panels, and headings."""
    places: list[tuple[float, float]] = []
    rows = headings = column = 0
    for panel in panels:
        if panel.heading or column == _COLUMNS or not places:
            rows, column = rows + 1, 0
        headings += bool(panel.heading)
        places.append((0.55 + column * _WIDE, _TOP + (rows - 1) * _HIGH + headings * _HEADING))
        column += 1
    return places, rows, headings


def _lines(axes: Axes, panel: _Panel, measure: str, *, together: bool) -> None:
    parts = (("val", figures.VAL, "validation"),)
    if together:
        kinds = [(panel.runs, _FAINT, 0.8, "validation, every run"), (panel.best, figures.VAL, 1.8, "validation, best")]
        for runs, colour, width, word in kinds:
            _plot(axes, [one[f"val_{measure}"] for one in runs], colour, width, word)
    else:
        for part, colour, word in (("train", figures.TRAIN, "training"), *parts):
            _plot(axes, [one[f"{part}_{measure}"] for one in panel.runs], colour, 1.6, word)
    if measure == "accuracy" and panel.majority is not None:
        axes.axhline(panel.majority, color=figures.GREY, linestyle=(0, (4, 3)), linewidth=1.1, label="majority class")


def _plot(axes: Axes, curves: Sequence[Sequence[tuple[float, float]]], colour: str, width: float, word: str) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    known = [curve for curve in curves if curve]
    axes.add_collection(LineCollection(known, colors=colour, linewidths=width))
    ends = [curve[-1] for curve in known]
    # A dot at each last epoch, which alone shows a run of one epoch.
    if ends:
        axes.plot(*zip(*ends, strict=True), color=colour, linestyle="", marker="o", markersize=2 + width)
    axes.add_line(Line2D([], [], color=colour, linewidth=max(width, 1.2), label=word))


def _reach(panels: Sequence[_Panel]) -> tuple[dict[str, tuple[float, float]], bool]:
    """Common limits of the axes, and whether losses lie above them. A diverged run must not press all others flat, so
    the loss is shown up to five times the median of the last ones."""
    runs = [one for panel in panels for one in panel.runs]
    epochs = [epoch for one in runs for curve in one.values() for epoch, _ in curve]
    losses = [loss for one in runs for key in ("train_loss", "val_loss") for _, loss in one[key]]
    last = sorted(one["val_loss"][-1][1] for one in runs if one["val_loss"])
    highest = max(losses, default=1.0)
    most = 5 * max(last[len(last) // 2], 0.2) if last else highest
    first, end = min(epochs), max(epochs)
    reach = {"epoch": (first - 0.3, max(end, first + 1) + 0.3), "accuracy": (0.0, 1.03)}
    return reach | {"loss": (0.0, 1.05 * min(highest, most) or 1.0)}, highest > most
