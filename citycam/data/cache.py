"""Decoded pictures kept on disk: the first epoch of a training decodes them, later ones read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import PIL

from citycam.data.views import ViewSpec, working_size
from citycam.files import cache_root
from citycam.shards import SHARD_BYTES, ShardStore, key_rows


class PictureCache:
    """The store of working pictures, uint8 (W, W, 3) by digest; of the same kind as the store of features.

    Args:
        spec: of the views that are cut from them.
        digests: of all pictures that will be read.
    """

    def __init__(self, spec: ViewSpec, digests: Sequence[str]) -> None:
        self._side = working_size(spec)
        key = {
            "cut": "picture",
            "image_size": self._side,
            "decoder": spec.decoder,
            "versions": {"pillow": PIL.__version__},
        }
        self._store = ShardStore(key, cache_root() / "bank", np.uint8)
        self._missing = self._lacking(digests)
        self._new: dict[str, np.ndarray] = {}

    @property
    def missing_bytes(self) -> int:
        """The size in bytes of the pictures that are not in the store yet."""
        return len(self._missing) * self._side**2 * 3

    def read(self, digests: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Return those of ``digests`` that are in the store, uint8 (W, W, 3) each."""
        kept = [(digest, 0) for digest in dict.fromkeys(digests) if digest not in self._missing]
        if not kept:
            return {}
        values = self._store.read(self._store.places(kept))
        return {digest: value for (digest, _), value in zip(kept, values, strict=True)}

    def keep(self, digest: str, working: np.ndarray) -> None:
        """Add a missing picture; pictures are written to disk many at a time."""
        if digest not in self._missing:
            return
        self._new[digest] = working
        if len(self._new) == len(self._missing) or len(self._new) * working.nbytes >= SHARD_BYTES:
            self.settle()

    def settle(self) -> None:
        """Write new pictures, and learn which ones other processes have written.

        Call it between epochs: each of several processes that train one model sees only a share of the pictures in an
        epoch.
        """
        if not self._missing:
            return
        self._missing = self._lacking(self._missing)
        self._new = {digest: working for digest, working in self._new.items() if digest in self._missing}
        if self._new:
            self._store.add([(digest, 0) for digest in self._new], np.stack(list(self._new.values())))
        self._missing -= self._new.keys()
        self._new.clear()

    def _lacking(self, digests: Iterable[str]) -> set[str]:
        """Return those of ``digests`` that are not in the store now."""
        self._store.refresh()
        rows = [(digest, 0) for digest in dict.fromkeys(digests)]
        return {digest for digest, _ in key_rows(self._store.missing(rows))}
