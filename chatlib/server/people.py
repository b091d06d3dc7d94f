"""A door to who is online, for whoever moves files for them. Must not know what sessions are made of."""

from __future__ import annotations

from chatlib.reactor.loop import Loop
from chatlib.server.delivery import Delivery


class People:
    """Legal at any time; who is away hears nothing."""

    def __init__(self, loop: Loop, delivery: Delivery) -> None:
        self._loop, self._delivery = loop, delivery

    def active(self, user: str, login: int) -> None:
        """Bytes move for the session of `user` that began with `login`: that is activity, like a command."""
        session = self._delivery.that_began(user, login)
        if session is not None:
            session.last_command = self._loop.now

    def notice(self, user: str, text: str) -> None:
        """Something that `user` should know."""
        for session in self._delivery.of(user):
            session.event({"event": "notice", "time": self._loop.wall, "text": text})
