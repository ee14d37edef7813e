"""Wrong settings end in one sentence before anything starts; right ones become jobs with stable names."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from citycam.config import Config
from citycam.doors import called
from citycam.errors import CitycamError
from citycam.sweep.command import hydra_order
from citycam.sweep.compose import CONF, hydra_on_conf, to_config
from citycam.sweep.gate import read_request
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
    "partition=binary study=default": "study=default needs a run with partition=multi",
    "study.pictures=50": "study.pictures=50 does nothing without a study; add study=default.",
    "study=defalt": "study=defalt is not known; did you mean default?",
    "study.runs=bst": "(did you mean best?)",
    "study.pictures=0": "study.pictures=0 must be a whole number of at least 1.",
    "explain.methods=[cam,gradcm]": "explain.methods=gradcm is not known; did you mean gradcam",
    "explain.methods=[cam,cam]": "names one twice",
    "explain.scores=[removal,sparsness]": "explain.scores=sparsness is not known; did you mean sparseness",
    "explain.scores=[road,road]": "names one twice",
    "explain.baselines=[blur,blurr]": "explain.baselines=blurr is not known; did you mean blur",
    "explain.baselines=[]": "explain.baselines=[] leaves integrated no path",
    "explain.steps=0": "explain.steps=0 must lie between 1 and 1000.",
    "explain.layer=layer2 explain.stride=8": "leave explain.stride=8 out",
    "explain.target=contrst": "did you mean contrast?",
    "explain.stride=7": "explain.stride=7 is not known; it is auto, 32, 16 or 8.",
    "image_size=-64": "image_size=-64 must lie between 32 and 4096.",
    "batch_size=0": "batch_size=0 must be a whole number of at least 1.",
    "threads=all": "threads=all must be auto or a whole number of at least 1.",
    "split.val=1.5": "split.val=1.5 must lie between 0.01 and 0.9.",
    "split.val=0.5 split.test=0.5": "leave no pictures to train on",
    "seed=-1": "seed=-1 must be zero or a positive whole number below 2**63.",
    "sweep.name=a/b": "must be a plain folder name",
    "epochs=5,10": "add -m to train a run with each",
    "--epochs 5": "--epochs is no option; see python train.py --help.",
    "-cn other": "--config-name is no option; --config-dir FOLDER adds options of yours.",
    "--config-path conf": "--config-path is no option; --config-dir FOLDER",
    "hydra.searchpath=[conf]": "hydra.searchpath is not taken; --config-dir FOLDER adds options of yours.",
    "--cfg job epochs=1,2": "epochs=1,2 gives several values; add -m to train a run with each",
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
    "sweep.resume=": "sweep.resume= has no value",
    "+sweep.resume=nowhere": "nowhere holds no sweep.json with a command to resume",
    "++sweep.resume=nowhere": "nowhere holds no sweep.json with a command to resume",
    "-m ++sweep.resume=nowhere epochs=1,2": "nowhere holds no sweep.json with a command to resume",
    "-m trainer.devices=1,2": "trainer.devices=1 and trainer.devices=2 are one run, since they change no trained",
    "-m bank.enabled=true,false seed=1,2": "bank.enabled=True and bank.enabled=False are one run",
    "image_size=5000": "image_size=5000 must lie between 32 and 4096.",
    "head.hidden=1000000000000": "must lie between 1 and 65536.",
    "sweep.resume=nowhere": "holds no sweep.json with a command to resume; give the folder of a sweep",
    "trainer.devices=0": "trainer.devices=0 must be a whole number of at least 1.",
    "trainer=ddp batch_size=1": "batch_size=1 cannot be shared by trainer.devices=2",
    "trainer=dpp": "trainer=dpp is not known; did you mean ddp?",
    "-m hydra/launcher=joblib hydra.launcher.n_jobs=0": "hydra.launcher.n_jobs=0 would run nothing",
    "-m hydra/launcher=joblib trainer=ddp": "leave out hydra/launcher=joblib, and the jobs run one after the other",
    "-m hydra/launcher=jolib": "hydra/launcher=jolib is not known; did you mean joblib?",
    "epochs=5,": "epochs=5, has a comma without a value; write epochs=5.",
    "data=folder data.root=": "data.root= has no value (a variable of the shell that is not set?)",
    "data=folder data.root=''": "data.root= has no value",
    "-m data.target=,paris": "data.target=,paris has a comma without a value; write data.target=paris.",
    "data=folder -m epochs=5,10": "data=folder needs data.root=FOLDER",
    "data=folder data.root=x data.kind=toytown": "data.kind=toytown is another option's; write data=toytown.",
    "optimizer.kind=sgd": "optimizer.kind=sgd is another option's; write optimizer=sgd.",
    "head=0.5": "head=0.5 is not known; known are linear, mlp",
    "lr=0.1": "lr is no setting of citycam; did you mean optimizer.lr?",
    "data.lr=0.1": "data.lr is no setting of citycam; did you mean optimizer.lr?",
    "target=x": "did you mean data.target or explain.target?",
    "epochs.x=1": "epochs.x is no setting of citycam; did you mean epochs?",
    "data.root.x=1": "data.root.x is no setting of citycam; did you mean data.root?",
    "optimizer@x=sgd": "optimizer@x is no setting of citycam; did you mean optimizer?",
    "sweep=x": "sweep=x is no setting of citycam; write sweep.NAME=VALUE",
    "größe=5": "größe is no setting of citycam",
    "epochs": "epochs has no value; write NAME=VALUE",
    "+++epochs=3": "+++epochs=3 is not how a setting is written; write epochs=VALUE.",
    "--cfg wrong": "--cfg/-c: invalid choice: 'wrong'",
    "hydra=1": "hydra is no setting that citycam takes",
    "hydra.mode=MULTIRUN": "hydra.mode is not taken; write -m for a sweep.",
    "-m hydra.sweeper.params={epochs:[1,2]}": "hydra.sweeper.params is not taken; write the values of a sweep",
    "-m hydra.launcher.n_jobs=1,2 hydra/launcher=joblib": "hydra.launcher.n_jobs is the same for all runs of a sweep",
    "-m sweep.name=a,b": "sweep.name is the same for all runs of a sweep; give one.",
    "-m seed=range(5,0)": "seed=range(5,0) gives 0 runs; a sweep has",
    "-m seed=range(0,1000000000)": "seed=range(0,1000000000) gives 1,000,000,000 runs; a sweep has",
    "-m seed=range(0,5,0)": "seed=range(0,5,0)",
    "data.target=Zürich,Genf": "or quote it if it is one value: \"data.target='Zürich,Genf'\"",
    "data.target=choice(Zürich,Genf)": "cannot be read; write data.target=A,B,C",
    "data.target='it's'": "data.target='it's' has quotes within quotes; write \"data.target=it's\".",
    "data.target=Paris(a,b": "leaves open whether its commas divide values",
    "data.root=a\udce9": "data.root has the character '\\udce9', which is no text",
    "seed=${oc.env:HOME}": "is no whole number.",
    "seed=${seed}": "seed cannot be: Recursive interpolation detected.",
    "epochs=${nothing}": "epochs cannot be: Interpolation key 'nothing' not found.",
    "explain.methods=cam": "explain.methods=cam cannot be: it is a list, written [A,B].",
    f"seed={'9' * 4400}": "seed=99999999999999999999… has 4,400 characters, and no value more than 4,000.",
    f"seed={'9' * 400}": "must be zero or a positive whole number below 2**63.",
    f"epochs={'9' * 400}": "epochs=99999999999999999999… is too large; it must be at most 2147483647.",
    f"sweep.name={'x' * 300}": "sweep.name=xxxxxxxxxxxxxxxxxxxx… is too long for the name of a folder",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_setting_is_one_sentence(line: str, train: Callable[..., Outcome]) -> None:
    outcome = train(*line.split(), small=False)
    assert outcome.code == 2
    assert WRONG[line] in outcome.err
    assert outcome.err.startswith("citycam: ")
    assert outcome.err.count("\n") == 1
    assert not outcome.results.parent.exists()


@pytest.mark.parametrize(
    "line",
    [
        "optimizer=sgd,adam epochs=5,10 partition=binary,multi",
        "experiment=quick,paper data.limit=20,30 optimizer.lr=0.1",
        "backbone=timm backbone.name=resnet26d,resnet14t augment=none,default augment.views=1,null",
        "hydra/launcher=joblib explain.methods=[gradcam,cam] seed=range(0,3)",
        "hydra.sweep.subdir=x-${hydra.job.override_dirname} ++seed=3,4",
    ],
)
def test_jobs_are_composed_as_hydra_composes_each(line: str) -> None:
    request = read_request(["-m", *line.split(), "sweep.name=s"])
    assert request is not None
    for job in request.jobs:
        with hydra_on_conf(None):
            launcher = [word for word in line.split() if word.startswith("hydra")]
            alone = compose("config", overrides=[*job.overrides, *launcher], return_hydra_config=True)
            assert to_config(alone) == job.config
            assert Path(alone.hydra.sweep.dir, alone.hydra.sweep.subdir).absolute() == job.folder


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A note of each configuration that Hydra composes."""
    made: list[str] = []
    load = ConfigLoaderImpl.load_configuration

    def note(*words: object, **named: object) -> object:
        made.append(str(named.get("overrides")))
        return load(*words, **named)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", note)
    return made


