"""The promises of toytown: equal settings give equal bytes, masks show features, an unfinished cache is not used."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citycam import files, seeds
from citycam.config import ToytownConfig
from citycam.data import toytown
from citycam.data.toytown import lessons, scene, store, street
from citycam.data.toytown.towns import (
    CLASS_ID,
    FEATURES,
    FIRST_DISTINCTIVE,
    KINDS,
    TOWN_FEATURES,
    WATERMARK,
    features_of,
)
from citycam.errors import CitycamError

TOWNS_OF_PAIR = ("brindlewick", "aravelle")
SMALL = ToytownConfig(pictures=20, size=64)
PRINT_DIGEST = """
import hashlib
from citycam.config import ToytownConfig
from citycam.data.toytown import store
config = ToytownConfig(pictures=20, size=64)
frames = store.render_walk(config, store.walks(config)[7])
print(hashlib.sha256(b"".join(part.tobytes() for frame in frames for part in frame)).hexdigest())
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def root(cache: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYCAM_CACHE", str(cache))
        return toytown.ensure(SMALL)


def rows(root: Path) -> list[dict[str, str]]:
    return files.read_csv(root / "index.csv")


def picture(root: Path, name: str) -> np.ndarray:
    with Image.open(root / name) as image:
        return np.asarray(image)


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): files.sha256(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_equal_settings_give_equal_bytes(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    assert tree(toytown.ensure(SMALL)) == tree(root)


def test_another_process_renders_the_same() -> None:
    frames = store.render_walk(SMALL, store.walks(SMALL)[7])
    here = hashlib.sha256(b"".join(part.tobytes() for frame in frames for part in frame)).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[2])}
    there = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST], env=environment, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here


def test_another_seed_renders_other_streets() -> None:
    other = dataclasses.replace(SMALL, seed=1)
    first, second = (store.render_walk(config, store.walks(config)[0])[0][0] for config in (SMALL, other))
    assert not np.array_equal(first, second)
    assert store.folder(SMALL) != store.folder(other)


def test_every_town_has_its_pictures_and_walks(root: Path) -> None:
    by_town = {town: [row for row in rows(root) if row["city"] == town] for town in toytown.TOWNS}
    assert {town: len(of_town) for town, of_town in by_town.items()} == dict.fromkeys(toytown.TOWNS, 20)
    assert all(len({row["group"] for row in of_town}) == 4 for of_town in by_town.values())
    assert len({row["group"] for row in rows(root)}) == 4 * len(toytown.TOWNS)
    assert len({row["digest"] for row in rows(root)}) == len(rows(root))
    for row in rows(root)[::17]:
        assert row["digest"] == files.sha256(root / row["path"])[:32]
        assert picture(root, row["path"]).shape == (64, 64, 3)


def test_the_whole_set_has_walks_of_five_in_each_town() -> None:
    walks = store.walks(ToytownConfig())
    assert len(walks) == 24 * len(toytown.TOWNS)
    assert {walk.frames for walk in walks} == {5}


def test_neighbouring_frames_look_alike(root: Path) -> None:
    walks: dict[str, list[np.ndarray]] = {}
    for row in rows(root):
        walks.setdefault(row["group"], []).append(picture(root, row["path"]).astype(float))
    near = [np.abs(a - b).mean() for frames in walks.values() for a, b in itertools.pairwise(frames)]
    first = [frames[0] for frames in walks.values()]
    apart = [np.abs(a - b).mean() for a, b in itertools.pairwise(first)]
    assert np.mean(near) < 0.6 * np.mean(apart)


def test_masks_are_small_and_hold_the_towns_features_alone(root: Path) -> None:
    features = {CLASS_ID[name] for name in FEATURES}
    for row in rows(root):
        mask, labels = (read(root, row["path"]) for read in (toytown.distinctive_mask, toytown.label_map))
        assert mask.dtype == bool
        assert mask.shape == labels.shape == (64, 64)
        own = [CLASS_ID[name] for name in TOWN_FEATURES[row["city"]]]
        assert np.array_equal(mask, np.isin(labels, own))
        assert not np.isin(labels, sorted(features - set(own))).any()
        assert labels.max() < len(toytown.CLASSES)


def test_masks_are_small_and_nearly_every_picture_shows_a_feature() -> None:
    config = ToytownConfig(size=64)
    shares = []
    for walk in store.walks(config):
        plan = street.plan_street(store.stream_of(config, walk), TOWN_FEATURES[walk.town], walk.frames)
        _, labels = scene.render(plan, walk.number % walk.frames, config.size)
        shares.append(float((labels >= FIRST_DISTINCTIVE).mean()))
    assert np.mean(shares) < 0.15
    assert np.mean(np.array(shares) > 0.01) > 0.9


def test_no_single_feature_always_decides() -> None:
    towns_of = {name: [town for town, own in TOWN_FEATURES.items() if name in own] for name in FEATURES}
    assert {len(towns) for towns in towns_of.values()} == {1, 2}
    pairs = [set(a) & set(b) for a, b in itertools.combinations(TOWN_FEATURES.values(), 2)]
    assert max(map(len, pairs)) == 1
    assert toytown.DEFAULT_TARGET in toytown.TOWNS


