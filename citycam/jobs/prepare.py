"""What a request needs before its jobs: the heavy gate, every ``auto`` resolved once, the body, the bank."""

from __future__ import annotations

import dataclasses
import functools
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citycam import progress
from citycam.config import Config
from citycam.data.inputs import Inputs, load_inputs
from citycam.errors import CitycamError
from citycam.files import cache_root, write_json
from citycam.jobs.job import completed, computes_on
from citycam.jobs.launch import warm_up
from citycam.jobs.sharing import Share, check_devices, choose_device, machine_devices, share
from citycam.jobs.slots import Device
from citycam.sweep.gate import Job, Request
from citycam.sweep.ledger import JobRow, Ledger
from citycam.sweep.names import command
from citycam.sweep.record import read_record

if TYPE_CHECKING:
    from citycam.jobs.resolve import Resolved

# Bytes of a run beside its maps: checkpoints of a head, tables, figures, events.
_RUN_BYTES = 12 * 2**20
_OVERLAY_BYTES = 150_000
# For the estimate of time on two cores: a step of a head, files and start of a job, and an overlay.
_STEP_SECONDS, _JOB_SECONDS, _OVERLAY_SECONDS = 0.002, 1.0, 0.015


@dataclass(frozen=True)
class Prepared:
    """The jobs that are to be done, ``at_once`` of them at a time."""

    jobs: list[Job]
    at_once: int


def prepare(request: Request) -> Prepared:
    """Check, resolve and make everything that the jobs of a request share.

    Raises:
        CitycamError: one sentence on what cannot be; no job has started then.
    """
    _check_writable(request.sweep_folder)
    inputs = {job.folder: load_inputs(job.config) for job in request.jobs}
    todo = [job for job in request.jobs if not completed(job.folder, job.hash, inputs[job.folder].catalog.digest)]
    ledger = Ledger(request.sweep_folder)
    if not todo:
        _announce(request, [], [])
        return Prepared([], 1)
    return Prepared(todo, _resolve_all(request, todo, inputs, ledger))


def _resolve_all(request: Request, todo: Sequence[Job], inputs: dict[Path, Inputs], ledger: Ledger) -> int:
    """Everything that jobs share; returns how many of them run at a time."""
    say = functools.cache(_say)  # what holds for eight jobs is said once
    for job in todo:
        check_devices(job.config)
    devices = {kind: machine_devices(kind) for kind in {_kind_of(job) for job in todo}}
    shares = _shares(request, todo, devices, say)
    at_once = max(found.at_once for found in shares.values())
    if at_once > 1:
        warm_up()
    from citycam.jobs.resolve import check

    for job in todo:
        check(job.config)
    _announce(request, todo, [inputs[job.folder] for job in todo])
    _say_what_was_begun(todo, inputs)
    warnings = _other_versions(request, todo, say)
    resolved = {
        job.hash: _resolved(job, inputs[job.folder], ledger, shares[job.hash].threads, warnings, say) for job in todo
    }
    ledger.add(
        # What is gone on with was asked for before.
        commands=[shlex.join(["python", "train.py", *words]) for words in request.commands if not request.resumed],
        jobs=[
            JobRow(job.folder, job.hash, job.overrides, "missing", command=command(job.overrides, job.folder))
            for job in request.jobs
        ],
        resolved={digest: found.as_dict() for digest, found in resolved.items()},
        devices=devices,
    )
    _say(f"{_about(todo, inputs, resolved, at_once)} on {_where(todo, resolved, devices, at_once)}")
    _make_shared(request, todo, inputs, resolved)
    return at_once


def _resolved(
    job: Job, inputs: Inputs, ledger: Ledger, threads: int, warnings: dict[str, str], say: Callable[[str], None]
) -> Resolved:
    """What a job runs with: as in an earlier request of the sweep, threads and all, where that holds today."""
    from citycam.jobs.resolve import Resolved as Values
    from citycam.jobs.resolve import resolve

    known = ledger.resolved(job.hash)
    if known is not None and _still_there(known, job.config, inputs, say):
        return Values(**known)
    found = resolve(job.config, inputs, say)
    return dataclasses.replace(found, threads=threads, warnings=found.warnings | warnings)


