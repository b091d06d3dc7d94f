"""Where messages stand: positions in the message store, never the messages themselves.

A :class:`Mailbox` is one reader's direct messages; :class:`Broadcasts` are shared by all readers, so a broadcast costs
the same for ten readers as for ten thousand. What a reader has seen is one number, since `seq` only grows; which
broadcasts a block kept from a reader is when the block held.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge

Position = tuple[int, int]  # (seq, offset of the line in the store)
# By the name of a sender: the LSNs at which a block of that name began, ended, began, ... It hides what is later than a
# beginning and not later than the end that follows; a block that holds has no end yet.
Refused = Mapping[str, "array[int]"]
UNKNOWN = "?"  # who sent a broadcast that an earlier version has kept; no name
CHECKSUM = 8  # bytes that the message store puts before each line


class Mailbox:
    """Positions in the order of their `seq`, as two columns of 64-bit integers. Invariant: both strictly grow."""

    __slots__ = ("offsets", "seqs")

    def __init__(self, seqs: array[int] | None = None, offsets: array[int] | None = None) -> None:
        self.seqs = array("q") if seqs is None else seqs
        self.offsets = array("q") if offsets is None else offsets
        if len(self.seqs) != len(self.offsets):
            raise ValueError("as many offsets as seqs are expected")

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


NO_MAIL = Mailbox((), ())  # type: ignore[arg-type]  # of all who have none: nothing can be added to it


class Broadcasts(Mailbox):
    """A mailbox of everyone's, with the senders: for a reader, what was sent while a block of its sender held is not
    there (`refused`)."""

    __slots__ = ("_said", "senders")

    def __init__(self, seqs: array[int] | None = None, offsets: array[int] | None = None,
                 senders: Iterable[str] = ()) -> None:  # fmt: skip
        super().__init__(seqs, offsets)
        self.senders = list(senders)  # folded names
        if len(self.senders) != len(self.seqs):
            raise ValueError("as many senders as seqs are expected")
        self._said: dict[str, array[int]] = {}  # sender → seqs
        for sender, seq in zip(self.senders, self.seqs, strict=True):
            self._said.setdefault(sender, array("q")).append(seq)

    def add_from(self, sender: str, seq: int, offset: int) -> None:
        """A new broadcast, later than all others."""
        self.add(seq, offset)
        self.senders.append(sender)
        said = self._said.get(sender)
        if said is None:
            said = self._said[sender] = array("q")
        said.append(seq)

    def said(self, sender: str, after: int, upto: int) -> int:
        """How many `sender` has sent later than `after` and not later than `upto`."""
        seqs = self._said.get(sender)
        return max(0, bisect_right(seqs, upto) - bisect_right(seqs, after)) if seqs else 0

    def merged_after(self, mail: Mailbox, refused: Refused | None, seq: int) -> Iterator[Position]:
        """What a reader with `mail` was sent later than `seq`, oldest first."""
        if not refused:
            return merge(mail.after(seq), self.after(seq))
        places = range(bisect_right(self.seqs, seq), len(self.seqs))
        return merge(mail.after(seq), self._kept(refused, places))

    def merged_before(self, mail: Mailbox, refused: Refused | None, seq: int) -> Iterator[Position]:
        """What a reader with `mail` was sent earlier than `seq`, newest first."""
        if not refused:
            return merge(mail.before(seq), self.before(seq), reverse=True)
        places = range(bisect_left(self.seqs, seq) - 1, -1, -1)
        return merge(mail.before(seq), self._kept(refused, places), reverse=True)

    def _kept(self, refused: Refused, places: range) -> Iterator[Position]:
        return ((self.seqs[i], self.offsets[i]) for i in places if not self._hidden(refused, i))

    def _hidden(self, refused: Refused, place: int) -> bool:
        edges = refused.get(self.senders[place])
        return edges is not None and bool(bisect_left(edges, self.seqs[place]) & 1)

    def hidden_after(self, refused: Refused, seq: int) -> int:
        """How many later than `seq` are not there for a reader. Costs no more than there are of these, or of blocks."""
        start = bisect_right(self.seqs, seq)
        if len(self.seqs) - start <= len(refused):
            return sum(self._hidden(refused, place) for place in range(start, len(self.seqs)))
        return sum(self._hidden_of(sender, edges, seq) for sender, edges in refused.items())

    def _hidden_of(self, sender: str, edges: array[int], seq: int) -> int:
        count, last = 0, self.seqs[-1]
        for begun in range(bisect_right(edges, seq) & ~1, len(edges), 2):
            ended = edges[begun + 1] if begun + 1 < len(edges) else last
            count += self.said(sender, max(edges[begun], seq), ended)
        return count

    # When a block held, in as few numbers as say the same of every broadcast.

    def begin(self, refused: dict[str, array[int]], sender: str, lsn: int) -> None:
        """A block of `sender` begins."""
        edges = refused.setdefault(sender, array("q"))
        if edges and not self.said(sender, edges[-1], lsn):
            edges.pop()  # nothing was sent since the last one: it might as well not have ended
        else:
            edges.append(lsn)

    def end(self, refused: dict[str, array[int]], sender: str, lsn: int) -> None:
        """The block of `sender` that holds ends."""
        edges = refused[sender]
        if self.said(sender, edges[-1], lsn):
            edges.append(lsn)
            return
        edges.pop()  # nothing was sent meanwhile: it might as well not have begun
        if not edges:
            del refused[sender]

    def edges_of(self, skipped: Iterable[int]) -> array[int]:
        """As an earlier version has kept it: the seqs, in order, of what a block hid → the same of UNKNOWN's."""
        edges = array("q")
        for seq in skipped:
            if edges and self.said(UNKNOWN, edges[-1], seq) == 1:
                edges[-1] = seq
            else:
                edges.extend((seq - 1, seq))
        return edges
