"""The devices of this machine: its cores and GPUs, which one to use, and their names. Imports torch late."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from citycam.config import Accelerator
from citycam.errors import CitycamError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Device:
    """A GPU or a core. ``name`` is torch's (``cuda:1``, ``mps``, ``cpu``). ``identity`` is the same in all processes of
    this machine, with any ``CUDA_VISIBLE_DEVICES``: a GPU's UUID, or ``core3``."""

    name: str
    identity: str


@dataclass(frozen=True)
class Processor:
    """``name``: the processor's own, as far as the system tells it. ``features``: which of `FEATURES` it has; None
    where the system does not tell."""

    name: str
    features: tuple[str, ...] | None


@dataclass(frozen=True)
class Gpu:
    """A GPU that PyTorch can use; memory in bytes."""

    name: str
    free: int
    total: int


# Flags of Linux's /proc/cpuinfo: wide vectors, and units for bf16 (without one, bf16 is slower than fp32).
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "sve", "bf16")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(cpu_devices())


def cpu_devices() -> list[Device]:
    """Return the cores that this process may use."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return [Device("cpu", f"core{core}") for core in cores]


def choose_device(accelerator: Accelerator) -> torch.device:
    """Return the device of ``accelerator``; for auto the best one. Of several GPUs it is the first.

    Raises:
        CitycamError: PyTorch finds no such device.
    """
    import torch  # late, so that a refused request need not wait for it

    there: dict[Accelerator, Callable[[], bool]] = {
        Accelerator.cuda: torch.cuda.is_available,
        Accelerator.mps: torch.backends.mps.is_available,
        Accelerator.cpu: lambda: True,
    }
    wanted = list(there) if accelerator is Accelerator.auto else [accelerator]
    for kind in wanted:
        if there[kind]():
            return torch.device("cuda", 0) if kind is Accelerator.cuda else torch.device(kind.name)
    raise CitycamError(
        f"trainer.accelerator={accelerator.name}, but PyTorch finds no such device here; "
        "use trainer.accelerator=auto or cpu."
    )


def machine_devices(kind: str) -> list[Device]:
    """Return all devices of a kind (cpu, cuda, mps) that this process may use; of the CPU, its cores."""
    if kind == "cuda":
        import torch

        numbers = range(torch.cuda.device_count())
        known = [str(torch.cuda.get_device_properties(number).uuid).removeprefix("GPU-") for number in numbers]
        return [Device(f"cuda:{number}", f"GPU-{identity}") for number, identity in zip(numbers, known, strict=True)]
    return cpu_devices() if kind == "cpu" else [Device(kind, kind)]


def free_memory(devices: Sequence[Device]) -> dict[str, int]:
    """Return the free MiB of each GPU by identity, read by the driver's own tool, so that no GPU is touched. Empty for
    fewer than two GPUs, and without that tool."""
    if len(devices) < 2 or not devices[0].name.startswith("cuda"):
        return {}
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    asked = [tool, "--query-gpu=uuid,memory.free", "--format=csv,noheader,nounits"]
    with contextlib.suppress(subprocess.SubprocessError, OSError):
        lines = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
        pairs = [line.split(",") for line in lines if line.count(",") == 1]
        return {name.strip(): int(free) for name, free in pairs if free.strip().isdecimal()}
    return {}


def gpus() -> list[Gpu]:
    """Return the GPUs that PyTorch can use, with their free memory; touches each of them.

    Raises:
        RuntimeError: PyTorch finds one and cannot use it, for example because the driver is too old.
    """
    import torch

    numbers = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return [Gpu(torch.cuda.get_device_name(number), *torch.cuda.mem_get_info(number)) for number in numbers]


def processor() -> Processor:
    """Return what the system tells of the processor."""
    name = _cpuinfo("model name").partition(":")[2].strip() or platform.processor() or platform.machine()
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    return Processor(name, tuple(flag for flag in FEATURES if flag in flags.split()) if flags else None)


def _cpuinfo(beginning: str) -> str:
    """The first line of Linux's description of the processor that begins so; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(beginning)), "")


def device_name(device: torch.device) -> str:
    """Return a name under which measurements of a device are kept: that of the GPU, or of the processor with its
    flags."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    # The processor's own name where Linux tells it: one image of a system runs on many processors.
    model = _cpuinfo("model name").partition(":")[2].strip()
    flags = _cpuinfo("flags") or platform.processor()
    return f"{device.type} {model or platform.machine()} {hashlib.sha256(flags.encode()).hexdigest()[:8]}"
