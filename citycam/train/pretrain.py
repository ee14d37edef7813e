"""Training a body for which there are no pretrained weights."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from citycam.data.views import normalise
from citycam.model.backbone import Backbone
from citycam.model.stages import stage_units
from citycam.seeds import stream, torch_stream

# Counts up with every change below that changes the taught weights.
RECIPE = 2
_BATCH = 8
_RATE = 3e-3
_DECAY = 0.05
_WARM_UP = 0.2
# Zero-initialised norms of residual branches need more steps to wake up than a lesson of a few hundred has.
_BRANCH = 0.5
# Read-outs are trained on grids of up to this many cells a side; finer ones see too little to name a thing.
_FINEST = 8
# The densest grid on which maps are read has this stride. A cell of stride s names what lies around pixel s k + 4, the
# middle of a cell of that grid.
_DENSEST = 8
_MIDDLE = _DENSEST / 2
# Width in pixels of the bell around that pixel, within which a thing is the cell's to name: 6 at stride 8, 14 at 32.
_REACH, _WIDENS = 6.0, 0.61
# Share of the bell that a thing must cover to be fully there.
_ENOUGH = 0.011
# Rare things weigh this power more than frequent ones.
_RARITY = 0.65
# Share of batches that lose a strip above and on the left, so that the plain grid's cells stand at every place of the
# densest one: a network that only ever saw its plain grid does not know what lies between.
_SHIFTED = 0.75
_SMALLEST_CROP = 0.6
_LAST = "body"


def teach(
    network: Backbone,
    pictures: np.ndarray,
    labels: np.ndarray,
    *,
    seen: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Train all of ``network`` from its present weights, and leave it in eval mode. The order of pictures and their
    changes come from streams of ``seed``; equal arguments and threads give equal weights.

    Args:
        network: the body; its memory format becomes channels_last.
        pictures: uint8 (N, S, S, 3).
        labels: int64 (N,), classes; or uint8 (N, F, G, G), the share 0-255 of each cell of a G × G grid that each of F
            things covers: then every stage learns to say where things are, which teaches much more per picture.
        seen: the number of pictures that pass the network in all.
        seed: names the streams.
        progress: called with (seen so far, ``seen``).

    Returns:
        ``losses``: mean loss over each tenth of the steps; ``seconds``.
    """
    start = time.perf_counter()
    device = next(network.parameters()).device
    network.freeze("all")  # as made, a body is frozen, and its batch norm would stay in eval mode
    network.train().to(memory_format=torch.channels_last)
    _wake_branches(network)
    losses: list[float] = []
    steps = max(2, -(-seen // _BATCH))
    with torch.random.fork_rng(devices=[]), _stage_outputs(network) as outputs:
        torch.manual_seed(stream(seed, "teach", "dropout").integers(2**62))
        judge = _Judge(network, pictures, labels, outputs, seed).to(device)
        optimizer, schedule = _optimizer([*network.parameters(), *judge.parameters()], steps)
        for step in range(steps):
            batch, answers = _draw(pictures, labels, seed, step)
            x = normalise(torch.from_numpy(batch), network.mean, network.std).to(device)
            outputs.clear()
            activations = network.body(x.contiguous(memory_format=torch.channels_last))
            loss = judge(activations, network.pool(activations), outputs, torch.from_numpy(answers).to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if progress is not None:
                progress(min(seen, (step + 1) * _BATCH), seen)
    network.eval()
    tenths = np.array_split(losses, min(10, len(losses)))
    return {"losses": [float(tenth.mean()) for tenth in tenths], "seconds": time.perf_counter() - start}


def _optimizer(
    parameters: list[nn.Parameter], steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    """AdamW under a one-cycle schedule of the learning rate."""
    optimizer = torch.optim.AdamW(_decayed(parameters), _RATE, foreach=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _RATE, total_steps=steps, pct_start=_WARM_UP, cycle_momentum=False
    )
    return optimizer, schedule


class _Judge(nn.Module):
    """Read-outs that are thrown away later: on the pooled features or, if labels say where things are, on the stages.
    In the second case a loss on the whole picture as well would pull features away from where things are, and maps with
    them."""

    def __init__(
        self, network: Backbone, pictures: np.ndarray, labels: np.ndarray, outputs: dict[str, Tensor], seed: int
    ) -> None:
        super().__init__()
        self.by_place = labels.ndim == 4
        self.pixels = pictures.shape[1] / labels.shape[-1]
        self.names: list[str] = []
        self.strides: list[float] = []
        self.readouts = nn.ModuleList()
        generator = torch_stream(seed, "teach", "read-outs")
        if not self.by_place:
            count = int(labels.max()) + 1
            readout = nn.Linear(network.num_features, count)
            self.readouts.append(_started(readout, torch.full((count,), 0.5), generator))
            return
        some = torch.from_numpy(labels[:512])
        for name, channels, cells in _grids(network, pictures, outputs):
            stride = pictures.shape[1] / cells
            rate = _places(some, (cells, cells), stride, self.pixels).mean((0, 2, 3))
            self.register_buffer(f"rarity_{len(self.names)}", rate.clamp(min=0.002) ** -_RARITY)
            self.readouts.append(_started(nn.Conv2d(channels, labels.shape[1], 1), rate, generator))
            self.names.append(name)
            self.strides.append(stride)

    def forward(self, activations: Tensor, features: Tensor, outputs: dict[str, Tensor], answers: Tensor) -> Tensor:
        """Return the loss of a batch."""
        if not self.by_place:
            return F.cross_entropy(self.readouts[0](features), answers)
        losses = []
        for number, (name, readout) in enumerate(zip(self.names, self.readouts, strict=True)):
            logits = readout(activations if name == _LAST else outputs[name])
            wanted = _places(answers, (logits.shape[2], logits.shape[3]), self.strides[number], self.pixels)
            rarity = self.get_buffer(f"rarity_{number}")[:, None, None]
            losses.append(F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=rarity))
        return torch.stack(losses).sum()


def _started(readout: nn.Linear | nn.Conv2d, rate: Tensor, generator: torch.Generator) -> nn.Module:
    """Initialise a read-out so that it answers each thing's rate; the loss is then about what pictures differ in."""
    with torch.no_grad():
        nn.init.normal_(readout.weight, std=0.1 * readout.weight[0].numel() ** -0.5, generator=generator)
        assert readout.bias is not None
        readout.bias.copy_(torch.logit(rate.clamp(0.01, 0.99)))
    return readout


def _grids(network: Backbone, pictures: np.ndarray, outputs: dict[str, Tensor]) -> list[tuple[str, int, int]]:
    """Return name, channels and cells a side of every stage whose output is a grid of 2 to `_FINEST` cells a side."""
    was_training = network.training
    network.eval()
    with torch.no_grad():
        x = normalise(torch.from_numpy(pictures[:1]), network.mean, network.std)
        outputs[_LAST] = network.body(x.to(next(network.parameters()).device))
    network.train(was_training)
    stages = {name: tuple(out.shape) for name, out in outputs.items() if out.ndim == 4}
    last = stages.pop(_LAST)
    finer = [(name, shape) for name, shape in stages.items() if shape[2] == shape[3] and shape[2] > last[2]]
    kept = [(name, shape) for name, shape in finer if shape[2] <= _FINEST]
    return [(name, shape[1], shape[2]) for name, shape in [*kept, (_LAST, last)]]


@contextlib.contextmanager
def _stage_outputs(network: Backbone) -> Iterator[dict[str, Tensor]]:
    """Yield a dictionary that each forward fills with the outputs of the stages; the hooks are removed at the end."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _input, output: outputs.__setitem__(name, output)

    modules = {name: network.net.get_submodule(paths[-1]) for name, paths in stage_units(network.net).items()}
    hooks = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _draw(pictures: np.ndarray, labels: np.ndarray, seed: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch of pictures in an order that is new in each round, flipped or not, and cropped: without a strip if
    labels say where things are, else an enlarged square."""
    spots = np.arange(step * _BATCH, (step + 1) * _BATCH)
    rounds = {number: stream(seed, "teach", "order", number) for number in set((spots // len(pictures)).tolist())}
    orders = {number: rng.permutation(len(pictures)) for number, rng in rounds.items()}
    rows = np.array([orders[spot // len(pictures)][spot % len(pictures)] for spot in spots.tolist()])
    rng = stream(seed, "teach", "change", step)
    batch, answers = pictures[rows], labels[rows]
    flipped = rng.random(_BATCH) < 0.5
    batch[flipped] = batch[flipped, :, ::-1]
    if labels.ndim == 4:
        answers[flipped] = answers[flipped, :, :, ::-1]
        return _shift(batch, answers, rng)
    return _crop(batch, rng), answers


def _shift(batch: np.ndarray, answers: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut strips of less than half the side, in steps of 8 pixels, off the top and left of pictures and places."""
    if rng.random() >= _SHIFTED:
        return batch, answers
    pixels = batch.shape[1] // answers.shape[-1]
    step = math.lcm(_DENSEST, pixels)
    top, left = (step * rng.integers(0, max(1, batch.shape[1] // 2 // step), 2)).tolist()
    return (
        np.ascontiguousarray(batch[:, top:, left:]),
        np.ascontiguousarray(answers[:, :, top // pixels :, left // pixels :]),
    )


def _crop(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut the same random square out of every picture of a batch, and enlarge it to the old size."""
    size = batch.shape[1]
    side = round(size * float(rng.uniform(_SMALLEST_CROP, 1.0)))
    top, left = rng.integers(0, size - side + 1, 2)
    square = torch.from_numpy(np.ascontiguousarray(batch[:, top : top + side, left : left + side])).permute(0, 3, 1, 2)
    large = F.interpolate(square.float(), size=(size, size), mode="bilinear", align_corners=False)
    return large.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _places(shares: Tensor, cells: tuple[int, int], stride: float, pixels: float) -> Tensor:
    """Return how much of each thing lies around the pixel that each cell looks at, float (B, F, *cells) in 0-1.

    Args:
        shares: uint8 (B, F, h, w), of places of ``pixels`` pixels a side.
        cells: rows and columns of a grid of ``stride`` pixels a cell.
    """
    reach = _REACH * (stride / 8) ** _WIDENS
    bells = []
    for count, places in zip(cells, shares.shape[2:], strict=True):
        middles = torch.arange(count, device=shares.device) * stride + _MIDDLE
        points = (torch.arange(places, device=shares.device) + 0.5) * pixels
        bells.append(torch.exp(-0.5 * ((middles[:, None] - points) / reach) ** 2))
    mass = 2 * math.pi * (reach / pixels) ** 2
    covered: Tensor = torch.einsum("gi,bfij,hj->bfgh", bells[0], shares.float() / 255.0, bells[1]) / mass
    return (covered / _ENOUGH).clamp(max=1.0)


def _wake_branches(network: Backbone) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not bool(module.weight.any()):
            nn.init.constant_(module.weight, _BRANCH)


def _decayed(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    """Group the parameters for the optimizer: weights decay, biases and norms do not."""
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": _DECAY},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
