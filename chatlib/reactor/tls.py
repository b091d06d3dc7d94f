"""TLS around a connection: plain bytes above, records below, both directions, nothing blocks.

``TlsConnection`` stands between a :class:`.Connection` and whoever receives, and has the calls of both: what is above
it may take it for a connection. Only ``detach`` gives more away: what TLS keeps goes with the socket. Must not know
what the plain bytes mean. The order for the receiver is the connection's, with one call more in front: ``on_secured? →
received* → (ended)? → disconnected``.

Invariants: an end that the peer has announced (``close_notify``) is told as ``ended``; one that it has not may be
somebody's who cuts, and is told as ``disconnected`` alone, with ``failure`` saying why. Only as much is encrypted as
the kernel is given, so what waits is plain, counted as the connection counts it, and can be dropped line by line. Each
read is bounded by the connection's, and TLS keeps no more of it than a part of one record. A handshake that comes when
the tick's budget for handshakes is used up waits for its turn, unread. Nobody negotiates anew: what a channel is bound
to (``binding``) holds for as long as it is open. At the end it forgets who it told, so that no circle is left.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Callable
from time import perf_counter

from chatlib.reactor.budget import Budget
from chatlib.reactor.connection import LINGER, Connection, Receiver
from chatlib.reactor.loop import Loop
from chatlib.reactor.tlsstream import TlsStream

SLICE = 16_384  # bytes encrypted at once, and decrypted: what a record holds, and so what a stream's buffers grow to
SHARE = 8  # of what a plain connection reads at once, such a part: new keys in 4,096 bytes take 5 ms and more
UNLIMITED = 1 << 62


class _Nobody:
    """Who is told when all is over."""

    def received(self, data: bytes) -> None: ...

    def ended(self) -> None: ...

    def drained(self) -> None: ...

    def overflowed(self) -> None: ...

    def disconnected(self) -> None: ...

    def secured(self) -> None: ...


_NOBODY = _Nobody()


class TlsConnection:
    """TLS on `below`, whose receiver it becomes; `receiver` is told what is inside. ``begin`` once, then as Connection.

    `shaking`: the seconds that a tick has for the handshakes of all connections that share it.
    `on_secured` is called once, when the handshake is over. `allowance`: bytes that the peer may still send, until
    somebody gives more; who sends more is cut off.
    """

    __slots__ = (
        "_below", "_closing", "_ended", "_in_line", "_limit", "_loop", "_on_secured", "_over", "_paused", "_queued",
        "_receiver", "_sealed", "_shaking", "_stream", "_waiting", "address", "allowance", "backlog_size", "failure",
        "sent",
    )  # fmt: skip
    _backlog = ()  # never None: push_to_all leaves it to `push`

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
        shaking: Budget | None = None,
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
        self._limit, self._shaking, self._on_secured = limit, shaking, on_secured
        self._waiting: deque[bytes | memoryview] | None = None  # plain; most never have anything there
        self._sealed = 0  # plain bytes in what the connection below has not sent
        self._in_line = False  # whether what was encrypted last ends in the middle of a line
        self._closing = self._ended = self._over = False
        self._paused = self._queued = False  # why nothing is read: the receiver's will, or a handshake's turn
        below.attach(self)
        self.receive = below.receive

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
        else:
            for start in range(0, len(data), SLICE):
                if self._closing or self._stream.over or not self._below.open:
                    return
                self._stream.take_in(data if len(data) <= SLICE else data[start : start + SLICE])
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
        if self._queued or not (granted or self._may_shake()):
            return False
        begun = perf_counter()
        try:
            self._stream.shake()
        except ssl.SSLError as error:
            self._fail(error.reason or str(error))
            return False
        finally:
            if self._shaking is not None:
                self._shaking.spend(perf_counter() - begun)
        self._give_out()
        if not self._stream.secured:
            return False
        if self.open:
            self._on_secured()
            self._on_secured = _NOBODY.secured
            self._seal()
        return self.open

    def _may_shake(self) -> bool:
        if self._shaking is None or self._shaking.free():
            return True
        self._queued = True
        self._below.pause_reading()
        self._shaking.wait(self._my_turn)
        return False

    def _my_turn(self) -> None:
        self._queued = False
        if self.open:
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
            self._waiting = None
            receiver, self._receiver, self._on_secured = self._receiver, _NOBODY, _NOBODY.secured
            receiver.disconnected()

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
        """As Connection's; of records a SHARE of that is read."""
        return self._below.receive * SHARE

    @receive.setter
    def receive(self, size: int) -> None:
        self._below.receive = max(1, size // SHARE)

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
        if not self.backlog_size and len(data) <= SLICE and self._stream.secured:  # nearly always: it goes at once
            self._encrypt(data)
            return not self.backlog_size and self.open
        over = self.backlog_size > self._limit
        if self._waiting is None:
            self._waiting = deque()
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
            self.backlog_size -= len(plain)
            self._encrypt(plain)

    def _encrypt(self, plain: bytes) -> None:
        """One record, which is a backlog until the kernel has taken it. Legal while there is no other."""
        self._in_line = not plain.endswith(b"\n")
        try:
            self._stream.write(plain)
        except ssl.SSLError as error:
            self._fail(error.reason or str(error))
            return
        if not self._give_out():
            self._sealed = len(plain)
            self.backlog_size += len(plain)

    def _slice(self) -> bytes:
        """The next bytes that make one record."""
        pieces, room, waiting = [], SLICE, self._waiting
        while waiting and room:
            piece = waiting.popleft()
            if len(piece) > room:
                piece = memoryview(piece)
                waiting.appendleft(piece[room:])
                piece = piece[:room]
            pieces.append(piece)
            room -= len(piece)
        self._waiting = waiting or None
        return b"".join(pieces)

    def _give_out(self) -> bool:
        """Sends the records that are there. True: the kernel has all."""
        records = self._stream.give_out()
        return self._below.push(records) if records else not self._below.backlog_size

    def drained(self) -> None:
        before = self.backlog_size
        self.backlog_size -= self._sealed
        self._sealed = 0
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
        waiting = b"".join(self._waiting or ())
        rest = waiting[: waiting.find(b"\n") + 1] if self._in_line else b""
        self._waiting = deque([rest]) if rest else None
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

    def detach(self) -> tuple[socket.socket, TlsStream, bytes]:
        """Gives the socket away, and what TLS keeps: no more calls. The bytes are records that it has not sent yet.

        Legal while no more than SLICE bytes are read at once.
        """
        unsent = b"".join(self._below._backlog or ())
        self._closing = self._over = True
        self._receiver, self._on_secured = _NOBODY, _NOBODY.secured
        return self._below.detach(), self._stream, unsent
