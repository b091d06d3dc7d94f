"""Admission: hello, seats and the waiting room.

Seats count users logged in. When all are taken, up to WAITING_ROOM connections wait in order, are told their place and
each change of it, and are admitted as seats become free, one for each seat. An admitted connection's seat is held for
OFFER seconds. A connection that has not logged in holds no seat, and is told when the last one goes meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import Any

from chatlib.core.replies import refusal
from chatlib.core.world import Reply, World
from chatlib.protocol.commands import State
from chatlib.reactor.loop import Loop
from chatlib.server.session import Session
from chatlib.server.strangers import Strangers
from chatlib.server.tlsdoor import TlsDoor

SERVER = "chatlib/1"
OFFER = 30.0  # seconds that a seat is held for an admitted connection
TOLD = 256  # connections told something about seats in one tick
_FULL = "All seats are taken; try again later."


class Reception:
    """Answers each connection's first request."""

    def __init__(
        self, world: World, loop: Loop, seats: Seats, tls: TlsDoor, epoch: str, clients: Container[str | None],
        earlier: Sequence[tuple[str, int]] = (), servers: Callable[[], Sequence[str]] = list,
    ) -> None:  # fmt: skip
        """`clients`: what the client programs of those online call themselves, as it is at any time. `earlier`: epochs
        of which this one goes on, and up to which seq. `servers`: in a cluster, where clients reach those that are up.
        """
        self._servers = servers
        self._world, self._loop, self._seats, self._tls = world, loop, seats, tls
        self._epoch, self._clients, self._earlier = epoch, clients, [list(pair) for pair in earlier]

    def hello(self, session: Session, request: dict[str, Any]) -> Reply:
        """In, into the queue, or out."""
        refused = self._tls.refusal(session)
        if refused:
            self._loop.call_later(0.0, lambda: session.end("TLS_REQUIRED", refused["text"]))  # behind the reply
            return refused
        session.client, session.ordinal = request.get("client"), request.get("connection", 0)
        self._seats.greeted(session)
        session.heartbeat = self._world.parameters["HEARTBEAT"]
        welcome: Reply = {
            "status": "OK",
            "server": SERVER,
            "protocol": 1,
            "epoch": self._epoch,
            "time": self._loop.wall,
            "heartbeat": session.heartbeat,
            "iterations": self._world.parameters["SCRAM_ITERATIONS"],
        }
        if self._world.parameters["DUPLICATE_LOGIN"] == "share":
            welcome["sessions"] = self._world.parameters["SESSIONS"]
        if self._earlier:
            welcome["earlier"] = self._earlier
        if self._tls.offered and not session.binding:
            welcome["tls"] = True
        if servers := self._servers():
            welcome["servers"] = servers
        # A client that has a seat already comes back: its connection broke, and the server has not noticed.
        # Whoever comes for the administrator's console needs none.
        if self._seats.free() or session.client in self._clients or request.get("console"):
            session.become(State.GREETED)
            return welcome
        position = self._seats.wait(session)
        if position:
            session.become(State.WAITING)
            return {**welcome, "status": "WAITING", "position": position}
        self._loop.call_later(0.0, lambda: session.end("SERVER_FULL", _FULL))  # behind the reply
        return refusal("SERVER_FULL", _FULL)


