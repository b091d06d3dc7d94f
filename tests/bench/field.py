"""What an attacker has: connections by the hundred, a limit in time, chance from a seed. A process of its own.

``field.py NAME PORT SECONDS SEED QUICK``: sets the attack up (then it prints "ready"), waits for a line on standard
input, attacks for so many seconds, and prints one sentence about what came of it.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from peers import Login, Peer, Stranger

ADDRESS = "127.0.0.2"  # where attackers come from; honest clients have another one
_BATCH = 100  # logins under way at once


@dataclass(slots=True)
class Field:
    """Where one attack takes place."""

    port: int
    seconds: float
    chance: random.Random
    quick: bool
    deadline: float = 0.0

    def few(self, full: int) -> int:
        """How many of what there are `full` when it is not --quick."""
        return max(2, full // 20) if self.quick else full

    @property
    def under_way(self) -> bool:
        """Whether the attack's time is not over."""
        return time.perf_counter() < self.deadline

    @property
    def left(self) -> float:
        """Seconds until it is."""
        return max(0.0, self.deadline - time.perf_counter())

    def connect(self, source: str = ADDRESS) -> socket.socket:
        """A connection that has said nothing."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=60.0, source_address=(source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def strangers(self, count: int) -> list[Stranger]:
        """Connections that have said hello."""
        return [Stranger(self.port, ADDRESS) for _ in range(count)]

    def users(self, first: int, count: int) -> Iterator[list[Peer]]:
        """The users numbered `first` and following, logged in, in batches."""
        for begin in range(first, first + count, _BATCH):
            numbers = range(begin, min(begin + _BATCH, first + count))
            peers = [Stranger(self.port, ADDRESS) for _ in numbers]
            logins = [Login(peer, user(number)) for peer, number in zip(peers, numbers, strict=True)]
            for step in (Login.begin, Login.prove, Login.finish):
                for login in logins:
                    step(login)
            yield peers  # type: ignore[misc]

    def all_users(self, first: int, count: int) -> list[Peer]:
        """The same, at once."""
        return [peer for batch in self.users(first, count) for peer in batch]


Assault = Callable[[Field], Iterator[str]]  # sets up, yields, attacks, yields a sentence


def user(number: int) -> str:
    """The name of a user of the home."""
    return f"u{number:05d}"


def read_until(sock: socket.socket, enough: Callable[[bytes], bool], seconds: float) -> bytes:
    """What comes until it is enough, the connection ends, or the time is over."""
    heard, deadline = b"", time.perf_counter() + seconds
    while not enough(heard) and (left := deadline - time.perf_counter()) > 0:
        sock.settimeout(left)
        try:
            chunk = sock.recv(1 << 20)
        except OSError:
            break
        if not chunk:
            break
        heard += chunk
    return heard


class Readers:
    """Connections whose lines are read whenever they come."""

    def __init__(self, peers: Sequence[Stranger] = ()) -> None:
        self._selector = selectors.DefaultSelector()
        self._rests: dict[int, bytes] = {}
        for number, peer in enumerate(peers):
            self.add(number, peer.socket, peer.rest)

    def add(self, number: int, sock: socket.socket, rest: bytes = b"") -> None:
        """One more, or another one in place of one that is gone."""
        sock.setblocking(False)
        self._rests[number] = rest
        self._selector.register(sock, selectors.EVENT_READ, number)

    def drop(self, sock: socket.socket) -> None:
        """Closes one, without a word."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(sock)
        reset(sock)

    def read(self, seconds: float) -> Iterator[tuple[int, list[bytes] | None]]:
        """Whose lines have come within so many seconds (None: that connection has ended, and is forgotten)."""
        for key, _ in self._selector.select(seconds):
            sock: socket.socket = key.fileobj  # type: ignore[assignment]
            try:
                data = sock.recv(1 << 20)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self.drop(sock)
                yield key.data, None
                continue
            *lines, self._rests[key.data] = (self._rests[key.data] + data).split(b"\n")
            yield key.data, lines


def reset(sock: socket.socket) -> None:
    """Ends a connection as a cable that is pulled, leaving nothing behind in the system."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def main() -> None:
    from attacks import ATTACKS

    name, port, seconds, seed, quick = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    field = Field(int(port), float(seconds), random.Random(f"{seed} {name}"), quick == "True")
    assault = next(attack.assault for attack in ATTACKS if attack.name == name)(field)
    next(assault)
    print("ready", flush=True)
    sys.stdin.readline()
    field.deadline = time.perf_counter() + field.seconds
    print(next(assault), flush=True)
    sys.stdin.readline()  # the connections stay until everything was measured
    os._exit(0)


if __name__ == "__main__":
    main()
