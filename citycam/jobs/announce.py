"""What a request says before its jobs start: what will be done, where, how long it takes and how much disk it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from citycam.config import Config
from citycam.data.inputs import Inputs, PlannedRun
from citycam.devices import Device
from citycam.files import check_room
from citycam.resolved import Resolved
from citycam.sweep.gate import Job, Request
from citycam.sweep.ledger import Ledger
from citycam.sweep.record import read_record
from citycam.words import duration, say, size

# Bytes of a run beside its maps: checkpoints of a head, tables, figures, events.
RUN_BYTES = 12 * 2**20
_OVERLAY_BYTES = 150_000
# For the estimate of time on two cores: a step of a head, files and start of a job, and an overlay.
_STEP_SECONDS, _JOB_SECONDS, _OVERLAY_SECONDS = 0.002, 1.0, 0.015


def announce(request: Request, todo: Sequence[Job], inputs: Sequence[Inputs]) -> None:
    """What will be done and where, in a few lines."""
    total, left = len(request.jobs), len(todo)
    what = f"{total} run{'s' if total > 1 else ''}"
    done = f", {total - left} of them done before" if left < total else ""
    say(f"citycam: {what}{done}. Results: {_short(request.sweep_folder)}")
    others = len(set(Ledger(request.sweep_folder).jobs) - {job.folder.name for job in request.jobs})
    if others:
        say(f"note: {others} run{'s' * (others > 1)} of other settings lie beside them; comparisons show all.")
    if not todo:
        return
    first = inputs[0]
    counts = Counter(first.split.parts)
    cities = len(first.catalog.cities)
    say(
        f"{first.catalog.kind}: {len(first.catalog.pictures)} pictures of {cities} cities; split {first.split.kind}: "
        f"{counts['train']} train, {counts['val']} val"
        + (f", {counts['test']} test" if counts["test"] else "")
        + f"; maps of {first.target}"
    )
    for sentence in dict.fromkeys(sentence for found in inputs for sentence in found.warnings.values()):
        say(f"note: {sentence}")
    epochs = sum(job.config.epochs for job in todo)
    steps = sum(
        job.config.epochs * -(-len(found.train) // job.config.batch_size)
        for job, found in zip(todo, inputs, strict=True)
    )
    needed = sum(
        RUN_BYTES + _OVERLAY_BYTES * _overlays(job.config, found) for job, found in zip(todo, inputs, strict=True)
    )
    check_room(request.sweep_folder, needed, "the results")
    say(f"{left} to train: {epochs} epochs, {steps} steps in all; results need about {size(needed)} of disk")


def _overlays(config: Config, inputs: Inputs) -> int:
    """Overlays of every explained picture and method."""
    cities = Counter(inputs.catalog.pictures[index].city for index in inputs.val.tolist())
    return min(config.explain.pictures, cities[inputs.target]) * len(config.explain.methods)


def announce_resumed(todo: Sequence[Job], inputs: dict[Path, Inputs]) -> None:
    """Of jobs that an earlier request began: which go on, which start anew, which are tried again."""
    from citycam.train.resume import find_resume_point

    for job in todo:
        earlier = read_record(job.folder)
        if earlier is None:
            continue
        if earlier.status == "failed":
            say(f"{job.folder.name} failed before ({earlier.error}) and is tried again.")
        for sentence in find_resume_point(job.folder, earlier, inputs[job.folder].catalog.digest)[1].values():
            say(sentence)


def estimate(todo: Sequence[Job], inputs: dict[Path, Inputs], resolved: dict[str, Resolved], at_once: int) -> str:
    """How long the jobs will take, roughly: views through the body at its measured rate, steps of the head, files."""
    from citycam.bank.frozen import FrozenBody

    seconds = 0.0
    missing: dict[str, float] = {}
    for job in todo:
        found, its = resolved[job.hash], inputs[job.folder]
        seconds += _JOB_SECONDS + _STEP_SECONDS * job.config.epochs * -(-len(its.train) // job.config.batch_size)
        seconds += _OVERLAY_SECONDS * _overlays(job.config, its)
        if found.frozen and job.config.bank.enabled:
            body = FrozenBody(PlannedRun(job.config, its, found))
            missing[body.name] = max(missing.get(body.name, 0.0), body.missing_features(job.config.epochs) / found.rate)
        else:
            passes = job.config.epochs * (len(its.val) + (1 if found.frozen else 3) * len(its.train))
            seconds += passes / found.rate
    return f"about {duration(seconds / min(at_once, len(todo)) + sum(missing.values()))}"


def describe_place(
    todo: Sequence[Job], resolved: dict[str, Resolved], devices: dict[str, list[Device]], at_once: int
) -> str:
    """``2 x cuda, 2 jobs at a time, 8 threads each``."""
    kinds = ", ".join(kind if kind == "cpu" else f"{len(found)} x {kind}" for kind, found in sorted(devices.items()))
    threads = "/".join(map(str, sorted({found.threads for found in resolved.values()})))
    ranks = max(job.config.trainer.devices for job in todo)
    together = f"{ranks} processes for a model, " if ranks > 1 else ""
    return (
        f"{kinds}, {together}{at_once} job{'s' if at_once > 1 else ''} at a time, "
        f"{threads} thread{'s' * (threads != '1')} each"
    )


def _short(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
