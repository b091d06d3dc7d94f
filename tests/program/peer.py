"""The real server as a subprocess, and a small blocking peer over TCP. Waits for events, never for time."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from chatlib.protocol.scram import ClientExchange, make_verifier, salted_password
from tests.patience import LIMIT

ROOT = Path(__file__).resolve().parents[2]
ITERATIONS = 4096
PASSWORD = "open sesame"
SALT = b"salt of the tests"
VERIFIER = str(make_verifier(PASSWORD, ITERATIONS, SALT))
_KEYS: dict[tuple[str, bytes], bytes] = {}

Message = dict[str, Any]


def make_home(folder: Path, users: Iterable[str] = ("ann", "bob", "cid"), **parameters: object) -> Path:
    """A home with users who share PASSWORD."""
    folder.mkdir(exist_ok=True)
    chosen = {"SCRAM_ITERATIONS": ITERATIONS, "RATE_LIMIT": 0, **parameters}
    (folder / "para.txt").write_text("".join(f"{name} {value}\n" for name, value in chosen.items()))
    (folder / "credentials.txt").write_text("".join(f"{user} {VERIFIER}\n" for user in users))
    return folder


class Program:
    """One server process. Its output is read line by line; it is ended by its own pid, whatever happens."""

    def __init__(
        self,
        home: Path,
        *flags: str,
        stdin: Any = subprocess.PIPE,
        stderr: Any = subprocess.STDOUT,
        limit: tuple[int, int] | None = None,
        port: str = "0",
        before: Callable[[], None] | None = None,
        slow_sync: float = 0.0,
        slow_checkpoint: float = 0.0,
        measured: bool = True,
    ) -> None:
        """`limit`: a resource and its soft and hard limit, for the server alone. `measured`: coverage counts."""

        def prepare() -> None:
            if limit:
                resource.setrlimit(limit[0], (limit[1], limit[1]))
            if before:
                before()

        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if limit is not None or not measured:  # coverage's own files would meet the limit, too
            environment = {name: value for name, value in environment.items() if not name.startswith("COVERAGE")}
        if slow_sync:
            environment["CHAT_SLOW_SYNC"] = str(slow_sync)
        if slow_checkpoint:
            environment["CHAT_SLOW_CHECKPOINT"] = str(slow_checkpoint)
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "server.py"), port, "--home", str(home), *flags],
            stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=environment, cwd=ROOT,
            preexec_fn=prepare if limit or before else None,
        )  # fmt: skip
        self.lines: list[str] = []
        self._rest = b""
        self.port = 0

    def listening(self) -> Program:
        """Waits until it says its port."""
        line = self.wait_for("Listening on port ")
        self.port = int(line.split("port ")[1].split(".")[0])
        return self

    def wait_for(self, words: str) -> str:
        """The next line that holds `words`."""
        seen = 0
        deadline = time.monotonic() + LIMIT
        while True:
            for line in self.lines[seen:]:
                if words in line:
                    del self.lines[: self.lines.index(line) + 1]
                    return line
            seen = len(self.lines)
            if not self._read(deadline):
                raise AssertionError(f"the server never said {words!r}, but\n" + "\n".join(self.lines))

    def _read(self, deadline: float) -> bool:
        assert self.process.stdout
        fd = self.process.stdout.fileno()
        if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        data = os.read(fd, 65_536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in lines]
        return bool(data)

    def heard(self) -> bool:
        """Whether there was more that it has said, without waiting for it."""
        return self._read(time.monotonic())

    def type(self, *lines: str) -> None:
        """Lines at its console."""
        assert self.process.stdin
        self.process.stdin.write("".join(line + "\n" for line in lines).encode())
        self.process.stdin.flush()

    def ended(self) -> tuple[int, str]:
        """Waits for its end: the exit status, and all that it said and was not waited for."""
        deadline = time.monotonic() + LIMIT
        while self._read(deadline):
            pass
        status = self.process.wait(LIMIT)
        return status, "\n".join(self.lines)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """A clean stop; what it said."""
        self.process.send_signal(number)
        status, said = self.ended()
        assert status == 0, f"status {status}\n{said}"
        return said

    def kill(self) -> None:
        """As a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def connect(self, address: str = "127.0.0.1") -> TcpPeer:
        """A connection from `address`, one of this machine's."""
        return TcpPeer(self.port, address)

    def greet(self) -> TcpPeer:
        peer = self.connect()
        peer.ask("hello", protocol=1)
        return peer

    def login(self, user: str, password: str = PASSWORD) -> TcpPeer:
        """A peer that is logged in, and acknowledges what it says to have seen."""
        peer = self.greet()
        reply = peer.prove("login", user, password)
        assert reply["status"] == "OK", reply
        return peer


