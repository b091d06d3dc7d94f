"""A door to who is online, for whoever moves files for them. Must not know what sessions are made of."""

from __future__ import annotations

from collections.abc import Mapping

from chatlib.reactor.loop import Loop
from chatlib.server.session import Session


class People:
    """`online`: the sessions of those who are, by user. Legal at any time; who is away hears nothing."""

    def __init__(self, loop: Loop, online: Mapping[str, Session]) -> None:
        self._loop, self._online = loop, online

    def active(self, user: str) -> None:
        """Bytes move for `user`: that is activity, like a command."""
        session = self._online.get(user)
        if session is not None:
            session.last_command = self._loop.now

    def notice(self, user: str, text: str) -> None:
        """Something that `user` should know."""
        session = self._online.get(user)
        if session is not None:
            session.event({"event": "notice", "time": self._loop.wall, "text": text})
