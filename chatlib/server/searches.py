"""Searches: words are looked for in all that is stored, the newest first, a little in each tick.

All searches share one budget of a tick and take turns; a user has one at a time. What is looked through are the bytes
of the message store; only a line that has a part of the words is read, and :mod:`chatlib.core.searching` says what is
shown of it. A search holds up what its own connection asks for next, and nobody else; it ends with its session.

Must not know what an event says. Legal order: ``begin`` from within a reading request that is answered later
(``Intake.read`` with `later`); its ``answered`` is called once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import perf_counter
from typing import Any
from zlib import crc32

from chatlib.core.history import PAGE
from chatlib.core.replies import INTERNAL, Reply, page, refusal
from chatlib.core.searching import Ours, found
from chatlib.core.wanted import Wanted
from chatlib.core.world import World
from chatlib.protocol.framing import dumps
from chatlib.reactor.budget import Budget
from chatlib.server.session import Session
from chatlib.storage.messages import MessageStore

HITS = 100  # in a page, at most
WINDOW = 131_072  # bytes that are looked through at once
LOOKED_AT = 256 << 20  # bytes that are looked through for one page
TURN = 0.0005  # seconds that a turn lasts at least
_PATIENCE = 2_000  # ticks in which the disk may read what comes next; then it is waited for
_READ = 16  # lines that are read between two looks at the clock
_MANY = 16  # lines of a window that have the words: in the rest of it, those that concern the user come first


class Searches:
    """Of all sessions."""

    def __init__(self, world: World, messages: MessageStore, budget: Budget, parameters: Mapping[str, Any],
                 on_fault: Callable[[BaseException], None]) -> None:  # fmt: skip
        self._world, self._messages, self._budget, self._on_fault = world, messages, budget, on_fault
        self._parameters = parameters
        self._of: dict[str, deque[_Search]] = {}  # by user; the first of each has turns

    def begin(self, session: Session, echo: Any, request_id: Any, request: dict[str, Any]) -> None:
        """Queues up."""
        search = _Search(self._world, self._messages, session, request)
        search.answer = partial(session.intake.answered, echo, request_id, {})
        queue = self._of.setdefault(session.user, deque())
        queue.append(search)
        if len(queue) == 1:
            self._budget.wait(partial(self._turn, queue, session.user))

    def __len__(self) -> int:
        """How many users search."""
        return len(self._of)

    def _turn(self, queue: deque[_Search], user: str) -> None:
        """The first of the user's searches goes on for a while."""
        search, begun = queue[0], perf_counter()
        until = begun + max(TURN, self._budget.left() / (1 + len(self._budget)))
        try:
            reply = search.go_on(until)
        except Exception as fault:  # ours, or the disk's: it costs this search
            self._on_fault(fault)
            reply = INTERNAL
        seconds = perf_counter() - begun
        self._budget.spend(seconds)
        if rate := self._parameters["RATE_LIMIT"]:
            search.session.intake.bucket.charge(seconds, rate)
        if reply is not None:
            queue.popleft()
        if queue:
            self._budget.wait(partial(self._turn, queue, user))
        else:
            del self._of[user]
        if reply is not None:
            self._answer(search, reply)

    def _answer(self, search: _Search, reply: Reply) -> None:
        try:
            search.answer(reply)
        except Exception:
            search.session.broken()
            raise


class _Search:
    """One request's. Its cursor is where in the store it has come to; `before` of the next page is the same number."""

    answer: Callable[[Reply], None]

    def __init__(self, world: World, messages: MessageStore, session: Session, request: dict[str, Any]) -> None:
        self.session = session
        self._world, self._messages = world, messages
        self._wanted = Wanted(request["words"])
        self._ours = Ours(world.accounts[session.user].name.encode())
        self._most = min(HITS, request.get("count") or HITS)
        self._end = min(request.get("before", world.store_end), world.store_end)
        self._least = max(world.floor_offset, self._end - LOOKED_AT)
        self._login = session.login
        self._items: list[dict[str, Any]] = []
        self._size = 0
        self._steps = self._look()

    def go_on(self, until: float) -> Reply | None:
        """The reply; None: it is not ready, and the time is up."""
        if self.session.over or self.session.departed:
            return refusal("NOT_ALLOWED", "You are no longer logged in.")
        for reading in self._steps:
            if reading or perf_counter() >= until:
                return None
        return page(self._items, self._end if self._end > max(self._world.floor_offset, self._messages.begins[0])
                    else None)  # fmt: skip

    def _look(self) -> Iterator[bool]:
        """Fills the page; stops for breath now and then, and says whether the disk has to read first."""
        while self._end > self._least:
            for left in range(_PATIENCE, -1, -1):
                found = self._messages.lines_before(self._end, WINDOW, wait=not left)
                if found is not None:
                    break
                yield True
            assert found is not None
            start, lines = found
            if not lines:
                self._end = 0
                return
            for number, (first, end) in enumerate(_with(lines, self._wanted.forms, self._ours)):
                if self._full(start + end, lines[first:end]):
                    return
                if number % _READ == 0:
                    yield False
            self._end = start
            yield False

    def _full(self, end: int, line: bytes) -> bool:
        """Takes what is shown of a line, which ends at that offset; whether it is the next page's."""
        account = self._world.accounts[self.session.user]
        checksum, _, rest = line.partition(b" ")  # a part of a line, perhaps: anybody may say from where to look
        receiver, _, event = rest.partition(b" ")
        if not self._ours.has(receiver, event) or checksum != b"%08x" % crc32(line[8:]):
            return False
        if not event.startswith(b'{"event":'):  # where messages stand
            return False
        item = found(self._world, account, receiver.decode(), event[:-1], self._wanted)
        if item is None:
            return False
        self._size += len(dumps(item).encode()) + 1
        if self._size > PAGE or len(self._items) == self._most:
            self._end = end
            return True
        self._items.append(item)
        return False


def _with(lines: bytes, forms: tuple[bytes, ...], ours: Ours) -> Iterator[tuple[int, int]]:
    """Where lines begin and end that have one of the forms, the last first; of many, those that may be the user's."""
    small, limit = lines.lower(), len(lines)
    last = {form: small.rfind(form) for form in forms}
    for _ in range(_MANY):
        at = max(last.values())
        if at < 0:
            return
        first, end = lines.rfind(b"\n", 0, at) + 1, lines.find(b"\n", at) + 1
        yield first, end or limit
        for form, place in last.items():
            if place >= first:
                last[form] = small.rfind(form, 0, first)
    limit = first
    for first in ours.among(lines, limit) if limit else ():
        end = lines.find(b"\n", first, limit) + 1 or limit
        if any(small.find(form, first, end) >= 0 for form in forms):
            yield first, end
