"""Both ends of a file transfer but the server: who asks for tickets, and what moves the bytes (load.c, "transfer").

Legal order: ``Peer`` → a ticket from it, as a word → ``Mover`` with the words of all that are to go on at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
from array import array
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed import PASSWORD, Failure

from chatlib.protocol import scram

_PERIOD = 1 << 20  # bytes, as in load.c
_PATIENCE = 60.0  # seconds


@cache
def digest(size: int) -> str:
    """The SHA-256 of load.c's content of that size."""
    words = (number * 2654435761 & 0xFFFFFFFF for number in range(_PERIOD // 4))
    period = array("I", words).tobytes()
    sha256 = hashlib.sha256()
    for _ in range(size // _PERIOD):
        sha256.update(period)
    sha256.update(period[: size % _PERIOD])
    return sha256.hexdigest()


class Peer:
    """A user who is logged in, as a context."""

    def __init__(self, port: int, user: str) -> None:
        self.user = user
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self._lines = self._socket.makefile("rb")
        exchange = scram.ClientExchange(user, scram.new_nonce())
        self.ask("hello", protocol=1)
        challenge = self.ask("login", "CONTINUE", scram=exchange.first)["scram"]
        salted = scram.salted_password(PASSWORD, *exchange.salt_of(challenge))
        exchange.check(self.ask("login", scram=exchange.final(challenge, salted))["scram"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, action: str, expected: str = "OK", **fields: Any) -> dict[str, Any]:
        """The reply to a request. Raises Failure for one of another status; events are passed over."""
        self._socket.sendall(json.dumps({"action": action, **fields}).encode() + b"\n")
        for line in self._lines:
            answer: dict[str, Any] = json.loads(line)
            if "action" in answer:
                if answer["status"] != expected:
                    raise Failure(f"{action}: {answer}")
                return answer
        raise Failure(f"{action}: the server closed the connection")

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
