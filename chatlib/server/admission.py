"""Admission: hello, seats and the waiting room.

Seats count users logged in. When all are taken, up to WAITING_ROOM connections wait in order, are told their place and
each change of it, and are admitted as seats become free, one for each seat; whoever then does not log in within OFFER
seconds no longer keeps the next one waiting. Someone typing a password holds no seat, and is told when the last one
goes meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chatlib.core.world import Reply
from chatlib.protocol.commands import State

if TYPE_CHECKING:
    from chatlib.server.server import Server
    from chatlib.server.session import Session

SERVER = "chatlib/1"
OFFER = 30.0  # seconds until who was admitted and has not logged in no longer keeps the next one waiting


def hello(session: Session, request: dict[str, Any]) -> Reply:
    """The first request: in, into the queue, or out."""
    server = session.server
    session.client = request.get("client")
    welcome: Reply = {
        "status": "OK",
        "server": SERVER,
        "protocol": 1,
        "epoch": server.epoch,
        "time": server.loop.wall,
        "heartbeat": server.world.parameters["HEARTBEAT"],
        "iterations": server.world.parameters["SCRAM_ITERATIONS"],
    }
    if server.seats.free() or _comes_back(server, session.client):
        session.state = State.GREETED
        return welcome
    position = server.seats.wait(session)
    if position:
        session.state = State.WAITING
        return {**welcome, "status": "WAITING", "position": position}
    full = "All seats are taken; try again later."
    server.loop.call_later(0.0, lambda: session.end("SERVER_FULL", full))  # behind the reply
    return {"status": "SERVER_FULL", "text": full}


def _comes_back(server: Server, client: str | None) -> bool:
    """Whether this client program has a seat already: its connection broke, and the server has not noticed."""
    return client is not None and any(presence.client == client for presence in server.world.online.values())


class Seats:
    """The queue before the door. A session is in it at most once, or is offered a seat, or neither."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._queue: dict[Session, None] = {}
        self._offered: dict[Session, float] = {}  # admitted from the queue, not logged in yet → until when that counts
        self._full = False

    def free(self) -> bool:
        """Whether someone new may go in: a seat is free, and nobody waits for it."""
        return not self._queue and self._server.world.seats_left() > 0

    def __len__(self) -> int:
        return len(self._queue)

    def wait(self, session: Session) -> int:
        """Puts `session` into the queue; its position from 1, or 0 when the waiting room is full."""
        if len(self._queue) >= self._server.world.parameters["WAITING_ROOM"]:
            return 0
        self._queue[session] = None
        return len(self._queue)

    def leave(self, session: Session) -> None:
        """`session` is gone, or logged in: it needs neither place nor offer."""
        self._offered.pop(session, None)
        if session in self._queue:
            place = list(self._queue).index(session)
            del self._queue[session]
            self._tell_positions(place)

    def admit(self) -> None:
        """Lets in as many as there are seats, one for each seat. Called each tick after commands were carried out."""
        now = self._server.loop.now
        self._offered = {session: until for session, until in self._offered.items() if until > now}
        seats = self._server.world.seats_left() - len(self._offered)
        admitted = list(self._queue)[:seats] if seats > 0 else []
        for session in admitted:
            del self._queue[session]
            self._offered[session] = now + OFFER
            session.state = State.GREETED
            session.start_login_time()
            session.event({"event": "admitted"})
        if admitted:
            self._tell_positions()
        full = self._server.world.seats_left() == 0
        if full and not self._full:
            self._tell_typing()
        self._full = full

    def _tell_positions(self, unchanged: int = 0) -> None:
        for place, session in enumerate(self._queue):
            if place >= unchanged:
                session.event({"event": "waiting", "position": place + 1})

    def _tell_typing(self) -> None:
        """The last seat has gone to someone else while these were typing a password."""
        notice = {"event": "notice", "time": self._server.loop.wall, "text": "The last seat has just been taken."}
        for session in self._server.sessions:
            if session.state is State.GREETED and not session.over:
                session.event(notice)


def came_in(session: Session, user: str, login: int, reply: Callable[[], None]) -> None:
    """The world has let `user` in. A connection that died meanwhile departs at once."""
    server = session.server
    server.note(f"login {server.world.accounts[user].name} from {session.address}")
    server.seats.leave(session)
    reply()
    session.logged_in(user, login)
    if session.over or not session.connection.open:
        session.depart()
