"""Load the body of a run; a frozen one is loaded once per process and kept once per sweep."""

from __future__ import annotations

from pathlib import Path

import torch

from citycam.config import BackboneConfig, Config
from citycam.model.backbone import Backbone, make_backbone
from citycam.model.weights import holds_weights, load_weights, save_weights
from citycam.processes import remember
from citycam.resolved import WeightsSource
from citycam.words import say


def load_body(config: BackboneConfig, image_size: int, source: WeightsSource, seed: int) -> Backbone:
    """Return a body with the weights of ``source``; random ones come from the stream of ``seed``."""
    backbone = make_backbone(config, image_size, seed)
    if source.path is not None:
        load_weights(backbone, source.path)
    return backbone


def shared_body(config: Config, source: WeightsSource, device: str) -> Backbone:
    """Return the frozen body that all runs of a process share, on its device, channels last and in eval mode."""
    backbone = config.backbone
    path = str(source.path) if source.path is not None else None
    return frozen_body(str(backbone.name), tuple(backbone.strides), config.image_size, path, source.digest, device)


@remember(2, on_device=True)
def frozen_body(
    name: str, strides: tuple[int, ...], image_size: int, path: str | None, weights_digest: str | None, device: str
) -> Backbone:
    """Return what `shared_body` does, from plain values; ``path``: of the weights, None for random ones."""
    source = WeightsSource("file", Path(path) if path is not None else None, weights_digest, "")
    backbone = load_body(BackboneConfig(name=name, strides=list(strides)), image_size, source, 0)
    backbone.freeze("none")
    backbone.eval()
    backbone.to(device=device)
    return backbone.to(memory_format=torch.channels_last)


def body_file(sweep_folder: Path, backbone: Backbone, weights_digest: str | None) -> Path:
    """Return the file of a frozen body below a sweep's folder; write it if it is missing or damaged, since checkpoints
    name its digest."""
    path = sweep_folder / "bodies" / f"{backbone.name}-{backbone.image_size}-{weights_digest}.safetensors"
    if not path.exists():
        save_weights(backbone, path)
    elif not _is_whole(path, path.stat().st_size, path.stat().st_mtime_ns, backbone):
        say(f"note: {path} was damaged and is written again.")
        save_weights(backbone, path)
    return path


@remember(2, on_device=True)
def _is_whole(path: Path, _size: int, _changed: int, backbone: Backbone) -> bool:
    """Return whether a file holds the weights of a body; read again only if its size or time of change differs."""
    return path.is_file() and holds_weights(backbone, path)
