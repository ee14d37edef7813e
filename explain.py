"""Maps of trained models, made again or of other pictures. See python explain.py --help."""

from __future__ import annotations

import sys

from citycam.doors import door, leave
from citycam.inference.request import HELP, read_asked


@door
def main() -> int:
    """The light gate, then the maps; returns the exit code."""
    asked = read_asked(sys.argv[1:])
    if asked is None:
        print(HELP)
        return 0
    from citycam.inference.explain import explain

    return explain(asked)


if __name__ == "__main__":
    leave(main())
