"""Named streams of random numbers: every draw names its purpose, so no draw changes another.

A stream is a counter-based generator (Philox) whose key is a hash of a seed and a name. Streams of equal seed and name
are equal on every machine and in every process, and do not depend on earlier draws.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(*parts: int | str) -> int:
    """Return a 128-bit integer that depends on every part and on their order."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest(), "little")


def stream(*parts: int | str) -> np.random.Generator:
    """Return the numpy generator named by ``parts``, for example ``stream(seed, "order", epoch)``."""
    return np.random.Generator(np.random.Philox(key=derive(*parts)))


def torch_stream(*parts: int | str) -> torch.Generator:
    """Return the torch generator (CPU) named by ``parts``; for initial weights and noise."""
    import torch

    return torch.Generator().manual_seed(derive(*parts) % 2**63)
