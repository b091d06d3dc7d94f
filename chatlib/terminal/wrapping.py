"""Text broken into rows at its blanks, by how wide it is in a terminal. Pure functions on strings.

Must not know styles or cursors. Between two wide characters (Chinese, Japanese, Korean) a row may end as well, but not
before what closes, nor behind what opens. What cannot be broken, a link above all, stays whole: where it is wider than
a row it begins at the left edge, and the terminal breaks it, so that it can still be clicked and copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from unicodedata import category, east_asian_width

from chatlib.terminal.width import JOINER, break_rows, display_width, joins

_LINK = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}://")  # up to the next blank
_PIECE = re.compile(r"[^ \u3000]+")
_WORD = re.compile(r"[^ ]+ ?| ")
_CLOSING, _OPENING = ("Pe", "Pf", "Po", "Lm"), ("Ps", "Pi")
_EMOJI = "\ufe0f"
_LEAST, _FALLBACK = 20, 2  # columns that are left for text beside a hanging indent; the indent where they are not


class TextRow(NamedTuple):
    """`start` to `end` of the text, behind `indent` blanks."""

    start: int
    end: int
    indent: int


def hanging(head: int, columns: int) -> int:
    """How far rows after the first are indented, where the text begins at column `head`."""
    return head if head <= min(columns // 2, columns - _LEAST) else min(_FALLBACK, columns // 4)


def wrapped(text: str, columns: int, hang: int) -> list[TextRow]:
    """The rows of `text`, all but the first indented by `hang`; blanks at their ends are left out."""
    if _width(text) <= columns:
        return [TextRow(0, len(text), 0)]
    rows: list[TextRow] = []
    start = end = indent = used = 0  # the row that is being filled: where it begins, ends, and how much it holds
    for begin, behind in (part for piece in _PIECE.finditer(text) for part in _parts(text, *piece.span())):
        gap, width = _width(text[end:begin]), _width(text[begin:behind])
        if used + gap + width <= columns:
            used += gap + width
        else:
            if end > start:
                rows.append(TextRow(start, end, indent))
            indent = hang if rows and hang + width <= columns else 0
            start, used = begin, indent + width
            if used > columns:  # the rest of it, in the last of its rows
                used = _width(text[begin + break_rows(text[begin:behind], columns)[-1] : behind])
        end = behind
    return [*rows, TextRow(start, end, indent)]


def word_rows(text: str, columns: int) -> list[int]:
    """Where the rows of `text` begin when no blank is left out: a line that is still typed, with a cursor in it."""
    if display_width(text) < columns:
        return [0]
    starts, used = [0], 0
    for begin, end in (part for word in _WORD.finditer(text) for part in _parts(text, *word.span())):
        width = display_width(text[begin:end])
        # A word has room where a blank behind it has, too.
        if used + display_width(text[begin:end].rstrip(" ")) >= columns and begin > starts[-1]:
            starts.append(begin)
            used = 0
        if width > columns:
            starts += [begin + index for index in break_rows(text[begin:end], columns)[1:]]
            width = display_width(text[starts[-1] : end])
        used += width
    return starts


def _width(text: str) -> int:
    """As wide as the terminal that takes most room for it: some draw a sign as an emoji of two cells."""
    return display_width(text) if text.isascii() else display_width(text) + text.count(_EMOJI)


def _parts(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """What no row ends in, of what stands between blanks: where each part begins and ends."""
    if not text[begin:end].isascii():
        link = _LINK.search(text, begin, end)
        for index in range(begin + 1, link.start() + 1 if link else end):
            if _may_end(text[index - 1], text[index]):
                yield begin, index
                begin = index
    yield begin, end


def _may_end(before: str, after: str) -> bool:
    """Whether a row may end between the two."""
    if before == JOINER or after == " " or joins(after) or (before.isascii() and after.isascii()):
        return False
    if category(after) in _CLOSING or category(before) in _OPENING:
        return False
    return east_asian_width(before) in "WF" or east_asian_width(after) in "WF"
