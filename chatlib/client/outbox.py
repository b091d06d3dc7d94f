"""What was asked and is not answered yet, in order; and long answers put together from their pages.

Must not know connections or time. Invariant: a request is in :attr:`Outbox.pending` from ``add`` until its last reply,
whatever happens to connections; one that changes something is in the memory exactly as long, under its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from chatlib.client.news import Fields, Request
from chatlib.protocol.commands import COMMANDS, Role, Runs

# Requests that carry a key. Logging out is not asked again: a connection that is gone has the same effect.
KEYED = frozenset(c.name for c in COMMANDS if c.role is Role.USER and c.runs is Runs.CHANGES) - {"logout"}


@dataclass(slots=True)
class Remembered:
    """What an earlier run of this program left behind for a user: the last seq shown, and requests unanswered."""

    seen: int = 0
    outbox: list[Request] = field(default_factory=list)


class Memory(Protocol):
    """Where a conversation keeps what must outlive the program. Legal order: ``open`` before all others."""

    def open(self, epoch: str, user: str) -> Remembered: ...

    def queued(self, request: Request) -> None: ...

    def answered(self, request: Request) -> None: ...

    def shown(self, seq: int) -> None: ...


class NoMemory:
    """For programs that start afresh each time."""

    def open(self, epoch: str, user: str) -> Remembered:
        return Remembered()

    def queued(self, request: Request) -> None: ...

    def answered(self, request: Request) -> None: ...

    def shown(self, seq: int) -> None: ...


class Outbox:
    """Unanswered requests by their ``id``, oldest first."""

    def __init__(self, memory: Memory, token: Callable[[], str]) -> None:
        self.pending: dict[int, Request] = {}
        self.memory = memory
        self._token = token
        self._ids = count(1)

    def next_id(self) -> int:
        return next(self._ids)

    def add(self, request: Request) -> int:
        """Keeps `request`, with a fresh key when it needs one and has none; returns its id."""
        if request.action in KEYED:
            request.key = request.key or self._token()
            self.memory.queued(request)
        number = self.next_id()
        self.pending[number] = request
        return number

    def recall(self, earlier: Iterable[Request]) -> None:
        """Puts what an earlier run left unanswered before everything else; the memory is a new one, and has those."""
        later = list(self.pending.values())
        self.pending = {self.next_id(): request for request in earlier}
        for request in later:
            self.add(request)

    def answer(self, number: int, reply: Fields) -> Fields | None:
        """The whole answer once its last page is there; None when there is another page to ask for."""
        request = self.pending[number]
        if _turn_page(request, reply):
            return None
        del self.pending[number]
        if request.key:
            self.memory.answered(request)
        return _whole(request, reply)


def _turn_page(request: Request, reply: Fields) -> bool:
    """Whether there is another page; then `request` asks for it from now on."""
    users, messages = reply.get("users"), reply.get("messages")
    if reply.get("more") is not True:
        return False
    if isinstance(users, list) and users:
        last = users[-1]
        request.parts.extend(users)
        request.page = {"after": last.get("user") if isinstance(last, dict) else last}
        return True
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        asked = request.fields.get("count")
        left = asked - len(request.parts) - len(messages) if isinstance(asked, int) and asked else 0
        if asked and left <= 0:
            return False
        request.parts[:0] = messages
        request.page = {"before": messages[0].get("seq"), "count": left}
        return True
    return False


def _whole(request: Request, reply: Fields) -> Fields:
    reply.pop("more", None)
    users, messages = reply.get("users"), reply.get("messages")
    if isinstance(users, list):
        reply["users"] = request.parts + users
    elif isinstance(messages, list):
        reply["messages"] = messages + request.parts
    return reply
