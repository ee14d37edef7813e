"""Write docs/settings.md from the comments of conf/: python docs/settings.py"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Settings

Set a value with `name=value` on the command line. With `-m`, separate several values by commas; each combination is a
run. Choose an option of a group by its name (`optimizer=sgd`), and set a value of the option behind a dot
(`optimizer.lr=0.01`). A wrong name, type or range is refused before any work starts. `citycam train` of an installed
package takes the same settings as `python train.py`.

The column *default* shows the value of the group's default option.

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
    parts = [HEAD, "## At the top\n", _table(top)]
    for group in sorted(folder for folder in (ROOT / "conf").iterdir() if folder.is_dir()):
        parts.append(f"## {group.name}\n")
        options = sorted(group.glob("*.yaml"))
        texts = {path.stem: path.read_text(encoding="utf-8") for path in options}
        parts.append("\n".join(f"- `{group.name}={name}`: {_says(text)}" for name, text in texts.items()) + "\n")
        if group.name != "experiment":
            names = sorted(texts, key=lambda name: name != default[group.name])
            parts.append(_table(*(texts[name] for name in names), group=group.name))
    return "\n".join(part for part in parts if part)


def _says(text: str) -> str:
    """Return the comment at the head of an option's file."""
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("#") and "@package" not in line]
    return " ".join(lines)


def _table(*texts: str, group: str = "") -> str:
    """Return a row per setting of ``texts``: its first value, and the first comment beside it."""
    rows: dict[str, tuple[str, str]] = {}
    for text in texts:
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
            name = prefix + setting[2]
            if name not in rows or (setting[4] and not rows[name][1]):
                rows[name] = (rows[name][0] if name in rows else setting[3], setting[4] or "")
    if not rows:
        return ""
    lines = ["| setting | default | |", "|---|---|---|"]
    lines += [f"| `{name}` | `{value}` | {says.replace('|', 'or')} |" for name, (value, says) in rows.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs/settings.md").write_text(page(), encoding="utf-8")
