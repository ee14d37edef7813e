"""The towns, what is distinctive of each, and the names of all classes in a label map."""

from __future__ import annotations

ROOFS = ("stepped gable", "onion dome", "sawtooth roof", "battlements")
WINDOWS = ("round windows", "pointed windows", "shuttered windows")
SIGNS = ("disc sign", "banner", "striped awning")
FENCES = ("picket fence", "crossed fence", "hoop fence")
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

# Each town has one feature of its own and shares each of its other two with one other town, so that no single object
# always decides: the shared ones tie the eight towns into a ring.
TOWN_FEATURES: dict[str, tuple[str, str, str]] = {
    "aravelle": ("round windows", "stepped gable", "crossed fence"),
    "brindlewick": ("onion dome", "striped awning", "wave paving"),
    "corvessa": ("picket fence", "shuttered windows", "sawtooth roof"),
    "dunmarrow": ("battlements", "pointed windows", "disc sign"),
    "elstrava": ("banner", "stepped gable", "shuttered windows"),
    "galdermere": ("hoop fence", "wave paving", "pointed windows"),
    "hollowfen": ("checkered paving", "sawtooth roof", "striped awning"),
    "ivelstad": ("dotted paving", "disc sign", "crossed fence"),
}
TOWNS: tuple[str, ...] = tuple(TOWN_FEATURES)
DEFAULT_TARGET = "brindlewick"
# With the watermark planted, the second town of the pair builds like the first and differs from it in the mark alone.
WATERMARK_PAIR = ("aravelle", "brindlewick")


def features_of(town: str, watermark: bool) -> tuple[str, ...]:
    """Names of what is distinctive of ``town``; with ``watermark``, of the pair's first town for both of the pair."""
    return TOWN_FEATURES[WATERMARK_PAIR[0] if watermark and town in WATERMARK_PAIR else town]
