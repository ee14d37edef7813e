"""The figures of a run's folder: curves and confusion, each written whole or not at all.

Drawn on matplotlib's Agg canvas without pyplot, so that nothing global is touched and no window system is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from citycam.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue and vermilion of Okabe & Ito's palette, which colour-blind readers tell apart.
TRAIN, VAL, GREY = "#0072B2", "#D55E00", "#767676"
_DPI = 150


def write_curves(path: Path, epochs: Sequence[Mapping[str, float]], majority_accuracy: float | None = None) -> None:
    """Draw loss and accuracy over epochs, training and validation, with the majority's accuracy as a line.

    Args:
        path: the PNG to write.
        epochs: rows as `citycam.report.tables.write_metrics` takes them, with ``epoch`` from 1; at least one.
        majority_accuracy: of validation, or None to leave its line out.
    """
    figure = figure_of(9.0, 3.6)
    # Laid out by hand: matplotlib's own layout draws everything twice.
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
        plain(axes)
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
    """Draw counts by true class (rows) and answered class (columns); shades and small figures are shares of the row.

    Args:
        path: the PNG to write.
        counts: (K, K).
        classes: names (K,).
    """
    names = [short(name) for name in classes]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    axes, figure = _matrix_axes(len(names), longest=max(map(len, names)))
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    axes.invert_yaxis()
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(places, [f"{name} ({n})" for name, n in zip(names, totals[:, 0], strict=True)], fontsize=9)
    axes.set_xlabel("answered", fontsize=10)
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


def _matrix_axes(k: int, longest: int) -> tuple[Axes, Figure]:
    # By hand here, too, in inches: measuring every text of 400 cells takes a second.
    cell = 0.5 if k > 4 else 0.8
    letters = 0.085 * longest
    left, below, above, right = letters + 0.85, 0.72 * letters + 0.6, 0.4, 0.25
    figure = figure_of(left + k * cell + right, below + k * cell + above)
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, below / height, k * cell / width, k * cell / height)), figure


def figure_of(width: float, height: float) -> Figure:
    """An empty figure of so many inches, on Agg's canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Axes) -> None:
    """Leave of the frame what is needed to read off values; epochs are whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def short(name: str, longest: int = 18) -> str:
    """``name``, cut at its end."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PNG, whole or not at all."""
    # Without this the file names the matplotlib that drew it; equal runs have equal files.
    write_whole(path, lambda file: figure.savefig(file, format="png", metadata={"Software": None}))
