"""One job of a request: whether its run is complete already, the devices it gets, and how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from citycam.config import Config
from citycam.devices import machine_devices
from citycam.errors import CitycamError
from citycam.files import explain_os_error, is_temporary, write_json, write_text
from citycam.jobs.slots import hold
from citycam.processes import Terminated, forget
from citycam.resolved import Resolved
from citycam.sweep.command import run_command
from citycam.sweep.compose import job_config_dir
from citycam.sweep.ledger import Ledger
from citycam.sweep.names import config_hash
from citycam.sweep.record import NAME as RECORD
from citycam.sweep.record import RunRecord, read_record
from citycam.sweep.recorder import Recorder
from citycam.sweep.resume import changed_settings
from citycam.train.ranks import train_by_ranks
from citycam.words import decimal, say

if TYPE_CHECKING:
    from citycam.train.run import Attempt

# As TensorBoard names them: time, host, process, number.
_EVENTS = re.compile(r"events\.out\.tfevents\.\d{10}\..+\.\d+\.\d+")
_NO_MEMORY = "{} ran out; make batch_size, image_size or bank.batch smaller."


def is_complete(folder: Path, config: Config, data_digest: str) -> bool:
    """Return whether ``folder`` holds the run that ``config`` asks for, completed; an earlier attempt at it may resume.

    Raises:
        CitycamError: it holds a run with other settings, a completed run on other data, or files that are not ours,
            none of which is ever written over; or its run.json is damaged.
    """
    record = read_record(folder)
    if record is None:
        # A run that was killed before its first run.json has Hydra's record alone; other programs of Hydra have more.
        if folder.is_dir() and not {path.name for path in folder.iterdir() if not is_temporary(path)} <= {".hydra"}:
            raise CitycamError(f"{folder} holds files of others, which are not written over; choose another folder.")
        return False
    if record.config_hash != config_hash(config):
        changes = changed_settings(folder, config)
        raise CitycamError(
            f"{folder} holds a run with other settings{f' ({changes})' if changes else ''}, which is neither resumed "
            "nor written over; choose another sweep.name or hydra.run.dir."
        )
    if record.status != "completed":
        return False
    if record.data.digest != data_digest:
        raise CitycamError(
            f"{folder} holds this run on other data (pictures were added, changed or removed since), which is not "
            "written over; choose another sweep.name to train on the data as they are now."
        )
    return True


def run_job(config: Config, folder: Path, overrides: list[str], hydra: dict[str, str]) -> str:
    """Run one job and return its status.

    The status is completed or failed; skipped where the run was completed before; stopped where an earlier failure
    stops the sweep; or refused where the folder holds something else. An exception, ``sys.exit`` or lack of memory is
    caught and recorded in run.json, so that the other jobs continue.

    Args:
        folder: the run's.
        hydra: Hydra's own record of the job, file name to text, for the folder's .hydra.

    Raises:
        KeyboardInterrupt: after the run was marked interrupted.
    """
    try:
        with _alone(folder):
            return _attempt(config, folder, overrides, hydra)
    except CitycamError as error:  # the job has not started
        print(f"citycam: {error}", file=sys.stderr)
        return "refused"


def _attempt(config: Config, folder: Path, overrides: list[str], hydra: dict[str, str]) -> str:
    digest, earlier, ledger = config_hash(config), read_record(folder), Ledger(folder.parent)
    resolved = ledger.resolved(digest)
    if resolved is None:
        # Jobs to do were resolved before the launch, so this one is complete, or sweep.json was removed.
        if earlier is not None and earlier.status == "completed":
            return "skipped"
        raise CitycamError(f"{folder.parent / 'sweep.json'} no longer knows {folder.name}; run the same command again.")
    if is_complete(folder, config, resolved.data_digest):
        return "skipped"
    if earlier is not None and earlier.status == "failed" and earlier.started >= ledger.began:
        return "failed"  # it stands twice in one request
    with _devices(config, folder, resolved) as devices:
        if config.sweep.fail_fast and _failed(ledger):
            say(f"{folder.name} is not started, since another job has failed (sweep.fail_fast=true).")
            return "stopped"
        return _do(config, folder, overrides, hydra, resolved, earlier, devices)


@contextlib.contextmanager
def _devices(config: Config, folder: Path, resolved: Resolved) -> Iterator[list[str]]:
    """Hold the devices of a job while the context is open; yields torch's names, one per rank.

    The job has not touched a device before. Devices are passed by name rather than through CUDA_VISIBLE_DEVICES, since
    a launcher's process runs several jobs and torch reads that variable once.
    """
    kind = resolved.device.partition(":")[0]
    there, ranks = machine_devices(kind), config.trainer.devices
    count = min(resolved.threads, len(there)) if kind == "cpu" else ranks
    with hold(
        there,
        count=count,
        per_device=config.sweep.jobs_per_device,
        run=str(folder),
        waiting=lambda sentence: say(f"{folder.name}: {sentence}"),
        warm=_warm[-1] if _warm else None,
    ) as held:
        # In the order of their numbers, as Lightning deals them to ranks.
        names = sorted((device.name for device in held), key=lambda name: (len(name), name))
        yield [kind] * ranks if kind == "cpu" else names


def _do(
    config: Config,
    folder: Path,
    overrides: list[str],
    hydra: dict[str, str],
    resolved: Resolved,
    earlier: RunRecord | None,
    devices: list[str],
) -> str:
    """Train on the job's devices and return the status recorded in run.json."""
    from citycam.train.resume import find_resume_point
    from citycam.train.run import Attempt

    resume_from, notes = find_resume_point(folder, earlier, resolved.data_digest)
    _clear(folder, everything=resume_from is None)
    record = Recorder(
        folder,
        overrides=tuple(overrides),
        command=run_command(overrides, folder, job_config_dir()),
        config_hash=config_hash(config),
        attempts=1 + (earlier.attempts if earlier is not None else 0),
        device=devices[0],
        devices=tuple(devices),
    )
    if resume_from is None:
        for code, sentence in notes.items():
            record.warn(code, sentence)
    if resume_from is not None and earlier is not None:
        # Written at once: a run killed before it records its data could not be resumed.
        record.update(resumed_after=resume_from.epochs, data=earlier.data, versions=earlier.versions)
        _warn_of_another_place(record, earlier, resolved, devices)
        record.write()
    with _ending(record, folder):
        for name, text in hydra.items():
            write_text(folder / ".hydra" / name, text)
        computes_on(devices[0])
        values = dataclasses.replace(resolved, device=devices[0])
        _train(Attempt(config, folder, values, record, resume_from, tuple(devices)))
    return record.record.status


