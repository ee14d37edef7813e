"""The picture files below a folder, and what is passed over there that people may take for pictures."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from citycam.data.pictures import SUFFIXES, begins_as_picture
from citycam.errors import CitycamError
from citycam.words import counted, is_text

KINDS = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
# Pictures that are not read here. Files of other kinds beside pictures (tables, notes, films) are no news.
_OTHERS = frozenset(
    {".arw", ".cr2", ".cr3", ".dng", ".exr", ".hdr", ".ico", ".j2k", ".jp2", ".jpx", ".jxl", ".nef", ".orf", ".pef"}
    | {".pgm", ".pnm", ".ppm", ".psd", ".raf", ".raw", ".rw2", ".srw", ".svg", ".tga", ".xcf"}
)
_SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
# More ways than this to one folder are links that multiply each other.
_MOST_WAYS = 1000


@dataclass(frozen=True, slots=True)
class Tree:
    """The files below a folder.

    Attributes:
        names: paths of the picture files, with slashes, sorted.
        others: the same of files that are or look like pictures, but are not taken.
        folders: the names of the folders directly in the folder, sorted.
    """

    names: tuple[str, ...]
    others: tuple[str, ...]
    folders: tuple[str, ...]

    @property
    def warnings(self) -> list[str]:
        """A sentence on `others`, if there are any."""
        if not self.others:
            return []
        kinds = Counter(PurePosixPath(name).suffix.lower() for name in self.others)
        listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(5))
        return [
            f"Skipped {counted(len(self.others), 'file')} that may be pictures by other names ({listed}; first: "
            f"{self.others[0]}); pictures end in {KINDS}, or have no suffix: convert or rename what you need."
        ]


def find(
    root: Path,
    *,
    setting: str = "data.root=",
    way: str = "give the folder that holds one sub-folder of pictures per city",
) -> Tree:
    """Find the picture files below ``root``; links are followed.

    A file with a picture's suffix is one, whatever it holds; a file without a suffix is one if it begins like one.
    Hidden files and folders, and those that systems leave behind, are passed over.

    Args:
        root: the folder.
        setting, way: how errors name the folder, and the way out.

    Raises:
        CitycamError: ``root`` is not a folder, or a folder below it cannot be listed.
    """
    if (wrong := _not_a_folder(root)) is not None:
        raise CitycamError(f"{setting}{root} {wrong}; {way}.")
    names: list[str] = []
    others: list[str] = []
    for name, entry in _walk(root):
        suffix = PurePosixPath(entry.name).suffix.lower()
        if suffix in SUFFIXES:
            names.append(name)
        elif suffix in _OTHERS or begins_as_picture(Path(entry.path)):
            (others if suffix else names).append(name)
    folders = sorted(entry.name for entry in _visible(root) if _is_folder(entry))
    return Tree(tuple(sorted(names)), tuple(sorted(others)), tuple(folders))


def _not_a_folder(root: Path) -> str | None:
    if not is_text(str(root)):
        return "has a name that is not UTF-8 text, which no table can hold"
    try:
        mode = root.stat().st_mode
    except (FileNotFoundError, ValueError):  # the latter if the name has a null character
        return "does not exist"
    except OSError as error:
        return f"cannot be opened ({(error.strerror or str(error)).lower()})"
    if stat.S_ISREG(mode):
        return "is a file, not a folder"
    return None if stat.S_ISDIR(mode) else "is neither a folder nor a regular file"


def _walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every visible file or link below ``root``: its path below it, with slashes, and its entry."""
    # No recursion: folders may lie deeper than Python's stack.
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    ways: Counter[tuple[int, int]] = Counter()
    while waiting:
        folder, prefix, ancestors = waiting.pop()
        try:
            status = folder.stat()
            entries = _visible(folder)
        except OSError as error:
            raise _cannot_list(folder, error) from error
        here = (status.st_dev, status.st_ino)
        # A link to a folder that contains the link would be followed forever.
        if here in ancestors:
            continue
        ways[here] += 1
        if ways[here] > _MOST_WAYS:
            raise CitycamError(
                f"Links below {root} lead to the same folder more than {_MOST_WAYS:,} times ({folder}); remove them."
            )
        for entry in entries:
            if _is_folder(entry):
                waiting.append((Path(entry.path), f"{prefix}{entry.name}/", ancestors | {here}))
            elif entry.is_symlink() or entry.is_file():
                yield prefix + entry.name, entry


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".") and entry.name not in _SYSTEM_FOLDERS]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one.

    Raises:
        CitycamError: it is a link to where nobody may look.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR):  # links that lead nowhere
            return False
        raise _cannot_list(Path(entry.path), error) from error


def _cannot_list(folder: Path, error: OSError) -> CitycamError:
    return CitycamError(
        f"The folder {folder} cannot be listed ({(error.strerror or str(error)).lower()}); check its permissions."
    )
