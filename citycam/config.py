"""Every setting: dataclasses that conf/ must fit, checked before any work starts. Imports no torch.

Each class is one Hydra group (or the root); its `__post_init__` holds the ranges. A value that depends on the machine
or on the data may be ``auto``: prepare resolves it once for a sweep (`citycam.jobs.prepare`). `int | "auto"` is typed
Any, since OmegaConf 2.3 cannot merge a Union inside a nested dataclass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from citycam.errors import AUTO, CitycamError, check_at_least, check_auto, check_known, check_positive, check_within
from citycam.explain_config import ExplainConfig
from citycam.study_config import StudyConfig


class Partition(Enum):
    """What is told apart: the target city from all others (one logit), or every city (a logit each)."""

    binary = "binary"
    multi = "multi"


class Balance(Enum):
    """``auto``: class weights in the loss where classes are unequal; ``none``: never."""

    auto = "auto"
    none = "none"


class Precision(Enum):
    """Arithmetic of the backbone."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class OnBad(Enum):
    """What to do with a picture that cannot be read."""

    error = "error"
    skip = "skip"


class Decoder(Enum):
    """How files become pixels. ``pillow``: whole pictures. ``draft``: JPEGs at a half, a quarter or an eighth where
    that is still larger than needed: faster on large photographs, with slightly other pixels."""

    pillow = "pillow"
    draft = "draft"


class SplitKind(Enum):
    """How pictures are dealt to train, val and test; ``auto`` is group where groups are known, else random."""

    auto = "auto"
    group = "group"
    time = "time"
    random = "random"
    folder = "folder"


class Fill(Enum):
    """What a rotation brings into the corners: ``reflect``: the mirrored picture (bilinear); ``black``: black, nearest
    neighbour, as torchvision's RandomRotation does by default."""

    reflect = "reflect"
    black = "black"


class Accelerator(Enum):
    """The device that computes."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


# Name tables that registries in data/ and model/ must equal; tests hold them together.
OPTIMIZERS = ("sgd", "adam", "adamw")
HEADS = ("mlp", "linear")
FINETUNE_WORDS = ("none", "all")


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """Where pictures come from. ``target``: the city of `partition=binary` and of the maps."""

    kind: str
    target: Optional[str] = None
    limit: Optional[int] = None
    decoder: Decoder = Decoder.pillow

    def __post_init__(self) -> None:
        check_known("data", self.kind, tuple(SCHEMAS["data"]))
        check_positive("data.limit", self.limit)


@dataclass(kw_only=True, slots=True)
class ToytownConfig(DataConfig):
    """Rendered towns. ``pictures``: per town. ``size``: pixels. ``watermark``: plant the shortcut in a pair of them."""

    kind: str = "toytown"
    seed: int = 0
    towns: int = 8
    pictures: int = 120
    size: int = 128
    watermark: bool = False

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        check_at_least("data.towns", self.towns, 2)
        check_at_least("data.pictures", self.pictures, 20)
        check_at_least("data.size", self.size, 64)


@dataclass(kw_only=True, slots=True)
class FolderConfig(DataConfig):
    """One folder per city below ``root``. ``group``: ``level:N`` (the N-th sub-folder below the city, from 1; folders
    train, val and test of a split brought along are not counted) or a regular expression over the path below the city
    whose first group (or whole match) names the walk. ``table``: a CSV with columns path, city, group, time (the last
    three optional)."""

    kind: str = "folder"
    root: Optional[str] = None
    group: Optional[str] = None
    table: Optional[str] = None
    on_bad: OnBad = OnBad.error

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        if not self.root:
            raise CitycamError("data=folder needs data.root=FOLDER, a folder with one sub-folder of pictures per city.")
        if self.group is not None and self.table is not None:
            raise CitycamError("data.group and data.table both name groups; give one of them.")


@dataclass(kw_only=True, slots=True)
class SplitConfig:
    """Shares of val and test (train is the rest). ``gap``: share of each video left out between parts of split=time."""

    kind: SplitKind = SplitKind.auto
    seed: int = 0
    val: float = 0.2
    test: float = 0.0
    gap: float = 0.05

    def __post_init__(self) -> None:
        check_within("split.val", self.val, 0.01, 0.9)
        check_within("split.test", self.test, 0.0, 0.9)
        check_within("split.gap", self.gap, 0.0, 0.5)
        if self.val + self.test >= 0.95:
            raise CitycamError(f"split.val={self.val} and split.test={self.test} leave no pictures to train on.")


@dataclass(kw_only=True, slots=True)
class AugmentConfig:
    """Random changes of a training view. ``rotations``: maximal degrees, one rotation after the other,
    ``fill`` in their corners. ``crop``: smallest share of the side kept. ``validation``: change validation pictures too
    (as paper A did). ``views``: distinct views per picture, then they repeat; null is a fresh view for each epoch."""

    name: str = "default"
    flip: float = 0.5
    rotations: list[float] = field(default_factory=list)
    fill: Fill = Fill.reflect
    crop: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    validation: bool = False
    seed: int = 0
    views: Optional[int] = None

    def __post_init__(self) -> None:
        check_within("augment.flip", self.flip, 0.0, 1.0)
        for degrees in self.rotations:
            check_within("augment.rotations", degrees, 0.0, 180.0)
        check_within("augment.crop", self.crop, 0.1, 1.0)
        check_within("augment.brightness", self.brightness, 0.0, 1.0)
        check_within("augment.contrast", self.contrast, 0.0, 1.0)
        check_positive("augment.views", self.views)


@dataclass(kw_only=True, slots=True)
class BackboneConfig:
    """``name``: timm's name. ``weights``: auto, random, or a file. ``finetune``: none (frozen), all, or the name of the
    stage from which on weights train. ``strides``: output strides this network can be read at, verified by tests.
    ``lesson``: pictures that a body sees at most, where no weights can be had and one is taught here."""

    name: Optional[str] = None
    weights: str = AUTO
    finetune: str = "none"
    strides: list[int] = field(default_factory=lambda: [32])
    lesson: int = 10_000

    def __post_init__(self) -> None:
        if not self.name:
            raise CitycamError("backbone=timm needs backbone.name=NAME, for example backbone.name=resnet26d.")
        check_positive("backbone.lesson", self.lesson)


@dataclass(kw_only=True, slots=True)
class HeadConfig:
    """mlp: Linear-ReLU-Linear with ``hidden`` units; linear: one Linear."""

    kind: str = "mlp"
    hidden: int = 256

    def __post_init__(self) -> None:
        check_known("head", self.kind, HEADS)
        check_within("head.hidden", self.hidden, 1, 65_536)


@dataclass(kw_only=True, slots=True)
class OptimizerConfig:
    """``decay_every``: epochs between step decays of the learning rate by ``decay_factor``; null is none."""

    kind: str
    lr: float = 0.001
    weight_decay: float = 0.0
    decay_every: Optional[int] = None
    decay_factor: float = 0.1

    def __post_init__(self) -> None:
        check_known("optimizer", self.kind, OPTIMIZERS)
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise CitycamError(f"optimizer.lr={self.lr} must be a positive number; the usual value is 0.001.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise CitycamError(f"optimizer.weight_decay={self.weight_decay} must be zero or a positive number.")
        check_positive("optimizer.decay_every", self.decay_every)
        check_within("optimizer.decay_factor", self.decay_factor, 1e-6, 1.0)


@dataclass(kw_only=True, slots=True)
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent."""

    kind: str = "sgd"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        OptimizerConfig.__post_init__(self)
        check_within("optimizer.momentum", self.momentum, 0.0, 0.9999)


