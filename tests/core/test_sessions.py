"""Several sessions of one user: DUPLICATE_LOGIN share."""

from __future__ import annotations

import pytest

from tests.core.stage import Stage, picture


@pytest.fixture
def shared() -> Stage:
    """Alice and Bob are registered, and nobody is online; the next LSN is 3."""
    stage = Stage(DUPLICATE_LOGIN="share", SESSIONS=3)
    for name in ("Alice", "Bob"):
        stage.do("register", user=name, verifier=f"v-{name}")
    stage.recorder.take()
    return stage


def test_presence_is_the_firsts_coming_and_the_lasts_going(shared: Stage) -> None:
    shared.play("""
        > login user=bob
        < OK user=Bob unread=0 since=2 seq=3
          nobody <- presence user=Bob online=True
        > login user=alice client=desk
        < OK user=Alice unread=0 since=1 seq=4
          bob <- presence user=Alice online=True
        > login user=alice client=laptop
        < OK user=Alice unread=0 since=1 seq=5
        > save
        > depart user=alice session=4
        < OK
        > bob sees
        = Alice
        > save
        > depart user=alice session=4
        < NOT_ALLOWED: That session has ended already.
        > at 70
        > depart user=alice session=5
        < OK
          bob <- presence user=Alice online=False
        > save
        > bob saw since=60
        = Alice
    """)


def test_no_more_sessions_than_allowed(shared: Stage) -> None:
    shared.play("""
        > login user=alice
        < OK user=Alice unread=0 since=1 seq=3
          nobody <- presence user=Alice online=True
        > login user=alice client=phone
        < OK user=Alice unread=0 since=1 seq=4
        > login user=alice
        < OK user=Alice unread=0 since=1 seq=5
        > login user=alice
        < TOO_MANY_SESSIONS: "Alice" has 3 sessions open already: log out of one first.
        > login user=alice client=phone
        < OK user=Alice unread=0 since=1 seq=7
          alice (login 4) ends: REPLACED: You logged in again from 10.0.0.1.
        > deregister user=alice
        < ALREADY_ONLINE: "Alice" is logged in: log out there first.
    """)
    assert [p[0] for p in picture(shared.world)["online"]["alice"]] == [3, 7, 5], "in the place of the earlier one"


def test_a_session_takes_no_second_seat(shared: Stage) -> None:
    shared.do("edit", parameters={"MaxCon": 1})
    assert shared.do("login", user="alice", address="10.0.0.1")["status"] == "OK"
    assert shared.do("login", user="alice", address="10.0.0.2")["status"] == "OK"
    assert shared.do("login", user="bob", address="10.0.0.2")["status"] == "SERVER_FULL"


def test_what_is_sent_in_one_session_the_others_hear(shared: Stage) -> None:
    shared.play("""
        > login user=alice
        < OK user=Alice unread=0 since=1 seq=3
          nobody <- presence user=Alice online=True
        > alice: message to=bob text='nobody else is here'
        < OK seq=4 delivered=False
        > login user=alice
        < OK user=Alice unread=0 since=1 seq=5
        > alice: message to=bob text='"hi" ✓'
        < OK seq=6 delivered=False
          alice elsewhere <- sent seq=6 to=Bob: "hi" ✓
        > alice: message to=alice text=me
        < SELF_MESSAGE: You cannot send a message to yourself!
        > alice: broadcast text=all
        < OK seq=8 undelivered=0
          alice <- broadcast seq=8 from=Alice: all
        > bob gets
        = Alice: nobody else is here, Alice: "hi" ✓, Alice: all
    """)


def test_one_is_ended_from_another(shared: Stage) -> None:
    for client in ("a", "b", "c"):
        shared.do("login", user="alice", address="10.0.0.1", client=client)
    shared.recorder.take()
    shared.play("""
        > alice: logout number=4
        < NO_SUCH_SESSION: You have no session 4.
        > alice: logout number=1
        < OK number=1
          alice (login 3) ends: LOGGED_OUT: You logged out here from another session of yours.
        > save
        > alice: logout number=1
        < NO_SUCH_SESSION: You have no session 1.
        > login user=alice client=d
        < OK user=Alice unread=0 since=1 seq=9
        > alice: logout number=4
        < OK number=4
          alice (login 9) ends: LOGGED_OUT: You logged out here from another session of yours.
        > save
        > alice: logout number=2
        < OK number=2
          alice (login 4) ends: LOGGED_OUT: You logged out here from another session of yours.
        > alice: logout number=3
        < OK number=3
          nobody <- presence user=Alice online=False
          alice (login 5) ends: LOGGED_OUT: You logged out here from another session of yours.
    """)


@pytest.mark.parametrize("how", ["kick", "start", "edit"])
def test_all_end_together(shared: Stage, how: str) -> None:
    for _ in range(2):
        shared.do("login", user="alice", address="10.0.0.1")
    shared.recorder.take()
    fields = {"kick": {"user": "Alice"}, "start": {"left": 9.0}, "edit": {"accounts": {"Alice": None}}}[how]
    shared.do(how, **fields)
    assert not shared.world.online and not shared.world.further
    ended = [said[2:4] for said in shared.recorder.take() if said[0] == "ends"]
    assert ended == ([] if how == "start" else [(3, "KICKED"), (4, "KICKED")])
    shared.save()


def test_replace_ends_all_and_refuse_lets_those_stay_that_are_there(shared: Stage) -> None:
    for client in ("a", "b"):
        shared.do("login", user="alice", address="10.0.0.1", client=client)
    shared.do("edit", parameters={"DUPLICATE_LOGIN": "refuse"})
    shared.recorder.take()
    shared.play("""
        > login user=alice client=c
        < ALREADY_ONLINE: "Alice" is logged in already.
        > login user=alice client=b
        < OK user=Alice unread=0 seq=7
          alice (login 4) ends: REPLACED: You logged in again from 10.0.0.1.
        > edit parameters='{"DUPLICATE_LOGIN":"replace"}'
        < OK
        > login user=alice client=c
        < OK user=Alice unread=0 seq=9
          alice (login 3) ends: REPLACED: You logged in again from 10.0.0.1.
          alice (login 7) ends: REPLACED: You logged in again from 10.0.0.1.
        > save
    """)
    assert shared.world.online["alice"].number == 1, "it is the first one again"


def test_who_comes_back_goes_on_where_it_was_and_who_begins_anew_where_any_has_been(shared: Stage) -> None:
    shared.do("login", user="bob", address="10.0.0.1")
    shared.do("login", user="alice", address="10.0.0.1", client="desk")
    shared.recorder.take()
    shared.play("""
        > bob: message to=alice text=one
        < OK seq=5 delivered=True
          alice <- message seq=5 from=Bob: one
        > bob: message to=alice text=two
        < OK seq=6 delivered=True
          alice <- message seq=6 from=Bob: two
        > login user=alice client=laptop seen=5
        < OK user=Alice unread=1 since=5 seq=7
        > seen seen='{"alice":6}'
        < OK
        > login user=alice client=desk resume=4
        < OK user=Alice unread=2 since=4 seq=9
          alice (login 4) ends: REPLACED: You logged in again from 10.0.0.1.
        > login user=alice client=phone
        < OK user=Alice unread=0 since=6 seq=10
        > alice unread
        = 0
        > login user=alice client=desk resume=999
        < OK user=Alice unread=0 since=6 seq=11
          alice (login 9) ends: REPLACED: You logged in again from 10.0.0.1.
    """)
