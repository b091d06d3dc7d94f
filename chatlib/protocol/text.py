"""What a name, a text and a shown line may hold. Pure functions on strings.

The server refuses control characters (:func:`forbidden`); a client strips more before it prints
(:func:`printable`), since a terminal must never obey what another user wrote.
"""

from __future__ import annotations

import re

MAX_TEXT = 4_096
RESERVED = frozenset({"system", "all", "admin", "register", "de-register", "quit"})

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,32}", re.ASCII)
# Control characters (Unicode category Cc) and lone surrogates, which no UTF-8 can carry.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Besides those: zero-width characters, line and paragraph separators, bidi marks, overrides and isolates, the
# byte order mark and interlinear marks, tags. U+200D stays out too: joined emoji fall apart, but no name can be faked.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def is_name(name: str) -> bool:
    """Whether `name` is 1 to 32 of ``A-Z a-z 0-9 _ . -``. Reserved names are names; see RESERVED."""
    return _NAME.fullmatch(name) is not None


def fold(name: str) -> str:
    """The form under which a name is unique: names differ by more than case (ASCII only, so lower() is enough)."""
    return name.lower()


def forbidden(text: str) -> bool:
    """Whether `text` holds a control character or a lone surrogate."""
    # Nearly every text is printable, and that is a fifth of the cost of the search.
    return not text.isprintable() and _FORBIDDEN.search(text) is not None


def printable(text: str) -> str:
    """`text` without anything that moves a cursor, changes direction or cannot be seen. Never raises."""
    return text if text.isascii() and text.isprintable() else _INVISIBLE.sub("", text)


def counted(number: object, noun: str) -> str:
    """A number and what it counts: ``1 user``, ``2 users``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
