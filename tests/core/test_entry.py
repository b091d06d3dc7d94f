"""Coming and going, as conversations."""

from __future__ import annotations

import pytest

from tests.core.stage import HOST, Stage


def test_registering(stage: Stage) -> None:
    stage.play("""
        > register user=Shuo
        < OK user=Shuo
        > register user=shuo
        < USER_EXISTS: There is a user "Shuo" already.
        > register user=SHUO
        < USER_EXISTS: There is a user "Shuo" already.
    """)
    assert stage.world.accounts["shuo"].verifier == "v-Shuo"


@pytest.mark.parametrize("name", ["System", "all", "ADMIN", "register", "De-Register", "quit"])
def test_reserved_names_are_not_given_away(stage: Stage, name: str) -> None:
    stage.play(f"""
        > register user={name}
        < USER_EXISTS: The name "{name}" is reserved.
    """)
    assert not stage.world.accounts


def test_registration_closed() -> None:
    Stage(REGISTRATION="closed").play("""
        > register user=shuo
        < REGISTRATION_CLOSED: This server takes no new users; ask its administrator.
        > edit parameters='{"REGISTRATION": "open"}'
        < OK
        > register user=shuo
        < OK user=shuo
    """)


def test_a_day(stage: Stage) -> None:
    stage.play("""
        > register user=Facebook
        < OK user=Facebook
        > register user=Columbia
        < OK user=Columbia
        > login user=facebook
        < OK user=Facebook unread=0 seq=3
          nobody <- presence user=Facebook online=True
        > login user=columbia
        < OK user=Columbia unread=0 seq=4
          facebook <- presence user=Columbia online=True
        > facebook sees
        = Columbia
        > depart user=columbia session=4 seen=4
        < OK
          facebook <- presence user=Columbia online=False
        > facebook sees
        =
        > depart user=facebook session=3 seen=5
        < OK
          nobody <- presence user=Facebook online=False
    """)


def test_a_login_of_nobody(stage: Stage) -> None:
    stage.play("""
        > login user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        > wrong_password user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        > deregister user=nobody
        < NO_SUCH_USER: There is no user "nobody".
    """)


# Wrong passwords.


def test_three_wrong_passwords_lock_a_user_out_across_sessions(three: Stage) -> None:
    three.play("""
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=2: Wrong password: 2 tries are left.
        > save
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=1: Wrong password: 1 try is left.
        > wrong_password user=carol
        < LOCKED_OUT seconds=60: "Carol" is locked out: try again in 60 seconds.
        > at 0.5
        > wrong_password user=carol
        < LOCKED_OUT seconds=60: "Carol" is locked out: try again in 60 seconds.
        > at 10
        > login user=carol
        < LOCKED_OUT seconds=50: "Carol" is locked out: try again in 50 seconds.
        > start left=9
        < OK
        > save
        > login user=carol
        < LOCKED_OUT seconds=50: "Carol" is locked out: try again in 50 seconds.
        # what is tried meanwhile does not make it longer
        > at 59.5
        > wrong_password user=carol
        < LOCKED_OUT seconds=1: "Carol" is locked out: try again in 1 second.
        > at 60
        > login user=carol
        < OK user=Carol unread=0 seq=14
          nobody <- presence user=Carol online=True
    """)


def test_a_lockout_that_has_expired_begins_anew(three: Stage) -> None:
    three.do("edit", parameters={"MAX_FAILURES": 1, "BLOCK_TIME": 5.0})
    three.play("""
        > wrong_password user=carol
        < LOCKED_OUT seconds=5: "Carol" is locked out: try again in 5 seconds.
        > edit parameters='{"MAX_FAILURES": 3}'
        < OK
        > at 5
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=2: Wrong password: 2 tries are left.
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=1: Wrong password: 1 try is left.
        > wrong_password user=carol
        < LOCKED_OUT seconds=5: "Carol" is locked out: try again in 5 seconds.
    """)


def test_success_resets_the_count(three: Stage) -> None:
    three.play("""
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=2: Wrong password: 2 tries are left.
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=1: Wrong password: 1 try is left.
        > login user=carol
        < OK user=Carol unread=0 seq=8
          alice, bob <- presence user=Carol online=True
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=2: Wrong password: 2 tries are left.
    """)


