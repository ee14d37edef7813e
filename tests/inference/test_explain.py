"""explain.py: the same maps again, other ones, of other pictures; never over existing ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, paint_cities
from tests.sweeps import Ended, caller, copy_of, only, read, train_once

Explain = Callable[..., Ended]


@pytest.fixture(scope="module")
def given_weights(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copy(tiny_weights, tmp_path_factory.mktemp("gone") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, cities: Path, given_weights: Path) -> Path:
    """A binary and a multi run; the weights file that they began with is gone."""
    folder = train_once(tmp_path_factory.mktemp("sweep"), cities, given_weights, "partition=binary,multi")
    given_weights.unlink()
    return folder


@pytest.fixture
def explain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Explain:
    import explain as door

    return caller(door, "explain.py", monkeypatch, capsys)


def made(run: Path) -> list[Path]:
    """Folders of maps made again, oldest first."""
    return sorted(run.glob("explain-*"), key=lambda path: path.stat().st_mtime_ns)


def equal_maps(one: Path, other: Path) -> bool:
    with np.load(one / "maps.npz") as a, np.load(other / "maps.npz") as b:
        return sorted(a.files) == sorted(b.files) and all(np.array_equal(a[key], b[key]) for key in a.files)


def test_a_whole_sweep_again_gives_the_same_maps_and_passes_the_body_no_more(
    explain: Explain, sweep: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from citycam.bank.extract import Extractor

    def refuse(*_: object) -> None:
        raise AssertionError("the body's activations are kept already")

    copy = copy_of(sweep, tmp_path)
    before = {path: path.read_bytes() for path in copy.glob("*/explain/**/*") if path.is_file()}
    monkeypatch.setattr(Extractor, "pictures", refuse)
    outcome = explain(f"run={copy}")
    assert outcome.code == 0, outcome.err
    runs = [path.parent for path in sorted(copy.glob("*/run.json"))]
    assert len(runs) == 2
    for run in runs:
        (folder,) = made(run)
        assert equal_maps(folder, run / "explain")
        assert (folder / "explain_sample.csv").read_bytes() == (run / "explain_sample.csv").read_bytes()
        assert {path.name for path in folder.glob("sheet_*.png")} == {
            path.name for path in (run / "explain").glob("sheet_*.png")
        }
        assert str(folder) in outcome.out
    assert before == {path: path.read_bytes() for path in before}


def test_an_equal_request_is_found_done(
    explain: Explain, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = only(copy_of(sweep, tmp_path), "multi")
    assert explain(f"run={run}", "explain.methods=[layercam]").code == 0
    monkeypatch.setattr("citycam.inference.explain.load_network", lambda *_: pytest.fail("nothing is left to be made"))
    again = explain(f"run={run}/checkpoints/last.ckpt", "explain.methods=[layercam]")
    assert (again.code, "there already" in again.out, len(made(run))) == (0, True, 1)
    (folder,) = made(run)
    folder.rename(folder.with_name(f"explain-words-of-an-older-versi{folder.name[-9:]}"))
    again = explain(f"run={run}", "explain.methods=[layercam]")
    assert (again.code, "there already" in again.out, len(made(run))) == (0, True, 1)


def test_methods_target_grid_and_weights_are_obeyed(explain: Explain, sweep: Path, tmp_path: Path) -> None:
    run = only(copy_of(sweep, tmp_path), "multi")
    settings = ["explain.methods=[hirescam]", "explain.target=predicted", "explain.stride=32", "explain.pictures=2"]
    outcome = explain(f"run={run}", *settings, "explain.weights=best")
    assert outcome.code == 0, outcome.err
    (folder,) = made(run)
    assert folder.name.startswith("explain-hirescam-pictures2-stride32-predicted-best-")
    content = json.loads((folder / "explain.json").read_text())
    assert content["explained"]["map_size"] == [2, 2]
    assert content["explained"]["weights"] == "best"
    assert [warning["code"] for warning in content["warnings"]] == ["small_map"]
    assert "2 × 2" in outcome.err
    with np.load(folder / "maps.npz") as maps:
        assert maps["hirescam"].shape == (2, 2, 2)
        assert maps["targets"].tolist() == maps["predicted"].tolist()
        assert maps["names"].tolist() == [row["picture"] for row in read(run / "explain_sample.csv")][:2]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_maps_made_again_have_the_grid_of_the_runs_own(
    old: bool, share: float, explain: Explain, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = only(copy_of(sweep, tmp_path), "multi")
    record = json.loads((run / "run.json").read_text())
    record["explained"] |= {"stride": 8, "lattice": {"stride": 8, "share": 0.01, "pictures": 3}}
    if old:
        record["explained"].pop("lattice")
    (run / "run.json").write_text(json.dumps(record))
    monkeypatch.setattr("citycam.explain.lattice.lattice_share", lambda *_: share)
    assert explain(f"run={run}", "explain.methods=[layercam]").code == 0
    content = json.loads((made(run)[0] / "explain.json").read_text())
    assert content["explained"]["stride"] == 8
    # What was measured for the run is not measured again. A run of an older version keeps its grid, with the warning.
    measured = {"stride": 8, "share": share, "pictures": 3} if old else record["explained"]["lattice"]
    assert content["explained"]["lattice"] == measured
    assert [warning["code"] for warning in content["warnings"]] == (["lattice"] if old and share > 0.1 else [])
    outcome = explain(f"run={run}", "explain.methods=[cam]", "explain.stride=16")
    assert outcome.code == 0
    content = json.loads((made(run)[1] / "explain.json").read_text())
    assert ("lattice" in [warning["code"] for warning in content["warnings"]]) is (share > 0.1)


def test_the_true_class_can_be_explained(explain: Explain, sweep: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = ["explain.target=true", "explain.methods=[cam]"]
    outcome = explain(f"run={only(sweep, 'multi')}", f"out={out}", *settings)
    assert outcome.code == 0, outcome.err
    with np.load(out / "maps.npz") as maps:
        assert maps["targets"].tolist() == maps["cities"].tolist()


def test_pictures_of_unknown_cities_are_neither_right_nor_wrong(explain: Explain, sweep: Path, tmp_path: Path) -> None:
    run, out = only(sweep, "multi"), tmp_path / "out"
    pictures = paint_cities(tmp_path / "holiday", ("abroad",), 3)
    (pictures / "abroad" / "broken.jpg").write_bytes(b"\xff\xd8\xffno picture")
    outcome = explain(f"run={run}", f"pictures={pictures}", f"out={out}", "explain.methods=[cam]")
    assert outcome.code == 1
    assert "abroad/broken.jpg" in outcome.err
    assert not (out / "wrong").exists()
    assert len(list((out / "cam").iterdir())) == 3
    assert {row["city"] for row in read(out / "explain_sample.csv")} == {""}
    with np.load(out / "maps.npz") as maps:
        assert not maps["correct"].any()
    picture = pictures / "abroad" / "walk0" / "00.png"
    one = explain(f"run={run}", f"pictures={picture}", f"out={tmp_path / 'one'}", "explain.methods=[cam]")
    assert one.code == 0, one.err
    refused = explain(f"run={run}", f"pictures={pictures / 'abroad' / 'walk0'}", "explain.target=true")
    assert (refused.code, "explain.target=predicted" in refused.err) == (2, True)


def test_pictures_in_folders_named_like_cities_have_them(
    explain: Explain, sweep: Path, cities: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcome = explain(f"run={sweep}", f"pictures={cities}", f"out={out}", "explain.methods=[cam]", "explain.pictures=9")
    assert outcome.code == 0, outcome.err
    for word, names in (("multi", {"arden", "brill", "corvo"}), ("binary", {"brill", "rest"})):
        found = {row["city"] for row in read(out / only(sweep, word).name / "explain_sample.csv")}
        assert found <= names
        assert len(found) > 1


def test_a_failure_leaves_nothing_behind(
    explain: Explain, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("citycam.inference.explain.draw_maps", stop)
    outcome = explain(f"run={only(sweep, 'multi')}", f"out={tmp_path / 'out'}")
    assert outcome.code == 130
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(explain: Explain, sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    outcome = explain(f"run={only(sweep, 'multi')}", f"out={tmp_path}")
    assert (outcome.code, outcome.err.count("\n")) == (2, 2)
    assert "not written over" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_moved_and_changed_pictures(explain: Explain, sweep: Path, cities: Path, tmp_path: Path) -> None:
    run = only(copy_of(sweep, tmp_path), "multi")
    moved = Path(shutil.copytree(cities, tmp_path / "moved"))
    record = json.loads((run / "run.json").read_text())
    record["data"]["root"] = str(tmp_path / "nowhere")
    (run / "run.json").write_text(json.dumps(record))
    gone = explain(f"run={run}")
    assert (gone.code, "data.root=FOLDER" in gone.err) == (2, True)
    assert explain(f"run={run}", f"data.root={moved}").code == 0
    first = moved / read(run / "explain_sample.csv")[0]["picture"]
    first.write_bytes(first.read_bytes() + b"changed")
    changed = explain(f"run={run}", f"data.root={moved}", "explain.methods=[cam]")
    assert (changed.code, "digest differs" in changed.err) == (2, True)


def damage_checkpoint(run: Path) -> None:
    (run / "checkpoints" / "last.ckpt").write_bytes(b"PK no checkpoint")


def lose_checkpoint(run: Path) -> None:
    (run / "checkpoints" / "last.ckpt").unlink()


def other_classes(run: Path) -> None:
    shutil.copy(only(run.parent, "binary") / "checkpoints" / "last.ckpt", run / "checkpoints" / "last.ckpt")


def lose_body(run: Path) -> None:
    shutil.rmtree(run.parent / "bodies")


def other_body(run: Path) -> None:
    (body,) = (run.parent / "bodies").iterdir()
    content = bytearray(body.read_bytes())
    content[-1] ^= 1
    body.write_bytes(content)


def newer(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"schema": 99}))


def unfinished(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"status": "failed", "error": "no power"}))


def damage_record(run: Path) -> None:
    (run / "run.json").write_text('{"status": ')


def unknown_setting(run: Path) -> None:
    with (run / "config.yaml").open("a") as file:
        file.write("colour: blue\n")


def lose_split(run: Path) -> None:
    (run / "split.csv").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_checkpoint, "is no whole checkpoint"),
        (lose_checkpoint, "There is no checkpoint"),
        (other_classes, "is of partition=binary and its run of multi"),
        (lose_body, "needs the frozen body"),
        (other_body, "is not the body"),
        (newer, "newer citycam"),
        (unfinished, "is failed, and only a completed run can be used; finish it with python train.py"),
        (damage_record, "run.json cannot be read"),
        (unknown_setting, "does not fit this version"),
        (lose_split, "split.csv is not there"),
    ],
)
def test_a_run_that_cannot_be_used_is_said_in_one_sentence(
    damage: Callable[[Path], None], words: str, explain: Explain, sweep: Path, tmp_path: Path
) -> None:
    run = only(copy_of(sweep, tmp_path), "multi")
    damage(run)
    outcome = explain(f"run={run}", "explain.methods=[cam]")
    assert outcome.code == 2
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("citycam: ") and "maps of" not in line]
    assert words in line
    assert made(run) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain.methods=[cam]"], "needs run=PATH"),
        (["run=nowhere"], "nowhere does not exist"),
        (["run=."], ". holds no run"),
        (["rum=."], "did you mean run?"),
        (["run=.", "explain.method=[cam]"], "did you mean explain.methods"),
        (["run=.", "explain.methods=[camm]"], "did you mean cam?"),
        (["run=.", "explain.methods=cam,layercam"], "write explain.methods=[cam,layercam]"),
        (["run=.", "explain.stride=12"], "explain.stride=12 is not known"),
        (["run=.", "explain.pictures=many"], "is no whole number"),
        (["run=.", "explain.target=citi"], "did you mean city?"),
        (["run=.", "pictures=nowhere"], "pictures=nowhere does not exist"),
        (["run=.", "out="], "lacks its value"),
        (["--fast", "run=."], "--fast is no option"),
        (["run=.", "run=."], "given twice"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    arguments: list[str], words: str, explain: Explain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = explain(*arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert words in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_help_and_refusals_load_no_torch(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import explain
for arguments in (["--help"], ["run={tmp_path}", "explain.methods=[cam]"]):
    sys.argv = ["explain.py", *arguments]
    print(explain.main())
print("torch" in sys.modules)
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert printed[-3:] == ["0", "2", "False"]
