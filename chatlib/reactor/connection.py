"""A connection: bytes in and out of one socket, with backpressure both ways.

What arrives goes to the connection's protocol, in the order ``received* → (ended)? → disconnected``, the last exactly
once. What is to be sent is pushed by whoever flushes; what the kernel does not take waits in the backlog, and a
backlog over the limit ends the connection (a slow consumer). Must not know what the bytes mean.

Two ways to close: ``close`` sends what waits first, ``abort`` does not. Expected failures of a peer (reset, broken
pipe, timed out) are quiet: they are a ``disconnected`` like any other.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from chatlib.reactor.loop import READ, WRITE, Loop

RECEIVE = 65_536  # bytes asked of the kernel at once, unless a connection says less: one read per tick
GATHER = 64  # pieces of the backlog sent with one call
LINGER = 5.0  # seconds that a closing connection may take to send what waits, and its peer to close
# Seconds until the first probe, between probes, and how many: where the system lets them be set.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
KEEPALIVE = {getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)}


class Receiver(Protocol):
    """The protocol above a connection."""

    def received(self, data: bytes) -> None:
        """Bytes have come."""

    def ended(self) -> None:
        """The peer will send no more, but may still read."""

    def drained(self) -> None:
        """The backlog, which was not empty, is."""

    def overflowed(self) -> None:
        """The backlog is over the limit. Expected to close or abort."""

    def disconnected(self) -> None:
        """The connection is no more. Nothing may be sent, nothing will come."""


class Connection:
    """One accepted (or connected) non-blocking socket. `address` is the peer's, without its port."""

    __slots__ = ("_again_reading", "_backlog", "_closing", "_ended", "_events", "_fd", "_limit", "_loop", "_open",
                 "_protocol", "_send", "_socket", "address", "backlog_size", "receive", "sent")  # fmt: skip

    def __init__(self, loop: Loop, sock: socket.socket, address: str, limit: int) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # not every kind of socket has it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A peer whose cable was pulled while nothing is said (in the queue, say) is noticed all the same.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                sock.setsockopt(socket.IPPROTO_TCP, name, value)
        self.address = address
        self.backlog_size = 0  # bytes that the kernel has not taken
        self.sent = 0  # bytes of backlogs that it has
        self.receive = RECEIVE  # bytes asked of the kernel at once
        self._loop = loop
        self._socket = sock
        self._fd = sock.fileno()
        self._send = sock.send
        self._limit = limit
        self._backlog: deque[bytes | memoryview] | None = None  # most never have one
        self._open = True
        self._closing = False
        self._ended = False
        self._protocol: Receiver | None = None
        self._events = READ
        loop.watch(self._fd, READ, self)

    @property
    def port(self) -> int:
        """The peer's; 0 when it has none, or is gone."""
        try:
            name = self._socket.getpeername()
        except OSError:
            return 0
        return int(name[1]) if isinstance(name, tuple) else 0

    def attach(self, protocol: Receiver) -> None:
        """Whom to tell from now on; the first bytes may decide for another one."""
        self._protocol = protocol

    # Input.

    def readable(self) -> None:
        if not self._open or not self._events & READ:
            return
        if self._closing:
            self._discard()
            return
        try:
            data = self._socket.recv(self.receive)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        assert self._protocol is not None
        if data:
            self._protocol.received(data)
        else:
            self._ended = True
            self._set_events(self._events & ~READ)
            self._protocol.ended()

    def _discard(self) -> None:
        # Closing a socket with unread bytes would reset it, and the peer might never read our last line.
        try:
            if self._socket.recv(RECEIVE):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.abort()

    def pause_reading(self) -> None:
        """Reads nothing more until resume_reading: the peer is held back by its own full buffers."""
        self._set_events(self._events & ~READ)

    def resume_reading(self) -> None:
        """Undoes pause_reading."""
        if not (self._ended or self._closing):
            self._set_events(self._events | READ)

    @property
    def hears(self) -> bool:
        """Whether the peer may still send something."""
        return self._open and not self._ended

    @property
    def open(self) -> bool:
        """Whether something pushed has a chance to arrive."""
        return self._open and not self._closing

    # Output.

    def push(self, data: bytes) -> bool:
        """Sends `data`, now as far as the kernel takes it; only a flush phase calls this. True: it took all."""
        if self._backlog:
            self._hold(data)
            return False
        if not self._open:
            return False
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return False
        if sent == len(data):
            return True
        self._hold(memoryview(data)[sent:] if sent else data)
        return False

    def _hold(self, data: bytes | memoryview) -> None:
        if self._backlog is None:
            self._backlog = deque()
        # A backlog over the limit that still grows: one large answer alone makes no slow consumer.
        over = self.backlog_size > self._limit
        self._backlog.append(data)
        self.backlog_size += len(data)
        self._set_events(self._events | WRITE)
        if over and not self._closing:
            assert self._protocol is not None
            self._protocol.overflowed()

    def writable(self) -> None:
        # Sending out of turn is harmless here: all of the backlog was flushed in an earlier tick.
        backlog = self._backlog
        if not backlog or not self._open:
            return
        pieces = [backlog[i] for i in range(min(GATHER, len(backlog)))]
        try:
            sent = self._socket.sendmsg(pieces)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        self.backlog_size -= sent
        self.sent += sent
        while backlog and sent >= len(backlog[0]):
            sent -= len(backlog.popleft())
        if sent:
            backlog[0] = memoryview(backlog[0])[sent:]
        if not backlog:
            self._backlog = None
            self._set_events(self._events & ~WRITE)
            self._drained()

    def _drained(self) -> None:
        if self._closing:
            self._finish()
        elif self._protocol is not None:
            self._protocol.drained()

    def drop_backlog(self) -> None:
        """Forgets what the kernel has not taken, but for the line that it has taken a part of."""
        if self._backlog:
            first = self._backlog[0]
            rest = bytes(first)[: bytes(first).find(b"\n") + 1] if isinstance(first, memoryview) else b""
            self._backlog = deque([rest]) if rest else None
            self.backlog_size = len(rest)
            if not rest:
                self._set_events(self._events & ~WRITE)

    # The end.

    def close(self) -> None:
        """Ends the connection when the backlog is sent and the peer has closed too, or after LINGER seconds."""
        if not self._open or self._closing:
            return
        self._closing = True
        self._loop.call_later(LINGER, self.abort)
        if self._backlog:
            self._set_events(WRITE)
        else:
            self._finish()

    def _finish(self) -> None:
        if self._ended:
            self.abort()
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()
        else:
            self._set_events(READ)

    def abort(self) -> None:
        """Ends the connection now."""
        if not self._open:
            return
        self._open = False
        self._closing = True
        self._backlog = None
        self._loop.forget(self._fd, self)
        with contextlib.suppress(OSError):
            # A forked child may hold the descriptor too: close alone would not tell the peer.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._protocol is not None:
            self._protocol.disconnected()
            self._protocol = None

    def again(self) -> None: ...

    def broken(self) -> None:
        self.abort()

    def detach(self) -> socket.socket:
        """Gives the socket away: no more calls, and it stays open."""
        self._loop.forget(self._fd, self)
        self._open = False
        self._closing = True
        self._protocol = None
        return self._socket

    def _set_events(self, events: int) -> None:
        if events != self._events and self._open:
            self._events = events
            self._loop.change(self._fd, events, self)


