"""The cutting proxy itself, by an injected clock: what it promises, so that the proofs prove something."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.patience import LIMIT
from tests.program.cutting_proxy import CuttingProxy, Fault, Plan


class Bench:
    """A client and a server socket with a proxy between them, and a clock that a test moves."""

    def __init__(self, plan: Plan) -> None:
        self.now = 0.0
        self.listener = socket.create_server(("127.0.0.1", 0))
        upstream = self.listener.getsockname()[1]
        self.proxy = CuttingProxy(random.Random(1), lambda _: plan, upstream, lambda: self.now)
        self.client = socket.create_connection(("127.0.0.1", self.proxy.port))
        self.listener.setblocking(False)
        self.server: socket.socket
        self.until(self._accepted)

    def _accepted(self) -> bool:
        try:
            self.server, _ = self.listener.accept()
        except BlockingIOError:
            return False
        for each in (self.client, self.server):
            each.setblocking(False)
        return True

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT
        while not true():
            assert time.monotonic() < deadline
            self.proxy.step(0.005)

    def heard(self, sock: socket.socket, ends: bool = False) -> bytes | str:
        """What comes until nothing more does; "reset" or "end" for the end."""
        found = b""
        for _ in range(4 if not ends else 4_000):
            self.proxy.step(0.005)
            try:
                chunk = sock.recv(65_536)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return "reset"
            if not chunk:
                return found.decode() + "end"
            found += chunk
        return found

    def close(self) -> None:
        self.proxy.close()
        for each in (self.client, self.server, self.listener):
            each.close()


@pytest.fixture
def bench() -> Iterator[Callable[[Plan], Bench]]:
    made: list[Bench] = []

    def make(plan: Plan) -> Bench:
        made.append(Bench(plan))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_good_network(bench: Callable[[Plan], Bench]) -> None:
    wire = bench(Plan())
    wire.client.sendall(b"up")
    wire.server.sendall(b"down")
    assert (wire.heard(wire.server), wire.heard(wire.client)) == (b"up", b"down")
    wire.client.close()
    assert wire.heard(wire.server, ends=True) == "end"


def test_one_byte_at_a_time(bench: Callable[[Plan], Bench]) -> None:
    wire = bench(Plan(drip=5))
    wire.client.sendall(b"0123456789")
    pieces = []
    while b"".join(pieces) != b"0123456789":
        wire.proxy.step(0.005)
        try:
            pieces.append(wire.server.recv(65_536))
        except BlockingIOError:
            continue
    assert [len(piece) for piece in pieces[:5]] == [1] * 5


@pytest.mark.parametrize(("fault", "ending"), [(Fault.RESET, "reset"), (Fault.CLOSE, "end")])
def test_a_cut_after_so_many_bytes(bench: Callable[[Plan], Bench], fault: Fault, ending: str) -> None:
    wire = bench(Plan(fault, after_bytes=4))
    wire.client.sendall(b"0123456789")
    heard = wire.heard(wire.server, ends=True)
    assert heard in ("reset", "0123end") and str(heard).endswith(ending)
    assert wire.heard(wire.client, ends=True) in ("reset", "end")


def test_a_stall_goes_on(bench: Callable[[Plan], Bench]) -> None:
    wire = bench(Plan(Fault.STALL, after_bytes=4, stall=7.0))
    wire.client.sendall(b"0123456789")
    wire.server.sendall(b"down")
    assert wire.heard(wire.server) == b"0123"
    wire.client.close()
    wire.now = 6.9
    assert wire.heard(wire.server) == b""
    wire.now = 7.1
    assert wire.heard(wire.server, ends=True) == "456789end", "also what a client had said that has left meanwhile"


def test_a_stall_that_ends_in_a_reset(bench: Callable[[Plan], Bench]) -> None:
    wire = bench(Plan(Fault.STALL_RESET, after_seconds=1.0, stall=1.0))
    wire.now = 1.5
    wire.client.sendall(b"x")
    assert wire.heard(wire.server) == b""
    wire.now = 3.0
    assert wire.heard(wire.server, ends=True) == wire.heard(wire.client, ends=True) == "reset"


@pytest.mark.parametrize("fault", [Fault.HALF_UP, Fault.HALF_DOWN, Fault.HALF_BOTH])
def test_half_open(bench: Callable[[Plan], Bench], fault: Fault) -> None:
    wire = bench(Plan(fault, after_seconds=1.0))
    wire.now = 2.0
    wire.heard(wire.server)
    wire.client.sendall(b"up")
    wire.server.sendall(b"down")
    assert wire.heard(wire.server) == (b"up" if fault is Fault.HALF_DOWN else b"")
    assert wire.heard(wire.client) == (b"down" if fault is Fault.HALF_UP else b"")
    wire.client.close()
    assert wire.heard(wire.server) == ("end" if fault is Fault.HALF_DOWN else b""), "silent, not closed"


def test_calm(bench: Callable[[Plan], Bench]) -> None:
    wire = bench(Plan(Fault.RESET, after_bytes=4, after_seconds=1.0))
    wire.proxy.calm()
    wire.now = 2.0
    wire.client.sendall(b"0123456789")
    assert wire.heard(wire.server) == b"0123456789"
