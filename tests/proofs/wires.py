"""Connections for loads: many in one process, and nobody waits for one of them. Lines out, lines in, and file bytes.

A conversation of several steps (a login, a file) is a generator: it yields a request, and is given the reply. Replies
come in the order of the requests, so each wire has a queue of who waits for one.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import selectors
import socket
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from chatlib.protocol.scram import ClientExchange, salted_password

Message = dict[str, Any]
Hearing = Callable[[Message], None]
Talk = Generator[Message, Message, None]  # yields requests, is sent replies
_KEYS: dict[tuple[str, bytes, int], bytes] = {}


class Hub:
    """All wires of a process, and their selector."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.wires: set[Wire] = set()

    def pump(self, seconds: float) -> None:
        """Takes what comes within so many seconds; returns after the first that did."""
        for key, events in self.selector.select(max(0.0, seconds)):
            if events & selectors.EVENT_WRITE:
                key.data.flush()
            if events & selectors.EVENT_READ and key.data in self.wires:
                key.data.readable()

    def drain(self) -> None:
        """What a server that is gone has said still, on all wires."""
        while self.wires:
            self.pump(1.0)


class Wire:
    """One connection. `gone` is told when it ends, however that is."""

    def __init__(self, hub: Hub, port: int, event: Hearing, gone: Callable[[], None] = lambda: None) -> None:
        """Connects. To a server that is gone there is no connection: what is asked then is never answered."""
        self._hub, self._event, self._gone = hub, event, gone
        self.waiting: deque[Hearing] = deque()  # for replies
        self.bytes_to: Callable[[bytes], bool] | None = None  # takes what comes in place of lines; whether that is all
        self._rest, self._out = b"", bytearray()
        self.socket = socket.socket()
        try:
            self.socket.connect(("127.0.0.1", port))
        except ConnectionError:
            self.socket.close()
            return
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        hub.selector.register(self.socket, selectors.EVENT_READ, self)
        hub.wires.add(self)

    def ask(self, request: Message, hear: Hearing) -> None:
        """A request, and who takes its reply."""
        self.waiting.append(hear)
        self.send(json.dumps(request).encode() + b"\n")

    def converse(self, talk: Talk) -> None:
        """Carries on a conversation to its end, or the wire's."""
        self.ask(next(talk), lambda reply: self._go_on(talk, reply))

    def _go_on(self, talk: Talk, reply: Message) -> None:
        with contextlib.suppress(StopIteration):
            self.ask(talk.send(reply), lambda following: self._go_on(talk, following))

    def send(self, data: bytes) -> None:
        """Now as much as the kernel takes, and then the rest."""
        if self in self._hub.wires:
            self._out += data
            self.flush()

    def flush(self) -> None:
        """Sends what waits."""
        with contextlib.suppress(BlockingIOError, ConnectionError):  # that it is gone is seen when it is read
            while self._out:
                del self._out[: self.socket.send(memoryview(self._out)[: 1 << 18].tobytes())]
        if self in self._hub.wires:  # still
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
            self._hub.selector.modify(self.socket, wanted, self)

    def readable(self) -> None:
        """Takes what has come."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.close()
            return
        data = self._rest + data
        while data and self in self._hub.wires:
            if self.bytes_to is not None:
                if self.bytes_to(data):
                    self.close()
                data = b""
                break
            line, end, rest = data.partition(b"\n")
            if not end:
                break
            data = rest
            self._take(json.loads(line))
        self._rest = data

    def _take(self, message: Message) -> None:
        if "event" in message:
            self._event(message)
        else:
            self.waiting.popleft()(message)

    def close(self) -> None:
        """Ends it, and says so once."""
        if self in self._hub.wires:
            self._hub.wires.discard(self)
            self._hub.selector.unregister(self.socket)
            self.socket.close()
            self._gone()

    def reset(self) -> None:
        """Ends it as a cable that is pulled."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()


def prove(action: str, user: str, password: str, done: Hearing, **fields: Any) -> Talk:
    """A proof by password; `done` gets the reply that ends it."""
    exchange = ClientExchange(user, secrets.token_urlsafe(18))
    challenge = yield {"action": action, "scram": exchange.first}
    if challenge["status"] != "CONTINUE":
        done(challenge)
        return
    salt, iterations = exchange.salt_of(challenge["scram"])
    if (password, salt, iterations) not in _KEYS:
        _KEYS[password, salt, iterations] = salted_password(password, salt, iterations)
    final = exchange.final(challenge["scram"], _KEYS[password, salt, iterations])
    reply = yield {"action": action, "scram": final, **fields}
    if reply["status"] == "OK":
        exchange.check(reply["scram"])
    done(reply)


def hello(then: Talk) -> Talk:
    """A greeting, and what follows it."""
    reply = yield {"action": "hello", "protocol": 1}
    assert reply["status"] == "OK", reply
    yield from then


def bring(hub: Hub, port: int, granted: Message, content: bytes, done: Hearing) -> None:
    """Brings the bytes of a file, or the rest of them, on a wire of their own; `done` gets the reply."""

    def over(reply: Message) -> None:
        wire.close()
        done(reply)

    wire = Wire(hub, port, _nothing_else)
    wire.ask({"action": "upload", "ticket": granted["ticket"], "offset": granted["offset"]}, over)
    wire.send(content[granted["offset"] :])


def fetch(hub: Hub, port: int, granted: Message, refused: Hearing, done: Callable[[bytes], None]) -> None:
    """Fetches a file on a wire of its own; `done` gets all bytes, or `refused` a reply. Neither, when it breaks."""
    held, size = bytearray(), granted["size"]

    def take(data: bytes) -> bool:
        held.extend(data)
        if len(held) >= size:
            done(bytes(held))
        return len(held) >= size

    def begun(reply: Message) -> None:
        if reply["status"] != "OK":
            refused(reply)
        wire.bytes_to = take
        if reply["status"] != "OK" or (not size and take(b"")):
            wire.close()

    wire = Wire(hub, port, _nothing_else)
    wire.ask({"action": "download", "ticket": granted["ticket"], "offset": 0}, begun)


def _nothing_else(event: Message) -> None:
    """A wire for bytes hears of nothing but its end."""
