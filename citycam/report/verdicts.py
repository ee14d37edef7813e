"""selfcheck.json: which maps of a network may be believed. Its type, its only reader, and the sentence beside maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from citycam.config import Config
from citycam.errors import DamagedFile
from citycam.files import read_json, reason_of, to_dict, write_json
from citycam.report.typed import fitted
from citycam.sweep.names import config_hash
from citycam.sweep.record import RunRecord
from citycam.words import say

# The layout that this version writes.
SCHEMA = 1
NAME, FOLDER = "selfcheck.json", "selfcheck"
FINDS, WEAK, BLIND, NOT_USED, TOO_FEW = "finds", "weak", "blind", "not used", "too few pictures"
VERDICTS = (FINDS, WEAK, BLIND, NOT_USED, TOO_FEW)
# ``method``: one that draws maps for people. ``control``: maps that know no class. ``faulty``: a published fault.
METHOD, CONTROL, FAULTY = "method", "control", "faulty"
_KINDS = (METHOD, CONTROL, FAULTY)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean or a share with its 95 % interval."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low - 1e-9 <= self.value <= self.high + 1e-9:
            raise ValueError("an interval does not hold its own middle")


@dataclass(frozen=True, slots=True)
class BodyKey:
    """What verdicts hold for, beside the method: a body and the size of its pictures.

    Attributes:
        backbone: timm's name.
        weights: digest of the weights that the body was loaded with.
        image_size: in pixels.
        run: `config_hash` of the run that fine-tuned the body; None for a frozen one, which all its runs share.
    """

    backbone: str
    weights: str | None
    image_size: int
    run: str | None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.backbone}-{self.image_size}-{(self.run or self.weights or 'random')[:12]}"


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures that marks were planted in. ``held_out``: of the city, explained. ``intervals_over``: pictures, or
    walks where they are known."""

    kind: str
    root: str
    digest: str
    city: str
    partition: str
    held_out: int
    trained: int
    intervals_over: str


@dataclass(frozen=True, slots=True)
class Cue:
    """Whether a mark was used as the cue of the city.

    Attributes:
        colour: of the cue.
        contrast: what is explained, on pictures that have cue and decoy.
        effect: how much of it is lost when the original pixels are pasted back over the cue.
        decoy_effect: the same for the decoy.
        null_effect: the same for the cue in the null twin.
        used: whether the effect is at least half of the contrast.
    """

    colour: str
    contrast: Estimate
    effect: Estimate
    decoy_effect: Estimate
    null_effect: Estimate
    used: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """How the maps of a method met the marks, over the roles that were used.

    Attributes:
        title: as captions print it.
        kind: method, control or faulty.
        cue, decoy: share of the pictures whose highest point lies in the cue, in the decoy.
        energy: share of the positive mass inside the cue.
        null_cue, null_energy: the same for the null twin.
        strong: ``cue``, where the effect is more than half of the contrast of the picture; None without such pictures.
        blank: maps that show nothing.
        verdict: one of `VERDICTS`; None for a control.
        reason: what decided it.
    """

    title: str
    kind: str
    cue: Estimate
    decoy: Estimate
    energy: Estimate
    null_cue: Estimate
    null_energy: Estimate
    strong: Estimate | None
    blank: int
    verdict: str | None
    reason: str

    def __post_init__(self) -> None:
        if self.kind not in _KINDS or self.verdict not in (None, *VERDICTS):
            raise ValueError("a kind or a verdict is not known")
        if not all(0 <= share.value <= 1 for share in (self.cue, self.decoy, self.energy, self.null_cue)):
            raise ValueError("a share is out of its range")