def _train(attempt: Attempt) -> None:
    from citycam.train.run import train

    (train if len(attempt.devices) == 1 else train_by_ranks)(attempt)


def _failed(ledger: Ledger) -> bool:
    """Return whether a job of the latest request has failed."""
    records = [read_record(ledger.folder / row["folder"]) for row in ledger.jobs.values()]
    return any(
        record is not None and record.status == "failed" and record.started >= ledger.began for record in records
    )


def _warn_of_another_place(record: Recorder, earlier: RunRecord, resolved: Resolved, devices: list[str]) -> None:
    """Warn if the run is resumed on another kind of device or with another number of threads."""
    then = (str(earlier.device).partition(":")[0], earlier.threads)
    now = (devices[0].partition(":")[0], resolved.threads)
    if None not in then and then != now:
        sentence = (
            f"It started on {then[0]} (threads={then[1]}) and resumes on {now[0]} (threads={now[1]}), so its last "
            "digits differ from those of a run on either alone."
        )
        record.warn("begun_elsewhere", sentence)
        say(f"note: {record.folder.name}: {sentence}")


def computes_on(device: str) -> None:
    """Compute on ``device`` now, and free what this process keeps on another, which another job may hold."""
    import torch

    if _warm and _warm != [device]:
        forget(on_device=True)
        torch.cuda.empty_cache()  # does nothing where no GPU was used
    _warm[:] = [device]
    if device.startswith("cuda"):
        torch.cuda.set_device(device)


# The device this process computed on last.
_warm: list[str] = []


