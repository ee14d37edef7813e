"""The file of a sweep's frozen body is whole whenever a run is about to refer to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from citycam.bank.body import body_file
from citycam.config import BackboneConfig
from citycam.model.backbone import Backbone, make_backbone
from tests.conftest import TINY


@pytest.fixture(scope="module")
def body() -> Backbone:
    return make_backbone(BackboneConfig(name=TINY, strides=[32]), 64, 0)


@pytest.mark.parametrize("damage", ["a byte", "cut", "empty", "a pipe"])
def test_a_damaged_body_is_written_again(
    damage: str, body: Backbone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = body_file(tmp_path, body, "0" * 32)
    whole = path.read_bytes()
    assert body_file(tmp_path, body, "0" * 32) == path
    assert capsys.readouterr().err == ""
    path.unlink()
    if damage == "a pipe":
        os.mkfifo(path)
    else:
        path.write_bytes({"a byte": whole[:-1] + bytes([whole[-1] ^ 1]), "cut": whole[:-9], "empty": b""}[damage])
    assert body_file(tmp_path, body, "0" * 32) == path
    assert path.read_bytes() == whole
    assert capsys.readouterr().err == f"note: {path} was damaged and is written again.\n"
