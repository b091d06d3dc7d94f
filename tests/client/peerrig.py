"""Clients side by side on one loop, with time as a test says, and a test in the place of the server that introduces."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.peers import Peers
from tests.patience import LIMIT
from tests.reactor.turns import Turns

KEY = bytes(range(32))
LOCAL = "127.0.0.1"


class Side:
    """One user. `news` is what was told, but for what was for the peers alone."""

    def __init__(self, stage: Stage, user: str, **options: Any) -> None:
        self.local = (socket.AF_INET, (LOCAL, 1))
        self.conversation = Conversation()
        self.conversation.user = user
        self.user = user
        self.peers = Peers(stage.turns.loop, self.conversation, lambda: self.local, wall=lambda: 7.0, **options)
        self.news: list[Any] = []
        self.reads = True  # what comes is shown at once
        self.stage = stage
        self.log_in()

    def log_in(self) -> None:
        self.conversation.tell(n.LoggedIn(self.user, 0, False, 0))
        self.collect()

    def collect(self) -> None:
        while self.conversation.has_news:
            for item in self.conversation.take_news():
                if not self.peers.heard(item):
                    self.news.append(item)
                    if isinstance(item, n.Arrived) and self.reads:
                        self.peers.shown(item.event)

    def hears(self, event: str, **fields: object) -> None:
        """The server says something."""
        self.conversation.tell(n.Arrived({"event": event, **fields}))
        self.collect()

    def told(self) -> list[int]:
        """The ports that the server was told of, unanswered."""
        requests = self.conversation.outbox.pending.values()
        return [int(str(each.fields["port"])) for each in requests if each.action == "listen"]

    @property
    def texts(self) -> list[str]:
        """What came directly."""
        return [item.event["text"] for item in self.all(n.Arrived) if item.event["event"] == "private"]

    def all(self, kind: type) -> list[Any]:
        return [item for item in self.news if isinstance(item, kind)]

    @property
    def closed(self) -> list[tuple[str, str, list[str]]]:
        """Each connection's end, and what was left."""
        return [(each.user, each.status, [one.content for one in each.left]) for each in self.all(n.LinkClosed)]


class Stage:
    """All sides, and the loop they share."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.sides: list[Side] = []
        self.turns.loop.phases = [self._collect]
        self._more: list[socket.socket] = []

    def _collect(self) -> None:
        for side in self.sides:
            side.collect()

    def side(self, user: str, **options: Any) -> Side:
        self.sides.append(Side(self, user, **options))
        return self.sides[-1]

    def introduce(self, one: Side, other: Side, key: bytes = KEY, **ports: int) -> None:
        for each, whom in ((one, other), (other, one)):
            port = ports.get(whom.user, whom.peers.port)
            each.hears("address", user=whom.user, address=LOCAL, port=port, key=key.hex())

    def until(self, reached: Callable[[], object]) -> None:
        """Turns, without time going on, until something is so."""
        limit = time.monotonic() + LIMIT
        while not reached():
            assert time.monotonic() < limit, [(side.user, side.news) for side in self.sides]
            self.turns.tick()

    def settle(self) -> None:
        """Turns until what is in the kernel has been read, most likely."""
        self.turns.tick(20)

    def later(self, seconds: float) -> None:
        self.turns.tick(after=seconds)
        self.settle()

    def socket(self, port: int) -> socket.socket:
        """Somebody else's, connected."""
        self._more.append(socket.create_connection((LOCAL, port)))
        self._more[-1].setblocking(False)
        self._more[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._more[-1]

    def close(self) -> None:
        for side in self.sides:
            side.peers.stop()
        for each in self._more:
            each.close()
        self.turns.loop.close()
        assert self.turns.faults == []
