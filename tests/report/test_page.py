"""comparison.html is one file that needs no network, has the content of run folders, and takes any name as text."""

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

from citycam.files import read_csv, write_csv
from citycam.report.compare import write_comparison
from citycam.report.overlay import colours, shown
from citycam.report.page import write_page
from citycam.report.ranking import arrange
from citycam.sweep.runs import read_all, read_runs
from tests.conftest import Outcome
from tests.report.page_runs import digest, make_run

EVIL = "<script>alert(1)</script>"


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def data_of(page: Path) -> dict[str, Any]:
    """Return the data that the scripts of a page read."""
    element = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert element
    data: dict[str, Any] = json.loads(element[1])
    return data


def page_of(folder: Path, **known: Any) -> dict[str, Any]:
    """Write the page of a sweep's folder and return its data."""
    write_page(folder / "comparison.html", read_runs(folder), **known)
    return data_of(folder / "comparison.html")


def test_the_page_has_the_numbers_of_real_runs(train: Callable[..., Outcome]) -> None:
    outcome = train("optimizer=sgd,adam", "partition=binary,multi", "explain.methods=[cam,layercam]", multirun=True)
    rows = [row for comparable in arrange(read_runs(outcome.results)) for row in comparable.rows]
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
    assert all(thumbnail is not None for _, _, thumbnail in data["maps"]["pictures"])
    cities = {
        city for city, _ in data["galleries"][str([r["settings"][1] for r in data["runs"]].index("multi"))]["cities"]
    }
    assert cities == {"arden", "brill", "corvo"}


