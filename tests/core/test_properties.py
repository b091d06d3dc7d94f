"""What must hold for any commands: determinism, the world at rest, and exactly-once delivery over any crash."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatlib.core.nodes import FORMAT
from chatlib.core.peers import allowances
from chatlib.core.sessions import sessions_of
from chatlib.storage.parameters import defaults
from tests.chance import examples
from tests.core.stage import Stage, all_waiting, loaded, new_world, picture, saved, whole_history

pytestmark = pytest.mark.usefixtures("small_streams")
USERS = ("ann", "bea", "cyd", "dan")
user = st.sampled_from(USERS)
name = st.sampled_from([*USERS, "Ann", "BEA", "nobody"])
text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
title = st.sampled_from(["plans", "Plans", "%"])
key = st.sampled_from(["k1", "k2", "k3"])
node = st.sampled_from(["a", "b"])
address = st.sampled_from(["10.0.0.1", "10.0.0.2"])


def fields(action: str, **kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"action": st.just(action), **kinds})


def maybe_keyed(action: str, **kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"action": st.just(action), "by": user, **kinds}, optional={"key": key})


PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "MaxCon": st.integers(1, 4),
        "DUPLICATE_LOGIN": st.sampled_from(["refuse", "replace", "share", "share"]),
        "SESSIONS": st.integers(1, 3),
        "BLOCK_SCOPE": st.sampled_from(["user_ip", "user"]),
        "MAX_FAILURES": st.integers(1, 3),
        "BLOCK_TIME": st.sampled_from([0.1, 60.0]),
        "PRESENCE_LIMIT": st.integers(0, 3),
        "REGISTRATION": st.sampled_from(["open", "closed"]),
    },
)
COMMANDS = st.one_of(
    fields("register", user=name, verifier=st.just("v")),
    st.fixed_dictionaries(
        {"action": st.just("login"), "user": user, "address": address},
        optional={"client": st.sampled_from(["c1", "c2"]), "seen": st.integers(0, 30), "resume": st.integers(0, 30),
                  "node": node, "connection": st.integers(1, 3)},
    ),
    fields("wrong_password", user=user, address=address),
    fields("depart", user=user, session=st.integers(1, 40), seen=st.integers(0, 40)),
    st.fixed_dictionaries({"action": st.just("logout"), "by": user, "number": st.integers(1, 3)}),
    fields("deregister", user=user),
    fields("start", left=st.floats(0, 100)),
    fields("node_up", node=node, incarnation=st.integers(1, 3), format=st.just(FORMAT), left=st.floats(0, 100)),
    fields("node_down", node=node, incarnation=st.integers(1, 3), number=st.just(1)),
    fields("snapshot_begin", node=node, position=st.just(0)),
    fields("snapshot_end", node=node),
    fields("kick", user=name),
    fields("unlock", user=name),
    fields("seen", seen=st.dictionaries(user, st.integers(0, 40), max_size=2)),
    fields("edit", parameters=PARAMETERS, accounts=st.dictionaries(user, st.sampled_from(["w", None]), max_size=2)),
    fields("edit", parameters=PARAMETERS, accounts=st.dictionaries(user, st.sampled_from(["w", None]), max_size=2),
           written=st.lists(st.integers(0, 40), min_size=2, max_size=2)),
    maybe_keyed("message", to=name, text=text),
    maybe_keyed("message", to=name, text=text),
    maybe_keyed("broadcast", text=text),
    maybe_keyed("block", user=name),
    maybe_keyed("unblock", user=name),
    maybe_keyed("allow", user=name),
    maybe_keyed("disallow", user=name),
    maybe_keyed("password", verifier=st.just("w")),
    maybe_keyed("crt", title=title),
    maybe_keyed("msg", title=title, text=text),
    maybe_keyed("msg", title=title, text=text),
    maybe_keyed("edt", title=title, number=st.integers(1, 3), text=text),
    maybe_keyed("dlt", title=title, number=st.integers(1, 3)),
    maybe_keyed("rmv", title=title),
    maybe_keyed("follow", title=title),
    maybe_keyed("unfollow", title=title),
    fields("remove_thread", title=title),
)  # fmt: skip
STEPS = st.lists(st.tuples(COMMANDS, st.sampled_from([0.0, 0.001, 7.0, 61.0])), min_size=10, max_size=60)


def begun() -> Stage:
    """Everyone is registered and online, so that random commands find someone."""
    stage = Stage()
    for one in USERS:
        stage.do("register", user=one, verifier="v")
        stage.do("login", user=one, address="10.0.0.1", client="c1")
    stage.recorder.take()
    return stage


def consistent(stage: Stage) -> None:
    """What holds in any world."""
    world = stage.world
    assert set(world.online) <= set(world.accounts)
    assert not set(world.shunned) & set(world.accounts)
    assert set(world.further) <= set(world.online)
    for one in world.online:
        found = sessions_of(world, one)
        for marks in ({each.number for each in found}, {each.login for each in found}):
            assert len(marks) == len(found)
        unnamed = [each.login for each in found if not each.client]  # nobody takes their places
        assert unnamed == sorted(unnamed)
    for index in (world.accounts, world.online):
        assert list(index.after("")) == sorted(index)
    gone = sorted((account.left, one) for one, account in world.accounts.items() if account.left)
    assert list(world.departures.between((-1.0, ""), (1e99, ""))[1]) == gone
    agreed = allowances(world)
    given = {(one, other) for one, others in agreed.given.items() for other in others}
    assert given == {(one, other) for other, held in agreed.held.items() for one in held}
    assert {one for pair in given for one in pair} <= world.accounts.keys(), "an allowance goes with either account"
    assert not any(other in (world.accounts[one].blocks or ()) for one, other in given), "a block ends it"
    for one, account in world.accounts.items():
        assert account.user == one == account.name.lower()
        for other in account.blocks or ():
            there = world.accounts[other].blocked_by if other in world.accounts else world.shunned[other]
            assert one in (there or ())
            assert len((account.refused or {})[other]) % 2, "a block that holds has no end"
        for other in account.blocked_by or ():
            assert one in (world.accounts[other].blocks or ())
        for empty in (account.blocks, account.blocked_by, account.refused):
            assert empty is None or empty
        assert account.blocks is None or account.blocks == sorted(set(account.blocks))
        waiting = all_waiting(world, one, account.seen)
        assert [seq for seq, _ in waiting] == sorted({seq for seq, _ in waiting})
        assert world.unread(account) == len(waiting)
        history = whole_history(world, one, world.lsn + 1)
        assert set(waiting) <= set(history)
        assert [seq for seq, _ in history] == sorted((seq for seq, _ in history), reverse=True)
        for seq, offset in history:
            if stage.recorder.messages[offset : offset + 1] != b" ":  # erased with the account that it was for
                stage.stored(seq, offset)


@given(STEPS)
def test_the_same_commands_make_equal_worlds_that_say_the_same(steps: list[tuple[dict[str, Any], float]]) -> None:
    stage, twin, restarted = begun(), begun(), begun()
    for number, (command, pause) in enumerate(steps):
        for one in (stage, twin, restarted):
            one.now += pause
        command = dict(command)
        action = command.pop("action")
        reply = stage.do(action, **command)
        said = stage.recorder.take()
        json.dumps(reply)
        assert reply["status"]
        assert ("text" in reply) == (reply["status"] != "OK")
        assert twin.do(action, **command) == reply
        assert twin.recorder.take() == said
        # A world that went through its files in between can not be told from one that did not.
        if number % 3 == 0:
            restarted.save()
        assert restarted.do(action, **command) == reply
        assert restarted.recorder.take() == said
        consistent(stage)
    assert picture(stage.world) == picture(twin.world) == picture(restarted.world) == picture(stage.replayed())
    assert stage.recorder.messages == twin.recorder.messages == restarted.recorder.messages


@given(STEPS)
def test_the_world_comes_back_from_its_files_at_any_point(steps: list[tuple[dict[str, Any], float]]) -> None:
    stage = begun()
    for command, pause in steps:
        stage.now += pause
        stage.do(**command)
        _, recorder = new_world()
        again = loaded(saved(stage.world), recorder)
        assert picture(again) == picture(stage.world)
        assert saved(again) == saved(stage.world)


def test_refusals_change_nothing_but_the_clock() -> None:
    stage = begun()
    stage.do("block", "ann", user="bea")
    for action, by, more in [
        ("message", "bea", {"to": "ann", "text": "x"}), ("message", "ann", {"to": "ann", "text": "x"}),
        ("message", "ann", {"to": "nobody", "text": "x"}), ("block", "ann", {"user": "ann"}),
        ("block", "ann", {"user": "bea"}), ("block", "ann", {"user": "nobody"}), ("unblock", "ann", {"user": "cyd"}),
        ("register", None, {"user": "ANN", "verifier": "x"}), ("deregister", None, {"user": "ann"}),
        ("login", None, {"user": "ann", "address": "10.0.0.9"}), ("depart", None, {"user": "ann", "session": 1}),
        ("unlock", None, {"user": "ann"}), ("kick", None, {"user": "nobody"}),
    ]:  # fmt: skip
        before = picture(stage.world)
        assert stage.do(action, by, **more)["status"] != "OK"
        assert {**picture(stage.world), "lsn": before["lsn"]} == before
        assert not [said for said in stage.recorder.take() if said]


# Redelivery: a server that crashes, connections that are cut, clients that remember the last seq shown.


@dataclass
class Client:
    """What a client program keeps, and its connection: events on their way, of which a cut may lose the end."""

    shown: list[str] = field(default_factory=list)
    last: int = 0
    session: int = 0  # LSN of the login; 0: not connected
    on_the_way: list[dict[str, Any]] = field(default_factory=list)

    def read(self, count: int) -> None:
        """Takes `count` events out of the connection, and drops what it has seen."""
        for event in self.on_the_way[:count]:
            if event["event"] in ("message", "broadcast") and event["seq"] > self.last:
                self.last = event["seq"]
                self.shown.append(event["text"])
        del self.on_the_way[:count]


class Network:
    """A server's edge in a few lines: it hands out what waited, then what comes, as the wire's rules say."""

    def __init__(self) -> None:
        self.stage = Stage(**{**defaults(), "DUPLICATE_LOGIN": "replace"})
        self.clients = {one: Client() for one in USERS}
        self.wanted: dict[str, list[str]] = {one: [] for one in USERS}
        self.blocks: set[tuple[str, str]] = set()
        self.sent = 0
        self.kept: tuple[dict[str, list[str]], bytes, int] | None = None  # the last checkpoint
        for one in USERS:
            self.stage.do("register", user=one, verifier="v")
        for one in USERS:
            self.login(one)

    def do(self, action: str, by: str | None = None, **more: Any) -> dict[str, Any]:
        self.stage.now += 0.25
        reply = self.stage.do(action, by, **more)
        for said in self.stage.recorder.take():
            if said[0] == "hears":
                for hearer in said[1]:
                    self.clients[hearer].on_the_way.append(json.loads(said[2]))
        return reply

    def login(self, one: str) -> None:
        client = self.clients[one]
        reply = self.do("login", user=one, address="10.0.0.1")
        assert reply["status"] == "OK"
        world = self.stage.world
        waiting = all_waiting(world, one, world.accounts[one].seen)
        assert reply["unread"] == len(waiting)
        client.session = reply["seq"]
        client.on_the_way = [json.loads(self.stage.stored(*position)[0]) for position in waiting]

    def cut(self, one: str) -> None:
        """The connection dies, the server notices: only what was acknowledged counts as seen."""
        client = self.clients[one]
        if client.session:
            self.do("depart", user=one, session=client.session)
        client.session, client.on_the_way = 0, []

    def say(self, one: str, to: str | None) -> None:
        if not self.clients[one].session:
            return
        self.sent += 1
        said = f"{self.sent}"
        if to is None:
            reply = self.do("broadcast", one, text=said)
            hearers = [other for other in USERS if (other, one) not in self.blocks]
            assert reply["undelivered"] == len(USERS) - len(hearers)
        else:
            reply = self.do("message", one, to=to, text=said)
            hearers = [to] if to != one and (to, one) not in self.blocks else []
            assert (reply["status"] == "OK") == bool(hearers)
        for hearer in hearers:
            self.wanted[hearer].append(said)

    def block(self, one: str, other: str) -> None:
        if self.clients[one].session and one != other:
            known = (one, other) in self.blocks
            self.do("unblock" if known else "block", one, user=other)
            self.blocks ^= {(one, other)}

    def acknowledge(self, one: str) -> None:
        if self.clients[one].session:
            self.do("seen", seen={one: self.clients[one].last})

    def checkpoint(self) -> None:
        stage = self.stage
        self.kept = (saved(stage.world), bytes(stage.recorder.messages), len(stage.log))

    def crash(self) -> None:
        """The server dies; the next one reads the files, cuts the message store back, and replays the journal."""
        stage = self.stage
        files, messages, position = self.kept or (saved(new_world(**stage.world.parameters)[0]), b"", 0)
        before = picture(stage.world), bytes(stage.recorder.messages)
        stage.recorder.messages[:] = messages
        stage.world = loaded(files, stage.recorder)
        for _, body in stage.log[position:]:
            stage.recorder.carry_out(stage.world.execute(json.loads(body))[1])
        stage.recorder.take()
        assert (picture(stage.world), bytes(stage.recorder.messages)) == before
        self.do("start", left=stage.now)
        for client in self.clients.values():
            client.session, client.on_the_way = 0, []


ACTS = st.one_of(
    st.tuples(st.just("say"), user, st.none() | user),
    st.tuples(st.just("say"), user, st.none() | user),
    st.tuples(st.just("read"), user, st.integers(1, 9)),
    st.tuples(st.just("login"), user),
    st.tuples(st.just("login"), user),
    st.tuples(st.just("acknowledge"), user),
    st.tuples(st.just("cut"), user),
    st.tuples(st.just("block"), user, user),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("crash")),
)


@settings(max_examples=examples(200))
@given(st.lists(ACTS, min_size=30, max_size=100))
def test_every_message_is_shown_exactly_once_in_order_and_never_to_who_blocks(acts: list[tuple[Any, ...]]) -> None:
    network = Network()
    for act, *words in acts:
        if act == "read":
            network.clients[words[0]].read(words[1])
        else:
            getattr(network, act)(*words)
    # In the end everyone is here once more and reads everything.
    for one in USERS:
        network.login(one)
        client = network.clients[one]
        client.read(len(client.on_the_way))
        assert client.shown == network.wanted[one], one
        network.acknowledge(one)
        assert network.stage.unread(one) == "0"
        assert network.stage.gets(one) == ""


def test_what_is_seen_never_goes_back() -> None:
    stage = begun()
    stage.do("seen", seen={"ann": 8})
    for action, more in [
        ("seen", {"seen": {"ann": 3}}),
        ("depart", {"user": "ann", "session": 2, "seen": 5}),
        ("login", {"user": "ann", "address": "10.0.0.1", "seen": 7}),
    ]:
        stage.do(action, **more)
        assert stage.world.accounts["ann"].seen == 8


def test_nobody_has_seen_what_is_still_to_come() -> None:
    stage = begun()
    stage.do("seen", seen={"ann": 1_000})
    stage.do("login", user="bea", address="10.0.0.2", seen=1_000)
    stage.do("depart", user="cyd", session=6, seen=1_000)
    assert [stage.world.accounts[one].seen for one in ("ann", "bea", "cyd")] == [9, 3, 11]
    stage.do("kick", user="bea")
    stage.do("login", user="bea", address="10.0.0.2", seen=1_000, resume=1_000)
    assert stage.world.accounts["bea"].seen == stage.world.online["bea"].away_from == stage.lsn - 1


def test_epochs_of_one_name_share_nothing() -> None:
    """A name that was freed and taken again gets no broadcast, block or key of its former owner."""
    stage = begun()
    stage.do("block", "bea", user="ann")
    stage.do("broadcast", "ann", text="old", key="k1")
    stage.do("edit", accounts={"ann": None, "bea": None})
    stage.do("register", user="ann", verifier="v")
    stage.do("register", user="bea", verifier="v")
    stage.save()
    for one in ("ann", "bea"):
        stage.do("login", user=one, address="10.0.0.1")
        assert stage.history(one) == ""
    reply = stage.do("broadcast", "ann", text="new", key="k1")
    assert (reply["status"], reply["undelivered"]) == ("OK", 0)
    assert stage.history("bea") == "ann: new"
