"""What is installed: versions, what citycam requires of them, and its optional extras. Imports none of them."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

# The extras that people choose from pyproject.toml; the others are for development.
EXTRAS = ("export", "frames", "heic")


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def unmet_requirements(extra: str = "") -> list[str]:
    """Return what citycam requires (for an extra, what that adds) and is not installed, or in another version.

    Raises:
        PackageNotFoundError: citycam itself is not installed.
    """
    unmet = []
    for requirement in map(Requirement, requires("citycam") or ()):
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        wanted = always if not extra else not always and marker is not None and marker.evaluate({"extra": extra})
        there = installed_version(requirement.name)
        if wanted and (there is None or not requirement.specifier.contains(there, prereleases=True)):
            unmet.append(f"{requirement.name}{requirement.specifier}")
    return unmet


def import_problem(name: str) -> str | None:
    """Import a module and return why that fails, or None."""
    try:
        importlib.import_module(name)
    except Exception as error:  # a library that lacks what it needs may raise anything
        return " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
    return None
