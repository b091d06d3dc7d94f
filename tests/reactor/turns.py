"""A loop with a clock of its own, and channels that note what they are told."""

from __future__ import annotations

import socket
from collections.abc import Callable

from chatlib.reactor.connection import Connection
from chatlib.reactor.loop import Loop


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Turns:
    """A loop whose ticks a test makes one by one. Nothing waits for a clock; faults are kept."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.faults: list[BaseException] = []
        self.loop = Loop(self.faults.append, self.clock, self.clock)

    def tick(self, count: int = 1, after: float = 0.0) -> None:
        """Ticks that do not wait, `after` seconds from the last."""
        self.clock.now += after
        for _ in range(count):
            self.loop.call_at(self.clock.now, lambda: None)
            self.loop.tick()

    def until(self, reached: Callable[[], object]) -> None:
        """Ticks, waiting for descriptors, until something is so."""
        while not reached():
            self.loop.tick()


class Note:
    """A channel that notes its calls, and does with them what a test says."""

    def __init__(self, notes: list[str], name: str = "", **does: Callable[[], object]) -> None:
        self._notes, self._name, self._does = notes, name, does

    def _noted(self, call: str) -> None:
        self._notes.append(f"{self._name}{call}")
        if call in self._does:
            self._does[call]()

    def readable(self) -> None:
        self._noted("readable")

    def writable(self) -> None:
        self._noted("writable")

    def again(self) -> None:
        self._noted("again")

    def broken(self) -> None:
        self._noted("broken")


class Told:
    """Notes what a receiver is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.data = b""

    def received(self, data: bytes) -> None:
        self.data += data
        self.told.append("received")

    def ended(self) -> None:
        self.told.append("ended")

    def drained(self) -> None:
        self.told.append("drained")

    def overflowed(self) -> None:
        self.told.append("overflowed")

    def disconnected(self) -> None:
        self.told.append("disconnected")


class Peer(Told):
    """A connection under test, what its protocol was told, and the other end of its socket."""

    def __init__(self, turns: Turns, limit: int = 1 << 30, sock: socket.socket | None = None) -> None:
        if sock is None:
            sock, self.far = socket.socketpair()
            for end in (sock, self.far):  # small buffers: what a kernel takes at once is soon full
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            self.far.setblocking(False)
        super().__init__()
        self.connection = Connection(turns.loop, sock, "10.0.0.1", limit)
        self.connection.attach(self)

    def take(self, size: int = 1 << 20) -> bytes | None:
        """What has arrived at the far end; None: nothing, b"": its end."""
        try:
            return self.far.recv(size)
        except BlockingIOError:
            return None
