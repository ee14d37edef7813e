"""Between Hydra and `citycam.config`: the ConfigStore that conf/ fits, and plain `Config` objects. Imports no torch."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from citycam.config import SCHEMAS, Config
from citycam.doors import called
from citycam.errors import CitycamError, near_matches
from citycam.files import file_mode
from citycam.sweep.hydra_internals import CONFIG_DIR, group_options, initialised
from citycam.sweep.names import config_hash, folder_name, name_before

_PACKAGE = Path(__file__).resolve().parents[1]
# Inside the package where it is installed, at the repository's root where it is read.
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if path.is_dir())


def groups() -> list[str]:
    """Return the names of the groups of conf/."""
    return sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())


def register() -> None:
    """Put every dataclass into Hydra's ConfigStore: the root as ``schema``, group options below ``schema/GROUP``.

    Also registers the resolvers of conf/config.yaml: ``citycam.run_folder``, and for its help ``citycam.groups``,
    ``citycam.called`` and ``citycam.conf``.
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
    OmegaConf.register_new_resolver("citycam.called", called, replace=True)
    OmegaConf.register_new_resolver("citycam.conf", lambda: str(CONF), replace=True)


def hydra_on_conf(config_dir: Path | None) -> contextlib.AbstractContextManager[None]:
    """Let Hydra compose from conf/ and from the user's own options in ``config_dir``, as ``--config-dir`` does."""
    return initialised(CONF, config_dir)


def help_text(config_dir: Path | None) -> str:
    """Return the help of conf/config.yaml; with ``config_dir``, the user's own options among the others."""
    from hydra import compose

    register()
    with hydra_on_conf(config_dir):
        return str(compose("config", return_hydra_config=True).hydra.help.template)


def job_config_dir() -> Path | None:
    """Return the folder of the user's own options that Hydra composed the current job with, if there is one."""
    from hydra.core.hydra_config import HydraConfig

    sources = HydraConfig.get().runtime.config_sources
    return next((Path(source.path) for source in sources if source.provider == CONFIG_DIR), None)


def run_folder(*, _root_: Any) -> str:
    """Return the name of a job's folder: Hydra's resolver ``${citycam.run_folder:}`` of the job that ``_root_`` is.

    Where the sweep has the run under the name that an older version gave it, it keeps that name.
    """
    from omegaconf import OmegaConf

    overrides = [str(item) for item in OmegaConf.select(_root_, "hydra.overrides.task", default=[])]
    digest = config_hash(to_config(_root_))
    name, sweep = folder_name(overrides, digest), Path(str(OmegaConf.select(_root_, "hydra.sweep.dir")))
    if file_mode(sweep / name):
        return name
    return name_before(sweep, digest, "run.json", ".hydra") or name


def _list_groups() -> str:
    """A line for each group with its options, for --help; with --config-dir, also the user's own."""
    return "\n".join(f"  {name}: {', '.join(group_options(name))}" for name in groups())


def to_config(composed: Any) -> Config:
    """Return the plain `Config` of what Hydra composed (an OmegaConf DictConfig), with every range checked.

    Raises:
        CitycamError: a key the dataclasses lack (Hydra lets ``+key=value`` in), a wrong range or combination.
        OmegaConfBaseException: an interpolation that gives a wrong type or nothing.
    """
    from omegaconf import OmegaConf

    keys = [str(key) for key in composed if key != "hydra"]
    _refuse_unknown("", keys, [f.name for f in dataclasses.fields(Config)])
    values: dict[str, Any] = {}
    for key in keys:
        kind: Any = OmegaConf.get_type(composed, key)
        if dataclasses.is_dataclass(kind):
            _refuse_unknown(f"{key}.", composed[key], [f.name for f in dataclasses.fields(kind)])
        values[key] = OmegaConf.to_object(composed[key]) if OmegaConf.is_config(composed[key]) else composed[key]
    config = Config(**values)
    for group, options in SCHEMAS.items():
        chosen = getattr(config, group)
        if not isinstance(chosen, options.get(chosen.kind, object)):
            raise CitycamError(f"{group}.kind={chosen.kind} is another option's; write {group}={chosen.kind}.")
    return config


def hydra_record(composed: Any) -> dict[str, str]:
    """Return the files of a job's ``.hydra`` folder by name.

    Hydra would write them also for a run that is only found to be completed, over those of the run as it was trained;
    so citycam writes them when a run starts.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    hydra = HydraConfig.get()
    return {
        "config.yaml": OmegaConf.to_yaml(composed),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})),
        "overrides.yaml": OmegaConf.to_yaml(hydra.overrides.task),
    }


def _refuse_unknown(prefix: str, given: Iterable[Any], names: list[str]) -> None:
    for key in given:
        if key not in names:
            raise CitycamError(f"{prefix}{key} is no setting of citycam; {near_matches(str(key), names)}")
