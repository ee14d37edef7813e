"""Read and write files: they appear whole or not at all, and locks are held by the kernel."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import errno
import hashlib
import io
import json
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import filelock
import platformdirs

from citycam.errors import CitycamError
from citycam.processes import is_gone
from citycam.words import size

# Modes of a new file and a new folder. The umask can only be read by setting it, so it is read once, before there are
# threads.
os.umask(_umask := os.umask(0o077))
_MODE, FOLDER_MODE = 0o666 & ~_umask, 0o777 & ~_umask


# Who writes a file that is not whole yet: .NAME.PID@HOST.RANDOM.part
_PART = re.compile(r"\.(\d+)@(.+)\.[^.]+\.part$")
# The largest JSON file that is read: the sweep.json of ten thousand runs is smaller.
MOST_JSON = 64 * 2**20
# As much of NAME as leaves room for the rest: a letter may take four of the 255 bytes that a file's name may have.
_NAMED = 32


def cache_root() -> Path:
    """Return ``$CITYCAM_CACHE``, else the platform's cache folder for citycam."""
    return at_home(os.environ.get("CITYCAM_CACHE") or platformdirs.user_cache_dir("citycam"))


def at_home(path: str) -> Path:
    """Return a path with ``~`` at its start as the home folder; that of a user who does not exist stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is no such user, or no home
        return Path(path)


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call ``write`` with an open binary file that becomes ``path`` when it returns.

    The file gets a temporary name in the same folder, then flush, fsync, rename, fsync of the folder. On any failure
    nothing is left behind and an older ``path`` stays as it was.

    Raises:
        CitycamError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beginning = f".{path.name[:_NAMED]}."
        _remove_leftovers(path.parent, beginning)
        own = f"{beginning}{os.getpid()}@{platform.node()}."
        descriptor, name = tempfile.mkstemp(prefix=own, suffix=".part", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; results are as readable as any other new file.
        temporary.chmod(_MODE)
        temporary.replace(path)
        _sync_folder(path.parent)
        temporary = None
    except OSError as error:
        raise explain_os_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _remove_leftovers(folder: Path, beginning: str) -> None:
    """Remove temporary files of the same file whose writers are gone."""
    for entry in os.scandir(folder):
        if entry.name.startswith(beginning) and is_leftover(Path(entry.path)):
            Path(entry.path).unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Return whether a file is a temporary one of `write_whole` whose writer is gone."""
    writer = _PART.search(path.name)
    return writer is not None and is_temporary(path) and is_gone(writer[2], int(writer[1]))


