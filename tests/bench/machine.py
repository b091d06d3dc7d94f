"""What this machine is and can do at best, printed above the table: the figures mean nothing without it.

A broadcast costs one ``send`` for each who is online, however many messages are coalesced in it, and a durable tick
one ``fdatasync``. The ``send`` is timed without a reader that must be woken: several times as much is usual.
"""

from __future__ import annotations

import os
import platform
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_LINE = 150  # bytes, about those of an event with a text of 64


def describe(folder: Path) -> str:
    """A few lines about the machine; the disk is the one that `folder` is on."""
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return (
        f"{_cpu_model()}, {os.cpu_count()} CPUs, {system}\n"
        f"fdatasync of 4 KiB appended: {_sync(folder) * 1e6:,.0f} µs; "
        f"send on loopback: {_send(1) * 1e6:.1f} µs for 1 line, {_send(64) * 1e6:.1f} µs for 64"
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _median_of(times: int, timed: Callable[[], float]) -> float:
    return statistics.median(timed() for _ in range(times))


def _sync(folder: Path) -> float:
    """Seconds of one ``fdatasync`` after appending a little."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:

        def timed() -> float:
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            return time.perf_counter() - begun

        return _median_of(100, timed)


def _send(lines: int) -> float:
    """Seconds of one ``send`` of so many lines to a connection whose reader keeps up."""
    text = bytes(_LINE * lines)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as reader:
        writer, _ = listener.accept()

        def timed() -> float:
            begun = time.perf_counter()
            writer.send(text)
            took = time.perf_counter() - begun
            reader.recv(len(text), socket.MSG_WAITALL)
            return took

        with writer:
            return _median_of(2000, timed)
