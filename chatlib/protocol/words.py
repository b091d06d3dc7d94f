"""Words as people type them, and sizes as people read them. Pure functions on strings.

Must not know commands, files or terminals. Invariant: what ``quoted`` writes, ``split_words`` and ``last_word`` read.
"""

from __future__ import annotations

import re
import shlex

_SPECIAL = re.compile(r"""([\s'"\\])""")
_UNITS = ("kB", "MB", "GB", "TB", "PB")
_LARGEST = 10**24  # more is no size of anything, and perhaps more than a float can hold


def readable_size(size: object) -> str:
    """``1 byte``, ``999 bytes``, ``1.2 MB``."""
    if not isinstance(size, int | float) or not 0 <= size <= _LARGEST:
        return "of unknown size"
    if round(size) < 1_000:
        return f"{round(size)} byte{'' if round(size) == 1 else 's'}"
    for unit in _UNITS:
        size /= 1_000
        if size < 99.95:
            return f"{size:.1f} {unit}"
        if size < 999.5:
            return f"{size:.0f} {unit}"
    return f"{size:.0f} {_UNITS[-1]}"


class BadQuotes(ValueError):
    """A quote is opened and not closed."""


def split_words(text: str) -> list[str]:
    """The words of a typed line; quotes and backslashes as in a shell. Raises BadQuotes."""
    try:
        return shlex.split(text)
    except ValueError:
        raise BadQuotes('A quote is not closed: put a \\ before it, or quote the whole path ("it\'s.pdf").') from None


def quoted(word: str) -> str:
    """`word` as it has to be typed."""
    return _SPECIAL.sub(r"\\\1", word)


def rest_quoted(name: str) -> str:
    """A file's name as it has to be typed where it takes the rest of the line: ``my photo.jpg`` needs no quotes."""
    return f'"{name}"' if name != name.strip() or name[:1] in "\"'" else name


def last_word(text: str) -> tuple[int, str, str]:
    """The word that is being typed at the end of `text`: where it begins, what it means, and its open quote or ""."""
    start, word, quote, escaped = len(text), "", "", False
    for index, char in enumerate(text):
        if not quote and not escaped and char.isspace():
            start, word = len(text), ""
            continue
        start = min(start, index)
        if escaped or (quote == "'" and char != "'"):
            word, escaped = word + char, False
        elif char == "\\":
            escaped = True
        elif char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
        else:
            word += char
    return start, word, quote
