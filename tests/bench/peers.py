"""Peers of the server: strangers, users who are logged in, and what moves a file's bytes (load.c, "transfer").

Of a transfer: ``Peer`` → a ticket from it, as a word → ``Mover`` with the words of all that are to go on at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import ssl
import subprocess
from array import array
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed import PASSWORD, Failure

from chatlib.protocol import scram
from chatlib.protocol.certificate import end_point

_PERIOD = 1 << 20  # bytes, as in load.c
_PATIENCE = 60.0  # seconds


@cache
def content() -> bytes:
    """The period of load.c's content."""
    return array("I", (number * 2654435761 & 0xFFFFFFFF for number in range(_PERIOD // 4))).tobytes()


@cache
def digest(size: int) -> str:
    """The SHA-256 of load.c's content of that size."""
    period = content()
    sha256 = hashlib.sha256()
    for _ in range(size // _PERIOD):
        sha256.update(period)
    sha256.update(period[: size % _PERIOD])
    return sha256.hexdigest()


@cache
def salted(salt: bytes, iterations: int) -> bytes:
    """Computed once: all users of a home share one verifier."""
    return scram.salted_password(PASSWORD, salt, iterations)


def open_context() -> ssl.SSLContext:
    """TLS with whoever it is: proofs are bound to the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def client_hello() -> bytes:
    """With what a handshake begins. It may be said on any number of connections: nobody notices before the end."""
    said = ssl.MemoryBIO()
    client = open_context().wrap_bio(ssl.MemoryBIO(), said)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


class Stranger:
    """A connection that has said hello, as a context. `source`: the address that it comes from. `context`: for TLS."""

    def __init__(self, port: int, source: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE, source_address=(source, 0))
        self.binding: bytes | None = None
        if context:
            self.socket = context.wrap_socket(self.socket)
            self.binding = end_point(self.socket.getpeercert(binary_form=True) or b"")
        self.rest = b""  # what has come and was not looked at
        self.welcome = self.ask("hello", "", protocol=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up."""
        self.socket.close()

    def say(self, action: str, **fields: Any) -> None:
        """Sends a request, whose reply `hear` gives."""
        self.socket.sendall(json.dumps({"action": action, **fields}).encode() + b"\n")

    def hear(self, expected: str = "OK") -> dict[str, Any]:
        """The next reply; events are passed over. Raises Failure for another status than `expected` ("": any)."""
        while True:
            line, end, rest = self.rest.partition(b"\n")
            if not end:
                chunk = self.socket.recv(65_536)
                if not chunk:
                    raise Failure("the server closed the connection")
                self.rest += chunk
                continue
            self.rest = rest
            answer: dict[str, Any] = json.loads(line)
            if "action" in answer:
                if expected not in ("", answer["status"]):
                    raise Failure(str(answer))
                return answer

    def ask(self, action: str, expected: str = "OK", **fields: Any) -> dict[str, Any]:
        """The reply to a request."""
        self.say(action, **fields)
        return self.hear(expected)


class Login:
    """A login in two halves, so that many can be under way at once. Legal order: ``begin``, ``prove``, ``finish``."""

    def __init__(self, stranger: Stranger, user: str, action: str = "login") -> None:
        self._stranger, self._action = stranger, action
        self._exchange = scram.ClientExchange(user, scram.new_nonce(), stranger.binding)

    def begin(self) -> None:
        """Asks for the challenge."""
        self._stranger.say(self._action, scram=self._exchange.first)

    def prove(self) -> None:
        """Reads the challenge, sends the proof."""
        challenge = self._stranger.hear("CONTINUE")["scram"]
        password = salted(*self._exchange.salt_of(challenge))
        self._stranger.say(self._action, scram=self._exchange.final(challenge, password))

    def finish(self) -> dict[str, Any]:
        """The reply, which must be OK."""
        answer = self._stranger.hear()
        self._exchange.check(answer["scram"])
        return answer


class Peer(Stranger):
    """A user who is logged in, as a context."""

    def __init__(
        self, port: int, user: str, source: str = "127.0.0.1", context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(port, source, context)
        self.user = user
        login = Login(self, user)
        login.begin()
        login.prove()
        login.finish()

    def upload(self, to: str, name: str, size: int) -> str:
        """A ticket, as a word for `Mover`."""
        ticket = self.ask("file", to=to, name=name, size=size, sha256=digest(size))["ticket"]
        return f"up:{ticket}:0:{size}"

    def download(self, sender: str, name: str, last: int) -> str:
        """A ticket for the last bytes of a file that waits, as a word for `Mover`."""
        answer = self.ask("fileget", **{"from": sender, "name": name})
        return f"down:{answer['ticket']}:{answer['size'] - last}:{answer['size']}"


@dataclass(frozen=True, slots=True)
class Moved:
    """One transfer: its bytes, those until the first of all was through, and seconds (see load.c)."""

    moved: int
    meanwhile: int
    taken: float
    ended: float


class Mover:
    """Transfers under way, as a context; killed at its end. `aside`: it leaves the CPU to whoever else wants it."""

    def __init__(self, program: Path, port: int, words: list[str], aside: bool = False) -> None:
        command = [str(program), "transfer", str(port), *words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if aside:
            os.setpriority(os.PRIO_PROCESS, self._process.pid, 19)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def finish(self) -> list[Moved]:
        """Waits for all; in their order. Raises Failure with what load.c complains of."""
        output, complaint = self._process.communicate()
        if self._process.returncode != 0:
            raise Failure(complaint.strip() or f"load ended with status {self._process.returncode}")
        return [Moved(**transfer) for transfer in json.loads(output)["transfers"]]
