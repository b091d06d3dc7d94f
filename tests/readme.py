"""Writes the generated parts of README.md, and para.txt, from the tables of the program; ``--check`` only compares.

A generated part stands between ``<!-- NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from chatlib.program.settings import TABLE  # noqa: E402
from chatlib.protocol.commands import Role, Row, typed_by, usage  # noqa: E402
from chatlib.storage.parameters import PARAMETERS, template  # noqa: E402


def commands(*roles: Role) -> str:
    """A table of what someone of these roles types."""
    return "\n".join(["| type | or | it does |", "| --- | --- | --- |", *map(_row, typed_by(*roles))])


def _row(command: Row) -> str:
    others = ", ".join(f"`{alias}`" for alias in command.aliases)
    typed = usage(command).replace("|", "\\|")  # else it would part two cells
    return f"| `{typed}` | {others} | {command.help} |"


def parameters() -> str:
    """A table of the parameters."""
    rows = [
        f"| {p.name} | {p.show(p.default)} | {p.help} ({p.allowed}) |" for p in PARAMETERS.values()
    ]
    return "\n".join(["| name | default | meaning (what is allowed) |", "| --- | --- | --- |", *rows])


def settings() -> str:
    """A table of a person's own settings."""
    rows = [f"| {s.name} | {s.default or ''} | {s.help} ({s.allowed}) |" for s in TABLE.values()]
    return "\n".join(["| name | at first | meaning (what is allowed) |", "| --- | --- | --- |", *rows])


# The chapters of README, and who reads them.
READERS = {
    "For everybody": "The first five minutes in a class",
    "For the administrator": "The administrator's console",
    "For programmers": "From scripts",
}


def contents(text: str) -> str:
    """Links to the sections of `text`, a line for each kind of reader."""
    rows: list[list[str]] = []
    for title in re.findall("^## (.*)$", text, re.MULTILINE):
        if title in READERS.values():
            rows.append([])
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        rows[-1].append(f"[{title}](#{anchor})")
    return "\n".join(f"* {who}: {', '.join(row)}." for who, row in zip(READERS, rows, strict=True))


PARTS: dict[str, Callable[[str], str]] = {
    "contents": contents,
    "commands": lambda _text: commands(Role.USER, Role.LOCAL),
    "console": lambda _text: commands(Role.ADMIN),
    "parameters": lambda _text: parameters(),
    "settings": lambda _text: settings(),
}


def fill(text: str) -> str:
    """`text` with every part anew."""
    for name, part in PARTS.items():
        opening, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, rest = text.split(opening)
        text = f"{before}{opening}{part(text)}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> int:
    """Exit status 1: something is not up to date, and --check was given."""
    stale = []
    wanted = {ROOT / "README.md": fill((ROOT / "README.md").read_text())}
    parameters_file = ROOT / "para.txt"  # the administrator's own values in it are nobody else's business
    named = {line.split()[0] for line in parameters_file.read_text().splitlines() if line and line[0] != "#"}
    if not named >= PARAMETERS.keys():
        wanted[parameters_file] = template()
    for path, text in wanted.items():
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.name)
        if "--check" not in sys.argv:
            path.write_text(text)
    if stale and "--check" in sys.argv:
        print(f"not up to date: {', '.join(stale)}; 'make readme' writes them anew")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
