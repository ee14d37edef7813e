"""The command line of explain.py, checked before anything slow is imported; no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.doors import called
from citycam.errors import CitycamError, near_matches
from citycam.explain_config import METHODS, ExplainConfig, ExplainTarget
from citycam.files import at_home
from citycam.inference.runs import TrainedRun, find_runs
from citycam.sweep.gate import read_request

_PLACES = ("run", "pictures", "out", "data.root")
_GROUP = "explain"


@dataclass(frozen=True)
class ExplainRequest:
    """The maps to draw. ``runs``: the trained runs, each with the `ExplainConfig` of its maps."""

    runs: tuple[tuple[TrainedRun, ExplainConfig], ...]
    pictures: Path | None
    out: Path | None
    data_root: Path | None


def help_text() -> str:
    """Return what --help prints."""
    program = called("explain")
    return f"""{program} - draw maps of trained models again, or of other pictures

  {program} run=multirun/NAME/RUN                                  the run's own maps once more
  {program} run=multirun/NAME explain.methods=[cam,layercam]       other methods, for every run of a sweep
  {program} run=multirun/NAME/RUN explain.target=predicted         evidence for what was answered
  {program} run=multirun/NAME/RUN/checkpoints/best.ckpt            the weights of the best epoch
  {program} run=multirun/NAME/RUN pictures=PHOTOS                  any folder or file of pictures

  run=PATH         a run's folder, a sweep's (all its completed runs), or a checkpoint in the folder of its run
  pictures=PATH    a folder (searched to any depth) or a file; without it the run's validation pictures of its city
  out=FOLDER       where the maps go, for a sweep a folder for each run in it; without it a new folder in the run's own
  data.root=PATH   where the run's pictures lie now, if they were moved

  explain.methods=[...]     {" ".join(METHODS[:6])}
                            {" ".join(METHODS[6:])}
  explain.target=NAME       {" | ".join(target.name for target in ExplainTarget)}
  explain.stride=auto|32|16|8   explain.layer=last|STAGE   explain.pictures=N   explain.weights=last|best
  explain.seed=N   explain.noise=SHARE   explain.samples=N   explain.baselines=[...]   explain.steps=N

Settings that are not given are those of the run (its config.yaml). Existing maps are never overwritten: where the same
maps exist, their folder is named. A folder of maps holds maps.npz, METHOD/*.png, wrong/METHOD/*.png, sheet_METHOD.png,
explain_sample.csv and explain.json.

Exit codes: 0 all maps exist now, 1 something failed or could not be read, 2 the request is wrong, 130 Ctrl-C."""


def read_explain_request(arguments: Sequence[str]) -> ExplainRequest | None:
    """Read and check a command line; None where it asks for help.

    Raises:
        CitycamError: one sentence on what cannot be.
    """
    if not arguments or {"-h", "--help"} & set(arguments):
        return None
    places, settings = _divide(arguments)
    if "run" not in places:
        raise CitycamError(
            f"{called('explain')} needs run=PATH: a run's folder, a sweep's, or a checkpoint; see --help."
        )
    pictures = places.get("pictures")
    if pictures is not None and not pictures.exists():
        raise CitycamError(f"pictures={pictures} does not exist; give a folder or a file of pictures.")
    changes = _changes(settings)
    weights = changes.get("weights")
    runs = find_runs(places["run"], weights.name if weights is not None else None)
    explained = tuple((run, _settings_of(run, changes)) for run in runs)
    return ExplainRequest(explained, pictures, places.get("out"), places.get("data.root"))


def _divide(arguments: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """The arguments that name places, and those that are settings of the maps."""
    known = [*_PLACES, *(f"{_GROUP}.{field.name}" for field in dataclasses.fields(ExplainConfig))]
    places: dict[str, Path] = {}
    settings = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key.startswith("-"):
            raise CitycamError(f"{key} is no option; see {called('explain')} --help.")
        if key not in known:
            raise CitycamError(f"{key} is not known; {near_matches(key, known)}")
        if not equals or not value:
            raise CitycamError(f"{argument} lacks its value; write {key}=VALUE.")
        if key not in _PLACES:
            settings.append(argument)
        elif key in places:
            raise CitycamError(f"{key} was given twice; give it once.")
        else:
            places[key] = at_home(value.strip("'\""))
    return places, settings


def _changes(settings: list[str]) -> dict[str, Any]:
    """The values of settings, typed and checked as those of train.py are."""
    for setting in settings:
        key, _, value = setting.partition("=")
        if key == f"{_GROUP}.methods" and not value.startswith("["):
            raise CitycamError(f"{setting} is no list; write {key}=[{value}].")
    request = read_request([*settings, "sweep.name=explain"])
    checked = request.jobs[0].config.explain if request is not None else ExplainConfig()
    names = [setting.partition("=")[0].removeprefix(f"{_GROUP}.") for setting in settings]
    return {name: getattr(checked, name) for name in names}


def _settings_of(run: TrainedRun, changes: dict[str, Any]) -> ExplainConfig:
    settings = dataclasses.replace(run.config.explain, **changes)
    if not settings.methods:
        raise CitycamError(f"{run.folder} was trained without maps; say which: explain.methods=[cam,gradcam].")
    return settings
