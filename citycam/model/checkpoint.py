"""Checkpoints in Lightning's format; a frozen body is a file of its own beside the runs, checked by its digest."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
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

# The key of a checkpoint for the description of its network, which holds plain values only.
ABOUT = "citycam"
_PREFIX = "network."


class WholeCheckpointIO(TorchCheckpointIO):
    """The writer of checkpoints, each whole or not at all.

    Lightning's own writes to ``$TMPDIR`` first and does not call fsync.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``."""
        if storage_options is not None:
            raise TypeError("citycam's checkpoints take no storage options")
        # Through memory, since the error of torch's zip writer does not say that the disk is full.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_bytes(Path(path), content.getvalue())


def describe_network(
    network: Network,
    *,
    classes: tuple[str, ...],
    partition: str,
    image_size: int,
    body: Path | None,
    checkpoint_folder: Path,
    head: dict[str, Any],
) -> dict[str, Any]:
    """Return the description of a network for its checkpoints.

    Args:
        network: backbone and head.
        classes: names, in the order of the logits.
        partition: ``binary`` or ``multi``.
        image_size: side of the pictures in pixels.
        body: the file of a frozen body; None if the checkpoint holds all weights.
        checkpoint_folder: where the checkpoints are; the path of ``body`` is stored relative to it.
        head: the settings of the head.
    """
    return {
        "backbone": network.backbone.name,
        "image_size": image_size,
        "classes": list(classes),
        "partition": partition,
        "head": head,
        "body": None if body is None else {"digest": _digest(body), "path": os.path.relpath(body, checkpoint_folder)},
    }


def load_checkpoint(path: Path, network: Network, classes: tuple[str, ...]) -> dict[str, Any]:
    """Load a checkpoint's weights into ``network``, all or none, without executing anything in the file.

    Returns:
        The description of its network; see `describe_network`.

    Raises:
        CitycamError: the file is missing, damaged or no checkpoint of citycam; it is of another network or other
            classes; its frozen body is missing or is not the one that it was trained with.
    """
    content = read_checkpoint(path)
    description: dict[str, Any] = content[ABOUT]
    name, size, body = description["backbone"], description["image_size"], description["body"]
    if name != network.backbone.name or size != network.backbone.image_size:
        raise CitycamError(
            f"{path} is of {name} at {size} px, not of {network.backbone.name} at {network.backbone.image_size} px; "
            "give the settings that it was trained with."
        )
    if tuple(description["classes"]) != classes:
        raise CitycamError(
            f"{path} is of the classes {', '.join(description['classes'])}, not {', '.join(classes)}; "
            "give a checkpoint of these classes, or the data it was trained on."
        )
    expected = set(network.state_dict())
    if body is not None:
        expected = {key for key in expected if not key.startswith("backbone.")}
    state = {key.removeprefix(_PREFIX): value for key, value in content["state_dict"].items()}
    _check_tensors(path, expected, state, network)
    if body is not None:
        _load_body(path, body, network)
    network.load_state_dict(state, strict=body is None)
    return dict(description)


@contextlib.contextmanager
def weights_of(network: Network, path: Path, classes: tuple[str, ...]) -> Iterator[None]:
    """Load a checkpoint's weights into ``network`` while the context is open; see `load_checkpoint`."""
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    try:
        load_checkpoint(path, network, classes)
        yield
    finally:
        network.load_state_dict(kept)


def _digest(body: Path) -> str:
    """Return the digest of a body's file, which is read again only if its size or its time of change differs."""
    state = body.stat()
    return _remembered_digest(body, state.st_size, state.st_mtime_ns)


@remember(8)
def _remembered_digest(body: Path, _size: int, _changed: int) -> str:
    return digest(body)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, without executing anything in the file.

    Raises:
        CitycamError: the file is missing, damaged or no checkpoint of citycam.
    """
    if not path.exists():
        raise CitycamError(f"There is no checkpoint {path}.")
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        # torch does not look at the checksums that its files have.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise errors of zip, pickle and many others
        raise CitycamError(f"{path} is no whole checkpoint ({type(error).__name__}); train the run again.") from error
    if not isinstance(content, dict) or not _is_ours(content.get(ABOUT), content.get("state_dict")):
        raise CitycamError(f"{path} is no checkpoint of citycam; give a run's checkpoints/last.ckpt or best.ckpt.")
    # Lightning keeps infinities of its own beside these.
    if not all(_is_finite(content.get(name)) for name in ("state_dict", "found", "optimizer_states")):
        raise CitycamError(f"{path} holds values that are no finite numbers; train the run again.")
    return content


def _is_ours(about: Any, state: Any) -> bool:
    """Return whether a checkpoint's description and weights have the types of `describe_network` and of a network."""
    if not isinstance(about, dict) or not isinstance(state, dict):
        return False
    body = about.get("body", 0)
    texts = [about.get("backbone"), about.get("partition"), *(about["classes"] if _is_list(about, "classes") else [0])]
    texts += [body.get("digest"), body.get("path")] if isinstance(body, dict) else []
    weights = (isinstance(key, str) and isinstance(its, Tensor) for key, its in state.items())
    return (
        all(isinstance(text, str) and "\0" not in text for text in texts)
        and (body is None or isinstance(body, dict))
        and type(about.get("image_size")) is int
        and isinstance(about.get("head"), dict)
        and all(weights)
    )


def _is_list(about: dict[str, Any], name: str) -> bool:
    return isinstance(about.get(name), list)


def _is_finite(content: Any) -> bool:
    """Return whether all tensors, at any depth, are dense, on the CPU, and hold finite numbers."""
    if isinstance(content, dict):
        return all(map(_is_finite, content.values()))
    if isinstance(content, list | tuple):
        return all(map(_is_finite, content))
    if not isinstance(content, Tensor):
        return True
    dense = content.layout is torch.strided and content.device.type == "cpu" and not content.is_quantized
    return dense and bool(torch.isfinite(content).all())


def _check_tensors(path: Path, expected: set[str], state: dict[str, Tensor], network: Network) -> None:
    """Refuse a state dict whose names, shapes or types are not those of ``network``."""
    own, given = network.state_dict(), set(state)
    wrong = [f"missing {key}" for key in sorted(expected - given)]
    wrong += [f"surplus {key}" for key in sorted(given - expected)]
    wrong += [
        f"{key} has shape {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(given & expected)
        if state[key].shape != own[key].shape
    ]
    wrong += [
        f"{key} is of {state[key].dtype} instead of {own[key].dtype}"
        for key in sorted(given & expected)
        if state[key].dtype != own[key].dtype
    ]
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise CitycamError(f"{path} is of another network: {'; '.join(wrong[:4])}{more}.")


def _load_body(path: Path, description: dict[str, str], network: Network) -> None:
    """Load the frozen body that a checkpoint describes by ``path`` and ``digest``."""
    body = (path.parent / description["path"]).resolve()
    if not body.is_file():
        raise CitycamError(f"{path} needs the frozen body {body}, which is not there; move both together.")
    if _digest(body) != description["digest"]:
        raise CitycamError(
            f"{body} is not the body that {path} was trained with (its digest differs); put that one back."
        )
    load_weights(network.backbone, body)
