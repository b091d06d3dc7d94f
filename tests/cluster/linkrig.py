"""A link to a fake engine, on a clock that a test can put forward, and what it was told, in order."""

from __future__ import annotations

import time
from collections.abc import Callable

from chatlib.cluster.link import EngineLink
from chatlib.protocol import nats
from chatlib.protocol.nats import Message
from chatlib.reactor.loop import Loop
from tests.patience import LIMIT


class Clock:
    """The machine's, and what was skipped."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped

    def skip(self, seconds: float) -> None:
        self.skipped += seconds


class LinkRig:
    """`said` is for people; `told` has what happened: "connected", "lost", and payloads of what was heard."""

    def __init__(self, engine: nats.Engine, loop: Loop | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.said: list[str] = []
        self.told: list[str] = []
        self.link = EngineLink(loop, engine, self.said.append, self.clock)
        self.link.on_connected.append(lambda: self.told.append("connected"))
        self.link.on_lost.append(lambda: self.told.append("lost"))

    def connected(self) -> LinkRig:
        self.until(lambda: self.link.connected)
        return self

    def until(self, holds: Callable[[], object]) -> None:
        """Pumps the link until that holds."""
        begun = time.monotonic()
        while not self.link.wait(lambda: bool(holds()), 1.0):
            assert time.monotonic() - begun < LIMIT, f"{self.told} {self.said}"

    def pump(self) -> None:
        """All that is due now."""
        self.link.wait(lambda: False, 0.02)

    def hear(self, subject: str) -> None:
        self.link.subscribe(subject, lambda message: self.told.append(message.payload.decode()))

    def ask(self, subject: str, payload: bytes = b"", patience: float = LIMIT) -> None:
        """The answer is told as its payload, its status where it has none, or "no answer"."""

        def answered(message: Message | None) -> None:
            words = message and (message.payload.decode() or str(message.status))
            self.told.append(words or "no answer")

        self.link.request(subject, payload, answered, patience=patience)
