"""Devices for jobs: claims on the devices of this machine, which the kernel frees when their process dies.

A claim is a file that names its devices, and a lock that its process holds. All sweeps that share a cache share the
claims. On a CPU every core is a device, and a job claims as many as it has threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import filelock

from citycam.devices import Device, free_memory
from citycam.errors import CitycamError
from citycam.files import cache_root, explain_os_error, lock

# Seconds between checks for a free device: a share of the time waited so far, within these limits.
_SHORTEST, _LONGEST, _SHARE = 0.02, 0.5, 0.05
# Held for a moment by each process that reads the claims or adds one.
_GATE = "claims.lock"


@dataclass(frozen=True)
class Claim:
    """A claim of a living process: ``share`` of each of the devices with these identities."""

    identities: tuple[str, ...]
    share: Fraction
    pid: int
    run: str


def room(devices: Sequence[Device], count: int, per_device: int) -> int:
    """Return how many jobs of ``count`` devices each fit at a time."""
    return len(devices) // count * per_device


@contextlib.contextmanager
def hold(
    devices: Sequence[Device],
    *,
    count: int,
    per_device: int,
    run: str,
    waiting: Callable[[str], None],
    warm: str | None = None,
) -> Iterator[list[Device]]:
    """Wait for ``count`` of ``devices`` and hold them for a job until the context is left or the process dies.

    Devices that the fewest jobs share come first; of these the ``warm`` one, then those with the most free memory.

    Args:
        per_device: jobs that share a device; a job that needs one alone waits until no other job is on it.
        run: the name of the job, which other jobs print while they wait.
        waiting: called once, with a sentence, if the job has to wait.
        warm: the name of the device that this process computed on last.

    Raises:
        CitycamError: this machine has fewer devices than ``count``, or the cache cannot be written.
    """
    if len(devices) < count:
        raise CitycamError(
            f"{run} needs {count} devices of a kind of which {platform.node()} has {len(devices)}; run it on a machine "
            "with more of them, or choose another trainer.accelerator or trainer.devices."
        )
    folder = cache_root() / "slots" / platform.node()
    share, free = Fraction(1, per_device), free_memory(devices)
    started, waited = time.monotonic(), False
    with contextlib.ExitStack() as stack:
        while True:
            with lock(folder / _GATE):
                claims = _living(folder)
                chosen = _choose(devices, claims, count, share, warm, free)
                if chosen is not None:
                    identities = tuple(device.identity for device in chosen)
                    stack.enter_context(_claimed(folder, Claim(identities, share, os.getpid(), run)))
                    break
            if not waited:
                waiting(_sentence(devices, claims, count))
                waited = True
            time.sleep(min(_LONGEST, max(_SHORTEST, _SHARE * (time.monotonic() - started))))
        yield chosen


def _choose(
    devices: Sequence[Device],
    claims: Sequence[Claim],
    count: int,
    share: Fraction,
    warm: str | None,
    free: dict[str, int],
) -> list[Device] | None:
    """Return the ``count`` best devices with room for ``share``, or None if there are fewer."""
    taken = {
        device.identity: sum((claim.share for claim in claims if device.identity in claim.identities), Fraction(0))
        for device in devices
    }
    open_ones = [device for device in devices if taken[device.identity] + share <= 1]
    if len(open_ones) < count:
        return None
    open_ones.sort(key=lambda device: (taken[device.identity], device.name != warm, -free.get(device.identity, 0)))
    return open_ones[:count]


@contextlib.contextmanager
def _claimed(folder: Path, claim: Claim) -> Iterator[None]:
    """Keep a claim while the context is open; enter it while holding the folder's lock."""
    name = uuid.uuid4().hex
    held, content = filelock.FileLock(folder / f"{name}.lock"), folder / f"{name}.json"
    held.acquire(blocking=False)
    try:
        fields = {"devices": claim.identities, "share": str(claim.share), "pid": claim.pid, "run": claim.run}
        try:
            # Neither synced nor renamed: it is read under the folder's lock, and void once its process has ended.
            content.write_text(json.dumps(fields), encoding="utf-8")
        except OSError as error:
            raise explain_os_error(error, content) from error
        yield
    finally:
        content.unlink(missing_ok=True)
        held.release()
        Path(held.lock_file).unlink(missing_ok=True)


def _living(folder: Path) -> list[Claim]:
    """Return the claims of living processes, and remove those of others. The caller holds the folder's lock."""
    claims = []
    for path in folder.glob("*.lock"):
        if path.name == _GATE:
            continue
        content, probe = path.with_suffix(".json"), filelock.FileLock(path)
        try:
            probe.acquire(blocking=False)
        except filelock.Timeout:
            with contextlib.suppress(FileNotFoundError):  # it is being released
                claims.append(_read(content))
            continue
        content.unlink(missing_ok=True)
        probe.release()
        path.unlink(missing_ok=True)
    return claims


def _read(path: Path) -> Claim:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Claim(tuple(content["devices"]), Fraction(content["share"]), int(content["pid"]), str(content["run"]))


def _sentence(devices: Sequence[Device], claims: Sequence[Claim], count: int) -> str:
    own = {device.identity for device in devices}
    holders = [f"{claim.run} (process {claim.pid})" for claim in claims if own & set(claim.identities)]
    kind = devices[0].name.partition(":")[0]
    what = {"cpu": f"{count} of {len(devices)} cores"}.get(kind, f"{count} of {len(devices)} {kind} devices")
    return f"waiting for {what}: held by {', '.join(holders)}."
