"""How wide text is in a terminal, and which characters belong together there. Pure functions on strings.

Must not know lines or cursors.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from functools import lru_cache

_NARROW = 72  # columns of a terminal below which help stands in one column,
_FEW = 26  # and below which little room is left beside its indent
JOINER = "\u200d"
_COMPOSING = re.compile(f"[{JOINER}\ufe0f\U0001f3fb-\U0001f3ff]")


@lru_cache(maxsize=8_192)
def _character_width(char: str) -> int:
    category = unicodedata.category(char)
    # Vowels and finals of conjoining Hangul are drawn into the cell of their leading consonant.
    if category in ("Mn", "Me", "Cc", "Cf", "Cs") or "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7ff":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def display_width(text: str) -> int:
    """How many cells of a terminal `text` takes."""
    return len(text) if text.isascii() and text.isprintable() else sum(map(_character_width, text))


def explained(usage: str, text: str, first: int, columns: int) -> list[tuple[str, str]]:
    """What is typed and what it does, as lines of two parts.

    They stand in two columns, the first of them `first` wide, or one below the other where there is no room for that.
    `columns` is how wide lines may be; 0: as wide as they are.
    """
    if 0 < columns < _NARROW:
        indent = 6 if columns >= _FEW else 2
        lines = textwrap.wrap(text, max(columns - indent, 1), break_long_words=False)
        return [(usage, ""), *(("", " " * indent + line) for line in lines)]
    line, *others = textwrap.wrap(text, max(columns - first, 1) if columns else len(text) + 1)
    return [(usage.ljust(first), line), *(("", " " * first + other) for other in others)]


def drawn(text: str) -> str:
    """`text` as it is drawn while it is typed: of joined or coloured emoji, the parts without their colour.

    Terminals disagree about how wide such an emoji is, and all of them have to agree where the cursor stands.
    What is drawn of a beginning of `text` is the beginning of what is drawn of it.
    """
    return text if text.isascii() else _COMPOSING.sub(_drawn, text)


def _drawn(char: re.Match[str]) -> str:
    before = char.string[char.start() - 1] if char.start() else " "
    if char[0] == JOINER:
        return char[0] if unicodedata.category(before)[0] in "LM" and before != "\ufe0f" else ""
    return "" if char[0] == "\ufe0f" or unicodedata.category(before) == "So" else char[0]


def joins(char: str) -> bool:
    """Whether a cursor never stands before `char`, because it belongs to the character before it."""
    return not char.isascii() and (
        _character_width(char) == 0 or unicodedata.category(char) == "Mc" or "\U0001f3fb" <= char <= "\U0001f3ff"
    )


def break_rows(text: str, columns: int) -> list[int]:
    """Where in `text` the rows begin, as a terminal breaks it: a wide character is never cut."""
    if text.isascii():
        return list(range(0, max(len(text), 1), columns))
    starts, used = [0], 0
    for index, char in enumerate(text):
        width = display_width(char)
        if used + width > columns:
            starts.append(index)
            used = 0
        used += width
    return starts


def clip(text: str, columns: int) -> str:
    starts = break_rows(text, columns)
    return text if len(starts) == 1 else text[: starts[1]]
