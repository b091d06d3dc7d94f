"""Streams: where messages stand in the message store, never the messages themselves.

A :class:`Stream` is two columns, the seqs of messages and the offsets of their lines. One is each user's direct
messages; a :class:`SharedStream` has many readers and costs the same for ten of them as for ten thousand.

Only the *tail* of a stream is in memory. When it has grown to TAIL, its oldest CHUNK positions become a *chunk*: one
line of the message store itself, ``<checksum> <stream> {"seqs":[...],"offsets":[...]}`` (a shared stream's has the
senders, too: ``"from"``). In memory a stream keeps of each chunk its first seq and the offset of its line. So ten
million messages cost some megabytes, and which lines the store holds follows from the commands alone.

Whoever reads passes the :class:`Chunks`, which knows the store. A chunk that the disk has lost costs its positions and
nothing else.

Invariants: seqs and offsets strictly grow; every chunk holds CHUNK positions, all older than the tail's; a stream
without a tail has no chunks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from sys import intern
from typing import Any, Protocol

from chatlib.core.refused import Refused, hides
from chatlib.protocol.framing import decode, dumps

Position = tuple[int, int]  # (seq, offset of the line in the store)
UNKNOWN = "?"  # who sent a broadcast that an earlier version has kept; no name
CHECKSUM = 8  # bytes that the message store puts before each line
CHUNK = 64  # positions in a chunk; homes are full of them, so it cannot be changed
TAIL = 128  # positions at which a tail gives a chunk away
COUNTED = 4_000  # unread messages of which it is counted how many a block hides: a login must not take long
CHUNKS_AT_ONCE = 16  # chunks that are looked through at once for what no block hides
MORE = 1 << 62  # in the place of an offset: what follows this seq was not looked at; ask again from there
_NONE: Sequence[int] = ()


class Chunk:
    """Neighbouring positions of one stream, as they were read from the store."""

    __slots__ = ("offsets", "senders", "seqs")

    def __init__(self, seqs: Sequence[int], offsets: Sequence[int], senders: Sequence[str]) -> None:
        self.seqs, self.offsets, self.senders = seqs, offsets, senders

    @classmethod
    def read(cls, event: bytes) -> Chunk:
        """From a line of the store, without its checksum and its stream. Raises ValueError."""
        columns: dict[str, Any] = decode(event)
        try:
            seqs, offsets = array("q", columns["seqs"]), array("q", columns["offsets"])
            senders = [intern(name) for name in columns.get("from", ())]
        except (KeyError, TypeError, OverflowError):
            raise ValueError("no chunk of positions stands there") from None
        if not len(seqs) == len(offsets) == CHUNK or (senders and len(senders) != CHUNK):
            raise ValueError(f"a chunk of {CHUNK} positions is expected there")
        return cls(seqs, offsets, senders)


@cache
def _form(count: int) -> bytes:
    """What so many seqs and offsets are put into, for JSON: every message pays for it, so no encoder is asked."""
    numbers = b",".join([b"%d"] * count)
    return b'"seqs":[%b],"offsets":[%b]' % (numbers, numbers)


LOST = Chunk(_NONE, _NONE, ())  # a chunk that cannot be read


class Chunks(Protocol):
    """The chunks at rest."""

    def chunk(self, offset: int) -> Chunk:
        """The chunk whose line stands there; LOST, and the administrator is told, when it cannot be read."""


class Stream:
    """Positions in the order of their `seq`, as columns of 64-bit integers: the tail's, and the chunks'."""

    __slots__ = ("firsts", "offsets", "places", "seqs")

    def __init__(self, seqs: Iterable[int] = (), offsets: Iterable[int] = (), firsts: Iterable[int] = (),
                 places: Iterable[int] = ()) -> None:  # fmt: skip
        self.seqs, self.offsets = array("q", seqs), array("q", offsets)
        # Of each chunk: its first seq, and where its line stands. Most streams have none.
        self.firsts: Sequence[int] = array("q", firsts) or _NONE
        self.places: Sequence[int] = array("q", places) or _NONE
        if len(self.seqs) != len(self.offsets) or len(self.firsts) != len(self.places):
            raise ValueError("as many offsets as seqs are expected")
        if self.firsts and not self.seqs:
            raise ValueError("a stream with chunks has a tail")

    @property
    def senders(self) -> Sequence[str]:
        """Who said each message of the tail; only a shared stream knows."""
        return ()

    def add(self, seq: int, offset: int) -> bool:
        """A new message, later than all others. Whether the tail is long now: then ``seal`` must follow."""
        self.seqs.append(seq)
        self.offsets.append(offset)
        return len(self.seqs) >= TAIL

    def seal(self, name: str, place: int) -> list[bytes]:
        """Takes the oldest positions out of the tail. Returns the chunks' lines, which must be stored from `place` on.

        There is one, or there are many when an earlier version has kept all positions in the tail.
        """
        if self.firsts is _NONE and len(self.seqs) >= TAIL:
            self.firsts, self.places = array("q"), array("q")
        lines, start = [], 0
        while len(self.seqs) - start >= TAIL:
            part = slice(start, start + CHUNK)
            columns = _form(CHUNK) % (*self.seqs[part], *self.offsets[part])
            senders = b',"from":%b' % dumps(self.senders[part]).encode() if self.senders else b""
            lines.append(b" %b {%b%b}\n" % (name.encode(), columns, senders))
            self.firsts.append(self.seqs[start])  # type: ignore[attr-defined]
            self.places.append(place)  # type: ignore[attr-defined]
            place += CHECKSUM + len(lines[-1])
            start += CHUNK
        self._cut(start)
        return lines

    def _cut(self, count: int) -> None:
        """The tail's first `count` positions go."""
        del self.seqs[:count], self.offsets[:count]

    def forget(self, floor: int) -> None:
        """What is earlier than seq `floor` is gone."""
        if self.firsts:
            gone = max(0, bisect_right(self.firsts, floor) - 1)  # of this one, something may be left
            if gone == len(self.firsts) - 1 and self.seqs[0] <= floor:
                gone += 1
            self.firsts = self.firsts[gone:] or _NONE
            self.places = self.places[gone:] or _NONE
        if self.seqs and self.seqs[0] < floor:
            self._cut(bisect_left(self.seqs, floor))

    # What only reads.

    def _later(self, seq: int, chunks: Chunks) -> Iterator[Stream | Chunk]:
        """The chunks that may hold something later than `seq`, and the tail, oldest first."""
        if self.firsts and seq < self.seqs[0]:
            for number in range(max(0, bisect_right(self.firsts, seq) - 1), len(self.firsts)):
                yield chunks.chunk(self.places[number])
        yield self

    def _earlier(self, seq: int, chunks: Chunks) -> Iterator[Stream | Chunk]:
        """The tail, and the chunks that may hold something earlier than `seq`, newest first."""
        yield self
        for number in range(bisect_left(self.firsts, seq) - 1, -1, -1):
            yield chunks.chunk(self.places[number])

    def count_after(self, seq: int, chunks: Chunks) -> int:
        """How many are later than `seq`."""
        seqs = self.seqs
        if not self.firsts or seq >= seqs[0]:
            return len(seqs) - bisect_right(seqs, seq)
        number = bisect_right(self.firsts, seq) - 1  # the only chunk that may hold some of both
        count = len(seqs) + CHUNK * (len(self.firsts) - 1 - number)
        if number >= 0:
            seqs = chunks.chunk(self.places[number]).seqs  # type: ignore[assignment]
            count += len(seqs) - bisect_right(seqs, seq)
        return count

    def after(self, seq: int, chunks: Chunks) -> Iterator[Position]:
        """Those later than `seq`, oldest first."""
        for part in self._later(seq, chunks):
            start = bisect_right(part.seqs, seq)
            yield from zip(part.seqs[start:], part.offsets[start:], strict=True)

    def before(self, seq: int, least: int, chunks: Chunks) -> Iterator[Position]:
        """Those earlier than `seq` and not earlier than `least`, newest first."""
        for part in self._earlier(seq, chunks):
            start, end = bisect_left(part.seqs, least), bisect_left(part.seqs, seq)
            yield from zip(part.seqs[start:end][::-1], part.offsets[start:end][::-1], strict=True)
            if start:
                return


