"""A small blocking client of the engine, for tests that speak to it from outside; it shares no code with ours.

    with Plain(port, name, password) as engine:
        engine.api("STREAM.INFO.world")             # a dict, or Silence
        engine.publish("world.log", b"...", reply)  # nothing is waited for
        engine.ask("world.log", b"...")             # the message that answers
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Silence(Exception):
    """There was no answer: nobody is there, or nobody who could give one now."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message."""

    subject: str
    payload: bytes
    status: str = ""  # of a message without a body: 503, 404 …
    headers: dict[str, str] = field(default_factory=dict)


class Plain:
    """One connection to one engine node."""

    def __init__(self, port: int, user: str = "", password: str = "", patience: float = 2.0) -> None:
        """Raises Silence when nobody answers there."""
        self.patience = patience
        self._rest = b""
        self._heard: list[Heard] = []
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._line(time.monotonic() + patience)  # INFO
            login = {"user": user, "pass": password} if user else {}
            options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "test",
                       "version": "1", "protocol": 1, **login}  # fmt: skip
            self.socket.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
            while (line := self._line(time.monotonic() + patience)) != b"PONG":
                if line.startswith(b"-ERR"):
                    raise Silence(line.decode())
        except OSError as error:
            raise Silence(str(error)) from None
        self.inbox = "_INBOX." + secrets.token_hex(8)
        self._next = 0
        self.send(f"SUB {self.inbox}.* 1\r\n".encode())

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Silence(str(error)) from None

    def subscribe(self, subject: str) -> None:
        """What comes there is told by `hear`, too."""
        self.send(f"SUB {subject} 2\r\n".encode())

    def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None, reply: str = "") -> None:
        """A message; nothing is waited for."""
        head = b""
        if headers:
            head = ("NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode()
        verb = f"HPUB {subject} {reply} {len(head)} {len(head) + len(payload)}\r\n" if head else (
            f"PUB {subject} {reply} {len(payload)}\r\n")  # fmt: skip
        self.send(verb.encode() + head + payload + b"\r\n")

    def ask(self, subject: str, payload: bytes = b"", headers: Mapping[str, str] | None = None,
            patience: float | None = None) -> Heard:  # fmt: skip
        """A request and its answer. Raises Silence: none in time, or nobody listens (503)."""
        self._next += 1
        reply = f"{self.inbox}.{self._next}"
        self.publish(subject, payload, headers, reply)
        until = time.monotonic() + (self.patience if patience is None else patience)
        while True:
            message = self.hear(until - time.monotonic())
            if message is None:
                raise Silence(subject)
            if message.subject == reply:
                if message.status == "503":
                    raise Silence("503")
                return message

    def api(self, what: str, question: Any = None, patience: float | None = None) -> dict[str, Any]:
        """Of JetStream; an error is in its answer."""
        payload = b"" if question is None else json.dumps(question).encode()
        return dict(json.loads(self.ask("$JS.API." + what, payload, patience=patience).payload))

    def get(self, stream: str, seq: int) -> Heard | None:
        """A message of a stream by its number, from whichever node answers; None: it is not there."""
        found = self.ask(f"$JS.API.DIRECT.GET.{stream}", json.dumps({"seq": seq}).encode())
        return None if found.status else found

    def hear(self, patience: float) -> Heard | None:
        """The next message, whatever subject it is on. None: none in time."""
        until = time.monotonic() + max(0.0, patience)
        while True:
            try:
                line = self._line(until)
            except TimeoutError:
                return None
            except OSError as error:
                raise Silence(str(error)) from None
            words = line.split(b" ")
            if words[0] == b"PING":
                self.send(b"PONG\r\n")
            elif words[0] in (b"MSG", b"HMSG"):
                return self._message(words, until)

    def _message(self, words: list[bytes], until: float) -> Heard:
        total = int(words[-1])
        body = self._exactly(total + 2, until)[:-2]
        if words[0] == b"MSG":
            return Heard(words[1].decode(), body)
        head, body = body[: int(words[-2])], body[int(words[-2]) :]
        first, *lines = head.decode().split("\r\n")
        headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        return Heard(words[1].decode(), body, first[len("NATS/1.0") :].strip()[:3], headers)

    def _line(self, until: float) -> bytes:
        while b"\r\n" not in self._rest:
            self._read(until)
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line

    def _exactly(self, count: int, until: float) -> bytes:
        while len(self._rest) < count:
            self._read(until + self.patience)  # it has begun
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    def _read(self, until: float) -> None:
        self.socket.settimeout(max(0.001, until - time.monotonic()))
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the engine has hung up")
        self._rest += data

    def close(self) -> None:
        """The connection."""
        with contextlib.suppress(OSError):
            self.socket.close()

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