def test_many_jobs_are_announced_and_composed_together(
    compositions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    request = read_request(["-m", "seed=range(0,200)", "optimizer=adam,sgd", "sweep.name=s"])
    assert request is not None
    assert len(request.jobs) == 400
    assert len(compositions) == 2
    assert capsys.readouterr().err == "citycam: checking the settings of 400 runs\n"


def test_hydra_composes_each_job_once(train: Callable[..., Outcome], compositions: list[str]) -> None:
    assert train("seed=0,1,2", "explain=none", multirun=True).code == 0
    assert len([line for line in compositions if "seed=" in line]) == 3 + 2  # and twice, by Hydra, the sweep itself


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


@pytest.mark.parametrize("path", sorted(CONF.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_option_of_every_group_passes_the_gate(path: object) -> None:
    group, option = path.parent.name, path.stem  # type: ignore[attr-defined]
    choice = f"{group}={option}"
    extra = {
        "data=folder": ["data.root=x"],
        "experiment=photos": ["data.root=x"],
        "backbone=timm": ["backbone.name=resnet26d"],
    }.get(choice, [])
    request = read_request([choice, *extra])
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


MAPS = {
    "explain.target=city,predicted": ["explain.target=city", "explain.target=predicted"],
    "explain=none,default": [
        "explain=none",
        "'explain.methods=[cam,gradcam,smoothgradcampp,integrated]' "
        "'explain.scores=[removal,removal_order,sparseness,contrast]'",
    ],
    "explain=default,none": ["explain=default"],
    "explain.methods=[cam],[gradcam,layercam]": ["'explain.methods=[cam]'", "'explain.methods=[gradcam,layercam]'"],
    "explain.weights=last,best": ["explain.weights=last", "explain.weights=best"],
}


@pytest.mark.parametrize("word", MAPS)
def test_a_sweep_over_maps_names_the_commands_that_do_it(word: str) -> None:
    once, *others = MAPS[word]
    with pytest.raises(CitycamError) as refused:
        read_request(["-m", word, "seed=1,2", "sweep.name=s"])
    first, *lines = str(refused.value).partition("draw the other maps: ")[2].split(" ; ")
    assert first == f"{called('train')} -m {once} seed=1,2 sweep.name=s"
    assert lines == [f"{called('explain')} run=multirun/s {other}" for other in others]
    request = read_request(shlex.split(first)[2:])
    assert request is not None
    assert len(request.jobs) == 2


def test_equal_values_of_a_sweep_are_one_run() -> None:
    request = read_request(["-m", "seed=1,1", "explain.target=city,city"])
    assert request is not None
    assert len(request.jobs) == 1
