"""Tells what this client has sent itself from what another session of its user has.

A client that comes back is told of both, since the server does not keep which session sent what. Must not know
connections. Legal order: ``answered`` for each reply to what was asked; ``is_own`` for each event ``sent``.
"""

from __future__ import annotations

from collections import deque

from chatlib.client.news import Fields, Request
from chatlib.client.outbox import Outbox
from chatlib.protocol.text import fold

_KEPT = 1_000  # seqs of what was sent last: more than a server tells of at once


class Elsewhere:
    """Of one conversation, whose unanswered requests are in `outbox`."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._own: deque[object] = deque(maxlen=_KEPT)

    def answered(self, request: Request, reply: Fields) -> None:
        """The whole reply to a request."""
        if request.key and "seq" in reply:
            self._own.append(reply["seq"])

    def is_own(self, event: Fields) -> bool:
        """Whether this ``sent`` is of what was sent here: answered, or on its way still."""
        return event.get("seq") in self._own or any(
            fold(str(request.fields.get("to"))) == fold(str(event.get("to")))
            and request.fields.get("text") == event.get("text")
            for request in self._outbox.pending.values()
        )
