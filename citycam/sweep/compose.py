"""Between Hydra and `citycam.config`: the ConfigStore that conf/ fits, and plain `Config` objects. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any

from citycam.config import CONF, SCHEMAS, Config
from citycam.errors import CitycamError, near_matches
from citycam.sweep.names import config_hash, folder_name


def register() -> None:
    """Put every dataclass into Hydra's ConfigStore: the root as ``schema``, group options below ``schema/GROUP``.

    Also registers the resolver ``citycam.run_folder`` of conf/config.yaml.
    """
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for group, options in SCHEMAS.items():
        for option, node in options.items():
            store.store(group=f"schema/{group}", name=option, node=node)
    OmegaConf.register_new_resolver("citycam.run_folder", run_folder, replace=True)
    OmegaConf.register_new_resolver("citycam.groups", _list_groups, replace=True)


def run_folder(*, _root_: Any) -> str:
    """Hydra's resolver ``${citycam.run_folder:}``: the folder's name of the job that ``_root_`` describes."""
    from omegaconf import OmegaConf

    overrides = [str(item) for item in OmegaConf.select(_root_, "hydra.overrides.task", default=[])]
    return folder_name(overrides, config_hash(to_config(_root_)))


def _list_groups() -> str:
    """A line for each group of conf/ with its options, for --help."""
    groups = sorted(folder for folder in CONF.iterdir() if folder.is_dir())
    options = {folder.name: sorted(option.stem for option in folder.glob("*.yaml")) for folder in groups}
    return "\n".join(f"  {name}: {', '.join(names)}" for name, names in options.items())


def to_config(composed: Any) -> Config:
    """The plain `Config` of what Hydra composed (an OmegaConf DictConfig); every range is checked on the way.

    Raises:
        CitycamError: a key the dataclasses lack (Hydra lets ``+key=value`` in), a wrong type, range or combination.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    names = [f.name for f in dataclasses.fields(Config)]
    settings = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    _refuse_unknown("", settings, names)
    for key in map(str, settings):
        kind: Any = OmegaConf.get_type(settings, key)
        if dataclasses.is_dataclass(kind):
            _refuse_unknown(f"{key}.", settings[key], [f.name for f in dataclasses.fields(kind)])
    try:
        values: Any = OmegaConf.to_object(settings)
        return Config(**values)
    except OmegaConfBaseException as error:
        raise CitycamError(str(error).splitlines()[0]) from error


def hydra_record(composed: Any) -> dict[str, str]:
    """Hydra's own files of a job (what it calls its output subdirectory), by name. Hydra would write them also for a
    run that is only found done, over those of the run as it was trained; so citycam writes them when a run begins."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    hydra = HydraConfig.get()
    return {
        "config.yaml": OmegaConf.to_yaml(composed),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})),
        "overrides.yaml": OmegaConf.to_yaml(hydra.overrides.task),
    }


def _refuse_unknown(prefix: str, given: Any, names: list[str]) -> None:
    for key in given:
        if key not in names:
            raise CitycamError(f"{prefix}{key} is no setting of citycam; {near_matches(str(key), names)}")
