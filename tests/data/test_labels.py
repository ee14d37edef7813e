"""Labels of both partitions, and class weights whose mean over pictures is 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.config import Balance, Partition
from citycam.data.catalog import Catalog, Picture
from citycam.data.labels import class_weights, make_labels
from citycam.errors import CitycamError

CATALOG = Catalog(
    "folder", Path("root"), tuple(Picture(f"{city}/x", city, city) for city in ("rome", "oslo", "bern", "oslo"))
)


def test_multi_counts_cities_in_order() -> None:
    labels = make_labels(CATALOG, Partition.multi, None)
    assert labels.classes == ("bern", "oslo", "rome")
    assert labels.values.tolist() == [2, 1, 0, 1]
    assert labels.values.dtype == np.int64
    assert labels.n_logits == 3


def test_binary_tells_the_target_from_the_rest() -> None:
    labels = make_labels(CATALOG, Partition.binary, "oslo")
    assert labels.classes == ("rest", "oslo")
    assert labels.values.tolist() == [0, 1, 0, 1]
    assert labels.n_logits == 1


def test_binary_needs_a_target_among_the_cities() -> None:
    with pytest.raises(CitycamError, match=r"needs data\.target=CITY, .*: one of bern, oslo, rome\."):
        make_labels(CATALOG, Partition.binary, None)
    with pytest.raises(CitycamError, match=r"data\.target=olso .*did you mean oslo\?"):
        make_labels(CATALOG, Partition.binary, "olso")


@given(counts=st.lists(st.integers(1, 50), min_size=2, max_size=6))
def test_weights_make_classes_count_alike(counts: list[int]) -> None:
    values = np.repeat(np.arange(len(counts)), counts)
    weights = class_weights(values, len(counts), Balance.auto)
    if len(set(counts)) == 1:
        assert weights is None
        return
    assert weights is not None
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights * counts, sum(counts) / len(counts), rtol=1e-6)
    assert weights[values].mean() == pytest.approx(1.0, rel=1e-5)


def test_balance_none_gives_no_weights() -> None:
    assert class_weights(np.array([0, 0, 1]), 2, Balance.none) is None


def test_a_class_without_pictures() -> None:
    with pytest.raises(CitycamError, match="Class 1 of 3 has no training picture"):
        class_weights(np.array([0, 2]), 3, Balance.auto)


def test_a_target_called_as_all_others_is_refused() -> None:
    catalog = Catalog("folder", Path("x"), tuple(Picture(f"{city}/a", city, city) for city in ("oslo", "rest", "rome")))
    with pytest.raises(CitycamError, match=r"data\.target=rest has the name of all other cities"):
        make_labels(catalog, Partition.binary, "rest")
    assert make_labels(catalog, Partition.binary, "rome").classes == ("rest", "rome")
    assert make_labels(catalog, Partition.multi, "rest").classes == ("oslo", "rest", "rome")
