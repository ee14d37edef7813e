"""comparison.html is one file without a network, holds what run folders tell, and cannot be broken by names."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citycam.files import write_csv
from citycam.report.overlay import colours, shown
from citycam.report.page import write_page
from citycam.report.ranking import arrange
from citycam.sweep.runs import read_all, read_runs
from tests.conftest import Outcome
from tests.report.page_runs import digest, make_run

EVIL = "<script>alert(1)</script>"


class Elements(HTMLParser):
    """Elements and their attributes, and the text of each script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def data_of(page: Path) -> dict[str, Any]:
    """What the page's scripts read."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def written(folder: Path, **known: Any) -> dict[str, Any]:
    """The data of the page of a sweep's folder."""
    write_page(folder / "comparison.html", read_runs(folder), **known)
    return data_of(folder / "comparison.html")


def test_real_runs_stand_on_one_page(train: Callable[..., Outcome]) -> None:
    outcome = train("optimizer=sgd,adam", "partition=binary,multi", "explain.methods=[cam,layercam]", multirun=True)
    rows = [row for one in arrange(read_runs(outcome.results)) for row in one.rows]
    page = outcome.results / "comparison.html"
    write_page(page, rows, arrange(read_runs(outcome.results)))
    data = data_of(page)
    assert data["keys"][:2] == ["optimizer", "partition"]
    assert len(data["runs"]) == len(data["maps"]["runs"]) == len(data["galleries"]) == 4
    for run, row in zip(data["runs"], rows, strict=True):
        assert run["accuracy"] == pytest.approx(row.final["val_accuracy"], abs=1e-4)
        assert run["interval"] == pytest.approx(row.final["val_accuracy_interval"], abs=1e-4)
        assert run["n"] == row.final["n_val"]
        assert run["curves"]["val_loss"]
    assert {run["rank"] for run in data["runs"]} & {"best", "≈ best"}
    assert all(place is not None for _, _, place in data["maps"]["pictures"])
    everyone = {
        city for city, _ in data["galleries"][str([r["settings"][1] for r in data["runs"]].index("multi"))]["cities"]
    }
    assert everyone == {"arden", "brill", "corvo"}


