"""The files of the message store, one behind the other: which there are, whether they can be trusted, which may go.

``message_rep.txt`` is the first. When a segment has grown to a certain size the next begins, and its name says where:
``message_rep.67108950.txt``. Offsets are logical: they go on from segment to segment as if it were one file, and do not
count the first lines of the later ones. A segment that is full is never written again, except to erase lines.

When old messages go (the floor), whole segments go; the first that is left holds the floor. Must not know what a line
says. Legal order: ``prove``, which changes nothing → ``cut``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from chatlib.storage.textfile import FORMAT, OLD_FORMAT, REMEDY, FileError, sync_folder

NAME = "message_rep.txt"
ABOUT = "a checksum of the rest, receiver (or all), and the event as it is sent"
HEADER = f"# {NAME} {FORMAT}: {ABOUT}\n".encode()  # of the first segment; offsets count it
OLD_HEADER = f"# {NAME} {OLD_FORMAT}: receiver (or all), and the event as it is sent\n".encode()
START = len(HEADER)  # the offset of the first line


class Segment(NamedTuple):
    """A file of the store. `base` is the offset of its first line, `head` how many bytes stand before that."""

    base: int
    path: Path
    head: int


def header(base: int) -> bytes:
    """The first line of the segment that begins at `base`."""
    return HEADER if base == START else f"# message_rep.{base}.txt {FORMAT}: {ABOUT}\n".encode()


def segment(first: Path, base: int) -> Segment:
    """The segment that begins at `base`; `first` is the path of the very first one."""
    path = first if base == START else first.with_name(f"message_rep.{base}.txt")
    return Segment(base, path, len(header(base)))


def listing(first: Path) -> list[Segment]:
    """The segments that are there, in order."""
    words = [path.name.split(".")[1] for path in first.parent.glob("message_rep.*.txt")]
    bases = sorted(int(word) for word in words if word.isdigit() and word == str(int(word)) and int(word) > START)
    return [segment(first, base) for base in ([START] if first.exists() else []) + bases]


def place(first: Path, offset: int) -> Segment:
    """The segment in which `offset` stands, or would."""
    return next((one for one in reversed(listing(first)) if one.base <= offset), segment(first, START))


def needed(first: Path, floor: int, length: int) -> list[Segment]:
    """Those of them that hold what stands from `floor` (0: from the beginning) to `length`."""
    there = [one for one in listing(first) if one.base < length or one.base == START]
    older = [one for one in there if one.base <= max(floor, START)]
    return there[len(older) - 1 :] if older else there


def prove(first: Path, floor: int, length: int, begins: bytes = HEADER) -> None:
    """Raises FileError when a segment is missing, too short, or of another format. Changes nothing.

    `begins` is the first line that ``message_rep.txt`` must have.
    """
    there = needed(first, floor, length)
    expected = segment(first, max(floor, START))
    if not there or there[0].base > expected.base:
        raise FileError(f"{expected.path} is missing: the server does not start without it. {REMEDY}")
    for one, following in zip(there, [*there[1:], None], strict=True):
        head = begins if one.base == START else header(one.base)
        with open(one.path, "rb") as file:
            held, size = file.read(len(head)), os.fstat(file.fileno()).st_size
        if held != head:
            raise FileError(f"{one.path}, line 1: a file of this format begins with {head.decode()!r}. {REMEDY}")
        wanted = (following.base if following else length) - one.base + one.head
        if size < wanted:
            raise FileError(
                f"{one.path}: {wanted} bytes are expected, {size} are there: messages are missing, of this file or of "
                f"one that followed. {REMEDY}"
            )
        if following and size > wanted:
            raise FileError(f"{one.path}: {wanted} bytes are expected, {size} are there. {REMEDY}")


def cut(first: Path, floor: int, length: int) -> list[Segment]:
    """What is left when everything behind `length` and before the segment of `floor` is gone. Raises OSError."""
    kept = needed(first, floor, length) or [segment(first, START)]
    stale = [one.path for one in listing(first) if one not in kept]
    for path in stale:
        path.unlink()
    if stale:  # before anything new is written: two files must never claim the same offsets
        sync_folder(first.parent)
    return kept
