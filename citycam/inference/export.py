"""A trained run as files for other programs: its weights as safetensors, the whole network as ONNX."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
import logging
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from citycam import seeds
from citycam.config import Partition
from citycam.data.views import open_working, plain_spec, scale, views
from citycam.errors import CitycamError
from citycam.files import file_mode, sha256, write_bytes
from citycam.inference.network import load_network, resolve_here
from citycam.inference.own_pictures import check_digest, read_own, recorded_root
from citycam.inference.runs import TrainedRun
from citycam.model.network import Network

SCHEMA = 1
KEY = "citycam"
WEIGHTS, ONNX = "model.safetensors", "model.onnx"
TOLERANCE = 1e-4
NEEDED = ("onnx", "onnxruntime", "onnxscript")
_OPSET = 18
_PICTURES = 16


@dataclass(frozen=True)
class Checked:
    """The agreement of ONNX and PyTorch. ``gap``: the largest difference of a logit. ``of``: the pictures, in words."""

    gap: float
    of: str


class Whole(nn.Module):
    """Pictures float32 (N, 3, S, S) in 0-1 to logits (N, K) and probabilities (N, classes); normalises inside."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, partition: Partition) -> None:
        super().__init__()
        self.network = network
        self.binary = partition is Partition.binary
        self.register_buffer("mean", torch.tensor(network.backbone.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(network.backbone.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, K) and probabilities (B, classes) of pictures (B, 3, S, S) in 0-1."""
        logits = self.network((pictures - self.mean) / self.std)
        if self.binary:
            return logits, torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=1)
        return logits, torch.softmax(logits, dim=1)


class Exporter:
    """Writes one run's files into a folder.

    Raises:
        CitycamError: the run's weights cannot be loaded, or the folder holds another model.
    """

    def __init__(self, run: TrainedRun, folder: Path) -> None:
        self.run, self.folder = run, folder
        self._checkpoint = sha256(run.checkpoint)[:32]
        self._refuse_others()
        resolved = resolve_here(run)
        torch.set_num_threads(resolved.threads)
        # A copy, since the body may be shared; in plain layout, which the exporter expects.
        network = copy.deepcopy(load_network(run, resolved)).cpu().to(memory_format=torch.contiguous_format)
        self.whole = Whole(network, run.config.partition).eval()
        self.description = self._describe(network)

    def write_weights(self) -> Path:
        """Write model.safetensors: ``backbone.`` and timm's names for the body, ``head.`` and torch's for the head."""
        network = self.whole.network
        named = {f"backbone.{key}": value for key, value in network.backbone.net.state_dict().items()}
        named |= {f"head.{key}": value for key, value in network.head.state_dict().items()}
        state = {key: value.detach().contiguous().clone() for key, value in named.items()}
        # One entry only: safetensors writes several in random order, and equal runs must give equal files.
        content = safetensors.torch.save(state, metadata={KEY: json.dumps(self.description, ensure_ascii=False)})
        write_bytes(self.folder / WEIGHTS, content)
        return self.folder / WEIGHTS

    def write_onnx(self) -> tuple[Path, Checked]:
        """Write model.onnx after a check that its logits equal PyTorch's.

        Raises:
            CitycamError: the libraries are missing, the network cannot be exported, or the logits differ.
        """
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise CitycamError(
                f"{ONNX} needs {' and '.join(missing)}, which is not installed: pip install 'citycam[export]' "
                f"({self.folder / WEIGHTS} is written).",
                exit_code=1,
            )
        content = self._graph()
        checked = self._check(content)
        write_bytes(self.folder / ONNX, content)
        return self.folder / ONNX, checked

    def _describe(self, network: Network) -> dict[str, Any]:
        config, backbone = self.run.config, network.backbone
        return {
            "schema": SCHEMA,
            "run": self.run.folder.name,
            "checkpoint": self._checkpoint,
            "weights": self.run.checkpoint.stem,
            "partition": config.partition.name,
            "classes": list(self.run.classes),
            "backbone": backbone.name,
            "pool": "timm's forward_head(pre_logits=True); class-token transformers by the mean of their patch tokens",
            "head": config.head.kind,
            "image_size": config.image_size,
            "mean": list(backbone.mean),
            "std": list(backbone.std),
            "preprocessing": [
                "upright by its EXIF orientation, first frame, RGB, alpha over white",
                f"resized to {config.image_size} x {config.image_size}, whatever its sides were: bilinear, antialiased "
                "(Pillow's Image.resize with BILINEAR)",
                "divided by 255",
                "minus mean, divided by std, per channel",
            ],
            "decoder": config.data.decoder.name,
        }

    def _graph(self) -> bytes:
        """Return the network as the bytes of an ONNX file, described in its metadata."""
        size = self.run.config.image_size
        with _quiet():
            try:
                program = torch.onnx.export(
                    self.whole,
                    (torch.rand((2, 3, size, size), generator=seeds.torch_stream("export")),),
                    input_names=["pictures"],
                    output_names=["logits", "probabilities"],
                    dynamic_shapes=({0: torch.export.Dim("n")},),
                    opset_version=_OPSET,
                    dynamo=True,
                    verbose=False,
                )
            except (torch.onnx.OnnxExporterError, RuntimeError) as error:
                reason = str(error).strip().splitlines()[0][:150]
                raise CitycamError(
                    f"{self.description['backbone']} cannot be written as ONNX by this torch ({reason}); "
                    f"{self.folder / WEIGHTS} is written.",
                    exit_code=1,
                ) from error
        assert program is not None
        proto = program.model_proto
        inputs = "pictures: float32 (n, 3, S, S), RGB in 0-1; the file normalises on its own (mean, std are inside)"
        described = self.description | {"input": inputs, "output": "logits (n, K), probabilities (n, classes)"}
        described["preprocessing"] = self.description["preprocessing"][:-1]
        entry = proto.metadata_props.add()
        entry.key, entry.value = KEY, json.dumps(described, ensure_ascii=False)
        return bytes(proto.SerializeToString())

    def _check(self, content: bytes) -> Checked:
        import onnxruntime

        pictures, words = self._pictures()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            given = session.run(["logits"], {"pictures": pictures.numpy()})[0]
        except Exception as error:  # onnxruntime's exceptions have no common base
            reason = str(error).strip().splitlines()[0][:150]
            raise CitycamError(
                f"onnxruntime cannot run {self.description['backbone']} as torch wrote it ({reason}), so {ONNX} was "
                f"not written; use {self.folder / WEIGHTS}.",
                exit_code=1,
            ) from error
        with torch.inference_mode():
            wanted = self.whole(pictures)[0].numpy()
        gap = float(np.abs(given - wanted).max())
        if not gap <= TOLERANCE:
            raise CitycamError(
                f"ONNX gives other logits than PyTorch (by up to {gap:.1e} on {words}, at most {TOLERANCE:g} is "
                f"rounding), so {ONNX} was not written; use {self.folder / WEIGHTS}.",
                exit_code=1,
            )
        return Checked(gap, words)

    def _pictures(self) -> tuple[Tensor, str]:
        """Return pictures for the check, float32 (N, 3, S, S) in 0-1: of the validation part if they can be read."""
        spec = plain_spec(self.run.config.image_size, self.run.config.data.decoder)
        try:
            catalog, split = read_own(self.run, recorded_root(self.run))
            chosen = [catalog.pictures[row] for row in split.indices("val").tolist()]
            chosen = chosen[:: max(1, len(chosen) // _PICTURES)][:_PICTURES]
            for picture in chosen:
                check_digest(self.run, catalog, picture)
            made = [views(open_working(catalog.path(p), spec), spec, [0], p.digest) for p in chosen]
            return scale(torch.from_numpy(np.concatenate(made))), f"{len(chosen)} validation pictures"
        except CitycamError:  # moved or changed since, which says nothing about the network
            shape = (_PICTURES, 3, spec.image_size, spec.image_size)
            noise = torch.rand(shape, generator=seeds.torch_stream("export check"))
            return noise, f"{_PICTURES} pictures of noise (the run's own are not where they were)"

    def _refuse_others(self) -> None:
        for name in (WEIGHTS, ONNX):
            if (self.folder / name).exists() and self._written_for() != self._checkpoint:
                raise CitycamError(
                    f"{self.folder / name} is of another model, which is not written over; give another --out FOLDER."
                )

    def _written_for(self) -> str | None:
        """Return the digest of the checkpoint that the folder's model.safetensors was made from."""
        if not stat.S_ISREG(file_mode(self.folder / WEIGHTS)):  # to open a pipe would wait for its writer
            return None
        try:
            with safetensors.safe_open(self.folder / WEIGHTS, framework="pt") as file:
                return str(json.loads((file.metadata() or {})[KEY])["checkpoint"])
        except (OSError, KeyError, ValueError, TypeError, safetensors.SafetensorError):
            return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes on progress and deprecations off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
