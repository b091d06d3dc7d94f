"""Calling somebody without waiting: who answers, who does not, and who never will."""

from __future__ import annotations

import socket

import pytest

from chatlib.reactor.connector import Connector
from tests.reactor.turns import Turns


class Calls:
    """What a connector told."""

    def __init__(self, turns: Turns, place: tuple[object, ...], family: socket.AddressFamily = socket.AF_INET) -> None:
        self.done: list[socket.socket] = []
        self.failed: list[str] = []
        self.connector = Connector(turns.loop, (family, place), 5.0, self.done.append, self.failed.append)
        assert not (self.done or self.failed)  # never before there is a connector to be known

    @property
    def told(self) -> int:
        return len(self.done) + len(self.failed)


@pytest.mark.parametrize("family, address", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_somebody_is_there(turns: Turns, family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as server:
        calls = Calls(turns, server.getsockname(), family)
        turns.until(lambda: calls.told)
        peer, _ = server.accept()
        peer.send(b"hello")
        calls.done[0].setblocking(True)
        assert calls.done[0].recv(5) == b"hello"
        turns.tick(after=10.0)
        assert (len(calls.done), calls.failed) == (1, [])
        calls.done[0].close()
        peer.close()


def test_nobody_is_there(turns: Turns) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
    calls = Calls(turns, place)
    turns.until(lambda: calls.told)
    turns.tick(after=10.0)
    assert (calls.done, calls.failed) == ([], ["Connection refused"])


def test_nobody_answers(turns: Turns) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = [socket.socket() for _ in range(3)]
        for other in others:  # its queue is full
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        calls = Calls(turns, full.getsockname())
        turns.tick(3, after=1.0)
        assert not calls.told
        turns.tick(after=4.0)
        assert calls.failed == ["Connection timed out"]
        for other in others:
            other.close()


@pytest.mark.parametrize("place", [("127.0.0.1", 70_000), ("255.255.255.255", 1), ("127.0.0.1", -1)])
def test_what_is_no_place(turns: Turns, place: tuple[object, ...]) -> None:
    calls = Calls(turns, place)
    turns.until(lambda: calls.told)
    assert (calls.done, len(calls.failed)) == ([], 1)


def test_who_has_given_up_hears_nothing(turns: Turns) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls = [Calls(turns, server.getsockname()), Calls(turns, ("127.0.0.1", 70_000))]
        for each in calls:
            each.connector.cancel()
            each.connector.cancel()
        turns.tick(5, after=2.0)
        assert [each.told for each in calls] == [0, 0]
