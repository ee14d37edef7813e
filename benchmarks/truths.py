"""What the benchmarks of maps share: pictures whose truth is known, networks trained on them, and scores of maps.

A truth is where in each picture something is that the network uses. Scores are means over pictures and runs, with
intervals over groups of pictures (walks).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from citycam.cells import CellGrid, smoothed
from citycam.data.inputs import PlannedRun, load_inputs
from citycam.data.views import normalise, open_working
from citycam.explain.controls import dealt
from citycam.explain.effects import Effects, Stripped, find_effects, order, strip_features
from citycam.explain.evaluation import Array
from citycam.explain.targets import Contrast, LogitTarget, target_values
from citycam.explain.truth import energy, pixel_auc, pointing, to_pixels
from citycam.model.backbone import Backbone
from citycam.model.checkpoint import load_checkpoint
from citycam.model.fold import folded
from citycam.model.network import Network
from citycam.report.significance import against_best
from citycam.statistics import mean_interval
from citycam.sweep.gate import read_request
from citycam.sweep.ledger import Ledger
from citycam.train.run import make_network

ROOT = Path(__file__).resolve().parent.parent
BATCH = 64
# A map is dealt so many times to another picture of its class.
DEALS = 10
MEASURES = ("pointing", "energy", "auc")


@dataclass(frozen=True)
class Trained:
    """A trained run: its plan, its body, and its network in eval mode and frozen, with batch norms folded."""

    run: PlannedRun
    body: Backbone
    network: Network

    def logits(self, views: np.ndarray) -> Array:
        """Return the logits (B, K) of views, uint8 (B, S, S, 3)."""
        with torch.no_grad():
            parts = [self.network(self.pictures(views[some])) for some in batches(len(views))]
        return torch.cat(parts).numpy()

    def contrast(self, truth: Truth) -> Array:
        """Return the contrast of the own class of each picture, (N,)."""
        logits = torch.from_numpy(self.logits(truth.views))
        return target_values(logits, truth.contrasts).numpy()

    def pictures(self, views: np.ndarray) -> Tensor:
        """Return views, uint8 (B, S, S, 3), as the network reads them."""
        return normalise(torch.from_numpy(views), self.network.backbone.mean, self.network.backbone.std)


@dataclass(frozen=True)
class Truth:
    """N pictures whose truth is known.

    Attributes:
        trained: R runs.
        rows: of the pictures in the runs' catalog (N,).
        views: uint8 (N, S, S, 3).
        digests, classes, groups: of the pictures.
        labels: (N,) positions in the runs' classes.
        masks: bool (N, S, S), what matters.
        stripped, effects: of toytown, the pictures without a feature, and what that does to each run.
    """

    trained: list[Trained]
    rows: np.ndarray
    views: np.ndarray
    digests: list[str]
    classes: list[str]
    groups: list[str]
    labels: np.ndarray
    masks: np.ndarray
    stripped: Stripped | None = None
    effects: list[Effects] = field(default_factory=list)

    @property
    def side(self) -> int:
        """S."""
        return int(self.views.shape[1])

    @property
    def contrasts(self) -> list[Contrast]:
        """What methods explain that read pictures: the own class against the mean of all others."""
        return [Contrast(int(label)) for label in self.labels]

    @property
    def own_logits(self) -> list[LogitTarget]:
        """What class activation maps explain: the logit of the own class."""
        return [LogitTarget(int(label)) for label in self.labels]


def batches(count: int) -> list[slice]:
    """Return slices that cover ``count`` pictures."""
    return [slice(start, start + BATCH) for start in range(0, count, BATCH)]


def trained_runs(arguments: Sequence[str]) -> list[Trained]:
    """Return the runs of a command line of train.py; those that are not there yet are trained."""
    subprocess.run([sys.executable, ROOT / "train.py", *arguments], check=True, cwd=ROOT)
    request = read_request(list(arguments))
    assert request is not None
    trained = []
    for job in request.jobs:
        resolved = Ledger(request.sweep_folder).resolved(job.hash)
        assert resolved is not None
        run = PlannedRun(job.config, load_inputs(job.config), resolved)
        network = make_network(run)
        load_checkpoint(job.folder / "checkpoints" / "last.ckpt", network, run.inputs.labels.classes)
        body = network.backbone
        network = Network(folded(body), network.head).eval()
        trained.append(Trained(run, body, network.requires_grad_(False)))
    return trained


def validation_views(run: PlannedRun, rows: np.ndarray) -> np.ndarray:
    """Return the plain views of catalog rows, uint8 (N, S, S, 3)."""
    inputs = run.inputs
    pictures = [inputs.catalog.pictures[row] for row in rows.tolist()]
    return np.stack([open_working(inputs.catalog.path(picture), inputs.plain_spec) for picture in pictures])


def toytown(trained: list[Trained], share: float) -> Truth:
    """Return the validation pictures of runs on toytown. What matters is what changes if a feature is taken out.

    Args:
        share: of a view's pixel that has to change.
    """
    run = trained[0].run
    pictures = [run.inputs.catalog.pictures[row] for row in run.inputs.val.tolist()]
    views, labels = validation_views(run, run.inputs.val), run.inputs.labels.values[run.inputs.val]
    stripped = strip_features(run.config.data, [picture.name for picture in pictures], run.inputs.plain_spec)
    assert stripped is not None
    return Truth(
        trained=trained,
        rows=run.inputs.val,
        views=views,
        digests=[picture.digest for picture in pictures],
        classes=[picture.city for picture in pictures],
        groups=[str(picture.group) for picture in pictures],
        labels=labels,
        masks=stripped.masks(share),
        stripped=stripped,
        effects=[
            find_effects(one.logits(views), one.logits(stripped.views), stripped.place, labels) for one in trained
        ],
    )


@dataclass(frozen=True)
class Drawn:
    """The maps of one method for every run: R times (N, h, w). Maps that know no run are there once."""

    maps: list[Array]
    cells: CellGrid

    def smoothed(self, width: int) -> Drawn:
        """Return the maps averaged over a box of cells."""
        return Drawn([smoothed(maps, width) for maps in self.maps], self.cells)

    def changed(self, change: Callable[[Array], Array]) -> Drawn:
        """Return the maps changed by a function."""
        return Drawn([change(maps) for maps in self.maps], self.cells)


def in_pixels(maps: Sequence[Array]) -> Drawn:
    """Return maps whose cells are pixels, or divide the picture evenly."""
    return Drawn(list(maps), CellGrid.even(*maps[0].shape[1:]))


@dataclass(frozen=True)
class Scores:
    """How well the maps of a method agree with a truth.

    Attributes:
        values: of each of `MEASURES` and of ``dealt``, float (R, N), NaN where there is none.
        right, places: of pairs of features of all runs, (Q,), see `citycam.explain.effects.order`.
    """

    values: dict[str, Array]
    right: Array
    places: np.ndarray

    @property
    def blank(self) -> int:
        """The number of maps without a positive cell, or not finite."""
        auc, hits = self.values["auc"], self.values["pointing"]
        return int((np.isnan(hits) & ~np.isnan(auc)).sum())

    def of_pictures(self, measure: str) -> Array:
        """Return a measure of each picture, the mean over runs, (N,); NaN where it has none."""
        values = self.values[measure]
        known = (~np.isnan(values)).sum(axis=0)
        return np.divide(np.nansum(values, axis=0), known, out=np.full(values.shape[1], np.nan), where=known > 0)

    def mean(self, measure: str) -> float:
        """Return the mean over pictures and runs."""
        return float(np.nanmean(self.of_pictures(measure)))


def score(drawn: Drawn, truth: Truth) -> Scores:
    """Compare the maps of a method with the truth."""
    parts: dict[str, list[Array]] = {measure: [] for measure in (*MEASURES, "dealt")}
    for maps in drawn.maps:
        pixels = to_pixels(maps, drawn.cells, truth.side)
        parts["pointing"].append(pointing(maps, drawn.cells, truth.masks))
        parts["energy"].append(energy(pixels, truth.masks))
        parts["auc"].append(pixel_auc(pixels, truth.masks))
        deals = [pointing(maps[dealt(truth.classes, deal)], drawn.cells, truth.masks) for deal in range(DEALS)]
        parts["dealt"].append(np.mean(deals, axis=0))
    rights, places = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    if truth.stripped is not None:
        every = drawn.maps * len(truth.effects) if len(drawn.maps) == 1 else drawn.maps
        for maps, effects in zip(every, truth.effects, strict=True):
            right, place = order(to_pixels(maps, drawn.cells, truth.side), truth.stripped, effects.contrast)
            rights.append(right)
            places.append(place)
    return Scores({name: np.stack(its) for name, its in parts.items()}, np.concatenate(rights), np.concatenate(places))


def interval(values: Array, groups: Sequence[str], *, share: bool = False) -> str:
    """Return a mean with its interval over groups, in words, without the pictures that have no value. That of a share
    ends at 0 and 1."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return "–"
    low, high = mean_interval(values[known], [groups[place] for place in known.tolist()])
    if share:
        low, high = max(0.0, low), min(1.0, high)
    return f"{values[known].mean():.2f} [{low:.2f}, {high:.2f}]"


