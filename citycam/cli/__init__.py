"""The ``citycam`` command: a module for each subcommand, which imports what it needs when it runs."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from citycam.cli import bank, compare, doctor, explain, export, predict, selfcheck, study, train
from citycam.doors import door, leave

COMMANDS = (compare, predict, export, bank, doctor)
# They read NAME=VALUE and Hydra's flags on their own: argparse would refuse overrides on both sides of a flag.
DOORS = {"train": train.run, "explain": explain.run, "selfcheck": selfcheck.run, "study": study.run}


@door
def main() -> int:
    """Run the subcommand of the command line; returns the exit code."""
    if len(sys.argv) > 1 and sys.argv[1] in DOORS:
        return DOORS[sys.argv[1]](sys.argv[2:])
    parser = argparse.ArgumentParser(
        prog="citycam",
        description="Can a network tell my city from the others, and by what? Train models on pictures of cities, draw "
        "maps of what they look at, compare and use them. Each command has a --help of its own.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("train", help="train one run, or a sweep of runs")
    commands.add_parser("explain", help="draw maps of trained runs")
    commands.add_parser("selfcheck", help="see which maps find planted marks, and may be believed")
    commands.add_parser("study", help="find the elements by which a network tells each city")
    for command in COMMANDS:
        command.add(commands)
    given = parser.parse_args()
    code: int = given.run(given)
    return code


def start() -> NoReturn:
    """Run ``citycam`` and exit: the console script."""
    leave(main())
