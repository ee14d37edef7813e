"""Pictures of ``data=folder``: one folder per city, any depth below it, with or without a table of walks and times."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import PIL

from citycam.config import FolderConfig, OnBad
from citycam.data.catalog import (
    Catalog,
    Picture,
    Progress,
    Skipped,
    names_by_city,
    plain,
    qualified,
    shared_between_cities,
)
from citycam.data.pictures import SUFFIXES, check_bytes, digest_bytes
from citycam.errors import CitycamError, UnreadablePicture, near_matches
from citycam.files import cache_root, read_csv, write_json

PARTS = {"train": "train", "training": "train"}
PARTS |= {"val": "val", "valid": "val", "validation": "val"}
PARTS |= {"test": "test", "testing": "test"}
COLUMNS = ("path", "city", "group", "time")

_SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
_Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """What a picture's path says: its city, its part of a split brought along, and the path below both."""

    city: str
    part: str | None
    below: PurePosixPath


@dataclass(frozen=True, slots=True)
class _Read:
    digest: str
    reason: str | None  # why the file cannot be read


def scan(config: FolderConfig, progress: Progress | None = None) -> Catalog:
    """The catalog of ``config.root``.

    Hidden files and folders and files without a picture's suffix are passed over. Every picture is read once to its
    last byte; what was readable is remembered in the cache by name, size and times, so the next scan only looks at
    those.

    Raises:
        CitycamError: the root, the table or the groups are at fault, or a city has no picture that can be read.
        UnreadablePicture: with ``on_bad=error``, the first picture that cannot be read.
    """
    assert config.root is not None
    root = Path(config.root).expanduser()
    names = find(root)
    places = locate(names)
    rows = None if config.table is None else _read_table(Path(config.table).expanduser(), root, names)
    cities = {name: _city(name, places, rows) for name in names}
    chosen = names_by_city({name: city for name, city in cities.items() if city}, config.limit)
    if not chosen:
        raise CitycamError(
            f"data.root={root} holds no pictures in folders of cities; it needs one sub-folder of pictures "
            f"({', '.join(sorted(suffix[1:] for suffix in SUFFIXES))}) per city."
        )
    reads = _read_all(root, chosen, config.limit, progress)
    skipped = tuple(Skipped(name, read.reason) for name, read in sorted(reads.items()) if read.reason is not None)
    _judge(root, skipped, chosen, reads, config.on_bad)
    group_of = _grouping(config, places, rows)
    pictures = tuple(
        Picture(
            name=name,
            digest=read.digest,
            city=cities[name],
            group=group_of(name, cities[name]),
            time=_time(name, rows),
            part=places[name].part if name in places else None,
        )
        for name, read in sorted(reads.items())
        if read.reason is None
    )
    warnings = (*_outside(root, cities), *_skips(skipped), *shared_between_cities(pictures))
    target = None if config.target is None else plain(config.target)
    return Catalog("folder", root, pictures, skipped, target, warnings)


