"""TensorBoard shows runs that can be sorted, compared and looked at."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from citycam.model.metrics import MEASURES
from tests.conftest import Outcome


def events(run: Path) -> EventAccumulator:
    """Everything TensorBoard reads of a run."""
    guidance = {event_accumulator.IMAGES: 0, event_accumulator.SCALARS: 0}
    return EventAccumulator(str(run), size_guidance=guidance).Reload()


def hparams(read: EventAccumulator, kind: str) -> Any:
    content = read.summary_metadata[f"_hparams_/{kind}"].plugin_data.content
    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    return data.session_start_info if kind == "session_start_info" else data.experiment


@pytest.fixture
def sweep(train: Callable[..., Outcome]) -> Outcome:
    outcome = train("optimizer=sgd,adam", "epochs=2", "explain.methods=[gradcam]", "explain.pictures=3", multirun=True)
    assert outcome.code == 0, outcome.err
    return outcome


def test_runs_sort_by_what_they_reached(sweep: Outcome) -> None:
    assert len(sweep.runs) == 2
    seen = []
    for run in sweep.runs:
        read = events(run)
        columns = hparams(read, "session_start_info").hparams
        seen.append(columns["optimizer"].string_value)
        assert columns["epochs"].number_value == 2
        assert columns["target"].string_value == "brill"
        sortable = [info.name.tag for info in hparams(read, "experiment").metric_infos]
        directions = [MEASURES[name.removeprefix("val_")].higher_is_better for name in sortable]
        assert set(sortable) == {f"val_{name}" for name in MEASURES}
        assert directions == sorted(directions, reverse=True)
        # Each measure has one point an epoch, and none that was never measured.
        for name in sortable:
            assert [point.step for point in read.Scalars(name)] == [1, 2], name
        assert read.Scalars("val_accuracy")[-1].value > 0
        assert "hp_metric" not in read.Tags()["scalars"]
    assert sorted(seen) == ["adam", "sgd"]


@pytest.fixture
def address(sweep: Outcome) -> Iterator[str]:
    """Where a TensorBoard over the sweep answers."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(sweep.results), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            lines = (re.search(r"http://[\w.]+:\d+/", line) for line in server.stderr)
            yield next(match[0] for match in lines if match is not None)
        finally:
            server.kill()


def test_the_hparams_tab_sorts_by_accuracy(sweep: Outcome, address: str) -> None:
    # What the tab itself asks for.
    asked = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        "colParams": [{"metric": {"tag": "val_accuracy", "group": ""}, "order": "ORDER_DESC"}],
        "startIndex": 0,
        "sliceSize": 100,
    }
    request = urllib.request.Request(
        f"{address}data/plugin/hparams/session_groups", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        groups = json.load(answer)["sessionGroups"]
    values = [{m["name"]["tag"]: m["value"] for m in group["metricValues"]}["val_accuracy"] for group in groups]
    finals = [json.loads((run / "run.json").read_text())["final"]["val_accuracy"] for run in sweep.runs]
    assert values == pytest.approx(sorted(finals, reverse=True))


def test_a_browser_shows_runs_and_figures(sweep: Outcome, address: str, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here to look with")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    seen = subprocess.run(
        [browser, *flags, "--virtual-time-budget=60000", f"{address}#timeseries"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stdout
    for word in (*(run.name for run in sweep.runs), "confusion", "curves", "maps"):
        assert word in seen


def test_figures_and_maps_are_beside_the_scalars(sweep: Outcome) -> None:
    for run in sweep.runs:
        assert set(events(run).Tags()["images"]) == {"confusion", "curves", "maps/gradcam"}