@dataclass(frozen=True, slots=True)
class MarkCheck:
    """One mark in both roles. ``pixels``: its side. ``area``: the share of the picture that it covers."""

    mark: str
    pixels: int
    area: float
    pictures: int
    cues: tuple[Cue, ...]
    methods: Mapping[str, Scores]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """One selfcheck.json.

    Attributes:
        marks: the strong one first, which decides.
        randomised: mean rank correlation of each method's maps with those of a network whose head, and then whose
            stages from the top, were drawn anew, by what was drawn last.
        class_swap: mean rank correlation of each method's maps of the city with those of the runner-up; empty in
            ``binary``, where one is the negative of the other.
        verdicts: of each method of the run, on the strong mark.
        sentences: what is printed beside maps of each method.
        asked: the methods of the run, which decide the exit code.
        notes: what a reader must know.
        command: that made it.
    """

    schema: int = SCHEMA
    body: BodyKey
    pictures: Pictures
    seed: int
    seconds: float
    marks: tuple[MarkCheck, ...]
    randomised: Mapping[str, Mapping[str, float]]
    class_swap: Mapping[str, float]
    verdicts: Mapping[str, str]
    sentences: Mapping[str, str]
    asked: tuple[str, ...]
    notes: tuple[str, ...]
    command: str

    def __post_init__(self) -> None:
        if not self.marks or not set(self.verdicts.values()) <= set(VERDICTS):
            raise ValueError("it has no mark, or a verdict that is not known")
        names = set(self.verdicts)
        if not names == set(self.sentences) == set(self.randomised) or not names <= set(self.marks[0].methods):
            raise ValueError("its parts are of different methods")
        if len({tuple(steps) for steps in self.randomised.values()}) > 1 or not set(self.class_swap) <= names:
            raise ValueError("its methods were not checked alike")

    @property
    def any_finds(self) -> bool:
        """Whether a method of the run finds the strong mark."""
        return any(self.verdicts.get(name) == FINDS for name in self.asked)


def write_check(folder: Path, check: SelfCheck) -> Path:
    """Write selfcheck.json whole, and return its place."""
    path = folder / NAME
    write_json(path, to_dict(check))
    return path


def read_check(path: Path) -> SelfCheck:
    """Read a selfcheck.json.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is damaged, or of a newer version.
    """
    way = "remove it, and make it again with citycam selfcheck"
    try:
        content = read_json(path)
        schema = content["schema"]
        if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
            raise DamagedFile(path, f"a newer citycam wrote it (schema {schema})", "install that version")
        return fitted(content, SelfCheck)
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(str(path)) from error
    except (KeyError, TypeError) as error:
        raise DamagedFile(path, "it is no result of a selfcheck", way) from error
    except (OSError, ValueError, OverflowError) as error:
        raise DamagedFile(path, reason_of(error), way) from error


def known_checks(run_folders: Iterable[Path]) -> list[SelfCheck]:
    """Return every selfcheck.json that lies beside runs: below ``selfcheck`` in the folder of their sweep, and beside
    that folder. A damaged one is named on stderr and left out."""
    sweeps = dict.fromkeys(folder.absolute().parent for folder in run_folders)
    places = dict.fromkeys(place / FOLDER for sweep in sweeps for place in (sweep, sweep.parent))
    checks = []
    for path in (path for place in places for path in sorted(place.glob(f"*/{NAME}"))):
        try:
            checks.append(read_check(path))
        except (FileNotFoundError, DamagedFile) as error:
            say(f"note: {error}")
    return checks


def body_key(config: Config, weights: str | None, finetune: str) -> BodyKey:
    """Return the key of a run's body.

    Args:
        config: of the run.
        weights: digest of the weights that its body was loaded with.
        finetune: what trained, as it was resolved.
    """
    own = config_hash(config) if finetune != "none" else None
    return BodyKey(str(config.backbone.name), weights, config.image_size, own)


def key_of_record(record: RunRecord, image_size: int) -> BodyKey:
    """Return the key of the body of a finished run, whose pictures have ``image_size`` pixels."""
    own = record.config_hash if record.backbone.finetune != "none" else None
    return BodyKey(record.backbone.name, record.backbone.weights.digest, image_size, own)


def sentences_for(key: BodyKey, data_digest: str, checks: Sequence[SelfCheck]) -> dict[str, str]:
    """Return the sentence that is printed beside a run's maps, by method; methods that were not checked have none.

    Args:
        key: of the run's body.
        data_digest: of the run's pictures.
        checks: see `known_checks`; one of the run's own pictures goes before others.
    """
    sentences: dict[str, str] = {}
    fitting = [check for check in checks if check.body == key]
    for check in sorted(fitting, key=lambda check: check.pictures.digest != data_digest):
        same = check.pictures.digest == data_digest
        where = "On your pictures" if same else f"On other pictures ({Path(check.pictures.root).name})"
        for method, sentence in check.sentences.items():
            sentences.setdefault(method, f"{where} {sentence}")
    return sentences
