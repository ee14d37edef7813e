"""Pretrained weights come from caches or else from the network, for which a server on this machine stands in."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import safetensors.torch
import timm
import torch

from citycam.config import BackboneConfig
from citycam.errors import CitycamError
from citycam.model import backbone as networks
from citycam.model import hub
from citycam.model.weights import find_weights

NAME = "test_resnet"
COMMIT = "0" * 40
CONFIG = BackboneConfig(name=NAME)


@dataclass
class Server:
    """The content of a server on this machine, and how it answers."""

    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    missing_bytes: int = 0
    release: threading.Event = field(default_factory=threading.Event)
    hangs: bool = False
    address: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            state.requests.append(f"{self.command} {self.path}")
            if state.hangs:
                state.release.wait(30)
                return
            content = state.files.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is not None:
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if with_body and content is not None:
                self.wfile.write(content[: len(content) - state.missing_bytes])

        def log_message(self, *_: Any) -> None:
            pass

    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.daemon_threads = True
    state.address = f"http://127.0.0.1:{service.server_address[1]}"
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    yield state
    state.release.set()
    service.shutdown()
    service.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the caches empty and allow the network."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def publish(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Replace addresses in timm's record of NAME."""
    record = networks.pretrained_config(NAME)
    assert record is not None
    changed = replace(record, **{"hf_hub_id": None, "url": "", **changes})
    monkeypatch.setattr(networks, "pretrained_config", lambda _: changed)


@pytest.fixture(scope="module")
def pth() -> bytes:
    buffer = io.BytesIO()
    torch.save(timm.create_model(NAME).state_dict(), buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def safe() -> bytes:
    return safetensors.torch.save(timm.create_model(NAME).state_dict())


def hashed(content: bytes, stem: str = "net", digits: int = 8) -> str:
    return f"/{stem}-{hashlib.sha256(content).hexdigest()[:digits]}.pth"


def test_weights_are_downloaded_once(server: Server, monkeypatch: pytest.MonkeyPatch, pth: bytes) -> None:
    path = hashed(pth)
    server.files[path] = pth
    publish(monkeypatch, url=server.address + path)
    source = find_weights(CONFIG)
    assert source is not None
    assert source.path is not None
    assert (source.origin, source.path.read_bytes()) == ("hub", pth)
    assert source.digest == hashlib.sha256(pth).hexdigest()[:32]
    assert source.note.startswith(server.address)
    count = len(server.requests)
    again = find_weights(CONFIG)
    assert again == replace(source, origin="cache")
    assert len(server.requests) == count


def test_the_hub_comes_before_a_plain_address(
    server: Server, monkeypatch: pytest.MonkeyPatch, pth: bytes, safe: bytes
) -> None:
    server.files = {"/timm/net/resolve/main/model.safetensors": safe, hashed(pth): pth}
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    publish(monkeypatch, hf_hub_id="timm/net", url=server.address + hashed(pth))
    source = find_weights(CONFIG)
    assert source is not None
    assert source.path is not None
    assert (source.origin, source.path.read_bytes()) == ("hub", safe)
    assert source.note.startswith("timm/net/model.safetensors, licence")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_weights(CONFIG) == replace(source, origin="cache")


def test_the_plain_address_is_used_if_the_hub_does_not_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch, pth: bytes
) -> None:
    server.files = {hashed(pth): pth}
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    publish(monkeypatch, hf_hub_id="timm/net", url=server.address + hashed(pth))
    source = find_weights(CONFIG)
    assert source is not None
    assert source.path is not None
    assert source.path.read_bytes() == pth


def test_offline_sends_no_request(server: Server, monkeypatch: pytest.MonkeyPatch, pth: bytes) -> None:
    server.files[hashed(pth)] = pth
    publish(monkeypatch, url=server.address + hashed(pth))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_weights(CONFIG) is None
    assert server.requests == []


def test_a_silent_server_takes_a_limited_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.PROBE_SECONDS < 5
    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.3)
    server.hangs = True
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    publish(monkeypatch, hf_hub_id="timm/net", url=f"{server.address}/net.pth")
    start = time.monotonic()
    assert find_weights(CONFIG) is None
    assert time.monotonic() - start < 1.5
    assert server.requests


def test_a_network_without_published_weights_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch)
    assert find_weights(CONFIG) is None
    assert hub.find_file(None) is None


def test_a_closed_port_gives_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, url="http://127.0.0.1:9/net.pth")
    assert find_weights(CONFIG) is None


def test_a_failed_download_leaves_no_file(
    server: Server, monkeypatch: pytest.MonkeyPatch, pth: bytes, caches: Path
) -> None:
    server.files["/net.pth"] = pth
    server.missing_bytes = 100
    publish(monkeypatch, url=f"{server.address}/net.pth")
    with pytest.raises(CitycamError, match=r"failed \(.*backbone\.weights=FILE") as caught:
        find_weights(CONFIG)
    assert caught.value.exit_code == 1
    assert not [path for path in (caches / "torch").rglob("*") if path.is_file()]


def test_a_download_without_the_hash_of_its_name_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, pth: bytes, caches: Path
) -> None:
    server.files["/net-0123abcd.pth"] = pth
    publish(monkeypatch, url=f"{server.address}/net-0123abcd.pth")
    with pytest.raises(CitycamError, match="hash that its name states"):
        find_weights(CONFIG)
    assert not [path for path in (caches / "torch").rglob("*") if path.is_file()]


def test_a_failed_download_from_the_hub_is_a_sentence(
    server: Server, monkeypatch: pytest.MonkeyPatch, safe: bytes
) -> None:
    server.files["/timm/net/resolve/main/model.safetensors"] = safe
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    publish(monkeypatch, hf_hub_id="timm/net")

    def fails(*_: Any, **__: Any) -> str:
        raise OSError("connection lost")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    with pytest.raises(CitycamError, match=r"timm/net/model\.safetensors failed \(connection lost\)"):
        find_weights(CONFIG)


def test_downloaded_weights_are_checked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/net.pth"] = b"<html>moved</html>"
    publish(monkeypatch, url=f"{server.address}/net.pth")
    with pytest.raises(CitycamError, match="is no weights file"):
        find_weights(CONFIG)


def test_whether_weights_can_be_had_is_found_out_without_a_download(
    server: Server, monkeypatch: pytest.MonkeyPatch, pth: bytes, tmp_path: Path
) -> None:
    path = hashed(pth)
    publish(monkeypatch, url=server.address + path)
    published = networks.pretrained_config(NAME)
    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.5)
    assert hub.availability(None) == ("nowhere", "")
    assert hub.availability(published) == ("silent", server.address + path)
    server.files[path] = pth
    assert hub.availability(published) == ("hub", server.address + path)
    assert all(asked.startswith("HEAD ") for asked in server.requests)
    with monkeypatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        assert hub.availability(published) == ("offline", server.address + path)
    find_weights(CONFIG)
    assert hub.availability(published) == ("cache", str(tmp_path / "torch" / "checkpoints" / path[1:]))
