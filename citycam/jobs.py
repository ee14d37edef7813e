"""A job of a request: what stands in its folder, whether it is still to do, and how it ends, whatever ends it."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import filelock

from citycam.config import Config
from citycam.errors import CitycamError
from citycam.files import write_text
from citycam.names import config_hash
from citycam.sweep.ledger import Ledger
from citycam.sweep.record import RunRecord, read_record


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


def run_job(config: Config, folder: Path, overrides: list[str]) -> str:
    """Do one job and return its status: completed, failed, or skipped where it was done before.

    Whatever ends a job (an exception, ``sys.exit``, no memory) is caught and stands in its run.json, so that the other
    jobs go on.

    Raises:
        KeyboardInterrupt: after the run was marked interrupted.
    """
    digest = config_hash(config)
    command = " ".join(["python train.py", *map(_quoted, overrides)])
    with _alone(folder):
        earlier = read_record(folder)
        from citycam.inputs import load_inputs
        from citycam.resolve import Resolved, resolve
        from citycam.run import train

        resolved = Ledger(folder.parent).resolved(digest)
        if earlier is not None and resolved is not None and completed(folder, digest, resolved["data_digest"]):
            return "skipped"
        _clear(folder)
        record = RunRecord(folder, overrides=overrides, command=command, config_hash=digest)
        record.update(attempts=1 + int((earlier or {}).get("attempts", 0)))
        begun = time.perf_counter()
        with _ending(record, folder):
            known = Resolved(**resolved) if resolved is not None else resolve(config, load_inputs(config), print)
            train(config, folder, known, record)
            record.finish("completed")
        _say(record, folder, time.perf_counter() - begun)
    return str(record.content["status"])


@contextlib.contextmanager
def _ending(record: RunRecord, folder: Path) -> Iterator[None]:
    """Write how a job ended into its run.json; only Ctrl-C goes on upwards."""
    try:
        yield
    except KeyboardInterrupt:
        _end(record, "interrupted", "Stopped by Ctrl-C.")
        raise
    except CitycamError as error:
        _end(record, "failed", str(error))
    except MemoryError:
        _end(record, "failed", "Memory ran out; make batch_size, image_size or bank.batch smaller.")
    except SystemExit as error:
        _end(record, "failed", f"The job ended itself (exit code {error.code}).")
    except Exception as error:  # a job's fault must not end the others; its traceback is kept in run.log
        if _out_of_memory(error):
            sentence = "Memory of the device ran out; make batch_size, image_size or bank.batch smaller."
        else:
            sentence = f"{type(error).__name__}: {error}".strip()
        write_text(folder / "run.log", traceback.format_exc())
        _end(record, "failed", f"{sentence} (see {folder / 'run.log'})")


def _end(record: RunRecord, status: str, sentence: str) -> None:
    try:
        record.finish(status, sentence)
    except CitycamError as error:  # the disk is full: the run is seen as interrupted, and the reason is said here
        print(f"citycam: {error}", file=sys.stderr)


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


def _clear(folder: Path) -> None:
    """Remove what an attempt that did not complete left of events and checkpoints, which a new one would add to."""
    for pattern in ("events.out.tfevents.*", "hparams.yaml", "checkpoints/*.ckpt", "run.log"):
        for path in folder.glob(pattern):
            path.unlink()


def _say(record: RunRecord, folder: Path, seconds: float) -> None:
    """One line per finished run."""
    content = record.content
    name = folder.name
    if content["status"] != "completed":
        print(f"{name}: {content['status']}: {content['error']}", file=sys.stderr)
        return
    final = content["final"]
    low, high = final["val_accuracy_interval"]
    print(
        f"{name}: accuracy {final['val_accuracy']:.3f} [{low:.3f}, {high:.3f}], balanced "
        f"{final['val_balanced_accuracy']:.3f}, majority {final['majority_accuracy']:.3f}, n = {final['n_val']}, "
        f"{seconds:.0f} s"
    )


def _quoted(text: str) -> str:
    return f"'{text}'" if set(text) & set(" ()[]{}$*?&|;<>\"\\") else text
