"""What is checked: a frozen body with the settings and pictures that a head is trained with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from citycam.bank.body import shared_body
from citycam.config import Config, FolderConfig
from citycam.data.inputs import Inputs, PlannedRun
from citycam.errors import AUTO, CitycamError
from citycam.explain.grid import check_network, map_stride
from citycam.files import at_home
from citycam.inference.network import load_network, resolve_here
from citycam.inference.runs import TrainedRun
from citycam.model.backbone import Backbone, strides
from citycam.report.verdicts import FOLDER, BodyKey
from citycam.resolved import Resolved
from citycam.selfcheck.planting import enough_held_out
from citycam.words import say


@dataclass(frozen=True)
class Subject:
    """A body and everything that a head on it needs.

    Attributes:
        run: settings, pictures, and the value of every ``auto``.
        backbone: in eval mode, frozen as it is, on its device.
        kept: whether features of plain pictures are kept in the bank, as those of a body that never trained are.
        key: what verdicts on its maps hold for.
        folder: where the results go if nothing else is said.
    """

    run: PlannedRun
    backbone: Backbone
    kept: bool
    key: BodyKey
    folder: Path


def of_settings(config: Config, inputs: Inputs, resolved: Resolved) -> Subject:
    """Return the frozen body of settings, which no run needs to have used.

    Raises:
        CitycamError: the body has random weights.
    """
    if resolved.weights_origin == "random":
        raise CitycamError(
            "backbone.weights=random has nothing to check before it is trained; train a run, and check that: "
            "citycam selfcheck RUN."
        )
    backbone = shared_body(config, resolved.source, resolved.device)
    key = BodyKey(str(config.backbone.name), resolved.weights_digest, config.image_size, None)
    return Subject(PlannedRun(config, inputs, resolved), backbone, True, key, Path("multirun") / FOLDER / key.name)


def of_run(run: TrainedRun, moved_to: str | None) -> Subject:
    """Return the body of a trained run as it is now, with the run's settings and pictures.

    Args:
        moved_to: where the run's pictures lie now, if they were moved.

    Raises:
        CitycamError: weights or pictures are missing, or the city has too few pictures.
    """
    config = run.config
    if moved_to is not None:
        if not isinstance(config.data, FolderConfig):
            raise CitycamError(
                f"data.root={moved_to} does not fit {run.folder}, whose pictures are rendered; leave it out."
            )
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, root=str(at_home(moved_to))))
    check_network(config)
    config, inputs = enough_held_out(config)
    if inputs.catalog.digest != run.record.data.digest:
        say(f"note: the pictures in {inputs.catalog.root} are not those that {run.folder.name} was trained with.")
    resolved = resolve_here(dataclasses.replace(run, config=config))
    resolved = dataclasses.replace(resolved, stride=_stride(run), data_digest=inputs.catalog.digest)
    backbone = load_network(run, resolved).backbone
    if not resolved.frozen:
        say(
            f"note: the body of {run.folder.name} was fine-tuned. It is frozen as it is, and only a head is trained: a "
            "body that could learn the marks might use them in another way."
        )
    weights = run.record.backbone.weights.digest
    own = None if resolved.frozen else run.record.config_hash
    key = BodyKey(str(config.backbone.name), weights, config.image_size, own)
    planned = PlannedRun(config, inputs, resolved)
    return Subject(planned, backbone, resolved.frozen, key, run.folder.parent / FOLDER / key.name)


def _stride(run: TrainedRun) -> int:
    """The output stride of the run's own maps; where it has none, what its settings give."""
    stride = run.record.explained.get("stride")
    if run.config.explain.stride == AUTO and stride in strides(run.config.backbone, run.config.image_size):
        return int(stride)
    return map_stride(run.config)
