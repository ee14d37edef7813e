"""``citycam bank``: list, verify and prune what is kept of frozen backbones."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

from citycam import progress, words
from citycam.errors import CitycamError

_UNITS = {"": 0, "B": 0, "KB": 1, "MB": 2, "GB": 3, "TB": 4}
_DAY = 24 * 3600


def add(commands: Any) -> None:
    """Add ``citycam bank`` with its actions to the command line."""
    bank = commands.add_parser(
        "bank",
        help="the kept features of frozen backbones",
        description="The feature bank: what frozen backbones saw in pictures, kept in the cache so that no picture "
        "passes a backbone twice. It lies below $CITYCAM_CACHE, else the platform's cache folder. What is "
        "removed is computed again when a run needs it.",
    )
    actions = bank.add_subparsers(required=True, metavar="ACTION")
    _action(actions, "list", _list, "what each store was made from, its size, age and last use")
    _action(
        actions,
        "verify",
        _verify,
        "read all of it and compare it with its checksums; damaged shards are removed (exit code 1 if there were any)",
    )
    prune = _action(
        actions, "prune", _prune, "remove stores by last use, oldest first, but never one that a running process uses"
    )
    prune.add_argument(
        "--older-than", type=_days, metavar="DAYS", help="remove stores that were last used more than DAYS days ago"
    )
    prune.add_argument(
        "--max-size", type=_bytes, metavar="SIZE", help="remove stores until at most SIZE is left, for example 20GB"
    )


def _action(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(run=run)
    return parser


def _list(_given: argparse.Namespace) -> int:
    from citycam.bank.stores import bank_root, list_stores

    stores = list_stores(bank_root())
    if not stores:
        print(f"The bank is empty ({bank_root()}).")
        return 0
    now = time.time()
    rows = [
        [
            store.folder.name[:8],
            *_made_from(store.key),
            f"{store.rows:,}",
            words.size(store.size),
            _ago(now - store.made),
            _ago(now - store.used),
            {True: "yes", False: "no", None: "?"}[store.busy],
        ]
        for store in stores
    ]
    header = ["store", "holds", "backbone", "weights", "pixels", "views", "precision", "rows", "size"]
    print("\n".join(words.text_table([[*header, "made", "last used", "in use"], *rows])))
    total = words.size(sum(store.size for store in stores))
    print(f"{total} in {words.counted(len(stores), 'store')} below {bank_root()}")
    return 0


def _verify(_given: argparse.Namespace) -> int:
    from citycam.bank.stores import bank_root, list_indices, verify

    count = len(list_indices(bank_root()))
    with progress.bar("verify", count, unit="shards") as advance:
        damaged = verify(bank_root(), advance)
    for name in damaged:
        print(f"removed, damaged: {name}")
    if damaged:
        print(f"{len(damaged)} of {words.counted(count, 'shard')} damaged; the next run that needs them computes them.")
        return 1
    print(f"No damage in {words.counted(count, 'shard')} ({bank_root()}).")
    return 0


def _prune(given: argparse.Namespace) -> int:
    from citycam.bank.stores import bank_root, list_stores, prune

    if given.older_than is None and given.max_size is None:
        raise CitycamError("citycam bank prune removes nothing unasked; give --older-than DAYS or --max-size SIZE.")
    before = None if given.older_than is None else time.time() - given.older_than * _DAY
    removed = prune(bank_root(), used_before=before, most=given.max_size)
    for store in removed:
        what = "removed" if store.rows else "left by dead writers, removed"
        print(f"{store.folder.name[:8]}: {what}, {words.size(store.size)}")
    left = list_stores(bank_root())
    size, busy = sum(store.size for store in left), sum(bool(store.busy) for store in left)
    freed = words.size(sum(store.size for store in removed))
    kept = f"{words.size(size)} left in {words.counted(len(left), 'store')} below {bank_root()}"
    print(f"{freed} freed; {kept}" + (f", {busy} of them in use" if busy else ""))
    return 0


def _made_from(key: dict[str, Any] | None) -> list[str]:
    """What a store holds, and backbone, weights, pixels, views and precision where its key names them."""
    if key is None:
        return ["not known: its key.json is damaged", *["-"] * 5]
    cut, view = key.get("cut"), key.get("view") or {}
    if not isinstance(cut, dict):
        holds = f"{cut}s"
    elif "noise" in cut:
        holds = "noisy copies"
    else:
        holds = "features" if cut.get("stride") is None else f"activations /{cut['stride']}"
    plain: tuple[Any, ...] = (0.0, [], 1.0, 0.0, 0.0)
    drawn = tuple(view.get(name) for name in ("flip", "rotations", "crop", "brightness", "contrast"))
    views = "-" if not view else "plain" if drawn == plain else f"augmented, seed {view.get('seed')}"
    size = view.get("image_size", key.get("image_size", "-"))
    return [
        holds,
        str(key.get("backbone", "-")),
        str(key.get("weights") or "-")[:8],
        str(size),
        views,
        str(key.get("precision", "-")),
    ]


def _ago(seconds: float) -> str:
    days = int(seconds // _DAY)
    return f"{days} days ago" if days > 1 else f"{words.duration(max(seconds, 0.0))} ago"


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of days, like 30")
    return days


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?B?)", text.strip().upper())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is no size, like 20GB or 500MB")
    unit = match[2] if match[2] in _UNITS else f"{match[2]}B"
    return int(float(match[1]) * 1024 ** _UNITS[unit])
