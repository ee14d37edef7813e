"""The one exception a person is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from citycam.words import printable


class CitycamError(Exception):
    """A person's mistake or a fault outside citycam, in one sentence.

    The sentence names the thing, the place and the way out. Doors print it on stderr without a traceback and exit
    with ``exit_code``: 2 where the request is wrong (the default), 1 where something failed on the way.
    """

    def __init__(self, sentence: str, *, exit_code: int = 2) -> None:
        super().__init__(printable(" ".join(sentence.split())))
        self.exit_code = exit_code


class UnreadablePicture(CitycamError):
    """A file with a picture's suffix that holds no picture we can decode; ``reason`` says why, without the path."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}; remove the file, or pass it over with data.on_bad=skip.")
        self.path = path
        self.reason = reason


class DamagedFile(CitycamError):
    """A file of a run, a sweep or the cache that is damaged, or that another program wrote; ``reason`` says why,
    without the path."""

    def __init__(self, path: object, reason: str, way: str = "put it back, or train the run again") -> None:
        super().__init__(f"{path} cannot be read: {reason}; {way}.")
        self.path = path
        self.reason = reason


def near_matches(word: str, known: Iterable[str]) -> str:
    """``"did you mean adam?"`` where something close is known, else ``"known are adam, sgd"``."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(names)}"


# More than any count can be; what computes with them takes 32 bits.
_MOST = 2**31 - 1


def check_known(setting: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a name that is not known, with near matches."""
    if value not in known:
        raise CitycamError(f"{setting}={value} is not known; {near_matches(value, known)}")


def check_at_least(setting: str, value: int, least: int) -> None:
    """Refuse a number below ``least``."""
    if value < least:
        raise CitycamError(f"{setting}={value} is too small; it must be at least {least}.")
    _check_at_most(setting, value)


def check_positive(setting: str, value: int | None) -> None:
    """Refuse a number below 1; None is not set."""
    if value is not None and value < 1:
        raise CitycamError(f"{setting}={value} must be a whole number of at least 1.")
    if value is not None:
        _check_at_most(setting, value)


def _check_at_most(setting: str, value: int, most: int = _MOST) -> None:
    if value > most:
        raise CitycamError(f"{setting}={str(value)[:20]}… is too large; it must be at most {most}.")


# The value of a setting that the machine or the data decides.
AUTO = "auto"


def check_auto(setting: str, value: int | str, *, most: int) -> None:
    """Refuse what is neither ``auto`` nor a whole number of at least 1 and at most ``most``."""
    if value == AUTO:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CitycamError(f"{setting}={value} must be auto or a whole number of at least 1.")
    _check_at_most(setting, value, most)


def check_within(setting: str, value: float, least: float, most: float) -> None:
    """Refuse a number outside ``least`` to ``most``."""
    if not least <= value <= most:
        raise CitycamError(f"{setting}={value} must lie between {least:g} and {most:g}.")