def test_maps_are_those_of_the_overlays(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    data = written(tmp_path)
    maps = data["maps"]["runs"]["0"]
    assert maps["size"] == [8, 8]
    assert maps["correct"] == [1, 0, *[1] * 10]
    with np.load(run / "explain" / "maps.npz") as arrays:
        for method in ("cam", "smoothgradcampp"):
            raw = arrays[method]
            cells = np.frombuffer(base64.b64decode(maps["methods"][method]["grids"]), dtype=np.uint8).reshape(raw.shape)
            for place in range(len(raw)):
                assert np.array_equal(cells[place], np.rint(shown(raw[place]) * 255))
            peak = maps["methods"][method]["peaks"][0]
            assert peak == pytest.approx(raw[0].max(), rel=0.01)
    assert maps["methods"]["cam"]["peaks"][2] is None, "blank"
    script = (tmp_path / "comparison.html").read_text()
    table = "".join(re.findall(r'"([A-Za-z0-9+/=]+)"', script[script.index("const COLOURS") :].split(");")[0]))
    assert base64.b64decode(table) == colours().tobytes()


def test_maps_equal_up_to_a_factor_are_embedded_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", methods=("cam",))
    with np.load(run / "explain" / "maps.npz") as arrays:
        content = dict(arrays)
    factors = np.linspace(0.01, 3, 12, dtype=np.float32)
    content |= {"gradcam": content["cam"] * factors[:, None, None], "gradcam_blank": content["cam_blank"]}
    content["gradcam_max"] = content["cam_max"] * factors
    np.savez(run / "explain" / "maps.npz", **content)
    methods = written(tmp_path)["maps"]["runs"]["0"]["methods"]
    assert methods["gradcam"]["like"] == "cam"
    assert "grids" not in methods["gradcam"]
    assert methods["gradcam"]["peaks"] != methods["cam"]["peaks"]


def test_the_page_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    written(tmp_path)
    text = (tmp_path / "comparison.html").read_text()
    elements = Elements()
    elements.feed(text)
    assert not [tag for tag, _ in elements.tags if tag in ("link", "iframe", "object", "embed", "base")]
    assert not [value for _, its in elements.tags for key in ("src", "href") if (value := its.get(key))]
    policy = next(its["content"] for tag, its in elements.tags if its.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert set(re.findall(r"https?://[^\s\"')]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert "url(" not in text


def test_names_are_text_wherever_they_come_from(tmp_path: Path) -> None:
    warnings = [{"code": EVIL, "sentence": f"{EVIL} <!--"}]
    make_run(tmp_path / "a", cities=(EVIL, "b\u2028é"), overrides=(f"data.target={EVIL}",), warnings=warnings)
    make_run(tmp_path / "b", overrides=("data.target=x",), status="failed", error=f"</script>{EVIL}/*js*/")
    data = written(tmp_path)
    elements = Elements()
    elements.feed((tmp_path / "comparison.html").read_text())
    scripts = [its for tag, its in elements.tags if tag == "script"]
    assert len(scripts) == 2, "the data, and the page's own"
    text = (tmp_path / "comparison.html").read_text()
    assert "alert(1)</script>" not in text
    assert "<!--" not in text
    assert data["runs"][0]["settings"] == [EVIL]
    assert data["runs"][1]["error"] == f"</script>{EVIL}/*js*/"
    assert data["maps"]["pictures"][0][1] == EVIL
    assert "b\u2028é" in data["maps"]["runs"]["0"]["words"]


def test_equal_runs_give_an_equal_file_wherever_they_lie(tmp_path: Path) -> None:
    make_run(tmp_path / "one" / "s" / "a")
    (tmp_path / "one" / "s" / "b").mkdir()
    (tmp_path / "one" / "s" / "b" / "run.json").mkdir()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    pages = []
    for place in ("one", "two"):
        write_page(tmp_path / f"{place}.html", read_runs(tmp_path / place / "s"))
        pages.append((tmp_path / f"{place}.html").read_bytes())
    assert pages[0] == pages[1]
    assert str(tmp_path).encode() not in pages[0]


def test_what_is_missing_or_damaged_is_left_out_and_said(tmp_path: Path) -> None:
    make_run(tmp_path / "0")
    make_run(tmp_path / "1", pictures=0)
    bad = make_run(tmp_path / "2")
    (bad / "explain" / "maps.npz").write_bytes(b"PK\x03\x04 cut off")
    (bad / "metrics.csv").write_bytes(b"\xff\xfe\x00epoch")
    (bad / "thumbs" / "index.csv").write_text("digest,kind\n../../secret,typical\n")
    shutil.copy(bad / "thumbs" / f"{digest(0)}.jpg", tmp_path / "secret.jpg")
    failed = make_run(tmp_path / "3", status="failed", error="The disk is full.", final={}, pictures=0)
    (failed / "metrics.csv").unlink()
    (tmp_path / "4" / ".hydra").mkdir(parents=True)
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "run.json").write_text("{cut")
    foreign = {"val_accuracy": "high", "val_accuracy_interval": [1], "majority_accuracy": float("nan")}
    (make_run(tmp_path / "6") / "run.json").write_text(json.dumps({"status": "completed", "final": foreign}))
    other = make_run(tmp_path / "7")
    np.savez(other / "explain" / "maps.npz", cam=np.zeros((2, 3)), cam_max=0, cam_blank=0, digests=np.array(["a"]))
    data = written(tmp_path)
    assert [run["status"] for run in data["runs"]][3:6] == ["failed", "interrupted", "unreadable"]
    assert data["runs"][3]["error"] == "The disk is full."
    assert data["runs"][3]["curves"] is None
    assert data["runs"][6]["accuracy"] is None
    assert data["maps"]["unreadable"] == [2, 7]
    assert set(data["maps"]["runs"]) == {"0", "6"}
    assert {"1", "3"}.isdisjoint(data["galleries"])
    assert data["galleries"]["2"]["cities"] == [["", {"typical": [[None, "", None, None]], "untypical": []}]]


def test_a_missing_thumbnail_leaves_its_maps(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    (run / "thumbs" / f"{digest(0)}.jpg").write_bytes(b"no picture")
    (run / "thumbs" / f"{digest(1)}.jpg").unlink()
    data = written(tmp_path)
    assert [place is None for _, _, place in data["maps"]["pictures"]] == [True, True, *[False] * 10]
    assert len(data["maps"]["runs"]["0"]["pictures"]) == 12


def test_runs_of_several_sweeps_are_told_apart(tmp_path: Path) -> None:
    for sweep in ("one", "two"):
        make_run(tmp_path / sweep / "same", overrides=("epochs=5",))
    write_page(tmp_path / "page.html", read_all([tmp_path / "one", tmp_path / "two"]))
    data = data_of(tmp_path / "page.html")
    assert data["keys"] == ["sweep"]
    assert [run["settings"] for run in data["runs"]] == [["one"], ["two"]]
    assert len(data["maps"]["pictures"]) == 12, "each explained picture once"


def test_seeds_are_one_mean_and_each_run_a_row(tmp_path: Path) -> None:
    known = {"data": {"digest": "d", "kind": "folder"}, "classes": ["arden", "brill"]}
    for seed in range(3):
        make_run(tmp_path / f"s{seed}", overrides=(f"seed={seed}",), accuracy=0.7 + 0.05 * seed, seed=seed, **known)
    comparables = arrange(read_runs(tmp_path))
    data = written(tmp_path, comparables=comparables)
    assert sorted(run["number"] for run in data["runs"]) == ["1.1", "1.2", "1.3"]
    (over,) = data["seeds"]
    assert over["seeds"] == 3
    assert over["accuracy"] == pytest.approx(0.75)
    assert over["interval"][0] < 0.7 < 0.8 < over["interval"][1]


def test_warnings_stand_once_with_their_runs(tmp_path: Path) -> None:
    for number in range(3):
        make_run(
            tmp_path / f"{number}", split={"leaky": number == 2}, warnings=[{"code": "w", "sentence": "Mind this."}]
        )
    warnings = {warning["code"]: warning for warning in written(tmp_path)["warnings"]}
    assert warnings["w"]["sentences"] == [["Mind this.", [0, 1, 2]]]
    assert warnings["split_leaky"]["runs"] == [2]


def test_many_runs_stay_small_and_keep_what_is_said(tmp_path: Path) -> None:
    first = make_run(tmp_path / "run0", pictures=20, epochs=60)
    record = (first / "run.json").read_text()
    for number in range(1, 60):
        shutil.copytree(first, tmp_path / f"run{number}")
        (tmp_path / f"run{number}" / "run.json").write_text(record.replace('"sweep.name=s"', f'"epochs={number}"'))
    data = written(tmp_path)
    assert len(data["runs"]) == 60
    assert len(data["maps"]["pictures"]) == 10
    assert data["maps"]["explained"] == 20
    epochs = data["runs"][0]["curves"]["epoch"]
    assert (len(epochs), epochs[0], epochs[-1]) == (20, 1, 60)
    assert data["points"] == 20
    assert len(data["galleries"]) == 50
    each = len(json.dumps([data["runs"], data["maps"]["runs"]], separators=(",", ":"))) / 60
    assert each < 4300, "a thousand stay below 5 MB, with 0.6 MB for galleries and the page itself"


def test_fine_grids_find_room_for_the_first_runs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("citycam.report.page_maps._BYTES", 10 * 2 * 28 * 28 + 100)
    for number in range(3):
        make_run(tmp_path / f"{number}", size=(28, 28), methods=("cam", "layercam"))
    maps = written(tmp_path)["maps"]
    assert list(maps["runs"]) == ["0"]
    assert maps["left_out"] == [1, 2]
    assert len(maps["pictures"]) == 10


def test_other_samples_are_not_left_out(tmp_path: Path) -> None:
    make_run(tmp_path / "0", pictures=100)
    run = make_run(tmp_path / "1", pictures=4)
    with np.load(run / "explain" / "maps.npz") as arrays:
        content = dict(arrays) | {"digests": np.array([digest(1000 + place) for place in range(4)])}
    np.savez(run / "explain" / "maps.npz", **content)
    maps = written(tmp_path)["maps"]
    assert len(maps["pictures"]) == 100
    assert maps["explained"] == 104
    assert len(maps["runs"]["1"]["pictures"]) == 4


def test_pairs_are_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    answers = (
        [["x", "arden", "arden", "brill"]] * 3 + [["y", "brill", "brill", "arden"]] + [["z", "brill", "brill", "brill"]]
    )
    write_csv(
        run / "predictions.csv",
        ["path", "city", "label", "predicted"],
        [[f"{p}{n}", *r] for n, (p, *r) in enumerate(answers)],
    )
    pairs = written(tmp_path)["galleries"]["0"]["pairs"]
    assert [(words, count, len(pictures)) for words, count, pictures in pairs] == [
        ("arden as brill", 3, 1),
        ("brill as arden", 1, 0),
    ]
