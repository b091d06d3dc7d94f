"""Bans, mutes, MAX_USERS and MAIL_QUOTA, as the world has them."""

from __future__ import annotations

import pytest

from chatlib.core.effects import BAR
from chatlib.core.rulings import Bans, Ruling, Rulings, roughly
from chatlib.protocol.network import network
from tests.chance import new_chance
from tests.core.stage import Stage, picture


def people(*names: str, **parameters: int) -> Stage:
    """All registered, and the first one online. A version that knows the limits has started."""
    stage = Stage(**parameters)
    stage.do("start", left=0.0, limited=True)
    for name in names:
        stage.do("register", user=name, verifier=f"v-{name}")
    stage.do("login", user=names[0], address="10.0.0.1")
    stage.recorder.take()
    return stage


# Bans.


def test_a_ban_of_a_name() -> None:
    people("ann", "eve").play("""
        > login user=eve address=10.0.0.2
        < OK user=eve unread=0 seq=5
          ann <- presence user=eve online=True
        > ban user=Eve seconds=7200 reason=spam
        < OK who=eve lasts= for 2 hours (spam)
          ann <- presence user=eve online=False
          eve (login 5) ends: BANNED: "eve" is banned for another 2 hours (spam). Ask the administrator.
        > save
        > at 3600.5
        > login user=eve
        < BANNED until=7200.0 reason=spam: "eve" is banned for another 60 minutes (spam). Ask the administrator.
        > deregister user=eve
        < OK user=eve
        > register user=EVE
        < BANNED: The name "EVE" is banned. Ask the administrator.
        > at 7200
        > register user=eve
        < OK user=eve
        > login user=eve
        < OK user=eve unread=0 seq=11
          ann <- presence user=eve online=True
        > unban user=eve
        < NOT_BANNED: "eve" is not banned.
        > ban user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        > ban user=eve
        < OK who=eve lasts= for ever
          ann <- presence user=eve online=False
          eve (login 11) ends: BANNED: "eve" is banned. Ask the administrator.
        > unban user=eve
        < OK who=eve
        > login user=eve
        < OK user=eve unread=0 seq=16
          ann <- presence user=eve online=True
        """)


def test_a_ban_ends_all_sessions_of_its_user() -> None:
    stage = people("ann", "eve")
    stage.do("edit", parameters={"DUPLICATE_LOGIN": "share"})
    for client in ("a", "b", "c"):
        stage.do("login", user="eve", address="10.0.0.2", client=client)
    stage.do("ban", user="eve")
    assert sum(said[0] == "ends" for said in stage.recorder.take()) == 3
    assert "eve" not in stage.world.online and not stage.world.further


def test_a_ban_of_a_network_is_told_to_the_edge_and_kept() -> None:
    stage = people("ann")
    stage.play("""
        > ban network=10.0.0.7/24 seconds=60
        < OK who=10.0.0.0/24 lasts= for 60 seconds
          10.0.0.0/24 is barred
        > ban network=10.0.0.0/8
        < OK who=10.0.0.0/8 lasts= for ever
          10.0.0.0/8 is barred
        > save
        > unban network=10.0.0.0/16
        < NOT_BANNED: "10.0.0.0/16" is not banned.
        """)
    bans = stage.world.bans
    assert (found := bans.of_address("10.0.0.9", 1.0)) and not found.until, "the one that holds longest"
    assert bans.of_address("10.1.1.1", 1.0) and not bans.of_address("11.0.0.1", 1.0) and not bans.of_address("x", 1.0)
    stage.do("unban", network="10.0.0.0/8")
    assert (found := bans.of_address("10.0.0.9", 1.0)) and found.until == 60.0
    assert not bans.of_address("10.0.0.9", 60.0) and not bans.of_address("10.1.1.1", 1.0)


def test_rulings_that_are_over_are_forgotten_a_few_at_a_time() -> None:
    stage = people("ann")
    for number in range(100):
        stage.do("ban", network=f"10.0.0.{number}", seconds=10.0)
    stage.now = 20.0
    for number in range(60):
        stage.do("ban", network=f"10.1.0.{number}")
    assert set(stage.world.bans.networks._all) == {f"10.1.0.{number}" for number in range(60)}
    assert set(stage.world.bans._by_prefix) == {(4, 32)}
    assert picture(stage.replayed()) == picture(stage.world)


def test_so_many_bans_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.core.door.MOST", 1)
    people("ann", "eve").play("""
        > ban network=10.0.0.1
        < OK who=10.0.0.1 lasts= for ever
          10.0.0.1 is barred
        > ban network=10.0.0.2
        < TOO_MANY_BANS: There are 1 already: take some back first.
        > ban network=10.0.0.1 reason=again
        < OK who=10.0.0.1 lasts= for ever (again)
          10.0.0.1 is barred
        > mute user=ann
        < OK who=ann lasts= for ever
          ann <- notice: You are muted. You may read on. Ask the administrator.
        > mute user=eve
        < TOO_MANY_BANS: There are 1 already: take some back first.
        """)