def test_maps_have_the_values_and_colours_of_the_overlays(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    data = page_of(tmp_path)
    maps = data["maps"]["runs"]["0"]
    rows, columns = data["maps"]["cells"][maps["methods"]["cam"]["cells"]]
    assert rows == columns == pytest.approx([(0.5 + 8 * cell) / 64 for cell in range(8)], abs=1e-5)
    assert maps["correct"] == [1, 0, *[1] * 10]
    with np.load(run / "explain" / "maps.npz") as arrays:
        for method in ("cam", "smoothgradcampp"):
            raw = arrays[method]
            cells = np.frombuffer(base64.b64decode(maps["methods"][method]["grids"]), dtype=np.int8).reshape(raw.shape)
            for number in range(len(raw)):
                assert np.array_equal(np.maximum(cells[number], 0), np.rint(shown(raw[number]) * 127))
                assert np.array_equal(np.maximum(-cells[number], 0), np.rint(shown(-raw[number]) * 127))
            its = maps["methods"][method]
            assert its["peaks"][0] == pytest.approx(raw[0].max(), rel=0.01)
            assert "lowest" not in its, "cells of a layer show evidence for alone"
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
    methods = page_of(tmp_path)["maps"]["runs"]["0"]["methods"]
    assert methods["gradcam"]["like"] == "cam"
    assert "grids" not in methods["gradcam"]
    assert methods["gradcam"]["peaks"] != methods["cam"]["peaks"]


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    page_of(tmp_path)
    text = (tmp_path / "comparison.html").read_text()
    elements = Elements()
    elements.feed(text)
    assert not [tag for tag, _ in elements.tags if tag in ("link", "iframe", "object", "embed", "base")]
    assert not [value for _, attributes in elements.tags for key in ("src", "href") if (value := attributes.get(key))]
    (policy,) = (its["content"] for _, its in elements.tags if its.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert set(re.findall(r"https?://[^\s\"')]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert "url(" not in text


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    warnings = [{"code": EVIL, "sentence": f"{EVIL} <!--"}]
    make_run(tmp_path / "a", cities=(EVIL, "b\u2028é"), overrides=(f"data.target={EVIL}",), warnings=warnings)
    make_run(tmp_path / "b", overrides=("data.target=x",), status="failed", error=f"</script>{EVIL}/*js*/")
    data = page_of(tmp_path)
    elements = Elements()
    elements.feed((tmp_path / "comparison.html").read_text())
    scripts = [tag for tag, _ in elements.tags if tag == "script"]
    assert len(scripts) == 2, "the data, and the page's own"
    text = (tmp_path / "comparison.html").read_text()
    assert "alert(1)</script>" not in text
    assert "<!--" not in text
    assert data["runs"][0]["settings"] == [EVIL]
    assert data["runs"][1]["error"] == f"</script>{EVIL}/*js*/"
    assert data["maps"]["pictures"][0][1] == EVIL
    assert "b\u2028é" in data["maps"]["runs"]["0"]["words"]


def test_equal_runs_in_other_folders_give_an_equal_page(tmp_path: Path) -> None:
    make_run(tmp_path / "one" / "s" / "a")
    (tmp_path / "one" / "s" / "b").mkdir()
    (tmp_path / "one" / "s" / "b" / "run.json").mkdir()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    pages = []
    for name in ("one", "two"):
        write_page(tmp_path / f"{name}.html", read_runs(tmp_path / name / "s"))
        pages.append((tmp_path / f"{name}.html").read_bytes())
    assert pages[0] == pages[1]
    assert str(tmp_path).encode() not in pages[0]


def test_missing_and_damaged_files_are_left_out(tmp_path: Path) -> None:
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
    data = page_of(tmp_path)
    assert [run["status"] for run in data["runs"]][3:6] == ["failed", "interrupted", "unreadable"]
    assert data["runs"][3]["error"] == "The disk is full."
    assert data["runs"][3]["curves"] is None
    assert data["runs"][6]["accuracy"] is None
    assert data["maps"]["unreadable"] == [2, 7]
    assert set(data["maps"]["runs"]) == {"0", "6"}
    assert {"1", "2", "3"}.isdisjoint(data["galleries"])
    assert {"2", "6"} <= {str(run) for warning in data["warnings"] for run in warning["runs"]}


def test_a_picture_without_thumbnail_keeps_its_maps(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    (run / "thumbs" / f"{digest(0)}.jpg").write_bytes(b"no picture")
    (run / "thumbs" / f"{digest(1)}.jpg").unlink()
    data = page_of(tmp_path)
    assert [thumbnail is None for _, _, thumbnail in data["maps"]["pictures"]] == [True, True, *[False] * 10]
    assert len(data["maps"]["runs"]["0"]["pictures"]) == 12


def test_the_sweep_is_a_setting_of_runs_from_several_sweeps(tmp_path: Path) -> None:
    for sweep in ("one", "two"):
        make_run(tmp_path / sweep / "same", overrides=("epochs=5",))
    write_page(tmp_path / "page.html", read_all([tmp_path / "one", tmp_path / "two"]))
    data = data_of(tmp_path / "page.html")
    assert data["keys"] == ["sweep"]
    assert [run["settings"] for run in data["runs"]] == [["one"], ["two"]]
    assert len(data["maps"]["pictures"]) == 12, "each explained picture once"


def test_seeds_have_a_mean_and_a_row_each(tmp_path: Path) -> None:
    known = {"data": {"digest": "d", "kind": "folder"}, "classes": ["arden", "brill"]}
    for seed in range(3):
        make_run(tmp_path / f"s{seed}", overrides=(f"seed={seed}",), accuracy=0.7 + 0.05 * seed, seed=seed, **known)
    comparables = arrange(read_runs(tmp_path))
    data = page_of(tmp_path, comparables=comparables)
    assert sorted(run["number"] for run in data["runs"]) == ["1.1", "1.2", "1.3"]
    (mean,) = data["seeds"]
    assert mean["seeds"] == 3
    # Student's arm over seeds is 4.303 * 0.05 / sqrt(3), the runs' own arm 0.05: together 0.134.
    assert mean["accuracy"] == "0.750 [0.62, 0.88]"


def test_a_warning_is_listed_once_with_its_runs(tmp_path: Path) -> None:
    for number in range(3):
        make_run(
            tmp_path / f"{number}", split={"leaky": number == 2}, warnings=[{"code": "w", "sentence": "Mind this."}]
        )
    warnings = {warning["code"]: warning for warning in page_of(tmp_path)["warnings"]}
    assert warnings["w"]["sentences"] == [["Mind this.", [0, 1, 2]]]
    assert warnings["split_leaky"]["runs"] == [2]


def test_the_page_of_many_runs_is_small(tmp_path: Path) -> None:
    first = make_run(tmp_path / "run0", pictures=20, epochs=60)
    record = (first / "run.json").read_text()
    for number in range(1, 60):
        shutil.copytree(first, tmp_path / f"run{number}")
        (tmp_path / f"run{number}" / "run.json").write_text(record.replace('"sweep.name=s"', f'"epochs={number}"'))
    data = page_of(tmp_path)
    assert len(data["runs"]) == 60
    assert len(data["maps"]["pictures"]) == 10
    assert data["maps"]["explained"] == 20
    epochs = data["runs"][0]["curves"]["epoch"]
    assert (len(epochs), epochs[0], epochs[-1]) == (20, 1, 60)
    assert data["points"] == 20
    assert len(data["galleries"]) == 50
    bytes_per_run = len(json.dumps([data["runs"], data["maps"]["runs"]], separators=(",", ":"))) / 60
    assert bytes_per_run < 4300, "a page of a thousand is below 5 MB, with 0.6 MB for galleries and the page itself"


def test_only_the_first_runs_keep_maps_that_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("citycam.report.page_maps._BYTES", 10 * 2 * 28 * 28 + 100)
    for number in range(3):
        make_run(tmp_path / f"{number}", size=(28, 28), methods=("cam", "layercam"))
    maps = page_of(tmp_path)["maps"]
    assert list(maps["runs"]) == ["0"]
    assert maps["left_out"] == [1, 2]
    assert len(maps["pictures"]) == 10


def test_a_run_with_another_sample_keeps_its_maps(tmp_path: Path) -> None:
    make_run(tmp_path / "0", pictures=100)
    run = make_run(tmp_path / "1", pictures=4)
    with np.load(run / "explain" / "maps.npz") as arrays:
        content = dict(arrays) | {"digests": np.array([digest(1000 + number) for number in range(4)])}
    np.savez(run / "explain" / "maps.npz", **content)
    maps = page_of(tmp_path)["maps"]
    assert len(maps["pictures"]) == 100
    assert maps["explained"] == 104
    assert len(maps["runs"]["1"]["pictures"]) == 4


def test_confused_pairs_are_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    answers = [["arden", "arden", "brill"]] * 3 + [["brill", "brill", "arden"], ["brill", "brill", "brill"]]
    rows = [[f"{number}.jpg", *answer] for number, answer in enumerate(answers)]
    write_csv(run / "predictions.csv", ["path", "city", "label", "predicted"], rows)
    pairs = page_of(tmp_path)["galleries"]["0"]["pairs"]
    assert [(words, count, len(pictures)) for words, count, pictures in pairs] == [
        ("arden as brill", 3, 1),
        ("brill as arden", 1, 0),
    ]


def test_figures_are_rounded_once(tmp_path: Path) -> None:
    make_run(tmp_path / "a", accuracy=0.69047)  # to four digits 0.6905, and that to three 0.691
    make_run(tmp_path / "b", accuracy=0.0625, overrides=("epochs=2",))  # JavaScript rounds this half up, Python to even
    comparables = arrange(read_runs(tmp_path))
    write_comparison(tmp_path, comparables)
    runs = {run["name"]: run["shown"] for run in page_of(tmp_path, comparables=comparables)["runs"]}
    table = (tmp_path / "comparison.md").read_text()
    for name, figure in (("a", "0.690"), ("b", "0.062")):
        assert runs[name]["accuracy"] == figure
        assert f"| {figure} [" in table
    assert not re.search(r"toFixed\([23]\)", (tmp_path / "comparison.html").read_text()), "figures come as text"


def test_the_top_names_cities_days_and_the_finding(tmp_path: Path) -> None:
    counts = {"train": {"rome": 9, "paris": 9, "oslo": 9}, "val": {"rome": 3, "paris": 3, "oslo": 3}}
    data = {"digest": "d", "kind": "folder", "target": "paris", "counts": counts}
    known: dict[str, Any] = {"data": data, "classes": ["rest", "paris"]}
    make_run(tmp_path / "a", overrides=("epochs=5",), accuracy=0.6, started="2026-03-01T23:00:00Z", **known)
    make_run(tmp_path / "b", overrides=("epochs=7",), accuracy=0.4, started="2026-03-02T01:00:00Z", **known)
    data = page_of(tmp_path, comparables=arrange(read_runs(tmp_path)))
    assert data["subject"] == {
        "targets": ["paris"],
        "cities": ["oslo", "paris", "rome"],
        "days": ["2026-03-01", "2026-03-02"],
    }
    (comparable,) = data["sets"]
    assert comparable["findings"][0] == (
        "Best: #1 (epochs 5), accuracy 0.600 [0.55, 0.65] (majority 0.500, chance 0.500)."
    )


def test_typical_pictures_are_right_predictions(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    index = read_csv(run / "thumbs" / "index.csv")
    wrong = next(row["picture"] for row in index if (row["kind"], row["class"]) == ("typical", "arden"))
    answers = [[row["picture"], row["class"], row["class"], 0.9, 0.1] for row in index if row["kind"] == "typical"]
    answers = [[*a[:2], "brill", 0.12, 0.88] if a[0] == wrong else a for a in answers]
    write_csv(run / "predictions.csv", ["path", "label", "predicted", "p_arden", "p_brill"], answers)
    cities = dict(page_of(tmp_path)["galleries"]["0"]["cities"])
    typical = cities["arden"]["typical"]
    assert len(typical) == 4
    assert wrong not in [name for _, name, *_ in typical]
    assert {own for _, _, own, _ in typical} == {"arden 0.90"}
    wrong_ones = [picture[2:] for picture in cities["arden"]["untypical"] if picture[1] == wrong]
    assert wrong_ones in ([], [["arden 0.10", "brill 0.88"]])
