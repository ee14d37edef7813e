"""How the benchmarks say what they found: ratios beside their goals, printed and kept in RESULTS.md.

Every script replaces the section of its own name, and leaves those of the others.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from citycam.files import write_text

RESULTS = Path(__file__).resolve().with_name("RESULTS.md")
HEAD = """# What was measured

Written by the scripts of this folder (`make bench FOLDER=… TARGET=…`). Each one measures both sides in one go, so the
ratios hold for the machine that its section names; absolute figures of two sections need not agree.
"""
# What a processor must have for matrix products to be fast, by the names that Linux gives it.
UNITS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "bf16", "amx_bf16": "AMX bf16"}


@dataclass(frozen=True)
class Ratio:
    """One side over the other. ``goal``: what it should be at least, or at most where ``limit`` is set."""

    what: str
    value: float
    goal: float | None = None
    limit: bool = False

    def row(self) -> str:
        """A line of a table: what, ratio, goal, distance."""
        digits = 1 if self.value >= 10 else 2
        if self.goal is None:
            return f"| {self.what} | {self.value:.{digits}f} | | |"
        spare = 1 - self.value / self.goal if self.limit else self.value / self.goal - 1
        sign = "≤" if self.limit else "≥"
        word = "met" if spare >= 0 else "missed"
        return f"| {self.what} | {self.value:.{digits}f} | {sign} {self.goal:g} | {word} by {abs(spare):.0%} |"


def report(
    name: str,
    *,
    how: str,
    ratios: Sequence[Ratio],
    figures: Mapping[str, str],
    device: str,
    notes: Sequence[str] = (),
    tables: Sequence[Sequence[str]] = (),
    path: Path = RESULTS,
) -> None:
    """Print a section, and put it into ``path`` in place of an older one of the same name and kind of device.

    Args:
        how: the command and what it ran on, in a sentence.
        figures: what was measured, in words.
        device: what computed; results of a GPU stand beside those of a processor.
        notes: sentences for the reader.
        tables: more tables, lines in Markdown each.
    """
    kind = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    title = name if device == "cpu" else f"{name} on {kind}"
    lines = [f"## {title}", "", how, "", f"Machine: {machine()}.", ""]
    if ratios:
        lines += ["| ratio | measured | goal | |", "|---|---|---|---|", *[ratio.row() for ratio in ratios], ""]
    if figures:
        lines += ["| figure | |", "|---|---|", *[f"| {what} | {value} |" for what, value in figures.items()], ""]
    lines += [line for one in tables for line in (*one, "")]
    lines += [f"- {note}" for note in notes]
    section = "\n".join(lines).strip() + "\n"
    print(f"\n{section}", flush=True)
    sections = _sections(path) | {title: section}
    write_text(path, "\n".join([HEAD, *[sections[key] for key in sorted(sections)]]))


def machine() -> str:
    """The machine in words: processor, cores, units, torch and, where there is one, the GPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    units = [name for flag, name in UNITS.items() if flag in flags]
    parts = [facts.get("model name") or platform.processor() or platform.machine(), f"{cores()} cores"]
    parts += ["units: " + ", ".join(units)] if units else []
    parts += [f"torch {torch.__version__}"]
    parts += [torch.cuda.get_device_name(0)] if torch.cuda.is_available() else ["no GPU"]
    return "; ".join(parts)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median of the ratios of pairs measured one right after the other: a shared machine drifts."""
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def _sections(path: Path) -> dict[str, str]:
    """Sections of an earlier RESULTS.md by title."""
    if not path.exists():
        return {}
    sections = path.read_text(encoding="utf-8").split("\n## ")[1:]
    return {text.partition("\n")[0]: f"## {text.strip()}\n" for text in sections}
