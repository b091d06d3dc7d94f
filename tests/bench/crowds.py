"""What comes to the door in crowds: half-open strangers beside users who do not read, connections that are dropped as
soon as they are there, and junk. Assaults of :mod:`attacks`."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

from field import Field, Readers, reset, user
from peers import Peer

_HELLO = b'{"action":"hello","protocol":1}\n'
_HALF = (b"", b'{"action":"hel', _HELLO, _HELLO + b'{"action":"login","scram":"n,,n=')  # what is said, and no more
SMALL, LISTS = 4_096, 20  # bytes of a slow reader's buffer; long answers that it asks for and does not read
HALF_OPEN, SLOW, SETUP = 1_000, 200, 8  # seconds
DROPPED, WITHIN = 5_000, 10.0  # seconds
JUNK = 100
_JUNK = (b"x\n" * 64, b"{}\n" * 64, b'{"action":"dance"}\n' * 32, b"\xff\xfe\n" * 64, b"[" * 4_000 + b"\n")


def held(field: Field) -> Iterator[str]:
    """All at once: half-open strangers from ten addresses, and users who send each other long texts and hardly read."""
    slow = field.all_users(0, field.few(SLOW))
    for peer in slow:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        for _ in range(LISTS):
            peer.say("list_users")
        peer.socket.setblocking(False)
    strangers = [field.connect(f"127.0.1.{number % 10 + 1}") for number in range(field.few(HALF_OPEN))]
    for number, sock in enumerate(strangers):
        with contextlib.suppress(OSError):  # turned away already
            sock.sendall(_HALF[number % len(_HALF)])
    time.sleep(field.few(SETUP))  # what was asked is answered
    yield ""
    said, begun = 0, time.perf_counter()
    while field.under_way:
        number = said % len(slow)
        with contextlib.suppress(OSError):
            slow[number].socket.recv(1_024)
            slow[number].say("message", to=user((number + 1) % len(slow)), text="x" * 4_000)
        if said % 4 == 1:  # a half line grows
            with contextlib.suppress(OSError):
                strangers[said % len(strangers)].send(b"x")
        said += 1
        time.sleep(max(0.0, min(begun + said / SLOW - time.perf_counter(), field.left)))
    there = sum(_is_open(sock) for sock in strangers)
    yield f"{there:,} of {len(strangers):,} half-open strangers still there; slow readers said {said:,} long texts"


def _is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    heard = b"x"
    with contextlib.suppress(BlockingIOError):
        try:
            while heard:
                heard = sock.recv(65_536)
        except ConnectionError:
            return False
    return bool(heard)


def dropped(field: Field) -> Iterator[str]:
    """Opened and dropped: without a word, behind a greeting, reset or closed."""
    yield ""
    count, begun = 0, time.perf_counter()
    while field.under_way:
        due = begun + count * WITHIN / DROPPED
        if (wait := due - time.perf_counter()) > 0:
            time.sleep(min(wait, field.left))
        with contextlib.suppress(OSError):
            sock = field.connect()
            if count % 2:
                sock.send(_HELLO)
            (reset if count % 4 < 2 else socket.socket.close)(sock)
        count += 1
    yield f"{count:,} connections opened and dropped in {time.perf_counter() - begun:.1f} s"


def junk(field: Field) -> Iterator[str]:
    """Lines that mean nothing, as fast as they are taken: half from strangers, who come again, half from users.

    What is not taken waits in small buffers: those of a real attacker fill the memory of another machine.
    """
    count = field.few(JUNK)
    users: list[Peer] = field.all_users(0, count // 2)
    readers = Readers(users)
    socks = {number: peer.socket for number, peer in enumerate(users)}
    for number in range(len(users), count):
        socks[number] = field.connect()
        readers.add(number, socks[number])
    for sock in socks.values():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    yield ""
    sent = again = 0
    while field.under_way:
        before = sent
        for number, sock in socks.items():
            with contextlib.suppress(OSError):
                sent += sock.send(_JUNK[number % len(_JUNK)])
        for number, lines in readers.read(0.0 if sent > before else 0.01):
            if lines is None and field.under_way:
                with contextlib.suppress(OSError):
                    socks[number] = field.connect()
                    socks[number].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
                    readers.add(number, socks[number])
                    again += 1
    yield f"{sent / 1e6:.1f} MB of junk taken, {again:,} connections thrown out came again"