def is_temporary(path: Path) -> bool:
    """Return whether a file has the name of a temporary one of `write_whole`, of this or of another machine."""
    return path.name.startswith(".") and _PART.search(path.name) is not None


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` whole or not at all (see `write_whole`)."""
    write_whole(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 whole or not at all (see `write_whole`); lone surrogates become escapes as in JSON."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all.

    Raises:
        ValueError: it holds NaN or an infinity, which are not JSON.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def to_dict(config: Any) -> Any:
    """Return dataclasses as plain dictionaries, lists, numbers and text, for YAML, JSON and hashes."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Enum):
        return config.name
    if isinstance(config, (list, tuple)):
        return [to_dict(item) for item in config]
    if isinstance(config, dict):
        return {key: to_dict(value) for key, value in config.items()}
    if isinstance(config, Path):
        return str(config)
    return config


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table whole or not at all; floats keep every digit (``repr``), None is an empty cell."""
    text = io.StringIO()
    write_cells(text, [header, *rows])
    write_text(path, text.getvalue())


def write_cells(file: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of a CSV table to an open file, so that `read_csv` returns every cell as it was."""
    table = csv.writer(_Lines(file), lineterminator="\r\n")
    table.writerows(["" if cell is None else cell for cell in row] for row in rows)


class _Lines:
    """A file for csv.writer that ends lines with a line feed. The writer quotes only those carriage returns and line
    feeds that are part of its own line end, so it has to know both."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix("\r\n") + "\n")


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table with a header, as dictionaries of text; a leading byte-order mark is skipped.

    Raises:
        OSError: see `open_file`.
        ValueError: the content is no table in UTF-8.
    """
    with _open_table(path) as file:
        try:
            return list(csv.DictReader(file))
        except csv.Error as error:
            raise ValueError(str(error)) from error


def read_header(path: Path) -> list[str]:
    """Return the first row of a table, empty where it has none; raises as `read_csv` does."""
    with _open_table(path) as file:
        try:
            return next(csv.reader(file), [])
        except csv.Error as error:
            raise ValueError(str(error)) from error


def _open_table(path: Path) -> TextIO:
    return io.TextIOWrapper(open_file(path), encoding="utf-8-sig", newline="")


def open_file(path: Path) -> io.BufferedReader:
    """Open a regular file to read its bytes. To open a pipe would wait for its writer, and a device has no end.

    Raises:
        OSError: the file cannot be opened, or it is no regular file.
    """
    try:
        _check_regular(Path(path).stat(), path)  # first of all, since a device may act on being opened
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name has a null character", str(path)) from error
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def file_mode(path: Path) -> int:
    """Return the mode of what lies at ``path``, links followed; 0 where nothing does, or nobody may look."""
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0


def _check_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_text(path: Path) -> str:
    """Return the text of a regular file in UTF-8.

    Raises:
        OSError: see `open_file`.
        UnicodeDecodeError: the content is not UTF-8 text.
    """
    with open_file(path) as file:
        return file.read().decode("utf-8")


def read_file(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file of at most ``most`` bytes.

    Raises:
        OSError: it cannot be opened, is no regular file, or is larger.
    """
    with open_file(path) as file:
        length = os.fstat(file.fileno()).st_size
        if length > most:
            raise OSError(errno.EFBIG, f"it has {size(length)}, more than {size(most)}", str(path))
        return file.read()


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of ours.

    Raises:
        OSError: see `read_file`.
        ValueError: it is no JSON.
    """
    try:
        return json.loads(read_file(path, MOST_JSON).decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def reason_of(error: Exception) -> str:
    """Return in one line why a file could not be read."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((text or type(error).__name__).split())[:200].rstrip(".")


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a regular file's bytes."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(path: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on ``path``, which the kernel frees when this process dies.

    ``waiting`` is called once if another process or thread holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(path)
    try:
        held.acquire(blocking=False)
    except filelock.Timeout:
        if waiting is not None:
            waiting()
        held.acquire()
    try:
        yield
    finally:
        held.release()


def check_room(place: Path, needed: int, what: str) -> int:
    """Return the free bytes of the disk that holds ``place``, which need not exist yet.

    Raises:
        CitycamError: there are less than the ``needed`` bytes of ``what``.
    """
    existing = next(parent for parent in (place, *place.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise CitycamError(
            f"No room for {what}: {size(needed)} are needed below {place} and {size(free)} are free; free some space "
            "(citycam bank prune removes old stores), or choose another place (hydra.sweep.dir=…, or CITYCAM_CACHE for "
            "the cache)."
        )
    return free


def check_writable(folder: Path) -> None:
    """Write into ``folder``, which need not exist yet, to find out whether that can be done; nothing stays behind.

    Raises:
        CitycamError: it cannot.
    """
    new = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    probe = folder / f".writable-{os.urandom(8).hex()}"  # a name that nobody has taken
    write_json(probe, {})
    probe.unlink()
    with contextlib.suppress(OSError):  # another process has begun to write there
        for parent in new:
            parent.rmdir()


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below ``folder``; 0 where it does not exist."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # removed meanwhile
                total += Path(place, name).lstat().st_size
    return total


def explain_os_error(error: OSError, path: Path) -> CitycamError:
    """Return the sentence for a write that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CitycamError(
            f"The disk that holds {path.parent} is full, so {path.name} was not written; free space or choose another "
            "place (hydra.sweep.dir=…, or CITYCAM_CACHE for the cache) and run the same command again.",
            exit_code=1,
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return CitycamError(
            f"{path.parent} cannot be written ({os.strerror(error.errno).lower()}); choose another place "
            "(hydra.sweep.dir=…, or CITYCAM_CACHE for the cache)."
        )
    return CitycamError(
        f"{path} could not be written: {error.strerror or error}; mend that and run again.", exit_code=1
    )


def _sync_folder(folder: Path) -> None:
    # Some file systems refuse to open or fsync a folder; the rename itself is still whole there.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
