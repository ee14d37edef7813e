"""Training all layers of a ResNet50 through the whole framework, against a bare loop on tensors in memory.

    python benchmarks/finetune.py [FOLDER --target NAME] [--size 64] [--pictures N]

The framework decodes or remembers pictures, makes a new view of each in every epoch and trains through Lightning; the
bare loop has all its views in the device's memory. Same network, precision, memory format, optimizer and batch; epochs
of both in turn, the first one not counted, validation not counted.
"""

from __future__ import annotations

import statistics
import sys

import torch
from common import BareLoop, options, pictures_of, scratch, settle, train_beside, views_in_memory
from results import Ratio, median_ratio, report

from citycam.data.inputs import PlannedRun
from citycam.doors import door
from citycam.train.run import make_network

GOAL = 0.95
# Pictures per city: an epoch is long enough to time and short enough to wait for.
COUNTS = {64: 80, 224: 12}


@door
def main() -> int:
    """Measure and report."""
    parser = options(__doc__)
    parser.add_argument("--size", type=int, default=64, help="image_size")
    parser.add_argument("--epochs", type=int, default=5)
    asked = parser.parse_args()
    with scratch() as folder:
        count = COUNTS.get(asked.size, 40)
        setting = settle(
            *pictures_of(asked, folder, count=count),
            *("backbone.weights=random", "explain=none", f"image_size={asked.size}", f"epochs={asked.epochs}"),
        )
        clock = train_beside(setting, bare_loop(setting), folder / "run")
    pictures = len(setting.inputs.train)
    report(
        f"finetune: {asked.size} px",
        how=f"`python benchmarks/finetune.py --size {asked.size}`: {pictures} pictures an epoch, "
        f"{setting.resolved.precision} in {setting.resolved.memory_format}, batches of {setting.config.batch_size}, "
        f"augment={setting.config.augment.name}.",
        ratios=[Ratio("pictures per second, ours / bare loop", median_ratio(clock.bare, clock.ours), GOAL)],
        figures={
            "ours": f"{pictures / statistics.median(clock.ours):,.1f} pictures/s",
            "bare loop": f"{pictures / statistics.median(clock.bare):,.1f} pictures/s",
        },
        device=setting.resolved.device,
        path=asked.results,
    )
    return 0


def bare_loop(setting: PlannedRun) -> BareLoop:
    """A second network beside the one that is trained, and the views of the first epoch."""
    network = make_network(setting)
    labels = torch.from_numpy(setting.inputs.labels.values[setting.inputs.train])
    return BareLoop(network, views_in_memory(setting, setting.inputs.train, training=True), labels, setting)


if __name__ == "__main__":
    sys.exit(main())
