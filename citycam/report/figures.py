"""The figures of a run's folder: curves and confusion, each written whole or not at all.

They are drawn on matplotlib's Agg canvas without pyplot, which changes no global state and needs no window system.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from citycam.files import write_whole
from citycam.words import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue and vermilion of Okabe & Ito's palette, which colour-blind readers tell apart.
TRAIN, VAL, GREY = "#0072B2", "#D55E00", "#767676"
_DPI = 150


def write_curves(path: Path, epochs: Sequence[Mapping[str, float]], majority_accuracy: float | None = None) -> None:
    """Draw loss and accuracy of training and validation over epochs, with the majority class's accuracy as a line.

    Args:
        path: the PNG to write.
        epochs: at least one row as of `citycam.report.tables.write_metrics`, with ``epoch`` from 1.
        majority_accuracy: on the validation part, or None to omit its line.
    """
    figure = new_figure(9.0, 3.6)
    # Laid out by hand, since matplotlib's own layout draws everything twice.
    left, right = figure.subplots(
        1, 2, gridspec_kw={"left": 0.065, "right": 0.99, "top": 0.91, "bottom": 0.135, "wspace": 0.14}
    )
    for axes, measure, title in ((left, "loss", "Loss"), (right, "accuracy", "Accuracy")):
        for part, colour, word in (("train", TRAIN, "training"), ("val", VAL, "validation")):
            points = [(row["epoch"], row[f"{part}_{measure}"]) for row in epochs if f"{part}_{measure}" in row]
            if points:
                axes.plot(
                    *zip(*points, strict=True), color=colour, marker="o", markersize=3.5, linewidth=1.8, label=word
                )
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.set_xlabel("epoch")
        simplify_axes(axes)
    left.set_ylim(bottom=0)
    right.set_ylim(0, 1.02)
    if majority_accuracy is not None:
        right.axhline(
            majority_accuracy, color=GREY, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1, label="majority class"
        )
    for axes in (left, right):
        if axes.lines:
            axes.legend(frameon=False, fontsize=9)
    save(figure, path)


def write_confusion(path: Path, counts: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Draw the confusion matrix: true classes in rows, predicted ones in columns; shades are shares of the row.

    Args:
        path: the PNG to write.
        counts: pictures (K, K) by true and predicted class.
        classes: names (K,).
    """
    names = [_cut(name) for name in classes]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    figure, axes = _matrix_figure(len(names), longest=max(map(len, names)))
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    axes.invert_yaxis()
    centres = np.arange(len(names)) + 0.5
    axes.set_xticks(centres, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(centres, [f"{name} ({n})" for name, n in zip(names, totals[:, 0], strict=True)], fontsize=9)
    axes.set_xlabel("predicted", fontsize=10)
    axes.set_ylabel("true (pictures)", fontsize=10)
    axes.set_title("Confusion", loc="left", fontsize=11, fontweight="bold")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row, column in zip(*np.nonzero(counts), strict=True):
        share = float(shares[row, column])
        colour = "white" if share > 0.6 else "#1a1a1a"
        text = f"{counts[row, column]}\n{share:.0%}"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8, color=colour)
    save(figure, path)


def _matrix_figure(k: int, longest: int) -> tuple[Figure, Axes]:
    # Laid out by hand, in inches: measuring every text of 400 cells takes a second.
    cell = 0.5 if k > 4 else 0.8
    letters = 0.085 * longest
    left, below, above, right = letters + 0.85, 0.72 * letters + 0.6, 0.4, 0.25
    figure = new_figure(left + k * cell + right, below + k * cell + above)
    width, height = figure.get_size_inches()
    return figure, figure.add_axes((left / width, below / height, k * cell / width, k * cell / height))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` by ``height`` inches, on Agg's canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def simplify_axes(axes: Axes) -> None:
    """Remove the frame above and at the right, draw faint lines at the values, and number epochs in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _cut(name: str, longest: int = 18) -> str:
    name = printable(name)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PNG, whole or not at all; dollars in names are letters, not formulas."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with warnings.catch_warnings():
        # A name in letters that matplotlib's font lacks is drawn as boxes; the tables have it.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        # matplotlib would write its version into the file; equal runs have equal files.
        write_whole(path, lambda file: figure.savefig(file, format="png", metadata={"Software": None}))
