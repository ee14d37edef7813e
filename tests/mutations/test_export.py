"""citycam export of damaged runs: the same network or none, and files of others stay."""

from __future__ import annotations

import importlib.util
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.mutations.mutate import batches, damaged_bytes, each, hold
from tests.mutations.test_run_folders import damage, ended, lies
from tests.sweeps import Ended, caller

Export = Callable[..., Ended]
USED = ("run.json", "run.json", "config.yaml", "split.csv", "checkpoints/last.ckpt")
MADE = ("export/model.safetensors", "export/model.onnx")


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Export:
    """``citycam export``, with the graph that it made first, since damaged runs have the same or none."""
    from citycam import cli
    from citycam.inference.export import NEEDED, Exporter

    call, graph, made = caller(cli, "citycam", monkeypatch, capsys), Exporter._graph, []

    def same(exporter: Exporter) -> bytes:
        if not made:
            made.append(graph(exporter))
        return made[0]

    monkeypatch.setattr(Exporter, "_graph", same)
    if not all(map(importlib.util.find_spec, NEEDED)):
        pytest.skip("the extra export is not installed")
    return lambda *arguments: call("export", *arguments)


def spoil(sweep: Path, run: Path, rng: random.Random) -> None:
    """Damage what an export reads, or what an earlier one wrote."""
    kind = rng.randrange(8)
    if kind == 0:
        damage(sweep, "sweep.json", rng)
    elif kind == 1:
        (path,) = (sweep / "bodies").iterdir()
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))
    elif kind in (2, 3):
        path = run / "checkpoints" / "last.ckpt"
        torch.save(lies(torch.load(path, weights_only=True), rng), path)
    elif kind == 4:
        damage(run, rng.choice(MADE), rng)
    else:
        damage(run, rng.choice(USED), rng)


@pytest.mark.parametrize("seeds", batches(8, 300))
def test_a_damaged_run_is_exported_as_it_was_or_not_at_all(
    seeds: range, small_run: Path, export: Export, tmp_path: Path
) -> None:
    clean = tmp_path / "clean"
    shutil.copytree(small_run.parent, clean)
    assert export(clean / small_run.name).code == 0
    wanted = load_file(clean / small_run.name / MADE[0])

    def check(rng: random.Random) -> None:
        sweep = Path(shutil.copytree(clean, tmp_path / f"{rng.random()}"))
        run = sweep / small_run.name
        spoil(sweep, run, rng)
        out = rng.choice((run / "export", sweep / "new"))
        outcome = export(run, "--out", out)
        hold(*ended(outcome))
        assert outcome.code == 0 or outcome.err.startswith("citycam: "), outcome
        if outcome.code == 0:
            given = load_file(out / "model.safetensors")
            assert given.keys() == wanted.keys()
            assert all(torch.equal(given[key], wanted[key]) for key in wanted)
            assert (out / "model.onnx").read_bytes() == (clean / small_run.name / MADE[1]).read_bytes()
        shutil.rmtree(sweep)

    each(seeds, check)
