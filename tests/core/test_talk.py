"""Talk, as conversations."""

from __future__ import annotations

import json

import pytest

from chatlib.core.accounts import MAX_KEYS
from tests.core.stage import Stage


def test_a_message_to_someone_online_and_someone_away(three: Stage) -> None:
    three.now = 1700000000.123
    three.play("""
        > alice: message to=BOB text='hello there'
        < OK seq=6 delivered=True
          bob <- message seq=6 from=Alice: hello there
        > bob: message to=carol text='I want to try off-line message~'
        < OK seq=7 delivered=False
        > carol unread
        = 1
        > save
        > login user=carol
        < OK user=Carol unread=1 seq=8
          alice, bob <- presence user=Carol online=True
        > carol gets
        = Bob: I want to try off-line message~
        > seen seen='{"carol": 7}'
        < OK
        > carol unread
        = 0
        > carol gets
        =
        > carol history
        = Bob: I want to try off-line message~
    """)
    assert [line.split(" ", 1)[1] for line in bytes(three.recorder.messages).decode().splitlines()] == [
        'Bob {"event":"message","seq":6,"time":1700000000.123,"from":"Alice","text":"hello there"}',
        'Carol {"event":"message","seq":7,"time":1700000000.123,"from":"Bob","text":"I want to try off-line message~"}',
    ]


def test_messages_that_are_refused(three: Stage) -> None:
    three.play("""
        > alice: message to=nobody text=hi
        < NO_SUCH_USER: There is no user "nobody".
        > alice: message to=Alice text=hi
        < SELF_MESSAGE: You cannot send a message to yourself!
        > bob: block user=alice
        < OK user=Alice
        > alice: message to=bob text=hi
        < BLOCKED: "Bob" has blocked you: your message was not delivered.
        # a block is one-sided
        > bob: message to=alice text=hi
        < OK seq=10 delivered=True
          alice <- message seq=10 from=Bob: hi
    """)
    assert three.recorder.messages.count(b"\n") == 1


def test_a_blocker_who_is_away_gets_nothing_either(three: Stage) -> None:
    three.play("""
        > bob: block user=alice
        < OK user=Alice
        > depart user=bob session=5
        < OK
          nobody <- presence user=Bob online=False
        > alice: message to=bob text=hi
        < BLOCKED: "Bob" has blocked you: your message was not delivered.
        > bob unread
        = 0
    """)


def test_a_broadcast_reaches_everyone_registered_the_sender_too(three: Stage) -> None:
    three.play("""
        > alice: broadcast text="It's me"
        < OK seq=6 undelivered=0
          alice, bob <- broadcast seq=6 from=Alice: It's me
        > login user=carol
        < OK user=Carol unread=1 seq=7
          alice, bob <- presence user=Carol online=True
        > carol gets
        = Alice: It's me
        > alice history
        = Alice: It's me
        # who registers later is not meant
        > register user=Dora
        < OK user=Dora
        > dora unread
        = 0
        > dora history
        =
    """)


def test_a_broadcast_does_not_reach_those_who_block_the_sender(three: Stage) -> None:
    three.play("""
        > bob: block user=alice
        < OK user=Alice
        > login user=carol
        < OK user=Carol unread=0 seq=7
          alice, bob <- presence user=Carol online=True
        > carol: block user=alice
        < OK user=Alice
        > depart user=carol session=7
        < OK
          bob <- presence user=Carol online=False
        > alice: broadcast text=first
        < OK seq=10 undelivered=2
          alice <- broadcast seq=10 from=Alice: first
        > save
        > bob: unblock user=alice
        < OK user=Alice
        > alice: broadcast text=second
        < OK seq=12 undelivered=1
          alice, bob <- broadcast seq=12 from=Alice: second
        # what was kept away stays away
        > bob history
        = Alice: second
        > carol unread
        = 0
        > login user=carol
        < OK user=Carol unread=0 seq=13
          bob <- presence user=Carol online=True
        > carol: unblock user=alice
        < OK user=Alice
        > carol gets
        =
        > alice: broadcast text=third
        < OK seq=15 undelivered=0
          alice, bob, carol <- broadcast seq=15 from=Alice: third
        > carol gets
        = Alice: third
        > bob gets
        = Alice: second, Alice: third
    """)


def test_a_message_from_before_the_block_is_still_delivered(three: Stage) -> None:
    three.play("""
        > alice: message to=carol text=before
        < OK seq=6 delivered=False
        > login user=carol
        < OK user=Carol unread=1 seq=7
          alice, bob <- presence user=Carol online=True
        > carol: block user=alice
        < OK user=Alice
        > carol gets
        = Alice: before
    """)


def test_blocking_and_unblocking(three: Stage) -> None:
    three.play("""
        > alice: block user=Alice
        < SELF_BLOCK: You cannot block yourself!
        > alice: block user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        > alice: block user=BOB
        < OK user=Bob
        > alice: block user=bob
        < ALREADY_BLOCKED: You have blocked "Bob" already.
        > save
        > alice: unblock user=carol
        < NOT_BLOCKED: You have not blocked "Carol".
        > alice: unblock user=alice
        < SELF_UNBLOCK: You cannot unblock yourself: you never block yourself.
        > alice: unblock user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        > alice: unblock user=bob
        < OK user=Bob
        > alice: unblock user=bob
        < NOT_BLOCKED: You have not blocked "Bob".
    """)


def test_nobody_is_named_to_someone_whom_they_block(three: Stage) -> None:
    three.play("""
        > alice sees
        = Bob
        > bob: block user=alice
        < OK user=Alice
        > alice sees
        =
        > bob sees
        = Alice
        > save
        > alice sees
        =
    """)


