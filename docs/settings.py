"""Write docs/settings.md from the comments of conf/: python docs/settings.py"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Settings

Every setting is `name=value` on the command line; with `-m`, several values are divided by commas and each combination
is a run. A group takes the name of one of its options (`optimizer=sgd`), and its own settings follow a dot
(`optimizer.lr=0.01`). A wrong name, type or range is refused before any work starts.

This page is written by `python docs/settings.py` from the comments in `conf/`.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## At the top\n", _table((ROOT / "conf/config.yaml").read_text().partition("\nhydra:")[0])]
    for group in sorted(folder for folder in (ROOT / "conf").iterdir() if folder.is_dir()):
        parts.append(f"## {group.name}\n")
        options = sorted(group.glob("*.yaml"))
        parts.append("\n".join(f"- `{group.name}={path.stem}`: {_says(path.read_text())}" for path in options) + "\n")
        if group.name != "experiment":
            parts.append(_table(*(path.read_text() for path in options), group=group.name))
    return "\n".join(part for part in parts if part)


def _says(text: str) -> str:
    """The comment at the head of an option's file."""
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("#") and "@package" not in line]
    return " ".join(lines)


def _table(*texts: str, group: str = "") -> str:
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
    lines = ["| setting | value | |", "|---|---|---|"]
    lines += [f"| `{name}` | `{value}` | {says.replace('|', 'or')} |" for name, (value, says) in rows.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs/settings.md").write_text(page(), encoding="utf-8")
