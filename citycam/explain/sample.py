"""The pictures that are explained, and their noisy copies. Both depend on seeds and on the pictures' digests alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from citycam import seeds
from citycam.data.inputs import Inputs
from citycam.errors import CitycamError
from citycam.explain_config import ExplainConfig
from citycam.files import write_csv

SAMPLE_HEADER = ("picture", "digest", "city", "group")


def choose(
    names: Sequence[str],
    digests: Sequence[str],
    cities: Sequence[str],
    parts: Sequence[str],
    *,
    target: str,
    count: int,
    seed: int,
) -> list[int]:
    """Choose up to ``count`` validation pictures of the target city.

    Their order depends on seed and digests alone, so runs with equal data, target and split get the same pictures. The
    pictures of a smaller ``count`` are the first of those of a larger one.

    Args:
        names, digests, cities, parts: of every picture, in the same order.

    Returns:
        Positions in these rows.

    Raises:
        CitycamError: there is no validation picture of the city.
    """
    rows = zip(names, digests, cities, parts, strict=True)
    candidates = [
        (seeds.derive(seed, "explained", digest), name, row)
        for row, (name, digest, city, part) in enumerate(rows)
        if part == "val" and city == target
    ]
    if not candidates:
        raise CitycamError(
            f"The validation part has no picture of {target}, so there is nothing to explain; "
            "give split.val a larger share, or choose another data.target."
        )
    return [row for _, _, row in sorted(candidates)[:count]]


def validation_sample(config: ExplainConfig, inputs: Inputs) -> np.ndarray:
    """Return the catalog rows (N,), int64, of the validation pictures that are explained.

    Raises:
        CitycamError: there is no validation picture of the target city.
    """
    pictures = inputs.catalog.pictures
    rows = choose(
        [picture.name for picture in pictures],
        [picture.digest for picture in pictures],
        [picture.city for picture in pictures],
        inputs.split.parts,
        target=inputs.target,
        count=config.pictures,
        seed=config.seed,
    )
    return np.array(rows, dtype=np.int64)


def write_sample(path: Path, rows: Sequence[tuple[str, str, str, str | None]]) -> None:
    """Write explain_sample.csv: a row (picture, digest, city, group) for each picture, in the order of the maps."""
    write_csv(path, SAMPLE_HEADER, rows)


def noisy_copies(
    pictures: Tensor, digests: Sequence[str], *, noise: float, samples: int, seed: int
) -> Iterator[Tensor]:
    """Yield copies of normalised pictures (B, 3, S, S) with Gaussian noise, one copy of the whole batch at a time.

    The standard deviation is ``noise`` times the range (maximum - minimum) of each picture, as in SmoothGrad (Smilkov
    et al. 2017, section 3.1). The noise depends on the seed, the picture's digest and the copy's number, not on the
    batch.
    """
    low, high = pictures.amin(dim=(1, 2, 3)), pictures.amax(dim=(1, 2, 3))
    deviation = (noise * (high - low)).reshape(-1, 1, 1, 1)
    for copy in range(samples):
        drawn = [
            torch.randn(pictures.shape[1:], generator=seeds.torch_stream(seed, "noise", digest, copy))
            for digest in digests
        ]
        yield pictures + deviation * torch.stack(drawn).to(pictures)