@pytest.mark.parametrize("text", ['say "hi"', "back\\slash", "grüße 名前 😀", "\u2028", "}", "a\x7f", " ", "\u202e"])
def test_any_text_is_stored_as_one_line_and_comes_back(three: Stage, text: str) -> None:
    reply = three.do("message", "alice", to="bob", text=text)
    (_, _, line), = three.recorder.take()
    assert json.loads(line)["text"] == text
    assert line.count(b"\n") == 1
    three.save()
    assert three.history("bob") == f"Alice: {text}"
    assert reply["delivered"]


def test_history_and_what_waits_mix_direct_messages_and_broadcasts_in_order(three: Stage) -> None:
    three.play("""
        > alice: message to=carol text=1
        < OK seq=6 delivered=False
        > bob: broadcast text=2
        < OK seq=7 undelivered=0
          alice, bob <- broadcast seq=7 from=Bob: 2
        > bob: message to=carol text=3
        < OK seq=8 delivered=False
        > alice: message to=bob text=4
        < OK seq=9 delivered=True
          bob <- message seq=9 from=Alice: 4
        > alice: broadcast text=5
        < OK seq=10 undelivered=0
          alice, bob <- broadcast seq=10 from=Alice: 5
        > carol gets
        = Alice: 1, Bob: 2, Bob: 3, Alice: 5
        > carol history
        = Alice: 5, Bob: 3, Bob: 2, Alice: 1
        > carol history before=8
        = Bob: 2, Alice: 1
        > carol history before=6
        =
        > carol unread
        = 4
        > seen seen='{"carol": 7, "nobody": 9}'
        < OK
        > carol unread
        = 2
        > seen seen='{"carol": 6}'
        < OK
        > carol gets
        = Bob: 3, Alice: 5
    """)


# Keys.


def test_the_same_key_again_gets_the_first_reply_and_changes_nothing(three: Stage) -> None:
    three.play("""
        > alice: message key=k1 to=bob text=hi
        < OK seq=6 delivered=True
          bob <- message seq=6 from=Alice: hi
        > at 60
        > alice: message key=k1 to=bob text=hi
        < OK seq=6 delivered=True
        # the id is the connection's, not the request's
        > alice: message key=k1 id=77 to=bob text=hi
        < OK seq=6 delivered=True
        > save
        > start left=60
        < OK
        > login user=alice
        < OK user=Alice unread=0 seq=10
          nobody <- presence user=Alice online=True
        > alice: message key=k1 to=bob text=hi
        < OK seq=6 delivered=True
        > bob unread
        = 1
    """)


def test_a_key_with_other_fields(three: Stage) -> None:
    three.play("""
        > alice: message key=k1 to=bob text=hi
        < OK seq=6 delivered=True
          bob <- message seq=6 from=Alice: hi
        > alice: message key=k1 to=bob text=ho
        < KEY_REUSED: The key "k1" was used for another request before.
        > alice: message key=k1 to=carol text=hi
        < KEY_REUSED: The key "k1" was used for another request before.
        > save
        > alice: broadcast key=k1 text=hi
        < KEY_REUSED: The key "k1" was used for another request before.
        > alice: block key=k1 user=bob
        < KEY_REUSED: The key "k1" was used for another request before.
        # and the first reply is still there
        > alice: message key=k1 to=bob text=hi
        < OK seq=6 delivered=True
        # another user's keys are others
        > bob: message key=k1 to=alice text=ho
        < OK seq=12 delivered=True
          alice <- message seq=12 from=Bob: ho
    """)


def test_a_refusal_is_a_first_reply_too(three: Stage) -> None:
    three.play("""
        > alice: message key=k1 to=dora text=hi
        < NO_SUCH_USER: There is no user "dora".
        > register user=dora
        < OK user=dora
        > alice: message key=k1 to=dora text=hi
        < NO_SUCH_USER: There is no user "dora".
        > alice: block key=k2 user=bob
        < OK user=Bob
        > alice: block key=k2 user=bob
        < OK user=Bob
        > alice: block key=k3 user=bob
        < ALREADY_BLOCKED: You have blocked "Bob" already.
    """)


def test_a_key_is_not_used_up_by_someone_who_is_no_longer_logged_in(three: Stage) -> None:
    three.play("""
        > carol: message key=k1 to=bob text=hi
        < NOT_ALLOWED: You are no longer logged in.
        > login user=carol
        < OK user=Carol unread=0 seq=7
          alice, bob <- presence user=Carol online=True
        > carol: message key=k1 to=bob text=hi
        < OK seq=8 delivered=True
          bob <- message seq=8 from=Carol: hi
    """)


def test_the_last_thousand_keys_are_remembered(three: Stage) -> None:
    assert MAX_KEYS == 1_000
    replies = [three.do("message", "alice", key=f"k{n}", to="carol", text="hi") for n in range(1_000)]
    three.save()
    for number in (0, 500, 999):
        assert three.do("message", "alice", key=f"k{number}", to="carol", text="hi") == replies[number]
    assert three.unread("carol") == "1000"
    three.do("message", "alice", key="one more", to="carol", text="hi")
    three.save()
    assert three.do("message", "alice", key="k1", to="carol", text="hi") == replies[1]
    forgotten = three.do("message", "alice", key="k0", to="carol", text="hi")
    assert forgotten["seq"] == three.lsn
    assert three.unread("carol") == "1002"


@pytest.mark.parametrize("key", ["k 1", "ключ", '"', "\u2028", "x" * 64, "{}", "=", "\\"])
def test_any_key_survives_a_save(three: Stage, key: str) -> None:
    first = three.do("broadcast", "alice", key=key, text="hi")
    three.save()
    assert three.do("broadcast", "alice", key=key, text="hi") == first
