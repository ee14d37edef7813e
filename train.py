"""Train one run, or a sweep with -m. See python train.py --help."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from citycam.doors import door, leave
from citycam.gate import read_request
from citycam.launch import launch, run_hydra


def task(composed: Any) -> str:
    """One job, called by Hydra's launcher."""
    from hydra.core.hydra_config import HydraConfig

    from citycam.compose import hydra_record, to_config
    from citycam.jobs import run_job

    folder, asked = HydraConfig.get().runtime.output_dir, HydraConfig.get().overrides.task
    return run_job(to_config(composed), Path(folder), list(asked), hydra_record(composed))


@door
def main() -> int:
    """The light gate, then what the jobs share, then the jobs, then the table; returns the exit code."""
    request = read_request(sys.argv[1:])
    if request is None:
        run_hydra(sys.argv[1:], task)
        return 0
    from citycam import prepare, summary

    with summary.kept_up(request):
        prepared = prepare.prepare(request)
        if prepared.jobs:
            launch(request.commands, prepared.at_once, task)
    return summary.conclude(request)


if __name__ == "__main__":
    leave(main())
