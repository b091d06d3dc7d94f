"""The socket under a conversation: connecting, TLS, partial writes, and coming back with back-off.

Must not know what is said. A channel of the reactor's loop, and two phases of its tick: ``turn`` after the input,
before news are read; ``flush`` after everything that may ask for something. The conversation decides whether there
should be a connection (``wanted``); the link decides when. Other connections (file transfers) may share the loop.
"""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Callable
from typing import Protocol

from chatlib.client.failures import NO_SUCH_HOST, no_tls, unreachable
from chatlib.client.heartbeat import NEVER
from chatlib.client.sockets import PlainSocket, Way
from chatlib.client.trust import Certificate, NotTrusted, Trust
from chatlib.protocol.commands import State
from chatlib.reactor.connector import SocketAddress
from chatlib.reactor.loop import READ, WRITE, Loop

PATIENCE = 10.0  # seconds that one address may take to accept a connection, and as many for the TLS handshake
LONGEST = 30.0  # seconds between two attempts, at most
STEADY = 1.0  # seconds that a session must have lasted for its loss to be followed up at once
CHUNK = 262_144


class Alarm:
    """Ends the loop's wait at a deadline that often moves. It may ring early, and leaves few timers behind."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._rings_at = NEVER

    def set(self, deadline: float) -> None:
        if deadline < self._rings_at:
            self._rings_at = deadline
            self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._rings_at = NEVER


class Talk(Protocol):
    """What is said on the connection: a conversation, as far as the link is concerned."""

    state: State | None  # None: not connected
    user: str
    wanted: bool  # whether there should be a connection
    retry_after: float  # seconds to wait before the next one

    def take_output(self) -> bytes: ...

    def deadline(self) -> float: ...

    def tick(self, now: float) -> None: ...

    def connected(self, now: float, certificate: Certificate | None) -> None: ...

    def received(self, chunk: bytes, now: float) -> None: ...

    def disconnected(self, text: str, now: float, status: str = "LOST") -> None: ...


class Link:
    """The connection to `host` and `port`, whichever it is at the moment. `trust`: whom to believe; None: no TLS."""

    def __init__(
        self, loop: Loop, host: str, port: int, conversation: Talk, jitter: Callable[[], float] = random.random,
        trust: Trust | None = None,
    ) -> None:  # fmt: skip
        self.retry_at = loop.now
        self._loop, self._trust = loop, trust
        self._host, self._port = host, port
        self._conversation = conversation
        self._jitter = jitter
        self._addresses: list[SocketAddress] = []
        self._untried: list[SocketAddress] = []
        self.peer: Way | None = None  # how the server was reached last
        self._socket: PlainSocket | None = None
        self._connecting = self._shaking = False  # nothing can be said yet
        self._since = 0.0  # when this connection was begun
        self._was_online = False
        self._failures = 0  # attempts in a row that did not lead to a steady session
        self._unsent = b""
        self._listens = True
        self._alarm = Alarm(loop)
        loop.again(self)  # the first turn is due

    # Phases.

    def turn(self) -> None:
        """Lets time pass for the conversation; gives up, closes and opens connections."""
        now, conversation = self._loop.now, self._conversation
        conversation.tick(now)
        if self._connecting and now >= self._since + PATIENCE:
            self._failed(errno.ETIMEDOUT, "no handshake came to its end" if self._shaking else "")
        self._was_online |= conversation.state is (State.ONLINE if conversation.user else State.GREETED)
        if self._socket and not self._connecting and conversation.state is None:
            self._hang_up()
        if not self._socket and conversation.wanted and now >= self.retry_at:
            self._open()

    def flush(self) -> None:
        """Sends what there is to send, as far as the kernel takes it, and sets the timer for the next turn."""
        output = self._conversation.take_output()
        if self._socket and not self._connecting:
            if output or self._unsent or self._socket.pending:
                self._send(self._unsent + output)
            if self._conversation.state is None:
                self._loop.again(self)  # it ended here: another turn is due now
        self._alarm.set(self._deadline())

    def _deadline(self) -> float:
        if self._connecting:
            return self._since + PATIENCE
        if self._socket:
            return self._conversation.deadline()
        return self.retry_at if self._conversation.wanted else NEVER

    # What others may ask for.

    def drop(self) -> None:
        """Breaks the connection, as a pulled cable would."""
        if self._socket:
            self._conversation.disconnected("You dropped the connection.", self._loop.now)
            self._hang_up()

    def listen(self, wanted: bool) -> None:
        """Reads what the server says, or leaves it in the kernel for now: nobody takes the news."""
        if wanted != self._listens:
            self._listens = wanted
            if self._socket and not self._connecting:
                self._watch()

    def close(self) -> None:
        """The end."""
        self._discard()

    @property
    def local(self) -> SocketAddress | None:
        """From where the server is reached; None: it is not."""
        return None if self._socket is None or self._connecting else self._socket.local

    @property
    def certificate(self) -> Certificate | None:
        """The server's, on this connection; None: there is none, or no TLS."""
        return self._socket.certificate if self._socket else None

    # The channel.

    def readable(self) -> None:
        if self._socket is None:
            return
        if self._connecting:
            if self._shaking:
                self._shake(self._socket)
            return
        try:
            chunk = self._socket.receive(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._conversation.disconnected(f"The connection was lost: {error.strerror}.", self._loop.now)
            return
        if chunk:
            self._conversation.received(chunk, self._loop.now)
        else:
            self._conversation.disconnected("The server closed the connection.", self._loop.now)

    def writable(self) -> None:
        if self._socket is None or not self._connecting:
            return  # what is left is sent by `flush`, in this tick
        if not self._shaking:
            error = self._socket.error()
            if error:
                self._failed(error)
                return
            self._shaking, self._since = True, self._loop.now
        self._shake(self._socket)

    def again(self) -> None: ...

    def broken(self) -> None:
        self._discard()

    # Inside.

    def _open(self) -> None:
        if not self._untried:
            self._untried = self._resolve()
        if not self._untried:
            return
        self._trying = Way(self._untried.pop(0), self._trust)
        self._since = self._loop.now
        self._was_online = False
        try:
            self._socket = self._trying.socket()
            error = self._socket.connect()
        except OSError as fault:
            error = fault.errno or errno.EIO
        self._connecting = True
        if error or self._socket is None:
            self._failed(error)
        else:
            self._loop.watch(self._socket.fileno(), WRITE, self)

    def _shake(self, connection: PlainSocket) -> None:
        """Connected: goes on with the handshake, and then greets the server."""
        try:
            if not connection.shake():
                self._loop.change(connection.fileno(), READ | WRITE if connection.pending else READ, self)
                return
        except NotTrusted as why:
            self._give_up(str(why), "NOT_TRUSTED")
            return
        except OSError as error:
            self._failed(error.errno or errno.EIO, error.strerror or str(error))
            return
        self._connecting = self._shaking = False
        self.peer = self._trying
        self._untried.clear()
        self._watch()
        self._conversation.connected(self._loop.now, connection.certificate)
        if connection.certificate:
            self.readable()  # what has come with the end of the handshake

    def _resolve(self) -> list[SocketAddress]:
        """Where the server may be; the name is looked up once, because that may take long and blocks."""
        if not self._addresses:
            try:
                found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                self._failed(NO_SUCH_HOST, getattr(error, "strerror", None) or "")
                return []
            self._addresses = [(family, address) for family, _, _, _, address in found]
        return list(self._addresses)

    def _failed(self, number: int, reason: str = "") -> None:
        """No connection: to the next address at once, else later."""
        of_tls = self._shaking
        self._discard()
        if self._untried:
            self._open()
        elif of_tls:
            self._give_up(no_tls(self._host, self._port, reason or os.strerror(number)), "UNREACHABLE")
        else:
            self._give_up(unreachable(self._host, self._port, number, reason), "UNREACHABLE")

    def _give_up(self, text: str, status: str) -> None:
        """No connection, for now or, as the conversation decides, for good."""
        self._discard()
        self._conversation.disconnected(text, self._loop.now, status)
        self._back_off()

    def _hang_up(self) -> None:
        """The conversation on this connection is over."""
        if self._was_online:
            self._failures = 0 if self._loop.now - self._since >= STEADY else 1
        self._discard()
        self._back_off()

    def _back_off(self) -> None:
        """At once, then up to 1 s, 2 s, 4 s, ...: by chance (full jitter), so that a thousand do not come together."""
        delay = self._jitter() * min(LONGEST, 2.0 ** (self._failures - 1)) if self._failures else 0.0
        self._failures = min(self._failures + 1, 16)
        self.retry_at = self._loop.now + max(delay, self._conversation.retry_after)

    def _discard(self) -> None:
        if self._socket:
            self._loop.forget(self._socket.fileno(), self)
            self._socket.close()
        self._socket, self._connecting, self._shaking, self._unsent = None, False, False, b""

    def _send(self, output: bytes) -> None:
        assert self._socket is not None
        try:
            sent = self._socket.send(output)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            sent = len(output)  # the next recv tells why, after what the server said last
        self._unsent = output[sent:]
        self._watch()

    def _watch(self) -> None:
        assert self._socket is not None
        wanted = READ | WRITE if self._unsent or self._socket.pending else READ
        self._loop.change(self._socket.fileno(), wanted if self._listens else 0, self)
