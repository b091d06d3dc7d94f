"""Mailboxes and broadcasts: positions in order, after and before, without what a block hid from a reader."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.core.mail import NO_MAIL, UNKNOWN, Broadcasts, Mailbox

SEQS = st.sets(st.integers(1, 60))
SENDERS = ("ann", "bea", "cyd")


def filled(seqs: set[int]) -> Mailbox:
    box = Mailbox()
    for seq in sorted(seqs):
        box.add(seq, seq * 100)
    return box


def positions(seqs: set[int]) -> list[tuple[int, int]]:
    return [(seq, seq * 100) for seq in sorted(seqs)]


@given(SEQS, SEQS, st.integers(0, 61))
def test_after_and_before(one: set[int], other: set[int], seq: int) -> None:
    other -= one
    mail, broadcasts = filled(one), Broadcasts()
    for number in sorted(other):
        broadcasts.add_from("ann", number, number * 100)
    later = positions({n for n in one | other if n > seq})
    earlier = positions({n for n in one | other if n < seq})
    assert list(broadcasts.merged_after(mail, None, seq)) == later
    assert list(broadcasts.merged_before(mail, None, seq)) == earlier[::-1]
    assert mail.count_after(seq) + broadcasts.count_after(seq) == len(later)


def test_positions_beyond_32_bits() -> None:
    box = Mailbox()
    box.add(2**40, 2**41)
    assert list(box.after(2**40 - 1)) == [(2**40, 2**41)]
    assert list(box.before(2**40)) == []


def test_nothing_comes_into_the_mailbox_of_all_who_have_none() -> None:
    assert list(NO_MAIL.after(0)) == list(NO_MAIL.before(9)) == [] and NO_MAIL.count_after(0) == 0
    with pytest.raises(AttributeError):
        NO_MAIL.add(1, 2)


# What a block hides.

ACTS = st.lists(st.tuples(st.sampled_from(["said", "block"]), st.sampled_from(SENDERS)), max_size=60)


class Reader:
    """Who blocks and unblocks, and what that hides: kept message by message, and by when the blocks held."""

    def __init__(self) -> None:
        self.broadcasts, self.refused = Broadcasts(), dict[str, "array[int]"]()
        self.blocked: set[str] = set()
        self.skipped: set[int] = set()
        self.lsn = 0

    def act(self, act: str, sender: str) -> None:
        self.lsn += 1
        if act == "said":
            self.broadcasts.add_from(sender, self.lsn, self.lsn * 100)
            if sender in self.blocked:
                self.skipped.add(self.lsn)
            return
        change = self.broadcasts.end if sender in self.blocked else self.broadcasts.begin
        change(self.refused, sender, self.lsn)
        self.blocked ^= {sender}

    def check(self) -> None:
        said, mail = set(self.broadcasts.seqs), filled(set())
        for seq in range(self.lsn + 2):
            kept = said - self.skipped
            later = positions({n for n in kept if n > seq})
            assert list(self.broadcasts.merged_after(mail, self.refused, seq)) == later
            earlier = positions({n for n in kept if n < seq})
            assert list(self.broadcasts.merged_before(mail, self.refused, seq)) == earlier[::-1]
            hidden = sum(n > seq for n in self.skipped)
            assert self.broadcasts.hidden_after(self.refused, seq) == hidden
            everybody = {**self.refused, **{f"nobody{n}": array("q", [1, 2]) for n in range(self.lsn)}}
            assert self.broadcasts.hidden_after(everybody, seq) == hidden, "message by message"
        for sender, edges in self.refused.items():
            assert len(edges) % 2 == (sender in self.blocked)
            assert all(one < other for one, other in pairwise(edges))


@given(ACTS)
def test_what_a_block_hides_is_what_was_sent_while_it_held(acts: list[tuple[str, str]]) -> None:
    reader = Reader()
    for act in acts:
        reader.act(*act)
    reader.check()


def test_to_block_and_unblock_without_end_keeps_nothing() -> None:
    reader = Reader()
    reader.act("said", "ann")
    for _ in range(1_000):
        reader.act("block", "ann")
        assert len(reader.refused["ann"]) == 1
        reader.act("block", "ann")
        assert not reader.refused
    reader.act("block", "ann")
    reader.act("said", "ann")
    for _ in range(1_000):
        reader.act("block", "ann")
        reader.act("block", "ann")
    assert len(reader.refused["ann"]) == 1, "nothing was sent meanwhile: it is one block"


def test_a_block_is_as_large_however_much_it_hides() -> None:
    reader = Reader()
    reader.act("block", "ann")
    for _ in range(10_000):
        reader.act("said", "ann")
    assert reader.refused == {"ann": array("q", [1])}
    assert reader.broadcasts.hidden_after(reader.refused, 5_000) == 5_001


@given(st.sets(st.integers(1, 40)), st.data())
def test_what_an_earlier_version_kept_says_the_same(said: set[int], data: st.DataObject) -> None:
    skipped = data.draw(st.sets(st.sampled_from(sorted(said)))) if said else set()
    column = array("q", sorted(said))
    broadcasts = Broadcasts(column, array("q", (seq * 100 for seq in column)), [UNKNOWN] * len(said))
    broadcasts.add_from("ann", 50, 5_000)
    refused = {UNKNOWN: broadcasts.edges_of(sorted(skipped))}
    for seq in range(42):
        kept = {n for n in said - skipped if n > seq} | {50}
        assert list(broadcasts.merged_after(NO_MAIL, refused, seq)) == positions(kept)
        assert broadcasts.hidden_after(refused, seq) == sum(n > seq for n in skipped)