def test_addresses_are_found_as_by_looking_at_all() -> None:
    random, bans, plain = new_chance(), Bans(), dict[str, Ruling]()
    for _ in range(400):
        bits = random.choice((8, 16, 24, 30, 32))
        found = network(f"10.0.{random.randrange(4)}.{random.randrange(8)}/{bits}")
        assert found is not None
        if random.random() < 0.5:
            plain[found.text] = ruling = Ruling(0.0, random.choice((0.0, 5.0, 50.0)), "")
            bans.put(found, ruling)
        else:
            assert bans.take(found) == plain.pop(found.text, None)
        address, now = f"10.0.{random.randrange(4)}.{random.randrange(8)}", random.choice((1.0, 20.0))
        holding = [ruling for text, ruling in plain.items()
                   if (one := network(text)) and one.holds(address) and ruling.holds(now)]  # fmt: skip
        longest = max((ruling.until or 1e9 for ruling in holding), default=None)
        ruling_found = bans.of_address(address, now)
        assert (ruling_found and (ruling_found.until or 1e9)) == longest


def test_times_in_words() -> None:
    assert [roughly(seconds) for seconds in (0.2, 1, 61, 119, 120, 3_601, 7_199, 7_200, 172_801)] == [
        "1 second", "1 second", "61 seconds", "2 minutes", "2 minutes", "61 minutes", "2 hours", "2 hours",
        "3 days"]  # fmt: skip
    assert Rulings().over(1.0) == [] and BAR == "bar"


# Mutes.


def test_whoever_is_muted_reads_and_does_everything_but_speak() -> None:
    stage = people("ann", "eve")
    stage.do("crt", "ann", title="Plans")
    stage.do("login", user="eve", address="10.0.0.2")
    stage.do("message", "eve", to="ann", text="before", key="k1")
    stage.recorder.take()
    stage.play("""
        > mute user=eve seconds=600
        < OK who=eve lasts= for 10 minutes
          eve <- notice: You are muted for another 10 minutes. You may read on. Ask the administrator.
        > eve: message to=ann text=hi key=k2
        < MUTED until=600.0: You are muted for another 10 minutes. You may read on. Ask the administrator.
        > eve: message to=ann text=before key=k1
        < OK seq=7 delivered=True
        > save
        > eve: block user=ann
        < OK user=ann
        > eve: unblock user=ann
        < OK user=ann
        > eve: follow title=Plans
        < OK thread=Plans
        > at 600
        > eve: message to=ann text=hi key=k2
        < MUTED until=600.0: You are muted for another 10 minutes. You may read on. Ask the administrator.
        > eve: message to=ann text=hi key=k3
        < OK seq=15 delivered=True
          ann <- message seq=15 from=eve: hi
        > mute user=eve
        < OK who=eve lasts= for ever
          eve <- notice: You are muted. You may read on. Ask the administrator.
        > unmute user=eve
        < OK who=eve
          eve <- notice: You are not muted any more.
        > unmute user=eve
        < NOT_MUTED: "eve" is not muted.
        > mute user=nobody
        < NO_SUCH_USER: There is no user "nobody".
        """)


@pytest.mark.parametrize(("action", "fields", "speaks"), [
    ("message", {"to": "ann", "text": "x"}, True), ("broadcast", {"text": "x"}, True), ("crt", {"title": "New"}, True),
    ("msg", {"title": "Plans", "text": "x"}, True), ("edt", {"title": "Plans", "number": 1, "text": "y"}, True),
    ("pay", {"to": "ann", "amount": 1, "memo": "x", "key": "k"}, True),
    ("pay", {"to": "ann", "amount": 1, "key": "k"}, False), ("dlt", {"title": "Plans", "number": 1}, False),
    ("rmv", {"title": "Mine"}, False), ("block", {"user": "ann"}, False), ("allow", {"user": "ann"}, False),
    ("file_stored", {"user": "eve", "to": "ann", "name": "a", "size": 1, "sha256": "0", "blob": "b"}, True),
])  # fmt: skip
def test_what_speaks(action: str, fields: dict[str, object], speaks: bool) -> None:
    stage = people("eve", "ann")
    for title in ("Plans", "Mine"):
        stage.do("crt", "eve", title=title)
    stage.do("msg", "eve", title="Plans", text="first")
    stage.do("mute", user="eve")
    reply = stage.do(action, None if "user" in fields and action == "file_stored" else "eve", **fields)
    assert (reply["status"] == "MUTED") is speaks and (speaks or reply["status"] == "OK")
    assert picture(stage.replayed()) == picture(stage.world)


