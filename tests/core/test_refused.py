"""When blocks held: what they hide is what was said meanwhile, and what says the same is not kept."""

from __future__ import annotations

from array import array
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chatlib.core.refused import begin, edges_of, end, hides

SENDERS = ("ann", "bea", "cyd")
ACTS = st.lists(st.tuples(st.sampled_from(["said", "block"]), st.sampled_from(SENDERS)), max_size=60)


class Reader:
    """Who blocks and unblocks, and what that hides: kept message by message, and by when the blocks held."""

    def __init__(self) -> None:
        self.refused = dict[str, "array[int]"]()
        self.said: list[tuple[int, str]] = []
        self.last: dict[str, int] = {}
        self.blocked: set[str] = set()
        self.hidden: set[int] = set()
        self.lsn = 0

    def act(self, act: str, sender: str) -> None:
        self.lsn += 1
        if act == "said":
            self.said.append((self.lsn, sender))
            self.last[sender] = self.lsn
            if sender in self.blocked:
                self.hidden.add(self.lsn)
            return
        change = end if sender in self.blocked else begin
        change(self.refused, sender, self.lsn, self.last.get(sender, 0))
        self.blocked ^= {sender}


@given(ACTS)
def test_what_a_block_hides_is_what_was_said_while_it_held(acts: list[tuple[str, str]]) -> None:
    reader = Reader()
    for act in acts:
        reader.act(*act)
    assert {seq for seq, sender in reader.said if hides(reader.refused, sender, seq)} == reader.hidden
    for sender, edges in reader.refused.items():
        assert len(edges) % 2 == (sender in reader.blocked)
        assert all(one < other for one, other in pairwise(edges))


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
    assert len(reader.refused["ann"]) == 1, "nothing was said meanwhile: it is one block"


def test_a_block_is_as_large_however_much_it_hides() -> None:
    reader = Reader()
    reader.act("block", "ann")
    for _ in range(10_000):
        reader.act("said", "ann")
    assert reader.refused == {"ann": array("q", [1])}


@given(st.sets(st.integers(1, 40)), st.data())
def test_what_an_earlier_version_kept_says_the_same(said: set[int], data: st.DataObject) -> None:
    skipped = data.draw(st.sets(st.sampled_from(sorted(said)))) if said else set()
    refused = {"?": edges_of(sorted(said), sorted(skipped))}
    assert {seq for seq in said if hides(refused, "?", seq)} == skipped
