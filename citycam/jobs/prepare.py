"""What a request needs before its jobs: checks that take time, every ``auto`` resolved once, the body, the bank."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from citycam.config import Config
from citycam.data.inputs import Inputs, PlannedRun, load_inputs
from citycam.devices import Device, choose_device, machine_devices
from citycam.errors import CitycamError, DamagedFile
from citycam.files import cache_root, check_room, check_writable
from citycam.jobs.announce import announce, announce_resumed, describe_place, estimate
from citycam.jobs.job import computes_on, is_complete
from citycam.jobs.joblib_launcher import start_fork_server
from citycam.jobs.sharing import Share, check_devices, share
from citycam.resolved import Resolved
from citycam.sweep.command import run_command
from citycam.sweep.gate import Job, Request
from citycam.sweep.ledger import NAME as LEDGER
from citycam.sweep.ledger import JobRow, Ledger
from citycam.sweep.maps import explain_line, other_maps
from citycam.sweep.record import NAME as RECORD
from citycam.sweep.record import read_record
from citycam.sweep.stored import read_settings
from citycam.words import say, size


@dataclass(frozen=True)
class Prepared:
    """The jobs to run, ``at_once`` of them at a time."""

    jobs: list[Job]
    at_once: int


def prepare(request: Request) -> Prepared:
    """Check, resolve and make everything that the jobs of a request share.

    Raises:
        CitycamError: one sentence on what is not possible; no job has started then.
    """
    if request.commands[0].multirun:
        _check_sweep_folder(request.sweep_folder)
    check_writable(request.sweep_folder)
    inputs = {job.folder: load_inputs(job.config) for job in request.jobs}
    todo = [job for job in request.jobs if not is_complete(job.folder, job.config, inputs[job.folder].catalog.digest)]
    _say_other_maps(request, [job for job in request.jobs if job not in todo])
    if not todo:
        announce(request, [], [])
        return Prepared([], 1)
    return Prepared(todo, _prepare_jobs(request, todo, inputs))


def _check_sweep_folder(folder: Path) -> None:
    """Check that a sweep may write into ``folder``: it is new, or holds a sweep or runs of citycam.

    Hidden files do not count, since file managers leave some. A single run may lie beside a person's own files.

    Raises:
        CitycamError: it holds files of others alone.
    """
    try:
        there = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:  # it does not exist, or cannot be read; `check_writable` says what is wrong then
        return
    if there and not (folder / LEDGER).exists() and not any((path / RECORD).exists() for path in there):
        raise CitycamError(
            f"{folder} holds files of others and no sweep of citycam; choose a new or an empty folder for "
            "hydra.sweep.dir (or another sweep.name)."
        )


def _say_other_maps(request: Request, done: Sequence[Job]) -> None:
    """Say how to draw the maps that completed runs are now asked for and do not have."""
    lines: dict[str, None] = {}
    for job in done:
        try:
            before = read_settings(job.folder).get("explain")
        except (FileNotFoundError, DamagedFile):
            continue
        settings = other_maps(before, job.config.explain) if isinstance(before, dict) else []
        lines |= {explain_line(request.sweep_folder, settings): None} if settings else {}
    for line in lines:
        say(f"note: Completed runs keep their maps. For those of these settings: {line}")


def _prepare_jobs(request: Request, todo: Sequence[Job], inputs: dict[Path, Inputs]) -> int:
    """Prepare the jobs to run, and return how many of them run at a time."""
    say_once = functools.cache(say)  # a sentence that holds for eight jobs is printed once
    for job in todo:
        check_devices(job.config)
    devices = {kind: machine_devices(kind) for kind in {_device_kind(job.config) for job in todo}}
    shares = _shares(request, todo, devices, say_once)
    at_once = max(share.at_once for share in shares.values())
    if at_once > 1:
        start_fork_server()
    from citycam.explain.grid import check_network
    from citycam.model.norms import check_batches

    for job in todo:
        check_network(job.config)
    announce(request, todo, [inputs[job.folder] for job in todo])
    announce_resumed(todo, inputs)
    warnings = _other_versions(request, todo, say_once)
    ledger = Ledger(request.sweep_folder)
    resolved = {
        job.hash: _resolve(job, inputs[job.folder], ledger, shares[job.hash].threads, warnings, say_once)
        for job in todo
    }
    for job in todo:
        check_batches(job.config, resolved[job.hash], len(inputs[job.folder].train))
    ledger.add(
        # The commands of a resumed sweep stand in its sweep.json already.
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
        resolved=resolved,
        devices=devices,
    )
    say(f"{estimate(todo, inputs, resolved, at_once)} on {describe_place(todo, resolved, devices, at_once)}")
    _make_shared(request, todo, inputs, resolved)
    return at_once


def _resolve(
    job: Job, inputs: Inputs, ledger: Ledger, threads: int, warnings: dict[str, str], say: Callable[[str], None]
) -> Resolved:
    """Return what a job uses: as an earlier request of the sweep resolved it, where that still holds."""
    from citycam.jobs.resolve import resolve

    known = ledger.resolved(job.hash)
    if known is not None and _still_holds(known, job.config, inputs, say):
        return known
    values = resolve(job.config, inputs, say)
    return dataclasses.replace(values, threads=threads, warnings=values.warnings | warnings)


def _make_shared(
    request: Request, todo: Sequence[Job], inputs: dict[Path, Inputs], resolved: dict[str, Resolved]
) -> None:
    """Make the body's file and the bank, on all cores, since no job runs yet."""
    from citycam.bank.body import body_file
    from citycam.bank.frozen import FrozenBody
    from citycam.jobs.resolve import all_threads

    # The longest runs first: they need every view that the shorter ones need.
    for job in sorted(todo, key=lambda job: -job.config.epochs):
        values = dataclasses.replace(resolved[job.hash], threads=all_threads(job.config))
        computes_on(values.device)
        if not values.frozen:
            _check_room_for_pictures(job.config, inputs[job.folder])
            continue
        body = FrozenBody(PlannedRun(job.config, inputs[job.folder], values))
        body_file(request.sweep_folder, body.backbone, values.weights_digest)
        if job.config.bank.enabled:
            body.fill_features(job.config.epochs)


