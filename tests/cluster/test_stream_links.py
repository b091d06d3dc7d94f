"""The log over a real link, to the fake engine and its faults, and to the real one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.cluster import reading, stream
from chatlib.cluster.link import EngineLink
from chatlib.cluster.setup import check_streams, make_streams
from chatlib.protocol import nats
from chatlib.storage.log import CommitFailed
from tests.chance import examples, new_chance
from tests.cluster.engine import PASSWORD, USER, Engine, why_not
from tests.cluster.fakeengine import FakeEngine, Fate
from tests.cluster.small import Linked, live

Build = Callable[[str], Linked]


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(nodes=3) as engine:
        engine.make()
        yield engine


@pytest.fixture
def build(engine: FakeEngine) -> Iterator[Build]:
    with contextlib.ExitStack() as opened:

        def build_one(node: str) -> Linked:
            server = Linked(engine.parse(), node)
            opened.callback(server.close)
            return server

        yield build_one


def have(record: str, *servers: Linked) -> Callable[[], bool]:
    return lambda: all(record.encode() in server.executed for server in servers)


def the_same(*servers: Linked) -> None:
    """When nothing more comes, all have executed the same."""
    live(lambda: len({server.nodes.place for server in servers}) == 1, *servers)
    for server in servers[1:]:
        assert server.executed == servers[0].executed


def test_three_servers_have_one_order(build: Build) -> None:
    a, b, c = build("a"), build("b"), build("c")
    for number in range(20):
        for server in (a, b, c):
            server.append(f"{server.node}{number}")
            server.tick()
    live(lambda: all(have(f"{node}19", a, b, c)() for node in "abc"), a, b, c)
    the_same(a, b, c)
    assert [one for one in a.own if one[:1] == b"a"] == [b"a%d" % number for number in range(20)]


@pytest.mark.parametrize("fate", list(Fate))
def test_whatever_becomes_of_a_message_it_is_carried_out_once(engine: FakeEngine, build: Build, fate: Fate) -> None:
    a, b = build("a"), build("b")
    engine.fates("chat", fate, 2)
    a.append("one")
    a.tick()
    a.append("two")
    live(have("two", a, b), a, b)
    the_same(a, b)
    assert a.executed.count(b"one") == a.executed.count(b"two") == 1 and not a.waiting


def test_copies_that_come_late_change_nothing(engine: FakeEngine, build: Build) -> None:
    a, b = build("a"), build("b")
    for number in range(5):
        a.append(f"{number}")
        a.settle()
    for position in range(1, engine.streams["chat"].last + 1):
        engine.repeat("chat", position)
    a.append("then")
    live(have("then", a, b), a, b)
    the_same(a, b)
    assert len(a.executed) == len(set(a.executed)) and a.over == b.over == 0


def test_a_node_of_the_engine_that_is_killed_or_hangs_up_costs_nothing(engine: FakeEngine, build: Build) -> None:
    a, b = build("a"), build("b")
    for number, fail in enumerate([engine.nodes[0].kill, engine.nodes[1].hang_up, engine.nodes[0].start,
                                   engine.nodes[1].kill]):  # fmt: skip
        a.append(f"before {number}")
        fail()
        b.append(f"after {number}")
        live(lambda number=number: have(f"after {number}", a, b)() and not a.waiting, a, b)  # type: ignore[misc]
    the_same(a, b)
    assert len(a.executed) == 10


def test_a_node_of_the_engine_that_was_cut_off_is_left(
    engine: FakeEngine, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "USELESS", 0.6)
    a, b = build("a"), build("b")
    engine.nodes[0].replica().upto = engine.streams["chat"].last
    engine.nodes[0].isolated = True
    a.append("goes on")
    live(have("goes on", a, b), a, b)
    the_same(a, b)


def test_damage_of_one_node_is_passed_by(engine: FakeEngine, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "USELESS", 0.4)
    a = build("a")
    for number in range(30):
        a.append(f"{number}")
        a.settle()
    replica = engine.nodes[0].replica()
    replica.missing |= {3, 9, 10}
    replica.damaged[20] = engine.streams["chat"].messages[20].payload[:-4] + b"???\n"
    b = build("b")
    live(have("up b 1", a, b), a, b)
    the_same(a, b)


def test_damage_of_all_of_them_ends_it(engine: FakeEngine, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "USELESS", 0.4)
    monkeypatch.setattr(reading, "PATIENCE", 2.0)
    a = build("a")
    for number in range(9):
        a.append(f"{number}")
        a.settle()
    engine.do(lambda: engine.streams["chat"].delete(5))
    with pytest.raises(CommitFailed, match="there is nothing at 5, and something at 6"):
        build("b")
    a.append("minds nothing")
    a.settle()


def test_a_log_that_was_made_shorter_meanwhile(engine: FakeEngine, build: Build) -> None:
    a, b = build("a"), build("b")
    for node in engine.nodes:
        node.hang_up()
    for number in range(9):
        a.append(f"{number}")
        a.settle()
    engine.do(lambda: engine.streams["chat"].purge({"seq": 8}))
    with pytest.raises(CommitFailed, match="begins at 8 by now, and [0-9] was to be read next"):
        live(lambda: False, b)


def test_servers_and_an_engine_that_fail_at_random(engine: FakeEngine, build: Build) -> None:
    chance = new_chance()
    servers = [build(name) for name in "abc"]
    fates = [fate for fate in Fate if fate is not Fate.STORED]
    for number in range(25 * examples(4)):
        server = chance.choice(servers)
        server.append(f"{server.node}{number}")
        if chance.random() < 0.1:
            engine.fates("chat", chance.choice(fates), chance.randrange(1, 4))
        if chance.random() < 0.05:
            chance.choice(engine.nodes).hang_up()
        if chance.random() < 0.1:
            engine.repeat("chat", chance.randrange(1, engine.streams["chat"].last + 1))
        for each in servers:
            each.tick()
    live(lambda: not any(server.waiting for server in servers), *servers)
    the_same(*servers)
    said = [one for one in servers[0].executed if not one.startswith(b"up ")]
    assert len(said) == len(set(said)) == 25 * examples(4) and not any(server.over for server in servers)


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_the_real_engine_keeps_the_order_whoever_of_its_nodes_dies(tmp_path: Path) -> None:
    with Engine(tmp_path / "engine") as engine, contextlib.ExitStack() as opened:
        engine.wait_ready()
        places = ",".join(f"127.0.0.1:{node.port}" for node in engine.nodes.values())
        parsed = nats.parse(f"nats://{USER}:{PASSWORD}@{places}/chat")
        link = EngineLink(None, parsed)
        opened.callback(link.close)
        make_streams(link, "chat", "0123456789abcdef")
        assert check_streams(link, "chat") == "0123456789abcdef"
        servers = [Linked(parsed, name) for name in "abc"]
        for server in servers:
            opened.callback(server.close)
        for number, who in enumerate(("leader", "follower")):
            _say(servers, 20, f"before {number} ")
            node = engine.node(who, "chat")
            node.kill()
            _say(servers, 20, f"without {number} ")
            node.start()
            engine.wait_whole("chat")
        follower = engine.node("follower", "chat")
        follower.terminate()
        follower.truncate("chat")
        follower.start()
        late = Linked(parsed, "late")
        opened.callback(late.close)
        _say([*servers, late], 10, "at last ")
        the_same(*servers, late)
        said = [one for one in late.executed if not one.startswith(b"up ")]
        assert len(said) == len(set(said)) == 3 * 80 + 4 * 10
        assert servers[0].said == []


def _say(servers: list[Linked], count: int, words: str) -> None:
    """Each of them says so many things, one in each tick, and all is carried out."""
    for number in range(count):
        for server in servers:
            server.append(f"{words}{server.node}{number}")
            server.tick()
    live(lambda: not any(server.waiting for server in servers), *servers)
