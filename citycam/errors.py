"""The one exception a person is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CitycamError(Exception):
    """A person's mistake or a fault outside citycam, said in one sentence.

    The sentence names the thing, the place and the way out. Doors print it on stderr without a traceback and exit
    with ``exit_code``: 2 where the request is wrong (the default), 1 where something failed on the way.
    """

    def __init__(self, sentence: str, *, exit_code: int = 2) -> None:
        super().__init__(" ".join(sentence.split()))
        self.exit_code = exit_code


class UnreadablePicture(CitycamError):
    """A file with a picture's suffix that holds no picture we can decode; ``reason`` says why, without the path."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}; remove the file, or pass it over with data.on_bad=skip.")
        self.path = path
        self.reason = reason


def near_matches(word: str, known: Iterable[str]) -> str:
    """``"did you mean adam?"`` where something close is known, else ``"known are adam, sgd"``."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(names)}"
