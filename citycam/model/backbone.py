"""The backbone: any timm network, split into a body and a pool. This is the only file that imports timm.

``body(x)`` returns activations (B, C, h, w), and ``pool(activations)`` returns features (B, D). Transformers with a
class token are read by the mean of their patch tokens after the final norm: at the last layer the gradient of the class
token reaches no patch, so that no map could be made from it.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import timm
import timm.data
import torch
from torch import Tensor, nn

from citycam import seeds
from citycam.config import BackboneConfig
from citycam.errors import CitycamError, near_matches
from citycam.model.centres import first_centre, follow
from citycam.model.layout import Layout, from_grid, pool_kind, to_grid
from citycam.model.stages import stage_units

# The kind of a pool by network and image size. Finding it takes milliseconds, but for VGG16 seconds.
_POOL_KINDS: dict[tuple[str, int], str] = {}
# An exact grid differs by rounding (1e-5; 1e-3 in TF32), any other by a sixth or more.
GRID_TOLERANCE = 5e-3
# What timm's networks raise for a size or an argument that they do not support.
_REFUSALS = (
    RuntimeError,
    ValueError,
    TypeError,
    AssertionError,
    NotImplementedError,
    KeyError,
    IndexError,
    AttributeError,
)


class Backbone(nn.Module):
    """A timm network without its classifier; see `make_backbone`.

    Attributes:
        name: timm's name.
        pool_kind: ``mean`` (over cells), ``linear`` (piecewise linear in the activations, so that gradients vary over
            cells) or ``other``.
        num_features: D.
        mean, std: of the pictures that the network expects, after scaling to [0, 1].
        stages: names for ``backbone.finetune``, from input to output.
        strides: possible output strides, the network's own first.
    """

    def __init__(self, net: nn.Module, name: str, image_size: int, strides: list[int]) -> None:
        super().__init__()
        self.net = net
        self.name = name
        self.image_size = image_size
        self.layout = layout(name, image_size)
        self.num_features = self.layout.features
        self.strides = _strides(self.layout, strides)
        data = timm.data.resolve_model_data_config(net)
        self.mean: tuple[float, float, float] = tuple(data["mean"])
        self.std: tuple[float, float, float] = tuple(data["std"])
        self._units = stage_units(net)
        self.stages = tuple(self._units)
        self._frozen: tuple[str, ...] = ()
        if (name, image_size) not in _POOL_KINDS:
            _POOL_KINDS[name, image_size] = self.find_pool_kind()
        self.pool_kind = _POOL_KINDS[name, image_size]

    def body(self, x: Tensor) -> Tensor:
        """Return activations (B, C, h, w) of normalised pictures (B, 3, S, S)."""
        return to_grid(self.net.forward_features(x), self.layout)  # type: ignore[operator]

    def pool(self, activations: Tensor) -> Tensor:
        """Return features (B, D) of activations (B, C, h, w)."""
        return self.net.forward_head(from_grid(activations, self.layout), pre_logits=True)  # type: ignore[operator, no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, D) of normalised pictures (B, 3, S, S)."""
        return self.pool(self.body(x))

    def find_pool_kind(self) -> str:
        """The kind of the pool, found by trying it.

        Raises:
            CitycamError: the pool reads something besides the grid of activations.
        """
        like = next(self.net.parameters())
        was_training = self.net.training
        self.net.eval()
        try:
            return pool_kind(lambda raw: self.net.forward_head(raw, pre_logits=True), self.layout, like)  # type: ignore[operator]
        except ValueError as error:
            raise _no_grid(self.name) from error
        finally:
            self.train(was_training)

    def freeze(self, finetune: str) -> None:
        """Freeze the stages before ``finetune``; ``all`` freezes nothing, ``none`` everything.

        Frozen stages have ``requires_grad=False`` and stay in eval mode also after `train`, so that their BatchNorm
        statistics do not change and nothing is dropped.

        Raises:
            CitycamError: the network has no such stage.
        """
        _check_stage(self.name, self.stages, finetune)
        self.net.requires_grad_(True)
        if finetune == "none":
            self._frozen = ("",)
        elif finetune == "all":
            self._frozen = ()
        else:
            before = self.stages[: self.stages.index(finetune)]
            self._frozen = tuple(unit for stage in before for unit in self._units[stage])
        for path in self._frozen:
            self.net.get_submodule(path).requires_grad_(False)
        if self._frozen:
            # A class token or position embedding of the network itself belongs to its first stage.
            for parameter in self.net.parameters(recurse=False):
                parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Backbone:
        """Set train mode as `torch.nn.Module.train` does, except for frozen stages, which stay in eval mode."""
        super().train(mode)
        for path in self._frozen:
            self.net.get_submodule(path).eval()
        return self

    @property
    def frozen(self) -> bool:
        """Whether no parameter trains."""
        return not any(parameter.requires_grad for parameter in self.parameters())

    def dense_body(self, stride: int) -> Callable[[Tensor], Tensor]:
        """Return the body with a denser grid: the same weights, dilated instead of subsampled, in eval mode.

        The function uses this network's tensors at each call, so it follows loading, training and moves between
        devices. It registers nothing. It is verified with the present weights: with k = plain stride / ``stride``,
        dense(x)[:, :, ::k, ::k] = body(x).

        Raises:
            CitycamError: the stride is not among `strides`, or the network is not exact at it.
        """
        _check_stride(self.name, self.strides, stride)
        plain = self._with_own_tensors()
        if stride == self.strides[0]:
            return plain
        layout(self.name, self.image_size, stride)
        dense = self._with_own_tensors(output_stride=stride)
        like = next(self.net.parameters())
        x = torch.rand((1, 3, self.image_size, self.image_size), generator=seeds.torch_stream("dense_body"))
        with torch.no_grad():
            x = x.to(like.device, like.dtype) * 4 - 2
            expected, actual = plain(x), dense(x)
        step = self.strides[0] // stride
        actual = actual[:, :, ::step, ::step]
        if actual.shape != expected.shape or (actual - expected).abs().max() > GRID_TOLERANCE * expected.abs().max():
            raise CitycamError(
                f"{self.name} at output stride {stride} does not agree with itself at {self.strides[0]} for "
                f"image_size={self.image_size}; choose explain.stride={self.strides[0]} or another backbone "
                "(ResNets and MobileNetV2 support 16 and 8)."
            )
        return dense

    def _with_own_tensors(self, **extra: Any) -> Callable[[Tensor], Tensor]:
        """Return the body of a network that is created with ``extra`` arguments and uses this network's tensors."""
        with torch.device("meta"):
            shell = _Features(_create(self.name, self.image_size, **extra)).eval()

        def body(x: Tensor) -> Tensor:
            named = [*self.net.named_parameters(), *self.net.named_buffers()]
            tensors: dict[str, Tensor] = {f"net.{key}": value for key, value in named}
            return to_grid(torch.func.functional_call(shell, tensors, (x,)), self.layout)

        return body


