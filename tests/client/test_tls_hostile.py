"""Whatever a server says where TLS should be: the client ends, or comes back, and nothing of it is an exception."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.client import news as n
from chatlib.client.filelinks import FetchLink
from chatlib.client.sockets import HANDSHAKE
from chatlib.protocol.text import printable
from chatlib.reactor.connection import Connection, Listener
from chatlib.reactor.tlsstream import TlsStream
from tests.chance import examples, new_chance
from tests.client.certificates import NEEDS_OPENSSL, certificate, server_context
from tests.client.test_tls_files import Files
from tests.client.tlsrig import LIMIT, Bench, Said

pytestmark = NEEDS_OPENSSL


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


class Mutant(Said):
    """TLS as it should be, but for what `spoil` makes of the bytes of each flight."""

    def __init__(self, server: Mutants) -> None:
        super().__init__()
        self._server, self._stream = server, TlsStream(server.context, server=True)

    def received(self, data: bytes) -> None:
        self._stream.take_in(data)
        try:
            self._stream.shake()
            if self._stream.secured:
                self._stream.write(b'{"event":"notice","text":"x"}\n')
        except OSError:
            pass  # what the client says to it
        records = self._stream.give_out()
        if records and self.wire.open:
            self.wire.push(self._server.spoil(records))

    def ended(self) -> None:
        self.wire.abort()


class Mutants:
    def __init__(self, bench: Bench, seed: int) -> None:
        self._loop, self._chance = bench.loop, new_chance(seed)
        self.context = server_context(certificate())
        listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = listening.getsockname()[1]
        self._listener = Listener(bench.loop, listening, self._accepted, lambda _: None)
        self.wires: list[Connection] = []
        bench._closers.append(self.close)

    def _accepted(self, sock: socket.socket, address: str) -> None:
        mutant = Mutant(self)
        mutant.wire = Connection(self._loop, sock, address, LIMIT)
        mutant.wire.attach(mutant)
        self.wires.append(mutant.wire)

    def spoil(self, records: bytes) -> bytes:
        chance, at = self._chance, self._chance.randrange(len(records))
        match chance.randrange(5):
            case 0:  # a bit
                return records[:at] + bytes([records[at] ^ 1 << chance.randrange(8)]) + records[at + 1 :]
            case 1:  # an end
                return records[:at]
            case 2:  # once more
                return records[:at] + records
            case 3:  # something else in between
                return records[:at] + chance.randbytes(chance.randrange(1, 300)) + records[at:]
            case _:  # a length
                return records[:3] + chance.randbytes(2) + records[5:]

    def close(self) -> None:
        for wire in self.wires:
            wire.abort()
        self._listener.close()


@pytest.mark.parametrize("seed", range(examples(40)))
def test_a_spoiled_handshake(bench: Bench, seed: int) -> None:
    server = Mutants(bench, seed)
    bench.dial(server.port)
    for _ in range(12):
        bench.loop.call_later(0.001, lambda: None)
        bench.loop.tick()
    for wire in server.wires:  # what stalls is cut
        wire.abort()
    bench.until(lambda: bench.conversation.ended or bench.conversation.state is not None or bench.news)
    ended = bench.conversation.ended
    if ended:
        assert ended.status in ("UNREACHABLE", "LOST", "NOT_TRUSTED") and printable(ended.text) == ended.text
    assert not bench.remembered()


def test_what_a_server_says_inside_is_heard_as_without_tls(bench: Bench) -> None:
    chance = new_chance(5)
    server = bench.server()
    bench.dial(server.port).log_in()
    server.guests[0].wire.push(chance.randbytes(300).replace(b"\n", b"") + b"\n")
    assert bench.over().text == "The server does not speak this program's protocol."


# Files.


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    made = Files(tmp_path)
    yield made
    made.queue.stop()
    made.close()


class Silent(Said):
    """Says `first`, and then nothing."""

    def __init__(self, first: bytes) -> None:
        super().__init__()
        self._first = first

    def received(self, data: bytes) -> None:
        self.wire.push(self._first)
        self._first = b""


@pytest.mark.parametrize(("first", "why"), [(b"\x16\x03\x03", "nothing moved any more"), (b"x" * 9, "no TLS: "),
                                            (b"\x16\x03\x03\x40\x00" + bytes(HANDSHAKE), "no TLS: ")])  # fmt: skip
def test_a_handshake_for_a_file_that_comes_to_nothing(files: Files, first: bytes, why: str) -> None:
    """It counts as a connection that broke, and is tried again."""
    listening = socket.create_server(("127.0.0.1", 0))
    wires: list[Connection] = []

    def accepted(sock: socket.socket, address: str) -> None:
        silent = Silent(first)
        silent.wire = Connection(files.loop, sock, address, LIMIT)
        silent.wire.attach(silent)
        wires.append(silent.wire)

    listener = Listener(files.loop, listening, accepted, lambda _: None)
    reasons: list[str] = []

    class Owner:
        def broken(self, reason: str) -> None:
            reasons.append(reason)

    assert files.link.peer
    way = files.link.peer._replace(address=(socket.AF_INET, listening.getsockname()))
    link = FetchLink(files.loop, way, "t", 0, None, 5, Owner())  # type: ignore[arg-type]
    link.begin()
    for _ in range(30):
        files.loop.call_later(0.002, lambda: None)
        files.loop.tick()
    if not reasons:
        link._look()
        link._look()
    assert len(reasons) == 1 and reasons[0].startswith(why)
    for wire in wires:
        wire.abort()
    listener.close()
    assert files.got(n.Ended) == []
