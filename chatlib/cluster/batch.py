"""A batch: what one node commits at once, as one message of the log. Pure: no I/O, no clock.

    1 NODE INCARNATION NUMBER CRC32 AT POSITION CHAIN
    {"action": …}
    …

The first line says the format, whose batch it is, which incarnation of that node and which of its batches, the CRC-32
of everything else in the message, the sender's wall clock, and what the sender had executed last: its position in the
log, and the chain up to there. Then each line is a command, as in a journal; there may be none.

A *chain* is the CRC-32 of all messages of the log up to a position, one behind the other. Two who have the same one at
the same position have read the same log. Must not know what a command means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

FORMAT = 1
LARGEST = 256 * 1024  # bytes of a batch of several commands; a single larger one has a batch of its own
HEADER = 160  # bytes that a header never exceeds
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")  # of a node

_NUMBER = rb"(0|[1-9][0-9]{0,18})"
_HEADER = re.compile(
    rb"(1 ([A-Za-z0-9_-]{1,32}) " + _NUMBER + rb" " + _NUMBER + rb" )([0-9a-f]{8}) "
    rb"([0-9]{1,12}\.[0-9]{3}) " + _NUMBER + rb" ([0-9a-f]{8})\n"
)


class Damaged(ValueError):
    """No batch, or one with other bytes than were sent."""


class BatchRead(NamedTuple):
    """A batch as it was read; `body` is all behind its first line."""

    node: str
    incarnation: int
    number: int
    at: float
    position: int
    chain: int
    body: bytes

    @property
    def records(self) -> list[bytes]:
        """Its commands."""
        return self.body.split(b"\n")[:-1]


def pack(
    node: str, incarnation: int, number: int, at: float, place: tuple[int, int], records: Sequence[bytes]
) -> bytes:
    """The message for these commands, each of which is JSON without a line end. `place`: position and chain."""
    before = f"{FORMAT} {node} {incarnation} {number} ".encode()
    position, chain = place
    behind = b"%.3f %d %08x\n" % (at, position, chain)
    if records:
        behind += b"\n".join(records) + b"\n"
    return b"%s%08x %s" % (before, crc32(behind, crc32(before)), behind)


def parse(message: bytes) -> BatchRead:
    """What was sent. Raises Damaged."""
    found = _HEADER.match(message)
    if found is None:
        raise Damaged("it does not begin as a batch")
    before, node, incarnation, number, crc, at, position, chain = found.groups()
    if int(crc, 16) != crc32(memoryview(message)[found.end(5) + 1 :], crc32(before)):
        raise Damaged("its CRC-32 is wrong")
    body = message[found.end() :]
    if body and body[-1] != 10:
        raise Damaged("its last line has no end")
    return BatchRead(node.decode(), int(incarnation), int(number), float(at), int(position), int(chain, 16), body)


def chained(message: bytes, chain: int) -> int:
    """The chain with one more message."""
    return crc32(message, chain)


class Chains:
    """The chains of the latest positions; of older ones nothing is known."""

    def __init__(self, kept: int = 4_096) -> None:
        self._kept = kept
        self._at: dict[int, int] = {}

    def add(self, position: int, chain: int) -> None:
        """That of the next position."""
        self._at[position] = chain
        self._at.pop(position - self._kept, None)

    def differs(self, position: int, chain: int) -> bool:
        """Whether it is known to be another one."""
        return self._at.get(position, chain) != chain

    def knows(self, position: int) -> bool:
        """Whether there is one to compare with."""
        return position in self._at

    def is_other(self, position: int, message: bytes) -> bool:
        """Whether another message is known to be at this position."""
        before = self._at.get(position - 1)
        return before is not None and self.differs(position, chained(message, before))
