"""One direct connection with another user, either way: the socket, TLS, and the proofs inside.

Whoever is not proven is a stranger, with STRANGER_SECONDS and STRANGER_BYTES, and is left without a word; one that was
called has a little longer, perhaps. Must not know introductions (a key is asked for when it is needed), nor what
becomes of a text.

Legal order: ``call`` or ``answer`` once. The owner hears ``proven`` once, then ``said`` and ``showed``, and ``gone``
in the end, exactly once; but nothing after ``drop`` or ``leave``. A caller that is proven to a listener waits there,
however long, until ``accept``.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from chatlib.protocol.peer import (
    CallerProven,
    ListenerProven,
    PeerError,
    PeerHappening,
    PeerLeft,
    PeerSaid,
    PeerShowed,
    PeerWire,
)
from chatlib.protocol.text import fold
from chatlib.reactor.budget import Budget
from chatlib.reactor.connection import RECEIVE, Connection
from chatlib.reactor.connector import Connector, SocketAddress
from chatlib.reactor.loop import Loop
from chatlib.reactor.tls import UNLIMITED, TlsConnection

STRANGER_SECONDS = 5.0
STRANGER_BYTES = 8_192
CALL_SECONDS = 5.0  # until a peer's machine has taken the call
# Until the peer has answered it. Of two who call each other, one first waits for what becomes of its own call.
ANSWER_SECONDS = STRANGER_SECONDS
PATIENT_SECONDS = CALL_SECONDS + ANSWER_SECONDS + 2.0
MAX_WAITING = 4 << 20  # bytes: more than WINDOW texts; a peer that does not read is let go
UNHEARD = 30_000  # milliseconds that the peer's machine may leave unconfirmed what it was sent, where that can be set

# Why a link is gone.
LEFT, BROKEN, UNREACHABLE, NOT_PROVEN, WRONG = "PEER_LEFT", "PEER_LOST", "UNREACHABLE", "NOT_PROVEN", "PROTOCOL_ERROR"


class PeerLinkOwner(Protocol):
    """Whom a link tells."""

    def proven(self, link: PeerLink) -> None:
        """The other side is ``link.user``. A caller may speak now; a listener must ``accept``."""

    def said(self, link: PeerLink, said: PeerSaid) -> None: ...

    def showed(self, link: PeerLink, number: int) -> None:
        """What was said under this number has been shown."""

    def gone(self, link: PeerLink, status: str, why: str) -> None:
        """The connection is no more, or was not made."""


@dataclass(frozen=True, slots=True)
class PeerTools:
    """What all links of a client share. `shaking`: seconds of handshakes in a tick."""

    loop: Loop
    listener: ssl.SSLContext
    caller: ssl.SSLContext
    shaking: Budget


class PeerLink:
    """See the module. `wire` is None until the handshake is over."""

    def __init__(self, tools: PeerTools, owner: PeerLinkOwner, me: str, key_of: Callable[[str], bytes | None]) -> None:
        self.wire: PeerWire | None = None
        self.called = ""  # whom we have called; empty: we were called
        self.address = ""  # the other side's
        self._tools, self._owner, self._me, self._key_of = tools, owner, me, key_of
        self._connector: Connector | None = None
        self._tls: TlsConnection | None = None
        self._below: Connection | None = None
        self._patience = STRANGER_SECONDS  # until the other side must have proven who it is
        self._fault = ""  # why we have ended it
        self._trusted = self._over = False
        self._timer = tools.loop.call_later(CALL_SECONDS + PATIENT_SECONDS, self._too_late)

    # Two ways to begin.

    def call(self, user: str, address: str, port: int) -> None:
        """Calls `user` there; only who has the key that we have of `user` will do."""
        self.called, self.address = user, address
        self._patience = ANSWER_SECONDS if fold(self._me) < fold(user) else PATIENT_SECONDS
        try:
            place = numeric(address, port)
        except (OSError, ValueError):
            # Not before the owner knows this link: it is told that there is none.
            self._timer.cancel()
            self._timer = self._tools.loop.call_later(0.0, lambda: self._unreachable("there is no such address"))
        else:
            self._connector = Connector(self._tools.loop, place, CALL_SECONDS, self._connected, self._unreachable)

    def answer(self, sock: socket.socket, address: str) -> None:
        """Somebody has called."""
        self.address = address
        self._begin(sock, address, self._tools.listener)

    def _connected(self, sock: socket.socket) -> None:
        self._connector = None
        self._begin(sock, self.address, self._tools.caller)

    def _begin(self, sock: socket.socket, address: str, context: ssl.SSLContext) -> None:
        loop = self._tools.loop
        with contextlib.suppress(OSError, AttributeError):  # not every system has it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD)
        self._timer.cancel()
        self._timer = loop.call_later(self._patience, self._too_late)
        self._below = below = Connection(loop, sock, address, MAX_WAITING)
        below.receive = STRANGER_BYTES + 1
        self._tls = TlsConnection(
            loop, below, context, self, server=not self.called, limit=MAX_WAITING, shaking=self._tools.shaking,
            on_secured=self._secured, allowance=STRANGER_BYTES,
        )  # fmt: skip
        self._tls.begin()

    def _unreachable(self, why: str) -> None:
        self._connector = None
        self._gone(UNREACHABLE, why)

    def _too_late(self) -> None:
        self._break("too late")

    def _secured(self) -> None:
        assert self._tls is not None
        try:
            if self.called:
                key = self._key_of(fold(self.called))
                if key is None:
                    raise PeerError("The introduction has ended.")
                self.wire = PeerWire.caller(self._me, self.called, key, self._tls.binding)
            else:
                self.wire = PeerWire.listener(self._me, self._key_of, self._tls.binding)
        except PeerError as error:
            self._break(str(error))
        self.flush()

    # What the owner asks for.

    @property
    def user(self) -> str:
        """Who is at the other end, proven; empty: nobody is yet."""
        return self.wire.user if self.wire else ""

    @property
    def open(self) -> bool:
        """Whether something may be said."""
        return self.wire is not None and self.wire.open and not self._over

    @property
    def next_number(self) -> int:
        """What ``say`` will return."""
        assert self.wire is not None
        return self.wire.next_number

    def accept(self) -> None:
        """Answers the caller that is proven."""
        assert self.wire is not None
        self.wire.accept()
        self._trust()
        self.flush()

    def say(self, kind: str, content: str, key: str) -> None:
        """Sends it."""
        assert self.wire is not None
        self.wire.say(kind, content, key)
        self.flush()

    def acknowledge(self, number: int) -> None:
        """What came under this number was shown."""
        if self.wire is not None and not self._over:
            self.wire.acknowledge(number)
            self.flush()

    def leave(self) -> None:
        """Says so, and closes. The owner hears nothing more."""
        if not self._trusted or self._over or self.wire is None or self._tls is None:
            self.drop()
            return
        self.wire.leave()
        self.flush()
        self._over = True
        self._tls.close()

    def drop(self) -> None:
        """Ends it at once, without a word. The owner hears nothing more."""
        self._over = True
        self._end()

    def flush(self) -> None:
        """Sends what there is to be said."""
        if self.wire is not None and self._tls is not None:
            output = self.wire.take_output()
            if output:
                self._tls.push(output)

    # What the connection tells.

    def received(self, data: bytes) -> None:
        if self.wire is None or self._over:
            return
        try:
            happened = self.wire.feed(data)
        except PeerError as error:
            self._break(str(error))
            return
        for each in happened:
            if not self._over:
                self._happened(each)

    def _happened(self, happening: PeerHappening) -> None:
        match happening:
            case CallerProven():
                self._timer.cancel()
                self._owner.proven(self)
            case ListenerProven():
                self._trust()
                self._owner.proven(self)
            case PeerSaid():
                self._owner.said(self, happening)
            case PeerShowed(number):
                self._owner.showed(self, number)
            case PeerLeft():
                self._gone(LEFT, "")

    def _trust(self) -> None:
        """The other side is no stranger any more."""
        self._timer.cancel()
        self._trusted = True
        if self._tls is not None and self._below is not None:
            self._tls.allowance = UNLIMITED
            self._below.receive = RECEIVE

    def ended(self) -> None:
        self._break("")

    def drained(self) -> None: ...

    def overflowed(self) -> None:
        self._break("does not read")

    def disconnected(self) -> None:
        why = self._fault or (self._tls.failure if self._tls else "")
        self._gone((WRONG if self._fault else BROKEN) if self._trusted else NOT_PROVEN, why)

    # The end.

    def _break(self, why: str) -> None:
        """Nothing more is to be had of this connection."""
        self._fault = why
        if self._tls is not None:
            self._tls.abort()  # → disconnected
        else:
            self._gone(UNREACHABLE, why)

    def _gone(self, status: str, why: str) -> None:
        if not self._over:
            self._over = True
            self._end()
            self._owner.gone(self, status, why)

    def _end(self) -> None:
        self._timer.cancel()
        if self._connector is not None:
            self._connector.cancel()
        if self._tls is not None:
            self._tls.abort()


def numeric(address: str, port: int) -> SocketAddress:
    """An address as a server writes it, without asking anybody. Raises OSError, ValueError."""
    ip_address(address)  # "1.2.3" is one to the system
    family, _, _, _, place = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    )[0]
    return family, place
