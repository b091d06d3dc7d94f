"""The row of file transfer: one file up and down, eight at once, and chat meanwhile.

One home and one server for all of it. The peers that move the bytes are load.c; the same peers move the same bytes to
and from a bare loop of this harness, in turn with the server: that is the machine's own limit, without any protocol.
Upload: "taken" is when the server's kernel has acknowledged the last byte; OK comes after the check, the sync and the
journal. Memory is that of the server's process: the child that checks files has its own. Eight at once are four up and
four down, round after round; how fair they are is told by the bytes of each when the first one is through. While the
latency of chat is measured, the program that moves the bytes has the lowest priority: it stands for other machines.
"""

from __future__ import annotations

import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from figures import MEGABYTES, MEGABYTES_A_SECOND, SHARE, TIMES, Aim, Figure, Row, Scale
from peers import Moved, Mover, Peer, digest
from testbed import Failure, Measurement, Server, Testbed

_PIECE = 256 << 10  # bytes that the bare loops move at once
_EACH_WAY = 4  # transfers of a round
_CHATTERS = 100
_RATE = 200  # messages a second
_LOGOUT_LIMIT = 10.0  # seconds


@dataclass(slots=True)
class _Rates:
    """Bytes a second of wall time, one of each for each run."""

    up: list[float] = field(default_factory=list)
    up_ok: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    bare_up: list[float] = field(default_factory=list)
    bare_down: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Stage:
    """What all measurements are made on."""

    bed: Testbed
    server: Server
    folder: Path  # where the server keeps files
    sender: Peer
    receiver: Peer

    def move(self, *words: str, aside: bool = False) -> list[Moved]:
        """All at once, to their ends."""
        with Mover(self.bed.program, self.server.port, list(words), aside) as mover:
            return mover.finish()


@contextmanager
def _stage(bed: Testbed) -> Iterator[_Stage]:
    with bed.home(_CHATTERS + 2, FILE_QUOTA="64 GiB") as home, Server(home) as server:
        names = (f"u{_CHATTERS + i:05d}" for i in range(2))
        with Peer(server.port, next(names)) as sender, Peer(server.port, next(names)) as receiver:
            yield _Stage(bed, server, home / "data" / "files", sender, receiver)


# The machine's own limit.