def test_a_lockout_is_of_one_user_from_one_address(three: Stage) -> None:
    three.do("edit", parameters={"MAX_FAILURES": 1})
    three.play("""
        > register user=Dora
        < OK user=Dora
        > wrong_password user=carol address=6.6.6.6
        < LOCKED_OUT seconds=60: "Carol" is locked out: try again in 60 seconds.
        > login user=dora address=6.6.6.6
        < OK user=Dora unread=0 seq=9
          alice, bob <- presence user=Dora online=True
        > login user=carol address=10.0.0.1
        < OK user=Carol unread=0 seq=10
          alice, bob, dora <- presence user=Carol online=True
        > depart user=carol session=10
        < OK
          alice, bob, dora <- presence user=Carol online=False
        # a success elsewhere does not open the door to the one who guesses
        > login user=carol address=6.6.6.6
        < LOCKED_OUT seconds=60: "Carol" is locked out: try again in 60 seconds.
    """)


def test_the_scope_user_counts_from_everywhere() -> None:
    stage = Stage(BLOCK_SCOPE="user")
    stage.play("""
        > register user=Carol
        < OK user=Carol
        > wrong_password user=carol address=1.1.1.1
        < WRONG_PASSWORD tries_left=2: Wrong password: 2 tries are left.
        > wrong_password user=carol address=2.2.2.2
        < WRONG_PASSWORD tries_left=1: Wrong password: 1 try is left.
        > wrong_password user=carol address=3.3.3.3
        < LOCKED_OUT seconds=60: "Carol" is locked out: try again in 60 seconds.
        > save
        > login user=carol address=4.4.4.4
        < LOCKED_OUT seconds=60: "Carol" is locked out: try again in 60 seconds.
        > at 60
        > login user=carol address=4.4.4.4
        < OK user=Carol unread=0 seq=6
          nobody <- presence user=Carol online=True
    """)


def test_the_administrator_unlocks_from_every_address(three: Stage) -> None:
    three.do("edit", parameters={"MAX_FAILURES": 1})
    three.play("""
        > unlock user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        > unlock user=Carol
        < NOT_LOCKED_OUT: "Carol" is not locked out.
        > wrong_password user=carol address=1.1.1.1
        < LOCKED_OUT seconds=60: "Carol" is locked out: try again in 60 seconds.
        > wrong_password user=carol address=2.2.2.2
        < LOCKED_OUT seconds=60: "Carol" is locked out: try again in 60 seconds.
        > unlock user=Carol
        < OK user=Carol
        > unlock user=carol
        < NOT_LOCKED_OUT: "Carol" is not locked out.
        > login user=carol address=1.1.1.1
        < OK user=Carol unread=0 seq=13
          alice, bob <- presence user=Carol online=True
    """)
    assert not three.world.lockouts.entries


def test_lockouts_that_are_long_over_are_forgotten_at_a_start(three: Stage) -> None:
    three.play("""
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=2: Wrong password: 2 tries are left.
        > at 3600
        > start left=3000
        < OK
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=1: Wrong password: 1 try is left.
        > at 200000
        > start left=100000
        < OK
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=2: Wrong password: 2 tries are left.
    """)


# Two logins of one user.


def test_a_second_login_is_refused(three: Stage) -> None:
    three.play("""
        > login user=alice address=10.0.0.2 client=c2
        < ALREADY_ONLINE: "Alice" is logged in already.
        > alice: message to=bob text=here
        < OK seq=7 delivered=True
          bob <- message seq=7 from=Alice: here
    """)


def test_a_second_login_replaces_the_first(three: Stage) -> None:
    three.do("edit", parameters={"DUPLICATE_LOGIN": "replace"})
    three.play("""
        > login user=alice address=10.0.0.2
        < OK user=Alice unread=0 seq=7
          alice (login 4) ends: REPLACED: You logged in again from 10.0.0.2.
        # the first session's connection goes, which the world knows already
        > depart user=alice session=4
        < NOT_ALLOWED: That session has ended already.
        > bob sees
        = Alice
        > depart user=alice session=7
        < OK
          bob <- presence user=Alice online=False
    """)


def test_the_same_client_takes_its_session_over_whatever_duplicate_login_says(three: Stage) -> None:
    three.play("""
        > login user=carol client=c1 address=10.0.0.1
        < OK user=Carol unread=0 seq=6
          alice, bob <- presence user=Carol online=True
        > alice: message to=carol text=lost?
        < OK seq=7 delivered=True
          carol <- message seq=7 from=Alice: lost?
        > save
        > login user=carol client=c1 address=10.0.0.9
        < OK user=Carol unread=1 seq=8
          carol (login 6) ends: REPLACED: You logged in again from 10.0.0.9.
        > carol gets
        = Alice: lost?
        > login user=carol client=c2
        < ALREADY_ONLINE: "Carol" is logged in already.
        > login user=carol
        < ALREADY_ONLINE: "Carol" is logged in already.
    """)


