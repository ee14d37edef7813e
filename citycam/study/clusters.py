"""Clusters of peaks: things that look alike to the backbone, and that the same cities have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from citycam import seeds

Array = NDArray[np.floating]
# A cluster for so many peaks, which is more than there are things: a thing in two paints is two of them, which are
# merged afterwards. A study of more pictures sees rarer things, up to the second number of clusters.
_PEAKS_A_CLUSTER, _MOST = 28, 200
# However few peaks there are.
_SMALL = 80
_ROUNDS = 50
# Clusters of fewer peaks are noise.
_FEWEST = 4
# Clusters are merged while the cosine of their middles, plus this many times the product of their profiles, is higher.
# A profile is by how much the cities' shares of a cluster differ from their shares of all peaks: near 0 for what all
# cities have, so that only likeness merges it. (With plain counts all clusters of seven cities' photographs were alike,
# and nothing was left that one city has.)
_LIKE, _PROFILE = 0.65, 1.0


def cluster(descriptions: Array, cities: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the cluster of each peak, from 0 on, (P,); -1 for a peak that is like few others.

    Args:
        descriptions: of the peaks (P, D).
        cities: of the peaks (P,).
        seed: of the first middles.
    """
    from scipy.cluster.vq import kmeans2

    units = _unit(descriptions.astype(np.float64))
    count = min(_MOST, max(_SMALL, len(units) // _PEAKS_A_CLUSTER), len(units) // _FEWEST)
    if not count:
        return np.full(len(units), -1, dtype=np.int64)
    random = seeds.stream(seed, "study clusters")
    _, fine = kmeans2(units, count, iter=_ROUNDS, minit="++", seed=random, missing="warn")
    kept = [one for one in range(count) if (fine == one).sum() >= _FEWEST]
    merged = _merge(units, fine, cities, kept)
    result = np.full(len(units), -1, dtype=np.int64)
    for one, group in zip(kept, merged, strict=True):
        result[fine == one] = group
    return result


def _merge(units: Array, fine: NDArray[np.int64], cities: NDArray[np.int64], kept: list[int]) -> list[int]:
    """Return the group of each of the clusters ``kept``, by average linkage."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(kept) < 2:
        return [0] * len(kept)
    middles = _unit(np.stack([units[fine == one].mean(axis=0) for one in kept]))
    profiles = np.stack([_city_shares(cities[fine == one], cities) for one in kept]) - _city_shares(cities, cities)
    likeness = middles @ middles.T + _PROFILE * profiles @ profiles.T
    highest = 1 + _PROFILE
    distances = np.maximum(highest - (likeness + likeness.T) / 2, 0)
    np.fill_diagonal(distances, 0)
    groups = fcluster(linkage(squareform(distances, checks=False), "average"), highest - _LIKE, "distance")
    return [int(group) - 1 for group in groups]


def _city_shares(own: NDArray[np.int64], cities: NDArray[np.int64]) -> Array:
    return np.bincount(own, minlength=int(cities.max()) + 1) / len(own)


def _unit(rows: Array) -> Array:
    units: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return units