@dataclass(kw_only=True, slots=True)
class AdamConfig(OptimizerConfig):
    """Adam and AdamW."""

    kind: str = "adam"
    beta1: float = 0.9
    beta2: float = 0.999

    def __post_init__(self) -> None:
        OptimizerConfig.__post_init__(self)
        check_within("optimizer.beta1", self.beta1, 0.0, 0.9999)
        check_within("optimizer.beta2", self.beta2, 0.0, 0.999999)


@dataclass(kw_only=True, slots=True)
class TrainerConfig:
    """Where training runs. ``devices``: of one model; more than one train it together, a process each."""

    accelerator: Accelerator = Accelerator.auto
    devices: int = 1

    def __post_init__(self) -> None:
        check_positive("trainer.devices", self.devices)


@dataclass(kw_only=True, slots=True)
class BankConfig:
    """The store of features of a frozen backbone. ``enabled=false``: every view passes the backbone in every epoch."""

    enabled: bool = True
    batch: Any = AUTO

    def __post_init__(self) -> None:
        check_auto("bank.batch", self.batch, most=65_536)


@dataclass(kw_only=True, slots=True)
class SweepConfig:
    """``name``: results lie in multirun/NAME; the same name resumes that sweep. Default: date and time. ``resume``: the
    folder of a sweep to finish with the settings it was started with. ``jobs_per_device``: jobs that share a device (on
    a CPU: a core) where several run at once. ``fail_fast``: start no further job once one has failed."""

    name: Optional[str] = None
    resume: Optional[str] = None
    jobs_per_device: int = 1
    fail_fast: bool = False

    def __post_init__(self) -> None:
        check_positive("sweep.jobs_per_device", self.jobs_per_device)
        name = self.name
        if name is not None and (not name.strip() or set(name) & set("/\\\0") or name.startswith(".")):
            raise CitycamError(f"sweep.name={name!r} must be a plain folder name, without slashes or a leading dot.")
        if name is not None and len(name.encode("utf-8", "replace")) > 200:
            raise CitycamError(f"sweep.name={name[:20]}… is too long for the name of a folder; give a shorter one.")


@dataclass(kw_only=True, slots=True)
class Config:
    """One run."""

    optimizer: OptimizerConfig
    data: DataConfig
    split: SplitConfig
    augment: AugmentConfig
    backbone: BackboneConfig
    head: HeadConfig
    explain: ExplainConfig
    trainer: TrainerConfig
    bank: BankConfig
    sweep: SweepConfig
    study: StudyConfig
    epochs: int = 10
    partition: Partition = Partition.multi
    image_size: int = 64
    batch_size: int = 32
    seed: int = 0
    precision: Precision = Precision.auto
    threads: Any = AUTO
    balance: Balance = Balance.auto

    def __post_init__(self) -> None:
        check_positive("epochs", self.epochs)
        check_positive("batch_size", self.batch_size)
        check_within("image_size", self.image_size, 32, 4096)
        check_auto("threads", self.threads, most=1024)
        if self.batch_size < self.trainer.devices:
            raise CitycamError(
                f"batch_size={self.batch_size} cannot be shared by trainer.devices={self.trainer.devices}; "
                "take a larger batch or fewer devices."
            )
        if not 0 <= self.seed < 2**63:
            raise CitycamError(f"seed={self.seed} must be zero or a positive whole number below 2**63.")
        if isinstance(self.data, FolderConfig) and self.partition is Partition.binary and self.data.target is None:
            raise CitycamError(
                "partition=binary needs data.target=CITY, the city that is told apart from all others "
                "(a folder's name below data.root)."
            )


# Groups whose options have settings of their own; in the other groups one dataclass fits all options.
SCHEMAS: dict[str, dict[str, type]] = {
    "optimizer": {"sgd": SgdConfig, "adam": AdamConfig},
    "data": {"toytown": ToytownConfig, "folder": FolderConfig},
}
