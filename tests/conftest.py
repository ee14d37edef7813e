"""What holds for every test: one thread, no network, a cache of its own; and the door, called as people do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

from citycam import processes
from citycam.processes import Child
from citycam.sweep.hydra_internals import reset_hydra

# Before anything imports torch. Tests run side by side, and threads would fight over the same cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

# No test depends on the clock: a busy machine is no failure.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

TINY = "mobilenetv2_035"
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # for the doors, which are no part of the package


@pytest.fixture(scope="session", autouse=True)
def idle_machine() -> Iterator[None]:
    """No other program takes a core, so that what is measured once is kept, whatever else this machine does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "preemptions", lambda: 0)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that no other process of the machine shares."""
    folder = tmp_path_factory.mktemp("cache")
    kept = os.environ.get("CITYCAM_CACHE")
    os.environ["CITYCAM_CACHE"] = str(folder)
    yield folder
    if kept is None:
        del os.environ["CITYCAM_CACHE"]
    else:
        os.environ["CITYCAM_CACHE"] = kept


def paint_cities(root: Path, cities: tuple[str, ...], count: int, size: tuple[int, int] = (48, 40)) -> Path:
    """A folder per city, its pictures noise around a colour of the city's own; two walks of each."""
    for number, city in enumerate(cities):
        rng = np.random.default_rng(number)
        base = np.array([40 + 60 * number, 200 - 50 * number, 90 + 20 * number])
        for place in range(count):
            walk = root / city / f"walk{place % 4}"
            walk.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(base + rng.normal(0, 40, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(walk / f"{place:02d}.png")
    return root


@pytest.fixture(scope="session")
def cities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cities of 16 small pictures."""
    return paint_cities(tmp_path_factory.mktemp("data") / "cities", ("arden", "brill", "corvo"), 16)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of timm's smallest MobileNetV2, random from a seed: a real network, exact at strides 16 and 8."""
    from citycam.config import BackboneConfig
    from citycam.model.backbone import make_backbone
    from citycam.model.weights import save_weights

    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(make_backbone(BackboneConfig(name=TINY, strides=[32, 16, 8]), 64, 0), path)
    return path


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The children that were started, in their order."""
    started: list[Child] = []
    enter = Child.__enter__

    def note(child: Child) -> Child:
        started.append(child)
        return enter(child)

    monkeypatch.setattr(Child, "__enter__", note)
    return started


def forget() -> None:
    """Forget and end what outlives a request in this process, as a new process would."""
    processes.forget()
    reset_hydra()
    if "joblib" in sys.modules:
        from multiprocessing import forkserver

        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=True)
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


def small_settings(cities: Path, tiny_weights: Path) -> list[str]:
    """What makes a run small, on real files."""
    return [
        "data=folder",
        f"data.root={cities}",
        "data.target=brill",
        "backbone=timm",
        f"backbone.name={TINY}",
        f"backbone.weights={tiny_weights}",
        "backbone.strides=[32,16,8]",
        "threads=1",
        "precision=fp32",
        "sweep.name=s",
    ]


@dataclass(frozen=True)
class Outcome:
    """How a door ended: exit code, what it printed, and the folder that its results went to."""

    code: int
    out: str
    err: str
    results: Path

    @property
    def runs(self) -> list[Path]:
        """Run folders, by name."""
        return sorted(path.parent for path in self.results.glob("*/run.json"))


@pytest.fixture
def train(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cities: Path,
    tiny_weights: Path,
) -> Callable[..., Outcome]:
    """``train("epochs=2", multirun=True)``: train.py in this process, in an empty folder, on small real files."""
    import train as door

    monkeypatch.chdir(tmp_path)

    def call(*overrides: str, multirun: bool = False, small: bool = True) -> Outcome:
        arguments = ["-m"] if multirun else []
        if small:
            arguments += [*small_settings(cities, tiny_weights), "epochs=1"]
            given = {override.partition("=")[0] for override in overrides}
            arguments = [argument for argument in arguments if argument.partition("=")[0] not in given]
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments, *overrides])
        forget()
        capsys.readouterr()
        code = door.main()
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err, tmp_path / "multirun" / "s")

    return call
