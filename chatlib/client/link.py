"""The socket under a conversation: connecting, TLS, partial writes, going on to the next server, and back-off.

Must not know what is said. A channel of the reactor's loop, and two phases of its tick: ``turn`` after the input,
before news are read; ``flush`` after everything that may ask for something. The conversation decides whether there
should be a connection (``wanted``); the link decides when. Other connections (file transfers) may share the loop.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import Protocol

from chatlib.client.addresses import ServerAddress, learned
from chatlib.client.alarm import Alarm
from chatlib.client.heartbeat import NEVER
from chatlib.client.servers import Servers
from chatlib.client.sockets import PlainSocket, Way
from chatlib.client.trust import Certificate, NotTrusted
from chatlib.protocol.commands import State
from chatlib.reactor.connector import SocketAddress
from chatlib.reactor.loop import READ, WRITE, Loop

PATIENCE = 10.0  # seconds that one address may take to accept a connection, and as many for the TLS handshake
HASTE = 2.0  # the same, and for the first answer, where another server can be tried
LONGEST = 30.0  # seconds between two attempts, at most;
LONGEST_OF_SEVERAL = 4.0  # where several servers show one world: they are down together for seconds, not for minutes
STEADY = 1.0  # seconds that a session must have lasted for its loss to be followed up at once
CHUNK = 262_144


class Talk(Protocol):
    """What is said on the connection: a conversation, as far as the link is concerned."""

    state: State | None  # None: not connected
    user: str
    wanted: bool  # whether there should be a connection
    retry_after: float  # seconds to wait before the next one
    spare: bool  # another server is tried when this connection is gone: the link says so
    passed_over: str  # why this server is of no use, which was heard before anything else, while another is to spare

    @property
    def servers(self) -> object:
        """Who else there is, as a server says that has proven itself."""

    @property
    def committed(self) -> bool:
        """Whether a password was given, which is proven again by itself."""

    def take_output(self) -> bytes: ...

    def deadline(self) -> float: ...

    def tick(self, now: float) -> None: ...

    def connected(self, now: float, certificate: Certificate | None, server: str) -> None:
        """`server`: where it is."""

    def received(self, chunk: bytes, now: float) -> None: ...

    def disconnected(self, text: str, now: float, status: str = "LOST") -> None: ...

    def forsake(self) -> None:
        """The connection is given up for another one: nothing was heard on it."""


class Link:
    """The connection to one of `servers`, whichever it is at the moment."""

    def __init__(
        self, loop: Loop, servers: Servers, conversation: Talk, jitter: Callable[[], float] = random.random
    ) -> None:
        self.retry_at = loop.now
        self._loop, self._servers = loop, servers
        self._conversation = conversation
        self._jitter = jitter
        self._said: object = None  # who else there is, as it was said last
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
        self._look()
        conversation.tick(now)
        if now >= self._impatient_at():
            self._pass_over()
        self._look()
        if self._socket and not self._connecting and conversation.state is None:
            self._hang_up()
        if not self._socket and conversation.wanted and now >= self.retry_at:
            self._open()

    def _look(self) -> None:
        """What the connection is worth: whether it leads to a session, and whether another server is to spare."""
        conversation, servers = self._conversation, self._servers
        self._was_online |= conversation.state is (State.ONLINE if conversation.user else State.GREETED)
        if conversation.servers is not self._said and self.peer is not None:
            self._said = conversation.servers
            servers.learn(learned(self._said, near=self.peer.is_loopback))
        conversation.spare = servers.others if self._lasts else servers.more

    @property
    def _lasts(self) -> bool:
        """Whether a loss of this connection is followed up as the first one is."""
        return self._was_online and self._loop.now - self._since >= STEADY

    def _impatient_at(self) -> float:
        """When a connection that leads nowhere is given up. An only server is waited for as the conversation says."""
        waits = self._socket and self._conversation.state is State.NEW and self._servers.several
        if not (self._connecting or waits):
            return NEVER
        return self._since + (HASTE if self._servers.more else PATIENCE)

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
            return self._impatient_at()
        if self._socket:
            return min(self._conversation.deadline(), self._impatient_at())
        return self.retry_at if self._conversation.wanted else NEVER

    # What others may ask for.

    def drop(self) -> None:
        """Breaks the connection, as a pulled cable would."""
        if self._socket:
            self._look()
            self._conversation.disconnected("You dropped the connection.", self._loop.now)
            self._hang_up()

    def retry(self) -> None:
        """Does not wait for the next attempt."""
        self.retry_at = min(self.retry_at, self._loop.now)
        self._loop.again(self)

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
    def at(self) -> ServerAddress:
        """The server that there is a connection to, or that is tried."""
        return self._servers.at

    @property
    def calls(self) -> str:
        """Which of several servers is tried just now; empty: none."""
        return str(self.at) if self._socket and self._servers.several else ""

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
        self._look()
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
        if self._servers.trusts is not None:
            self._servers.trusts.strict = self._conversation.committed
        way = self._servers.next()
        if way is None:
            self._give_up()
            return
        self._trying = way
        self._since = self._loop.now
        self._was_online = False
        try:
            self._socket = way.socket()
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
            self._servers.not_trusted(why)
            self._discard()
            self._open()
            return
        except OSError as error:
            self._failed(error.errno or errno.EIO, error.strerror or str(error))
            return
        self._connecting = self._shaking = False
        self.peer, self._since = self._trying, self._loop.now
        self._servers.reached()
        self._watch()
        self._conversation.connected(self._loop.now, connection.certificate, str(self.at))
        self._look()
        if connection.certificate:
            self.readable()  # what has come with the end of the handshake

    def _pass_over(self) -> None:
        """Nothing comes of this connection: to the next server."""
        if self._connecting:
            self._failed(errno.ETIMEDOUT, "no handshake came to its end" if self._shaking else "")
            return
        self._conversation.forsake()
        self._servers.failed("it says nothing", f"The server {self.at} is silent.")
        self._discard()
        self._open()

    def _failed(self, number: int, reason: str = "") -> None:
        """No connection: to the next address at once, else later."""
        of_tls = self._shaking
        self._discard()
        self._servers.unreached(number, reason, of_tls)
        self._open()

    def _give_up(self) -> None:
        """No connection, for now or, as the conversation decides, for good."""
        status, text = self._servers.end()
        self._look()
        self._conversation.disconnected(text, self._loop.now, status)
        self._back_off()

    def _hang_up(self) -> None:
        """The conversation on this connection is over."""
        passed_over, self._conversation.passed_over = self._conversation.passed_over, ""
        self._discard()
        if self._lasts:
            self._servers.steady(self.peer)
            self._failures = 0
        elif self._servers.more:
            why = passed_over or "the connection was lost"
            self._servers.failed(why, why)
            self.retry_at = self._loop.now + self._conversation.retry_after
            return
        else:
            self._servers.over()
            self._failures = 1 if self._was_online else self._failures
        self._back_off()

    def _back_off(self) -> None:
        """At once, then up to 1 s, 2 s, 4 s, ...: by chance (full jitter), so that a thousand do not come together."""
        longest = LONGEST_OF_SEVERAL if self._servers.several else LONGEST
        delay = self._jitter() * min(longest, 2.0 ** (self._failures - 1)) if self._failures else 0.0
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