class _Features(nn.Module):
    """A module whose forward is `forward_features`, for `torch.func.functional_call`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.forward_features(x)  # type: ignore[operator, no-any-return]


def make_backbone(config: BackboneConfig, image_size: int, seed: int) -> Backbone:
    """Return the network of ``config`` with random initial weights, frozen as ``config.finetune`` says.

    Initial weights depend on ``seed`` alone, and torch's global generator is not changed. Pretrained weights are loaded
    by `citycam.model.weights.load_weights`.

    Raises:
        CitycamError: see `check_backbone`.
    """
    name = _name(config)
    check_backbone(config, image_size)
    with _global_draws_from(seeds.torch_stream(seed, "backbone")):
        net = _create(name, image_size)
    backbone = Backbone(net, name, image_size, config.strides)
    backbone.freeze(config.finetune)
    return backbone


def synchronise_norms(backbone: Backbone) -> None:
    """Let batch norms of several GPUs use the statistics of the whole batch."""
    # By timm: PyTorch's own function drops the activations inside timm's batch norms.
    backbone.net = timm.layers.convert_sync_batchnorm(backbone.net)


def check_backbone(config: BackboneConfig, image_size: int) -> None:
    """Check the network's name, its image size and its stage, without weights.

    Raises:
        CitycamError: timm has no such network, it does not support this image size, or it has no such stage.
    """
    _check_stage(_name(config), layout(_name(config), image_size).stages, config.finetune)


def grid(config: BackboneConfig, image_size: int, stride: int) -> tuple[int, int]:
    """Return the cells (h, w) of the activations at an output stride, without weights.

    Raises:
        CitycamError: the network does not support this stride.
    """
    plain = strides(config, image_size)
    _check_stride(_name(config), plain, stride)
    return layout(_name(config), image_size, None if stride == plain[0] else stride).cells


def strides(config: BackboneConfig, image_size: int) -> tuple[int, ...]:
    """Return the output strides that the network supports, its own and coarsest first, without weights."""
    return _strides(layout(_name(config), image_size), config.strides)


@functools.lru_cache(maxsize=64)
def layout(name: str, image_size: int, output_stride: int | None = None) -> Layout:
    """Return the layout of a network, measured by a forward on torch's meta device, without values.

    Raises:
        CitycamError: timm has no such network; it does not support this image size or stride; its activations form no
            grid.
    """
    _check_name(name)
    extra = {} if output_stride is None else {"output_stride": output_stride}
    try:
        with torch.device("meta"), torch.no_grad():
            net = _create(name, image_size, **extra).eval()
            raw, place = follow(net.forward_features, torch.empty(2, 3, image_size, image_size))  # type: ignore[arg-type]
            pooled = net.forward_head(raw, pre_logits=True)  # type: ignore[operator]
    except _REFUSALS as error:
        reason = str(error).strip().splitlines()[0][:150] if str(error).strip() else type(error).__name__
        raise _refusal(name, image_size, output_stride, reason) from error
    if not isinstance(raw, Tensor) or not isinstance(pooled, Tensor) or pooled.dim() != 2 or raw.dim() not in (3, 4):
        raise _no_grid(name)
    _check_patches(net, name, image_size)
    order, prefix = "nchw", 0
    if raw.dim() == 3:
        order, prefix = "tokens", int(getattr(net, "num_prefix_tokens", 0))
        side = math.isqrt(raw.shape[1] - prefix)
        if side * side != raw.shape[1] - prefix:
            raise _no_grid(name)
        channels, cells = raw.shape[2], (side, side)
    elif raw.shape[3] == net.num_features != raw.shape[1]:
        order, channels, cells = "nhwc", raw.shape[3], (raw.shape[1], raw.shape[2])
    else:
        channels, cells = raw.shape[1], (raw.shape[2], raw.shape[3])
    stride = output_stride or _reduction(net, image_size, cells)
    centre, stages = first_centre(place, stride), tuple(stage_units(net))
    return Layout(order, prefix, channels, cells, pooled.shape[1], stride, centre, stages)


def pretrained_config(name: str) -> Any | None:
    """Return timm's record of a network's pretrained weights (hub id, address, licence), or None."""
    return timm.models.get_pretrained_cfg(name)


def reference(name: str, image_size: int | None = None) -> tuple[nn.Module, frozenset[str]]:
    """Return the network on torch's meta device, without values, and the names of its classifier's tensors."""
    size = image_size or _default_size(name)
    with torch.device("meta"):
        net = _create(name, size)
        whole = _create(name, size, num_classes=1000)
    return net, frozenset(whole.state_dict()) - frozenset(net.state_dict())


def renaming(net: nn.Module) -> Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None:
    """Return timm's function that converts a state dict from a family's original names or size, or None."""
    module = sys.modules[type(net).__module__]
    function = getattr(module, "checkpoint_filter_fn", None) or getattr(module, "_filter_fn", None)
    if function is None:
        return None
    takes_net = len(inspect.signature(function).parameters) > 1
    return lambda state, net: function(state, net) if takes_net else function(state)


def _create(name: str, image_size: int, num_classes: int = 0, **extra: Any) -> nn.Module:
    config = pretrained_config(name)
    if config is not None and config.fixed_input_size:
        extra["img_size"] = image_size
    net: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, **extra)
    if num_classes == 0 and getattr(net, "global_pool", "avg") in ("token", "map"):
        net.reset_classifier(0, global_pool="avg")  # type: ignore[operator]
    return net


@contextmanager
def _global_draws_from(generator: torch.Generator) -> Iterator[None]:
    # timm draws initial weights from torch's global generator and accepts no other.
    state = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        torch.set_rng_state(state)


def _name(config: BackboneConfig) -> str:
    return str(config.name)


def _default_size(name: str) -> int:
    config = pretrained_config(name)
    return 224 if config is None else int(config.input_size[-1])


def _strides(plain: Layout, listed: list[int]) -> tuple[int, ...]:
    return (plain.stride, *sorted({stride for stride in listed if stride < plain.stride}, reverse=True))


def _reduction(net: nn.Module, image_size: int, cells: tuple[int, int]) -> int:
    information = list(getattr(net, "feature_info", None) or [])
    return int(information[-1]["reduction"]) if information else round(image_size / cells[0])


def _check_name(name: str) -> None:
    if ":" not in name and "/" not in name and timm.is_model(name):
        architecture, _, tag = name.partition(".")
        tags = timm.list_pretrained(f"{architecture}.*")
        if tag and name not in tags:
            raise CitycamError(
                f"backbone.name={name} names pretrained weights that timm does not have; {near_matches(name, tags)}"
            )
        return
    close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists the names."
    raise CitycamError(f"backbone.name={name} is no network of timm {timm.__version__}; {hint}")


def _check_stage(name: str, stages: tuple[str, ...], finetune: str) -> None:
    if finetune not in ("none", "all", *stages):
        raise CitycamError(
            f"backbone.finetune={finetune} is no stage of {name}; it is none, all or one of {', '.join(stages)}."
        )


def _check_stride(name: str, known: tuple[int, ...], stride: int) -> None:
    if stride not in known:
        allowed = " or ".join(map(str, known))
        raise CitycamError(f"{name} does not support output stride {stride}; choose explain.stride={allowed}.")


def _check_patches(net: nn.Module, name: str, image_size: int) -> None:
    patch = getattr(getattr(net, "patch_embed", None), "patch_size", None)
    side = patch[0] if isinstance(patch, tuple) else patch
    if isinstance(side, int) and image_size % side:
        fitting = max(1, round(image_size / side)) * side
        raise CitycamError(
            f"backbone {name} divides pictures into patches of {side} pixels, so image_size={image_size} would lose a "
            f"border; use image_size={fitting}."
        )


def _refusal(name: str, image_size: int, output_stride: int | None, reason: str) -> CitycamError:
    at = f"image_size={image_size}" + ("" if output_stride is None else f" at output stride {output_stride}")
    usual = _default_size(name)
    way_out = (
        "choose another backbone" if usual == image_size else f"try its own image_size={usual} or another backbone"
    )
    return CitycamError(f"backbone {name} cannot be used with {at} ({reason.rstrip('.')}); {way_out}.")


def _no_grid(name: str) -> CitycamError:
    return CitycamError(f"The activations of backbone {name} form no grid for maps; choose another network.")