def test_what_the_replaced_session_had_seen_is_not_told_again(three: Stage) -> None:
    three.play("""
        > login user=carol client=c1
        < OK user=Carol unread=0 seq=6
          alice, bob <- presence user=Carol online=True
        > alice: message to=carol text=one
        < OK seq=7 delivered=True
          carol <- message seq=7 from=Alice: one
        > alice: message to=carol text=two
        < OK seq=8 delivered=True
          carol <- message seq=8 from=Alice: two
        > login user=carol client=c1 seen=7
        < OK user=Carol unread=1 seq=9
          carol (login 6) ends: REPLACED: You logged in again from 10.0.0.1.
        > carol gets
        = Alice: two
    """)


def test_two_sessions_without_a_client_name_are_not_the_same_client(three: Stage) -> None:
    assert three.do("login", user="alice", address=HOST)["status"] == "ALREADY_ONLINE"


# Seats.


def test_seats_count_users_logged_in() -> None:
    stage = Stage(MaxCon=1)
    stage.play("""
        > register user=Alice
        < OK user=Alice
        > register user=Bob
        < OK user=Bob
        > login user=alice client=c1
        < OK user=Alice unread=0 seq=3
          nobody <- presence user=Alice online=True
        > login user=bob
        < SERVER_FULL: All seats are taken; try again later.
        > bob sees
        = Alice
        # who has a seat keeps it while coming in again
        > login user=alice client=c1
        < OK user=Alice unread=0 seq=5
          alice (login 3) ends: REPLACED: You logged in again from 10.0.0.1.
        > depart user=alice session=5
        < OK
          nobody <- presence user=Alice online=False
        > login user=bob
        < OK user=Bob unread=0 seq=7
          nobody <- presence user=Bob online=True
    """)
    assert stage.world.seats_left() == 0


def test_fewer_seats_than_users_online_send_nobody_away(three: Stage) -> None:
    three.play("""
        > edit parameters='{"MaxCon": 1}'
        < OK
        > login user=carol
        < SERVER_FULL: All seats are taken; try again later.
        > alice sees
        = Bob
    """)
    assert three.world.seats_left() == 0


# Presence.


def test_presence_is_told_to_all_but_those_whom_the_user_blocks_or_who_block_the_user(three: Stage) -> None:
    three.play("""
        > login user=carol
        < OK user=Carol unread=0 seq=6
          alice, bob <- presence user=Carol online=True
        > carol: block user=Bob
        < OK user=Bob
        > depart user=carol session=6
        < OK
          alice <- presence user=Carol online=False
        > save
        > login user=carol
        < OK user=Carol unread=0 seq=9
          alice <- presence user=Carol online=True
        > kick user=Carol
        < OK user=Carol
          alice <- presence user=Carol online=False
          carol (login 9) ends: KICKED: The administrator logged you off.
        > login user=carol
        < OK user=Carol unread=0 seq=11
          alice <- presence user=Carol online=True
        > bob: block user=alice
        < OK user=Alice
        > depart user=alice session=4
        < OK
          carol <- presence user=Alice online=False
    """)


def test_presence_is_told_until_there_are_too_many() -> None:
    stage = Stage(PRESENCE_LIMIT=2)
    for name in ("a", "b", "c"):
        stage.do("register", user=name, verifier="v")
    stage.play("""
        > login user=a
        < OK user=a unread=0 seq=4
          nobody <- presence user=a online=True
        > login user=b
        < OK user=b unread=0 seq=5
          a <- presence user=b online=True
        > login user=c
        < OK user=c unread=0 seq=6
        > depart user=c session=6
        < OK
          a, b <- presence user=c online=False
    """)


# Departure.


def test_a_departure_is_of_one_session(three: Stage) -> None:
    three.play("""
        > depart user=carol session=6
        < NOT_ALLOWED: That session has ended already.
        > depart user=nobody session=1
        < NOT_ALLOWED: That session has ended already.
        > depart user=alice session=4 seen=5
        < OK
          bob <- presence user=Alice online=False
        > depart user=alice session=4
        < NOT_ALLOWED: That session has ended already.
        > alice: message to=bob text=hi
        < NOT_ALLOWED: You are no longer logged in.
    """)
    assert three.world.accounts["alice"].seen == 5


