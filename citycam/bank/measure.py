"""Measure which arithmetic and batch are fastest for a backbone on this machine: once, in about a second if it is idle.

Other programs on the same cores make a pass many times slower, and not every pass alike. The kernel counts how often
they took a core from this process. A measurement that they disturbed is repeated, now and by each later request, and
its answer holds until one is not disturbed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from citycam import processes
from citycam.bank.extract import Extractor
from citycam.config import Precision
from citycam.devices import device_name
from citycam.files import cache_root, write_json
from citycam.model.backbone import Backbone
from citycam.processes import remember
from citycam.resolved import MEMORY_FORMATS, Arithmetic

# How many times faster than fp32 and channels_last another choice must be: bf16 changes features by a percent or more,
# and on a busy machine small differences are chance.
_WORTH = {Precision.fp32: 1.0, Precision.bf16: 1.3} | {"channels_last": 1.0, "nchw": 1.15}
_WORTH_BATCH = 1.1
# Batches that are tried, smallest first: on CPUs caches make middle ones fastest, GPUs need larger ones.
_BATCHES = {"cpu": (16, 64), "cuda": (64, 256, 1024), "mps": (32, 128)}
# Pictures of 64 x 64 in one trial of an arithmetic, and the most seconds of one trial of a batch.
_TRIAL, _LONGEST = 16, 0.5
_SPAN = 0.15
# Measurements at most, and seconds after which no pass of them starts: without an answer by then, fp32 it is.
_ATTEMPTS, _LIMIT = 3, 15.0
# Times per second that a thread lost its core to other programs. An idle machine of two cores counted 5 to 40, one with
# two other busy programs 125.
_DISTURBED = 50.0


@dataclass(frozen=True)
class Choice:
    """The fastest arithmetic and batch. ``rates``: pictures per second by precision and memory format; ``rate``: of
    this choice with its batch; ``quiet``: whether nothing disturbed the measurement."""

    arithmetic: Arithmetic
    batch: int
    rate: float
    rates: dict[str, float]
    quiet: bool = True


def choose(
    backbone: Backbone, image_size: int, wanted: Precision, *, threads: int, say: Callable[[str], None]
) -> Choice:
    """Return the fastest of fp32 and bf16 (or the ``wanted`` one), of the memory formats, and of a few batches.

    It is measured, since a processor without a unit for bf16 accepts it and is ten times slower. The choice is kept per
    device, body, size and threads; a disturbed one until a request can measure undisturbed.
    """
    key = {
        "device": device_name(next(backbone.parameters()).device),
        "backbone": backbone.name,
        "image_size": image_size,
        "threads": threads,
        "wanted": wanted.name,
        "torch": torch.__version__,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    path = cache_root() / "arithmetic" / f"{name}.json"
    kept = _kept(path)
    if kept is not None and kept.quiet:
        return kept
    choice = _measured(backbone, image_size, wanted, threads, say)
    if kept is not None and not choice.quiet:
        return kept
    write_json(path, {**key, **_plain(choice)})
    return choice


@remember(4, on_device=True)
def _measured(
    backbone: Backbone, image_size: int, wanted: Precision, threads: int, say: Callable[[str], None]
) -> Choice:
    """Measure, again if other programs disturb it, and say so."""
    say(
        f"Measuring how {backbone.name} computes fastest here at {image_size} px, once: some seconds, "
        f"about {_LIMIT:.0f} at most."
    )
    on_cpu = next(backbone.parameters()).device.type == "cpu"
    deadline = time.perf_counter() + _LIMIT
    rates: dict[Arithmetic, float] = {}
    batches: dict[int, float] = {}
    for _ in range(_ATTEMPTS):
        started, lost = time.perf_counter(), processes.preemptions()
        these, those = _measure(backbone, image_size, wanted, deadline)
        seconds = time.perf_counter() - started
        quiet = not on_cpu or processes.preemptions() - lost < _DISTURBED * seconds * threads
        if quiet:
            rates, batches = these, those
            break
        rates = {one: max(rate, rates.get(one, 0.0)) for one, rate in {**rates, **these}.items()}
        batches = {one: max(rate, batches.get(one, 0.0)) for one, rate in {**batches, **those}.items()}
        if time.perf_counter() > deadline:
            break
    if not quiet:
        say("note: Other programs disturbed the measurement; the next request measures again.")
    return _choice(rates, batches, quiet=quiet)


def _measure(
    backbone: Backbone, image_size: int, wanted: Precision, deadline: float
) -> tuple[dict[Arithmetic, float], dict[int, float]]:
    """Return the pictures per second of each arithmetic, and of each batch with the best of them."""
    precisions = (Precision.fp32, Precision.bf16) if wanted is Precision.auto else (wanted,)
    trial = max(2, round(_TRIAL * (64 / image_size) ** 2))
    rates: dict[Arithmetic, float] = {}
    for precision in precisions:
        for memory_format in MEMORY_FORMATS:
            arithmetic = Arithmetic(precision, memory_format)
            slowest = trial / max(rates.values()) * 3 if rates else float("inf")
            if not rates or time.perf_counter() < deadline:
                rates[arithmetic] = _rate(backbone, arithmetic, image_size, trial, slowest)
    best = _best(rates)
    batches: dict[int, float] = {}
    for tried in _BATCHES[next(backbone.parameters()).device.type]:
        late = tried / max(rates[best], *batches.values(), 0.0) > _LONGEST or time.perf_counter() > deadline
        if batches and late:
            break
        batches[tried] = _rate(backbone, best, image_size, tried, float("inf"))
    return rates, batches


def _best(rates: dict[Arithmetic, float]) -> Arithmetic:
    return max(rates, key=lambda one: rates[one] / _WORTH[one.precision] / _WORTH[one.memory_format])


def _choice(rates: dict[Arithmetic, float], batches: dict[int, float], *, quiet: bool) -> Choice:
    batch, fastest = 0, 0.0
    for tried, rate in batches.items():
        if rate * _WORTH_BATCH > fastest:  # the larger one, unless it is clearly slower
            batch, fastest = tried, rate
    named = {f"{one.precision.name} {one.memory_format}": rate for one, rate in rates.items()}
    return Choice(_best(rates), batch, fastest, named, quiet)


def _rate(backbone: Backbone, arithmetic: Arithmetic, image_size: int, batch: int, hopeless: float) -> float:
    """Return pictures per second: the best of up to three passes after a first one, within `_SPAN` seconds; the first
    one alone if it takes more than ``hopeless`` seconds."""
    extractor = Extractor(backbone, arithmetic, batch=batch)
    pictures = torch.zeros(batch, 3, image_size, image_size)
    seconds: list[float] = []
    started = time.perf_counter()
    while len(seconds) < 4:
        start = time.perf_counter()
        extractor.pictures(pictures)
        seconds.append(time.perf_counter() - start)
        if seconds[0] > hopeless or (len(seconds) > 1 and time.perf_counter() - started > _SPAN):
            break
    return round(batch / min(seconds), 1)


def _plain(choice: Choice) -> dict[str, Any]:
    return {
        "precision": choice.arithmetic.precision.name,
        "memory_format": choice.arithmetic.memory_format,
        "batch": choice.batch,
        "rate": choice.rate,
        "rates": choice.rates,
        "quiet": choice.quiet,
    }


def _kept(path: Path) -> Choice | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        arithmetic = Arithmetic(Precision[content["precision"]], content["memory_format"])
        if content["memory_format"] not in MEMORY_FORMATS or arithmetic.precision is Precision.auto:
            return None
        quiet = bool(content.get("quiet", True))
        return Choice(arithmetic, int(content["batch"]), float(content["rate"]), dict(content["rates"]), quiet)
    except (OSError, ValueError, KeyError, TypeError):
        return None
