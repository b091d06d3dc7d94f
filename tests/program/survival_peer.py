"""A client by hand: a blocking socket and lines, as ``nc`` would do it. It says ``alive`` when told to, or never."""

from __future__ import annotations

import socket
import struct
from typing import Any

from chatlib.protocol.framing import decode, encode
from chatlib.protocol.scram import ClientExchange, new_nonce, salted_password
from tests.patience import LIMIT
from tests.program.survival_house import password


class Peer:
    """One connection. What comes while something else is expected is kept in `events`."""

    def __init__(self, port: int, client: str | None = None, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(LIMIT)
        self.socket.connect(("127.0.0.1", port))
        self._bytes = b""
        self.events: list[dict[str, Any]] = []
        self.welcome = self.ask("hello", protocol=1, **({"client": client} if client else {}))

    def say(self, action: str, **fields: object) -> None:
        self.socket.sendall(encode({"action": action, **fields}))

    def hear(self) -> dict[str, Any] | None:
        """The next line; None: the server has closed."""
        while b"\n" not in self._bytes:
            try:
                chunk = self.socket.recv(65_536)
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            self._bytes += chunk
        line, _, self._bytes = self._bytes.partition(b"\n")
        return decode(line)

    def ask(self, action: str, **fields: object) -> dict[str, Any]:
        """The reply; events before it are kept."""
        self.say(action, **fields)
        while True:
            message = self.hear()
            assert message is not None, f"no reply to {action}"
            if "event" not in message:
                return message
            self.events.append(message)

    def final(self, user: str) -> str:
        """The second SCRAM message of a login, after the first was sent and answered."""
        exchange = ClientExchange(user, new_nonce())
        challenge = self.ask("login", scram=exchange.first)
        assert challenge["status"] == "CONTINUE", challenge
        salt = exchange.salt_of(challenge["scram"])
        return exchange.final(challenge["scram"], salted_password(password(user), *salt))

    def login(self, user: str, **fields: object) -> dict[str, Any]:
        reply = self.ask("login", scram=self.final(user), **fields)
        assert reply["status"] == "OK", reply
        return reply

    def texts(self) -> list[str]:
        return [event["text"] for event in self.events if event["event"] in ("message", "broadcast")]

    def until_text(self, text: str) -> None:
        """Reads until that message has come."""
        while not any(known == text for known in self.texts()[-1:]):
            event = self.hear()
            assert event is not None, f"closed before {text!r}"
            if "event" in event:
                self.events.append(event)

    def rest(self) -> None:
        """Reads until the server closes."""
        while (message := self.hear()) is not None:
            if "event" in message:
                self.events.append(message)

    def logout(self) -> None:
        """Cleanly: reads all that is still to come."""
        self.say("logout")
        self.rest()
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