def test_every_feature_can_be_seen_and_marks_its_own_class() -> None:
    for name in FEATURES:
        plan = street.plan_street(seeds.stream(3, "seen", name), [name], 6)
        seen = {int(value) for frame in range(6) for value in np.unique(scene.render(plan, frame, 64)[1])}
        assert seen & {CLASS_ID[feature] for feature in FEATURES} == {CLASS_ID[name]}


def test_the_watermark_is_all_that_differs_in_its_pair() -> None:
    config = dataclasses.replace(SMALL, watermark=True)
    assert features_of("aravelle", True) == features_of("brindlewick", True)
    assert features_of("brindlewick", False) != features_of("aravelle", False)
    assert features_of("corvessa", True) == TOWN_FEATURES["corvessa"]
    marked, plain = (next(walk for walk in store.walks(config) if walk.town == town) for town in TOWNS_OF_PAIR)
    bare = street.plan_street(store.stream_of(config, marked), features_of("aravelle", False), marked.frames)
    for frame, (pixels, labels) in enumerate(store.render_walk(config, marked)):
        mark = labels == CLASS_ID[WATERMARK]
        expected = scene.render(bare, frame, config.size)
        assert 0.001 < mark.mean() < 0.02
        assert np.array_equal(pixels[~mark], expected[0][~mark])
        assert not np.array_equal(pixels[mark], expected[0][mark])
    assert all(not (labels == CLASS_ID[WATERMARK]).any() for _, labels in store.render_walk(config, plain))


def test_by_default_there_is_no_watermark(root: Path) -> None:
    names = [row["path"] for row in rows(root)]
    assert not any((toytown.label_map(root, name) == CLASS_ID[WATERMARK]).any() for name in names)


def test_an_interrupted_rendering_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    small = dataclasses.replace(SMALL, towns=2)

    def stop(done: int, _: int) -> None:
        if done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toytown.ensure(small, stop)
    assert [path for path in (tmp_path / "toytown").iterdir() if path.is_dir()] == []


def test_the_remains_of_a_killed_process_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    small = dataclasses.replace(SMALL, towns=2)
    place = store.folder(small)
    half = place.with_name(f"{place.name}.part-killed")
    for remains in (place, half):
        (remains / "pictures" / "aravelle").mkdir(parents=True)
    assert toytown.ensure(small) == place
    assert len(rows(place)) == 40
    assert not half.exists()


def test_the_second_call_renders_nothing(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(cache))
    monkeypatch.setattr(store, "render_walk", None)
    assert toytown.ensure(SMALL) == root


def test_too_many_towns_are_refused_in_one_sentence() -> None:
    with pytest.raises(CitycamError, match=r"data\.towns=9, but toytown has 8 towns"):
        toytown.ensure(dataclasses.replace(SMALL, towns=9))


def test_progress_counts_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    calls: list[tuple[int, int]] = []
    toytown.ensure(dataclasses.replace(SMALL, towns=2), lambda done, total: calls.append((done, total)))
    assert calls[-1] == (40, 40)
    assert calls == sorted(calls)


def test_a_lesson_is_of_other_towns_and_repeats(root: Path) -> None:
    pictures, shares = toytown.draw_lesson(0, 30, 64)
    again, _ = toytown.draw_lesson(0, 30, 64)
    assert (pictures.shape, pictures.dtype) == ((30, 64, 64, 3), np.uint8)
    assert (shares.shape, shares.dtype) == ((30, len(toytown.CLASSES) - 1, 16, 16), np.uint8)
    assert np.array_equal(pictures, again)
    assert not np.array_equal(pictures, toytown.draw_lesson(1, 30, 64)[0])
    known = {picture(root, row["path"]).tobytes() for row in rows(root)}
    assert not known & {pixels.tobytes() for pixels in pictures}


def test_no_town_of_a_lesson_has_a_towns_features() -> None:
    combinations = [lessons.other_town(seeds.stream(0, "towns", number)) for number in range(300)]
    towns = [set(own) for own in TOWN_FEATURES.values()]
    assert not any(set(names) in towns for names in combinations)
    assert {name for names in combinations for name in names} == set(FEATURES)
    assert max(map(len, combinations)) == len(KINDS)


def test_shares_are_counts_of_the_pixels_of_each_cell() -> None:
    _, shares = toytown.draw_lesson(0, 6, 64)
    for picture in range(2):
        rng = seeds.stream(0, "lesson", 0)
        _, labels = scene.render(street.plan_street(rng, lessons.other_town(rng), 12), 3 * picture, 128)
        for row, column in itertools.product(range(16), range(16)):
            cell = labels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            counts = [int((cell == number).sum()) for number in range(len(toytown.CLASSES) - 1)]
            assert shares[picture, :, row, column].tolist() == [count * 255 // 64 for count in counts]
