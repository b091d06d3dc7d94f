"""Three whole servers on one log, and everything fails: the engine, links, and the servers themselves.

The servers and their end of the log are the real ones; the engine is a small one in memory. In the end all worlds are
equal, and what was acknowledged is in each of them once.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.cluster import stream as log_stream
from chatlib.cluster.stream import ClusterLog
from chatlib.protocol.scram import ClientExchange
from chatlib.reactor.loop import Loop
from chatlib.server.server import Server
from chatlib.storage import nodefile
from chatlib.storage.home import Home
from tests.chance import examples, new_chance
from tests.cluster.small import NAME, Moments, SmallLink, Stream
from tests.core.stage import picture
from tests.server.house import PASSWORD, Clock, House, Peer
from tests.server.shared_nodes import InMemory, NodeHouse, SharedLog

USERS = {"a": "Columbia", "b": "Google", "c": "SEAS"}


class AllClocks(Moments):
    """The engine's time is that of all servers, and theirs goes on when somebody waits for the engine."""

    def __init__(self, clocks: list[Clock]) -> None:
        self._clocks = clocks
        super().__init__()

    @property
    def now(self) -> float:
        return self._clocks[0].now

    @now.setter
    def now(self, now: float) -> None:
        for clock in self._clocks:
            clock.now = now


class OnSmallEngine(InMemory):
    """What a cluster is to a server, over the small engine."""

    def __init__(self, engine: Stream, node: str) -> None:
        self.node, self.advertise, self.name, self.engine = node, "", NAME, None
        self._stream = engine

    @property
    def link(self) -> Any:
        return self.small

    def open(
        self, loop: Loop, _say: object, _inform: object, clock: Callable[[], float], wall: Callable[[], float]
    ) -> Any:
        self.small = SmallLink(self._stream)
        self.log = ClusterLog(self.small, NAME, self.node, loop, clock=clock, wall_clock=wall)  # type: ignore[arg-type]
        return self.log


class SmallHouse(NodeHouse):
    """A house that is a node of it."""

    cluster: OnSmallEngine  # type: ignore[assignment]

    def __init__(self, folder: Path, engine: Stream, node: str, clocks: list[Clock]) -> None:
        self._engine, self._clocks = engine, clocks
        super().__init__(folder, SharedLog(), node, lambda house: None)

    def build(self, home: Home) -> Server:
        if self.clock not in self._clocks:
            self.clock.now = self._clocks[0].now if self._clocks else self.clock.now
            self._clocks.append(self.clock)
        nodefile.write(home.data, self.node, NAME)
        self.cluster = OnSmallEngine(self._engine, self.node)
        server = Server(
            home, self.disk, self.files_disk, self._print, self.clock.monotonic, self.clock.wall,  # type: ignore[arg-type]
            cluster=self.cluster,  # type: ignore[arg-type]
        )  # fmt: skip
        server.loop.running = True
        return server

    def turn(self) -> None:
        for _ in range(3):
            self.cluster.small.pump()
            self.settle()

    def away(self) -> None:
        """The process has ended."""
        self._engine.links.remove(self.cluster.small)


