"""Names of files: what a disk may be given. Pure functions on strings.

Must not know which files there are. Invariant of :func:`safe_name` and what is made from it: a plain name in one
folder, visible, of 1 to 255 bytes of UTF-8, whatever a sender chose.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import count

from chatlib.protocol.kinds import MAX_FILE_NAME
from chatlib.protocol.text import visible

_MAX_EXTENSION = 64  # bytes; what is longer is no extension
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)


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
