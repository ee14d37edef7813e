"""Hydra's and OmegaConf's own errors, each in one sentence that says where it is and what to write instead."""

from __future__ import annotations

import dataclasses
import difflib
import re
from pathlib import Path

from citycam import config
from citycam.doors import called
from citycam.errors import near_matches
from citycam.sweep.compose import groups


def explain_hydra_error(error: Exception, config_dir: Path | None) -> str:
    """Return the sentence for an error of composing; ``config_dir``: the folder of the user's own options."""
    text = str(error)
    inside = re.match(r"In '([^']+)': (.*)", text, flags=re.DOTALL)
    option = _option_file(inside[1], config_dir) if inside else None
    if inside and option is not None:
        return f"{option}: {_explain_option(inside[2])}"
    group = re.search(r"Could not find '([\w/]+)/([^']+)'", text)
    if group:
        options = re.findall(r"^\t(\w[\w.-]*)$", text, flags=re.MULTILINE)
        place, word = group[1].lstrip("/"), group[2]
        return f"{place}={word} is not known; {near_matches(word, options) if options else _see('--help')}"
    cause = error.__cause__ if error.__cause__ is not None else error
    override = re.search(r"Error merging override (\S+)", text)
    if override:
        return f"{override[1]} cannot be: {_plain(str(cause))}"
    missing = re.search(r"Could not override '([^']+)'", text)
    if missing:
        return _explain_key(missing[1], str(cause))
    twice = re.search(r"Multiple values for (\w+)", text)
    if twice:
        return (
            f"{twice[1]} is chosen twice; among the defaults of an option of yours, write "
            f"'override /{twice[1]}: NAME' instead of '/{twice[1]}: NAME'."
        )
    key = re.search(r"full_key: (\S+)", text)
    if key and "Error merging" not in text:
        return f"{key[1]} cannot be: {_plain(text)}"
    return f"{_plain(text).rstrip('.')}; {_see('--help')}"


def _option_file(name: str, config_dir: Path | None) -> Path | None:
    """The file of an option, where it is the user's own; conf/ has no errors of its own."""
    path = None if config_dir is None else config_dir / f"{name}.yaml"
    return path if path is not None and path.is_file() else None


def _explain_option(text: str) -> str:
    """What is wrong in an option's file."""
    key = re.search(r"full_key: (\S+)", text)
    if key is None:
        missing = re.search(r"Could not override '/?([^']+)'", text)
        if missing:
            return f"{missing[1]} is no group of settings; {near_matches(missing[1], groups())}"
        return _plain(text)
    if re.search(r"Key '[^']*' not in", text):
        return _explain_key(key[1], text)
    return f"{key[1]} cannot be: {_plain(text.splitlines()[1])}"


def _explain_key(key: str, text: str) -> str:
    """A key that the dataclass lacks which OmegaConf names in ``text``."""
    named = re.search(r"object_type=(\w+)", text)
    schema = getattr(config, named[1], None) if named else None
    top, last = key.split(".")[0], key.split(".")[-1]
    if not dataclasses.is_dataclass(schema):
        return f"{key} is no setting of {top}; {_see('--cfg job')}"
    names = [field.name for field in dataclasses.fields(schema) if field.name != "kind"]
    options = config.SCHEMAS.get(top, {})
    having = [
        option for option, other in options.items() if last in {field.name for field in dataclasses.fields(other)}
    ]
    if having and schema not in options.values():  # an option that starts from none has what all of them have
        return f"{key} is no setting of every {top}; start from one that has it, by 'defaults: [{having[0]}, _self_]'."
    place = next((f"{top}={option}" for option, other in options.items() if other is schema), top)
    return f"{key} is no setting of {place if last != top else 'citycam'}; {near_matches(last, names)}"


def _see(flags: str) -> str:
    return f"see {called('train')} {flags}."


def _plain(text: str) -> str:
    text = next(iter(text.splitlines()), "it does not fit")
    text = re.sub(r"^While dereferencing interpolation '(.*?)': ", "", text)
    text = re.sub(r"^RecursionError raised .*", "its interpolation leads back to itself", text)
    text = re.sub(r"^\w+ raised while resolving interpolation: ", "", text)
    text = re.sub(r"^Error resolving interpolation '(.*?)'.*", r"'\1' names no value", text)
    text = re.sub(r"^Invalid value assigned: \w+ is not a ListConfig.*", "it is a list, written [A,B]", text)
    text = re.sub(r"^Value (.*) \(\w+\) is not a valid input for .*", r"\1 is none of its values", text)
    text = re.sub(r"Value '(.*)' of type '\w+' could not be converted to Integer", r"'\1' is no whole number", text)
    text = re.sub(r"Value '(.*)' of type '\w+' could not be converted to Float", r"'\1' is no number", text)
    text = re.sub(r"Value '(.*)' is not a valid bool.*", r"'\1' is neither true nor false", text)
    choice = re.search(r"Invalid value '(.*)', expected one of \[(.*)\]", text)
    if choice:
        close = difflib.get_close_matches(choice[1], choice[2].split(", "), n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"it is one of {choice[2]}{hint}."
    return text.rstrip(".") + "."
