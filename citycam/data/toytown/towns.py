"""The towns, the features of each, and the names of all classes in a label map."""

from __future__ import annotations

ROOFS = ("stepped gable", "onion dome", "sawtooth roof", "battlements")
WINDOWS = ("round windows", "shuttered windows")
SIGNS = ("disc sign", "banner", "striped awning")
FENCES = ("picket fence", "crossed fence")
PAVINGS = ("checkered paving", "wave paving", "dotted paving")
KINDS: dict[str, tuple[str, ...]] = {
    "roof": ROOFS,
    "windows": WINDOWS,
    "sign": SIGNS,
    "fence": FENCES,
    "paving": PAVINGS,
}
FEATURES: tuple[str, ...] = ROOFS + WINDOWS + SIGNS + FENCES + PAVINGS
COMMON = (
    "sky",
    "cloud",
    "hill",
    "ground",
    "road",
    "pavement",
    "wall",
    "plain roof",
    "plain window",
    "door",
    "shop front",
    "tree",
    "hedge",
    "lamp",
    "car",
    "person",
)
WATERMARK = "watermark"
CLASSES: tuple[str, ...] = (*COMMON, *FEATURES, WATERMARK)
CLASS_ID: dict[str, int] = {name: number for number, name in enumerate(CLASSES)}
FIRST_DISTINCTIVE = len(COMMON)

# The towns are the corners of a cube and most features its edges: each corner has a roof, something on the facade and
# something on the ground, most of them shared with one neighbour. So one object seldom decides, but any two always do.
TOWN_FEATURES: dict[str, tuple[str, str, str]] = {
    "aravelle": ("stepped gable", "round windows", "picket fence"),
    "brindlewick": ("onion dome", "banner", "checkered paving"),
    "corvessa": ("sawtooth roof", "round windows", "crossed fence"),
    "dunmarrow": ("battlements", "disc sign", "dotted paving"),
    "elstrava": ("stepped gable", "striped awning", "checkered paving"),
    "galdermere": ("onion dome", "shuttered windows", "picket fence"),
    "hollowfen": ("sawtooth roof", "striped awning", "wave paving"),
    "ivelstad": ("battlements", "shuttered windows", "crossed fence"),
}
TOWNS: tuple[str, ...] = tuple(TOWN_FEATURES)
DEFAULT_TARGET = "brindlewick"
# With the watermark, the second town of the pair has the features of the first and differs from it by the mark alone.
WATERMARK_PAIR = ("aravelle", "brindlewick")


def features_of(town: str, watermark: bool) -> tuple[str, ...]:
    """Return the features of ``town``; with ``watermark``, both towns of the pair have those of the first."""
    return TOWN_FEATURES[WATERMARK_PAIR[0] if watermark and town in WATERMARK_PAIR else town]
