"""ROAD (Rong et al. 2022): what the network answers without a map's highest or lowest pixels, which are filled from
their neighbours so that their outline tells as little as possible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citycam import seeds
from citycam.explain.scores.imputation import impute
from citycam.explain.scores.ranks import highest, lowest, ranks
from citycam.explain.scores.registry import HIGHER, score
from citycam.explain.scores.subject import Drawn, Subject

Array = NDArray[np.floating]
# Shares of the pixels that are removed.
LEVELS = tuple(level / 10 for level in range(1, 10))
# Standard deviation of the noise on filled pixels, in units of normalised pictures, as in pytorch-grad-cam.
NOISE = 0.01
# Pictures of a pass; each is filled with its highest and its lowest pixels removed.
_STEP = 32


@score(
    "road",
    "ROAD",
    better=HIGHER,
    needs="passes",
    hides="It favours maps of large even areas, since these are hard to fill again.",
)
def road(subject: Subject, drawn: Drawn) -> Array:
    """Half of what the number answered loses more without the highest pixels than without the lowest, (N,), mean over
    `LEVELS`: ROADCombined of pytorch-grad-cam, but by rank, so that exactly that share of the pixels is removed."""
    parts = [
        _some(subject, drawn, slice(start, min(start + _STEP, len(subject)))) for start in range(0, len(subject), _STEP)
    ]
    return np.concatenate(parts)


def _some(subject: Subject, drawn: Drawn, some: slice) -> Array:
    pictures, digests = subject.pictures(some), subject.digests[some]
    order = ranks(drawn.pixels(some, subject.size), digests, subject.seed).to(pictures.device)
    noise = NOISE * _noise(pictures, digests, subject.seed)
    gains = np.zeros(len(pictures))
    for level in LEVELS:
        masks = torch.cat([highest(order, level), lowest(order, level)])
        # The same noise in both, so that it is not what tells them apart.
        filled = impute(torch.cat([pictures, pictures]), masks) + torch.cat([noise, noise]) * masks[:, None]
        without_highest, without_lowest = filled.chunk(2)
        gains += subject.answers(without_lowest, some) - subject.answers(without_highest, some)
    return gains / 2 / len(LEVELS)


def _noise(pictures: Tensor, digests: Sequence[str], seed: int) -> Tensor:
    drawn = [torch.randn(pictures.shape[1:], generator=seeds.torch_stream(seed, "road", digest)) for digest in digests]
    return torch.stack(drawn).to(pictures)