def test_who_was_here_lately(three: Stage) -> None:
    three.play("""
        > at 100
        > depart user=bob session=5
        < OK
          alice <- presence user=Bob online=False
        > alice sees
        =
        > alice saw since=99
        = Bob
        > alice saw since=100
        =
        > at 200
        > login user=carol
        < OK user=Carol unread=0 seq=7
          alice <- presence user=Carol online=True
        > alice saw since=99
        = Bob, Carol
        > bob: block user=alice
        < NOT_ALLOWED: You are no longer logged in.
        > login user=bob
        < OK user=Bob unread=0 seq=9
          alice, carol <- presence user=Bob online=True
        > bob: block user=alice
        < OK user=Alice
        > alice sees
        = Carol
        > alice saw since=0
        = Carol
        > bob saw since=0
        = Alice, Carol
    """)


def test_a_start_after_a_crash_ends_all_sessions(three: Stage) -> None:
    three.play("""
        > alice: message to=bob text=unacknowledged
        < OK seq=6 delivered=True
          bob <- message seq=6 from=Alice: unacknowledged
        > at 500
        > start left=321.5
        < OK
        > alice: message to=bob text=hi
        < NOT_ALLOWED: You are no longer logged in.
        > save
        > login user=bob
        < OK user=Bob unread=1 seq=9
          nobody <- presence user=Bob online=True
        > bob gets
        = Alice: unacknowledged
        > bob saw since=321
        = Alice
        > bob saw since=322
        =
    """)
    assert three.world.accounts["alice"].left == 321.5


# What the administrator does.


def test_kicking(three: Stage) -> None:
    three.play("""
        > kick user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        > kick user=CAROL
        < NOT_ONLINE: "Carol" is not online.
        > kick user=BOB
        < OK user=Bob
          alice <- presence user=Bob online=False
          bob (login 5) ends: KICKED: The administrator logged you off.
        > kick user=bob
        < NOT_ONLINE: "Bob" is not online.
    """)


def test_a_changed_password(three: Stage) -> None:
    three.play("""
        > alice: password verifier=new
        < OK
    """)
    assert three.world.accounts["alice"].verifier == "new"
    assert three.world.accounts["bob"].verifier == "v-Bob"


def test_an_edit_by_hand(three: Stage) -> None:
    three.play("""
        > edit parameters='{"TIME_OUT": 5.0}' accounts='{"ALICE": "new", "Dora": "v-dora", "nobody": null}'
        < OK
        > save
        > login user=dora
        < OK user=Dora unread=0 seq=7
          alice, bob <- presence user=Dora online=True
        > bob sees
        = ALICE, Dora
        # a removed user who is online is logged off first
        > edit accounts='{"bob": null}'
        < OK
          alice, dora <- presence user=Bob online=False
          bob (login 5) ends: KICKED: The administrator logged you off.
        > login user=bob
        < NO_SUCH_USER: There is no user "bob".
        > edit accounts='{"carol": null}'
        < OK
    """)
    world = three.world
    assert world.parameters["TIME_OUT"] == 5.0
    assert (world.accounts["alice"].name, world.accounts["alice"].verifier) == ("ALICE", "new")
    assert set(world.accounts) == {"alice", "dora"}


# Leaving for good.


def test_deregistering_takes_mail_lockouts_and_its_own_blocks_along(three: Stage) -> None:
    three.play("""
        > alice: message to=carol text=secret
        < OK seq=6 delivered=False
        > alice: message to=bob text=other
        < OK seq=7 delivered=True
          bob <- message seq=7 from=Alice: other
        > bob: block user=carol
        < OK user=Carol
        > wrong_password user=carol
        < WRONG_PASSWORD tries_left=2: Wrong password: 2 tries are left.
        > login user=carol address=10.0.0.2
        < OK user=Carol unread=1 seq=10
          alice <- presence user=Carol online=True
        > carol: block user=alice
        < OK user=Alice
        > deregister user=carol
        < ALREADY_ONLINE: "Carol" is logged in: log out there first.
        > depart user=carol session=10
        < OK
          nobody <- presence user=Carol online=False
        > deregister user=carol
        < OK user=Carol
          erased message seq=6 from=Alice: secret
        > save
    """)
    world = three.world
    assert set(world.accounts) == {"alice", "bob"}
    assert world.accounts["bob"].blocks == ["carol"] and world.shunned == {"carol": {"bob"}}
    assert world.accounts["alice"].blocked_by is None
    assert not world.lockouts.entries
    assert b"secret" not in three.recorder.messages
    assert b"other" in three.recorder.messages


