"""The weights of a body: which file, and checking, reading and writing it without executing anything in it.

A body's file holds its tensors in timm's names, with or without the network's own classifier, which is skipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from citycam import files
from citycam.config import BackboneConfig
from citycam.errors import AUTO, CitycamError
from citycam.model import backbone as networks
from citycam.model import hub
from citycam.model.backbone import Backbone
from citycam.resolved import WeightsSource

RANDOM = "random"
PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".tar")
SUFFIXES = (".safetensors", *PICKLED)
_LISTED = 4


def find_weights(config: BackboneConfig) -> WeightsSource | None:
    """Return the file that ``backbone.weights`` means; None if it is auto and none is available.

    Raises:
        CitycamError: the file is missing, is no weights file, or is of another network; a download failed.
    """
    name = str(config.name)
    if config.weights == RANDOM:
        return WeightsSource(RANDOM, None, None, "random initial weights, as asked")
    if config.weights == AUTO:
        return _pretrained(name)
    path = files.at_home(config.weights)
    check_weights_file(path, name)
    return WeightsSource("file", path, digest(path), f"given file {path.name}")


def check_weights_file(path: Path, name: str) -> None:
    """Check that a file holds the weights of timm's network ``name``; of safetensors only the header is read.

    Raises:
        CitycamError: it does not; see `load_weights`.
    """
    net, dropped = networks.reference(name)
    _matched(_declared(path), net, name, dropped, path)


def load_weights(backbone: Backbone, path: Path) -> None:
    """Load the tensors of a file into a body, all or none.

    Raises:
        CitycamError: the file is missing, damaged, or would execute code; tensors are missing, surplus, of another
            shape or not finite.
    """
    _, dropped = networks.reference(backbone.name, backbone.image_size)
    state = _matched(_tensors(path), backbone.net, backbone.name, dropped, path)
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CitycamError(
                f"{path} holds values in {key} that are not finite; download or train the weights again."
            )
    backbone.net.load_state_dict(state, strict=False)


def save_weights(backbone: Backbone, path: Path) -> str:
    """Write a body as safetensors in timm's names, whole or not at all, and return the digest of the file."""
    state = {key: value.detach().cpu().contiguous().clone() for key, value in backbone.net.state_dict().items()}
    # One entry only: safetensors writes several in random order, but equal bodies must have equal digests.
    content = safetensors.torch.save(state, metadata={"format": "pt"})
    files.write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()[:32]


def holds_weights(backbone: Backbone, path: Path) -> bool:
    """Return whether a file of `save_weights` holds exactly the weights of ``backbone``."""
    own = backbone.net.state_dict()
    try:
        state = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError):
        return False
    return state.keys() == own.keys() and all(torch.equal(own[key].cpu(), state[key]) for key in own)


def digest(path: Path) -> str:
    """Return the first 32 hex digits of the SHA-256 of a weights file."""
    return files.sha256(path)[:32]


def _pretrained(name: str) -> WeightsSource | None:
    published = networks.pretrained_config(name)
    file = hub.find_file(published)
    if file is None:
        return None
    check_weights_file(file.path, name)
    licence = f", licence {published.license}" if published is not None and published.license else ""
    return WeightsSource(file.origin, file.path, digest(file.path), f"{file.note}{licence}")


def _declared(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors by name, without values if the format allows."""
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return _tensors(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {
                key: torch.empty(file.get_slice(key).get_shape(), device="meta")
                for key in file.keys()  # noqa: SIM118
            }
    except (safetensors.SafetensorError, OSError) as error:
        raise _no_weights_file(path, str(error)) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    """Return every tensor of a file by name."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise CitycamError(
            f"backbone.weights={path} is no weights file; give auto, random or a {', '.join(SUFFIXES)} file."
        )
    if not path.is_file():
        raise CitycamError(f"backbone.weights={path} does not exist; give auto, random or the path of a weights file.")
    if suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError) as error:
            raise _no_weights_file(path, str(error)) from error
    return _unpickled(path)


def _unpickled(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower() or "llowlisted" in str(error):
            raise CitycamError(
                f"{path} holds more than tensors and would execute code when read, so it was not read; save it as "
                "tensors only (torch.save(model.state_dict(), file)) or as .safetensors."
            ) from error
        raise _no_weights_file(path, "damaged") from error
    except Exception as error:  # a damaged file makes the unpickler raise anything
        raise _no_weights_file(path, str(error) or type(error).__name__) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise _no_weights_file(path, "it holds no named tensors")
    odd = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if odd:
        raise _no_weights_file(path, f"{odd[0]} is no tensor")
    return {str(key): value for key, value in content.items()}


def _matched(
    state: dict[str, Tensor], net: nn.Module, name: str, dropped: frozenset[str], path: Path
) -> dict[str, Tensor]:
    """Return the tensors of ``state`` under the names of ``net``.

    Raises:
        CitycamError: tensors are missing, surplus or of another shape.
    """
    state = _without_prefix(state)
    rename = networks.renaming(net)
    wanted = net.state_dict()
    if rename is not None and not _fits(state, wanted):
        # A family's function fails on a file of another family; then the original names are listed below.
        with contextlib.suppress(AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            state = rename(state, net)
    state = {key: value for key, value in state.items() if key not in dropped}
    missing = [key for key in wanted if key not in state and not _is_counter(key)]
    surplus = [key for key in state if key not in wanted]
    shapes = [
        f"{key} is {_shape(state[key])} instead of {_shape(value)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    faults = [
        f"{kind} {len(tensors)} ({_first_of(tensors)})"
        for kind, tensors in (("missing", missing), ("surplus", surplus), ("of another shape", shapes))
        if tensors
    ]
    if faults:
        raise CitycamError(
            f"{path} does not hold the weights of {name}: of {len(wanted)} tensors {'; '.join(faults)}; give a file of "
            "this network, or choose the backbone that the file was made for."
        )
    return state


def _fits(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    return all(state[key].shape == value.shape if key in state else _is_counter(key) for key, value in wanted.items())


def _is_counter(key: str) -> bool:
    """Return whether a tensor is a counter, which older files lack and no output depends on."""
    return key.endswith("num_batches_tracked")


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without a prefix that a wrapper added to every name."""
    for prefix in ("module.", "model.", "backbone.", "net."):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


def _first_of(items: list[str]) -> str:
    """Return the first items, and the number of the others."""
    more = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _no_weights_file(path: Path, reason: str) -> CitycamError:
    short = " ".join(reason.split())[:150].rstrip(".")
    return CitycamError(
        f"{path} is no weights file that can be read ({short}); download it again or give another file."
    )