class Seats:
    """The queue before the door. A session is in it at most once, or is offered a seat, or neither."""

    def __init__(
        self, world: World, loop: Loop, strangers: Strangers, connected: Callable[[], Iterable[Session]]
    ) -> None:
        """`connected`: all sessions, as it is when it is called."""
        self._world, self._loop, self._strangers, self._connected = world, loop, strangers, connected
        self._queue: dict[Session, None] = {}
        self._offered: dict[Session, float] = {}  # admitted from the queue, not logged in yet → until when that counts
        self._entering: dict[str, list[Session]] = {}  # by user: whose logins are on their way to the disk
        self._full = False
        self._moved = False  # positions have changed since a round of telling them began
        self._telling: Iterator[tuple[int, Session]] = iter(())  # the rest of a round
        self._noticing: Iterator[Session] = iter(())  # who is yet to hear that the last seat is gone

    def __len__(self) -> int:
        return len(self._queue)

    def free(self) -> bool:
        """Whether someone new may go in: a seat is free that is held for nobody, and nobody waits for it."""
        return not self._queue and self._left() > 0

    def _left(self) -> int:
        return self._world.seats_left() - len(self._offered)

    def refusal(self, session: Session, user: str) -> Reply:
        """Why `session` may not log in as `user` now, or nothing: seats that are held for others are not to be had."""
        if user in self._world.online or session in self._offered:
            return {}
        if self._left() > len(self._entering):  # nearly always: nobody need be counted
            return {}
        entering = sum(1 for other, sessions in self._entering.items()
                       if other != user and not self._offered.keys() & sessions)  # fmt: skip
        return {} if self._left() > entering else refusal("SERVER_FULL", _FULL)

    def enters(self, session: Session, user: str) -> None:
        """The login of `user` is on its way to the disk."""
        self._entering.setdefault(user, []).append(session)

    def entering(self, user: str) -> Collection[Session]:
        """Whose logins as `user` are on their way."""
        return self._entering.get(user, ())

    def entered(self, session: Session, user: str) -> None:
        """One was carried out, or refused."""
        sessions = self._entering.get(user, [])
        if session in sessions:
            sessions.remove(session)
            if not sessions:
                del self._entering[user]

    def wait(self, session: Session) -> int:
        """Puts `session` into the queue; its position from 1, or 0 when the waiting room is full."""
        if len(self._queue) >= self._world.parameters["WAITING_ROOM"]:
            return 0
        self._queue[session] = None
        self._strangers.leave(session)
        session.position = len(self._queue)
        return session.position

    def greeted(self, session: Session) -> None:
        """`session` has said hello."""
        self._strangers.heard(session)

    def leave(self, session: Session) -> None:
        """`session` is gone, or logged in: it needs neither place nor offer."""
        self._offered.pop(session, None)
        if session in self._queue:
            del self._queue[session]
            self._moved = True

    def admit(self) -> None:
        """Lets in as many as there are seats, one for each seat. Called each tick after commands were carried out."""
        now = self._loop.now
        for session, _ in list(takewhile(lambda offer: offer[1] <= now, self._offered.items())):  # oldest first
            del self._offered[session]
        if self._queue and (seats := self._left()) > 0:
            for session in list(islice(self._queue, seats)):
                self._offer(session, now + OFFER)
        full = self._world.seats_left() == 0
        if full and not self._full:
            self._noticing = iter(list(self._connected()))
        self._full = full
        self._tell()

    def _offer(self, session: Session, until: float) -> None:
        self.leave(session)
        self._offered[session] = until
        session.become(State.GREETED)
        self._strangers.come(session, at_once=True)
        session.start_login_time()
        session.event({"event": "admitted"})

    def _tell(self) -> None:
        """A round of positions, and of notices, a part in each tick: a crowd that leaves costs its size, once."""
        told = 0
        for position, session in islice(self._telling, TOLD):
            told += 1
            if session in self._queue and session.position != position:
                session.position = position
                session.event({"event": "waiting", "position": position})
        if told < TOLD and self._moved:
            self._moved = False
            self._telling = iter(list(enumerate(self._queue, 1)))
            told = TOLD
        for session in islice(self._noticing, TOLD):
            told = TOLD
            if session.state is State.GREETED and not session.over:
                text = "The last seat has just been taken."
                session.event({"event": "notice", "time": self._loop.wall, "text": text})
        if told == TOLD:
            self._loop.again(self)

    def again(self) -> None:
        """Another tick, to go on telling."""

    def broken(self) -> None: ...
