"""Sockets: a fake server on the same loop, lost connections, and back-off by an injected clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.link import Link
from chatlib.client.servers import Servers
from chatlib.protocol.commands import State
from chatlib.reactor.loop import Loop
from tests.client.linkrig import Peer, fault


class Bench:
    """A link and its peer. `skipped` is added to the clock."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.loop = Loop(fault, clock=lambda: time.monotonic() + self.skipped)
        self.peer = Peer(self.loop)
        self.news: list[Any] = []
        self.conversation = Conversation()
        self.link = Link(self.loop, Servers(f"127.0.0.1:{self.peer.port}"), self.conversation, jitter=lambda: 1.0)
        self.loop.phases = [self.link.turn, self._hear, self.link.flush]

    def _hear(self) -> None:
        self.news += self.conversation.take_news()

    def run_until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1_000):
            if condition():
                return
            self.link.flush()
            self.loop.tick()
        raise AssertionError(f"it did not come: {self.news}")

    def log_in(self) -> None:
        self.link.flush()
        self.run_until(lambda: n.Greeted() in self.news)
        self.conversation.login("bob", self.loop.now)
        self.run_until(lambda: isinstance(self.news[-1], n.Challenged))
        self.conversation.give_password("secret")
        self.conversation.prove(self.loop.now)
        self.run_until(lambda: self.conversation.state is State.ONLINE)

    def close(self) -> None:
        self.link.close()
        self.peer.close()
        self.loop.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


@pytest.mark.parametrize("reset", [False, True])
def test_a_lost_connection_comes_back_at_once_and_nothing_is_lost(bench: Bench, reset: bool) -> None:
    bench.log_in()
    bench.skipped += 5.0
    bench.peer.server.mute = True
    bench.conversation.request("message", {"to": "ann", "text": "once"}, bench.loop.now)
    bench.run_until(lambda: bool(bench.peer.server.effects))
    bench.peer.cut(reset)
    bench.peer.server.mute = False
    bench.run_until(lambda: isinstance(bench.news[-1], n.Answered))
    assert bench.peer.server.effects == ["once"] and bench.peer.accepted == 2
    assert [type(item) for item in bench.news[-3:]] == [n.Lost, n.LoggedIn, n.Answered]


def test_break(bench: Bench) -> None:
    bench.log_in()
    bench.skipped += 5.0
    bench.link.drop()
    assert bench.conversation.state is None
    bench.run_until(lambda: bench.conversation.state is State.ONLINE)


def test_the_first_connection_that_cannot_be_made_is_the_end(bench: Bench) -> None:
    bench.peer.close()
    bench.run_until(lambda: bench.conversation.ended is not None)
    ended = bench.conversation.ended
    assert ended and ended.status == "UNREACHABLE" and "Connection refused" in ended.text
    bench.peer = Peer(bench.loop)


def test_a_name_that_does_not_exist() -> None:
    loop = Loop(fault)
    conversation = Conversation()
    Link(loop, Servers("no-such-host.invalid:1"), conversation).turn()
    loop.close()
    assert conversation.ended and "cannot be reached" in conversation.ended.text


def test_back_off_doubles_up_to_thirty_seconds(bench: Bench) -> None:
    bench.log_in()
    bench.skipped += 5.0
    bench.peer.close()
    waits: list[float] = []
    for _ in range(8):
        lost = len([item for item in bench.news if isinstance(item, n.Lost)])
        bench.run_until(lambda lost=lost: len([i for i in bench.news if isinstance(i, n.Lost)]) > lost)  # type: ignore[misc]
        waits.append(round(bench.link.retry_at - bench.loop.now))
        bench.skipped += waits[-1]
    assert waits == [0, 1, 2, 4, 8, 16, 30, 30]
    bench.peer = Peer(bench.loop)


def test_what_the_kernel_does_not_take_at_once_is_sent_later(bench: Bench) -> None:
    bench.log_in()
    texts = [f"{number} " + "x" * 4_000 for number in range(600)]
    for text in texts:
        bench.conversation.request("message", {"to": "ann", "text": text}, bench.loop.now)
    bench.run_until(lambda: not bench.conversation.outbox.pending)
    assert bench.peer.server.effects == texts


def test_a_bye_is_heard_although_sending_fails(bench: Bench) -> None:
    bench.log_in()
    bench.peer.server.say({"event": "bye", "status": "KICKED", "text": "Out."})
    assert bench.peer.connection is not None
    bench.peer.connection.sendall(bench.peer.server.take())
    bench.peer.cut()
    bench.conversation.request("message", {"to": "ann", "text": "x"}, bench.loop.now)
    bench.run_until(lambda: bench.conversation.ended is not None)
    assert bench.conversation.ended and bench.conversation.ended.status == "KICKED"
