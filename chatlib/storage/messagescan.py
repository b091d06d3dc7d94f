"""Reads the message store from one end to the other, whatever is damaged in it. Changes nothing.

Must not know what an event says. Offsets are logical, as in :mod:`.messagefiles`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from chatlib.storage.messagefiles import START, Segment, header, needed
from chatlib.storage.textfile import is_whole

_AT_ONCE = 1 << 20


class StoredLine(NamedTuple):
    """A line, with its end, at its offset. `is_good`: it is whole, or was erased."""

    offset: int
    line: bytes
    is_good: bool


class Gap(NamedTuple):
    """From `offset` on, so many bytes are not there."""

    offset: int
    size: int


def scan(first: Path, floor: int, length: int) -> Iterator[StoredLine | Gap]:
    """What stands from the segment of `floor` up to `length`, in order. Raises OSError."""
    there, at = needed(first, floor, length), max(floor, START)
    for one, following in zip(there, [*there[1:], None], strict=False):
        if one.base > at:
            yield Gap(at, one.base - at)
        at, end = one.base, following.base if following else length
        for found in _segment(one, end):
            yield found
            at = found.offset + len(found.line)
        if at < end:
            yield Gap(at, end - at)
        at = end
    if at < length:
        yield Gap(at, length - at)


def begins_well(one: Segment) -> bool:
    """Whether a segment has the first line that it must have."""
    with open(one.path, "rb") as file:
        return file.read(one.head) == header(one.base)


def _segment(one: Segment, end: int) -> Iterator[StoredLine]:
    at, rest = one.base, b""
    with open(one.path, "rb") as file:
        file.seek(one.head)
        while at < end:
            piece = file.read(min(_AT_ONCE, end - at - len(rest)))
            data = rest + piece
            cut = data.rfind(b"\n") + 1 if piece else len(data)
            for line in data[:cut].splitlines(keepends=True) if b"\r" not in data[:cut] else _lines(data[:cut]):
                yield StoredLine(at, line, is_whole(line) or (line[-1] == 10 and not line.strip(b" \n")))
                at += len(line)
            rest = data[cut:]
            if not piece:
                return


def _lines(data: bytes) -> list[bytes]:
    """bytes.splitlines() breaks lines at a carriage return as well."""
    *lines, rest = data.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])
