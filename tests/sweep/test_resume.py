"""A sweep is resumed from what its sweep.json says, and a file runs nothing but settings of citycam."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from citycam.errors import CitycamError
from citycam.sweep.gate import read_request

HOSTILE = {
    "+hydra.callbacks.x._target_=os.system": "its sweep.json holds +hydra.callbacks.x._target_=os.system",
    "++hydra.callbacks.x._target_=os.system": "are not taken from a file",
    "hydra.launcher._target_=os.system": "are not taken from a file",
    "hydra/launcher=joblib hydra.launcher.pre_dispatch=exit()": "are not taken from a file",
    "hydra/sweeper=other": "are not taken from a file",
    "hydra={callbacks:{}}": "are not taken from a file",
    "~hydra.callbacks": "are not taken from a file",
    "optimizer@hydra.callbacks.x=sgd": "are not taken from a file",
    "hydra/launcher=submitit_local": "are not taken from a file",
    "+foo._target_=os.system": "foo._target_ is no setting of citycam",
    "sweep.resume=elsewhere": "sweep.resume is taken from the command line only",
    "--config-path /tmp": "--config-path is not taken from a file",
    "--config-dir": "--config-dir is not taken from a file",
    "'": "holds a command that citycam does not write",
}


def recorded(folder: Path, line: str) -> Path:
    """A sweep's folder whose sweep.json holds one command."""
    folder.mkdir(exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps({"schema": 1, "commands": [line]}))
    return folder


@pytest.mark.parametrize("words", HOSTILE)
def test_only_settings_are_taken_from_a_sweep_json(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = recorded(tmp_path / "s", f"python train.py epochs=1 {words}")
    with pytest.raises(CitycamError) as refused:
        read_request([f"sweep.resume={folder}"])
    assert HOSTILE[words] in str(refused.value)


@pytest.mark.parametrize("line", ["rm -rf /", "", "python other.py epochs=1", "python"])
def test_a_command_of_another_program_is_not_taken(line: str, tmp_path: Path) -> None:
    with pytest.raises(CitycamError, match="holds a command that citycam does not write"):
        read_request([f"sweep.resume={recorded(tmp_path / 's', line)}"])


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_folders_and_known_launchers_are_taken_with_or_without_plus(
    plus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = "hydra/launcher=joblib hydra.launcher.n_jobs=2 hydra.sweep.dir=old 'hydra.sweep.subdir=x${epochs}'"
    line = f"python train.py -m epochs=1,2 {given}"
    with pytest.raises(CitycamError, match="epochs=1 is not part of it"):  # the words are taken, and no job is known
        read_request([f"{plus}sweep.resume={recorded(tmp_path / 's', line)}"])