# MAX_USERS.


def test_so_many_users_are_enough_but_not_for_the_administrator() -> None:
    people("ann", "bob", MAX_USERS=2).play("""
        > register user=cyd
        < TOO_MANY_USERS: This server has all of its 2 users. Ask the administrator.
        > edit accounts='{"cyd": "v"}'
        < OK
        > edit parameters='{"MAX_USERS": 0}'
        < OK
        > register user=dan
        < OK user=dan
        """)


def test_what_an_earlier_version_took_in_is_taken_in_again() -> None:
    """Its `start` did not say that there are limits; they hold from the first one that does."""
    stage = Stage(MAX_USERS=1, MAIL_QUOTA=1)
    stage.do("start", left=0.0)
    for name in ("ann", "bob"):
        assert stage.do("register", user=name, verifier="v")["status"] == "OK"
    stage.do("login", user="ann", address="10.0.0.1")
    for _ in range(3):
        assert stage.do("message", "ann", to="bob", text="x")["status"] == "OK"
    stage.do("start", left=0.0, limited=True)
    stage.save()
    assert stage.world.limited
    assert stage.do("register", user="cyd", verifier="v")["status"] == "TOO_MANY_USERS"
    stage.do("login", user="ann", address="10.0.0.1")
    statuses = [stage.do("message", "ann", to="bob", text="x")["status"] for _ in range(2)]
    assert statuses == ["OK", "MAILBOX_FULL"], "counted from then on"


# MAIL_QUOTA.


def test_a_mailbox_is_full_for_one_sender_and_has_room_when_it_was_read() -> None:
    stage = people("ann", "bob", "cyd", MAIL_QUOTA=2)
    stage.do("login", user="cyd", address="10.0.0.3")
    stage.recorder.take()
    stage.play("""
        > ann: message to=bob text=1
        < OK seq=7 delivered=False
        > ann: message to=bob text=2
        < OK seq=8 delivered=False
        > ann: message to=bob text=3
        < MAILBOX_FULL: 2 of your messages wait for "bob" already: no more is taken before some are read.
        > cyd: message to=bob text=4
        < OK seq=10 delivered=False
        > save
        > ann: message to=cyd text=5
        < OK seq=11 delivered=True
          cyd <- message seq=11 from=ann: 5
        > ann: broadcast text=6
        < OK seq=12 undelivered=0
          ann, cyd <- broadcast seq=12 from=ann: 6
        > login user=bob
        < OK user=bob unread=4 seq=13
          ann, cyd <- presence user=bob online=True
        > ann: message to=bob text=7
        < OK seq=14 delivered=True
          bob <- message seq=14 from=ann: 7
        > seen seen='{"bob": 7}'
        < OK
        > depart user=bob session=13 seen=7
        < OK
          ann, cyd <- presence user=bob online=False
        > ann: message to=bob text=8
        < OK seq=17 delivered=False
        > ann: message to=bob text=9
        < MAILBOX_FULL: 2 of your messages wait for "bob" already: no more is taken before some are read.
        > edit parameters='{"MAIL_QUOTA": 0}'
        < OK
        > ann: message to=bob text=10
        < OK seq=20 delivered=False
        """)
    assert picture(stage.replayed()) != {} and stage.world.accounts["bob"].waiting is not None
    stage.do("seen", seen={"bob": 20})
    assert stage.world.accounts["bob"].waiting is None, "nothing is kept of who has nothing waiting"


@pytest.mark.parametrize("quota", [1, 3, 31, 100])
def test_the_count_is_as_a_plain_list_says(quota: int) -> None:
    """Exactly below 32; above that, a sixteenth that was seen may count for a while, and nothing else."""
    random = new_chance(str(quota))
    stage = people("ann", "bob", MAIL_QUOTA=quota)
    waiting: list[int] = []
    slack = quota // 16 if quota >= 32 else 0
    for _ in range(30 * quota):
        if random.random() < 0.6 / quota and waiting:
            seen = random.choice(waiting)
            stage.do("seen", seen={"bob": seen})
            waiting = [seq for seq in waiting if seq > seen]
        else:
            status = stage.do("message", "ann", to="bob", text="x")["status"]
            if status == "OK":
                waiting.append(stage.lsn)
                assert len(waiting) <= quota
            else:
                assert status == "MAILBOX_FULL" and len(waiting) >= quota - slack
        if random.random() < 0.01:
            stage.save()
    assert sum(map(len, (stage.world.accounts["bob"].waiting or {}).values())) <= 40
