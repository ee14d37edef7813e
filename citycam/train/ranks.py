"""Train one model on several devices: a child (a rank) on each takes its share of every batch.

Ranks run ``python -m citycam.train.ranks`` and read what they need from a file: Lightning's own way runs the command
of the whole sweep again in each of them, and leaves its variables behind for the next job. They meet through a file of
the same folder, so no port can be taken by somebody else.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from citycam.errors import CitycamError
from citycam.files import write_bytes
from citycam.processes import Child, Terminated, end_with_input
from citycam.sweep.record import read_record

if TYPE_CHECKING:
    from citycam.train.run import Attempt

_PLAN, _MEETING = "plan", "meeting"
# Seconds between two checks that all ranks are alive.
_CHECK = 0.05


# Why a rank failed, as it reports it: when, by the machine's clock in ns; the exception; its traceback.
_Failure = tuple[int, BaseException, str]


class RankTraceback(Exception):
    """The traceback of an exception that another process raised, as the cause of that exception in this one."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def train_by_ranks(attempt: Attempt) -> None:
    """Train as `citycam.train.run.train` does, by a process for each of ``attempt.devices``, for example ``("cuda:0",
    "cuda:1")``.

    They share ``attempt.resolved.threads``. When this returns or raises, none of them is left, and the record holds all
    that was recorded.

    Raises:
        CitycamError: what a person can fix, or a rank was killed.
        Exception: what ended a rank, with the rank's traceback as its cause.
    """
    ranks = len(attempt.devices)
    with tempfile.TemporaryDirectory(prefix="citycam-") as name:
        place = Path(name)
        write_bytes(place / _PLAN, pickle.dumps(attempt))
        try:
            with contextlib.ExitStack() as stack:
                children = [stack.enter_context(_rank(place, rank, ranks)) for rank in range(ranks)]
                _watch(place, children, attempt.devices)
        finally:
            attempt.record.record = read_record(attempt.folder) or attempt.record.record


def _rank(place: Path, rank: int, ranks: int) -> Child:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "NODE_RANK": 0}
    # People read the stderr of the first one; that of the others says the same, or why they failed.
    log = None if rank == 0 else place / f"{rank}.log"
    variables = {key: str(value) for key, value in names.items()}
    return Child(__name__, str(place), "--rank", str(rank), log=log, **variables)


def _watch(place: Path, children: Sequence[Child], devices: Sequence[str]) -> None:
    """Wait until all ranks are done.

    Raises:
        BaseException: one has failed, for the reason that came first: when one is gone, the others fail too.
    """
    while running := [child for child in children if child.code is None]:
        running[0].wait(_CHECK)
        if any(child.code for child in children):
            raise _reason(place, children, devices)


def _reason(place: Path, children: Sequence[Child], devices: Sequence[str]) -> BaseException:
    failed = [rank for rank, child in enumerate(children) if child.code]  # first: these have written their failures
    failures = sorted((_read_failure(path) for path in place.glob("*.failed")), key=lambda failure: failure[0])
    stops: list[BaseException] = [error for _, error, _ in failures if isinstance(error, KeyboardInterrupt)]
    if stops or any(child.code == -signal.SIGTERM for child in children):
        return stops[0] if stops else Terminated()
    mistakes = [error for _, error, _ in failures if isinstance(error, CitycamError)]
    if mistakes:
        return mistakes[0]
    silent = [rank for rank in failed if not (place / f"{rank}.failed").exists()]
    if silent:
        return CitycamError(
            f"Process {silent[0] + 1} of {len(devices)} that trained this model, on {devices[silent[0]]}, failed "
            f"({children[silent[0]].failure()}); run the same command again to resume after the last whole epoch.",
            exit_code=1,
        )
    _, first, trace = failures[0]
    first.__cause__ = RankTraceback(trace)
    return first


def _read_failure(path: Path) -> _Failure:
    when, error, trace = pickle.loads(path.read_bytes())
    return when, error, trace


def _end_on_sigterm(place: Path, rank: int) -> None:
    """On SIGTERM, report `Terminated` and exit at once.

    Lightning's handler would wait in a collective for the other ranks, so the signal is kept from it.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, which has no SIGTERM either
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        write_bytes(place / f"{rank}.failed", _failure(Terminated()))
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _failure(error: BaseException) -> bytes:
    """Return a rank's failure, which the parent process reads."""
    trace, when = traceback.format_exc(), time.monotonic_ns()
    if isinstance(error, CitycamError):  # also what is derived from it and takes other arguments
        error = CitycamError(str(error), exit_code=error.exit_code)
    try:
        content = pickle.dumps((when, error, trace))
        pickle.loads(content)
    except Exception:  # an exception may hold anything
        content = pickle.dumps((when, RuntimeError(f"{type(error).__name__}: {error}"), trace))
    return content


def _take_part(place: Path, rank: int) -> None:
    """Train as one rank; the first one writes all files."""
    import torch
    from torch import distributed

    from citycam.train.run import join, train
    from citycam.train.trainer import backend

    attempt = pickle.loads((place / _PLAN).read_bytes())
    device, ranks = torch.device(attempt.devices[rank]), len(attempt.devices)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        backend(device), init_method=f"file://{place / _MEETING}", rank=rank, world_size=ranks
    )
    own = dataclasses.replace(attempt, resolved=dataclasses.replace(attempt.resolved, device=attempt.devices[rank]))
    if rank:
        join(own)
        return
    try:
        train(own)
    finally:
        attempt.record.write()


def main() -> None:
    """Train as one rank of the parent process."""
    parser = argparse.ArgumentParser(prog="python -m citycam.train.ranks", description=__doc__)
    parser.add_argument("place", type=Path, help="folder of the parent process")
    parser.add_argument("--rank", type=int, required=True)
    given = parser.parse_args()
    _end_on_sigterm(given.place, given.rank)  # first: threads inherit which signals are blocked
    end_with_input()
    try:
        _take_part(given.place, given.rank)
    except BaseException as error:
        write_bytes(given.place / f"{given.rank}.failed", _failure(error))
        code = 1
    else:
        code = 0
    # At once: an orderly end would wait for ranks that are gone.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
