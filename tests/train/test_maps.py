"""Maps of whole pictures and of earlier stages, from a command line to the files of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from citycam.report.stored_maps import read_maps
from tests.conftest import Outcome

Train = Callable[..., Outcome]


def explained(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())["explained"]
    return content


@pytest.mark.parametrize("partition", ["binary", "multi"])
@pytest.mark.parametrize("finetune", ["none", "blocks.5"])
def test_integrated_has_maps_of_pixels_in_every_kind_of_run(partition: str, finetune: str, train: Train) -> None:
    asked = (f"partition={partition}", f"backbone.finetune={finetune}", "explain.methods=[gradcam,integrated]")
    run = train(*asked, "explain.pictures=3").runs[0]
    stored = read_maps(run)
    its, cells = stored.methods["integrated"], stored.methods["gradcam"]
    assert its.raw.shape[1:] == (64, 64)
    assert (its.box, cells.box) == (5, 1)
    assert its.raw.min() < 0 < its.raw.max()
    city = explained(run)["city"]
    assert set(cells.targets) == {city}
    assert set(its.targets) == ({city} if partition == "binary" else {f"{city}, not others"})
    facts = explained(run)["methods"]
    wanted = ("contrast", "city")
    assert (facts["integrated"]["target"], facts["gradcam"]["target"]) == wanted
    assert 0 <= facts["integrated"]["median_gap"] <= facts["integrated"]["completeness_gap"]
    assert facts["integrated"]["map_size"] == [64, 64]
    overlays = [*(run / "explain").rglob("integrated/*.png")]
    assert len(overlays) == len(its.raw)
    with Image.open(run / "explain" / "sheet_integrated.png") as sheet:
        assert sheet.width > 500


@pytest.mark.parametrize(
    "target",
    [
        "contrast",
        "runner_up",
        *(pytest.param(its, marks=pytest.mark.slow) for its in ("city", "predicted", "true", "difference")),
    ],
)
def test_integrated_sums_to_what_any_target_has_more_than_its_baselines(target: str, train: Train) -> None:
    asked = ("explain.methods=[integrated]", f"explain.target={target}", "explain.steps=64", "explain.pictures=2")
    run = train(*asked, "explain.baselines=[blur]").runs[0]
    with np.load(run / "explain" / "maps.npz") as arrays:
        total = arrays["integrated"].astype(np.float64).sum(axis=(1, 2))
        wanted = arrays["integrated_explained"] - arrays["integrated_bias"]
    np.testing.assert_allclose(total, wanted, atol=0.05 * np.abs(wanted).max() + 0.01)


def test_an_earlier_stage_has_its_own_grid(train: Train) -> None:
    run = train("explain.methods=[hirescam,gradcam]", "explain.layer=blocks.2", "explain.pictures=2").runs[0]
    facts = explained(run)
    assert (facts["layer"], facts["stride"], facts["map_size"], facts["same_maps"]) == ("blocks.2", 8, [8, 8], None)
    its = read_maps(run).methods["hirescam"]
    assert its.cells.rows[0] == pytest.approx(0.5 / 64)


def test_the_same_maps_again(train: Train) -> None:
    maps = []
    for name in ("a", "b"):
        asked = ("explain.methods=[integrated,occlusion]", "explain.pictures=2", f"sweep.name={name}")
        outcome = train(*asked)
        (path,) = outcome.results.parent.glob(f"{name}/*/explain/maps.npz")
        maps.append(path.read_bytes())
    assert maps[0] == maps[1]


REFUSED = {
    "explain.layer=blocks.9 explain.methods=[gradcam]": "blocks.9 is no stage of mobilenetv2_035; did you mean blocks.",
    "explain.layer=blocks.2 explain.methods=[cam]": "cam, which reads the last layer only, and explain.layer=blocks.2",
    "explain.layer=blocks.2 explain.methods=[integrated,finercam]": "has finercam, which reads the last layer only",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_stage_that_does_not_fit_is_refused_before_training(words: str, train: Train) -> None:
    outcome = train(*words.split())
    assert outcome.code == 2
    assert REFUSED[words] in outcome.err
    assert not outcome.runs


def test_maps_that_take_long_say_so_first(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("citycam.explain.make.seconds_of", lambda _methods, _whole: 7200.0)
    outcome = train("explain.methods=[integrated,occlusion]", "explain.pictures=1")
    assert "maps by integrated, occlusion: 70 passes of 1 picture, about 2 h" in outcome.err
