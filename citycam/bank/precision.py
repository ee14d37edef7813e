"""Which arithmetic is fastest for a backbone on this machine: measured once, in about a second, and kept."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch

from citycam.bank.extract import Extractor
from citycam.config import Precision
from citycam.files import cache_root, write_json
from citycam.model.backbone import Backbone

# bf16 changes features in the third digit, so it must be clearly faster to be chosen.
_WORTH = 1.3
_TRIAL = 16


def choose_precision(backbone: Backbone, image_size: int, *, threads: int) -> tuple[Precision, dict[str, float]]:
    """The faster of fp32 and bf16, and pictures per second of each; kept per device, body, size and threads.

    A processor may accept bf16 without having a unit for it, and then is ten times slower: only a measurement tells.
    """
    device = next(backbone.parameters()).device
    key = {
        "device": _device_name(device),
        "backbone": backbone.name,
        "image_size": image_size,
        "threads": threads,
        "torch": torch.__version__,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    path = cache_root() / "precision" / f"{name}.json"
    kept = _kept(path)
    if kept is None:
        rates = {
            precision.name: _rate(backbone, image_size, precision) for precision in (Precision.fp32, Precision.bf16)
        }
        faster = rates["bf16"] > _WORTH * rates["fp32"]
        kept = {**key, "precision": "bf16" if faster else "fp32", "rates": rates}
        write_json(path, kept)
    return Precision[kept["precision"]], dict(kept["rates"])


def _kept(path: Any) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if content["precision"] in ("fp32", "bf16") and content["rates"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _rate(backbone: Backbone, image_size: int, precision: Precision) -> float:
    """Pictures per second: the best of up to three passes within a third of a second."""
    extractor = Extractor(backbone, precision=precision, batch=_TRIAL)
    pictures = torch.zeros(_TRIAL, 3, image_size, image_size)
    extractor.pictures(pictures)
    best, begun = float("inf"), time.perf_counter()
    for _ in range(3):
        start = time.perf_counter()
        extractor.pictures(pictures)
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() - begun > 1 / 3:
            break
    return round(_TRIAL / best, 1)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    # The processor's own name where Linux tells it: one image of a system runs on many processors.
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    flags = next((line for line in lines if line.startswith("flags")), platform.processor())
    return f"{device.type} {model or platform.machine()} {hashlib.sha256(flags.encode()).hexdigest()[:8]}"
