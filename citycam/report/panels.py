"""The curves of a comparison as one figure: a small panel per row of the table, on common axes for each table.

Losses of other classes are other numbers, so each table has a loss axis of its own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from citycam.report import figures
from citycam.report.ranking import BEST, Comparable, Entry
from citycam.sweep.stored import Columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Up to this number of rows, each has a panel; more are drawn together, a panel per comparable set.
MOST = 16
_MEASURES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
# Inches.
_COLUMNS, _WIDE, _HIGH, _TOP, _HEADING = 4, 2.9, 3.7, 0.45, 0.35
_FAINT = "#9dc3dd"

Curves = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class _Panel:
    """A pair of axes, loss above accuracy.

    Attributes:
        runs: the curves of every run in it.
        best: those of them that are highlighted.
        majority: accuracy of the majority class, drawn as a line; None for no line.
        top: the upper end of the loss axis.
        heading: of the row of panels that starts with this one; empty for none.
    """

    title: str
    runs: tuple[Curves, ...]
    best: tuple[Curves, ...]
    majority: float | None
    top: float
    heading: str = ""

    @property
    def cut(self) -> bool:
        """Whether a loss lies above the axis."""
        return any(loss > self.top for run in self.runs for loss in _losses(run))


def write_panels(path: Path, comparables: Sequence[Comparable]) -> bool:
    """Draw loss and accuracy of every row for training and validation, with the majority class's accuracy as a line.

    Several seeds of a row are lines of one panel. With more than `MOST` rows each comparable set is one panel of
    validation curves, with its best row highlighted.

    Returns:
        Whether there was any curve; without one nothing is written.
    """
    curves = {entry.number: _curves(entry) for comparable in comparables for entry in comparable.entries}
    together = sum(map(bool, curves.values())) > MOST
    panels: list[_Panel] = []
    for comparable in comparables:
        entries = [entry for entry in comparable.entries if curves[entry.number]]
        heading = comparable.title if len(comparables) > 1 else ""
        top = _loss_top([run for entry in entries for run in curves[entry.number]])
        if entries and together:
            panels.append(_set_panel(comparable, curves, top))
        else:
            panels += [
                _panel(comparable, entry, curves[entry.number], top, heading if entry is entries[0] else "")
                for entry in entries
            ]
    if panels:
        _draw(path, panels[:MOST], together=together, left_out=len(panels[MOST:]))
    return bool(panels)


def _curves(entry: Entry) -> tuple[Curves, ...]:
    """Return points (epoch, value) of each measure, for each run of ``entry`` with a readable metrics.csv."""
    runs = [{measure: _points(row.epochs, measure) for measure in _MEASURES} for row in entry.rows]
    return tuple(curves for curves in runs if any(curves.values()))


def _points(columns: Columns, measure: str) -> list[tuple[float, float]]:
    epochs = columns.get("epoch", ())
    values = columns.get(measure, (None,) * len(epochs))
    pairs = zip(epochs, values, strict=True)
    return [(epoch, value) for epoch, value in pairs if epoch is not None and value is not None]


def _panel(comparable: Comparable, entry: Entry, curves: tuple[Curves, ...], top: float, heading: str) -> _Panel:
    title = f"{entry.number}  {comparable.label(entry) or entry.rows[0].name}"
    return _Panel(title, curves, (), entry.mean("majority_accuracy"), top, heading)


def _set_panel(comparable: Comparable, curves: dict[int, tuple[Curves, ...]], top: float) -> _Panel:
    runs = tuple(run for entry in comparable.entries for run in curves[entry.number])
    best = tuple(run for entry in comparable.entries if entry.rank == BEST for run in curves[entry.number])
    majority = next(filter(None, (entry.mean("majority_accuracy") for entry in comparable.entries)), None)
    return _Panel(f"{comparable.title}: {len(runs)} runs", runs, best, majority, top)


def _draw(path: Path, panels: Sequence[_Panel], *, together: bool, left_out: int) -> None:
    corners, rows, headings = _corners(panels)
    # Two columns leave room for the legend.
    width = max(2 * _WIDE, *(left + _WIDE for left, _ in corners)) - 0.1
    height = _TOP + rows * _HIGH + headings * _HEADING
    figure = figures.new_figure(width, height)
    epochs = [point[0] for panel in panels for run in panel.runs for curve in run.values() for point in curve]
    span = (min(epochs) - 0.3, max(max(epochs), min(epochs) + 1) + 0.3)
    for panel, corner in zip(panels, corners, strict=True):
        _draw_panel(figure, panel, corner, span, together=together)
    lines = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    named = {label: line for label, line in lines.items() if not label.startswith("_")}
    corner = (0.1 / width, 1 - 0.08 / height)
    figure.legend(
        list(named.values()), list(named), loc="upper left", ncols=4, frameon=False, fontsize=9, bbox_to_anchor=corner,
        borderaxespad=0,
    )  # fmt: skip
    if left_out:
        note = f"{left_out} more sets of comparable runs are in the table only"
        figure.text(1 - 0.1 / width, 1 - 0.2 / height, note, fontsize=9, ha="right", color=figures.GREY)
    figures.save(figure, path)


def _draw_panel(
    figure: Figure, panel: _Panel, corner: tuple[float, float], span: tuple[float, float], *, together: bool
) -> None:
    """Add the two axes of a panel over a ``span`` of epochs; its ``corner`` is in inches from the left and the top."""
    (left, down), (width, height) = corner, figure.get_size_inches()
    if panel.heading:
        figure.text(0.1 / width, 1 - down / height, panel.heading, fontsize=11, fontweight="bold")
    for measure, below in (("loss", 1.75), ("accuracy", 3.3)):
        box = (left / width, 1 - (down + below) / height, (_WIDE - 0.45) / width, 1.4 / height)
        axes = figure.add_axes(box)
        _draw_lines(axes, panel, measure, together=together)
        axes.set_xlim(*span)
        axes.set_ylim(0.0, 1.05 * panel.top if measure == "loss" else 1.03)
        cut = measure == "loss" and panel.cut
        label = measure if left < _WIDE else ""
        axes.set_ylabel("loss (cut off)" if cut else label, fontsize=9)
        figures.simplify_axes(axes)
        axes.tick_params(labelsize=8)
        if measure == "loss":
            title = textwrap.wrap(panel.title, 42, max_lines=2, placeholder="…")
            axes.set_title("\n".join(title), loc="left", fontsize=9)
            axes.tick_params(labelbottom=False)


def _corners(panels: Sequence[_Panel]) -> tuple[list[tuple[float, float]], int, int]:
    """Return each panel's corner in inches from the left and from the top, and the numbers of rows and of headings."""
    corners: list[tuple[float, float]] = []
    rows = headings = column = 0
    for panel in panels:
        if panel.heading or column == _COLUMNS or not corners:
            rows, column = rows + 1, 0
        headings += bool(panel.heading)
        corners.append((0.55 + column * _WIDE, _TOP + (rows - 1) * _HIGH + headings * _HEADING))
        column += 1
    return corners, rows, headings


