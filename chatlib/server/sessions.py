"""All sessions of a server: how many there may be, and what must happen when one comes to its end.

Must not know what sessions ask for. Legal order: ``come`` once for each; then the calls of
:class:`chatlib.server.session.Keeper`; ``reap`` once a tick, behind the flush.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Protocol

from chatlib.core.replies import page
from chatlib.core.sessions import sessions_of, that_began
from chatlib.core.world import Command, Reply, World
from chatlib.protocol.commands import State
from chatlib.reactor.loop import Loop
from chatlib.server.acknowledged import Acknowledged
from chatlib.server.admission import Seats
from chatlib.server.catchup import CatchUp
from chatlib.server.delivery import Delivery
from chatlib.server.door import Door
from chatlib.server.figures import Figures
from chatlib.server.limits import Buckets
from chatlib.server.session import Session
from chatlib.storage.serverlog import ServerLog

RESERVE = 64  # descriptors kept back for files, transfers and jobs


class Transferring(Protocol):
    """The transfers, as far as sessions are concerned."""

    def leave(self, user: str, login: int) -> None:
        """The session of `user` that began with `login` is over."""

    def __len__(self) -> int:
        """How many are under way."""


class Introducing(Protocol):
    """The introductions, likewise."""

    def leave(self, user: str, login: int) -> None:
        """As with transfers."""


class ConsolesAfar(Protocol):
    """The consoles from afar, as far as sessions are concerned."""

    def drained(self, session: Session) -> None:
        """The peer has been given everything that was said."""

    def gone(self, session: Session) -> None:
        """The session is over, or about to be."""


class Sessions:
    """Those that are connected, in the order in which they came."""

    def __init__(
        self, *, loop: Loop, world: World, log: ServerLog, delivery: Delivery, seats: Seats, door: Door,
        buckets: Buckets, acknowledged: Acknowledged, catch_up: CatchUp, transfers: Transferring,
        introductions: Introducing, consoles: ConsolesAfar, submit: Callable[[Command], None],
        note: Callable[[str], None], figures: Figures,
    ) -> None:  # fmt: skip
        self._loop, self._world, self._log, self._delivery = loop, world, log, delivery
        self._seats, self._door, self._strangers = seats, door, door.strangers
        self._buckets, self._acknowledged = buckets, acknowledged
        self._catch_up, self._transfers, self._submit, self._note = catch_up, transfers, submit, note
        self._introductions, self._consoles, self._figures = introductions, consoles, figures
        self._all: dict[Session, None] = {}
        self._lingering: dict[Session, None] = {}  # those of them that are over, and whose peers are still connected
        self._closing: list[Session] = []
        self._descriptors = 0  # that connections may use

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._all))

    def count_descriptors(self, sock: socket.socket) -> None:
        """`sock` listens; it is the last descriptor that the server opened before anyone could come."""
        free = _free_descriptors(sock)
        self._descriptors = free - min(RESERVE, free // 3)

    # Coming.

    def come(self, session: Session) -> None:
        """One more. When there are too many, one of them goes."""
        self._all[session] = None
        self._strangers.come(session)
        most = self._world.parameters["STRANGERS"]
        if most and len(self._strangers) > most:
            self._door.crowded(self._strangers.superfluous().end)
        if len(self._all) + 2 * len(self._transfers) > self._descriptors:
            self._save_descriptors()

    def _save_descriptors(self) -> None:
        """Few are left: who is on the way out goes now, else a stranger. Logins and files need the rest."""
        if self._lingering:
            next(iter(self._lingering)).connection.abort()
        elif self._strangers:
            self._strangers.superfluous().connection.abort()

    def let_in(self, session: Session, user: str, login: int, reply: Callable[[], None], resumes: bool) -> None:
        """The world has let `user` in, whose latest session it is. A connection that died meanwhile departs at once."""
        self._note(f"login {self._world.accounts[user].name} from {session.address}")
        self._seats.leave(session)
        self._strangers.leave(session)
        reply()
        session.is_users(user, login)
        begun = that_began(self._world, user, login)
        session.reader.begin(begun.away_from if begun else self._world.accounts[user].seen)
        others = self._delivery.of(user)  # the rate limit is the user's, who may have several sessions
        session.intake.admit(others[0].intake.bucket if others else self._buckets.take_out(user))
        self._delivery.come(session)
        self._acknowledged.come(session)
        self._catch_up.begin(session, resumes)
        if session.over or not session.connection.open:
            session.depart()

    def let_in_console(self, session: Session) -> None:
        """The administrator's password was proven: it takes no seat, and is no stranger."""
        self._seats.leave(session)
        self._strangers.leave(session)

    def listed(self, session: Session, _request: Command) -> Reply:
        """The sessions of its user. `here`: this one."""
        found = sessions_of(self._world, session.user)
        return page([{"number": each.number, "address": each.address, "time": each.since,
                      "here": each.login == session.login} for each in found], None)  # fmt: skip

    def ends_another(self, session: Session, number: int | None) -> bool:
        """Whether whoever logs out of the session with this number means another one."""
        here = that_began(self._world, session.user, session.login)
        return number is not None and here is not None and here.number != number

    # What a session tells its keeper.

    def mistaken(self, session: Session) -> None:
        """A stranger has said what means nothing."""
        self._door.mistaken(session)

    def drained(self, session: Session) -> None:
        """The peer has been given everything that was said; perhaps it is to be given more."""
        if session.login and not session.listening and not session.over:
            self._catch_up.go_on(session)
        elif session.state is State.CONSOLE:
            self._consoles.drained(session)

    def departure(self, session: Session) -> Command:
        """The command that tells the world, once, that `session` is over."""
        session.departed = True
        seen = self._acknowledged.upto(session)
        return {"action": "depart", "at": self._loop.wall, "user": session.user, "session": session.login, "seen": seen}

    def leaves(self, session: Session) -> None:
        """`session` is nobody's from now on: the world is told, and everyone who has something for it."""
        if session.login:
            if not session.departed:
                self._submit(self.departure(session))
            self._delivery.leave(session)
            if session.user not in self._delivery.sessions:
                self._buckets.keep(session.user, session.intake.bucket, self._loop.now)
            self._acknowledged.leave(session)
            self._transfers.leave(session.user, session.login)
            self._introductions.leave(session.user, session.login)
        elif session.state is State.CONSOLE:
            self._consoles.gone(session)
        self._seats.leave(session)

    def said_bye(self, session: Session, status: str) -> None:
        """Nothing more is said: the connection is closed when this tick's words are on their way."""
        if status:
            self._figures.count(f"goodbyes: {status}")
        if status and session.login:
            self._log.happened(f"bye {session.user} {status}")
        self._strangers.leave(session)
        self._closing.append(session)
        self._lingering[session] = None

    def closed(self, session: Session) -> None:
        """The connection is gone."""
        self._strangers.leave(session)
        self._door.gone(session)
        self._lingering.pop(session, None)
        if session in self._all:
            del self._all[session]
            if session.state is State.ONLINE:
                account = self._world.accounts.get(session.user)
                self._note(f"logout {account.name if account else session.user} from {session.address}")

    def reap(self) -> None:
        """Closes the connections of those who have said their last word."""
        closing, self._closing = self._closing, []
        for session in closing:
            session.connection.close()


def _free_descriptors(sock: socket.socket) -> int:
    """How many more this process may have, where `sock` is its latest."""
    latest = os.dup(sock.fileno())  # the lowest number that is free
    os.close(latest)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft - latest
