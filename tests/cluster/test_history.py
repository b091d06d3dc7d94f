"""Histories that are made up: each violation is found, and what is right is not complained of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chance import new_chance
from tests.cluster import history
from tests.cluster.history import Said

# ann and bob take turns; cid's overlaps with both, and may stand anywhere between 1 and 4
GOOD = [
    Said("a1", "ann", "bob", 1.0, 1.5, 1),
    Said("b1", "bob", "ann", 2.0, 2.5, 3),
    Said("c1", "cid", "bob", 1.2, 3.0, 2),
    Said("a2", "ann", "cid", 3.5, 4.0, 4),
    Said("b2", "bob", "cid", 4.5),  # never answered: it may be there or not
]
LINES = [(1, "a1"), (2, "c1"), (3, "b1"), (4, "a2")]
STORED = {"s1": LINES, "s2": [*LINES, (5, "b2")]}


def but(key: str, **changes: object) -> list[Said]:
    return [replace(one, **changes) if one.key == key else one for one in GOOD]  # type: ignore[arg-type]


def test_what_is_right_is_right() -> None:
    assert history.order(GOOD) == []
    assert history.once(GOOD, STORED) == []
    assert history.order(but("c1", seq=0)) == [] == history.order(but("a1", answered=2.1, seq=3.5)), "they overlap"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (but("a2", seq=2.5), "a2 has seq 2.5, but was asked 1000.0 ms after b1 was acknowledged, with seq 3"),
        (but("b1", seq=0), "b1 has seq 0, but was asked 500.0 ms after a1 was acknowledged, with seq 1"),
        (but("c1", seq=3), "seq 3 was given to b1, c1"),
    ],
)
def test_a_seq_against_real_time_is_found(said: list[Said], words: str) -> None:
    found = history.order(said)
    assert found == [words]


def test_any_two_that_change_places_are_found() -> None:
    """One client after the other: each exchange of two seqs is against real time."""
    chance = new_chance("two change places")
    line = [Said(f"k{i}", "ann", "bob", float(i), i + 0.9, i + 1) for i in range(50)]
    for _ in range(200):
        i, j = sorted(chance.sample(range(50), 2))
        wrong = [*line]
        wrong[i], wrong[j] = replace(line[i], seq=j + 1), replace(line[j], seq=i + 1)
        assert history.order(wrong)
    assert not history.order(line)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (LINES[:-1], "s3: a2 (seq 4) was acknowledged, and is not there"),
        ([*LINES, (9, "a1")], "s3: a1 is there 2 times"),
        ([(1, "a1"), (2, "c1"), (3, "b1"), (7, "a2")], "s3: a2 has seq 7, and was acknowledged with 4"),
        ([*LINES, (8, "x")], "s3: x is there, and nobody said it"),
        ([LINES[1], LINES[0], *LINES[2:]], "s3: a1 stands behind a greater seq"),
    ],
)
def test_a_store_that_lost_doubled_or_made_up_something_is_found(lines: list[tuple[int, str]], words: str) -> None:
    assert words in history.once(GOOD, {**STORED, "s3": lines})


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([(1, "a1")], "bob was not told c1 (seq 2)"),
        ([(1, "a1"), (2, "c1"), (2, "c1")], "bob was told c1 2 times"),
        ([(1, "a1"), (3, "c1")], "bob was told c1 with seq 3, and it has 2"),
        ([(2, "c1"), (1, "a1")], "bob was told a1 behind a greater seq"),
    ],
)
def test_what_was_not_told_or_twice_is_found(events: list[tuple[int, str]], words: str) -> None:
    assert words in history.heard(GOOD, {"bob": events})
    assert history.heard(GOOD, {"bob": [(1, "a1"), (2, "c1")]}) == []


def test_a_payment_that_is_lost_doubled_or_made_up_is_found() -> None:
    said = [replace(one, pays=one.key in ("a1", "b2")) for one in GOOD]
    assert history.books(said, {"s1": {"a1": 1}, "s2": {"a1": 1, "b2": 1}}) == [], "b2 was never answered"
    assert history.books(said, {"s1": {"b2": 2, "c1": 1}}) == [
        "s1: the payment a1 was acknowledged, and is not in the ledger", "s1: b2 was paid 2 times",
        "s1: c1 was paid, and nobody paid it",
    ]  # fmt: skip


def test_files_that_differ_are_found() -> None:
    files = {"s1": {"a.txt": b"one\ntwo\n", "b.txt": b""}, "s2": {"a.txt": b"one\ntwo\n", "b.txt": b""}}
    assert history.equal(files) == []
    assert history.equal({**files, "s3": {"a.txt": b"one\ntoo\n"}}) == [
        "a.txt differs between s1 and s3: line 2 is 'two' and 'too'", "b.txt is at s1 and not at s3",
    ]  # fmt: skip
    assert history.equal({"s1": {}, "s2": {"c.txt": b""}}) == ["c.txt is at s2 and not at s1"]


def test_how_long_nothing_was_answered() -> None:
    assert history.pauses(GOOD, 1.6) == pytest.approx((0.9, 2.4)), "bob is first, ann last; cid asked before"
    assert history.pauses(GOOD, 9.0)[0] == float("inf")
    assert history.percentile([3, 1, 2], 0.5) == 2 and history.percentile([], 0.5) == 0.0
