"""Maps of eight models by three methods: one look per picture and small tails, against whole networks.

    python benchmarks/maps.py [FOLDER --target NAME] [--pictures N] [--others N]

Grad-CAM, Grad-CAM++ and LayerCAM of 100 pictures at 224 px, stride 32, for eight heads on one frozen ResNet50. Ours:
activations of every picture once, in an empty cache, then the tails. The others run the whole network for every model,
method and picture: pytorch-grad-cam one by one and in batches of 16, torch-cam in batches of 16. They are measured on
fewer pictures and one model, and multiplied; all of it in fp32, on the same weights in the same memory format.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytorch_grad_cam as pgc
import torch
from common import fresh_cache, options, pictures_of, random_weights, scratch, seconds, settle, views_in_memory
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from results import Ratio, median_ratio, report
from torch import Tensor, nn

from citycam.bank.frozen import FrozenBody
from citycam.data.inputs import PlannedRun
from citycam.doors import door
from citycam.explain.activations import plain_activations
from citycam.explain.maps import make_maps
from citycam.explain.tail import Tail
from citycam.explain.targets import LogitTarget
from citycam.model.backbone import Backbone
from citycam.model.head import make_head

METHODS = ("gradcam", "gradcampp", "layercam")
MODELS, PICTURES, BATCH = 8, 100, 16
GOAL, LIMIT = 30, 1.5


@door
def main() -> int:
    """Measure and report."""
    parser = options(__doc__)
    parser.add_argument("--others", type=int, default=32, help="pictures that the other libraries are measured on")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with scratch() as folder:
        setting = settle(
            *pictures_of(asked, folder, count=-(-PICTURES // 5)),
            *(f"backbone.weights='{random_weights(folder)}'", "image_size=224", "explain.stride=32"),
        )
        measure(setting, asked.others, asked.rounds, folder, asked.results)
    return 0


def measure(setting: PlannedRun, others: int, rounds: int, folder: Path, results: Path) -> None:
    """All sides in turn, and their report."""
    device = setting.resolved.device
    rows = np.arange(min(PICTURES, len(setting.inputs.catalog.pictures)))
    labels = setting.inputs.labels.values[rows].tolist()
    backbone = FrozenBody(setting).backbone
    heads = [make_head(setting.config.head, backbone.num_features, max(labels) + 1, seed) for seed in range(MODELS)]
    heads = [head.to(device).eval() for head in heads]
    tensors = views_in_memory(setting, rows, training=False).contiguous(memory_format=torch.channels_last)
    few, few_labels = tensors[:others], labels[:others]
    libraries = other_libraries(nn.Sequential(backbone, heads[0]), backbone.net.get_submodule("layer4.2"))
    times: dict[str, list[float]] = {name: [] for name in ("ours", "passes", *libraries)}
    for number in range(rounds + 1):  # the first one is not kept: it chooses kernels
        latest = {
            "passes": seconds(lambda: bare_passes(backbone, tensors, setting.resolved.batch), device),
            "ours": seconds(lambda: our_maps(setting, rows, labels, heads, folder), device),
        }
        for name, library in libraries.items():
            took = seconds(lambda library=library: library(few, few_labels), device)  # type: ignore[misc]
            latest[name] = took * MODELS * len(rows) / len(few)
        for name, took in latest.items() if number else ():
            times[name].append(took)
    say(times, list(libraries), setting, rows, len(few), results)


def say(
    times: dict[str, list[float]], libraries: list[str], setting: PlannedRun, rows: np.ndarray, few: int, results: Path
) -> None:
    """Ratios and seconds, and what was multiplied."""
    best = min(libraries, key=lambda name: statistics.median(times[name]))
    ratios = [Ratio(f"{name} / ours", median_ratio(times[name], times["ours"])) for name in libraries if name != best]
    report(
        "maps",
        how=f"`python benchmarks/maps.py`: {MODELS} models × {', '.join(METHODS)} × {len(rows)} pictures at 224 px, "
        "fp32 in channels_last.",
        ratios=[
            Ratio(f"{best} (the best of them) / ours", median_ratio(times[best], times["ours"]), GOAL),
            *ratios,
            Ratio("ours / passes of the backbone alone", median_ratio(times["ours"], times["passes"]), LIMIT, True),
        ],
        figures={name: f"{statistics.median(taken):,.1f} s" for name, taken in times.items()},
        notes=[
            f"The libraries ran one model on {few} pictures; their seconds are those × {MODELS} × {len(rows)} / {few}.",
            "`passes`: one look of the plain body at every picture, views in memory.",
        ],
        device=setting.resolved.device,
        path=results,
    )


def our_maps(setting: PlannedRun, rows: np.ndarray, labels: list[int], heads: list[nn.Module], folder: Path) -> None:
    """Activations into an empty cache, then the maps of every head."""
    fresh_cache(folder)
    backbone = FrozenBody(setting).backbone
    activations = torch.from_numpy(plain_activations(setting, backbone, rows))
    targets = [LogitTarget(label) for label in labels]
    for head in heads:
        make_maps(Tail(backbone.pool, head, pool_kind=backbone.pool_kind), activations, targets, METHODS)


@torch.inference_mode()
def bare_passes(backbone: Backbone, tensors: Tensor, batch: int) -> None:
    """The passes that no way of making these maps can do without."""
    for some in tensors.split(batch):
        backbone.body(some)


Library = Callable[[Tensor, list[int]], None]


def other_libraries(network: nn.Module, layer: nn.Module) -> dict[str, Library]:
    """Three methods of one model for pictures and their labels, by library."""

    def pytorch_grad_cam(pictures: Tensor, labels: list[int], batch: int) -> None:
        for method in (pgc.GradCAM, pgc.GradCAMPlusPlus, pgc.LayerCAM):
            with method(model=network, target_layers=[layer]) as cam:
                for start in range(0, len(pictures), batch):
                    some = slice(start, start + batch)
                    cam(watched(pictures[some]), [ClassifierOutputTarget(label) for label in labels[some]])

    ways: dict[str, Library] = {
        "pytorch-grad-cam, one by one": lambda pictures, labels: pytorch_grad_cam(pictures, labels, 1),
        f"pytorch-grad-cam, batches of {BATCH}": lambda pictures, labels: pytorch_grad_cam(pictures, labels, BATCH),
    }
    try:
        from torchcam import methods as torchcam
    except ImportError:
        print("torch-cam is not installed (pip install 'citycam[bench]'), so it is left out.", file=sys.stderr)
        return ways

    def torch_cam(pictures: Tensor, labels: list[int]) -> None:
        for method in (torchcam.GradCAM, torchcam.GradCAMpp, torchcam.LayerCAM):
            with method(network, layer) as cam:
                for start in range(0, len(pictures), BATCH):
                    some = slice(start, start + BATCH)
                    cam(labels[some], network(watched(pictures[some])))

    return {**ways, f"torch-cam, batches of {BATCH}": torch_cam}


def watched(pictures: Tensor) -> Tensor:
    """Pictures that require a gradient: behind a frozen body these libraries find none otherwise."""
    return pictures.clone().requires_grad_()


if __name__ == "__main__":
    sys.exit(main())
