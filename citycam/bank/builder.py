"""Build features on all devices of a machine: this process works on the first, a child on each of the others.

Builders share the work list of the store, as those of two sweeps do. Children run ``python -m citycam.bank.builder``,
since `multiprocessing` would run the command of the whole sweep again.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from citycam import progress
from citycam.bank.body import frozen_body
from citycam.bank.build import Pipeline, fill, view_inputs
from citycam.bank.extract import Extractor
from citycam.bank.work import Advance
from citycam.config import Precision
from citycam.data.views import ViewSpec
from citycam.doors import door
from citycam.errors import CitycamError
from citycam.files import write_json
from citycam.model.backbone import Backbone
from citycam.processes import Child, end_with_input
from citycam.resolved import Arithmetic
from citycam.shards import ShardStore, view_keys


@dataclass(frozen=True)
class Part:
    """Features to be held by a store: views ``numbers`` of every picture of ``digests``, made by ``spec``."""

    what: str
    store: ShardStore
    spec: ViewSpec
    digests: list[str]
    numbers: list[int]

    @functools.cached_property
    def keys(self) -> np.ndarray:
        """The keys of its rows."""
        return view_keys(self.digests, self.numbers)

    def missing(self) -> int:
        """Return how many of its rows the store lacks now."""
        self.store.refresh()
        return len(self.store.missing(self.keys))


@dataclass(frozen=True)
class Plan:
    """The work of all builders. ``body``: arguments of `citycam.bank.body.frozen_body` but the device; ``threads``: of
    all builders together; ``paths``: a file for each digest."""

    body: dict[str, Any]
    arithmetic: Arithmetic
    batch: int
    threads: int
    parts: list[Part]
    paths: dict[str, Path]


def all_devices(device: str) -> list[str]:
    """Return the devices that build: ``device`` first, and all other GPUs if it is one."""
    first = torch.device(device)
    if first.type != "cuda":
        return [device]
    others = [number for number in range(torch.cuda.device_count()) if number != (first.index or 0)]
    return [device, *(f"cuda:{number}" for number in others)]


def build(plan: Plan, backbone: Backbone, devices: Sequence[str]) -> None:
    """Fill the stores of a plan.

    Args:
        backbone: the body, on ``devices[0]``, where this process works.
        devices: each but the first gets a child.

    Raises:
        CitycamError: a builder failed; none is left running.
    """
    threads = max(1, plan.threads // len(devices))
    with _others(dataclasses.replace(plan, threads=threads), devices[1:]) as check:
        for part in plan.parts:
            with progress.bar(part.what, len(part.keys), unit="views") as advance:
                _fill(part, plan, backbone, threads, _first(check, advance))
        check()


def _first(check: Callable[[], None], advance: Advance) -> Advance:
    """Check the other builders whenever rows are done."""

    def checked(count: int) -> None:
        check()
        advance(count)

    return checked


def _fill(part: Part, plan: Plan, backbone: Backbone, threads: int, advance: Advance) -> None:
    extractor = Extractor(backbone, plan.arithmetic, batch=plan.batch)
    inputs = view_inputs(part.spec)
    pipeline = Pipeline(plan.paths, inputs, extractor, plan.batch, threads, extractor.on_cpu)
    fill(part.store, part.keys, pipeline, row_bytes=4 * backbone.num_features, advance=advance)


@contextlib.contextmanager
def _others(plan: Plan, devices: Sequence[str]) -> Iterator[Callable[[], None]]:
    """Run a child on each of ``devices`` until the context is left: by then all rows are there, or something failed.
    Yield a function that raises if one of them has failed."""
    if not devices:
        yield lambda: None
        return
    with tempfile.TemporaryDirectory(prefix="citycam-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_json(folder / "plan.json", _plain(plan))
        children = {
            device: stack.enter_context(
                Child(__name__, str(folder / "plan.json"), "--device", device, log=folder / f"{number}.log")
            )
            for number, device in enumerate(devices)
        }

        def check() -> None:
            for device, child in children.items():
                if child.code:
                    raise CitycamError(
                        f"Building features on {device} failed ({child.failure()}); fix that and run the same command "
                        "again.",
                        exit_code=1,
                    )

        yield check


def _plain(plan: Plan) -> dict[str, Any]:
    parts = [
        {
            "what": part.what,
            "key": part.store.given,
            "root": str(part.store.folder.parent.absolute()),
            "spec": dataclasses.asdict(part.spec),
            "digests": part.digests,
            "numbers": part.numbers,
        }
        for part in plan.parts
    ]
    return {
        "body": plan.body,
        "arithmetic": [plan.arithmetic.precision.name, plan.arithmetic.memory_format],
        "batch": plan.batch,
        "threads": plan.threads,
        "parts": parts,
        "paths": {digest: str(path.absolute()) for digest, path in plan.paths.items()},
    }


def _read(path: Path) -> Plan:
    content = json.loads(path.read_text(encoding="utf-8"))
    parts = [
        Part(
            part["what"],
            ShardStore(part["key"], Path(part["root"])),
            ViewSpec(**part["spec"] | {"rotations": tuple(part["spec"]["rotations"])}),
            part["digests"],
            part["numbers"],
        )
        for part in content["parts"]
    ]
    precision, memory_format = content["arithmetic"]
    return Plan(
        body=content["body"] | {"strides": tuple(content["body"]["strides"])},
        arithmetic=Arithmetic(Precision[precision], memory_format),
        batch=content["batch"],
        threads=content["threads"],
        parts=parts,
        paths={digest: Path(file) for digest, file in content["paths"].items()},
    )


@door
def main() -> int:
    """Build a plan's features on one device, as a child of a process that is in `build`."""
    parser = argparse.ArgumentParser(prog="python -m citycam.bank.builder", description=__doc__)
    parser.add_argument("plan", type=Path, help="plan.json of the parent process")
    parser.add_argument("--device", required=True, help="for example cuda:1")
    given = parser.parse_args()
    end_with_input()
    plan = _read(given.plan)
    torch.set_num_threads(plan.threads)
    backbone = frozen_body(**plan.body, device=given.device)
    for part in plan.parts:
        _fill(part, plan, backbone, plan.threads, lambda _count: None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
