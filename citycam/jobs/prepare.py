"""What a request needs before its jobs: the heavy gate, every ``auto`` resolved once, the body, the bank."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.config import Config
from citycam.data.inputs import Inputs, PlannedRun, load_inputs
from citycam.devices import Device, choose_device, machine_devices
from citycam.files import cache_root, check_room, check_writable
from citycam.jobs.announce import announce, announce_resumed, describe_place, estimate
from citycam.jobs.job import completed, computes_on
from citycam.jobs.launch import warm_up
from citycam.jobs.sharing import Share, check_devices, share
from citycam.resolved import Resolved
from citycam.sweep.command import run_command
from citycam.sweep.gate import Job, Request
from citycam.sweep.ledger import JobRow, Ledger
from citycam.sweep.record import read_record
from citycam.words import say, size


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
    check_writable(request.sweep_folder)
    inputs = {job.folder: load_inputs(job.config) for job in request.jobs}
    todo = [job for job in request.jobs if not completed(job.folder, job.hash, inputs[job.folder].catalog.digest)]
    ledger = Ledger(request.sweep_folder)
    if not todo:
        announce(request, [], [])
        return Prepared([], 1)
    return Prepared(todo, _resolve_all(request, todo, inputs, ledger))


def _resolve_all(request: Request, todo: Sequence[Job], inputs: dict[Path, Inputs], ledger: Ledger) -> int:
    """Everything that jobs share; returns how many of them run at a time."""
    say_once = functools.cache(say)  # what holds for eight jobs is said once
    for job in todo:
        check_devices(job.config)
    devices = {kind: machine_devices(kind) for kind in {_kind_of(job) for job in todo}}
    shares = _shares(request, todo, devices, say_once)
    at_once = max(found.at_once for found in shares.values())
    if at_once > 1:
        warm_up()
    from citycam.explain.grid import check_network

    for job in todo:
        check_network(job.config)
    announce(request, todo, [inputs[job.folder] for job in todo])
    announce_resumed(todo, inputs)
    warnings = _other_versions(request, todo, say_once)
    resolved = {
        job.hash: _resolved(job, inputs[job.folder], ledger, shares[job.hash].threads, warnings, say_once)
        for job in todo
    }
    ledger.add(
        # Those of a resumed sweep are there already.
        commands=[command.line for command in request.commands if not request.resumed],
        jobs=[
            JobRow(
                job.folder,
                job.hash,
                job.overrides,
                "missing",
                command=run_command(job.overrides, job.folder, job.config_dir),
            )
            for job in request.jobs
        ],
        resolved={digest: found.as_dict() for digest, found in resolved.items()},
        devices=devices,
    )
    say(f"{estimate(todo, inputs, resolved, at_once)} on {describe_place(todo, resolved, devices, at_once)}")
    _make_shared(request, todo, inputs, resolved)
    return at_once


def _resolved(
    job: Job, inputs: Inputs, ledger: Ledger, threads: int, warnings: dict[str, str], say: Callable[[str], None]
) -> Resolved:
    """What a job runs with: as in an earlier request of the sweep, threads and all, where that holds today."""
    from citycam.jobs.resolve import resolve

    known = ledger.resolved(job.hash)
    if known is not None and _still_there(known, job.config, inputs, say):
        return Resolved(**known)
    found = resolve(job.config, inputs, say)
    return dataclasses.replace(found, threads=threads, warnings=found.warnings | warnings)


def _make_shared(
    request: Request, todo: Sequence[Job], inputs: dict[Path, Inputs], resolved: dict[str, Resolved]
) -> None:
    """The body's file, and the bank. No job runs yet, so all cores work on it."""
    from citycam.bank.body import body_file
    from citycam.bank.frozen import FrozenBody
    from citycam.jobs.resolve import all_threads

    # The longest runs first: they need every view that the shorter ones need.
    for job in sorted(todo, key=lambda job: -job.config.epochs):
        found = dataclasses.replace(resolved[job.hash], threads=all_threads(job.config))
        computes_on(found.device)
        if not found.frozen:
            _check_room_for_pictures(job.config, inputs[job.folder])
            continue
        body = FrozenBody(PlannedRun(job.config, inputs[job.folder], found))
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
        say(f"decoded pictures to keep below {cache_root()}: {size(needed)}")
        check_room(cache_root(), needed, "the cache of decoded pictures")
