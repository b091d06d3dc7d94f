"""Fan-out: the world's words to connections, each client seeing everything in LSN order (design, section 3).

What one tick says to everyone online is a single list (`common`), encoded once, joined once, and sent to each
connection with one system call. Only a connection that was also told something of its own needs work of its own: its
`mark` says how much of `common` it has in its `pieces` already. So a broadcast costs no Python per recipient.

Must not know what a line says. Legal order in a tick: any calls, then ``flush``, the only place that sends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING

from chatlib.server.effects import Effects
from chatlib.storage.blobs import Blobs
from chatlib.storage.messages import MessageStore

if TYPE_CHECKING:
    from chatlib.server.session import Session


class Delivery:
    """The world's audience. `listeners` are the sessions online that are up to date, by user."""

    def __init__(self, messages: MessageStore, blobs: Blobs, effects: Effects) -> None:
        self.sessions: dict[str, Session] = {}  # online, by user
        self.listeners: dict[str, Session] = {}  # those of them that get events as they happen
        self.silent: dict[Session, None] = {}  # those online that have never acknowledged anything
        self.clients: dict[str, Session] = {}  # those online, by what their client programs call themselves
        self.announce: Callable[[str], None] = lambda user: None  # what is done when a user has come or gone
        self.flushed = 0  # LSN up to which everything has been pushed
        self.delivered = 0  # lines pushed since the start
        self._messages, self._blobs, self._effects = messages, blobs, effects
        self._common: list[bytes] = []
        self._touched: list[Session] = []  # sessions with pieces of their own

    # The world's audience.

    def deliver(self, user: str, line: bytes) -> None:
        """To one user; a session that is catching up will find the line in the store."""
        session = self.listeners.get(user)
        if session is not None:
            self.to(session, line)

    def fan_out(self, line: bytes, excluded: Collection[str] = ()) -> None:
        """To all listeners but `excluded`."""
        for user in excluded:
            session = self.listeners.get(user)
            if session is not None:
                self._pull(session)
                session.mark += 1  # passes over the line that is added now
        self._common.append(line)

    def end(self, user: str, login: int, status: str, text: str) -> None:
        """The world ended a session."""
        session = self.sessions.get(user)
        if session is not None and session.login == login:
            session.departed = True
            session.end(status, text)

    def store(self, line: bytes) -> None:
        """To the message store."""
        self._messages.append(line)

    def erase(self, offsets: Iterable[int]) -> None:
        """Out of the message store, when that is durable."""
        self._effects.put(partial(self._messages.erase, [offset]) for offset in offsets)

    def adopt(self, blob: str) -> None:
        """An upload's bytes."""
        self._blobs.adopt(blob)

    def unlink(self, blob: str) -> None:
        """A waiting file's bytes, when that is durable."""
        self._effects.put([partial(self._blobs.unlink, blob)])

    # Sessions.

    def to(self, session: Session, line: bytes) -> None:
        """A line for one connection, after all that was said to it before."""
        pieces = session.pieces
        if pieces is None or session.mark != len(self._common):
            pieces = self._pull(session)
        pieces.append(line)

    def _pull(self, session: Session) -> list[bytes]:
        """The session's own pieces, with all of `common` that it has a right to."""
        pieces = session.pieces
        if pieces is None:
            session.pieces = pieces = []
            session.mark = 0
            self._touched.append(session)
        if session.listening and session.mark != len(self._common):
            pieces.extend(self._common[session.mark :])
            session.mark = len(self._common)
        return pieces

    def come(self, session: Session) -> None:
        """`session` is its user's from now on."""
        self.sessions[session.user] = session
        if session.client is not None:
            self.clients[session.client] = session
        if not session.reader.acknowledges:
            self.silent[session] = None

    def listen(self, session: Session) -> None:
        """From now on `session` gets events as they happen."""
        self._pull(session)
        session.mark = len(self._common)
        session.listening = True
        self.listeners[session.user] = session

    def leave(self, session: Session) -> None:
        """No more events for `session`; what was said before still goes out."""
        if session.listening:
            self._pull(session)
            session.listening = False
            del self.listeners[session.user]
        self.silent.pop(session, None)
        if session.client is not None and self.clients.get(session.client) is session:
            del self.clients[session.client]
        if self.sessions.get(session.user) is session:
            del self.sessions[session.user]

    # Flush.

    def flush(self, lsn: int) -> None:
        """Sends what this tick said; everything up to `lsn` has been executed."""
        common = self._common
        if common:
            self._common = []
            self._flush_common(common)
        while self._touched:  # a session that ends meanwhile says so, too
            touched, self._touched = self._touched, []
            for session in touched:
                pieces = session.pieces
                session.pieces = None
                session.mark = 0
                if pieces:
                    self.delivered += len(pieces)
                    if session.push(b"".join(pieces)):
                        session.reader.current = session.listening
                    else:
                        session.fell_behind(self.flushed)
        self.flushed = lsn

    def _flush_common(self, common: list[bytes]) -> None:
        everything = b"".join(common)
        for session in list(self.listeners.values()):  # one that fails leaves meanwhile
            if session.pieces is not None:
                session.pieces.extend(common[session.mark :])
                continue
            self.delivered += len(common)
            if not session.push(everything):
                session.fell_behind(self.flushed)