NO_MAIL = Stream()  # of all who have none: nothing may be added to it
NO_MAIL.seqs = NO_MAIL.offsets = ()  # type: ignore[assignment]


class SharedStream(Stream):
    """A stream with senders: for a reader, what was said while a block of its sender held is not there (`refused`)."""

    __slots__ = ("_senders",)

    def __init__(self, seqs: Iterable[int] = (), offsets: Iterable[int] = (), firsts: Iterable[int] = (),
                 places: Iterable[int] = (), senders: Iterable[str] = ()) -> None:  # fmt: skip
        super().__init__(seqs, offsets, firsts, places)
        self._senders = list(senders)  # folded names
        if len(self._senders) != len(self.seqs):
            raise ValueError("as many senders as seqs are expected")

    @property
    def senders(self) -> Sequence[str]:
        """Who said each message of the tail."""
        return self._senders

    def add_from(self, sender: str, seq: int, offset: int) -> bool:
        """As ``add``."""
        self._senders.append(sender)
        return self.add(seq, offset)

    def _cut(self, count: int) -> None:
        super()._cut(count)
        del self._senders[:count]

    def kept_after(self, seq: int, refused: Refused | None, chunks: Chunks) -> Iterator[Position]:
        """Those later than `seq` that no block hid, oldest first; or the first of them, then MORE."""
        return self._kept_after(seq, refused, chunks) if refused else self.after(seq, chunks)

    def _kept_after(self, seq: int, refused: Refused, chunks: Chunks) -> Iterator[Position]:
        for number, part in enumerate(self._later(seq, chunks), 1):
            for place in range(bisect_right(part.seqs, seq), len(part.seqs)):
                if not hides(refused, part.senders[place], part.seqs[place]):
                    yield part.seqs[place], part.offsets[place]
            if number >= CHUNKS_AT_ONCE and part is not self and part.seqs:
                yield part.seqs[-1], MORE
                return

    def kept_before(self, seq: int, least: int, refused: Refused | None, chunks: Chunks) -> Iterator[Position]:
        """Those earlier than `seq` and not earlier than `least` that no block hid, newest first; or the first of them,
        then MORE."""
        return self._kept_before(seq, least, refused, chunks) if refused else self.before(seq, least, chunks)

    def _kept_before(self, seq: int, least: int, refused: Refused, chunks: Chunks) -> Iterator[Position]:
        for number, part in enumerate(self._earlier(seq, chunks)):
            start = bisect_left(part.seqs, least)
            for place in range(bisect_left(part.seqs, seq) - 1, start - 1, -1):
                if not hides(refused, part.senders[place], part.seqs[place]):
                    yield part.seqs[place], part.offsets[place]
            if start:
                return
            if number >= CHUNKS_AT_ONCE and part.seqs:
                yield part.seqs[0], MORE
                return

    def hidden_after(self, refused: Refused, seq: int, chunks: Chunks, most: int) -> int:
        """How many later than `seq` a block hid; of the latest `most`, or a few more."""
        count, looked_at = 0, 0
        for part in self._earlier(self.seqs[-1] + 1 if self.seqs else 0, chunks):
            start = bisect_right(part.seqs, seq)
            for sender in refused.keys() & part.senders[start:]:
                count += _hidden(refused[sender], sender, part.senders[start:], part.seqs[start:])
            looked_at += len(part.seqs) - start
            if start or looked_at >= most:
                break
        return count


def _hidden(edges: Sequence[int], sender: str, senders: Sequence[str], seqs: Sequence[int]) -> int:
    """How many of these, which others have said, too, a block of `sender` with these edges hid."""
    first, last = bisect_left(edges, seqs[0]), bisect_left(edges, seqs[-1])
    if first == last:  # nearly always: no block began or ended in between
        return senders.count(sender) if first & 1 else 0
    return sum(bisect_left(edges, seq) & 1 for seq, other in zip(seqs, senders, strict=True) if other == sender)
