"""A link, and an engine whose nodes fail in any way at any time: what is promised to its user holds all the same."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from chatlib.protocol.nats import Message
from chatlib.reactor.loop import Loop
from tests import chance
from tests.cluster.fakeengine import FakeEngine, Fate
from tests.cluster.linkrig import Clock, LinkRig
from tests.patience import LIMIT

GARBAGE = (b"MSG chat.out 2 5", b"\r\n", b"-ERR 'Stale Connection'\r\n", b"HMSG a 1 5 3\r\n", bytes(70_000), b"+OK\r\n")
STEPS = 150


class Chaos:
    """Each request is answered once; "connected" and "lost" take turns; what is heard comes while connected."""

    def __init__(self, engine: FakeEngine, luck: random.Random, loop: Loop | None, clock: Clock) -> None:
        self.engine, self.luck, self.loop = engine, luck, loop
        self.rig = LinkRig(engine.parse(), loop, clock)
        self.asked = self.answered = 0
        self.answers: list[int] = []  # how often each request was answered
        self.inside = False
        link = self.rig.link
        link.on_connected.append(lambda: self._check(link.connected))
        link.on_lost.append(lambda: self._check(not link.connected))
        link.subscribe("chat.out", lambda message: self._check(link.connected))

    def _check(self, right: bool) -> None:
        assert right and not self.inside

    def _within(self, call: Callable[[], object]) -> None:
        """Nobody is called back from within."""
        self.inside = True
        try:
            call()
        finally:
            self.inside = False

    def ask(self) -> None:
        number = len(self.answers)
        self.answers.append(0)

        def answered(message: Message | None) -> None:
            assert not self.inside
            self.answers[number] += 1

        payload = b"x" * self.luck.choice((0, 10, 100_000))
        patience = self.luck.choice((0.5, 2.0, 5.0))
        self._within(lambda: self.rig.link.request("chat.log", payload, answered, patience=patience))

    def deed(self) -> None:
        """One thing, to one node or the clock."""
        node, luck = self.luck.choice(self.engine.nodes), self.luck
        deeds: tuple[Callable[[], object], ...] = (
            node.kill,
            lambda: node._listener is None and node.start(),
            node.pause,
            node.resume,
            node.hang_up,
            lambda: node.say(luck.choice(GARBAGE)),
            lambda: node.read(luck.random() < 0.7),
            lambda: setattr(node, "greets", luck.random() < 0.7),
            lambda: self.engine.fates("chat", luck.choice(list(Fate))),
            lambda: self.engine.store("chat", b"x" * luck.choice((1, 1_000, 200_000))),
            lambda: self._within(lambda: self.rig.link.leave("why not")),
            lambda: self._within(lambda: self.rig.link.read(luck.random() < 0.7)),
            self.ask,
            self.ask,
            lambda: self.rig.clock.skip(luck.choice((0.1, 1.0, 3.0))),
            lambda: self.rig.clock.skip(luck.choice((0.1, 1.0, 3.0))),
        )
        luck.choice(deeds)()

    def pump(self) -> None:
        """A little, by the loop or without it."""
        if self.loop is not None and self.luck.random() < 0.7:
            for _ in range(3):
                self.loop.call_later(0.002, lambda: None)
                self.loop.tick()
        else:
            self.rig.link.wait(lambda: False, 0.003)

    def heal(self) -> None:
        for node in self.engine.nodes:
            node.greets = True
            node.read(True)
            node.resume()
            if node._listener is None:
                node.start()
        self.engine.do(self.engine._fates.clear)
        self.rig.link.read(True)


@pytest.mark.parametrize("looped", [False, True], ids=["alone", "in a loop"])
@pytest.mark.parametrize("seed", range(chance.examples(6)))
def test_whatever_becomes_of_the_nodes(seed: int, looped: bool) -> None:
    faults: list[BaseException] = []
    clock = Clock()
    loop = Loop(faults.append, clock) if looped else None
    with FakeEngine(nodes=3) as engine:
        engine.make()
        chaos = Chaos(engine, chance.new_chance(seed), loop, clock)
        for _ in range(STEPS):
            chaos.deed()
            chaos.pump()
            assert not faults
        chaos.heal()
        rig = chaos.rig
        heard: list[bytes] = []
        rig.link.subscribe("chat.out", lambda message: heard.append(message.payload))
        for _ in range(20):  # whatever rests or waits
            rig.clock.skip(3.0)
            chaos.pump()
        rig.until(lambda: rig.link.connected)
        rig.until(lambda: all(chaos.answers) or rig.clock.skip(1.0))
        assert set(chaos.answers) <= {1}
        assert rig.told == (["connected", "lost"] * len(rig.told))[: len(rig.told)]
        while not heard:  # a node that came back may have been left again
            engine.store("chat", b"at last")
            rig.link.wait(lambda: bool(heard), 0.2)
        assert heard[-1] == b"at last" and rig.link.failure == ""
        assert rig.link.wait(lambda: rig.link.backlog_size == 0, LIMIT)
        rig.link.close()
        if loop is not None:
            assert not loop._selector.get_map() and faults == []
            loop.close()