class TcpPeer:
    """A client of a hundred lines: sends lines, reads lines."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT, source_address=(address, 0))
        self._file = self.socket.makefile("rb")
        self.events: list[Message] = []
        self.waiting = 0  # how many messages waited at login
        self.unread = 0  # of `events`, by event

    def send(self, *requests: Message | bytes) -> None:
        self.socket.sendall(
            b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in requests)
        )

    def read(self) -> Message | None:
        """The next line; None when the server has hung up, or is gone."""
        try:
            line = self._file.readline()
        except ConnectionError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def reply(self) -> Message:
        """The next reply; events before it go to `events`."""
        while True:
            message = self.read()
            if message is None:
                raise ConnectionResetError("the server has hung up")
            if "event" not in message:
                return message
            self.events.append(message)

    def event(self, kind: str) -> Message:
        """The next event of that kind that has not been asked for yet."""
        while True:
            while self.unread < len(self.events):
                self.unread += 1
                if self.events[self.unread - 1]["event"] == kind:
                    return self.events[self.unread - 1]
            message = self.read()
            if message is None:
                raise AssertionError(f"no {kind} event, but {self.events[-3:]}")
            assert "event" in message, message
            self.events.append(message)

    def ask(self, action: str, **fields: Any) -> Message:
        self.send({"action": action, **fields})
        return self.reply()

    def prove(self, action: str, user: str, password: str = PASSWORD, **fields: Any) -> Message:
        exchange = ClientExchange(user, secrets.token_urlsafe(18))
        challenge = self.ask(action, scram=exchange.first)
        if challenge["status"] != "CONTINUE":
            return challenge
        salt, iterations = exchange.salt_of(challenge["scram"])
        if (password, salt) not in _KEYS:
            _KEYS[password, salt] = salted_password(password, salt, iterations)
        self.send({"action": action, "scram": exchange.final(challenge["scram"], _KEYS[password, salt]), **fields},
                  *([{"action": "alive", "seen": 0}] if action == "login" else []))  # fmt: skip
        reply = self.reply()
        if reply["status"] == "OK":
            exchange.check(reply["scram"])
        if action == "login":
            self.waiting = reply.get("unread", 0)
            self.reply()
        return reply

    def texts(self, until: str | None = None) -> list[str]:
        """The texts of all that was heard, read up to the text `until`, or else up to all that waited at login."""

        def enough() -> bool:
            if until is None:
                return sum("seq" in event for event in self.events) >= self.waiting
            return any(event.get("text") == until for event in self.events)

        while not enough():
            message = self.read()
            assert message is not None, f"the server hung up before {until!r}"
            if "event" in message:
                self.events.append(message)
        if until is None:
            self.ask("alive")  # what comes before this reply is there, too
        return [event["text"] for event in self.events if event["event"] in ("message", "broadcast")]

    def hung_up_with(self) -> list[Message]:
        """Everything up to the end."""
        found = []
        while (message := self.read()) is not None:
            found.append(message)
        return found

    def reset(self) -> None:
        """Goes rudely."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()
