"""``citycam doctor``: what this installation and this machine can do, and what is broken."""

from __future__ import annotations

import argparse
import platform
import shutil
import textwrap
from pathlib import Path
from typing import Any

import citycam
from citycam.cli.packages import EXTRAS, import_problem, installed_version, unmet_requirements
from citycam.config import Accelerator
from citycam.devices import choose_device, cores, gpus, processor
from citycam.errors import CitycamError
from citycam.files import cache_root, check_room, check_writable, folder_size
from citycam.sweep.gate import read_request
from citycam.words import counted, size

_NAMED = ("torch", "torchvision", "pytorch-lightning", "timm", "grad-cam", "hydra-core")
_INDENT = 12


def add(commands: Any) -> None:
    """Add ``citycam doctor`` to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="check the installation and this machine",
        description="Print versions, processor, GPUs, cache, results folder, pretrained weights and optional extras. "
        "Exit codes: 0 all that citycam needs works, 1 something is broken, with the way out.",
    )
    parser.set_defaults(run=_run)


def _run(_given: argparse.Namespace) -> int:
    problems = []
    for check in (_software, _processor, _gpus, _cache, _results, _weights, _extras):
        problems += check()
    for problem in problems:
        print(f"broken: {problem}")
    if not problems:
        print("All that citycam needs works.")
    return 1 if problems else 0


# Each check prints its line and returns sentences on what is broken, with the way out.


def _software() -> list[str]:
    own = installed_version("citycam")
    _print("citycam", f"{own or 'not installed'} ({Path(citycam.__file__).parent})")
    _print("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    _print("packages", ", ".join(f"{name} {installed_version(name) or 'missing'}" for name in _NAMED))
    if own is None:
        return ["citycam runs from its sources and is not installed; run pip install . in their folder."]
    unmet = unmet_requirements()
    if unmet:
        return [f"{', '.join(unmet)} is not installed, or in another version; run pip install {_quoted(unmet)}."]
    problem = import_problem("citycam.train.run")  # with all that training needs
    return [] if problem is None else [f"training cannot start ({problem}); install again what that names."]


def _processor() -> list[str]:
    own = processor()
    text = "its features are unknown here, so precision=auto measures"
    if own.features is not None:
        bf16 = ", ".join(name for name in own.features if "bf16" in name)
        text = f"AVX-512 {'yes' if 'avx512f' in own.features else 'no'}, bf16 unit {bf16 or 'no'}"
    _print("processor", f"{own.name}; {counted(cores(), 'core')} for this process; {text}")
    return []


def _gpus() -> list[str]:
    if import_problem("torch") is not None:
        _print("GPUs", "unknown, since PyTorch cannot be imported")
        return []
    from torch import version

    build = f"PyTorch is built for CUDA {version.cuda}" if version.cuda else "PyTorch is built without CUDA"
    try:
        there = [f"{gpu.name}, {size(gpu.free)} of {size(gpu.total)} free" for gpu in gpus()]
    except RuntimeError as error:
        _print("GPUs", f"unusable ({build})")
        reason = str(error).splitlines()[0].rstrip(".")
        return [f"PyTorch fails on a GPU ({reason}); mend its driver, or use trainer.accelerator=cpu."]
    driver = ", though its driver is here" if shutil.which("nvidia-smi") is not None else ""
    none = f"none from NVIDIA that PyTorch can use{driver}; runs compute on {choose_device(Accelerator.auto).type}"
    _print("GPUs", f"{'; '.join(there) or none} ({build})")
    return []


def _cache() -> list[str]:
    return _place("cache", cache_root(), f"{size(folder_size(cache_root()))}, ", "set CITYCAM_CACHE to another folder")


def _results() -> list[str]:
    return _place("results", Path.cwd() / "multirun", "", "run citycam from another folder")


def _place(subject: str, folder: Path, holds: str, way_out: str) -> list[str]:
    """A folder that runs write to."""
    try:
        check_writable(folder)
    except CitycamError:
        _print(subject, f"{folder}: cannot be written")
        return [f"{folder} cannot be written; {way_out}."]
    _print(subject, f"{folder}: {holds}can be written, {size(check_room(folder, 0, subject))} free")
    return []


def _weights() -> list[str]:
    request = read_request([])
    name = str(request.jobs[0].config.backbone.name) if request is not None else ""
    if import_problem("citycam.model.backbone") is not None:
        _print("weights", f"{name}: unknown, since its package cannot be imported")
        return []
    from citycam.model import hub
    from citycam.model.backbone import pretrained_config

    where, place = hub.availability(pretrained_config(name))
    otherwise = "give backbone.weights=FILE, or a far weaker body is trained from your pictures"
    text = {
        "cache": f"in the cache ({place})",
        "hub": f"can be downloaded ({place})",
        "offline": f"not in the cache, and HF_HUB_OFFLINE keeps citycam off the network: unset it, {otherwise}",
        "silent": f"not in the cache, and the network does not answer ({place}): {otherwise}",
        "nowhere": f"nobody publishes any: {otherwise}",
    }[where]
    _print("weights", f"{name}: {text}")
    return []


def _extras() -> list[str]:
    if installed_version("citycam") is not None:
        missing = {extra: bool(unmet_requirements(extra)) for extra in EXTRAS}
        lacks = {True: "not installed, pip install 'citycam[{}]'", False: "installed"}
        _print("extras", "; ".join(f"{extra}: {lacks[missing[extra]].format(extra)}" for extra in EXTRAS))
    return []


def _quoted(requirements: list[str]) -> str:
    return " ".join(f"'{requirement}'" for requirement in requirements)


def _print(subject: str, text: str) -> None:
    """A line, folded to the terminal, at once: what follows may take seconds."""
    width = max(40, shutil.get_terminal_size().columns)
    lines = textwrap.wrap(text, width - _INDENT, break_long_words=False, break_on_hyphens=False)
    print(f"{subject:<{_INDENT}}" + f"\n{' ' * _INDENT}".join(lines), flush=True)
