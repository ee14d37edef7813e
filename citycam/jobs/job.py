"""A job of a request: what stands in its folder, whether it is still to do, and how it ends, whatever ends it."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from citycam.config import Config
from citycam.errors import CitycamError
from citycam.files import explain_os_error, write_text
from citycam.jobs.slots import hold
from citycam.resolved import Resolved
from citycam.sweep.command import run_command
from citycam.sweep.compose import job_config_dir
from citycam.sweep.ledger import Ledger
from citycam.sweep.names import config_hash
from citycam.sweep.record import RunRecord, read_record
from citycam.train.ranks import train_by_ranks
from citycam.words import say

if TYPE_CHECKING:
    from citycam.train.run import Attempt

_NO_MEMORY = "{} ran out; make batch_size, image_size or bank.batch smaller."


def completed(folder: Path, digest: str, data_digest: str) -> bool:
    """Whether ``folder`` holds this very run, done.

    Raises:
        CitycamError: it holds a completed run of other settings or other data, which is never written over.
    """
    record = read_record(folder)
    if record is None or record.get("status") != "completed":
        return False
    if record.get("config_hash") != digest:
        raise CitycamError(
            f"{folder} holds a run with other settings, which is not written over; choose another sweep.name."
        )
    if (record.get("data") or {}).get("digest") != data_digest:
        raise CitycamError(
            f"{folder} holds this run on other data (pictures were added, changed or removed since), which is not "
            "written over; choose another sweep.name to train on the data as they are now."
        )
    return True


def run_job(config: Config, folder: Path, overrides: list[str], hydra: dict[str, str]) -> str:
    """Do one job and return its status: completed, failed, skipped where it was done before, stopped where an earlier
    failure stops the sweep, or refused where the folder is another's.

    ``hydra``: Hydra's own record of the job, file name to text, for the folder's .hydra.

    Whatever ends a job (an exception, ``sys.exit``, no memory) is caught and stands in its run.json, so that the other
    jobs go on.

    Raises:
        KeyboardInterrupt: after the run was marked interrupted.
    """
    try:
        with _alone(folder):
            return _attempt(config, folder, overrides, hydra)
    except CitycamError as error:  # nothing of this job has begun
        print(f"citycam: {error}", file=sys.stderr)
        return "refused"


def _attempt(config: Config, folder: Path, overrides: list[str], hydra: dict[str, str]) -> str:
    digest, earlier, ledger = config_hash(config), read_record(folder), Ledger(folder.parent)
    resolved = ledger.resolved(digest)
    if resolved is None:
        # What is to do was resolved before the jobs, so this was found done, or somebody took sweep.json away.
        if earlier is not None and earlier.get("status") == "completed":
            return "skipped"
        raise CitycamError(f"{folder.parent / 'sweep.json'} no longer knows {folder.name}; run the same command again.")
    if completed(folder, digest, resolved["data_digest"]):
        return "skipped"
    if earlier is not None and earlier.get("status") == "failed" and earlier["started"] >= ledger.began:
        return "failed"  # asked for twice in one request
    with _devices(config, folder, ledger, resolved) as devices:
        if config.sweep.fail_fast and _failed(ledger):
            say(f"{folder.name} is not started, since another job has failed (sweep.fail_fast=true).")
            return "stopped"
        return _do(config, folder, overrides, hydra, resolved, earlier, devices)


@contextlib.contextmanager
def _devices(config: Config, folder: Path, ledger: Ledger, resolved: dict[str, Any]) -> Iterator[list[str]]:
    """The devices of a job, its own until the context is left; torch's names, one for each rank.

    Nothing of the job has touched a device before. They are named and not hidden from the process (by
    CUDA_VISIBLE_DEVICES), since a launcher's processes do one job after the other, and torch looks only once.
    """
    kind = str(resolved["device"]).partition(":")[0]
    there, ranks = ledger.devices(kind), config.trainer.devices
    count = min(int(resolved["threads"]), len(there)) if kind == "cpu" else ranks
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
    resolved: dict[str, Any],
    earlier: dict[str, Any] | None,
    devices: list[str],
) -> str:
    """Train on devices of its own; returns the status that stands in run.json then."""
    from citycam.train.resume import find_resume_point
    from citycam.train.run import Attempt

    resume_from, notes = find_resume_point(folder, earlier, resolved["data_digest"])
    _clear(folder, everything=resume_from is None)
    record = RunRecord(
        folder,
        overrides=overrides,
        command=run_command(overrides, folder, job_config_dir()),
        config_hash=config_hash(config),
    )
    record.update(
        attempts=1 + int((earlier or {}).get("attempts", 0)), resumed_after=None, device=devices[0], devices=devices
    )
    if resume_from is None:
        for code, sentence in notes.items():
            record.warn(code, sentence)
    if resume_from is not None and earlier is not None:
        # At once on disk: killed before it describes its data, the run would not be known again and start anew.
        record.update(resumed_after=resume_from.epochs, data=earlier["data"], versions=earlier["versions"])
        _warn_of_another_place(record, earlier, resolved, devices)
        record.write()
    with _ending(record, folder):
        for name, text in hydra.items():
            write_text(folder / ".hydra" / name, text)
        computes_on(devices[0])
        values = Resolved(**resolved | {"device": devices[0]})
        _train(Attempt(config, folder, values, record, resume_from, tuple(devices)))
    return str(record.content["status"])


def _train(attempt: Attempt) -> None:
    from citycam.train.run import train

    (train if len(attempt.devices) == 1 else train_by_ranks)(attempt)


def _failed(ledger: Ledger) -> bool:
    """Whether a job of the latest request has failed."""
    records = [read_record(ledger.folder / row["folder"]) for row in ledger.jobs.values()]
    return any(
        found is not None and found.get("status") == "failed" and found["started"] >= ledger.began for found in records
    )


def _warn_of_another_place(
    record: RunRecord, earlier: dict[str, Any], resolved: dict[str, Any], devices: list[str]
) -> None:
    """A run that was begun on another kind of device, or with other threads, is not that of one place alone."""
    then = (str(earlier.get("device")).partition(":")[0], earlier.get("threads"))
    now = (devices[0].partition(":")[0], resolved["threads"])
    if None not in then and then != now:
        sentence = (
            f"It was begun on {then[0]} (threads={then[1]}) and goes on on {now[0]} (threads={now[1]}), so its last "
            "digits are not those of a run on either alone."
        )
        record.warn("begun_elsewhere", sentence)
        say(f"note: {record.folder.name}: {sentence}")


def computes_on(device: str) -> None:
    """Compute on ``device`` from here on; what this process keeps on another one is given up, since it may be somebody
    else's now."""
    import torch

    from citycam.bank.body import frozen_body

    if _warm and _warm != [device]:
        frozen_body.cache_clear()
        torch.cuda.empty_cache()  # does nothing where no GPU was used
    _warm[:] = [device]
    if device.startswith("cuda"):
        torch.cuda.set_device(device)


