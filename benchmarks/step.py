"""What Lightning adds to a step of the head, and what starting up adds to Lightning's own import.

    python benchmarks/step.py

A frozen ResNet50's head trains on kept features through the whole framework, a bare loop trains the same head on the
same features in memory: same optimizer, batch and number of steps, epochs of both in turn, the first one not counted.
Then `python train.py` with a filled bank, from process start to its first optimizer step, in turn with
`python -c "import torch, pytorch_lightning"`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from common import (
    ROOT,
    Alternating,
    BareLoop,
    options,
    pictures_of,
    random_weights,
    scratch,
    settle,
    train_beside,
)
from results import Ratio, median_ratio, report

from citycam.bank.frozen import FrozenBody
from citycam.data.inputs import PlannedRun
from citycam.doors import door
from citycam.errors import CitycamError
from citycam.model.head import make_head

GOAL = 1.4
# Train.py as a person starts it, but for a hook that says when the first optimizer step begins.
FIRST_STEP = """
import runpy, sys, time
from torch.optim.optimizer import register_optimizer_step_pre_hook

def said(*_):
    print("first step at", time.time(), flush=True)
    hook.remove()

hook = register_optimizer_step_pre_hook(said)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
IMPORTS = "import torch, pytorch_lightning, time; print('first step at', time.time())"


@door
def main() -> int:
    """Measure and report."""
    parser = options(__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--starts", type=int, default=3, help="processes of each kind")
    asked = parser.parse_args()
    with scratch() as folder:
        # At 32 px the bank is filled soon; features are as wide as at any size.
        overrides = [
            *pictures_of(asked, folder, count=365),
            *(f"backbone.weights='{random_weights(folder)}'", "augment=none", "explain=none", "image_size=32"),
        ]
        kinds = ("sgd", "adam")
        clocks: dict[str, Alternating] = {}
        for kind in kinds:
            setting = settle(*overrides, f"optimizer={kind}", f"epochs={asked.epochs}")
            clocks[kind] = beside_bare_loop(setting, folder / kind)
        starts = [first_step(folder, number, overrides) for number in range(asked.starts + 1)][1:]
    ours, imports = (list(column) for column in zip(*starts, strict=True))
    steps = -(-len(setting.inputs.train) // setting.config.batch_size)
    figures = {}
    for kind in kinds:
        times = (1e6 * statistics.median(side) / steps for side in (clocks[kind].ours, clocks[kind].bare))
        figures[f"a step, {kind}: ours / bare"] = " / ".join(f"{one:,.0f} µs" for one in times)
    figures["to the first step / import of torch and Lightning"] = (
        f"{statistics.median(ours):.1f} s / {statistics.median(imports):.1f} s"
    )
    goal = GOAL if setting.resolved.device == "cpu" else None
    report(
        "step",
        how=f"`python benchmarks/step.py`: {steps} steps an epoch of batch {setting.config.batch_size}, "
        f"head {setting.config.head.kind} of {setting.config.head.hidden}, {setting.resolved.threads} threads.",
        ratios=[
            *[
                Ratio(f"a step, {k}: ours / bare", median_ratio(clocks[k].ours, clocks[k].bare), goal, True)
                for k in kinds
            ],
            Ratio("start to first step / import of torch and Lightning", median_ratio(ours, imports)),
        ],
        figures=figures,
        device=setting.resolved.device,
        path=asked.results,
    )
    return 0


def beside_bare_loop(setting: PlannedRun, folder: Path) -> Alternating:
    """Epochs of the head through the framework and in a bare loop, which gets the bank's own features."""
    config, inputs = setting.config, setting.inputs
    body = FrozenBody(setting)
    body.fill_features(config.epochs)
    features = body.reader(training=True, epochs=config.epochs)(inputs.train, 0)
    head = make_head(config.head, features.shape[1], inputs.labels.n_logits, config.seed)
    labels = torch.from_numpy(inputs.labels.values[inputs.train])
    return train_beside(setting, BareLoop(head, features, labels, setting), folder / "run")


def first_step(folder: Path, number: int, overrides: Sequence[str]) -> tuple[float, float]:
    """Seconds from a process's start to the first step of training, and to the end of Lightning's import."""
    run = ["-c", FIRST_STEP, str(ROOT / "train.py"), *overrides, "epochs=1", f"sweep.name=start{number}"]
    return seconds_until_said(run, folder), seconds_until_said(["-c", IMPORTS], folder)


def seconds_until_said(arguments: Sequence[str], folder: Path) -> float:
    """Seconds from a process's start to its line ``first step at``."""
    begun = time.time()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    said = [line for line in done.stdout.splitlines() if line.startswith("first step at")]
    if done.returncode or not said:
        raise CitycamError(f"The process to be timed did not train: {done.stderr.strip()[-500:]}", exit_code=1)
    return float(said[0].split()[-1]) - begun


if __name__ == "__main__":
    sys.exit(main())
