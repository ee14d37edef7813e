"""``citycam export``: a trained run as safetensors and ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add ``citycam export`` to the command line."""
    parser = commands.add_parser(
        "export",
        help="write a trained run as safetensors and ONNX",
        description="Write a run's whole network as model.safetensors and model.onnx, each with its classes and the "
        "preparation of pictures in its metadata. ONNX is written only if it gives the same logits (to 1e-4) as "
        "the run; it needs the extra: pip install 'citycam[export]'. Exit codes: 0 both written, 1 ONNX was not, 2 the "
        "request is wrong.",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder, or a checkpoint in it")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: export (or export-best) in the run's folder"
    )
    parser.add_argument("--weights", choices=("last", "best"), help="weights of the last (default) or the best epoch")
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    from citycam.inference.runs import find_run

    run = find_run(given.run_folder, given.weights)
    name = "export" if run.checkpoint.stem == "last" else f"export-{run.checkpoint.stem}"
    from citycam.inference.export import Exporter

    exporter = Exporter(run, given.out or run.folder / name)
    print(exporter.write_weights(), flush=True)
    path, checked = exporter.write_onnx()
    print(f"{path}: same logits as PyTorch to {checked.gap:.1e} on {checked.of}")
    return 0
