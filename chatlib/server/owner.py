"""Whose intake one is (:mod:`chatlib.server.intake`): what it tells its owner, a session; or nobody, in the end."""

from __future__ import annotations

from typing import Any, Protocol

from chatlib.core.world import Command, Reply


class Owner(Protocol):
    """Whose intake it is: a session."""

    def begin(self, data: bytes) -> None:
        """The connection's first bytes, all that have come: ``speak`` says what the peer speaks, if it shows."""

    def handle(self, message: bytes) -> None:
        """One message, whose turn has come."""

    def carried_out(self, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        """A request was carried out, perhaps one that others waited for; for a read `command` is empty."""

    def reply(self, echo: Any, request_id: Any, reply: Reply) -> None:
        """An answer that waited for nothing."""

    def too_long(self) -> None:
        """A message is longer than allowed: nothing that follows can be understood."""

    def said_all(self) -> None:
        """The peer will send no more, and all it sent is answered."""

    def broken(self) -> None:
        """A fault of ours."""


class _Nobody:
    """The owner of an intake whose connection is gone."""

    def begin(self, data: bytes) -> None: ...
    def handle(self, message: bytes) -> None: ...
    def carried_out(self, echo: Any, request_id: Any, command: Command, reply: Reply) -> None: ...
    def reply(self, echo: Any, request_id: Any, reply: Reply) -> None: ...
    def too_long(self) -> None: ...
    def said_all(self) -> None: ...
    def broken(self) -> None: ...


NOBODY = _Nobody()
