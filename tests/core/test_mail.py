"""Mailboxes: positions in order, after and before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatlib.core.mail import Mailbox, merged_after, merged_before

SEQS = st.sets(st.integers(1, 60))


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
    first, second = filled(one), filled(other)
    later = positions({n for n in one | other if n > seq})
    earlier = positions({n for n in one | other if n < seq})
    assert list(merged_after(first, second, seq)) == later
    assert list(merged_before(first, second, seq)) == earlier[::-1]
    assert first.count_after(seq) + second.count_after(seq) == len(later)


def test_positions_beyond_32_bits() -> None:
    box = Mailbox()
    box.add(2**40, 2**41)
    assert list(box.after(2**40 - 1)) == [(2**40, 2**41)]
    assert list(box.before(2**40)) == []
