"""Conversations about money: payments, cheques, grants, statements, and what becomes of an account's credits."""

from __future__ import annotations

import pytest

from chatlib.core.bank import Book, bank_of
from chatlib.core.ledger import BANK
from chatlib.protocol.scram import make_verifier
from tests.core.stage import Stage

NOW = 1_700_000_000.0
VERIFIERS = {user: make_verifier(user, 4_096) for user in ("Alice", "Bob", "Carol")}


@pytest.fixture
def three() -> Stage:
    """Alice and Bob are online, Carol is away; each has 100 credits."""
    stage = Stage(INITIAL_BALANCE=100)
    stage.now = NOW
    for name, verifier in VERIFIERS.items():
        stage.do("register", user=name, verifier=str(verifier))
    for name in ("alice", "bob"):
        stage.do("login", user=name, address="10.0.0.1")
    stage.recorder.take()
    return stage


def credits_of(stage: Stage) -> dict[str, int]:
    books: dict[str, Book] = bank_of(stage.world).books
    assert sum(book.balance for book in books.values()) == 0
    return {user: book.balance for user, book in books.items()}


def test_payments(three: Stage) -> None:
    three.play("""
        > alice: pay to=BOB amount=30 memo='for tea' key=k1
        < OK seq=6 balance=70
          bob <- payment seq=6 from=Alice amount=30 memo=for tea balance=130
        > alice: pay to=BOB amount=30 memo='for tea' key=k1
        < OK seq=6 balance=70
        > alice: pay to=carol amount=70 key=k2
        < OK seq=8 balance=0
        > save
        > alice: pay to=carol amount=1 key=k3
        < INSUFFICIENT_FUNDS balance=0: You have 0 credits: 1 is too much.
        > bob: pay to=nobody amount=1 key=k1
        < NO_SUCH_USER: There is no user "nobody".
        > bob: pay to=Bob amount=1 key=k2
        < SELF_PAYMENT: You cannot pay yourself!
        > alice: block user=bob
        < OK user=Bob
        > bob: pay to=alice amount=1 key=k3
        < BLOCKED: "Alice" has blocked you: nothing was paid.
        > alice: pay to=BOB amount=31 key=k1
        < KEY_REUSED: The key "k1" was used for another request before.
        > login user=carol
        < OK user=Carol unread=1 seq=15
          alice, bob <- presence user=Carol online=True
        """)
    assert credits_of(three) == {BANK: -300, "alice": 0, "bob": 130, "carol": 170}
