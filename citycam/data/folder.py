"""The data source ``data=folder``: photographs in one folder per city, at any depth, with or without a table."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from citycam.config import Config, FolderConfig, OnBad
from citycam.data.catalog import (
    Catalog,
    Picture,
    Progress,
    Skipped,
    names_by_city,
    plain,
    shared_between_cities,
)
from citycam.data.find import KINDS, Tree, find
from citycam.data.layout import city_of, grouping, like_parts, locate, read_table, time_of
from citycam.data.lesson import Lesson, city_lesson
from citycam.data.pictures import cannot_open, check_bytes, digest_bytes, read_bytes
from citycam.devices import cores
from citycam.errors import CitycamError, UnreadablePicture
from citycam.files import at_home, cache_root, read_text, write_json
from citycam.words import counted, is_text, printable


@dataclass(frozen=True, slots=True)
class _Read:
    """The result of reading a file; ``reason``: why it cannot be read, or None."""

    digest: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Folder:
    """The photographs below ``config.root``."""

    config: FolderConfig

    @property
    def root(self) -> Path:
        """The folder that holds one sub-folder of pictures per city."""
        assert self.config.root is not None  # `FolderConfig` refuses it
        return at_home(self.config.root)

    @property
    def place(self) -> str:
        """The name of the place in sentences."""
        return str(self.root)

    def scan(self, progress: Progress | None = None, /) -> Catalog:
        """Return the catalog of the root.

        See `find` for which files are pictures. Every picture is decoded once. The cache remembers which files are
        readable by name, size and times, so the next scan reads only files that are new or changed.

        Raises:
            CitycamError: the root, the table or the groups are wrong, or a city has no readable picture.
            UnreadablePicture: with ``on_bad=error``, the first picture that cannot be read.
        """
        config, root = self.config, self.root
        tree = find(root)
        names = tree.names
        places = locate(names)
        rows = None if config.table is None else read_table(at_home(config.table), root, names)
        cities = {name: city_of(name, places, rows) for name in names}
        chosen = names_by_city({name: city for name, city in cities.items() if city}, config.limit)
        if not chosen:
            raise CitycamError(
                f"data.root={root} holds no pictures in folders of cities; it needs one sub-folder of pictures "
                f"({KINDS}) per city."
            )
        reads = _read_all(root, chosen, config.limit, progress)
        skipped = _skipped(reads)
        _check_readable(root, skipped, chosen, reads, config.on_bad)
        group_of = grouping(config.group, places, rows)
        pictures = tuple(
            Picture(
                name=name,
                digest=read.digest,
                city=cities[name],
                group=group_of(name, cities[name]),
                time=time_of(name, rows),
                part=places[name].part if name in places else None,
            )
            for name, read in sorted(reads.items())
            if read.reason is None
        )
        warnings = (
            *_empty(root, tree),
            *tree.warnings,
            *_outside(root, cities),
            *_skips(skipped),
            *like_parts(names, places, rows),
            *shared_between_cities(pictures),
        )
        target = None if config.target is None else plain(config.target)
        return Catalog(config.kind, root, pictures, skipped, target, warnings)

    def render_again(self) -> None:
        """Return None: photographs cannot be made again."""
        return

    def counterfactuals(self, _names: Sequence[str], /) -> None:
        """Return None: nobody can take a thing out of a photograph and know what lay behind it."""
        return

    def label_map(self, _name: str, /) -> None:
        """Return None: what photographs show is not known."""
        return

    def lesson(self, config: Config, catalog: Catalog, train: np.ndarray, /) -> Lesson:
        """Return the lesson of the training part's cities."""
        return city_lesson(config, catalog, train)


def _skipped(reads: Mapping[str, _Read]) -> tuple[Skipped, ...]:
    """Return what cannot be read; names that no table can hold are written with escapes."""
    return tuple(
        Skipped(name if is_text(name) else printable(name), read.reason)
        for name, read in sorted(reads.items())
        if read.reason is not None
    )


def _outside(root: Path, cities: Mapping[str, str]) -> list[str]:
    outside = [name for name, city in cities.items() if not city]
    if not outside:
        return []
    return [f"Skipped {counted(len(outside), 'picture')} in no city's folder of {root} (first: {outside[0]})."]


