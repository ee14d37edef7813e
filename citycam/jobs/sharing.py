"""Share the devices of a machine among the jobs of a request: how many run at a time, with how many threads."""

from __future__ import annotations

from dataclasses import dataclass

from citycam.config import Config
from citycam.devices import Device, choose_device, cpu_devices, machine_devices
from citycam.errors import AUTO, CitycamError
from citycam.jobs.slots import room


@dataclass(frozen=True)
class Share:
    """What each of ``at_once`` jobs gets: ``threads`` for its work on the CPU, and a number of ``devices`` (on a CPU a
    core for each thread)."""

    at_once: int
    threads: int
    devices: int


def check_devices(config: Config) -> None:
    """Check that this machine has the devices for one model.

    Raises:
        CitycamError: it has fewer.
    """
    kind = choose_device(config.trainer.accelerator).type
    if kind != "cpu" and config.trainer.devices > len(machine_devices(kind)):
        there = len(machine_devices(kind))
        raise CitycamError(
            f"trainer.devices={config.trainer.devices}, but there {'is' if there == 1 else 'are'} {there} of {kind} "
            f"here; use trainer.devices={there}."
        )


def share(config: Config, devices: list[Device], *, asked: int | None, jobs: int) -> Share:
    """Return the share of a job.

    Args:
        devices: all of the kind that it runs on.
        asked: jobs at a time by the launcher's settings; None for as many as there is room for.
        jobs: the number of jobs.
    """
    cores, per_device = len(cpu_devices()), config.sweep.jobs_per_device
    given = None if config.threads == AUTO else int(config.threads)
    if devices[0].name == "cpu":
        wanted = min(asked or cores * per_device, jobs)
        threads = given or max(1, cores // wanted)
        needed = min(threads, cores)
        return Share(min(wanted, room(devices, needed, per_device)), threads, needed)
    needed = config.trainer.devices
    at_once = min(asked or len(devices) * per_device, jobs, room(devices, needed, per_device))
    return Share(at_once, given or max(1, cores // at_once), needed)