def _draw_lines(axes: Axes, panel: _Panel, measure: str, *, together: bool) -> None:
    if together:
        _draw_curves(axes, [run[f"val_{measure}"] for run in panel.runs], _FAINT, 0.8, "validation, every run")
        _draw_curves(axes, [run[f"val_{measure}"] for run in panel.best], figures.VAL, 1.8, "validation, best")
    else:
        _draw_curves(axes, [run[f"train_{measure}"] for run in panel.runs], figures.TRAIN, 1.6, "training")
        _draw_curves(axes, [run[f"val_{measure}"] for run in panel.runs], figures.VAL, 1.6, "validation")
    if measure == "accuracy" and panel.majority is not None:
        axes.axhline(panel.majority, color=figures.GREY, linestyle=(0, (4, 3)), linewidth=1.1, label="majority class")


def _draw_curves(
    axes: Axes, curves: Sequence[Sequence[tuple[float, float]]], colour: str, width: float, label: str
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    curves = [curve for curve in curves if curve]
    axes.add_collection(LineCollection(curves, colors=colour, linewidths=width))
    ends = [curve[-1] for curve in curves]
    # A dot at the last epoch, without which a run of one epoch would show nothing.
    if ends:
        axes.plot(*zip(*ends, strict=True), color=colour, linestyle="", marker="o", markersize=2 + width)
    axes.add_line(Line2D([], [], color=colour, linewidth=max(width, 1.2), label=label))


def _losses(run: Curves) -> list[float]:
    return [loss for key in ("train_loss", "val_loss") for _, loss in run[key]]


def _loss_top(runs: Sequence[Curves]) -> float:
    """Return the upper end of the loss axis of comparable runs.

    It is the highest loss, but at most five times the median of the losses after the first epoch, which a run exceeds
    only if it diverges: such a run does not flatten the others.
    """
    measured = [run for run in runs if _losses(run)]
    if not measured:
        return 1.0
    firsts = sorted(max(run[key][0][1] for key in ("train_loss", "val_loss") if run[key]) for run in measured)
    highest = max(loss for run in measured for loss in _losses(run))
    return min(highest, 5 * firsts[(len(firsts) - 1) // 2]) or 1.0
