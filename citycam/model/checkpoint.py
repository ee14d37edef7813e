"""Checkpoints: Lightning's format, written whole; a frozen body lies once beside the runs and is put in by digest."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from citycam.errors import CitycamError
from citycam.files import write_bytes
from citycam.model.network import Network
from citycam.model.weights import digest, load_weights
from citycam.processes import remember

# The key of a checkpoint below which citycam says what the network is: plain values only.
ABOUT = "citycam"
_PREFIX = "network."
_BODY = "network.backbone."


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, in their own folder (Lightning goes through ``$TMPDIR`` and no fsync)."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``."""
        if storage_options is not None:
            raise TypeError("citycam's checkpoints take no storage options")
        # By way of memory: torch's zip writer turns a full disk into an error that does not name it.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_bytes(Path(path), content.getvalue())


def about(
    network: Network,
    *,
    classes: tuple[str, ...],
    partition: str,
    image_size: int,
    body: Path | None,
    checkpoint_folder: Path,
    head: dict[str, Any],
) -> dict[str, Any]:
    """What a checkpoint says of its network; ``body``: the file of a frozen body, None where all weights are inside."""
    return {
        "backbone": network.backbone.name,
        "image_size": image_size,
        "classes": list(classes),
        "partition": partition,
        "head": head,
        "body": None if body is None else {"digest": _digest(body), "path": os.path.relpath(body, checkpoint_folder)},
    }


def load_checkpoint(path: Path, network: Network, classes: tuple[str, ...]) -> dict[str, Any]:
    """Put a checkpoint's weights into ``network``, all or none; nothing in the file is executed.

    Returns:
        What the checkpoint says of itself (see `about`).

    Raises:
        CitycamError: the file is missing, damaged or no checkpoint of ours; it is of another network or other classes;
            its frozen body is missing or is not the one it was trained with.
    """
    content = read_checkpoint(path)
    said = content[ABOUT]
    if said["backbone"] != network.backbone.name or said["image_size"] != network.backbone.image_size:
        raise CitycamError(
            f"{path} is of {said['backbone']} at {said['image_size']} px, not of {network.backbone.name} at "
            f"{network.backbone.image_size} px; give the settings that it was trained with."
        )
    if tuple(said["classes"]) != classes:
        raise CitycamError(
            f"{path} tells apart {', '.join(said['classes'])}, not {', '.join(classes)}; "
            "give a checkpoint of these classes, or the data it was trained on."
        )
    state: dict[str, Tensor] = content["state_dict"]
    expected = set(network.state_dict())
    if said["body"] is not None:
        expected = {key for key in expected if not key.startswith("backbone.")}
    given = {key.removeprefix(_PREFIX): value for key, value in state.items()}
    _compare(path, expected, set(given), network, given)
    if said["body"] is not None:
        _load_body(path, said["body"], network)
    network.load_state_dict(given, strict=said["body"] is None)
    return dict(said)


@contextlib.contextmanager
def weights_of(network: Network, path: Path, classes: tuple[str, ...]) -> Iterator[None]:
    """Put a checkpoint's weights into ``network`` for a while; see `load_checkpoint`."""
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    try:
        load_checkpoint(path, network, classes)
        yield
    finally:
        network.load_state_dict(kept)


def _digest(body: Path) -> str:
    """The digest of a file that all runs of a sweep name, read once as long as the file is the same."""
    state = body.stat()
    return _remembered_digest(body, state.st_size, state.st_mtime_ns)


@remember(8)
def _remembered_digest(body: Path, _size: int, _changed: int) -> str:
    return digest(body)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours as it was saved; nothing in the file is executed.

    Raises:
        CitycamError: it is missing, damaged or no checkpoint of ours.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CitycamError(f"There is no checkpoint {path}.") from error
    except Exception as error:  # whatever torch makes of a damaged file: zip, pickle, end of file
        raise CitycamError(f"{path} is no whole checkpoint ({type(error).__name__}); train the run again.") from error
    if not isinstance(content, dict) or ABOUT not in content or "state_dict" not in content:
        raise CitycamError(f"{path} is no checkpoint of citycam; give a run's checkpoints/last.ckpt or best.ckpt.")
    return content


def _compare(path: Path, expected: set[str], given: set[str], network: Network, state: dict[str, Tensor]) -> None:
    own = network.state_dict()
    wrong = [f"missing {key}" for key in sorted(expected - given)]
    wrong += [f"surplus {key}" for key in sorted(given - expected)]
    wrong += [
        f"{key} has shape {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(given & expected)
        if state[key].shape != own[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise CitycamError(f"{path} is of another network: {'; '.join(wrong[:4])}{more}.")


def _load_body(path: Path, said: dict[str, str], network: Network) -> None:
    body = (path.parent / said["path"]).resolve()
    if not body.is_file():
        raise CitycamError(f"{path} needs the frozen body {body}, which is not there; move both together.")
    if _digest(body) != said["digest"]:
        raise CitycamError(
            f"{body} is not the body that {path} was trained with (its digest differs); put that one back."
        )
    load_weights(network.backbone, body)
