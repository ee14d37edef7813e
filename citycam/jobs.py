"""A job of a request: what stands in its folder, whether it is still to do, and how it ends, whatever ends it."""

from __future__ import annotations

import contextlib
import shlex
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from citycam.config import Config
from citycam.errors import CitycamError
from citycam.files import explain_os_error, write_text
from citycam.names import config_hash
from citycam.sweep.ledger import Ledger
from citycam.sweep.record import RunRecord, read_record

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
    """Do one job and return its status: completed, failed, skipped where it was done before, or refused where the
    folder is another's.

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
    from citycam.inputs import load_inputs
    from citycam.resolve import Resolved, resolve
    from citycam.resume import find_begun
    from citycam.run import train

    digest, earlier = config_hash(config), read_record(folder)
    resolved = Ledger(folder.parent).resolved(digest)
    if earlier is not None and resolved is not None and completed(folder, digest, resolved["data_digest"]):
        return "skipped"
    begun = None
    if resolved is not None:
        begun = find_begun(folder, earlier, digest, resolved["data_digest"], _say)
    if begun is None:
        _clear(folder)
    command = shlex.join(["python", "train.py", *overrides])
    record = RunRecord(folder, overrides=overrides, command=command, config_hash=digest)
    record.update(attempts=1 + int((earlier or {}).get("attempts", 0)), resumed_after=None)
    if begun is not None and earlier is not None:
        # At once on disk: killed before it describes its data, the run would not be known again and start anew.
        record.update(resumed_after=begun.epochs, data=earlier["data"], versions=earlier["versions"])
        record.write()
    with _ending(record, folder):
        for name, text in hydra.items():
            write_text(folder / ".hydra" / name, text)
        known = Resolved(**resolved) if resolved is not None else resolve(config, load_inputs(config), print)
        if config.trainer.devices == 1:
            train(config, folder, known, record, begun)
        else:
            from citycam.ranks import train_by_ranks

            train_by_ranks(config, folder, known, record, begun, devices=[known.device] * config.trainer.devices)
    return str(record.content["status"])


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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _clear(folder: Path) -> None:
    """Remove what an attempt that did not complete left of events and checkpoints, which a new one would add to."""
    for pattern in ("events.out.tfevents.*", "hparams.yaml", "checkpoints/*.ckpt", "run.log"):
        for path in folder.glob(pattern):
            path.unlink()
