"""A file's bytes through a socket, plain and inside TLS: the calls that must wait, the ends, and who does not read."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.reactor.bulk import SLACK, Bulk, PlainBulk, TlsBulk
from chatlib.reactor.tlsstream import TlsStream, anonymous_contexts
from tests.chance import new_chance
from tests.reactor.turns import Turns

LISTENER, CALLER = anonymous_contexts()
WANTED = 100_000
CONTENT = bytes(range(256)) * 8_000  # 2 MB


class Far:
    """The other end: what it says and hears, plain or inside TLS."""

    def __init__(self, sock: socket.socket, stream: TlsStream | None) -> None:
        sock.setblocking(False)
        self.socket, self.stream, self.heard = sock, stream, b""

    def say(self, data: bytes) -> None:
        if self.stream:
            self.stream.write(data)
            data = self.stream.give_out()
        self.socket.sendall(data)

    def hear(self, size: int = 1 << 16) -> None:
        data = self.socket.recv(size)
        if self.stream:
            self.stream.take_in(data)
            data = self.stream.read()
        self.heard += data


def secured() -> tuple[TlsStream, TlsStream]:
    here, there = TlsStream(LISTENER, server=True), TlsStream(CALLER, server=False)
    while not (here.secured and there.secured):
        for one, other in ((there, here), (here, there)):
            one.shake()
            other.take_in(one.give_out())
    return here, there


@pytest.fixture(params=["plain", "tls"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Bulk, Far]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    bulk: Bulk
    if request.param == "plain":
        bulk, other = PlainBulk(near), Far(far, None)
    else:
        here, there = secured()
        bulk, other = TlsBulk(near, here), Far(far, there)
    yield bulk, other
    near.close()
    far.close()


def room() -> memoryview:
    return memoryview(bytearray(WANTED + SLACK))


def test_what_comes_is_taken_and_nothing_is_waited_for(ends: tuple[Bulk, Far]) -> None:
    bulk, far = ends
    buffer = room()
    with pytest.raises(BlockingIOError):
        bulk.take(buffer, WANTED)
    far.say(b"first")
    assert bytes(buffer[: bulk.take(buffer, WANTED)]) == b"first"
    with pytest.raises(BlockingIOError):
        bulk.take(buffer, WANTED)


def test_much_comes_in_any_pieces_and_fits(ends: tuple[Bulk, Far]) -> None:
    bulk, far = ends
    chance, got, sent, buffer = new_chance(), b"", 0, room()
    while len(got) < len(CONTENT):
        if sent < len(CONTENT):
            piece = CONTENT[sent : sent + chance.randrange(1, 30_000)]
            far.say(piece)
            sent += len(piece)
        wanted = chance.choice((1, 100, 5_000, WANTED))
        try:
            got += bytes(buffer[: bulk.take(buffer, wanted)])
        except BlockingIOError:
            continue
        assert len(got) <= sent
    assert got == CONTENT


def test_the_end_that_is_announced_and_what_came_before_it(ends: tuple[Bulk, Far]) -> None:
    bulk, far = ends
    far.say(b"last")
    if far.stream:
        far.stream.finish()
        far.socket.sendall(far.stream.give_out())
    far.socket.shutdown(socket.SHUT_WR)
    buffer = room()
    assert bytes(buffer[: bulk.take(buffer, WANTED)]) == b"last"
    assert bulk.take(buffer, WANTED) == 0


def test_a_file_goes_out_as_the_peer_takes_it(ends: tuple[Bulk, Far], turns: Turns, tmp_path: Path) -> None:
    bulk, far = ends
    (tmp_path / "file").write_bytes(CONTENT)
    file = os.open(tmp_path / "file", os.O_RDONLY)
    assert bulk.say(b"head") == 4
    position, waited = 0, 0
    while position < len(CONTENT):
        try:
            position += bulk.give(file, position, min(WANTED, len(CONTENT) - position))
        except BlockingIOError:
            waited += 1
            far.hear(5_000)
    while True:
        try:
            assert bulk.give(file, position, 0) == 0
            break
        except BlockingIOError:
            far.hear(5_000)
    os.close(file)
    bulk.finish(turns.loop, "10.0.0.1", b"tail")
    while len(far.heard) < len(CONTENT) + 8:
        turns.tick()
        far.hear()
    assert far.heard == b"head" + CONTENT + b"tail"
    assert waited > 10
    turns.tick()
    far.hear()
    assert far.stream is None or far.stream.over, "the end is announced"
    far.socket.close()
    turns.tick()


def test_a_file_that_is_shorter_than_it_was(ends: tuple[Bulk, Far], tmp_path: Path) -> None:
    bulk, _ = ends
    (tmp_path / "file").write_bytes(b"short")
    file = os.open(tmp_path / "file", os.O_RDONLY)
    assert (bulk.give(file, 0, WANTED), bulk.give(file, 5, WANTED)) == (5, 0)
    os.close(file)


# Inside TLS alone.


class Talkative:
    """A stream that has an answer to whatever comes."""

    over, pending, records = False, 0, b""

    def take_in(self, records: bytes) -> None:
        self.pending += 10_000

    def read_into(self, buffer: memoryview) -> int:
        return 1

    def give_out(self) -> bytes:
        said, self.pending = b"x" * self.pending, 0
        return said


def test_a_cut_is_no_end() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    bulk = TlsBulk(near, secured()[0])
    far.close()
    with pytest.raises(ConnectionResetError):
        bulk.take(room(), WANTED)
    near.close()


def test_what_tls_itself_has_to_say_is_said_and_bounded() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    stream: Any = Talkative()
    bulk = TlsBulk(near, stream)
    far.send(b"new keys, please")
    assert bulk.take(room(), WANTED) == 1
    assert len(far.recv(1 << 16)) == 10_000
    with pytest.raises(ConnectionAbortedError, match="does not read"):
        for _ in range(1_000):
            far.send(b"and again")
            bulk.take(room(), WANTED)
    near.close()
    far.close()
