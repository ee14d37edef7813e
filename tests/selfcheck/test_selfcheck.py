"""The whole check, through the door that people use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from citycam.report.verdicts import CONTROL, FAULTY, METHOD, VERDICTS, SelfCheck, read_check
from citycam.selfcheck import page as page_module
from tests.conftest import Outcome
from tests.selfcheck.conftest import Check, settings_of

Train = Callable[..., Outcome]


def only(outcome: Outcome) -> tuple[Path, SelfCheck]:
    """The one result of a check, and its folder."""
    (path,) = outcome.results.glob("*/selfcheck.json")
    return path.parent, read_check(path)


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its content and time of change."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def plain(check: SelfCheck) -> dict[str, object]:
    """A check without what two of the same may differ in."""
    content = json.loads(json.dumps(check, default=lambda its: {n: getattr(its, n) for n in its.__dataclass_fields__}))
    return {name: value for name, value in content.items() if name not in ("seconds", "command", "body", "pictures")}


def test_settings_are_checked_and_the_same_seed_gives_the_same_result(check: Check) -> None:
    first = check("explain.methods=[gradcam]")
    folder, result = only(first)
    assert first.code in (0, 1)
    assert first.code == (0 if result.any_finds else 1)
    assert set(result.verdicts) == {"gradcam", "integrated"}
    assert {its.kind for its in result.marks[0].methods.values()} == {METHOD, CONTROL, FAULTY}
    assert set(result.verdicts.values()) <= set(VERDICTS)
    assert result.pictures.held_out == 60
    assert (result.pictures.city, result.pictures.intervals_over) == ("brill", "pictures")
    assert next(iter(result.randomised["gradcam"])) == "head"
    assert len(result.randomised["gradcam"]) > 5
    for name in result.verdicts:
        assert result.marks[0].methods[name].title in first.out
    before = plain(result)
    again = check("explain.methods=[gradcam]")
    assert again.code == first.code
    assert plain(only(again)[1]) == before
    text = (folder / page_module.PAGE).read_text(encoding="utf-8")
    assert "http" not in text.replace("http-equiv", "")
    assert text.count("<figure>") == 4 * 3
    assert "<!--" not in text
    assert_controls_cannot_tell_cue_from_decoy(result)


def assert_controls_cannot_tell_cue_from_decoy(result: SelfCheck) -> None:
    """Both roles and the twin have the same pictures, so maps that know no class point alike in all of them."""
    mark = result.marks[0]
    if len({cue.used for cue in mark.cues}) == 1:
        for name in ("blur_difference", "edges", "saturation", "random", "centred", "activation_norm"):
            its = mark.methods[name]
            assert its.cue.value == pytest.approx(its.decoy.value)
            assert its.cue.value == pytest.approx(its.null_cue.value)


def test_a_run_is_checked_and_nothing_of_its_folder_changes(
    train: Train, check: Check, many: Path, tiny_weights: Path
) -> None:
    trained = train(*settings_of(many, tiny_weights, "explain.methods=[cam]"), "sweep.name=s", small=False)
    (run,) = trained.runs
    before = tree(run)
    outcome = check(str(run), small=False)
    assert outcome.code in (0, 1), outcome.err
    assert tree(run) == before
    (path,) = trained.results.glob("selfcheck/*/selfcheck.json")
    result = read_check(path)
    assert set(result.verdicts) == {"cam", "integrated"}
    assert result.asked == ("cam",)
    assert result.body.run is None


@pytest.mark.slow
def test_a_fine_tuned_run_is_frozen_as_it_is_and_says_so(
    train: Train, check: Check, many: Path, tiny_weights: Path
) -> None:
    settings = settings_of(many, tiny_weights, "backbone.finetune=blocks.5", "explain.methods=[gradcam]")
    (run,) = train(*settings, "partition=binary", "sweep.name=s", small=False).runs
    before = tree(run)
    outcome = check(str(run), "--output", "out", small=False)
    assert outcome.code in (0, 1), outcome.err
    assert tree(run) == before
    result = read_check(Path("out") / "selfcheck.json")
    assert result.body.run == json.loads((run / "run.json").read_text())["config_hash"]
    assert "fine-tuned" in result.notes[0]
    assert "fine-tuned" in outcome.err
    assert result.class_swap == {}
    assert result.pictures.partition == "binary"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("data.target=bril",), "did you mean brill?"),
        (("data.limit=40",), "a verdict needs 60"),
        (("optimizer=adm",), "adam"),
        (("backbone.weights=random", "backbone.finetune=all"), "nothing to check before it is trained"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(check: Check, words: tuple[str, ...], sentence: str) -> None:
    outcome = check(*words)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.out == ""
    assert not outcome.results.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere",), "nowhere does not exist"),
        (("one", "two"), "one run"),
        (("nowhere", "optimizer=sgd"), "leave out one of the two"),
        (("--output", "full"), "not written over"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(check: Check, words: tuple[str, ...], sentence: str) -> None:
    Path("full").mkdir()
    (Path("full") / "mine.txt").write_text("mine")
    outcome = check(*words, small=False)
    assert outcome.code == 2
    assert sentence in outcome.err
