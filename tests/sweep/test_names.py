"""Names of runs' folders: short, and the same for the same run, also where an older version chose other words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.sweep.gate import read_request
from citycam.sweep.names import folder_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["data.root=/a/b/c d", f"backbone.name={'x' * 300}", "+epochs=3", "data=folder"], "epochs3-folder"),
        (["data.limit=120", "data.root=/p/city7", "data.target=rome", "epochs=5"], "epochs5-limit120-city7-targetrome"),
        (["data.limit=120", "data.root=/p/city7", "data.target=vladivostok", "epochs=5"], "epochs5-limit120-city7"),
        (["data.target=llanfairpwllgwyngyllgogerychwyrndrobwll"], "targetllanfairpwllgwyngyllgogerychwyrnd"),
        (["backbone.strides=[32,16,8]", "data.root=///"], "strides_32_16_8"),
        (["sweep.name=x", "explain=none"], "run"),
        ([], "run"),
    ],
)
def test_folder_names_are_short_and_end_between_words(overrides: list[str], name: str) -> None:
    assert folder_name(overrides, "0123abcd") == f"{name}-0123abcd"


@given(st.lists(st.tuples(st.sampled_from(["data.target", "epochs", "head", "optimizer.lr"]), st.text(max_size=60))))
def test_a_folder_name_is_one_whatever_the_order(pairs: list[tuple[str, str]]) -> None:
    overrides = [f"{key}={value}" for key, value in pairs]
    name = folder_name(overrides, "0123abcd")
    assert len(name) <= 48
    assert Path(name).name == name
    assert name.endswith("-0123abcd")
    assert folder_name(overrides[::-1], "0123abcd") == name


@pytest.mark.parametrize("mark", ["run.json", ".hydra"])
@pytest.mark.parametrize("words", [["-m", "sweep.name=s"], ["sweep.name=s"], ["-m", "hydra.sweep.dir=multirun/s"]])
def test_a_run_keeps_the_name_that_an_older_version_gave_it(
    words: list[str], mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def folder() -> Path:
        request = read_request([*words, "epochs=5", "data.limit=120"])
        assert request is not None
        (job,) = request.jobs
        return job.folder

    new = folder()
    assert new.name.startswith("epochs5-limit120-")
    old = new.with_name(f"epochs5-limit120-city7-targetp{new.name[-9:]}")
    old.mkdir(parents=True)
    assert folder() == new  # another's folder that only ends like it
    (old / mark).mkdir()
    assert folder() == old
    new.with_name(f"second{new.name[-9:]}").joinpath(mark).mkdir(parents=True)
    assert folder() == new  # which of the two it is cannot be known


def test_a_name_in_any_script_fits_a_file_system() -> None:
    name = folder_name([f"data.target={'東' * 300}"], "0123abcd")
    assert len(name.encode()) <= 255
    assert name.endswith("東-0123abcd")
