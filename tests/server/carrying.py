"""The other end of connections that carry files, and what is said on them: for tests that move bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.server.house import House, Peer

DATA = random.Random(4).randbytes(300_001)
HOST = "10.0.0.1"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Pipe:
    """The other end of a connection that carries bytes."""

    def __init__(self, house: House, address: str = HOST) -> None:
        self.house, self.closed, self.data = house, False, b""
        self.socket, self._there = socket.socketpair()
        self.socket.setblocking(False)
        house.server._accepted(self._there, address)

    def close(self) -> None:
        """At a test's end: both sides."""
        self.socket.close()
        self.house.server.transfers.end_all()
        self._there.close()

    def send(self, data: bytes) -> None:
        """All of it, ticking while the kernel holds no more."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while data:
                try:
                    data = data[self.socket.send(data) :]
                except BlockingIOError:
                    self.house.tick()

    def ask(self, action: str, ticket: str, offset: int = 0, data: bytes = b"") -> None:
        self.send(json.dumps({"action": action, "ticket": ticket, "offset": offset}).encode() + b"\n" + data)

    def read(self) -> None:
        """What has arrived."""
        while not self.closed:
            try:
                piece = self.socket.recv(1 << 16)
            except BlockingIOError:
                return
            except ConnectionResetError:
                piece = b""
            self.data += piece
            self.closed = not piece

    def until(self, enough: Callable[[], object]) -> None:
        """Ticks and reads until `enough` holds."""
        for _ in range(3_000):
            self.house.settle()
            self.read()
            if enough():
                return
        raise AssertionError(f"in vain; the last words were {self.data[-300:]!r}")

    def end(self) -> list[dict[str, Any]]:
        """The lines that were said until the server closed."""
        self.until(lambda: self.closed)
        return [json.loads(line) for line in self.data.splitlines()]

    def status(self) -> str:
        """The one reply, and the server has closed."""
        replies = [line for line in self.end() if "action" in line]
        assert len(replies) == 1, replies
        return str(replies[0]["status"])

    def hang_up(self) -> None:
        self.socket.close()
        self.closed = True
        self.house.settle()


Dial = Callable[..., Pipe]


def announce(peer: Peer, data: bytes = DATA, name: str = "a.bin", to: str = "SEAS", **fields: Any) -> dict[str, Any]:
    return peer.ask("file", **{"to": to, "name": name, "size": len(data), "sha256": digest(data), **fields})


def upload(dial: Dial, peer: Peer, data: bytes = DATA, name: str = "a.bin", to: str = "SEAS") -> None:
    """A file from beginning to end; it waits."""
    reply = announce(peer, data, name, to)
    assert reply["status"] == "OK", reply
    pipe: Pipe = dial(peer.house)
    pipe.ask("upload", reply["ticket"], reply["offset"], data[reply["offset"] :])
    (answer,) = pipe.end()
    assert answer["action"] == "upload" and answer["status"] == "OK" and answer["seq"] > 0, answer


def download(dial: Dial, peer: Peer, sender: str = "Columbia", name: str = "a.bin", offset: int = 0) -> bytes:
    reply = peer.ask("fileget", **{"from": sender, "name": name})
    assert reply["status"] == "OK", reply
    pipe: Pipe = dial(peer.house)
    pipe.ask("download", reply["ticket"], offset)
    pipe.until(lambda: pipe.closed)
    head, _, data = pipe.data.partition(b"\n")
    assert json.loads(head) == {"action": "download", "status": "OK", "size": reply["size"], "offset": offset}
    return data


def lying(house: House) -> list[Path]:
    """What is in data/files."""
    return sorted((house.folder / "data" / "files").iterdir())


def cut_upload(dial: Dial, peer: Peer, data: bytes, count: int) -> None:
    """`count` bytes arrive, then the connection breaks."""
    reply = announce(peer, data)
    pipe = dial(peer.house)
    pipe.ask("upload", reply["ticket"], reply["offset"], data[reply["offset"] : reply["offset"] + count])
    pipe.house.settle()
    pipe.hang_up()
