"""Resume a run that was stopped, after its last whole epoch, if settings, pictures and versions are the same."""

from __future__ import annotations

import functools
import hashlib
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

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
        epochs = int(read_checkpoint(checkpoint)["epoch"]) + 1
    except CitycamError as error:
        return None, _restart(folder, f"since {error}")
    return ResumePoint(checkpoint, epochs), {"goes_on": f"{folder.name} resumes after epoch {epochs}."}


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
