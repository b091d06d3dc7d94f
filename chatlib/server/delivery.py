"""Fan-out: the world's words to connections, each client seeing everything in LSN order (design, section 3).

What one tick says to everyone online is a single list (`common`), encoded once, joined once, and sent to each
connection with one system call. Only a connection that was also told something of its own needs work of its own: its
`mark` says how much of `common` it has in its `pieces` already. So a broadcast costs no Python per recipient.

A line that is only for those who follow a stream stands in `common` as well, so that the order is one. Listeners who
follow the same of this tick's streams get the same bytes, joined once (:mod:`.channels`).

A dialect that says events in another way has a list like `common` of its own, filled once a tick, and only while
somebody listens who speaks it.

A user may have several sessions. Each is told everything by itself, so a slow one holds up no other. Nearly all users
have one: the few with more stand beside (`_more`, `_several`), and cost the others nothing.

Must not know what a line says. Legal order in a tick: any calls, then ``flush``, the only place that sends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import chain

from chatlib.protocol.framing import Dialect
from chatlib.reactor.connection import push_to_all
from chatlib.server.channels import Channels
from chatlib.server.session import Session

HELD = 1_000  # lines held for one session that catches up; with more it is a slow consumer


class Delivery:
    """Who hears what. Legal order for a session: ``come`` → ``listen`` → ``leave``, the second perhaps never."""

    def __init__(
        self, follows: Callable[[str], Iterable[str]] = lambda user: (), lsn: Callable[[], int] = lambda: 0
    ) -> None:
        """`follows`: the names of the streams that a user follows now. `lsn`: of the command that is carried out."""
        self._follows, self._lsn = follows, lsn
        self._channels = Channels()
        self.sessions: dict[str, Session] = {}  # online, by user: the first that came,
        self._more: dict[str, list[Session]] = {}  # and the others of those who have several
        self.listeners: dict[str, Session] = {}  # by user, where one session gets events as they happen;
        self._several: dict[str, list[Session]] = {}  # by user, where more than one does
        self._held: dict[Session, list[tuple[int, bytes]]] = {}  # for whoever catches up: what its user sends elsewhere
        self.clients: dict[str, Session] = {}  # those online, by what their client programs call themselves
        self.flushed = 0  # LSN up to which everything has been pushed
        self.delivered = self.pushed = 0  # lines and bytes, since the start
        self._common: list[bytes] = []
        self._foreign: dict[Session, Dialect] = {}  # listeners whose dialect says events in another way
        self._translated: dict[str, list[bytes]] = {}  # by dialect: as much of `common` as was needed so far
        self._touched: list[Session] = []  # sessions with pieces of their own

    # What the world says.

    def deliver(self, user: str, line: bytes) -> None:
        """To one user; a session that is catching up will find the line in the store."""
        session = self.listeners.get(user)
        if session is not None:
            self.to(session, line)
        elif self._several:
            for session in self._several.get(user, ()):
                self.to(session, line)

    def sent(self, user: str, line: bytes, origin: object) -> None:
        """What `user` has sent, to the sessions but the one that has; `origin` is its intake, or has its `login`."""
        login = getattr(origin, "login", 0)
        for session in self.of(user):
            if session.intake is origin or session.login == login:
                continue
            if session.listening:
                self.to(session, line)
            else:
                self.hold(session, [(self._lsn(), line)])

    def hold(self, session: Session, lines: list[tuple[int, bytes]]) -> None:
        """These, each with its seq, are told when it has caught up so far: nothing else would, and now is too early."""
        if not lines:
            return
        held = self._held.setdefault(session, [])
        held += lines
        if len(held) > HELD:
            session.overflowed()

    def held(self, session: Session, upto: int) -> list[tuple[int, bytes]]:
        """Takes out what is held for `session`, up to a seq: each line with its own."""
        held = self._held.pop(session, None)
        if held is None:
            return []
        later = [each for each in held if each[0] > upto]
        if later:
            self._held[session] = later
        return held[: len(held) - len(later)]

    def fan_out(self, line: bytes, excluded: Collection[str] = ()) -> None:
        """To all listeners but `excluded`."""
        if excluded:
            self._pass_over(excluded)
        self._common.append(line)

    def publish(self, stream: str, line: bytes, excluded: Collection[str] = ()) -> None:
        """To the listeners who follow `stream`, but not to `excluded`."""
        if self._channels.has(stream):
            self._pass_over(excluded)
            self._channels.mark(stream, len(self._common))
            self._common.append(line)

    def _pass_over(self, excluded: Collection[str]) -> None:
        """They do not hear the line that is added next."""
        for user in excluded:
            session = self.listeners.get(user)
            if session is not None:
                self._pull(session)
                session.mark += 1
            elif self._several:
                for session in self._several.get(user, ()):
                    self._pull(session)
                    session.mark += 1

    def _listening(self, user: str) -> Collection[Session]:
        """Those of a user that get events as they happen."""
        session = self.listeners.get(user)
        return (session,) if session is not None else self._several.get(user, ())

    def hearing(self) -> int:
        """How many users hear what happens."""
        return len(self.listeners) + len(self._several)

    def follow(self, user: str, stream: str) -> None:
        """`user` hears what is published in `stream` from now on,"""
        for session in self._listening(user):
            self._pull(session)
            self._channels.join(session, stream)

    def unfollow(self, user: str, stream: str) -> None:
        """or no longer."""
        for session in self._listening(user):
            self._pull(session)
            self._channels.part(session, stream)

    def close(self, stream: str, _: None) -> None:
        """Nothing more is published in `stream`."""
        self._channels.close(stream)

    def end(self, user: str, ending: tuple[int, str, str]) -> None:
        """The world ended a session."""
        login, status, text = ending
        session = self.that_began(user, login)
        if session is not None:
            session.departed = True
            session.end(status, text)

    # Sessions.

    def to(self, session: Session, line: bytes) -> None:
        """A line for one connection, after all that was said to it before."""
        if session.translate is not None:
            line = session.translate(line)
        pieces = session.pieces
        if pieces is None and not self._common:  # nearly always: the first thing said in this tick
            session.pieces = [line]
            self._touched.append(session)
            return
        if pieces is None or session.mark != len(self._common):
            pieces = self._pull(session)
        pieces.append(line)

    def all_to(self, session: Session, lines: list[bytes]) -> None:
        """Lines for one connection, after all that was said to it before."""
        pieces = session.pieces
        if pieces is None or session.mark != len(self._common):
            pieces = self._pull(session)
        pieces.extend(lines if session.translate is None else map(session.translate, lines))

    def _pull(self, session: Session) -> list[bytes]:
        """The session's own pieces, with all of `common` that it has a right to."""
        pieces = session.pieces
        if pieces is None:
            session.pieces = pieces = []
            session.mark = 0
            self._touched.append(session)
        if session.listening and session.mark != len(self._common):
            common = self._common if session.translate is None else self._translate(self._foreign[session])
            pieces.extend(self._channels.heard(session, common, session.mark))
            session.mark = len(self._common)
        return pieces

    def _translate(self, wire: Dialect) -> list[bytes]:
        """`common`, as this dialect says it."""
        translated, translate = self._translated.setdefault(wire.name, []), wire.translate
        assert translate is not None
        translated.extend(map(translate, self._common[len(translated) :]))
        return translated

    def come(self, session: Session) -> None:
        """`session` is its user's from now on."""
        if self.sessions.setdefault(session.user, session) is not session:
            self._more.setdefault(session.user, []).append(session)
        if session.client is not None:
            self.clients[session.client] = session

    def listen(self, session: Session) -> None:
        """From now on `session` gets events as they happen."""
        self._pull(session)
        session.mark = len(self._common)
        session.listening = True
        if there := self._listening(session.user):
            self._several[session.user] = [*there, session]
            self.listeners.pop(session.user, None)
        else:
            self.listeners[session.user] = session
        for stream in self._follows(session.user):
            self._channels.join(session, stream)
        if session.translate is not None and session.wire is not None:
            self._foreign[session] = session.wire

    def leave(self, session: Session) -> None:
        """No more events for `session`; what was said before still goes out."""
        if session.listening:
            self._pull(session)
            session.listening = False
            self._channels.leave(session)
            self._listens_no_more(session)
            self._foreign.pop(session, None)
        if session.client is not None and self.clients.get(session.client) is session:
            del self.clients[session.client]
        self._held.pop(session, None)
        self._goes(session)

    def _listens_no_more(self, session: Session) -> None:
        user = session.user
        left = [each for each in self._several.pop(user, ()) if each is not session]
        if len(left) > 1:
            self._several[user] = left
        elif left:
            self.listeners[user] = left[0]
        else:
            del self.listeners[user]

    def _goes(self, session: Session) -> None:
        user = session.user
        left = [each for each in self.of(user) if each is not session]
        if left:
            self.sessions[user] = left[0]
            self._more[user] = left[1:]
        else:
            self.sessions.pop(user, None)
        if len(left) < 2:
            self._more.pop(user, None)

    def of(self, user: str) -> list[Session]:
        """The sessions of a user, in the order in which they came."""
        first = self.sessions.get(user)
        return [] if first is None else [first, *self._more.get(user, ())]

    def that_began(self, user: str, login: int) -> Session | None:
        """The one whose login has this LSN."""
        return next((session for session in self.of(user) if session.login == login), None)

    def everyone(self) -> list[Session]:
        """All who are online."""
        return [*self.sessions.values(), *chain.from_iterable(self._more.values())]

    # Flush.

    def flush(self, lsn: int) -> None:
        """Sends what this tick said; everything up to `lsn` has been executed."""
        common = self._common
        if common:
            for session in [*self._foreign, *self._touched]:
                self._pull(session)
            self._common, self._translated = [], {}
            self._flush_common(common)
        while self._touched:  # a session that ends meanwhile says so, too
            touched, self._touched = self._touched, []
            lines = size = 0
            for session in touched:
                pieces = session.pieces
                session.pieces = None
                session.mark = 0
                if not pieces:  # nothing was said to it, but it may have begun to listen
                    session.reader.current = session.listening and not session.connection.backlog_size
                    continue
                data = b"".join(pieces)
                lines += len(pieces)
                size += len(data)
                if session.push(data):
                    session.reader.current = session.listening
                else:
                    self._fell_behind(session)
            self.delivered += lines
            self.pushed += size
        self.flushed = lsn

    def _flush_common(self, common: list[bytes]) -> None:
        """To all who were told nothing of their own."""
        listeners: Collection[Session] = self.listeners.values()
        if self._several:
            listeners = [*listeners, *chain.from_iterable(self._several.values())]
        for sessions, lines in self._channels.split(listeners, common):
            data = b"".join(lines)
            self.delivered += len(lines) * len(sessions)
            self.pushed += len(data) * len(sessions)
            for place in push_to_all([session.connection for session in sessions], data):
                self._fell_behind(sessions[place])
        self._channels.clear()

    def _fell_behind(self, session: Session) -> None:
        """The kernel did not take all of this tick; everything up to `flushed` it had taken before."""
        session.reader.fell_behind(self.flushed)
        session.intake.block()
