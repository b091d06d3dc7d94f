"""The row of TLS: files both ways, broadcasts, handshakes, and the memory of a connection, each beside the plain one.

Two servers run, one plain and one with --tls, on homes of their own; what is compared is measured in turn. The peers
are this process. What counts is the server's CPU, since the peers encrypt, too, and share this machine: the share of
the plain rate is that of bytes for each second of CPU; by wall stands beside it. A handshake counts when the server has
said all that it has to say (that is its costly half); 64 are under way at once.
"""

from __future__ import annotations

import json
import socket
import ssl
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from figures import KILOBYTES, RATE, SHARE, Aim, Figure, Row, Scale
from peers import Peer, Stranger, client_hello, content, digest, open_context
from testbed import Server, Testbed

_LISTENERS = 100
_PIECE = 256 << 10


@dataclass(slots=True)
class _Side:
    """A server, and how it is come to."""

    server: Server
    context: ssl.SSLContext | None

    def peer(self, user: str) -> Peer:
        """A user who is logged in."""
        return Peer(self.server.port, user, context=self.context)

    def connect(self) -> socket.socket:
        """A connection that has said nothing."""
        sock = socket.create_connection(("127.0.0.1", self.server.port), timeout=60.0)
        return self.context.wrap_socket(sock) if self.context else sock


@contextmanager
def _sides(bed: Testbed) -> Iterator[tuple[_Side, _Side]]:
    with ExitStack() as stack:
        sides = []
        for flags, context in (((), None), (("--tls",), open_context())):
            home = stack.enter_context(bed.home(_LISTENERS + 2, FILE_QUOTA="64 GiB"))
            sides.append(_Side(stack.enter_context(Server(home, flags=flags)), context))
        yield sides[0], sides[1]


# Files.


@dataclass(frozen=True, slots=True)
class _Moved:
    """Bytes for each second, of the server's CPU and of the wall."""

    cpu: float
    wall: float


def _rate(side: _Side, size: int, before: float, begun: float) -> _Moved:
    wall = time.perf_counter() - begun
    return _Moved(size / max(side.server.cpu() - before, 0.01), size / wall)


def _up(side: _Side, sender: Peer, receiver: str, size: int) -> _Moved:
    _, ticket, _, _ = sender.upload(receiver, "large", size).split(":")
    piece = memoryview(content())
    with side.connect() as sock:
        before, begun = side.server.cpu(), time.perf_counter()
        sock.sendall(json.dumps({"action": "upload", "ticket": ticket, "offset": 0}).encode() + b"\n")
        for start in range(0, size, len(piece)):
            sock.sendall(piece[: min(len(piece), size - start)])
        answer = sock.recv(4_096)
        moved = _rate(side, size, before, begun)
    assert b'"OK"' in answer, answer
    return moved


def _down(side: _Side, receiver: Peer, sender: str, size: int) -> _Moved:
    _, ticket, _, _ = receiver.download(sender, "large", size).split(":")
    buffer = memoryview(bytearray(_PIECE))
    with side.connect() as sock:
        before, begun = side.server.cpu(), time.perf_counter()
        sock.sendall(json.dumps({"action": "download", "ticket": ticket, "offset": 0}).encode() + b"\n")
        head = b""
        while not head.endswith(b"\n"):
            head += sock.recv(1)
        left = size
        while left:
            left -= sock.recv_into(buffer)
        moved = _rate(side, size, before, begun)
    receiver.ask("received", **{"from": sender, "name": "large", "sha256": digest(size)})
    return moved


