"""Named streams of randomness: every draw says what it is for, so no draw disturbs another.

A stream is a counter-based generator (Philox) whose key is a hash of a seed and a name. Streams of equal seed and name
are equal on every machine, whatever was drawn before them, in whatever process.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(*parts: int | str) -> int:
    """A 128-bit integer that depends on every part and on their order."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def stream(*parts: int | str) -> np.random.Generator:
    """The numpy generator named by ``parts``, for example ``stream(seed, "order", epoch)``."""
    return np.random.Generator(np.random.Philox(key=derive(*parts)))


def torch_stream(*parts: int | str) -> torch.Generator:
    """The torch generator (CPU) named by ``parts``; for initial weights and noise."""
    import torch

    return torch.Generator().manual_seed(derive(*parts) % 2**63)