def _empty(root: Path, tree: Tree) -> list[str]:
    full = {name.split("/", 1)[0] for name in tree.names}
    empty = [folder for folder in tree.folders if folder not in full]
    if not empty:
        return []
    return [f"Skipped {counted(len(empty), 'folder')} of {root} without pictures (first: {empty[0]})."]


def _skips(skipped: Sequence[Skipped]) -> list[str]:
    if not skipped:
        return []
    return [
        f"Skipped {counted(len(skipped), 'file')} that cannot be read (first: {skipped[0].name}, {skipped[0].reason})."
    ]


def _check_readable(
    root: Path,
    skipped: Sequence[Skipped],
    chosen: Mapping[str, Sequence[str]],
    reads: Mapping[str, _Read],
    on_bad: OnBad,
) -> None:
    if skipped and on_bad is OnBad.error:
        more = "" if len(skipped) == 1 else f" ({counted(len(skipped) - 1, 'other file')} cannot be read either)"
        raise UnreadablePicture(root / skipped[0].name, skipped[0].reason + more)
    for city, names in chosen.items():
        if all(reads[name].reason is not None for name in names if name in reads):
            raise CitycamError(
                f"None of the {len(names)} pictures of {city} in {root} can be read (first: {names[0]}); "
                "replace them, or move that folder away."
            )


def _read_all(
    root: Path, chosen: Mapping[str, Sequence[str]], limit: int | None, progress: Progress | None
) -> dict[str, _Read]:
    """Read the files of every city, in the order of ``chosen``, until ``limit`` of each city are readable."""
    memory = _Memory(root)
    reads: dict[str, _Read] = {}
    waiting = {city: list(names) for city, names in chosen.items()}
    try:
        with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
            while True:
                batch = []
                for city, names in waiting.items():
                    good = sum(reads[name].reason is None for name in chosen[city] if name in reads)
                    take = len(names) if limit is None else limit - good
                    batch += names[:take]
                    del names[:take]
                if not batch:
                    break
                total = len(reads) + len(batch)
                reads.update(known := {name: read for name in batch if (read := memory.recall(name)) is not None})
                unknown = [name for name in batch if name not in known]
                for name, read in zip(unknown, pool.map(memory.read, unknown), strict=True):
                    reads[name] = read
                    if progress is not None:
                        progress(len(reads), total)
    finally:
        memory.save({name for names in chosen.values() for name in names})
    return reads


class _Memory:
    """The digests of the readable pictures of one root, in a file of the cache that is replaced whole.

    A file counts as unchanged while its size and its times of change are the same. Files that were not readable are
    read again each time, since what was missing (a HEIC reader) may be installed by now.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        key = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
        self._path = cache_root() / "folders" / f"{key}.json"
        self._before = self._load()
        self._now: dict[str, list[int | str]] = {}

    def recall(self, name: str) -> _Read | None:
        """Return what is known of the file, or None if it has changed or is new."""
        known = self._before.get(name)
        if known is None:
            return None
        try:
            unchanged = known[:3] == self._stamp(name)
        except OSError:
            return None
        return _Read(str(known[3]), None) if unchanged else None

    def read(self, name: str) -> _Read:
        """Read the file and remember the result. Several threads may call this at the same time."""
        path = self._root / name
        try:
            stamp = self._stamp(name)
            content = read_bytes(path)
            check_bytes(content, path)
        except OSError as error:
            return _Read("", cannot_open(error))
        except UnreadablePicture as error:
            return _Read("", error.reason)
        digest = digest_bytes(content)
        self._now[name] = [*stamp, digest]
        return _Read(digest, None)

    def save(self, names: Set[str]) -> None:
        """Write what is known of ``names``, if it has changed."""
        merged = {name: row for name, row in (self._before | self._now).items() if name in names}
        if merged != self._before:
            write_json(self._path, {"pillow": PIL.__version__, "files": merged})

    def _stamp(self, name: str) -> list[int | str]:
        status = (self._root / name).stat()
        return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]

    def _load(self) -> dict[str, list[int | str]]:
        try:
            stored = json.loads(read_text(self._path))
            # Another version of Pillow may be able to read other files.
            if stored["pillow"] != PIL.__version__:
                return {}
            return {name: [*map(int, row[:3]), str(row[3])] for name, row in stored["files"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError):
            # A damaged file is replaced.
            return {}
