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
from citycam.words import counted, duration, printable, say, size

# Bytes of a run beside its maps: checkpoints of a head, tables, figures, events.
RUN_BYTES = 12 * 2**20
_OVERLAY_BYTES = 150_000
# Cities that are named.
_NAMED = 20
# For the estimate of time on two cores: a step of a head, files and start of a job, and an overlay.
_STEP_SECONDS, _JOB_SECONDS, _OVERLAY_SECONDS = 0.002, 1.0, 0.015


def announce(request: Request, todo: Sequence[Job], inputs: Sequence[Inputs]) -> None:
    """Print what will be done, where, and how much disk it needs.

    Raises:
        CitycamError: the disk lacks room for the results.
    """
    total, left = len(request.jobs), len(todo)
    done = f", {total - left} of them done before" if left < total else ""
    say(f"citycam: {counted(total, 'run')}{done}. Results: {_short(request.sweep_folder)}")
    others = len(set(Ledger(request.sweep_folder).jobs) - {job.folder.name for job in request.jobs})
    if others:
        say(f"note: {counted(others, 'run')} of other settings lie beside them; comparisons show all.")
    if not todo:
        return
    first = inputs[0]
    counts = Counter(first.split.parts)
    cities = first.catalog.cities
    names = ", ".join(map(printable, cities[:_NAMED])) + (", …" if len(cities) > _NAMED else "")
    say(
        f"{first.catalog.kind}: {len(first.catalog.pictures)} pictures of {len(cities)} cities ({names}); split "
        f"{first.split.kind}: {counts['train']} train, {counts['val']} val"
        + (f", {counts['test']} test" if counts["test"] else "")
        + f"; maps of {printable(first.target)}"
    )
    for sentence in dict.fromkeys(sentence for its in inputs for sentence in its.warnings.values()):
        say(f"note: {sentence}")
    epochs = sum(job.config.epochs for job in todo)
    steps = sum(
        job.config.epochs * -(-len(its.train) // job.config.batch_size) for job, its in zip(todo, inputs, strict=True)
    )
    needed = sum(RUN_BYTES + _OVERLAY_BYTES * _overlays(job.config, its) for job, its in zip(todo, inputs, strict=True))
    check_room(request.sweep_folder, needed, "the results")
    say(f"{left} to train: {epochs} epochs, {steps} steps in all; results need about {size(needed)} of disk")


def _overlays(config: Config, inputs: Inputs) -> int:
    """The number of overlays: one per explained picture and method."""
    return _explained(config, inputs) * len(config.explain.methods)


def _explained(config: Config, inputs: Inputs) -> int:
    """The number of pictures that maps are drawn of."""
    cities = Counter(inputs.catalog.pictures[index].city for index in inputs.val.tolist())
    return min(config.explain.pictures, cities[inputs.target])


def announce_resumed(todo: Sequence[Job], inputs: dict[Path, Inputs]) -> None:
    """Print which jobs of an earlier request resume, restart or are retried."""
    from citycam.train.resume import find_resume_point

    for job in todo:
        earlier = read_record(job.folder)
        if earlier is None:
            continue
        if earlier.status == "failed":
            say(f"{job.folder.name} failed before ({earlier.error}) and is retried.")
        for sentence in find_resume_point(job.folder, earlier, inputs[job.folder].catalog.digest)[1].values():
            say(sentence)


def estimate(todo: Sequence[Job], inputs: dict[Path, Inputs], resolved: dict[str, Resolved], at_once: int) -> str:
    """Return about how long the jobs take: views through the body at its measured rate, steps of the head, files."""
    from citycam.bank.frozen import FrozenBody
    from citycam.explain.whole import passes_of

    seconds = 0.0
    missing: dict[str, float] = {}
    for job in todo:
        config, data, values = job.config, inputs[job.folder], resolved[job.hash]
        seconds += _JOB_SECONDS + _STEP_SECONDS * config.epochs * -(-len(data.train) // config.batch_size)
        seconds += _OVERLAY_SECONDS * _overlays(config, data)
        seconds += _explained(config, data) * passes_of(config.explain) / values.rate
        if values.frozen and config.bank.enabled:
            body = FrozenBody(PlannedRun(config, data, values))
            missing[body.name] = max(missing.get(body.name, 0.0), body.missing_features(config.epochs) / values.rate)
        else:
            passes = config.epochs * (len(data.val) + (1 if values.frozen else 3) * len(data.train))
            seconds += passes / values.rate
    return f"about {duration(seconds / min(at_once, len(todo)) + sum(missing.values()))}"


def describe_place(
    todo: Sequence[Job], resolved: dict[str, Resolved], devices: dict[str, list[Device]], at_once: int
) -> str:
    """Return where the jobs run: ``2 x cuda, 2 jobs at a time, 8 threads each``."""
    kinds = ", ".join(kind if kind == "cpu" else f"{len(its)} x {kind}" for kind, its in sorted(devices.items()))
    threads = "/".join(map(str, sorted({values.threads for values in resolved.values()})))
    ranks = max(job.config.trainer.devices for job in todo)
    together = f"{ranks} processes for a model, " if ranks > 1 else ""
    return f"{kinds}, {together}{counted(at_once, 'job')} at a time, {threads} thread{'s' * (threads != '1')} each"


def _short(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
