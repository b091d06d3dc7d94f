"""What was asked and is not answered yet, in order; and long answers put together from their pages.

Must not know connections or time. Invariant: a request is in :attr:`Outbox.pending` from ``add`` until its last reply,
whatever happens to connections; one that changes something is in the memory exactly as long, under its key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from chatlib.client.news import Fields, Request
from chatlib.protocol.commands import ACTIONS

# Requests under way on one connection: when it breaks they are asked again, and the server remembers the last 1,000
# keys of a user.
WINDOW = 500


@dataclass(slots=True)
class Remembered:
    """What an earlier run of this program left behind for a user: the last seq shown, and requests unanswered."""

    seen: int = 0
    outbox: list[Request] = field(default_factory=list)


class Memory(Protocol):
    """Where a conversation keeps what must outlive the program. Legal order: ``open`` before all others."""

    def open(self, epoch: str, user: str) -> Remembered: ...

    def seen_of(self, epoch: str, user: str) -> int: ...

    def queued(self, request: Request) -> None: ...

    def answered(self, request: Request) -> None: ...

    def shown(self, seq: int) -> None: ...


class NoMemory:
    """For programs that start afresh each time."""

    def open(self, epoch: str, user: str) -> Remembered:
        return Remembered()

    def seen_of(self, epoch: str, user: str) -> int:
        return 0

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
        self._unasked: deque[int] = deque()  # those of `pending` that this connection has not been asked yet

    def next_id(self) -> int:
        return next(self._ids)

    def add(self, request: Request) -> int:
        """Keeps `request`, with a fresh key when it needs one and has none; returns its id."""
        row = ACTIONS.get(request.action)
        if row is not None and row.takes_key:
            request.key = request.key or self._token()
            self.memory.queued(request)
        number = self.next_id()
        self.pending[number] = request
        self._unasked.append(number)
        return number

    def begin(self) -> None:
        """Another connection: everything is to be asked, again."""
        self._unasked = deque(self.pending)

    def due(self, room: int) -> list[tuple[int, Request]]:
        """What is to be asked next, in order, as far as there is room for it under way."""
        count = max(0, min(room, len(self._unasked)))
        numbers = [self._unasked.popleft() for _ in range(count)]
        return [(number, self.pending[number]) for number in numbers if number in self.pending]

    def drop(self, request: Request) -> None:
        """Nobody waits for the answer to `request`, which changes nothing, any more."""
        self.pending = {number: each for number, each in self.pending.items() if each is not request}

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
    items, following = reply.get("items"), reply.get("next")
    if not isinstance(items, list) or type(following) not in (str, int):
        return False
    page: Fields = {"after" if type(following) is str else "before": following}
    asked = request.fields.get("count")
    if isinstance(asked, int) and asked:
        page["count"] = left = asked - len(request.parts) - len(items)
        if left <= 0:
            return False
    if request.most and len(request.parts) + len(items) >= request.most:
        return False
    request.parts, request.page = _joined(request, items), page
    return True


def _whole(request: Request, reply: Fields) -> Fields:
    items = reply.get("items")
    if isinstance(items, list):
        reply["items"] = _joined(request, items)
    return reply


def _joined(request: Request, items: list[object]) -> list[object]:
    """With the pages before: those of what was said go back in time, each from the oldest to the newest."""
    return items + request.parts if request.action in ("history", "rdt", "statement") else request.parts + items