def test_nobody_deregisters_while_locked_out(three: Stage) -> None:
    three.do("edit", parameters={"MAX_FAILURES": 1})
    three.play("""
        > wrong_password user=carol
        < LOCKED_OUT seconds=60: "Carol" is locked out: try again in 60 seconds.
        > deregister user=carol
        < LOCKED_OUT seconds=60: "Carol" is locked out: try again in 60 seconds.
        > at 61
        > deregister user=carol
        < OK user=Carol
    """)


def test_a_name_registered_again_gets_nothing_of_the_old(three: Stage) -> None:
    three.play("""
        > alice: message to=carol text=direct
        < OK seq=6 delivered=False
        > alice: broadcast text=everyone
        < OK seq=7 undelivered=0
          alice, bob <- broadcast seq=7 from=Alice: everyone
        > bob: block user=carol
        < OK user=Carol
        > login user=carol
        < OK user=Carol unread=2 seq=9
          alice <- presence user=Carol online=True
        > carol: block key=k1 user=alice
        < OK user=Alice
        > depart user=carol session=9
        < OK
          nobody <- presence user=Carol online=False
        > deregister user=carol
        < OK user=Carol
          erased message seq=6 from=Alice: direct
        > register user=CAROL
        < OK user=CAROL
        > save
        > login user=carol
        < OK user=CAROL unread=0 seq=14
          alice <- presence user=CAROL online=True
        > carol gets
        =
        > carol history
        =
        > carol: unblock user=alice
        < NOT_BLOCKED: You have not blocked "Alice".
        > carol: message to=alice text=hello
        < OK seq=16 delivered=True
          alice <- message seq=16 from=CAROL: hello
        > carol: block key=k1 user=bob
        < OK user=Bob
        > alice: broadcast text=new
        < OK seq=18 undelivered=0
          alice, bob, carol <- broadcast seq=18 from=Alice: new
        > carol unread
        = 1
    """)


def test_a_name_that_is_removed_and_registered_anew_stays_blocked_by_those_who_blocked_it(three: Stage) -> None:
    three.play("""
        > bob: block user=carol
        < OK user=Carol
        > deregister user=carol
        < OK user=Carol
        > save
        > bob: block user=carol
        < ALREADY_BLOCKED: You have blocked "carol" already.
        > bob: block user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        > register user=carol
        < OK user=carol
        > save
        > login user=carol
        < OK user=carol unread=0 seq=11
          alice <- presence user=carol online=True
        > carol: message to=bob text='me again'
        < BLOCKED: "Bob" has blocked you: your message was not delivered.
        > carol: broadcast text='me again'
        < OK seq=13 undelivered=1
          alice, carol <- broadcast seq=13 from=carol: me again
        > carol sees
        = Alice
        > bob gets
        =
        > bob: unblock user=carol
        < OK user=carol
        > carol: message to=bob text='at last'
        < OK seq=15 delivered=True
          bob <- message seq=15 from=carol: at last
        > bob gets
        = carol: at last
    """)


def test_a_block_of_a_name_that_nobody_has_can_be_undone_and_goes_with_who_made_it(three: Stage) -> None:
    three.do("block", "alice", user="carol")
    three.do("block", "bob", user="carol")
    three.do("deregister", user="carol")
    three.save()
    three.play("""
        > alice: unblock user=Carol
        < OK user=carol
        > alice: unblock user=Carol
        < NO_SUCH_USER: There is no user "Carol".
        > edit accounts='{"bob": null}'
        < OK
          alice <- presence user=Bob online=False
          bob (login 5) ends: KICKED: The administrator logged you off.
        > save
        > register user=Carol
        < OK user=Carol
    """)
    assert not three.world.shunned and three.world.accounts["carol"].blocked_by is None


def test_a_clock_set_back_makes_nobody_one_who_was_here_lately(three: Stage) -> None:
    three.play("""
        > at 90000
        > depart user=bob session=5
        < OK
          alice <- presence user=Bob online=False
        > alice saw since=86400
        = Bob
        > at 1000
        > save
        > alice saw since=0
        =
        > login user=bob
        < OK user=Bob unread=0 seq=7
          alice <- presence user=Bob online=True
        > depart user=bob session=7
        < OK
          alice <- presence user=Bob online=False
        > alice saw since=0
        = Bob
    """)