@contextlib.contextmanager
def _ending(record: Recorder, folder: Path) -> Iterator[None]:
    """Record how a job ends in its run.json and run.log; only Ctrl-C and SIGTERM are raised again."""
    try:
        yield
        _end(record, folder, "completed", None)
    except KeyboardInterrupt as error:
        _end(record, folder, "interrupted", _stopped(error))
        raise
    except CitycamError as error:
        _end(record, folder, "failed", str(error))
    except MemoryError:
        _end(record, folder, "failed", _NO_MEMORY.format("Memory"))
    except OSError as error:
        _end(record, folder, "failed", str(explain_os_error(error, Path(error.filename or folder / "run.json"))))
    except SystemExit as error:
        _end(record, folder, "failed", f"The job ended itself (exit code {error.code}).")
    except Exception as error:  # one job's fault must not end the others; its traceback is kept in run.log
        if _out_of_memory(error):
            sentence = _NO_MEMORY.format("Memory of the device")
        else:
            sentence = f"{type(error).__name__}: {error} (the traceback is in {folder / 'run.log'})"
        _end(record, folder, "failed", sentence, traceback.format_exc())


def record_stop(folder: Path, since: str, stop: KeyboardInterrupt) -> None:
    """Record that a run was stopped, if its process was killed before it could do so itself: joblib kills all of its
    processes when this one is stopped.

    Args:
        folder: the run's.
        since: runs that started earlier were stopped by something else.
        stop: what stopped this process.
    """
    with contextlib.suppress(CitycamError):  # the record is damaged, or the disk is full: it reads as interrupted
        record = read_record(folder)
        if record is None or record.status != "running" or record.state == "running" or record.started < since:
            return
        with _alone(folder):
            stopped = dataclasses.replace(record, status="interrupted", error=_stopped(stop))
            write_json(folder / RECORD, stopped.to_json())


def _stopped(stop: KeyboardInterrupt) -> str:
    return f"Stopped by {'SIGTERM' if isinstance(stop, Terminated) else 'Ctrl-C'}."


def _end(record: Recorder, folder: Path, status: str, error: str | None, trace: str = "") -> None:
    """Write the final status, and print it in one line."""
    try:
        record.finish(status, error)
        line = _line(record.record, folder.name)
        write_text(folder / "run.log", _log(record.record, line, trace))
    except CitycamError as fault:  # the disk is full: the run will read as interrupted, and the reason is printed here
        line = f"{folder.name}: {fault}"
    print(line, file=sys.stdout if status == "completed" else sys.stderr, flush=True)


def _line(record: RunRecord, name: str) -> str:
    if record.status != "completed":
        return f"{name}: {record.status}: {record.error}"
    final = record.final
    low, high = final["val_accuracy_interval"]
    return (
        f"{name}: accuracy {decimal(final['val_accuracy'])} [{decimal(low)}, {decimal(high)}], balanced "
        f"{decimal(final['val_balanced_accuracy'])}, majority {decimal(final['majority_accuracy'])}, "
        f"n = {final['n_val']}, "
        f"{record.seconds['total']:.0f} s"
    )


def _log(record: RunRecord, line: str, trace: str) -> str:
    """The text of run.log, for people; run.json is for programs."""
    return "\n".join(
        [
            f"{record.started} {record.command}",
            f"on {record.device}, {record.threads} threads, attempt {record.attempts}",
            *[f"note: {warning.sentence}" for warning in record.warnings],
            *[f"{name}: {value:.1f} s" for name, value in record.seconds.items()],
            line,
            trace,
        ]
    )


def _out_of_memory(error: Exception) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the run's folder, which the kernel frees when this process dies."""
    path = folder.parent / ".locks" / f"{folder.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(path)
    try:
        held.acquire(blocking=False)
    except filelock.Timeout as error:
        raise CitycamError(f"{folder} is being trained by another process; wait for it.", exit_code=1) from error
    try:
        yield
    finally:
        held.release()


def _clear(folder: Path, *, everything: bool) -> None:
    """Remove half-written files of an earlier attempt; with ``everything``, also what a new one would append to.

    A person's own files beside them stay.
    """
    # The folder is held, so nobody writes them any more.
    doomed = [path for path in folder.rglob(".*.part") if is_temporary(path)]
    if everything:
        names = ("hparams.yaml", "checkpoints/last.ckpt", "checkpoints/best.ckpt", "run.log")
        doomed += [folder / name for name in names if (folder / name).is_file()]
        doomed += [path for path in folder.glob("events.out.tfevents.*") if _EVENTS.fullmatch(path.name)]
    for path in doomed:
        path.unlink()
