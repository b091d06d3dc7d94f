"""A fake server inside TLS, a relay before it, and a client's link: all on one loop that a test turns by hand."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatlib.client.addresses import ServerAddress
from chatlib.client.conversation import Conversation
from chatlib.client.link import Link
from chatlib.client.servers import Servers
from chatlib.client.trust import KnownServers, context_of
from chatlib.client.trusts import Trusts
from chatlib.protocol.certificate import end_point
from chatlib.protocol.commands import State
from chatlib.reactor.connection import Connection, Listener
from chatlib.reactor.loop import Loop
from chatlib.reactor.tls import TlsConnection
from tests.client.certificates import certificate, der_of, server_context
from tests.client.fake_server import FakeServer

LIMIT = 1 << 22


def fault(error: BaseException) -> None:
    raise error


class Said:
    """A receiver that keeps what it is told."""

    def __init__(self) -> None:
        self.wire: Any = None
        self.over = False

    def received(self, data: bytes) -> None: ...

    def ended(self) -> None:
        self.wire.close()

    def drained(self) -> None: ...

    def overflowed(self) -> None:
        self.wire.abort()

    def disconnected(self) -> None:
        self.over = True


class Guest(Said):
    """One client at a :class:`TlsServer`."""

    def __init__(self, server: TlsServer) -> None:
        super().__init__()
        self._server, self._body = server, b""
        self._carries: dict[str, Any] | None = None

    def received(self, data: bytes) -> None:
        server = self._server
        server.heard += data
        if not server._secured and data[0] == 0x16:
            self.wire.push(b'{"status":"BAD_REQUEST"}\n')
            self.wire.close()
            return
        if self._carries is None and b'"ticket"' in data:
            line, _, data = data.partition(b"\n")
            self._carries = json.loads(line)
            server.carried.append(self._carries)
            if self._carries["action"] == "download":
                self.wire.push(server.body)
                self.wire.close()
        if self._carries is None:
            self.wire.push(server.fake.feed(data))
            return
        self._body += data
        if len(self._body) == server.expects:
            server.body = self._body
            self.wire.push(b'{"action":"upload","status":"OK","seq":1}\n')


class TlsServer:
    """A :class:`FakeServer` inside TLS with the certificate of `pem`; one chat at a time, and transfers. `secured`:
    False: it speaks no TLS."""

    def __init__(self, loop: Loop, pem: Path, *, secured: bool = True) -> None:
        self.fake = FakeServer()
        self.accepted, self.heard = 0, b""
        self.body, self.expects, self.carried = b"", 0, list[dict[str, Any]]()
        self.guests: list[Guest] = []
        self.begin: Callable[[Any], object] = lambda _: None
        self._loop, self._secured, self._gone = loop, secured, False
        listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = listening.getsockname()[1]
        self._listener = Listener(loop, listening, self._accepted, lambda _: None)
        self.show(pem)

    def show(self, pem: Path) -> None:
        """From now on, it has this certificate."""
        self._context = server_context(pem)
        self.fake.binding = end_point(der_of(pem)) if self._secured else b""

    def turn_away(self, wanted: bool = True) -> None:
        """It is gone, or back: whoever comes, is cut off at once."""
        self._gone = wanted
        if wanted:
            self.cut()

    def _accepted(self, sock: socket.socket, address: str) -> None:
        if self._gone:
            sock.close()
            return
        self.accepted += 1
        guest = Guest(self)
        self.guests.append(guest)
        below = Connection(self._loop, sock, address, LIMIT)
        if not self._secured:
            guest.wire = below
            below.attach(guest)
        else:
            guest.wire = TlsConnection(self._loop, below, self._context, guest, server=True, limit=LIMIT)
            guest.wire.begin()
        if not self.fake.online or self.guests[0].over:
            self.fake.connect()
        self.begin(guest)

    def say(self) -> None:
        """What the fake server says unasked."""
        self.guests[0].wire.push(self.fake.take())

    def cut(self) -> None:
        for guest in self.guests:
            guest.wire.abort()
        self.guests.clear()
        self.fake.connect()

    def close(self) -> None:
        self.cut()
        self._listener.close()


class _Half(Said):
    other: Any = None

    def received(self, data: bytes) -> None:
        self.other.push(data)

    def disconnected(self) -> None:
        self.over = True
        self.other.abort()


class Relay:
    """Somebody in between, with a certificate of his own: reads along, and hands on. `onward`: by TLS, too."""

    def __init__(self, loop: Loop, pem: Path, port: int, *, onward: bool = True) -> None:
        self._loop, self._context, self._to, self._onward = loop, server_context(pem), port, onward
        self.wires: list[Any] = []
        listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = listening.getsockname()[1]
        self._listener = Listener(loop, listening, self._accepted, lambda _: None)

    def _accepted(self, sock: socket.socket, address: str) -> None:
        near, far = _Half(), _Half()
        below = Connection(self._loop, sock, address, LIMIT)
        beyond = Connection(self._loop, socket.create_connection(("127.0.0.1", self._to)), address, LIMIT)
        near.wire = TlsConnection(self._loop, below, self._context, near, server=True)
        far.wire = beyond
        if self._onward:
            far.wire = TlsConnection(self._loop, beyond, context_of(None), far, server=False)
        else:
            beyond.attach(far)
        near.other, far.other = far.wire, near.wire
        near.wire.begin()
        if self._onward:
            far.wire.begin()
        self.wires += [near.wire, far.wire]

    def close(self) -> None:
        for wire in self.wires:
            wire.abort()
        self._listener.close()


class Bench:
    """A client's link to `port`. `skipped` is added to the clock; `news` is what the conversation told."""

    def __init__(self, folder: Path) -> None:
        self.skipped = 0.0
        self.loop = Loop(fault, clock=lambda: time.monotonic() + self.skipped)
        self.known = KnownServers(folder / "state" / "known_servers.txt")
        self.complaints: list[str] = []
        self._closers: list[Callable[[], object]] = [self.loop.close]

    def server(self, pem: Path | None = None, *, secured: bool = True) -> TlsServer:
        made = TlsServer(self.loop, pem or certificate(), secured=secured)
        self._closers.append(made.close)
        return made

    def relay(self, pem: Path, port: int, *, onward: bool = True) -> Relay:
        made = Relay(self.loop, pem, port, onward=onward)
        self._closers.append(made.close)
        return made

    def dial(self, port: int, *, host: str = "127.0.0.1", tls: bool = True, cafile: Path | None = None) -> Bench:
        self.news: list[Any] = []
        self.conversation = Conversation()
        self.port = port
        trusts = Trusts(cafile=cafile, known=self.known, complain=self.complaints.append) if tls else None
        servers = Servers([ServerAddress(host, port)], trusts)
        self.link = Link(self.loop, servers, self.conversation, jitter=lambda: 0.0)
        self._closers.append(self.link.close)
        self.loop.phases = [self.link.turn, self.hear, self.link.flush]
        return self

    def dial_several(
        self, *ports: int, ask: Callable[[str, str], None] | None = None, cafile: Path | None = None
    ) -> Bench:
        """Several servers, in this order."""
        self.news = []
        self.conversation = Conversation()
        self.trusts = Trusts(cafile=cafile, known=self.known, complain=self.complaints.append, ask=ask)
        own = [ServerAddress("127.0.0.1", port) for port in ports]
        self.link = Link(self.loop, Servers(own, self.trusts, lambda _: None), self.conversation, jitter=lambda: 0.0)
        self._closers.append(self.link.close)
        self.loop.phases = [self.link.turn, self.hear, self.link.flush]
        return self

    def hear(self) -> None:
        self.news += self.conversation.take_news()

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(3_000):
            if condition():
                return
            self.loop.call_later(0.01, lambda: None)
            self.loop.tick()
        raise AssertionError(f"it did not come: {self.news[-5:]}")

    def got(self, kind: type) -> list[Any]:
        return [item for item in self.news if isinstance(item, kind)]

    def comes(self, kind: type) -> Any:
        """The next news of this kind."""
        before = len(self.got(kind))
        self.until(lambda: len(self.got(kind)) > before)
        return self.got(kind)[before]

    def over(self) -> Any:
        """How it has ended."""
        self.until(lambda: self.conversation.ended)
        return self.conversation.ended

    def prove(self, password: str = "secret") -> None:
        self.until(lambda: self.conversation.state is State.GREETED)
        self.conversation.login("bob", self.loop.now)
        self.until(lambda: self.conversation._entrance._proof and self.conversation._entrance._proof._challenge)
        self.conversation.give_password(password)
        self.conversation.prove(self.loop.now)

    def log_in(self) -> Bench:
        self.prove()
        self.until(lambda: self.conversation.state is State.ONLINE)
        return self

    def remembered(self) -> str:
        return self.known.path.read_text() if self.known.path.exists() else ""

    def close(self) -> None:
        for close in reversed(self._closers):
            close()