def _bare(bed: Testbed, word: str, path: Path) -> Moved:
    """One transfer between load.c and the barest server that there can be."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Mover(bed.program, listener.getsockname()[1], [word]) as mover,
        listener.accept()[0] as sock,
    ):
        while sock.recv(1) != b"\n":  # the request
            pass
        size = int(word.rpartition(":")[2])
        (_bare_receive if word.startswith("up") else _bare_send)(sock, path, size)
        return mover.finish()[0]


def _bare_receive(sock: socket.socket, path: Path, size: int) -> None:
    buffer = memoryview(bytearray(_PIECE))
    with open(path, "wb", buffering=0) as file:
        while size:
            count = sock.recv_into(buffer)
            file.write(buffer[:count])
            size -= count
    sock.sendall(b'"OK"\n')


def _bare_send(sock: socket.socket, path: Path, size: int) -> None:
    sock.sendall(b'"OK"\n')
    position = 0
    with open(path, "rb") as file:
        while position < size:
            position += os.sendfile(sock.fileno(), file.fileno(), position, _PIECE)


# One at a time.


def _run_once(stage: _Stage, size: int, rates: _Rates) -> None:
    bare = stage.folder.parent / "bare"
    rates.bare_up.append(size / _bare(stage.bed, f"up:none:0:{size}", bare).taken)
    rates.bare_down.append(size / _bare(stage.bed, f"down:none:0:{size}", bare).taken)
    bare.unlink()
    sender, receiver = stage.sender.user, stage.receiver.user
    (up,) = stage.move(stage.sender.upload(receiver, "large", size))
    rates.up.append(size / up.taken)
    rates.up_ok.append(size / up.ended)
    (down,) = stage.move(stage.receiver.download(sender, "large", size))
    rates.down.append(size / down.taken)
    stage.receiver.ask("received", **{"from": sender, "name": "large", "sha256": digest(size)})


def _rates(stage: _Stage, scale: Scale) -> tuple[list[Figure], int]:
    """The figures of one at a time, and the memory that the server took for them."""
    rates, size = _Rates(), scale.file
    digest(size)
    idle = stage.server.memory()
    stage.server.forget_peak()
    for _ in range(scale.repeats):
        _run_once(stage, size, rates)
    memory = stage.server.peak_memory() - idle
    up_ok = f"{_show(rates.up_ok)} until the OK; bare recv and write: {_show(rates.bare_up)}"
    figures = [
        Figure(statistics.median(rates.up), note=up_ok),
        Figure(statistics.median(rates.down), note=f"bare sendfile: {_show(rates.bare_down)}"),
    ]
    return figures, memory


def _show(rates: list[float]) -> str:
    median, least, most = (value(rates) / 1e6 for value in (statistics.median, min, max))
    return f"{median:,.0f} MB/s ({least:,.0f} to {most:,.0f})"


# Eight at once.


def _round(stage: _Stage, size: int, aside: bool = False) -> list[Moved]:
    """Four up and four down, of `size` bytes each; what went up is declined at once."""
    sender, receiver = stage.sender.user, stage.receiver.user
    names = [f"part {i}" for i in range(_EACH_WAY)]
    words = [stage.sender.upload(receiver, name, size) for name in names]
    words += [stage.receiver.download(sender, "source", size) for _ in names]
    moved = stage.move(*words, aside=aside)
    for name in names:
        stage.receiver.ask("filedecline", **{"from": sender, "name": name})
    return moved


def _fairness(stage: _Stage, scale: Scale) -> tuple[Figure, int]:
    """The slowest's share of the fastest's bytes, and the memory that the server took for them."""
    size = scale.file // 4
    digest(size)
    idle = stage.server.memory()
    stage.server.forget_peak()
    shares: list[float] = []
    notes: list[str] = []
    for _ in range(scale.repeats):
        moved = _round(stage, size)
        bytes_each = [transfer.meanwhile for transfer in moved]
        shares.append(min(bytes_each) / max(bytes_each))
        notes.append(f"{sum(t.moved for t in moved) / max(t.taken for t in moved) / 1e6:,.0f}")
    note = f"worst round {min(shares):.0%}; all together, by round: {', '.join(notes)} MB/s"
    return Figure(statistics.median(shares), note=note), stage.server.peak_memory() - idle


class _Rounds(threading.Thread):
    """Eight at once, again and again, until `finish`."""

    def __init__(self, stage: _Stage, size: int) -> None:
        super().__init__()
        self._stage, self._size = stage, size
        self._enough = threading.Event()
        self._failure: Exception | None = None
        self._moved = 0

    def run(self) -> None:
        try:
            while not self._enough.is_set():
                self._moved += sum(transfer.moved for transfer in _round(self._stage, self._size, aside=True))
        except Exception as failure:
            self._failure = failure

    def finish(self) -> int:
        """Bytes moved. Raises the Failure that ended it early, if one did."""
        self._enough.set()
        self.join()
        if self._failure:
            raise self._failure
        return self._moved


def _wait_until_alone(stage: _Stage) -> None:
    deadline = time.monotonic() + _LOGOUT_LIMIT
    while len(stage.receiver.ask("whoelse")["items"]) > 1:  # those of an earlier measurement
        if time.monotonic() > deadline:
            raise Failure("the chatters of an earlier measurement are still there")
        time.sleep(0.01)


def _chat(stage: _Stage, scale: Scale) -> Measurement:
    return stage.bed.run_load(stage.server, "latency", users=_CHATTERS, rate=_RATE, seconds=max(1, scale.seconds - 1))


def _with_transfers(stage: _Stage, scale: Scale) -> tuple[Measurement, int]:
    """Chat during rounds of eight, and the bytes that they moved."""
    _wait_until_alone(stage)  # before the rounds begin: the receiver asks one thing at a time
    rounds = _Rounds(stage, scale.file // 4)
    rounds.start()
    try:
        busy = _chat(stage, scale)
    finally:
        moved = rounds.finish()
    return busy, moved


def _latency(stage: _Stage, scale: Scale) -> Figure:
    """How many times as long as with an idle server a message takes, by the medians."""
    factors: list[float] = []
    notes: list[str] = []
    for _ in range(scale.repeats):
        _wait_until_alone(stage)
        idle = _chat(stage, scale).load["delivery_ms"]
        run, moved = _with_transfers(stage, scale)
        busy = run.load["delivery_ms"]
        factors.append(busy["p50"] / idle["p50"])
        notes.append(f"{idle['p50']:.2f} → {busy['p50']:.2f} (p99 {busy['p99']:.0f}) ms, {moved / 1e9:.1f} GB")
    return Figure(statistics.median(factors), note=f"by run: {'; '.join(notes)}")


def _measure(bed: Testbed, scale: Scale) -> list[Figure]:
    with _stage(bed) as stage:
        rates, one = _rates(stage, scale)
        stage.move(stage.sender.upload(stage.receiver.user, "source", scale.file))
        fairness, eight = _fairness(stage, scale)
        note = f"{one / 1e6:.1f} MB for one at a time, {eight / 1e6:.1f} MB for eight"
        return [*rates, Figure(max(one, eight), note=note), fairness, _latency(stage, scale)]


FILES = Row(
    "files",
    (
        Aim("file of 1 GiB up, until all is taken", 800e6, MEGABYTES_A_SECOND),
        Aim("file of 1 GiB down", 2e9, MEGABYTES_A_SECOND),
        Aim("transfers: memory above idle", 10e6, MEGABYTES),
        Aim("eight transfers: slowest to fastest", 0.5, SHARE),
        Aim("eight transfers: median latency to idle's", 3, TIMES),
    ),
    _measure,
)
