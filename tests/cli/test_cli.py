"""The cache is shown as it is, and nothing that somebody reads is removed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from citycam import cli
from citycam.shards import ShardStore, in_use

Call = Callable[..., tuple[int, str, str]]
DAY = 24 * 3600
VIEW = {"image_size": 64, "flip": 0.5, "rotations": [], "crop": 1.0, "brightness": 0.0, "contrast": 0.0, "seed": 3}


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of an empty cache's bank."""
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    return tmp_path / "bank"


@pytest.fixture
def citycam(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """``citycam("bank", "list")``: exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["citycam", *arguments])
        try:
            code = cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return call


def make(root: Path, backbone: str, rows: int = 4, days: float = 0.0) -> Path:
    """A store that was last used some days ago, closed again; returns its folder."""
    key = {"backbone": backbone, "weights": "abcdef0123", "precision": "fp32", "cut": {"stride": None}, "view": VIEW}
    store = ShardStore(key, root)
    for row in range(rows):
        store.add([(f"{row:032x}", 0)], np.full((1, 256), row, np.float32))
    then = time.time() - days * DAY
    os.utime(store.folder / "used", (then, then))
    os.utime(store.folder / "key.json", (then - DAY, then - DAY))
    return store.folder


@pytest.mark.parametrize("action", [["list"], ["verify"], ["prune", "--max-size", "0"]])
def test_an_empty_cache_is_nothing_to_worry_about(action: list[str], bank: Path, citycam: Call) -> None:
    code, out, err = citycam("bank", *action)
    assert (code, err) == (0, "")
    assert str(bank) in out
    assert not bank.exists()


def test_list_says_what_each_store_is(bank: Path, citycam: Call) -> None:
    folder = make(bank, "resnet50", days=40)
    used = ShardStore({"cut": "picture", "image_size": 96}, bank, np.uint8)
    used.add([("00" * 16, 0)], np.zeros((1, 96, 96, 3), np.uint8))
    code, out, _ = citycam("bank", "list")
    assert code == 0
    header, old, new, total = out.splitlines()
    assert header.split()[:3] == ["store", "holds", "backbone"]
    for word in (folder.name[:8], "features", "resnet50", "abcdef01", "64", "augmented, seed 3", "fp32", "  4  "):
        assert word in old
    assert ("41 days ago" in old, "40 days ago" in old, old.split()[-1]) == (True, True, "no")
    assert ("pictures" in new, "96" in new, new.split()[-1]) == (True, True, "yes")
    assert "2 stores" in total


def test_verify_removes_what_is_damaged_and_names_it(bank: Path, citycam: Call) -> None:
    folder = make(bank, "resnet50")
    assert citycam("bank", "verify")[0] == 0
    shards = sorted(folder.glob("*.safetensors"))
    shards[0].write_bytes(shards[0].read_bytes()[:-1] + b"\x01")
    shards[1].with_suffix(".rows").write_bytes(b"")
    code, out, _ = citycam("bank", "verify")
    assert code == 1
    assert all(f"{folder.name}/{shard.stem}" in out for shard in shards[:2])
    assert "2 of 4 shards damaged" in out
    assert sorted(folder.glob("*.safetensors")) == shards[2:]
    assert citycam("bank", "verify")[0] == 0


def test_prune_by_age(bank: Path, citycam: Call) -> None:
    old, young = make(bank, "old", days=40), make(bank, "young", days=20)
    code, out, _ = citycam("bank", "prune", "--older-than", "30")
    assert code == 0
    assert (old.exists(), young.exists()) == (False, True)
    assert old.name[:8] in out
    assert "left in 1 store below" in out
    assert list(bank.glob(".pruned*")) == []


def test_prune_by_size_takes_the_longest_unused_first(bank: Path, citycam: Call) -> None:
    stores = [make(bank, name, days=days) for name, days in (("a", 1), ("b", 3), ("c", 2))]
    size = sum(path.stat().st_size for path in stores[0].rglob("*"))
    citycam("bank", "prune", "--max-size", f"{2.5 * size / 1024}kb")
    assert [folder.exists() for folder in stores] == [True, False, True]
    citycam("bank", "prune", "--max-size", str(1.5 * size))
    assert [folder.exists() for folder in stores] == [True, False, False]


READER = """
import sys
from pathlib import Path
from citycam.shards import ShardStore
import json
folder = Path(sys.argv[1])
key = json.loads((folder / "key.json").read_text())
store = ShardStore({name: value for name, value in key.items() if name not in ("dtype", "format")}, folder.parent)
store.refresh()
print(len(store.missing([("00" * 16, 0)])), flush=True)
sys.stdin.read()
"""


def test_a_store_that_is_read_is_never_removed(bank: Path, citycam: Call) -> None:
    read, other = make(bank, "read", days=50), make(bank, "other", days=40)
    reader = subprocess.Popen([sys.executable, "-c", READER, read], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdout is not None
    assert reader.stdout.readline() == b"0\n"
    _, out, _ = citycam("bank", "prune", "--max-size", "0", "--older-than", "0")
    assert (read.exists(), other.exists()) == (True, False)
    assert "1 of them in use" in out
    reader.kill()
    reader.communicate()
    citycam("bank", "prune", "--max-size", "0")
    assert not read.exists()


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(bank: Path, citycam: Call) -> None:
    dead, orphan = make(bank, "dead"), make(bank, "orphan")
    (dead / ".x.safetensors.abc.part").write_bytes(b"12345")
    (orphan / "0.safetensors").write_bytes(b"12345")
    (bank / "never").mkdir()
    living = ShardStore({"backbone": "living"}, bank)
    living.add([("00" * 16, 0)], np.zeros((1, 2), np.float32))
    (living.folder / ".x.safetensors.abc.part").write_bytes(b"12345")
    code, out, _ = citycam("bank", "prune", "--older-than", "30")
    assert (code, out.count("left by dead writers, removed, 5 B")) == (0, 2)
    assert not list(dead.glob(".*.part"))
    assert not (orphan / "0.safetensors").exists()
    assert not (bank / "never").exists()
    assert len(list(living.folder.glob(".*.part"))) == 1
    assert len(list(orphan.glob("*.safetensors"))) == 4
    assert in_use(living.folder)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("prune",), "give --older-than DAYS or --max-size SIZE"),
        (("prune", "--max-size", "much"), "much is no size, like 20GB"),
        (("prune", "--older-than", "-1"), "-1"),
        (("prune", "--older-than", "nan"), "nan is no number of days"),
        ((), "ACTION"),
    ],
)
def test_a_request_that_cannot_be_is_a_sentence(arguments: tuple[str, ...], said: str, citycam: Call) -> None:
    code, _, err = citycam("bank", *arguments)
    assert code == 2
    assert said in err


@pytest.mark.parametrize(("text", "size"), [("20GB", 20 * 2**30), ("1.5 tb", 3 * 2**39), ("7", 7), ("2k", 2048)])
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert cli.bank._bytes(text) == size


def test_it_answers_without_loading_torch(bank: Path) -> None:
    make(bank, "resnet50")
    call = "sys.argv = ['citycam', 'bank', 'list']; cli.main(); print('torch' in sys.modules)"
    code = f"import sys; from citycam import cli; {call}"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert printed.stdout.splitlines()[-1] == "False"
