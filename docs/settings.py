"""Write docs/settings.md from the comments of conf/: python docs/settings.py"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_FEW = 3  # other values that a cell names
HEAD = """# Settings

Set a value with `name=value` on the command line. With `-m`, separate several values by commas; each combination is a
run. Choose an option of a group by its name (`optimizer=sgd`), and set a value of the option behind a dot
(`optimizer.lr=0.01`). A wrong name, type or range is refused before any work starts. `citycam train` of an installed
package takes the same settings as `python train.py`.

The column *default* shows the value of the group's default option, and behind it other options that have another one.
A setting that the default option lacks is shown with those that have it.

This page is written by `python docs/settings.py` from the comments in `conf/`.

## Options of your own

    citycam train --config-dir MINE experiment=walk

reads the option from `MINE/experiment/walk.yaml`, beside those of `conf/`. A file `GROUP/NAME.yaml` is an option of
that group. It starts from another option and sets some of its values, as `MINE/optimizer/slow.yaml` does here:

    defaults: [sgd, _self_]
    lr: 0.0001

An option of `experiment` sets any values, and chooses options of other groups:

    # @package _global_
    defaults:
      - override /optimizer: slow
    epochs: 20

The folder passes the same checks as the command line, and a sweep that is resumed remembers it. An option that has the
name of one of citycam's own is refused, and so is one that names code to run (`_target_`) or settings of Hydra: the
folder may come from somebody else.
"""


def page() -> str:
    """Return the text of the page."""
    top = (ROOT / "conf/config.yaml").read_text(encoding="utf-8").partition("\nhydra:")[0]
    default = dict(re.findall(r"^  - (\w+): (\w+)$", top, flags=re.MULTILINE))
    parts = [HEAD, "## At the top\n", _table({"": _rows(top)}, "")]
    for group in sorted(folder for folder in (ROOT / "conf").iterdir() if folder.is_dir()):
        parts.append(f"## {group.name}\n")
        options = sorted(group.glob("*.yaml"))
        texts = {path.stem: path.read_text(encoding="utf-8") for path in options}
        parts.append("\n".join(f"- `{group.name}={name}`: {_says(text)}" for name, text in texts.items()) + "\n")
        if group.name != "experiment":
            parts.append(_table({name: _rows(text, group.name) for name, text in texts.items()}, default[group.name]))
    return "\n".join(part for part in parts if part)


def _says(text: str) -> str:
    """Return the comment at the head of an option's file."""
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("#") and "@package" not in line]
    return " ".join(lines)


def _rows(text: str, group: str = "") -> dict[str, tuple[str, str]]:
    """Return the value of each setting of ``text``, and the comment beside it."""
    rows: dict[str, tuple[str, str]] = {}
    above = group
    for line in re.sub(r"^defaults:\n(?:[ #-].*\n|\n(?=  ))*", "", text, flags=re.MULTILINE).splitlines():
        setting = re.match(r"^(\s*)([a-z_0-9]+):\s*([^#]*?)\s*(?:#\s*(.*))?$", line)
        further = re.match(r"^\s{10,}#\s*(.*)$", line)
        if further and rows:
            last = next(reversed(rows))
            rows[last] = (rows[last][0], f"{rows[last][1]} {further[1]}")
        if not setting or setting[2] in ("kind", "defaults"):
            continue
        if not setting[3] and not setting[4]:
            above = setting[2]
            continue
        prefix = f"{above}." if above and (group or setting[1]) else ""
        rows[prefix + setting[2]] = (setting[3], setting[4] or "")
    return rows


def _table(options: dict[str, dict[str, tuple[str, str]]], default: str) -> str:
    """Return a row per setting of the options: its value in the default one and others, and the first comment on it."""
    order = sorted(options, key=lambda option: option != default)
    names = dict.fromkeys(name for option in order for name in options[option])
    lines = ["| setting | default | |", "|---|---|---|"]
    for name in names:
        if name == "augment.name":  # of the option, and nothing to set
            continue
        values = {option: options[option][name][0] for option in order if name in options[option]}
        says = next((options[option][name][1] for option in values if options[option][name][1]), "")
        lines.append(f"| `{name}` | {_default(values, default)} | {says.replace('|', 'or')} |")
    return "\n".join(lines) + "\n" if lines[2:] else ""


def _default(values: dict[str, str], default: str) -> str:
    """Return the cell of a setting's values by option, the default one first."""
    shown = values.get(default)
    others: dict[str, list[str]] = {}
    for option, value in values.items():
        if value != shown:
            others.setdefault(value, []).append(option)
    if shown is not None and len(others) > _FEW:
        return f"`{shown}`; each option has its own"
    cells = [f"`{value}` ({', '.join(named)})" for value, named in others.items()]
    return "; ".join(cells if shown is None else [f"`{shown}`", *cells])


if __name__ == "__main__":
    (ROOT / "docs/settings.md").write_text(page(), encoding="utf-8")