def _make_shared(
    request: Request, todo: Sequence[Job], inputs: dict[Path, Inputs], resolved: dict[str, Resolved]
) -> None:
    """The body's file, and the bank. No job runs yet, so all cores work on it."""
    from citycam.bank.frozen import FrozenBody, body_file
    from citycam.jobs.resolve import all_threads

    # The longest runs first: they need every view that the shorter ones need.
    for job in sorted(todo, key=lambda job: -job.config.epochs):
        found = dataclasses.replace(resolved[job.hash], threads=all_threads(job.config))
        computes_on(found.device)
        if not found.frozen:
            _check_room_for_pictures(job.config, inputs[job.folder])
            continue
        body = FrozenBody(job.config, inputs[job.folder], found)
        body_file(request.sweep_folder, body.backbone, found.weights_digest)
        if job.config.bank.enabled:
            body.fill_features(job.config.epochs)


def _shares(
    request: Request,
    todo: Sequence[Job],
    devices: dict[str, list[Device]],
    say: Callable[[str], None],
) -> dict[str, Share]:
    """What each job gets of the machine, by hash; says where fewer run at a time than was asked for."""
    asked, jobs = request.at_once, len(request.jobs)
    shares = {job.hash: share(job.config, devices[_kind_of(job)], asked=asked, jobs=jobs) for job in todo}
    at_once = max(found.at_once for found in shares.values())
    if asked is not None and at_once < min(asked, jobs):
        some = next(iter(shares.values()))
        say(
            f"note: hydra.launcher.n_jobs={asked}, but there is room for {at_once} at a time "
            f"(threads={some.threads}, sweep.jobs_per_device={todo[0].config.sweep.jobs_per_device}); the others wait."
        )
    return shares


def _where(todo: Sequence[Job], resolved: dict[str, Resolved], devices: dict[str, list[Device]], at_once: int) -> str:
    """``2 x cuda, 2 jobs at a time, 8 threads each``."""
    kinds = ", ".join(kind if kind == "cpu" else f"{len(found)} x {kind}" for kind, found in sorted(devices.items()))
    threads = "/".join(map(str, sorted({found.threads for found in resolved.values()})))
    ranks = max(job.config.trainer.devices for job in todo)
    together = f"{ranks} processes for a model, " if ranks > 1 else ""
    return (
        f"{kinds}, {together}{at_once} job{'s' if at_once > 1 else ''} at a time, "
        f"{threads} thread{'s' * (threads != '1')} each"
    )


def _say_what_was_begun(todo: Sequence[Job], inputs: dict[Path, Inputs]) -> None:
    """Of jobs that an earlier request began: which go on, which start anew, which are tried again."""
    from citycam.train.resume import find_begun

    for job in todo:
        earlier = read_record(job.folder)
        if earlier is None:
            continue
        if earlier.get("status") == "failed":
            _say(f"{job.folder.name} failed before ({earlier.get('error')}) and is tried again.")
        for sentence in find_begun(job.folder, earlier, inputs[job.folder].catalog.digest)[1].values():
            _say(sentence)


def _other_versions(request: Request, todo: Sequence[Job], say: Callable[[str], None]) -> dict[str, str]:
    """A warning {code: sentence} for the runs to come, where completed ones of the request are of other versions."""
    from citycam.train.resume import differences

    records = [read_record(job.folder) for job in request.jobs if job not in todo]
    found = dict.fromkeys(filter(None, (differences(record) for record in records if record is not None)))
    if not found:
        return {}
    sentence = (
        f"Other runs of this sweep were trained by other versions ({'; '.join(found)}); differences may be theirs."
    )
    say(f"note: {sentence}")
    return {"other_versions": sentence}