class Trouble:
    """One story: whoever says things, and whatever goes wrong meanwhile."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.chance, self.engine, self.clocks = chance, Stream(), list[Clock]()
        self.engine.moments = AllClocks(self.clocks)
        (folder / "founder").mkdir(parents=True)
        assert House(folder / "founder").stop() == ""
        self.houses: dict[str, SmallHouse] = {}
        for node in USERS:
            shutil.copytree(folder / "founder", folder / node)
            self.houses[node] = SmallHouse(folder / node, self.engine, node, self.clocks)
        self.peers: dict[str, Peer] = {}
        self.said = 0
        self.acknowledged: set[int] = set()
        self.lost: set[int] = set()  # of which a server has said that it was not done

    @property
    def running(self) -> Iterator[SmallHouse]:
        return (house for house in self.houses.values() if house.running)

    @property
    def is_calm(self) -> bool:
        return self.engine.stores and all(house.cluster.small.connected for house in self.running)

    def passes(self, seconds: float, still: str = "") -> None:
        """`still`: a node that stands still meanwhile."""
        for _ in range(round(seconds * 2)):
            self.engine.moments.now += 0.5
            self._turns(still)
        self._turns(still)

    def _turns(self, still: str) -> None:
        for house in self.running:
            if house.node != still:
                house.turn()

    def hear(self) -> None:
        for peer in self.peers.values():
            for message in peer.hear():
                if message.get("action") == "broadcast":
                    (self.acknowledged if message["status"] == "OK" else self.lost).add(message["id"])

    # What people do.

    def come(self, node: str) -> None:
        house, user = self.houses[node], USERS[node]
        if not house.running or house.server.stopping or not self.is_calm:
            return
        peer = house.connect()
        peer.say({"action": "hello", "protocol": 1})
        self.passes(2)
        exchange = ClientExchange(user, "a-nonce-of-the-client")
        challenge = self._login(peer, exchange.first)
        if challenge.get("status") != "CONTINUE":
            return
        if self._login(peer, peer.final(exchange, challenge, PASSWORD)).get("status") == "OK":
            self.peers[node] = peer

    def _login(self, peer: Peer, scram: str) -> dict[str, Any]:
        peer.say({"action": "login", "scram": scram})
        self.passes(2)
        return ([{}] + peer.hear_all("login"))[-1]

    def talk(self, node: str) -> None:
        peer = self.peers.get(node)
        if peer is None or peer.closed:
            return
        for _ in range(self.chance.randrange(1, 9)):
            self.said += 1
            peer.say({"action": "broadcast", "id": self.said, "text": f"text {self.said}."})
        if self.chance.random() < 0.6:
            self.houses[node].turn()

    # What goes wrong.

    def stop(self, node: str) -> None:
        house = self.houses[node]
        house.server.stop()
        for _ in range(20):
            self.passes(0.5)
            if not house.server.loop.running:
                break
        self.hear()
        self._is_away(node, house.server.close())

    def _is_away(self, node: str, failure: str = "") -> None:
        assert not failure
        self.peers.pop(node, None)
        self.houses[node]._put_away()
        self.houses[node].away()

    def breaks(self, node: str) -> None:
        """It cannot go on, in the middle of anything."""
        house = self.houses[node]
        for other in sorted({*self.peers} - {node}):
            self.talk(other)
        if house.running:
            house.cluster.small.pump()
            house.server.pipeline.execute()
            house.cluster.log._failure = "Something is wrong with the log."
            house.server.run()
            self.hear()
            assert "Something is wrong" in house.server.close()
            self._is_away(node)

    def goes(self, node: str) -> None:
        if not self.houses[node].running:
            if self.is_calm:
                self.houses[node].restart()
        elif self.chance.random() < 0.5:
            self.stop(node)
        else:
            self.hear()
            self._is_away(node)

    def fails(self, node: str) -> None:
        engine, chance = self.engine, self.chance
        engine.stores, engine.acknowledges, engine.publishes = (chance.random() < 0.8 for _ in range(3))
        engine.refusals.extend(chance.choice([10158, 10008]) for _ in range(chance.randrange(3)))
        damage = chance.choice([0.0, 0.2])
        engine.answer = lambda position, message: self._replica(message, damage)
        if engine.messages:
            engine.store(chance.choice(list(engine.messages.values())))  # a copy, however late
        if self.houses[node].running:
            self.houses[node].cluster.small.lose()

    def _replica(self, message: bytes, damage: float) -> bytes | None:
        if self.chance.random() >= damage:
            return message
        return self.chance.choice([None, message[:-1] + b"!"])

    def mends(self, _node: str) -> None:
        self.engine.stores = True
        for house in self.running:
            if not house.cluster.small.connected:
                house.cluster.small.connect()

    def stands_still(self, node: str) -> None:
        self.passes(self.chance.choice([2, 7, 20]), still=self.chance.choice(["", node]))

    def ends(self) -> None:
        engine = self.engine
        engine.stores = engine.acknowledges = engine.publishes = True
        engine.refusals.clear()
        engine.answer = lambda position, message: message
        self.mends("")
        self.passes(20)
        for node, house in self.houses.items():
            if not house.running:
                self.goes(node)
        self.passes(20)
        self.hear()
        worlds = [picture(house.server.world) for house in self.houses.values()]
        assert worlds[0] == worlds[1] == worlds[2]
        for node, house in self.houses.items():
            self.stop(node)
            text = house.read("data/message_rep.txt")
            there = {number: text.count(f'"text {number}."') for number in range(1, self.said + 1)}
            assert set(there.values()) <= {0, 1}
            assert all(there[number] for number in self.acknowledged)
            assert not any(there[number] for number in self.lost)

    def close(self) -> None:
        for house in self.houses.values():
            house.close()


def test_whatever_goes_wrong_worlds_are_equal_and_nothing_is_lost_or_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "BUDGET", 3)  # nearly every batch is handed out in parts
    monkeypatch.setattr(log_stream, "SLICE", 2)
    chance = new_chance()
    acknowledged = 0
    for number in range(examples(8)):
        story = Trouble(tmp_path / str(number), chance)
        happens = [story.come, story.talk, story.talk, story.fails, story.mends, story.mends, story.stands_still]
        try:
            story.passes(1)
            for _ in range(60):
                chance.choice([*happens, *happens, story.goes, story.breaks])(chance.choice("abc"))
                story.hear()
            story.ends()
        finally:
            story.close()
        acknowledged += len(story.acknowledged)
    assert acknowledged
