"""Resume a run that was stopped, after its last whole epoch, if settings, pictures and versions are the same."""

from __future__ import annotations

import functools
import hashlib
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import citycam
from citycam.errors import CitycamError
from citycam.model.checkpoint import read_checkpoint
from citycam.sweep.record import RunRecord

# What changes trained numbers from one version to the next.
_PACKAGES = ("citycam", "torch", "pytorch-lightning", "timm", "numpy", "pillow", "grad-cam")


@dataclass(frozen=True)
class ResumePoint:
    """Where an earlier attempt stopped: after ``epochs`` whole epochs, kept in ``checkpoint``."""

    checkpoint: Path
    epochs: int


def find_resume_point(
    folder: Path, earlier: RunRecord | None, data_digest: str
) -> tuple[ResumePoint | None, dict[str, str]]:
    """Return where to resume in a run's folder, None if it must restart; and why, as {code: sentence}.

    Without an earlier attempt both are empty.

    Args:
        earlier: the run.json that the attempt left.
    """
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if earlier is None or not checkpoint.exists():
        return None, {}
    if earlier.data.digest != data_digest:
        return None, _restart(folder, "since pictures were added, changed or removed after it started.")
    changed = differences(earlier)
    if changed:
        return None, _restart(folder, f"since it was started by other versions ({changed}).")
    try:
        content = read_checkpoint(checkpoint)
    except CitycamError as error:
        return None, _restart(folder, f"since {error}")
    if not _can_resume(content):
        return None, _restart(folder, f"since {checkpoint} lacks what training needs to resume.")
    epochs = content["epoch"] + 1
    return ResumePoint(checkpoint, epochs), {"goes_on": f"{folder.name} resumes after epoch {epochs}."}


def _can_resume(content: dict[str, Any]) -> bool:
    """Return whether a checkpoint holds what Lightning and the module restore, each of its type and of one epoch."""
    results, epoch = content.get("found"), content.get("epoch")
    if type(epoch) is not int or not 0 <= epoch < 10**6 or not isinstance(results, dict):
        return False
    kinds = {"history": list, "validation": dict, "best_row": dict, "best_validation": dict, "epoch_seconds": list}
    wanted = {"loops": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list, "global_step": int}
    typed = [isinstance(results.get(name), kind) for name, kind in kinds.items()]
    typed += [isinstance(content.get(name), kind) for name, kind in wanted.items()]
    typed += [isinstance(content.get("pytorch-lightning_version"), str), set(results) == set(kinds)]
    if not all(typed) or len(results["history"]) != epoch + 1:
        return False
    states = content["optimizer_states"]
    return all(isinstance(state, dict) and {"state", "param_groups"} <= state.keys() for state in states)


def differences(earlier: RunRecord) -> str:
    """Return how the versions of an earlier run.json differ from now: ``torch 2.14 then, 2.15 now``, or empty."""
    before, now = earlier.versions, versions()
    return "; ".join(
        f"{name} {before.get(name)} then, {now[name]} now" for name in now if before.get(name) != now[name]
    )


def versions() -> dict[str, str]:
    """Return the versions recorded in run.json; citycam's has a digest of its sources, which may change between two."""
    known = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    return known | {"citycam": f"{known['citycam']}+{_sources()}"}


@functools.cache
def _sources() -> str:
    root = Path(citycam.__file__).parent
    content = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return content.hexdigest()[:8]


def _restart(folder: Path, why: str) -> dict[str, str]:
    return {"started_anew": f"{folder.name} restarts, {why}"}
