"""Pretrained weights that others publish: looked for in local caches first, then, briefly, on the network."""

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

# Finding out whether weights can be had may take 5 seconds in all.
PROBE_SECONDS = 4.0
_STALL_SECONDS = 30.0
_NAMES = ("model.safetensors", "pytorch_model.bin")
_READABLE = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True, slots=True)
class Found:
    """A file of pretrained weights. ``origin``: cache, or hub where it was downloaded now. ``note``: from where."""

    origin: str
    path: Path
    note: str


@dataclass(frozen=True, slots=True)
class _Place:
    """One address of a file: a repository of the Hugging Face hub, or (``repository`` None) a plain address."""

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

        found = try_to_load_from_cache(self.repository, self.filename, revision=self.revision)
        return Path(found) if isinstance(found, str) else None

    def download(self) -> Path:
        if self.repository is None:
            return _download(self.url, _torch_folder() / self.filename)
        from huggingface_hub import hf_hub_download

        try:
            return Path(
                hf_hub_download(self.repository, self.filename, revision=self.revision, endpoint=_hub_endpoint())
            )
        except Exception as error:  # the hub's client raises whatever its HTTP library of the day does
            raise _broke_off(self.note, error) from error


def find(published: Any | None) -> Found | None:
    """The weights that timm's record ``published`` names, or None where none can be had.

    Looks into the caches of the Hugging Face hub and of torch.hub, then asks the network for at most `PROBE_SECONDS`,
    and downloads what answers. ``HF_HUB_OFFLINE=1`` keeps it off the network.

    Raises:
        CitycamError: a download that had begun broke off, or its file could not be written.
    """
    places = _places(published)
    cached = _first_cached(places)
    if cached is not None:
        return cached
    if not places or _offline():
        return None
    place_that_answers = _first_answering(places)
    if place_that_answers is None:
        return None
    return Found("hub", place_that_answers.download(), place_that_answers.note)


def availability(published: Any | None) -> tuple[str, str]:
    """Return where `find` would take weights from, without downloading them, and the file's place or path.

    ``cache``; ``hub``: the network answers; ``offline``: ``HF_HUB_OFFLINE`` forbids to ask; ``silent``: there is no
    answer within `PROBE_SECONDS`; ``nowhere``: nobody publishes them.
    """
    places = _places(published)
    if not places:
        return "nowhere", ""
    cached = _first_cached(places)
    if cached is not None:
        return "cache", str(cached.path)
    if _offline():
        return "offline", places[0].note
    place_that_answers = _first_answering(places)
    return ("silent", places[0].note) if place_that_answers is None else ("hub", place_that_answers.note)


def _first_cached(places: list[_Place]) -> Found | None:
    for place in places:
        path = place.cached()
        if path is not None:
            return Found("cache", path, place.note)
    return None


def _places(published: Any | None) -> list[_Place]:
    """Addresses in the order of preference."""
    if published is None:
        return []
    places = []
    if published.hf_hub_id:
        from huggingface_hub import hf_hub_url

        repository, _, revision = str(published.hf_hub_id).partition("@")
        for name in (published.hf_hub_filename,) if published.hf_hub_filename else _NAMES:
            url = hf_hub_url(repository, name, revision=revision or None, endpoint=_hub_endpoint())
            places.append(_Place(url, name, repository, revision or None))
    if published.url and Path(urlparse(published.url).path).suffix in _READABLE:
        places.append(_Place(published.url, Path(urlparse(published.url).path).name))
    return places


def _offline() -> bool:
    from huggingface_hub import constants

    word = os.environ.get("HF_HUB_OFFLINE", "").upper()
    return bool(constants.HF_HUB_OFFLINE) or word in ("1", "ON", "YES", "TRUE")


def _hub_endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _torch_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _first_answering(places: list[_Place]) -> _Place | None:
    # Name look-ups heed no timeout, so each probe has a thread that is left behind when time is up.
    answers = [False] * len(places)

    def probe(number: int) -> None:
        answers[number] = _answers(places[number].url)

    threads = [threading.Thread(target=probe, args=(number,), daemon=True) for number in range(len(places))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PROBE_SECONDS
    for number, thread in enumerate(threads):
        thread.join(max(0.0, deadline - time.monotonic()))
        if answers[number]:
            return places[number]
    return None


def _answers(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "citycam"})
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return True
    except (OSError, http.client.HTTPException, ValueError):
        return False


def _download(url: str, path: Path) -> Path:
    """Fetch ``url`` to ``path``, whole or not at all; a hash that the file's name states is verified."""
    from rich.progress import wrap_file

    def write(file: BinaryIO) -> None:
        """Fetch into an open file, and verify."""
        request = urllib.request.Request(url, headers={"User-Agent": "citycam"})
        found = hashlib.sha256()
        try:
            with urllib.request.urlopen(request, timeout=_STALL_SECONDS) as response:
                size = int(response.headers.get("Content-Length") or 0)
                with wrap_file(response, size, description=f"Weights {path.name}", transient=True) as reader:
                    while block := reader.read(1 << 20):
                        found.update(block)
                        file.write(block)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _broke_off(url, error) from error
        if size and file.tell() != size:
            raise _broke_off(url, EOFError(f"{file.tell()} of {size} bytes came"))
        stated = re.search(r"-([a-f0-9]{8,})\.", path.name)
        if stated is not None and not found.hexdigest().startswith(stated.group(1)):
            raise _broke_off(url, ValueError("its bytes do not have the hash that its name states"))

    files.write_whole(path, write)
    return path


def _broke_off(what: str, error: BaseException) -> CitycamError:
    reason = " ".join(str(error).split())[:150] or type(error).__name__
    return CitycamError(
        f"The download of pretrained weights from {what} broke off ({reason.rstrip('.')}); run the same command again, "
        "or give a file with backbone.weights=FILE.",
        exit_code=1,
    )
