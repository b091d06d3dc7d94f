"""Names and sizes of files: what a disk may be given, what a person reads and types. Pure functions on strings.

Must not know which files there are. Invariant of :func:`safe_name` and what is made from it: a plain name in one
folder, visible, of 1 to 255 bytes of UTF-8, whatever a sender chose.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from itertools import count

from chatlib.protocol.kinds import MAX_FILE_NAME
from chatlib.protocol.text import visible

_MAX_EXTENSION = 64  # bytes; what is longer is no extension
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)
_SPECIAL = re.compile(r"""([\s'"\\])""")
_UNITS = ("kB", "MB", "GB", "TB", "PB")


def safe_name(name: str) -> str:
    """A sender's file name as it may lie in a folder of the receiver's."""
    base = re.split(r"[/\\]", visible(name))[-1]
    base = re.sub(r"^[\s.]+|[\s.]+$", "", base) or "file"
    return fitted("_" + base if _DEVICE.match(base) else base)


def fitted(name: str, more: str = "") -> str:
    """`name` with `more` before its extension, the stem cut so that all has at most 255 bytes."""
    stem, extension = os.path.splitext(name)
    if len(extension.encode()) > _MAX_EXTENSION:
        stem, extension = name, ""
    room = MAX_FILE_NAME - len((more + extension).encode())
    if len(stem.encode()) > room:
        stem = stem.encode()[:room].decode(errors="ignore").rstrip()
    return stem + more + extension


def free_names(name: str) -> Iterator[str]:
    """`name`, then what may be taken instead: ``report (2).pdf``, ``report (3).pdf``, ..."""
    yield name
    for number in count(2):
        yield fitted(name, f" ({number})")


def part_name(name: str, sha256: str) -> str:
    """Where a download's bytes gather; whoever fetches the same again finds them by this name."""
    end = f".{sha256[:16]}.part"
    stem = name.encode()[: MAX_FILE_NAME - 1 - len(end)].decode(errors="ignore")
    return f".{stem}{end}"


def readable_size(size: object) -> str:
    """``1 byte``, ``999 bytes``, ``1.2 MB``."""
    if not isinstance(size, int | float) or size < 0:
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


# Words as they are typed.


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
