"""What people type, as Hydra can read it: cities and folders have names that Hydra's grammar takes in quotes only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from citycam.errors import CitycamError
from citycam.files import at_home
from citycam.sweep.hydra_internals import in_quotes, parse_override
from citycam.sweep.keys import FOLDERS, is_group, is_setting, is_text, unknown

_LONGEST = 4000
_CLOSING = {")": "(", "]": "[", "}": "{"}
# What stands for several values, or for another.
_FUNCTION = re.compile(r"\s*(choice|range|interval|glob|shuffle|sort|tag)\s*\(")


def readable(word: str) -> str:
    """Return an override as Hydra reads it, its values in quotes where they must be; one that it reads stays as it is.

    A text, such as a city's name, also keeps its spelling where Hydra would make a number or a list of it. Commas that
    stand in no brackets divide values, as in every sweep.

    >>> readable("data.target=St. John's"), readable("data.target=Zürich,paris"), readable("sweep.name=2026_11")
    ("data.target='St. John\\\\'s'", "data.target='Zürich',paris", "sweep.name='2026_11'")

    Raises:
        CitycamError: it cannot be read; the sentence shows what to write.
    """
    key, equals, value = word.partition("=")
    name = key.lstrip("+~")
    _check_characters(name, word)
    if not equals:
        if key.startswith("~") and parse_override(word) is not None:
            return word
        raise CitycamError(f'{word} has no value; write NAME=VALUE, in quotes if it has spaces: "data.root=MY PHOTOS".')
    if parse_override(f"{key}=0") is None:
        if is_setting(name.strip()):
            raise CitycamError(f"{word} is not how a setting is written; write {name.strip()}=VALUE.")
        raise unknown(name)
    if not value.strip().strip("'\"").strip():
        raise CitycamError(
            f"{name}= has no value (a variable of the shell that is not set?); write {name}=VALUE, or leave it out."
        )
    if is_group(name) and "${" in value:
        raise CitycamError(f"{word} chooses an option by what is known only later; write {name}=NAME.")
    override, text = parse_override(word), is_text(name)
    if override is not None and not text:
        return word
    if _FUNCTION.match(value):
        if override is None:
            raise CitycamError(f"{word} cannot be read; write {name}=A,B,C, and with -m a run is trained with each.")
        return word
    if not text and value.lstrip()[0] in "[{":
        raise CitycamError(f"{word} is no list that can be read; write {name}=[A,B].")
    return f"{key}={','.join(_one(name, part, text=text) for part in _parts(name, value))}"


def value_of(overrides: Sequence[str], key: str) -> str | None:
    """Return the text of the last override of ``key``, without its quotes; None where there is none.

    >>> value_of(["+sweep.name='St. John\\\\'s'"], "sweep.name")
    "St. John's"
    """
    words = [word for word in overrides if word.partition("=")[0].lstrip("+") == key]
    if not words:
        return None
    override = parse_override(words[-1])
    value = override.value() if override is not None else None
    return value if isinstance(value, str) else words[-1].partition("=")[2]


def quoted(text: str) -> str:
    """Return the value by which Hydra gets exactly ``text``: bare if it has no special characters, else in quotes.

    >>> quoted("a/b"), quoted("a b"), quoted("${x}")
    ('a/b', "'a b'", "'\\\\${x}'")
    """
    bare = parse_override(f"x={text}") if re.fullmatch(r"[\w./-]+", text, flags=re.ASCII) else None
    if bare is not None and bare.value() == text:
        return text
    # Backslashes before it would escape each other.
    return in_quotes(re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + "\\${", text))


def _check_characters(name: str, word: str) -> None:
    """Refuse what no terminal can show: control characters, and bytes that are no text."""
    odd = next((letter for letter in word if unicodedata.category(letter) in ("Cc", "Cs")), None)
    if odd is not None:
        raise CitycamError(
            f"{ascii(name)[1:-1]} has the character {odd!a}, which is no text; rename the file or the folder."
        )


def _parts(name: str, value: str) -> list[str]:
    """The values that commas divide, but for commas in brackets or quotes.

    Raises:
        CitycamError: brackets or commas leave open what the values are.
    """
    parts, opened, start, quote, position = [], "", 0, "", -1
    while (position := position + 1) < len(value):
        letter = value[position]
        if letter == "\\":
            position += 1
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and not value[start:position].strip():
            quote = letter
        elif letter in _CLOSING.values():
            opened += letter
        elif opened and letter in _CLOSING:
            opened = opened[:-1] if opened[-1] == _CLOSING[letter] else opened
        elif letter == "," and not opened:
            parts.append(value[start:position])
            start = position + 1
    parts.append(value[start:])
    if "," in parts[-1] and (opened or quote):
        raise CitycamError(
            f"{name}={value} leaves open whether its commas divide values; if it is one, write {_typed(name, value)}."
        )
    given = [part for part in parts if part.strip()]
    if len(given) < len(parts):
        raise CitycamError(f"{name}={value} has a comma without a value; write {name}={','.join(given) or 'VALUE'}.")
    return parts


def _one(name: str, part: str, *, text: bool) -> str:
    """One value, in quotes where Hydra cannot read it, or where it is a text and would become something else."""
    value = part.strip()
    if len(value) > _LONGEST:
        raise CitycamError(f"{name}={value[:20]}… has {len(value):,} characters, and no value more than {_LONGEST:,}.")
    override = parse_override(f"{name}={part}")
    if override is not None:
        known = override.value()
        if not text or known is None or isinstance(known, str):
            return part
        if str(known) == value and not is_group(name):  # Hydra turns the number back into this text
            return part
    if len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]:
        raise CitycamError(f"{name}={value} has quotes within quotes; write {_typed(name, value[1:-1])}.")
    if name in FOLDERS:
        value = str(at_home(value))
    return in_quotes(value)


def as_one_value(override: Any) -> str:
    """Return a parsed sweep (Hydra's ``Override``) as the one value that its commas may belong to, for a shell."""
    values = [getattr(value, "text", value) for value in override.sweep_iterator()]
    return _typed(override.get_key_element(), ",".join(map(str, values)))


def _typed(name: str, value: str) -> str:
    quote = "'" if '"' in value or "$" in value else '"'
    inner = in_quotes(value) if "'" not in value else value
    return f"{quote}{name}={inner}{quote}"
