"""The other end of a connection to a house: says requests, hears lines, proves passwords."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chatlib.protocol.scram import ClientExchange, make_verifier, salted_password

if TYPE_CHECKING:
    from tests.server.house import House

ITERATIONS = 4096
PASSWORD = "open sesame"
SALT = b"salt of the tests"
VERIFIER = make_verifier(PASSWORD, ITERATIONS, SALT)
_SALTED: dict[tuple[str, bytes], bytes] = {(PASSWORD, SALT): salted_password(PASSWORD, SALT, ITERATIONS)}

Message = dict[str, Any]


def salted(password: str, salt: bytes) -> bytes:
    """PBKDF2 once for each password and salt, however many logins there are."""
    key = (password, salt)
    if key not in _SALTED:
        _SALTED[key] = salted_password(password, salt, ITERATIONS)
    return _SALTED[key]


class Peer:
    """The other end of one connection to a house."""

    def __init__(self, house: House, name: str, address: str = "10.0.0.1") -> None:
        self.house, self.name, self.user = house, name, ""
        self.binding: bytes | None = None  # over TLS: of proofs
        self.heard: list[Message] = []  # everything, in order
        self._closed = False
        self.blanks = 0  # in front of what was heard
        self._rest = b""
        self._taken = 0  # of `heard`, by hear
        self._mark = 0  # of `heard`, up to the last reply
        self.socket, there = socket.socketpair()
        self.socket.setblocking(False)
        house.server._accepted(there, address)

    # Saying.

    def say(self, *requests: Message | str | bytes) -> None:
        """Requests, in one packet; a text or bytes are sent as they are."""
        data = b"".join(self.written(request) for request in requests)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while data:
                try:
                    data = data[self.socket.send(data) :]
                except BlockingIOError:
                    before = self.house.server.loop.ticks
                    self.house.tick()
                    assert self.house.server.loop.ticks > before

    def hang_up(self) -> None:
        """The connection breaks."""
        self.socket.close()
        self._closed = True
        self.house.peers.remove(self)

    def end(self) -> None:
        """Says that it will send no more."""
        self.socket.shutdown(socket.SHUT_WR)

    def written(self, request: Message | str | bytes) -> bytes:
        """As this peer's dialect says it."""
        if isinstance(request, dict):
            return json.dumps(request).encode() + b"\n"
        return request.encode() if isinstance(request, str) else request

    # Hearing.

    def read(self) -> list[bytes]:
        """The whole messages among the bytes that have arrived."""
        *lines, self._rest = self._rest.split(b"\n")
        return lines

    def hear(self) -> list[Message]:
        """What has arrived since this was last called."""
        while not self._closed:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                self._closed = True
                break
            self._rest += data
            for line in self.read():
                self.heard.append(json.loads(line))
                self.blanks += len(line) - len(line.lstrip(b" "))
        fresh = self.heard[self._taken :]
        self._taken = len(self.heard)
        return fresh

    @property
    def closed(self) -> bool:
        """Whether the server has hung up."""
        fresh = self._taken
        self.hear()
        self._taken = fresh
        return self._closed

    def ask(self, action: str, **fields: Any) -> Message:
        """One request and its reply; events go to `heard` as ever."""
        self.say({"action": action, **fields})
        return self.reply(action)

    def reply(self, action: str) -> Message:
        """The next reply to `action`, whatever it takes to get it but time."""
        for _ in range(100):  # much may stand before it
            self.house.settle()
            self.hear()
            replies = [message for message in self.heard[self._mark :] if message.get("action") == action]
            if replies:
                break
        else:
            raise AssertionError(f"{self.name}: no reply to {action}, but {str(self.heard[-1:])[:300]}")
        self._mark = self.heard.index(replies[0], self._mark) + 1
        return replies[0]

    def hear_all(self, action: str) -> list[Message]:
        """All replies to `action` so far."""
        self.hear()
        return [message for message in self.heard if message.get("action") == action]

    def read_until(self, enough: Callable[[], object]) -> None:
        """Reads, as the server sends on, until `enough` holds."""
        for _ in range(3_000):
            self.house.settle()
            self.hear()
            if enough():
                return
        raise AssertionError(f"{self.name} waits in vain; the last words were {str(self.heard[-1:])[:300]}")

    # Coming in.

    def hello(self, client: str | None = None) -> Message:
        return self.ask("hello", protocol=1, **({"client": client} if client else {}))

    def challenge(self, action: str, user: str) -> tuple[ClientExchange, Message]:
        """The first half of a proof."""
        exchange = ClientExchange(user, "the-nonce-of-the-client", self.binding)
        return exchange, self.ask(action, scram=exchange.first)

    def final(self, exchange: ClientExchange, challenge: Message, password: str) -> str:
        """What the second half says."""
        salt, _ = exchange.salt_of(challenge["scram"])
        return exchange.final(challenge["scram"], salted(password, salt))

    def prove(self, action: str, user: str, password: str = PASSWORD, **fields: Any) -> Message:
        """Both halves; the last reply. The server's own proof is checked."""
        exchange, challenge = self.challenge(action, user)
        if challenge["status"] != "CONTINUE":
            return challenge
        reply = self.ask(action, scram=self.final(exchange, challenge, password), **fields)
        if reply["status"] == "OK":
            exchange.check(reply["scram"])
            self.user = user
        return reply

    @property
    def events(self) -> list[Message]:
        """Every event that has arrived."""
        fresh = self._taken
        self.hear()
        self._taken = fresh
        return [message for message in self.heard if "event" in message]

    @property
    def texts(self) -> list[str]:
        """The texts of all messages and broadcasts that have arrived, in order."""
        return [event["text"] for event in self.events if event["event"] in ("message", "broadcast")]
