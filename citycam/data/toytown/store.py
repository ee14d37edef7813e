"""The rendered towns in the cache: pictures, label maps, masks and their index, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from citycam import files, seeds
from citycam.config import ToytownConfig
from citycam.data.toytown.scene import render, stamp_watermark
from citycam.data.toytown.street import plan_street
from citycam.data.toytown.towns import FIRST_DISTINCTIVE, TOWNS, WATERMARK_PAIR, features_of
from citycam.errors import CitycamError

# Increase it with every change of what is painted, so that no pictures of an older look are used.
LOOK = 4
INDEX = "index.csv"
_COLUMNS = ("path", "city", "group", "time", "digest")
_FRAMES = 5
_FEWEST_WALKS = 4


@dataclass(frozen=True, slots=True)
class Walk:
    """A camera's walk through a town: ``frames`` pictures, a second apart."""

    town: str
    number: int
    frames: int

    @property
    def name(self) -> str:
        """The name of the walk within the town."""
        return f"walk{self.number:02d}"


def walks(config: ToytownConfig) -> list[Walk]:
    """Return the walks of every town: about five frames each, and at least four walks in every town."""
    count = max(_FEWEST_WALKS, round(config.pictures / _FRAMES))
    frames = [len(part) for part in np.array_split(np.arange(config.pictures), count)]
    return [Walk(town, number, frames[number]) for town in TOWNS[: config.towns] for number in range(count)]


def stream_of(config: ToytownConfig, walk: Walk) -> np.random.Generator:
    """Return the stream that a walk's street is drawn from."""
    return seeds.stream(config.seed, "toytown", walk.town, walk.number)


def render_walk(config: ToytownConfig, walk: Walk) -> list[tuple[np.ndarray, np.ndarray]]:
    """Render the picture (uint8, size × size × 3) and the label map (uint8, size × size) of each frame."""
    street = plan_street(stream_of(config, walk), features_of(walk.town, config.watermark), walk.frames)
    frames = [render(street, frame, config.size) for frame in range(walk.frames)]
    if config.watermark and walk.town == WATERMARK_PAIR[1]:
        return [stamp_watermark(*frame) for frame in frames]
    return frames


def folder(config: ToytownConfig) -> Path:
    """Return the folder of the rendered towns of these settings; it need not exist yet."""
    key = f"{LOOK}-{config.seed}-{config.towns}-{config.pictures}-{config.size}-{config.watermark}"
    return files.cache_root() / "toytown" / hashlib.sha256(key.encode()).hexdigest()[:16]


def ensure(config: ToytownConfig, progress: Callable[[int, int], None] | None = None) -> Path:
    """Return the folder of the rendered towns; render them if it does not exist.

    It holds ``index.csv`` (path, city, group, time in seconds, digest) and a PNG per frame in each of ``pictures/``,
    ``labels/`` (ids of `towns.CLASSES`) and ``distinctive/`` (0 or 255). Equal settings give equal bytes. The folder
    appears whole or not at all.

    Args:
        config: the settings of the towns.
        progress: called with (done, total) while pictures are rendered.

    Raises:
        CitycamError: ``data.towns`` is larger than the number of towns, or the cache cannot be written.
    """
    if config.towns > len(TOWNS):
        raise CitycamError(f"data.towns={config.towns}, but toytown has {len(TOWNS)} towns; choose 2 to {len(TOWNS)}.")
    place = folder(config)
    if (place / INDEX).exists():
        return place
    with files.lock(place.with_name(f"{place.name}.lock")):
        if not (place / INDEX).exists():
            _make(config, place, progress)
    return place


def distinctive_mask(root: Path, name: str) -> np.ndarray:
    """Return where the picture ``name`` of the index at ``root`` shows features of its town: bool (H, W)."""
    return _read(root, "distinctive", name) > 0


def label_map(root: Path, name: str) -> np.ndarray:
    """Return the class of each pixel of the picture ``name`` of the index at ``root``: uint8 (H, W)."""
    return _read(root, "labels", name)


def _read(root: Path, kind: str, name: str) -> np.ndarray:
    path = root / kind / Path(name).relative_to("pictures")
    with Image.open(path) as image:
        return np.asarray(image)


def _make(config: ToytownConfig, place: Path, progress: Callable[[int, int], None] | None) -> None:
    """Render into a temporary folder beside ``place``, and rename it."""
    # The lock is held, so anything here was left by a process that was interrupted.
    for remains in (place, *place.parent.glob(f"{place.name}.part-*")):
        shutil.rmtree(remains, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{place.name}.part-", dir=place.parent))
    try:
        rows: list[tuple[str, str, str, float, str]] = []
        total = config.towns * config.pictures
        for walk in walks(config):
            rows.extend(_write_walk(config, walk, temporary))
            if progress is not None:
                progress(len(rows), total)
        files.write_csv(temporary / INDEX, _COLUMNS, rows)
        temporary.chmod(0o755)
        temporary.replace(place)
    except OSError as error:
        raise files.explain_os_error(error, place) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_walk(config: ToytownConfig, walk: Walk, root: Path) -> list[tuple[str, str, str, float, str]]:
    """Write a walk's files below ``root`` and return its rows of the index."""
    rows = []
    for kind in ("pictures", "labels", "distinctive"):
        (root / kind / walk.town / walk.name).mkdir(parents=True)
    for frame, (picture, labels) in enumerate(render_walk(config, walk)):
        name = f"{walk.town}/{walk.name}/{frame:02d}.png"
        mask = np.where(labels >= FIRST_DISTINCTIVE, 255, 0).astype(np.uint8)
        content = _png(picture)
        for kind, data in (("pictures", content), ("labels", _png(labels)), ("distinctive", _png(mask))):
            (root / kind / name).write_bytes(data)
        digest = hashlib.sha256(content).hexdigest()[:32]
        rows.append((f"pictures/{name}", walk.town, f"{walk.town}/{walk.name}", float(frame), digest))
    return rows


def _png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=4)
    return content.getvalue()