def _about(todo: Sequence[Job], inputs: dict[Path, Inputs], resolved: dict[str, Resolved], at_once: int) -> str:
    """How long the jobs will take, roughly: views through the body at its measured rate, steps of the head, files."""
    from citycam.bank.frozen import FrozenBody

    seconds = 0.0
    missing: dict[str, float] = {}
    for job in todo:
        found, its = resolved[job.hash], inputs[job.folder]
        seconds += _JOB_SECONDS + _STEP_SECONDS * job.config.epochs * -(-len(its.train) // job.config.batch_size)
        seconds += _OVERLAY_SECONDS * _overlays(job.config, its)
        if found.frozen and job.config.bank.enabled:
            body = FrozenBody(job.config, its, found)
            missing[body.name] = max(missing.get(body.name, 0.0), body.missing_features(job.config.epochs) / found.rate)
        else:
            passes = job.config.epochs * (len(its.val) + (1 if found.frozen else 3) * len(its.train))
            seconds += passes / found.rate
    return f"about {progress.duration(seconds / min(at_once, len(todo)) + sum(missing.values()))}"


def _still_there(known: dict[str, Any], config: Config, inputs: Inputs, say: Callable[[str], None]) -> bool:
    """Whether what a job was resolved to in an earlier run of the sweep holds today."""
    path, kind = known.get("weights_path"), choose_device(config.trainer.accelerator).type
    if _kind(str(known["device"])) != kind:
        then = _kind(str(known["device"]))
        say(f"note: This sweep was begun on {then} and goes on on {kind}; last digits may differ.")
        return False
    return known.get("data_digest") == inputs.catalog.digest and (path is None or Path(str(path)).is_file())


def _kind(device: str) -> str:
    return device.partition(":")[0]


def _kind_of(job: Job) -> str:
    """The kind of device that a job runs on, here."""
    return choose_device(job.config.trainer.accelerator).type


def _announce(request: Request, todo: Sequence[Job], inputs: Sequence[Inputs]) -> None:
    """What will be done and where, in a few lines."""
    total, left = len(request.jobs), len(todo)
    what = f"{total} run{'s' if total > 1 else ''}"
    done = f", {total - left} of them done before" if left < total else ""
    _say(f"citycam: {what}{done}. Results: {_short(request.sweep_folder)}")
    others = len(set(Ledger(request.sweep_folder).jobs) - {job.folder.name for job in request.jobs})
    if others:
        _say(f"note: {others} run{'s' * (others > 1)} of other settings lie beside them; comparisons show all.")
    if not todo:
        return
    first = inputs[0]
    counts = Counter(first.split.parts)
    cities = len(first.catalog.cities)
    _say(
        f"{first.catalog.kind}: {len(first.catalog.pictures)} pictures of {cities} cities; split {first.split.kind}: "
        f"{counts['train']} train, {counts['val']} val"
        + (f", {counts['test']} test" if counts["test"] else "")
        + f"; maps of {first.target}"
    )
    for sentence in dict.fromkeys(sentence for found in inputs for sentence in found.warnings.values()):
        _say(f"note: {sentence}")
    epochs = sum(job.config.epochs for job in todo)
    steps = sum(
        job.config.epochs * -(-len(found.train) // job.config.batch_size)
        for job, found in zip(todo, inputs, strict=True)
    )
    size = sum(
        _RUN_BYTES + _OVERLAY_BYTES * _overlays(job.config, found) for job, found in zip(todo, inputs, strict=True)
    )
    _check_room(request.sweep_folder, size, "the results")
    _say(f"{left} to train: {epochs} epochs, {steps} steps in all; results need about {size / 2**20:.0f} MB of disk")


def _overlays(config: Config, inputs: Inputs) -> int:
    """Overlays of every explained picture and method."""
    cities = Counter(inputs.catalog.pictures[index].city for index in inputs.val.tolist())
    return min(config.explain.pictures, cities[inputs.target]) * len(config.explain.methods)


def _check_writable(folder: Path) -> None:
    """The results folder can be written: found out by writing.

    Raises:
        CitycamError: it cannot.
    """
    new = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    probe = folder / ".writable"
    write_json(probe, {})
    probe.unlink()
    for parent in new:  # a refused request leaves nothing behind
        parent.rmdir()


def _check_room(place: Path, needed: int, what: str) -> None:
    existing = next(parent for parent in (place, *place.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise CitycamError(
            f"{what.capitalize()} below {place} needs {needed / 2**20:.0f} MB and {free / 2**20:.0f} MB are free; free "
            "some space, or choose another place (hydra.sweep.dir=…, or CITYCAM_CACHE for the cache)."
        )


def _check_room_for_pictures(config: Config, inputs: Inputs) -> None:
    """Training that decodes pictures keeps them in the cache from its first epoch on.

    Raises:
        CitycamError: there is no room for them.
    """
    from citycam.data.cache import PictureCache

    if not config.bank.enabled or config.epochs < 2:
        return
    needed = 0
    for spec, rows in ((inputs.train_spec, inputs.train), (inputs.val_spec, inputs.val)):
        needed += PictureCache(spec, [inputs.catalog.pictures[row].digest for row in rows.tolist()]).missing_bytes
    if needed:
        _say(f"decoded pictures to keep below {cache_root()}: {progress.size(needed)}")
        _check_room(cache_root(), needed, "the cache of decoded pictures")


def _short(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
