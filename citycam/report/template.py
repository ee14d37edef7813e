"""Pages from templates: the files of `page_assets`, with marks that are filled once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources


def asset(name: str) -> str:
    """Return the text of a file of `page_assets`."""
    return resources.files("citycam.report").joinpath("page_assets", name).read_text(encoding="utf-8")


def filled(name: str, parts: Mapping[str, str]) -> str:
    """Return a template with its marks filled by ``parts``, in the order of the template.

    Each mark is filled once, so that a mark within a name or within data is not.
    """
    page, rest = "", asset(name)
    for mark, content in parts.items():
        before, _, rest = rest.partition(mark)
        page += before + content
    return page + rest
