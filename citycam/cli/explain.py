"""``citycam explain``, and explain.py: maps of trained models, of their own pictures or any others."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from citycam.doors import door


def run(arguments: Sequence[str]) -> int:
    """Pass the light gate and draw the maps; returns the exit code."""
    from citycam.inference.request import help_text, read_explain_request

    request = read_explain_request(arguments)
    if request is None:
        print(help_text())
        return 0
    from citycam.inference.explain import explain

    return explain(request)


@door
def main() -> int:
    """Draw maps by the command line of explain.py; returns the exit code."""
    return run(sys.argv[1:])
