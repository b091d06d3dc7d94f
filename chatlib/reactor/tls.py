"""TLS around a connection: plain bytes above, records below, both directions, nothing blocks.

``TlsConnection`` stands between a :class:`.Connection` and whoever receives, and has the calls of both: what is above
it may take it for a connection. Only ``detach`` is missing, since what TLS keeps cannot be given away. Must not know
what the plain bytes mean. The order for the receiver is the connection's, with one call more in front: ``on_secured? →
received* → (ended)? → disconnected``.

Invariants: an end that the peer has announced (``close_notify``) is told as ``ended``; one that it has not may be
somebody's who cuts, and is told as ``disconnected`` alone, with ``failure`` saying why. Only as much is encrypted as
the kernel is given, so what waits is plain, counted as the connection counts it, and can be dropped line by line. Each
read is bounded by the connection's, and TLS keeps no more of it than a part of one record. A handshake that would take
more than the tick's budget of steps waits for its turn, unread. Nobody negotiates anew: what a channel is bound to
(``binding``) holds for as long as it is open.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable

from chatlib.reactor.budget import Budget
from chatlib.reactor.connection import LINGER, Connection, Receiver
from chatlib.reactor.loop import Loop
from chatlib.reactor.tlsstream import TlsStream

SLICE = 16_384  # plain bytes encrypted at once: what a record holds
UNLIMITED = 1 << 62


class TlsConnection:
    """TLS on `below`, whose receiver it becomes; `receiver` is told what is inside. ``begin`` once, then as Connection.

    `steps`: how many steps of handshakes a tick has for all connections that share it; each costs up to a millisecond.
    `on_secured` is called once, when the handshake is over. `allowance`: bytes that the peer may still send, until
    somebody gives more; who sends more is cut off.
    """

    def __init__(
        self,
        loop: Loop,
        below: Connection,
        context: ssl.SSLContext,
        receiver: Receiver,
        *,
        server: bool,
        host: str | None = None,
        limit: int = 1 << 20,
        steps: Budget | None = None,
        on_secured: Callable[[], None] = lambda: None,
        allowance: int = UNLIMITED,
    ) -> None:
        self.address = below.address
        self.failure = ""  # why there was no clean end
        self.backlog_size = 0  # plain bytes that the kernel has not taken, or not yet in a whole record
        self.sent = 0  # plain bytes of backlogs that it has
        self.allowance = allowance
        self._loop, self._below, self._receiver = loop, below, receiver
        self._stream = TlsStream(context, server=server, host=host)
        self._limit, self._steps, self._on_secured = limit, steps, on_secured
        self._waiting: deque[bytes | memoryview] = deque()  # plain
        self._sealed = 0  # plain bytes in what the connection below has not sent
        self._in_line = False  # whether what was encrypted last ends in the middle of a line
        self._closing = self._ended = self._over = False
        self._paused = self._queued = False  # why nothing is read: the receiver's will, or a handshake's turn
        below.attach(self)

    def begin(self, first: bytes = b"") -> None:
        """The handshake. `first`: what was read from the connection already."""
        if first:
            self.received(first)
        else:
            self._turn()

    def attach(self, receiver: Receiver) -> None:
        """As Connection's."""
        self._receiver = receiver

    # Input: what the connection below tells.

    def received(self, data: bytes) -> None:
        self.allowance -= len(data)
        if self.allowance < 0:
            self._fail("too many bytes")
        elif not (self._closing or self._stream.over):
            self._stream.take_in(data)
            self._turn()

    def _turn(self, granted: bool = False) -> None:
        """Goes on with the handshake, and with what came behind it."""
        if not self._stream.secured and not self._shake(granted):
            return
        try:
            plain = self._stream.read()
        except ssl.SSLError as error:
            self._fail(error.reason or str(error))
            return
        self._give_out()
        if plain and self.open:
            self._receiver.received(plain)
        if self._stream.over and self.open:
            self._end()

    def _shake(self, granted: bool) -> bool:
        """One step of the handshake, when it is its turn; whether plain bytes may follow."""
        steps = self._steps
        if self._queued or (steps is not None and not granted and not self._may_step(steps)):
            return False
        try:
            self._stream.shake()
        except ssl.SSLError as error:
            self._fail(error.reason or str(error))
            return False
        said = self._stream.pending
        self._give_out()
        if not self._stream.secured:
            if steps is not None and not said:
                steps.grant(-1)  # nothing was computed
            return False
        if self.open:
            self._on_secured()
            self._seal()
        return self.open

    def _may_step(self, steps: Budget) -> bool:
        if steps.free() and steps.grant(1):
            return True
        self._queued = True
        self._below.pause_reading()
        steps.wait(self._my_turn)
        return False

    def _my_turn(self) -> None:
        self._queued = False
        if self._steps is not None and self.open:
            self._steps.spend(1)
            if not self._paused:
                self._below.resume_reading()
            self._turn(granted=True)

    def ended(self) -> None:
        if self._closing:
            return  # what waits may still arrive
        if self._stream.over:
            self._end()
        else:
            self._fail("cut")

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._receiver.ended()

    def disconnected(self) -> None:
        if not self._over:
            self._over = True
            if not (self._stream.over or self._closing):
                self.failure = self.failure or "cut"
            self._closing = True
            self._waiting.clear()
            self._receiver.disconnected()

    def _fail(self, why: str) -> None:
        """Ends the connection; the peer hears why if TLS has a word for it, and if that arrives."""
        self.failure = self.failure or why
        self._give_out()
        self._below.abort()

    def pause_reading(self) -> None:
        """As Connection's. What was read before has been told."""
        self._paused = True
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """As Connection's."""
        self._paused = False
        if not self._queued:
            self._below.resume_reading()

    # What is known.

    @property
    def port(self) -> int:
        """As Connection's."""
        return self._below.port

    @property
    def receive(self) -> int:
        """As Connection's, of records."""
        return self._below.receive

    @receive.setter
    def receive(self, size: int) -> None:
        self._below.receive = size

    @property
    def secured(self) -> bool:
        """Whether the handshake is over."""
        return self._stream.secured

    @property
    def binding(self) -> bytes:
        """See TlsStream."""
        return self._stream.binding

    @property
    def hears(self) -> bool:
        """As Connection's."""
        return self._below.hears and not self._stream.over

    @property
    def open(self) -> bool:
        """As Connection's."""
        return self._below.open and not self._closing

    # Output.

    def push(self, data: bytes) -> bool:
        """As Connection's. What is pushed before the handshake is over waits for that."""
        if not self.open:
            return False
        over = self.backlog_size > self._limit
        self._waiting.append(data)
        self.backlog_size += len(data)
        self._seal()
        if over and self.backlog_size and self.open:
            self._receiver.overflowed()
        return not self.backlog_size

    def _seal(self) -> None:
        """Encrypts and sends what waits, as far as the kernel takes it."""
        while self._waiting and self._stream.secured and not self._sealed and self._below.open:
            plain = self._slice()
            self._in_line = not plain.endswith(b"\n")
            try:
                self._stream.write(plain)
            except ssl.SSLError as error:
                self._fail(error.reason or str(error))
                return
            self._sealed = len(plain)
            if self._give_out():
                self._taken()

    def _slice(self) -> bytes:
        """The next bytes that make one record."""
        pieces, room = [], SLICE
        while self._waiting and room:
            piece = self._waiting.popleft()
            if len(piece) > room:
                piece = memoryview(piece)
                self._waiting.appendleft(piece[room:])
                piece = piece[:room]
            pieces.append(piece)
            room -= len(piece)
        return b"".join(pieces)

    def _taken(self) -> None:
        self.backlog_size -= self._sealed
        self._sealed = 0

    def _give_out(self) -> bool:
        """Sends the records that are there. True: the kernel has all."""
        records = self._stream.give_out()
        return self._below.push(records) if records else not self._below.backlog_size

    def drained(self) -> None:
        before = self.backlog_size
        self._taken()
        self._seal()
        self.sent += before - self.backlog_size
        if before and not self.backlog_size and self._below.open:
            if self._closing:
                self._finish()
            else:
                self._receiver.drained()

    def overflowed(self) -> None:
        # One record waits below at most, and what TLS itself has to answer: to a peer who asks, and does not read.
        self._fail("a peer who does not read")

    def drop_backlog(self) -> None:
        """As Connection's: a line that is encrypted in part goes out whole."""
        waiting = b"".join(self._waiting)
        rest = waiting[: waiting.find(b"\n") + 1] if self._in_line else b""
        self._waiting = deque([rest] if rest else ())
        self.backlog_size = self._sealed + len(rest)

    # The end.

    def close(self) -> None:
        """As Connection's; the peer is told that this is the end."""
        if not self.open:
            return
        self._closing = True
        if self.backlog_size and self._stream.secured:
            self._loop.call_later(LINGER, self._below.abort)
        else:
            self._finish()

    def _finish(self) -> None:
        if self._stream.secured:
            self._stream.finish()
            self._give_out()
        self._below.close()

    def abort(self) -> None:
        """As Connection's."""
        self._closing = True
        self._below.abort()
