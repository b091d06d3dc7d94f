"""Where messages stand: positions in the message store, never the messages themselves.

A :class:`Mailbox` is one reader's direct messages, or the broadcasts that all readers share; so a broadcast costs the
same for ten readers as for ten thousand. What a reader has seen is one number, since `seq` only grows.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import merge

Position = tuple[int, int]  # (seq, offset of the line in the store)


class Mailbox:
    """Positions in the order of their `seq`, as two columns of 64-bit integers. Invariant: both strictly grow."""

    __slots__ = ("offsets", "seqs")

    def __init__(self, seqs: array[int] | None = None, offsets: array[int] | None = None) -> None:
        self.seqs = array("q") if seqs is None else seqs
        self.offsets = array("q") if offsets is None else offsets

    def add(self, seq: int, offset: int) -> None:
        """A new message, later than all others."""
        self.seqs.append(seq)
        self.offsets.append(offset)

    def count_after(self, seq: int) -> int:
        """How many are later than `seq`."""
        return len(self.seqs) - bisect_right(self.seqs, seq)

    def after(self, seq: int) -> Iterator[Position]:
        """Those later than `seq`, oldest first."""
        start = bisect_right(self.seqs, seq)
        return ((self.seqs[i], self.offsets[i]) for i in range(start, len(self.seqs)))

    def before(self, seq: int) -> Iterator[Position]:
        """Those earlier than `seq`, newest first."""
        end = bisect_left(self.seqs, seq)
        return ((self.seqs[i], self.offsets[i]) for i in range(end - 1, -1, -1))


def merged_after(first: Mailbox, second: Mailbox, seq: int) -> Iterator[Position]:
    """What both hold later than `seq`, oldest first."""
    return merge(first.after(seq), second.after(seq))


def merged_before(first: Mailbox, second: Mailbox, seq: int) -> Iterator[Position]:
    """What both hold earlier than `seq`, newest first."""
    return merge(first.before(seq), second.before(seq), reverse=True)