def _shares(
    request: Request,
    todo: Sequence[Job],
    devices: dict[str, list[Device]],
    say: Callable[[str], None],
) -> dict[str, Share]:
    """Return each job's share of the machine by its hash, and say where fewer run at a time than requested."""
    wanted, jobs = request.at_once, len(request.jobs)
    shares = {job.hash: share(job.config, devices[_device_kind(job.config)], asked=wanted, jobs=jobs) for job in todo}
    at_once = max(its.at_once for its in shares.values())
    if wanted is not None and at_once < min(wanted, jobs):
        first = next(iter(shares.values()))
        say(
            f"note: hydra.launcher.n_jobs={wanted}, but there is room for {at_once} at a time "
            f"(threads={first.threads}, sweep.jobs_per_device={todo[0].config.sweep.jobs_per_device}); the others wait."
        )
    return shares


def _other_versions(request: Request, todo: Sequence[Job], say: Callable[[str], None]) -> dict[str, str]:
    """Return a warning {code: sentence} for the new runs if completed runs of the request have other versions."""
    from citycam.train.resume import differences

    records = [read_record(job.folder) for job in request.jobs if job not in todo]
    changed = dict.fromkeys(filter(None, (differences(record) for record in records if record is not None)))
    if not changed:
        return {}
    sentence = (
        f"Other runs of this sweep were trained by other versions ({'; '.join(changed)}); differences may be theirs."
    )
    say(f"note: {sentence}")
    return {"other_versions": sentence}


def _still_holds(known: Resolved, config: Config, inputs: Inputs, say: Callable[[str], None]) -> bool:
    """Return whether what an earlier request resolved for a job still holds: device, pictures and weights."""
    before, kind = known.device.partition(":")[0], _device_kind(config)
    if before != kind:
        say(f"note: This sweep started on {before} and resumes on {kind}; last digits may differ.")
        return False
    path = known.weights_path
    return known.data_digest == inputs.catalog.digest and (path is None or Path(path).is_file())


def _device_kind(config: Config) -> str:
    """The kind of device that a run uses on this machine: cpu, cuda or mps."""
    return choose_device(config.trainer.accelerator).type


def _check_room_for_pictures(config: Config, inputs: Inputs) -> None:
    """Check that the cache has room for decoded pictures, which training keeps from its first epoch on.

    Raises:
        CitycamError: it has not.
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