COLUMNS = ("pointing", "dealt", "energy", "pixel AUC", "order")


def cells_of(scores: Scores, truth: Truth) -> list[str]:
    """Return the cells of `COLUMNS` in a row."""
    hits, inside, auc = (interval(scores.of_pictures(measure), truth.groups, share=True) for measure in MEASURES)
    ordered = interval(scores.right, [truth.groups[place] for place in scores.places.tolist()], share=True)
    return [hits, f"{scores.mean('dealt'):.2f}", inside, auc, ordered]


def worse(best: Scores, others: dict[str, Scores], measure: str, truth: Truth) -> dict[str, float]:
    """Return for each of others the p-value that it is as good as ``best`` in a measure, by a paired test over groups,
    corrected for all of them; 1 where it is better. Pictures on which one of them is blank are left out."""
    rows = np.stack([one.of_pictures(measure) for one in (best, *others.values())])
    known = np.flatnonzero(~np.isnan(rows).any(axis=0))
    p_values = against_best(rows[:, known], [truth.groups[place] for place in known.tolist()])
    means = rows[:, known].mean(axis=1)
    return {
        name: float(p) if mean < means[0] and p_values[0] == 1 else 1.0
        for name, p, mean in zip(others, p_values[1:], means[1:], strict=True)
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]
