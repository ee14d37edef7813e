"""Files appear whole or not at all: under kill -9, on a full disk, in a folder that cannot be written."""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam import files
from citycam.errors import CitycamError


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b.txt", "später")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "später".encode()
    assert _left(tmp_path / "a") == ["b.txt"]


def test_names_as_long_as_a_file_system_takes(tmp_path: Path) -> None:
    name = "巴" * 83 + ".csv"  # 253 of 255 bytes
    files.write_text(tmp_path / name, "")
    assert _left(tmp_path) == [name]


def test_new_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    files.write_text(tmp_path / "whole", "")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_writer_that_raises_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    files.write_text(path, "old")

    def fail(file: BinaryIO) -> None:
        file.write(b"new, and half")
        raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        files.write_whole(path, fail)
    assert path.read_text() == "old"
    assert _left(tmp_path) == ["run.json"]


_KILLED = """
import sys, pathlib
from citycam import files
def write(file):
    file.write(b"half " * 100_000)
    file.flush()
    print("written", flush=True)
    sys.stdin.read()
files.write_whole(pathlib.Path(sys.argv[1]), write)
"""


@pytest.mark.parametrize("older", [True, False])
def test_a_killed_writer_leaves_the_older_file_or_none(tmp_path: Path, older: bool) -> None:
    path = tmp_path / "maps.npz"
    if older:
        files.write_text(path, "old")
    command = [sys.executable, "-c", _KILLED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert (path.read_text() if path.exists() else None) == ("old" if older else None)
    # What a killed process could not remove is hidden and named as a part.
    assert all(
        name.startswith(".maps.npz.") and name.endswith(".part") for name in _left(tmp_path) if name != path.name
    )
    # The next one who writes the file removes it, but nothing of a writer who lives, or may live elsewhere.
    others = [f".maps.npz.{os.getppid()}@{platform.node()}.x.part", ".maps.npz.1@elsewhere.x.part", ".maps.csv.part"]
    for name in others:
        files.write_text(tmp_path / name, "")
    files.write_text(path, "new")
    assert _left(tmp_path) == sorted([*others, path.name])


def _mounted(place: Path, options: str) -> Iterator[Path]:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("a tmpfs can be mounted by root on Linux only")
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip(f"mounting is not allowed here: {mount.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from _mounted(tmp_path / "disk", "size=64k")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    # Root may write in any folder, but on no read-only file system.
    if os.geteuid() == 0:
        yield from _mounted(tmp_path / "disk", "size=64k,ro")
    else:
        (tmp_path / "results").mkdir(mode=0o500)
        yield tmp_path / "results"


def test_a_full_disk_is_a_sentence(small_disk: Path) -> None:
    path = small_disk / "run.json"
    files.write_text(path, "old")
    with pytest.raises(CitycamError, match=r"full, so run\.json was not written; free space") as caught:
        files.write_bytes(path, b"x" * 200_000)
    assert caught.value.exit_code == 1
    assert path.read_text() == "old"
    assert _left(small_disk) == ["run.json"]


@pytest.mark.parametrize("name", ["run.json", "run/run.json"])
def test_a_folder_that_cannot_be_written_is_a_sentence(read_only: Path, name: str) -> None:
    with pytest.raises(CitycamError, match=r"cannot be written \((permission denied|read-only file system)\)"):
        files.write_text(read_only / name, "")


@pytest.mark.parametrize(
    ("number", "sentence", "code"),
    [
        (errno.ENOSPC, "is full", 1),
        (errno.EDQUOT, "is full", 1),
        (errno.EROFS, "cannot be written (read-only file system)", 2),
        (errno.EACCES, "cannot be written (permission denied)", 2),
        (errno.EIO, "could not be written", 1),
    ],
)
def test_each_fault_has_its_sentence(tmp_path: Path, number: int, sentence: str, code: int) -> None:
    def fail(_: BinaryIO) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(CitycamError) as caught:
        files.write_whole(tmp_path / "run.json", fail)
    assert sentence in str(caught.value)
    assert caught.value.exit_code == code
    assert _left(tmp_path) == []


def test_a_file_where_a_folder_should_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(CitycamError, match="could not be written"):
        files.write_text(tmp_path / "taken" / "run.json", "")


def test_tables_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [["a, b", 0.1 + 0.2, None], ['"q"\nline', 1e-300, "é"]]
    files.write_csv(tmp_path / "t.csv", ["name", "x", "y"], rows)
    back = files.read_csv(tmp_path / "t.csv")
    assert [row["name"] for row in back] == ["a, b", '"q"\nline']
    assert [float(row["x"]) for row in back] == [0.1 + 0.2, 1e-300]
    assert [row["y"] for row in back] == ["", "é"]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfpath,city\r\na.jpg,Oslo\r\n")
    assert files.read_csv(tmp_path / "t.csv") == [{"path": "a.jpg", "city": "Oslo"}]


def test_json_without_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "run.json", {"accuracy": float("nan")})
    assert _left(tmp_path) == []


_HOLDER = """
import sys, pathlib
from citycam import files
with files.lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_waits_for_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    path, waited = tmp_path / "locks" / "bank.lock", []
    command = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"

        def waiting() -> None:
            waited.append(process.poll())
            process.kill()

        with files.lock(path, waiting=waiting):
            assert waited == [None]
    with files.lock(path, waiting=lambda: pytest.fail("nobody holds it")):
        pass


def test_writing_never_touches_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can only be read by setting it, and threads that do so leave the process with another one."""
    before = os.umask(0o022)
    os.umask(before)
    monkeypatch.setattr(os, "umask", lambda _mask: pytest.fail("the umask was set"))
    files.write_text(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~before


def test_asking_whether_a_folder_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(CitycamError, match="could not be written"):
        files.check_writable(tmp_path / "file" / "b")


def test_the_size_of_a_folder_is_that_of_its_files_at_any_depth(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a" / "b", b"12345")
    files.write_bytes(tmp_path / "c", b"123")
    assert files.folder_size(tmp_path) == 8
    assert files.folder_size(tmp_path / "nowhere") == 0


CELL = st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.text(alphabet="a\r\n\t\",;=-' ")


@given(st.lists(st.tuples(CELL, CELL), min_size=1))
def test_every_text_comes_back_from_a_table(rows: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        files.write_csv(path, ["a\rb", "c\nd"], rows)
        assert files.read_header(path) == ["a\rb", "c\nd"]
        assert [tuple(row.values()) for row in files.read_csv(path)] == rows


def test_lone_surrogates_come_back_from_json(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", ["\udcff", "\ud800é"])
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == ["\udcff", "\ud800é"]


@pytest.mark.parametrize("read", [files.read_csv, files.read_header, files.read_text, files.sha256])
def test_only_regular_files_are_read(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero"), Path("a\0b")):
        with pytest.raises(OSError, match=r"not a regular file|null character"):
            read(path)
    with pytest.raises(IsADirectoryError):
        read(tmp_path)


def test_what_is_no_table_is_a_value_error(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b'"' + b"a" * 200_000):
        (tmp_path / "x.csv").write_bytes(content)
        for read in (files.read_csv, files.read_header):
            with pytest.raises(ValueError, match=r"codec|field limit"):
                read(tmp_path / "x.csv")


def test_home_is_found_and_nobodys_home_is_a_plain_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.at_home("~/photos") == tmp_path / "photos"
    assert files.at_home("~nobody-of-that-name/photos") == Path("~nobody-of-that-name/photos")


def test_a_folder_that_another_process_has_begun_to_fill_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = files.write_json

    def write_beside(path: Path, content: object) -> None:
        real(path, content)
        (path.parent / "theirs").touch()

    monkeypatch.setattr(files, "write_json", write_beside)
    files.check_writable(tmp_path / "a" / "b")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["theirs"]
