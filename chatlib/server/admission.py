"""Admission: hello, seats and the waiting room.

Seats count users logged in. When all are taken, up to WAITING_ROOM connections wait in order, are told their place and
each change of it, and are admitted as seats become free, one for each seat. An admitted connection's seat is held for
OFFER seconds. A connection that has not logged in holds no seat, and is told when the last one goes meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from chatlib.core.talk import refusal
from chatlib.core.world import Reply
from chatlib.protocol.commands import State

if TYPE_CHECKING:
    from chatlib.server.server import Server
    from chatlib.server.session import Session

SERVER = "chatlib/1"
OFFER = 30.0  # seconds that a seat is held for an admitted connection
TOLD = 256  # connections told something about seats in one tick
_FULL = "All seats are taken; try again later."


def hello(session: Session, request: dict[str, Any]) -> Reply:
    """The first request: in, into the queue, or out."""
    server = session.server
    session.client = request.get("client")
    session.heartbeat = server.world.parameters["HEARTBEAT"]
    welcome: Reply = {
        "status": "OK",
        "server": SERVER,
        "protocol": 1,
        "epoch": server.epoch,
        "time": server.loop.wall,
        "heartbeat": session.heartbeat,
        "iterations": server.world.parameters["SCRAM_ITERATIONS"],
    }
    if server.seats.free() or _comes_back(server, session.client):
        session.become(State.GREETED)
        return welcome
    position = server.seats.wait(session)
    if position:
        session.become(State.WAITING)
        return {**welcome, "status": "WAITING", "position": position}
    server.loop.call_later(0.0, lambda: session.end("SERVER_FULL", _FULL))  # behind the reply
    return refusal("SERVER_FULL", _FULL)


def _comes_back(server: Server, client: str | None) -> bool:
    """Whether this client program has a seat already: its connection broke, and the server has not noticed."""
    return client is not None and client in server.delivery.clients


class Seats:
    """The queue before the door. A session is in it at most once, or is offered a seat, or neither."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._queue: dict[Session, None] = {}
        self._offered: dict[Session, float] = {}  # admitted from the queue, not logged in yet → until when that counts
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
        return self._server.world.seats_left() - len(self._offered)

    def refusal(self, session: Session, user: str) -> Reply:
        """Why `session` may not log in as `user` now, or nothing: seats that are held for others are not to be had."""
        server = self._server
        if user in server.world.online or session in self._offered:
            return {}
        entering = sum(1 for other in server.entering.values() if other is not session and other not in self._offered)
        return {} if self._left() > entering else refusal("SERVER_FULL", _FULL)

    def wait(self, session: Session) -> int:
        """Puts `session` into the queue; its position from 1, or 0 when the waiting room is full."""
        if len(self._queue) >= self._server.world.parameters["WAITING_ROOM"]:
            return 0
        self._queue[session] = None
        self._server.strangers.leave(session)
        session.position = len(self._queue)
        return session.position

    def leave(self, session: Session) -> None:
        """`session` is gone, or logged in: it needs neither place nor offer."""
        self._offered.pop(session, None)
        if session in self._queue:
            del self._queue[session]
            self._moved = True

    def admit(self) -> None:
        """Lets in as many as there are seats, one for each seat. Called each tick after commands were carried out."""
        now = self._server.loop.now
        if self._offered:
            self._offered = {session: until for session, until in self._offered.items() if until > now}
        if self._queue and (seats := self._left()) > 0:
            for session in list(islice(self._queue, seats)):
                self._offer(session, now + OFFER)
        full = self._server.world.seats_left() == 0
        if full and not self._full:
            self._noticing = iter(list(self._server.sessions))
        self._full = full
        self._tell()

    def _offer(self, session: Session, until: float) -> None:
        self.leave(session)
        self._offered[session] = until
        session.become(State.GREETED)
        self._server.strangers.come(session)
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
                session.event({"event": "notice", "time": self._server.loop.wall, "text": text})
        if told == TOLD:
            self._server.loop.again(self)

    def again(self) -> None:
        """Another tick, to go on telling."""

    def broken(self) -> None: ...


def came_in(session: Session, user: str, login: int, reply: Callable[[], None]) -> None:
    """The world has let `user` in. A connection that died meanwhile departs at once."""
    server = session.server
    server.note(f"login {server.world.accounts[user].name} from {session.address}")
    server.seats.leave(session)
    reply()
    session.logged_in(user, login)
    if session.over or not session.connection.open:
        session.depart()
