"""Published pretrained weights, from local caches or else from the network."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlparse

import torch

from citycam import files
from citycam.errors import CitycamError

# Whether weights are available is known after at most 5 seconds.
PROBE_SECONDS = 4.0
_STALL_SECONDS = 30.0
_NAMES = ("model.safetensors", "pytorch_model.bin")
_READABLE = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True, slots=True)
class PretrainedFile:
    """A file of pretrained weights; ``origin`` is cache, or hub if it was downloaded now, ``note`` where it is from."""

    origin: str
    path: Path
    note: str


@dataclass(frozen=True, slots=True)
class _Address:
    """An address of a file: in a repository of the Hugging Face hub, or, with ``repository`` None, a plain URL."""

    url: str
    filename: str
    repository: str | None = None
    revision: str | None = None

    @property
    def note(self) -> str:
        return f"{self.repository}/{self.filename}" if self.repository else self.url

    def cached(self) -> Path | None:
        if self.repository is None:
            path = _torch_folder() / self.filename
            return path if path.is_file() else None
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(self.repository, self.filename, revision=self.revision)
        return Path(cached) if isinstance(cached, str) else None

    def download(self) -> Path:
        if self.repository is None:
            return _download(self.url, _torch_folder() / self.filename)
        from huggingface_hub import hf_hub_download

        try:
            return Path(
                hf_hub_download(self.repository, self.filename, revision=self.revision, endpoint=_hub_endpoint())
            )
        except Exception as error:  # the hub's client raises the errors of its HTTP library, which its versions change
            raise _download_error(self.note, error) from error


def find_file(published: Any | None) -> PretrainedFile | None:
    """Return the weights that timm's record ``published`` names, or None if none are available.

    The caches of the Hugging Face hub and of torch.hub come first. Then the network has `PROBE_SECONDS` to answer, and
    the first address that does is downloaded. ``HF_HUB_OFFLINE=1`` forbids the network.

    Raises:
        CitycamError: the download failed, or its file could not be written.
    """
    addresses = _addresses(published)
    cached = _first_cached(addresses)
    if cached is not None:
        return cached
    if not addresses or _offline():
        return None
    address = _first_answering(addresses)
    return None if address is None else PretrainedFile("hub", address.download(), address.note)


def availability(published: Any | None) -> tuple[str, str]:
    """Return where `find_file` would take weights from, without downloading them, and the file's address or path.

    The former is ``cache``; ``hub``: the network answers; ``offline``: ``HF_HUB_OFFLINE`` forbids the network;
    ``silent``: no address answers within `PROBE_SECONDS`; or ``nowhere``: none are published.
    """
    addresses = _addresses(published)
    if not addresses:
        return "nowhere", ""
    cached = _first_cached(addresses)
    if cached is not None:
        return "cache", str(cached.path)
    if _offline():
        return "offline", addresses[0].note
    address = _first_answering(addresses)
    return ("silent", addresses[0].note) if address is None else ("hub", address.note)


def _first_cached(addresses: list[_Address]) -> PretrainedFile | None:
    for address in addresses:
        path = address.cached()
        if path is not None:
            return PretrainedFile("cache", path, address.note)
    return None


def _addresses(published: Any | None) -> list[_Address]:
    """Return the addresses of the weights in the order of preference."""
    if published is None:
        return []
    addresses = []
    if published.hf_hub_id:
        from huggingface_hub import hf_hub_url

        repository, _, revision = str(published.hf_hub_id).partition("@")
        for name in (published.hf_hub_filename,) if published.hf_hub_filename else _NAMES:
            url = hf_hub_url(repository, name, revision=revision or None, endpoint=_hub_endpoint())
            addresses.append(_Address(url, name, repository, revision or None))
    if published.url and Path(urlparse(published.url).path).suffix in _READABLE:
        addresses.append(_Address(published.url, Path(urlparse(published.url).path).name))
    return addresses


def _offline() -> bool:
    from huggingface_hub import constants

    word = os.environ.get("HF_HUB_OFFLINE", "").upper()
    return bool(constants.HF_HUB_OFFLINE) or word in ("1", "ON", "YES", "TRUE")


def _hub_endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _torch_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _first_answering(addresses: list[_Address]) -> _Address | None:
    # A look-up of a host name has no timeout, so each probe has a thread, which is abandoned when the time is over.
    answers = [False] * len(addresses)

    def probe(number: int) -> None:
        answers[number] = _answers(addresses[number].url)

    threads = [threading.Thread(target=probe, args=(number,), daemon=True) for number in range(len(addresses))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PROBE_SECONDS
    for number, thread in enumerate(threads):
        thread.join(max(0.0, deadline - time.monotonic()))
        if answers[number]:
            return addresses[number]
    return None


def _answers(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "citycam"})
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return True
    except (OSError, http.client.HTTPException, ValueError):
        return False


def _download(url: str, path: Path) -> Path:
    """Download ``url`` to ``path``, whole or not at all; a hash in the file's name is verified."""
    from rich.progress import wrap_file

    def write(file: BinaryIO) -> None:
        """Download into an open file, and verify."""
        request = urllib.request.Request(url, headers={"User-Agent": "citycam"})
        content = hashlib.sha256()
        try:
            with urllib.request.urlopen(request, timeout=_STALL_SECONDS) as response:
                size = int(response.headers.get("Content-Length") or 0)
                with wrap_file(response, size, description=f"Weights {path.name}", transient=True) as reader:
                    while block := reader.read(1 << 20):
                        content.update(block)
                        file.write(block)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _download_error(url, error) from error
        if size and file.tell() != size:
            raise _download_error(url, EOFError(f"{file.tell()} of {size} bytes were received"))
        stated = re.search(r"-([a-f0-9]{8,})\.", path.name)
        if stated is not None and not content.hexdigest().startswith(stated.group(1)):
            raise _download_error(url, ValueError("its content does not have the hash that its name states"))

    files.write_whole(path, write)
    return path


def _download_error(what: str, error: BaseException) -> CitycamError:
    reason = " ".join(str(error).split())[:150] or type(error).__name__
    return CitycamError(
        f"The download of pretrained weights from {what} failed ({reason.rstrip('.')}); run the same command again, "
        "or give a file with backbone.weights=FILE.",
        exit_code=1,
    )
