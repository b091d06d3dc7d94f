"""What a name, a text and a shown line may hold. Pure functions on strings.

The server refuses control characters (:func:`forbidden`) and heaps of marks (:func:`heaped`); a client strips more
before it prints (:func:`printable`), since a terminal must never obey what another user wrote.

Three characters that cannot be seen are part of how some scripts and emoji are written: U+200C and U+200D, which part
and join their neighbours, and U+FE0F, which makes a sign an emoji. A text keeps them where they do that, a name never:

- they stand behind a character that can be seen, one at a time (but U+FE0F U+200D in emoji);
- U+FE0F stands behind a sign; behind a digit, ``#`` or ``*`` only before U+20E3 (a keycap);
- the others stand before a character that can be seen, too, and not between two of ASCII; behind a letter of a script
  without capitals, or a mark, also at a word's end, where Indic scripts and Persian need them.
"""

from __future__ import annotations

import re
from unicodedata import category

MAX_TEXT = 4_096
MAX_MEMO = 200  # what a payment or a cheque is for
MAX_MARKS = 16  # combining marks and joiners in a row
ADMIN = "admin"  # the administrator's name, which is no user's
RESERVED = frozenset({"system", "all", ADMIN, "register", "de-register", "quit"})

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,32}", re.ASCII)
_TITLE = re.compile(r"[A-Za-z0-9!@#$%.?,]{1,64}", re.ASCII)
# Control characters (Unicode category Cc) and lone surrogates, which no UTF-8 can carry.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Besides those, and without the joiners: zero-width characters, line and paragraph separators, bidi marks, overrides
# and isolates, the byte order mark and interlinear marks, tags.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_PARTS, _JOINS, _EMOJI = "\u200c\u200d\ufe0f"
_JOINERS = re.compile(f"[{_PARTS}{_JOINS}{_EMOJI}]")
_SIGNS = frozenset("0123456789#*\u203c\u2049\u2139\u3030\u303d")  # that U+FE0F may follow, besides symbols
_ODD = re.compile(r"[^\x00-\x7f\w]+")  # only in these are marks and joiners
_MANY_ODD = re.compile(rf"[^\x00-\x7f\w]{{{MAX_MARKS + 1},}}")
_LOOSE = re.compile(f"[{_PARTS}{_JOINS}]|(?<=[0-9#*]){_EMOJI}(?!\u20e3)")  # what depends on the next character


def is_name(name: str) -> bool:
    """Whether `name` is 1 to 32 of ``A-Z a-z 0-9 _ . -``. Reserved names are names; see RESERVED."""
    return _NAME.fullmatch(name) is not None


def is_title(title: str) -> bool:
    """Whether a thread may be called so: 1 to 64 of ``A-Z a-z 0-9 ! @ # $ % . ? ,``. ``all`` is reserved."""
    return _TITLE.fullmatch(title) is not None


def fold(name: str) -> str:
    """The form under which a name or a title is unique: by more than case (ASCII only, so lower() is enough)."""
    return name.lower()


def forbidden(text: str) -> bool:
    """Whether `text` holds a control character or a lone surrogate."""
    # Nearly every text is printable, and that is a fifth of the cost of the search.
    return not text.isprintable() and _FORBIDDEN.search(text) is not None


def heaped(text: str) -> bool:
    """Whether more than MAX_MARKS combining marks and joiners stand in a row."""
    some = text[MAX_MARKS :: MAX_MARKS + 1]  # of so many in a row, one is among these
    if some.isascii() or _ODD.search(some) is None or not any(map(_is_mark, some)):
        return False
    return any(_heaped(odd[0]) for odd in _MANY_ODD.finditer(text))


def _heaped(odd: str) -> bool:
    count = 0
    for char in odd:
        count = count + 1 if _is_mark(char) else 0
        if count > MAX_MARKS:
            return True
    return False


def _is_mark(char: str) -> bool:
    return char > "\u02ff" and (category(char)[0] == "M" or char in (_PARTS, _JOINS))


def printable(text: str) -> str:
    """`text` without anything that moves a cursor, changes direction, or hides: a text to be shown. Never raises."""
    return text if text.isascii() and text.isprintable() else _LOOSE.sub(_fitting, unfinished(text))


def unfinished(text: str) -> str:
    """As printable, of a text that is still being typed: what needs a character after it may yet get one."""
    if text.isascii() and text.isprintable():
        return text
    return _ODD.sub(_fitting_behind, _INVISIBLE.sub("", text))


def printable_lines(text: str) -> str:
    """As printable, of each line in a text of several."""
    return text if text.isascii() and text.isprintable() else "\n".join(map(printable, text.split("\n")))


def escaped(text: str) -> str:
    """`text`, perhaps of several lines, for a file that people may show in a terminal: nothing of it is lost.

    A line that is not printable has escapes in it, as in ``\\x1b``.
    """
    return "\n".join(
        line if printable(line) == line else line.encode("unicode_escape").decode() for line in text.split("\n")
    )


def visible(name: str) -> str:
    """As printable, and without joiners: what a name may hold, so that two names that differ look different."""
    return name if name.isascii() and name.isprintable() else unfinished(_JOINERS.sub("", name))


def _fitting_behind(odd: re.Match[str]) -> str:
    before = odd.string[odd.start() - 1] if odd.start() else " "
    kept, count = [], 0
    for char in odd[0]:
        if not _is_mark(char):
            count = 0
        elif count == MAX_MARKS or (_JOINERS.match(char) and not _may_follow(char, before)):
            continue
        else:
            count += 1
        kept.append(char)
        before = char
    return "".join(kept)


def _may_follow(joiner: str, before: str) -> bool:
    if before.isspace():
        return False
    if _JOINERS.match(before):
        return (before, joiner) == (_EMOJI, _JOINS)
    return joiner != _EMOJI or before in _SIGNS or (not before.isascii() and category(before) in ("So", "Sm"))


def _fitting(joiner: re.Match[str]) -> str:
    text, place = joiner.string, joiner.start()
    before, after = text[place - 1], text[place + 1 : place + 2]
    if joiner[0] == _EMOJI or (before == _EMOJI and text[place - 2].isascii()):
        return ""
    if not after or after.isspace():
        fits = category(before) in ("Lo", "Mn", "Mc") and before != _EMOJI
    else:
        fits = not (before.isascii() and after.isascii())
    return joiner[0] if fits else ""


def duration(seconds: float) -> str:
    """A time as people say it: ``30 minutes``, ``90 seconds``, ``1 hour``."""
    for length, noun in ((3_600, "hour"), (60, "minute")):
        if seconds >= length and seconds % length == 0:
            return counted(round(seconds / length), noun)
    return counted(float(f"{seconds:.1f}") if seconds % 1 else round(seconds), "second")


def counted(number: object, noun: str) -> str:
    """A number and what it counts: ``1 user``, ``2,000 users``."""
    shown = f"{number:,}" if isinstance(number, int) else number
    return f"{shown} {noun}" if number == 1 else f"{shown} {noun}s"