# The device that this process computed on last.
_warm: list[str] = []


@contextlib.contextmanager
def _ending(record: RunRecord, folder: Path) -> Iterator[None]:
    """Write how a job ended into its run.json and run.log; only Ctrl-C goes on upwards."""
    try:
        yield
        _end(record, folder, "completed", None)
    except KeyboardInterrupt:
        _end(record, folder, "interrupted", "Stopped by Ctrl-C.")
        raise
    except CitycamError as error:
        _end(record, folder, "failed", str(error))
    except MemoryError:
        _end(record, folder, "failed", _NO_MEMORY.format("Memory"))
    except OSError as error:
        _end(record, folder, "failed", str(explain_os_error(error, Path(error.filename or folder / "run.json"))))
    except SystemExit as error:
        _end(record, folder, "failed", f"The job ended itself (exit code {error.code}).")
    except Exception as error:  # a job's fault must not end the others; its traceback is kept in run.log
        if _out_of_memory(error):
            sentence = _NO_MEMORY.format("Memory of the device")
        else:
            sentence = f"{type(error).__name__}: {error} (the traceback is in {folder / 'run.log'})"
        _end(record, folder, "failed", sentence, traceback.format_exc())


def _end(record: RunRecord, folder: Path, status: str, error: str | None, trace: str = "") -> None:
    """Write the run's last word, and say it in one line."""
    try:
        record.finish(status, error)
        line = _line(record.content, folder.name)
        write_text(folder / "run.log", _log(record.content, line, trace))
    except CitycamError as fault:  # the disk is full: the run will be seen as interrupted, and the reason is said here
        line = f"{folder.name}: {fault}"
    print(line, file=sys.stdout if status == "completed" else sys.stderr, flush=True)


def _line(content: dict[str, Any], name: str) -> str:
    if content["status"] != "completed":
        return f"{name}: {content['status']}: {content['error']}"
    final = content["final"]
    low, high = final["val_accuracy_interval"]
    return (
        f"{name}: accuracy {final['val_accuracy']:.3f} [{low:.3f}, {high:.3f}], balanced "
        f"{final['val_balanced_accuracy']:.3f}, majority {final['majority_accuracy']:.3f}, n = {final['n_val']}, "
        f"{content['seconds']['total']:.0f} s"
    )


def _log(content: dict[str, Any], line: str, trace: str) -> str:
    """run.log: the story of a run for people; run.json has it for programs."""
    phases = [f"{name}: {value:.1f} s" for name, value in content["seconds"].items() if isinstance(value, float)]
    return "\n".join(
        [
            f"{content['started']} {content['command']}",
            f"on {content.get('device')}, {content.get('threads')} threads, attempt {content.get('attempts')}",
            *[f"note: {warning['sentence']}" for warning in content["warnings"]],
            *phases,
            line,
            trace,
        ]
    )


def _out_of_memory(error: Exception) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the run's folder; the kernel lets go of it when this process dies."""
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
    """Remove what an attempt that did not complete left half written, and ``everything`` that a new one would add to:
    events and checkpoints."""
    patterns = ["**/.*.part"]
    if everything:
        patterns += ["events.out.tfevents.*", "hparams.yaml", "checkpoints/*.ckpt", "run.log"]
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()
