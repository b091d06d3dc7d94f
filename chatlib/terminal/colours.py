"""A colour of its own for each name, the same everywhere and for ever. Pure functions.

Must not know who is called so. Invariant: all colours are readable on dark and on light ground. Of the 256 that most
terminals have, those stand far enough from black and from white (a contrast of 4 or more); of the first eight, whose
shades are the terminal's, those are left out that are hardly seen on one or the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from zlib import crc32

from chatlib.protocol.text import fold

NAME = "name"  # the style
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
MANY = tuple(f"38;5;{number}" for number in (28, 29, 31, 63, 64, 98, 129, 130, 131, 132, 162, 164))
FEW = ("31", "32", "35", "36")


def colours(environ: Mapping[str, str]) -> int:
    """How many colours to use in this terminal: 0, 8 or 256."""
    term = environ.get("TERM", "")
    if environ.get("NO_COLOR") or term in ("", "dumb"):
        return 0
    return 256 if "256" in term or "direct" in term or environ.get("COLORTERM") in ("truecolor", "24bit") else 8


def name_colour(text: str, count: int) -> str:
    """The code of the colour of the name in `text`, where there are `count` colours: ``ann:`` has that of ``ann``."""
    found = _NAME.search(text)
    among = MANY if count >= 256 else FEW
    return among[crc32(fold(found[0] if found else text).encode()) % len(among)]
