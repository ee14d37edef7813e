"""Several devices for one model: a process (a rank) for each, which take their share of every batch.

Ranks start as ``python -m citycam.train.ranks``, with all that they need to know in a file: Lightning's own way runs
the command of the whole sweep again in each of them, and leaves its variables behind for the next job. They find each
other through a file of that folder, so that there is no port that somebody else could take.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from citycam.errors import CitycamError
from citycam.files import write_bytes
from citycam.processes import end_with_input, environment
from citycam.sweep.record import read_record

if TYPE_CHECKING:
    from citycam.train.run import Attempt

_PLAN, _MEETING = "plan", "meeting"
# Seconds between two looks at whether all ranks are alive.
_LOOK = 0.05


# What ended a rank, as it tells it: when, by the machine's clock in ns; the exception; its traceback.
_Failure = tuple[int, BaseException, str]


class RankTraceback(Exception):
    """The traceback of an exception that another process raised, as the cause of that exception in this one."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def train_by_ranks(attempt: Attempt) -> None:
    """As `citycam.train.run.train`, by a process for each of ``attempt.devices``, for example ``("cuda:0", "cuda:1")``.

    They share ``attempt.resolved.threads``. When this returns or raises, none of them is left, and the record holds all
    that was recorded.

    Raises:
        CitycamError: what a person can mend, or a rank was killed.
        Exception: whatever ended a rank, with the rank's traceback as its cause.
    """
    ranks = len(attempt.devices)
    with tempfile.TemporaryDirectory(prefix="citycam-") as name:
        place = Path(name)
        write_bytes(place / _PLAN, pickle.dumps(attempt))
        try:
            with contextlib.ExitStack() as stack:
                processes = []
                for rank in range(ranks):
                    processes.append(_start(place, rank, ranks))
                    stack.callback(_end, processes[-1])
                _watch(place, processes, attempt.devices)
        finally:
            attempt.record.record = read_record(attempt.folder) or attempt.record.record


def _start(place: Path, rank: int, ranks: int) -> subprocess.Popen[bytes]:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "NODE_RANK": 0}
    with contextlib.ExitStack() as stack:
        # People read what the first one says; what the others say is the same, or why they ended.
        said = None if rank == 0 else stack.enter_context((place / f"{rank}.log").open("wb"))
        return subprocess.Popen(
            [sys.executable, "-m", "citycam.train.ranks", str(place), "--rank", str(rank)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=environment(**{key: str(value) for key, value in names.items()}),
            # Ctrl-C is for the process that started them, which ends them.
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def _watch(place: Path, processes: Sequence[subprocess.Popen[bytes]], devices: Sequence[str]) -> None:
    """Wait until all ranks are done.

    Raises:
        BaseException: one has failed, for the reason that came first: when one is gone, the others fail too.
    """
    while running := [process for process in processes if process.poll() is None]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running[0].wait(_LOOK)
        if any(process.poll() for process in processes):
            raise _reason(place, processes, devices)


def _reason(place: Path, processes: Sequence[subprocess.Popen[bytes]], devices: Sequence[str]) -> BaseException:
    codes = [process.poll() or 0 for process in processes]
    told = sorted((_read_failure(path) for path in place.glob("*.failed")), key=lambda failure: failure[0])
    said = [error for _, error, _ in told if isinstance(error, CitycamError)]
    if said:
        return said[0]
    silent = [rank for rank, code in enumerate(codes) if code and not (place / f"{rank}.failed").exists()]
    if silent:
        rank = silent[0]
        return CitycamError(
            f"Process {rank + 1} of {len(devices)} that trained this model, on {devices[rank]}, was ended "
            f"({_ending(codes[rank], place / f'{rank}.log')}); the same command goes on from the last whole epoch.",
            exit_code=1,
        )
    _, first, trace = told[0]
    first.__cause__ = RankTraceback(trace)
    return first


def _ending(code: int, log: Path) -> str:
    if code < 0:
        hint = ", as when memory runs out" if code == -signal.SIGKILL else ""
        return f"by {signal.Signals(-code).name}{hint}"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return next((line for line in reversed(lines) if line.strip()), f"exit code {code}")


def _read_failure(path: Path) -> _Failure:
    when, error, trace = pickle.loads(path.read_bytes())
    return when, error, trace


def _failure(error: BaseException) -> bytes:
    """A rank's failure for the process that started it."""
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
    """What a rank does; the first one writes everything."""
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
    """Take part in a plan as one rank."""
    parser = argparse.ArgumentParser(prog="python -m citycam.train.ranks", description=__doc__)
    parser.add_argument("place", type=Path, help="folder of the process that started this one")
    parser.add_argument("--rank", type=int, required=True)
    given = parser.parse_args()
    end_with_input()
    try:
        _take_part(given.place, given.rank)
    except BaseException as error:
        write_bytes(given.place / f"{given.rank}.failed", _failure(error))
        code = 1
    else:
        code = 0
    # At once: taking apart what ranks hold together waits for those that are gone.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
