"""Going on inside a run that was stopped: from its last whole epoch, where it is the same run of the same versions."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from citycam.errors import CitycamError
from citycam.model.checkpoint import read_checkpoint

# What changes trained numbers from one version to the next.
_PACKAGES = ("citycam", "torch", "pytorch-lightning", "timm", "numpy", "pillow", "grad-cam")


@dataclass(frozen=True)
class Begun:
    """Where an earlier attempt stopped: after ``epochs`` whole epochs, which ``checkpoint`` holds."""

    checkpoint: Path
    epochs: int


def find_begun(
    folder: Path, earlier: dict[str, Any] | None, config_hash: str, data_digest: str, say: Callable[[str], None]
) -> Begun | None:
    """Where to go on in a run's folder, or None where it must start anew; says so where it matters.

    Args:
        earlier: the run.json that the attempt left.
    """
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if earlier is None or not checkpoint.exists():
        return None
    if earlier.get("config_hash") != config_hash or (earlier.get("data") or {}).get("digest") != data_digest:
        return None
    before, now = earlier.get("versions") or {}, versions()
    changed = [f"{name} {before.get(name)} then, {now[name]} now" for name in now if before.get(name) != now[name]]
    if changed:
        say(f"note: {folder.name} starts anew, since it was begun by other versions ({'; '.join(changed)}).")
        return None
    try:
        epochs = int(read_checkpoint(checkpoint)["epoch"]) + 1
    except CitycamError as error:
        say(f"note: {folder.name} starts anew: {error}")
        return None
    say(f"{folder.name} goes on after epoch {epochs}.")
    return Begun(checkpoint, epochs)


def versions() -> dict[str, str]:
    """Versions that run.json names."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
