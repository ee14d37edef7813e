"""The check as text: verdicts first, then the tables."""

from __future__ import annotations

from pathlib import Path

from citycam.report.verdicts import BLIND, CONTROL, FAULTY, FINDS, METHOD, WEAK, Estimate, MarkCheck, Scores, SelfCheck
from citycam.words import counted, decimal, duration, text_table

CUES = ("cue", "contrast", "effect", "effect of decoy", "effect in twin", "used")
SCORES = (
    "method",
    "verdict",
    "on the cue",
    "on the decoy",
    "energy",
    "where used most",
    "in twin",
    "energy in twin",
    "blank",
)
_ORDER = (METHOD, CONTROL, FAULTY)


def print_check(check: SelfCheck, folder: Path) -> None:
    """Print a check on stdout; ``folder``: where its files are."""
    print("\n".join(lines_of(check)))
    print(f"{_outcome(check)} ({duration(check.seconds)}): {folder}", flush=True)


def lines_of(check: SelfCheck) -> list[str]:
    """Return the lines of a check: verdicts, a table for each mark, what random weights do, and notes."""
    lines = [*verdict_lines(check), ""]
    for mark in check.marks:
        lines += [heading(mark, check), *text_table([CUES, *cue_rows(mark)]), ""]
        lines += [*text_table([SCORES, *score_rows(mark)]), ""]
    lines += ["Rank correlation of maps with those of a network whose weights were drawn anew, from the head down:"]
    lines += [*text_table(random_rows(check)), ""]
    return lines + [f"note: {note}" for note in check.notes]


def verdict_lines(check: SelfCheck) -> list[str]:
    """Return a sentence for each method of the check, in plain words."""
    strong = check.marks[0]
    return [f"{in_words(strong.methods[name])}" for name in check.verdicts]


def in_words(scores: Scores) -> str:
    """Return a verdict in plain words."""
    meaning = {
        FINDS: "its maps show what the network uses",
        WEAK: "do not rely on where its maps point",
        BLIND: "its maps do not show where the thing is that the network uses",
    }.get(str(scores.verdict), "nothing can be said of its maps")
    return f"{scores.title}: {scores.verdict}; {meaning} ({scores.reason})."


def heading(mark: MarkCheck, check: SelfCheck) -> str:
    """Return the title of a mark's tables."""
    pictures = check.pictures
    return (
        f"{mark.mark} of the side ({mark.pixels} px, {100 * mark.area:.1f} % of the picture), in {pictures.city}; "
        f"{counted(mark.pictures, 'held-out picture')}, intervals over {pictures.intervals_over}"
    )


def cue_rows(mark: MarkCheck) -> list[list[str]]:
    """Return a row for each cue: what is explained, and how much of it is lost without the mark."""
    return [
        [
            cue.colour,
            shown(cue.contrast),
            shown(cue.effect),
            shown(cue.decoy_effect),
            shown(cue.null_effect),
            "yes" if cue.used else "no",
        ]
        for cue in mark.cues
    ]


def score_rows(mark: MarkCheck) -> list[list[str]]:
    """Return a row for each method, control and faulty variant."""
    order = sorted(mark.methods.values(), key=lambda its: _ORDER.index(its.kind))
    return [
        [
            its.title,
            its.verdict or "knows no class",
            shown(its.cue),
            shown(its.decoy),
            shown(its.energy),
            "" if its.strong is None else shown(its.strong),
            decimal(its.null_cue.value, 2),
            decimal(its.null_energy.value, 3),
            str(its.blank),
        ]
        for its in order
    ]


def random_rows(check: SelfCheck) -> list[list[str]]:
    """Return the table of rank correlations, a column for each method."""
    names = list(check.randomised)
    steps = list(check.randomised[names[0]])
    rows = [["drawn anew", *(check.marks[0].methods[name].title for name in names)]]
    rows += [[step, *(decimal(check.randomised[name][step], 2) for name in names)] for step in steps]
    if check.class_swap:
        rows.append(["(map of the next class)", *(decimal(check.class_swap[name], 2) for name in names)])
    return rows


def shown(its: Estimate) -> str:
    """Return an estimate with its interval."""
    return f"{decimal(its.value, 2)} [{decimal(its.low, 2)}, {decimal(its.high, 2)}]"


def _outcome(check: SelfCheck) -> str:
    good = [check.marks[0].methods[name].title for name in check.verdicts if check.verdicts[name] == FINDS]
    if check.any_finds:
        return f"Planted marks are found by {', '.join(good)}"
    rest = f"; {', '.join(good)} would" if good else ""
    return f"No method of the run finds planted marks{rest}"