def push_to_all(connections: Sequence[Any], data: bytes) -> list[int]:
    """As push for each, in their order: the places of those that did not take all. A call each costs more, and is for
    those alone that have something waiting, or are no plain connections (and say that something is)."""
    behind, size = [], len(data)
    for place, connection in enumerate(connections):
        if connection._backlog is None and connection._open:
            try:
                sent = connection._send(data)
            except OSError:
                pass  # once more, with all that may follow
            else:
                if sent == size:
                    continue
                connection._hold(memoryview(data)[sent:])
                behind.append(place)
                continue
        if not connection.push(data):
            behind.append(place)
    return behind


class Listener:
    """A listening socket: accepts until it would block, and stops for a moment when descriptors run out."""

    PAUSE = 0.2  # seconds without accepting after the descriptors ran out
    BURST = 16  # connections accepted in one tick at most

    def __init__(self, loop: Loop, sock: socket.socket, accepted: Accepted, say: Say) -> None:
        sock.setblocking(False)
        self._loop, self._socket, self._accepted, self._say = loop, sock, accepted, say
        self._complained = -1e9
        self._listens = True
        loop.watch(sock.fileno(), READ, self)

    def readable(self) -> None:
        for _ in range(self.BURST):
            try:
                sock, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue
            except OSError as error:
                self._pause(error)
                return
            self._accepted(sock, str(peer[0]).removeprefix("::ffff:"))  # IPv4, as it is written

    def _pause(self, error: OSError) -> None:
        if self._loop.now - self._complained > 10.0:
            self._say(f"Accepting no connections for a moment: {error.strerror}.")
            self._complained = self._loop.now
        self._loop.change(self._socket.fileno(), 0, self)
        self._loop.call_later(self.PAUSE, self._go_on)

    def listen(self, wanted: bool) -> None:
        """Accepts, or leaves whoever connects in the kernel for now."""
        if wanted != self._listens:
            self._listens = wanted
            self._loop.change(self._socket.fileno(), READ if wanted else 0, self)

    def _go_on(self) -> None:
        if self._socket.fileno() >= 0 and self._listens:
            self._loop.change(self._socket.fileno(), READ, self)

    def close(self) -> None:
        """Accepts nothing more."""
        self._loop.forget(self._socket.fileno(), self)
        self._socket.close()

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...


class Accepted(Protocol):
    """Takes an accepted socket and its peer's address."""

    def __call__(self, sock: socket.socket, address: str, /) -> None: ...


class Say(Protocol):
    """Tells the administrator something."""

    def __call__(self, text: str, /) -> None: ...