def _files(sides: tuple[_Side, _Side], scale: Scale) -> list[Figure]:
    size = scale.file // 2
    rates: dict[tuple[str, bool], list[_Moved]] = {}
    users = [[side.peer(f"u{number:05d}") for number in (_LISTENERS, _LISTENERS + 1)] for side in sides]
    for _ in range(scale.repeats):
        for side, (sender, receiver) in zip(sides, users, strict=True):
            tls = side.context is not None
            rates.setdefault(("up", tls), []).append(_up(side, sender, receiver.user, size))
            rates.setdefault(("down", tls), []).append(_down(side, receiver, sender.user, size))
    figures = []
    for way in ("up", "down"):
        plain, inside = ([_median(rates[way, tls], by) for by in ("cpu", "wall")] for tls in (False, True))
        note = f"{inside[0] / 1e6:,.0f} to {plain[0] / 1e6:,.0f} MB for a second of CPU;"
        note += f" by wall {inside[1] / 1e6:,.0f} to {plain[1] / 1e6:,.0f} MB/s"
        figures.append(Figure(inside[0] / plain[0], inside[1] / plain[1], note))
    for peer in (peer for pair in users for peer in pair):
        peer.close()
    return figures


def _median(moved: list[_Moved], by: str) -> float:
    return statistics.median(getattr(each, by) for each in moved)


# Broadcasts.


def _deliveries(side: _Side, scale: Scale) -> float:
    """Broadcasts to all listeners, one after the other: deliveries for each second of CPU."""
    peers = [side.peer(f"u{number:05d}") for number in range(_LISTENERS)]
    before, begun, count = side.server.cpu(), time.perf_counter(), 0
    while time.perf_counter() - begun < scale.seconds:
        for _ in range(8):
            peers[0].say("broadcast", text="x" * 64)
        for _ in range(8):
            peers[0].hear()
        count += 8
        for peer in peers[1:]:
            _pass_over(peer, count)
    taken = side.server.cpu() - before
    for peer in peers:
        peer.close()
    return count * _LISTENERS / max(taken, 0.01)


_heard: dict[Peer, int] = {}


def _pass_over(peer: Peer, count: int) -> None:
    """Reads until so many broadcasts have come in all."""
    heard = _heard.get(peer, 0)
    while heard < count:
        heard += peer.socket.recv(65_536).count(b'"event":"broadcast"')
    _heard[peer] = heard


# Handshakes, and memory.


def _handshakes(side: _Side, scale: Scale) -> Figure:
    hello = client_hello()
    before, begun, count = side.server.cpu(), time.perf_counter(), 0
    while time.perf_counter() - begun < scale.seconds / 2:
        with ExitStack() as stack:
            address = ("127.0.0.1", side.server.port)
            socks = [stack.enter_context(socket.create_connection(address, timeout=60.0)) for _ in range(64)]
            for sock in socks:
                sock.sendall(hello)
            for sock in socks:
                sock.recv(65_536)
        count += len(socks)
    wall = count / (time.perf_counter() - begun)
    return Figure(count / max(side.server.cpu() - before, 0.01), wall)


def _memory(side: _Side, scale: Scale) -> float:
    """Bytes for each connection that has said hello."""
    count = 200 if scale.quick else 2_000
    before = side.server.memory()
    strangers = [Stranger(side.server.port, context=side.context) for _ in range(count)]
    taken = (side.server.memory() - before) / count
    for stranger in strangers:
        stranger.close()
    return taken


def _measure(bed: Testbed, scale: Scale) -> list[Figure]:
    with _sides(bed) as sides:
        memory = [_memory(side, scale) for side in sides]
        files = _files(sides, scale)
        plain, inside = (_deliveries(side, scale) for side in sides)
        return [
            *files,
            Figure(inside, note=f"plain with the same peers: {RATE.show(plain)}"),
            _handshakes(sides[1], scale),
            Figure((memory[1] - memory[0]) / 1e3, note=f"a plain one takes {memory[0] / 1e3:.1f} KB"),
        ]


TLS = Row(
    "tls",
    (
        Aim("file of 512 MiB up over TLS, of the plain rate", 0.5, SHARE),
        Aim("file of 512 MiB down over TLS, of the plain rate", 0.5, SHARE),
        Aim("broadcast to 100 over TLS: deliveries", 100e3, RATE),
        Aim("TLS handshakes", 1e3, RATE),
        Aim("memory of a connection, for TLS alone", 20, KILOBYTES),
    ),
    _measure,
)
