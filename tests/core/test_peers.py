"""Standing allowances: every rule and every refusal, as conversations."""

from __future__ import annotations

import pytest

from chatlib.core import peers
from tests.core.stage import Stage


def test_an_allowance_is_given_and_taken_back(three: Stage) -> None:
    three.play("""
        > alice: allow user=BOB
        < OK user=Bob
        > alice: allow user=bob
        < OK user=Bob
        > alice: allow user=carol
        < OK user=Carol
        > alice: disallow user=bob
        < OK user=Bob
        > alice: disallow user=bob
        < OK user=Bob
        > save
    """)
    assert peers.allowed(three.world, "alice", {}, 0.0)["items"] == ["Carol"]
    assert peers.allowances(three.world) == peers.Allowances({"alice": ["carol"]}, {"carol": {"alice"}})


def test_whom_nobody_can_allow(three: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "ALLOWED", 1)
    three.play("""
        > alice: allow user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        > alice: disallow user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        > alice: allow user=Alice
        < SELF_ADDRESS: You know your own address!
        > alice: block user=bob
        < OK user=Bob
        > alice: allow user=bob
        < YOU_BLOCK: You have blocked "Bob": unblock that user first.
        > bob: allow user=alice
        < OK user=Alice
        > alice: allow user=carol
        < OK user=Carol
        > alice: unblock user=bob
        < OK user=Bob
        > alice: allow user=bob
        < TOO_MANY_ALLOWED: You allow 1 users: disallow one first.
        > alice: allow user=carol
        < OK user=Carol
    """)


def test_a_block_ends_the_allowance_of_who_blocks_and_not_the_others(three: Stage) -> None:
    three.play("""
        > alice: allow user=bob
        < OK user=Bob
        > bob: allow user=alice
        < OK user=Alice
        > alice: block user=bob
        < OK user=Bob
        > save
    """)
    assert peers.allowances(three.world).given == {"bob": ["alice"]}


def test_an_allowance_goes_with_either_account(three: Stage) -> None:
    three.play("""
        > alice: allow user=bob
        < OK user=Bob
        > bob: allow user=alice
        < OK user=Alice
        > alice: allow user=carol
        < OK user=Carol
        > edit accounts='{"bob":null}'
        < OK
          alice <- presence user=Bob online=False
          bob (login 5) ends: KICKED: The administrator logged you off.
        > register user=bob verifier=v
        < OK user=bob
        > save
    """)
    assert peers.allowances(three.world) == peers.Allowances({"alice": ["carol"]}, {"carol": {"alice"}})


def test_whom_one_allows_comes_in_pages(three: Stage) -> None:
    three.do("allow", "alice", user="carol")
    three.do("allow", "alice", user="bob")
    assert peers.allowed(three.world, "alice", {}, 0.0) == {"status": "OK", "items": ["Bob", "Carol"]}
    assert peers.allowed(three.world, "alice", {"after": "Bob"}, 0.0) == {"status": "OK", "items": ["Carol"]}
    assert peers.allowed(three.world, "bob", {}, 0.0) == {"status": "OK", "items": []}
