"""Wrong settings end in one sentence before anything starts; right ones become jobs with stable names."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable

import pytest

from citycam.config import Config
from citycam.errors import CitycamError
from citycam.sweep.command import hydra_order
from citycam.sweep.compose import CONF
from citycam.sweep.gate import read_request
from citycam.sweep.names import folder_name
from tests.conftest import ROOT, Outcome

GRID = ["-m", "optimizer=sgd,adam", "epochs=5,10", "partition=binary,multi"]
WRONG = {
    "epochs=ten": "epochs=ten cannot be: 'ten' is no whole number.",
    "epochs=5.5": "epochs=5.5 cannot be: '5.5' is no whole number.",
    "epochs=0": "epochs=0 must be a whole number of at least 1.",
    "epochs=-3": "epochs=-3 must be a whole number of at least 1.",
    "epoch=3": "epoch is no setting of citycam; did you mean epochs?",
    "+lerning_rate=0.1": "lerning_rate is no setting of citycam",
    "optimizer=sdg": "optimizer=sdg is not known; did you mean sgd?",
    "optimizer.lr=0": "optimizer.lr=0.0 must be a positive number",
    "optimizer.lr=nan": "optimizer.lr=nan must be a positive number",
    "optimizer.momentm=0.5": "optimizer.momentm is no setting of citycam; did you mean momentum?",
    "optimizer.momentum=0.5": "optimizer.momentum is no setting of optimizer=adam",
    "+data.foo=1": "data.foo is no setting of citycam",
    "~optimizer": "~optimizer would leave out a setting that every run needs",
    "partition=mutli": "partition=mutli cannot be: it is one of binary, multi (did you mean multi?).",
    "data=foldr": "data=foldr is not known; did you mean folder?",
    "data=folder": "data=folder needs data.root=FOLDER",
    "data.watermark=perhaps": "data.watermark=perhaps cannot be: 'perhaps' is neither true nor false.",
    "experiment=quik": "experiment=quik is not known; did you mean quick?",
    "explain.methods=[cam,gradcm]": "explain.methods=gradcm is not known; did you mean gradcam",
    "explain.methods=[cam,cam]": "names a method twice",
    "explain.stride=7": "explain.stride=7 is not known; it is auto, 32, 16 or 8.",
    "image_size=-64": "image_size=-64 is too small; it must be at least 32.",
    "batch_size=0": "batch_size=0 must be a whole number of at least 1.",
    "threads=all": "threads=all must be auto or a whole number of at least 1.",
    "split.val=1.5": "split.val=1.5 must lie between 0.01 and 0.9.",
    "split.val=0.5 split.test=0.5": "leave no pictures to train on",
    "seed=-1": "seed=-1 must be zero or a positive whole number.",
    "sweep.name=a/b": "must be a plain folder name",
    "epochs=5,10": "add -m to train a run with each",
    "--epochs 5": "--epochs is no option; see python train.py --help.",
    "-cn other": "--config-name is no option; --config-dir FOLDER adds options of yours.",
    "--config-path conf": "--config-path is no option; --config-dir FOLDER",
    "hydra.searchpath=[conf]": "hydra.searchpath is not taken; --config-dir FOLDER adds options of yours.",
    "-m --cfg job": "--cfg is about one run; leave out -m.",
    "--resolve": "--resolve and --package go with --cfg",
    "+experiment=quick": "+experiment=quick would add what every run has already; write experiment=quick.",
    "+optimizer=sgd": "write optimizer=sgd.",
    "++optimizer=sgd": "write optimizer=sgd.",
    "-m +optimizer=sgd,adam": "write optimizer=sgd,adam.",
    "+epochs=3": "write epochs=3.",
    "+optimizer.lr=0.1": "write optimizer.lr=0.1.",
    "backbone=timm": "backbone=timm needs backbone.name=NAME",
    "hydra.foo=1": "hydra.foo is no setting",
    "seed=[": "seed=[ is no list that can be read; write seed=[A,B].",
    "sweep.jobs_per_device=0": "sweep.jobs_per_device=0 must be a whole number of at least 1.",
    "sweep.resume=nowhere": "holds no sweep.json with a command to resume; give the folder of a sweep",
    "trainer.devices=0": "trainer.devices=0 must be a whole number of at least 1.",
    "trainer=ddp batch_size=1": "batch_size=1 cannot be shared by trainer.devices=2",
    "trainer=dpp": "trainer=dpp is not known; did you mean ddp?",
    "-m hydra/launcher=joblib hydra.launcher.n_jobs=0": "hydra.launcher.n_jobs=0 would run nothing",
    "-m hydra/launcher=joblib trainer=ddp": "leave out hydra/launcher=joblib, and the jobs run one after the other",
    "-m hydra/launcher=jolib": "hydra/launcher=jolib is not known; did you mean joblib?",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_setting_is_one_sentence(line: str, train: Callable[..., Outcome]) -> None:
    outcome = train(*line.split(), small=False)
    assert outcome.code == 2
    assert WRONG[line] in outcome.err
    assert outcome.err.startswith("citycam: ")
    assert outcome.err.count("\n") == 1
    assert not outcome.results.parent.exists()


@pytest.mark.parametrize("swept", ["epochs=5,ten", "epochs=5,0", "optimizer=sgd,sdg", "optimizer.lr=0.1,-1"])
def test_a_mistake_in_one_job_starts_none(swept: str, train: Callable[..., Outcome]) -> None:
    outcome = train(swept, "seed=1,2", multirun=True)
    assert outcome.code == 2
    assert not outcome.results.exists()


def test_binary_needs_a_target_in_folders(train: Callable[..., Outcome], cities: object) -> None:
    outcome = train("data=folder", f"data.root={cities}", "partition=binary", small=False)
    assert (outcome.code, "partition=binary needs data.target=CITY" in outcome.err) == (2, True)


def test_the_grid_of_eight_is_eight_jobs_with_names_of_their_own() -> None:
    request = read_request([*GRID, "sweep.name=grid"])
    assert request is not None
    names = [job.folder.name for job in request.jobs]
    assert len(set(names)) == 8
    assert all(len(name) <= 100 and job.hash == name[-8:] for name, job in zip(names, request.jobs, strict=True))
    combinations = {(job.config.optimizer.kind, job.config.epochs, job.config.partition.name) for job in request.jobs}
    assert combinations == set(itertools.product(("sgd", "adam"), (5, 10), ("binary", "multi")))
    assert {job.folder.parent for job in request.jobs} == {request.sweep_folder}


def test_names_stay_when_the_sweep_grows_or_is_asked_again() -> None:
    one, more = read_request([*GRID, "sweep.name=a"]), read_request([*GRID, "seed=0,1", "sweep.name=a"])
    assert one is not None
    assert more is not None
    hashes = {job.hash for job in more.jobs if job.config.seed == 0}
    assert {job.hash for job in one.jobs} == hashes


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("explain=none", True),
        ("explain.pictures=3", True),
        ("bank.enabled=false", True),
        ("trainer.accelerator=cpu", True),
        ("sweep.name=other", True),
        ("epochs=10", True),
        ("epochs=11", False),
        ("seed=1", False),
        ("head=linear", False),
        ("augment.flip=0.1", False),
        ("data.seed=1", False),
        ("split.seed=1", False),
    ],
)
def test_the_hash_covers_what_changes_the_trained_numbers(line: str, same: bool) -> None:
    plain, other = read_request([]), read_request([line])
    assert plain is not None
    assert other is not None
    assert (plain.jobs[0].hash == other.jobs[0].hash) is same


def test_another_way_of_writing_a_path_names_the_same_run() -> None:
    hashes = set()
    for root in ("photos/paris", "/abs/photos/paris", "../x/paris"):
        request = read_request(["data=folder", f"data.root={root}"])
        assert request is not None
        hashes.add(request.jobs[0].hash)
    assert len(hashes) == 1


def test_folder_names_have_no_slash_and_at_most_100_characters() -> None:
    name = folder_name(["data.root=/a/b/c d", f"backbone.name={'x' * 300}", "+epochs=3", "data=folder"], "0123abcd")
    assert len(name) <= 100
    assert "/" not in name
    assert name.endswith("-0123abcd")
    assert folder_name(["b=2", "a=1"], "0123abcd") == folder_name(["a=1", "b=2"], "0123abcd")


@pytest.mark.parametrize("path", sorted(CONF.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_option_of_every_group_passes_the_gate(path: object) -> None:
    group, option = path.parent.name, path.stem  # type: ignore[attr-defined]
    extra = {"data=folder": ["data.root=x"], "backbone=timm": ["backbone.name=resnet26d"]}.get(f"{group}={option}", [])
    request = read_request([f"{group}={option}", *extra])
    assert request is not None
    assert isinstance(request.jobs[0].config, Config)


@pytest.mark.parametrize(
    "line",
    [
        "-m optimizer=sgd epochs=1,2",
        "optimizer=sgd -m epochs=1,2",
        "optimizer=sgd epochs=1,2 -m",
        "--multirun epochs=1,2",
    ],
)
def test_flags_stand_anywhere(line: str) -> None:
    request = read_request([*line.split(), "sweep.name=s"])
    assert request is not None
    assert sorted(job.config.epochs for job in request.jobs) == [1, 2]
    (command,) = request.commands
    assert command.words[0] == "-m"
    assert command.line.startswith("python train.py -m ")


def test_questions_are_put_to_hydra_in_an_order_that_it_takes() -> None:
    words = ["optimizer=sgd", "--cfg", "job", "epochs=3"]
    assert read_request(words) is None
    assert hydra_order(words) == ["optimizer=sgd", "epochs=3", "--cfg", "job"]
    assert hydra_order(["--config-dir", "a=b", "a=b", "--help"]) == ["a=b", "--config-dir", "a=b", "--help"]


@pytest.mark.parametrize("door", ["train.py", "citycam"])
def test_help_lists_the_groups_and_no_inner_ones(door: str) -> None:
    code = f"import sys; sys.argv = {[door, *(['train'] if door == 'citycam' else []), '--help']}"
    code += f"; from citycam.cli{'.train' if door == 'train.py' else ''} import main; main()"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert f"  {'python train.py' if door == 'train.py' else 'citycam train'} -m optimizer=sgd,adam" in printed
    for group in (folder.name for folder in CONF.iterdir() if folder.is_dir()):
        assert f"  {group}: " in printed
    assert "schema" not in printed


def test_cfg_shows_the_settings() -> None:
    printed = subprocess.run(
        [sys.executable, ROOT / "train.py", "--cfg", "job"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert "image_size: 64" in printed


def test_a_refused_request_imports_nothing_heavy() -> None:
    code = (
        "import sys, runpy; sys.argv = ['train.py', 'epochs=0']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules, 'timm' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.stdout.split() == ["2", "False", "False"]
    assert ended.returncode == 2


def test_near_matches_name_what_is_known_where_nothing_is_close() -> None:
    with pytest.raises(CitycamError, match="known are adam, adamw, sgd"):
        read_request(["optimizer=lion"])
