"""The ``citycam`` command: a module for each subcommand, which imports what it needs when it runs."""

from __future__ import annotations

import argparse

from citycam.cli import bank, compare, export, predict
from citycam.doors import door

COMMANDS = (bank, compare, predict, export)


@door
def main() -> int:
    """Run the subcommand of the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="citycam",
        description="Compare trained runs, use their models, and look after what citycam keeps. Training is started by "
        "python train.py, maps of trained runs by python explain.py (each with --help).",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    given = parser.parse_args()
    code: int = given.run(given)
    return code