def find(root: Path) -> list[str]:
    """Names (paths below ``root``, with slashes, sorted) of all files with a picture's suffix; links are followed.

    Raises:
        CitycamError: ``root`` is no folder, or a folder below it cannot be listed.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise CitycamError(f"data.root={root} {what}; give the folder that holds one sub-folder of pictures per city.")
    return sorted(_walk(root, "", frozenset()))


def locate(names: Sequence[str]) -> dict[str, Place]:
    """City, part and the rest of the path for each name that lies in a city's folder.

    Folders named train, val or test (also training, valid, validation, testing) count as parts of a split where all
    pictures lie in such folders: either above the cities (train/paris/…) or just below them (paris/train/…).
    """
    paths = {name: PurePosixPath(name).parts for name in names if "/" in name}
    above = all(parts[0].lower() in PARTS for parts in paths.values())
    below = not above and all(len(parts) > 2 and parts[1].lower() in PARTS for parts in paths.values())
    places = {}
    for name, parts in paths.items():
        if above and len(parts) > 2:
            places[name] = Place(plain(parts[1]), PARTS[parts[0].lower()], PurePosixPath(*parts[2:]))
        elif below:
            places[name] = Place(plain(parts[0]), PARTS[parts[1].lower()], PurePosixPath(*parts[2:]))
        elif not above:
            places[name] = Place(plain(parts[0]), None, PurePosixPath(*parts[1:]))
    return places


def _walk(folder: Path, prefix: str, ancestors: frozenset[tuple[int, int]]) -> Iterator[str]:
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise CitycamError(
            f"The folder {folder} cannot be listed ({(error.strerror or str(error)).lower()}); mend its permissions."
        ) from error
    # A link to a folder that holds it would lead round and round.
    here = (status.st_dev, status.st_ino)
    if here in ancestors:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _SYSTEM_FOLDERS:
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", ancestors | {here})
        elif PurePosixPath(entry.name).suffix.lower() in SUFFIXES and (entry.is_file() or entry.is_symlink()):
            yield prefix + entry.name


def _city(name: str, places: Mapping[str, Place], rows: Mapping[str, _Row] | None) -> str:
    named = rows[name].get("city") if rows is not None else None
    if named:
        return plain(named)
    return places[name].city if name in places else ""


def _outside(root: Path, cities: Mapping[str, str]) -> list[str]:
    outside = [name for name, city in cities.items() if not city]
    if not outside:
        return []
    return [f"{len(outside)} pictures of {root} lie in no city's folder and were passed over (first: {outside[0]})."]


def _skips(skipped: Sequence[Skipped]) -> list[str]:
    if not skipped:
        return []
    return [
        f"{len(skipped)} {'file' if len(skipped) == 1 else 'files'} could not be read and passed over "
        f"(first: {skipped[0].name}: {skipped[0].reason})."
    ]


def _judge(
    root: Path,
    skipped: Sequence[Skipped],
    chosen: Mapping[str, Sequence[str]],
    reads: Mapping[str, _Read],
    on_bad: OnBad,
) -> None:
    if skipped and on_bad is OnBad.error:
        more = "" if len(skipped) == 1 else f" (and {len(skipped) - 1} more files cannot be read)"
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
    """Read the names of every city in their order until ``limit`` of each are readable."""
    memory = _Memory(root)
    reads: dict[str, _Read] = {}
    waiting = {city: list(names) for city, names in chosen.items()}
    with concurrent.futures.ThreadPoolExecutor(_processors()) as pool:
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
            for name, read in zip(batch, pool.map(memory.read, batch), strict=True):
                reads[name] = read
                if progress is not None:
                    progress(len(reads), total)
    memory.save()
    return reads


class _Memory:
    """Digests of the pictures of one root that were readable, in a file of the cache that is replaced whole.

    A file is taken for unchanged while its size and its times of change are equal; those that were not readable are
    tried again each time, since what is missing (a HEIC reader) may have come.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        key = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
        self._path = cache_root() / "folders" / f"{key}.json"
        self._before = self._load()
        self._now: dict[str, list[int | str]] = {}

    def read(self, name: str) -> _Read:
        """What is known of the file now, reading it if need be. Threads may call it side by side."""
        path = self._root / name
        try:
            # A name that is no text could not be written to any table.
            name.encode()
            status = path.stat()
        except UnicodeEncodeError:
            return _Read("", "its name is not UTF-8 text")
        except OSError as error:
            return _Read("", f"the file cannot be opened ({(error.strerror or str(error)).lower()})")
        stamp: list[int | str] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        known = self._before.get(name)
        if known is not None and known[:3] == stamp:
            self._now[name] = known
            return _Read(str(known[3]), None)
        try:
            content = path.read_bytes()
            check_bytes(content, path)
        except UnreadablePicture as error:
            return _Read("", error.reason)
        except OSError as error:
            return _Read("", f"the file cannot be opened ({(error.strerror or str(error)).lower()})")
        digest = digest_bytes(content)
        self._now[name] = [*stamp, digest]
        return _Read(digest, None)

    def save(self) -> None:
        """Keep what was learned, if anything was."""
        merged = self._before | self._now
        if merged != self._before:
            write_json(self._path, {"pillow": PIL.__version__, "files": merged})

    def _load(self) -> dict[str, list[int | str]]:
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            # Another Pillow may read other files.
            if stored["pillow"] != PIL.__version__:
                return {}
            return {name: [*map(int, row[:3]), str(row[3])] for name, row in stored["files"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            # A damaged memory is made anew.
            return {}


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read_table(table: Path, root: Path, names: Sequence[str]) -> dict[str, _Row]:
    """Rows of ``data.table`` by name: one for each picture."""
    try:
        rows = read_csv(table)
    except (OSError, UnicodeDecodeError) as error:
        raise CitycamError(f"data.table={table} cannot be read ({error}); give a CSV file in UTF-8.") from error
    header = list(rows[0]) if rows else []
    if "path" not in header:
        raise CitycamError(
            f"data.table={table} has no column path; its columns are path, and if known city, group, time."
        )
    for column in header:
        if column not in COLUMNS:
            raise CitycamError(
                f"data.table={table} has an unknown column {column!r}; {near_matches(str(column), COLUMNS)}"
            )
    by_name: dict[str, _Row] = {}
    for number, row in enumerate(rows, start=2):
        name = PurePosixPath(row["path"] or "").as_posix()
        if name in by_name:
            raise CitycamError(f"data.table={table}, line {number}: {name} is listed twice; keep one of the two.")
        by_name[name] = row
    known = set(names)
    strange = [name for name in by_name if name not in known]
    if strange:
        raise CitycamError(
            f"data.table={table} lists {len(strange)} paths that are no picture below {root} (first: {strange[0]}); "
            "paths are written from data.root on, with slashes."
        )
    missing = [name for name in names if name not in by_name]
    if missing:
        raise CitycamError(
            f"data.table={table} lacks {len(missing)} pictures of {root} (first: {missing[0]}); add a row for each, or "
            "move them out of data.root."
        )
    return by_name


def _grouping(
    config: FolderConfig, places: Mapping[str, Place], rows: Mapping[str, _Row] | None
) -> Callable[[str, str], str | None]:
    """The function from a picture's name and city to its group."""
    if rows is not None:
        return lambda name, city: qualified(city, rows[name]["group"]) if rows[name].get("group") else None
    if config.group is None:
        return lambda _name, _city: None
    if config.group.startswith("level:"):
        return _by_level(config.group, places)
    return _by_pattern(config.group, places)


def _by_level(setting: str, places: Mapping[str, Place]) -> Callable[[str, str], str]:
    number = setting.removeprefix("level:")
    if not number.isdecimal() or int(number) < 1:
        raise CitycamError(f"data.group={setting} must name a level from 1 on, for example data.group=level:1.")
    level = int(number)

    def group(name: str, city: str) -> str:
        folders = places[name].below.parts[:-1]
        if len(folders) < level:
            raise CitycamError(
                f"data.group={setting}, but {name} lies only {len(folders)} folders below its city; "
                "choose another level, or move that picture into a folder of its walk."
            )
        return qualified(city, "/".join(folders[:level]))

    return group


def _by_pattern(setting: str, places: Mapping[str, Place]) -> Callable[[str, str], str]:
    try:
        pattern = re.compile(setting)
    except re.error as error:
        raise CitycamError(
            f"data.group={setting} is neither level:N (such as level:1) nor a regular expression ({error})."
        ) from error

    def group(name: str, city: str) -> str:
        found = pattern.search(places[name].below.as_posix())
        named = found and (found.group(1) if pattern.groups else found.group(0))
        if not named:
            raise CitycamError(
                f"data.group={setting} finds no group in {places[name].below} of {city}; it must match the path below "
                "the city of every picture."
            )
        return qualified(city, named)

    return group


def _time(name: str, rows: Mapping[str, _Row] | None) -> float | None:
    text = (rows[name].get("time") or "").strip() if rows is not None else ""
    if not text:
        return None
    try:
        time = float(text)
    except ValueError:
        time = math.nan
    if not math.isfinite(time):
        raise CitycamError(
            f"data.table: the time {text!r} of {name} is no number; times are seconds, for example 12.5."
        )
    return time
