"""Streams: positions in order, after and before, in memory and in chunks, equal to a plain list."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.core import streams
from chatlib.core.refused import hides
from chatlib.core.streams import LOST, MORE, NO_MAIL, Chunk, Position, SharedStream, Stream

SENDERS = ("ann", "bea", "cyd")


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Chunks of four positions: a short story has many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "CHUNK", 4)
        patch.setattr(streams, "TAIL", 8)
        patch.setattr(streams, "COUNTED", 20)
        patch.setattr(streams, "CHUNKS_AT_ONCE", 3)
        yield


class Disk:
    """The chunks of some streams, by their places; some may be lost."""

    def __init__(self) -> None:
        self.lines: dict[int, bytes] = {}
        self.lost: set[int] = set()
        self.reads = 0

    def chunk(self, offset: int) -> Chunk:
        self.reads += 1
        return LOST if offset in self.lost else Chunk.read(self.lines[offset].split(b" ", 2)[2][:-1])


class Shelf:
    """A shared stream with its disk, and beside it the plain list that it must equal."""

    def __init__(self) -> None:
        self.disk, self.stream = Disk(), SharedStream()
        self.plain: list[tuple[int, int, str]] = []
        self.seq = 0

    def add(self, sender: str, step: int = 1) -> None:
        self.seq += step
        self.plain.append((self.seq, self.seq * 100, sender))
        if self.stream.add_from(sender, self.seq, self.seq * 100):
            place = self.seq * 100 + 50
            [self.disk.lines[place]] = self.stream.seal("all", place)

    def forget(self, floor: int) -> None:
        self.stream.forget(floor)
        self.plain = [row for row in self.plain if row[0] >= floor]

    def restart(self) -> None:
        """Through columns of numbers, as they are kept."""
        old = self.stream
        self.stream = SharedStream(old.seqs, old.offsets, old.firsts, old.places, old.senders)

    def kept(self, ask: Callable[[int], Iterable[Position]], seq: int) -> list[Position]:
        """What is kept, asked for again where there is more to be looked at; no answer takes many reads."""
        reads, found = self.disk.reads, list(ask(seq))
        assert self.disk.reads - reads <= streams.CHUNKS_AT_ONCE or self.disk.lost
        if found and found[-1][1] == MORE:
            return found[:-1] + self.kept(ask, found[-1][0])
        return found

    def check(self, seq: int, least: int, refused: dict[str, array[int]]) -> None:
        """`least` is not below what was forgotten, as the world sees to."""
        later = [row for row in self.plain if row[0] > seq and row[0] >= least]
        seq = max(seq, least - 1)
        assert list(self.stream.after(seq, self.disk)) == [row[:2] for row in later]
        assert self.stream.count_after(seq, self.disk) == len(later)
        kept = [row[:2] for row in later if not hides(refused, row[2], row[0])]
        assert self.kept(lambda one: self.stream.kept_after(one, refused, self.disk), seq) == kept
        latest = [row for row in self.plain[-streams.COUNTED :] if row in later]
        hidden = sum(hides(refused, row[2], row[0]) for row in latest)
        counted = self.stream.hidden_after(refused, seq, self.disk, streams.COUNTED)
        assert hidden <= counted <= len(later) - len(kept)
        if len(later) <= streams.COUNTED:
            assert counted == len(later) - len(kept)
        earlier = [row for row in self.plain if least <= row[0] < seq][::-1]
        assert list(self.stream.before(seq, least, self.disk)) == [row[:2] for row in earlier]
        kept = [row[:2] for row in earlier if not hides(refused, row[2], row[0])]
        assert self.kept(lambda one: self.stream.kept_before(one, least, refused, self.disk), seq) == kept
        tail = self.stream.seqs
        assert len(tail) < streams.TAIL and (tail or not self.stream.firsts)


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(SENDERS), st.integers(1, 3)),
        st.tuples(st.just("more"), st.sampled_from(SENDERS), st.integers(1, 30)),
        st.tuples(st.just("forget"), st.just(""), st.integers(0, 120)),
        st.tuples(st.just("restart"), st.just(""), st.just(0)),
    ),
    max_size=40,
)
EDGES = st.dictionaries(
    st.sampled_from(SENDERS), st.sets(st.integers(0, 200), min_size=1).map(lambda one: array("q", sorted(one)))
)


@given(ACTS, st.integers(0, 200), EDGES)
def test_a_stream_equals_a_plain_list(
    acts: list[tuple[str, str, int]], seq: int, refused: dict[str, array[int]]
) -> None:
    shelf, floor = Shelf(), 0
    for act, sender, number in acts:
        if act == "add":
            shelf.add(sender, number)
        elif act == "more":
            for _ in range(number):
                shelf.add(sender)
        elif act == "forget":
            floor = max(floor, min(number, shelf.seq))
            shelf.forget(floor)
        else:
            shelf.restart()
        shelf.check(min(seq, shelf.seq + 1), floor, refused)


@given(ACTS, st.data())
def test_a_lost_chunk_costs_its_own_messages(acts: list[tuple[str, str, int]], data: st.DataObject) -> None:
    shelf = Shelf()
    for act, sender, number in acts:
        for _ in range(number if act in ("add", "more") else 0):
            shelf.add(sender)
    shelf.disk.lost = data.draw(st.sets(st.sampled_from(sorted(shelf.disk.lines)))) if shelf.disk.lines else set()
    gone = {seq for place in shelf.disk.lost for seq in json.loads(shelf.disk.lines[place].split(b" ", 2)[2])["seqs"]}
    kept = [row[:2] for row in shelf.plain if row[0] not in gone]
    assert list(shelf.stream.after(0, shelf.disk)) == kept
    assert list(shelf.stream.before(shelf.seq + 1, 0, shelf.disk)) == kept[::-1]
    assert shelf.kept(lambda seq: shelf.stream.kept_after(seq, {"bea": array("q", [0])}, shelf.disk), 0) == [
        row[:2] for row in shelf.plain if row[0] not in gone and row[2] != "bea"
    ]
    for seq in range(shelf.seq + 2):
        assert shelf.stream.count_after(seq, shelf.disk) <= len([row for row in shelf.plain if row[0] > seq])


def test_what_is_in_the_tail_is_not_looked_for_on_the_disk() -> None:
    shelf = Shelf()
    for _ in range(50):
        shelf.add("ann")
    stream, disk = shelf.stream, shelf.disk
    oldest = stream.seqs[0]
    assert stream.count_after(oldest, disk) == len(list(stream.after(oldest, disk))) == len(stream.seqs) - 1
    assert len(list(stream.before(99, oldest + 1, disk))) == len(stream.seqs) - 1
    assert stream.hidden_after({"ann": array("q", [0])}, oldest, disk, 20) == len(stream.seqs) - 1
    assert disk.reads == 0
    assert stream.count_after(10, disk) == 40 and disk.reads == 1, "one chunk holds what is on both sides"


def test_a_chunk_is_a_line_that_a_person_can_read() -> None:
    shelf = Shelf()
    for number in range(8):
        shelf.add(SENDERS[number % 2])
    assert list(shelf.disk.lines.values()) == [
        b' all {"seqs":[1,2,3,4],"offsets":[100,200,300,400],"from":["ann","bea","ann","bea"]}\n'
    ]
    mail = Stream(range(1, 9), range(10, 90, 10))
    assert mail.seal("Columbia", 99) == [b' Columbia {"seqs":[1,2,3,4],"offsets":[10,20,30,40]}\n']
    assert (list(mail.seqs), list(mail.firsts), list(mail.places)) == ([5, 6, 7, 8], [1], [99])


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"seqs":[1],"offsets":[2]}', b'{"seqs":[1,2,3,4],"offsets":[1,2,3]}',
             b'{"event":"message","seq":1}', b'{"seqs":[1,2,3,4],"offsets":[1,2,3,99999999999999999999]}'],
)  # fmt: skip
def test_what_is_no_chunk(line: bytes) -> None:
    with pytest.raises(ValueError, match="chunk|JSON"):
        Chunk.read(line)


@pytest.mark.parametrize("columns", [([1], []), ([1], [2], [3], []), ([], [], [3], [4])])
def test_columns_that_do_not_fit_together(columns: tuple[list[int], ...]) -> None:
    with pytest.raises(ValueError, match="expected|has a tail"):
        Stream(*columns)


def test_positions_beyond_32_bits() -> None:
    box = Stream()
    box.add(2**40, 2**41)
    assert list(box.after(2**40 - 1, Disk())) == [(2**40, 2**41)]
    assert list(box.before(2**40, 0, Disk())) == []


def test_nothing_comes_into_the_mail_of_all_who_have_none() -> None:
    disk = Disk()
    assert list(NO_MAIL.after(0, disk)) == list(NO_MAIL.before(9, 0, disk)) == [] and NO_MAIL.count_after(0, disk) == 0
    NO_MAIL.forget(5)
    with pytest.raises(AttributeError):
        NO_MAIL.add(1, 2)


def test_what_an_earlier_version_kept_becomes_chunks_at_once() -> None:
    shelf = Shelf()
    for number in range(99):
        shelf.add(SENDERS[number % 3])
    old = SharedStream(*zip(*((seq, at) for seq, at, _ in shelf.plain), strict=True),
                       senders=[sender for _, _, sender in shelf.plain])  # fmt: skip
    lines, disk, place = old.seal("all", 50_000), Disk(), 50_000
    for line in lines:
        disk.lines[place] = line
        place += streams.CHECKSUM + len(line)
    assert len(lines) == len(shelf.stream.firsts) == len(old.firsts)
    assert list(old.after(0, disk)) == [row[:2] for row in shelf.plain] and old.seqs == shelf.stream.seqs
    assert old.seal("all", 9) == []
