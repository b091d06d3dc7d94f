"""The lines of a journal, as bytes. No I/O.

A record is ``LSN CRC json``. A mark begins with ``#`` and is no command:

* ``# durable D R CRC``: when it was written, everything up to LSN D was on disk for good, and LSNs up to R may have
  been given away (R is D unless FSYNC is ``second``). What is damaged behind D was never known to be on disk.
* ``# skip A B CRC``: there are no records with the LSNs from A to B. A start writes it to go on with a later LSN.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chatlib.storage.textfile import FORMAT

HEADER = f"# journal.txt {FORMAT}: LSN, CRC-32 of LSN and command, command; and marks of what was on disk\n".encode()
OLD_HEADER = b"# journal.txt 1: LSN, CRC-32 of LSN and command, command\n"
_MARK = re.compile(rb"# (durable|skip) (\d{1,19}) (\d{1,19}) ([0-9a-f]{8})\n")


class Mark(NamedTuple):
    """A mark that was read: what it says, and its two LSNs."""

    says: bytes
    first: int
    last: int


def pack(first: int, commands: Iterable[bytes]) -> list[bytes]:
    """The lines of records with LSNs from `first` on.

    A CRC starts from the LSN, so that a record in the wrong place is wrong.
    """
    crc32, lines = zlib.crc32, []
    for lsn, command in enumerate(commands, first):
        lines.append(b"%d %08x %b\n" % (lsn, crc32(command, lsn), command))
    return lines


def unpack(line: bytes) -> tuple[int, bytes] | None:
    """(LSN, command) of a line without its end, or None when it is no record."""
    parts = line.split(b" ", 2)
    if len(parts) != 3 or not parts[0].isdigit() or len(parts[1]) != 8:
        return None
    lsn = int(parts[0])
    return (lsn, parts[2]) if b"%08x" % zlib.crc32(parts[2], lsn & 0xFFFFFFFF) == parts[1] else None


def durable(upto: int, given: int) -> bytes:
    """The mark that everything up to LSN `upto` is on disk; LSNs up to `given` may have been given away."""
    return _mark(b"# durable %d %d" % (upto, max(upto, given)))


def skip(first: int, last: int) -> bytes:
    """The mark that there are no records with the LSNs from `first` to `last`."""
    return _mark(b"# skip %d %d" % (first, last))


def _mark(words: bytes) -> bytes:
    return b"%b %08x\n" % (words, zlib.crc32(words))


def read_mark(line: bytes) -> Mark | None:
    """The mark in a line with its end, or None when it is none."""
    found = _MARK.fullmatch(line)
    return _checked(found) if found else None


def marks_in(damaged: bytes) -> Iterator[Mark]:
    """The marks anywhere in damaged bytes. What users write cannot look like one: JSON has no bare line ends."""
    for found in _MARK.finditer(damaged):
        mark = _checked(found)
        if mark:
            yield mark


def _checked(found: re.Match[bytes]) -> Mark | None:
    words, _, crc = found[0][:-1].rpartition(b" ")
    return Mark(found[1], int(found[2]), int(found[3])) if b"%08x" % zlib.crc32(words) == crc else None
