"""One user's file transfers: four at once, the others queue; one that breaks goes on from where it stopped.

A transfer asks for its ticket on the chat connection, and moves its bytes on a connection of its own
(:mod:`.filelinks`). Must not know people, nor whose files there are: the two ways, and what a feature asks for them,
are in :mod:`.files`. Whoever wants to tell something of a transfer listens (:class:`TransferListener`).

A transfer's stages: QUEUED → READING (a file to be sent is hashed) → ASKING → MOVING → CHECKING → OVER. From ASKING it
goes to FULL and back while the user's other programs have all places, from MOVING and CHECKING to INTERRUPTED and back
to ASKING, from anywhere to OVER. Invariant: a transfer ends only when it is done, refused, or out of luck MAX_TRIES
times in a row without one byte moved.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.filelinks import FileLink
from chatlib.client.localfiles import Hashing, TransferError
from chatlib.client.news import Fields, News, Request, status_of, text_of
from chatlib.client.sockets import Way
from chatlib.protocol.kinds import TICKET
from chatlib.protocol.text import fold
from chatlib.reactor.loop import Loop

AT_ONCE = 4
MAX_TRIES = 8
_LONGEST = 10.0  # seconds between two tries, at most
# Refusals of a moment.
_LATER = frozenset({"BAD_TICKET", "BAD_REQUEST", "SHUTTING_DOWN", "SERVER_FULL", "NO_QUORUM", "NODE_LOST"})


class Stage(Enum):
    """Where a transfer stands."""

    QUEUED = "waits for its turn"
    READING = "reading"
    ASKING = "asking"
    FULL = "waits for a free place"
    MOVING = "moving"
    CHECKING = "checking"
    INTERRUPTED = "interrupted"
    OVER = "over"


class Transfer(ABC):
    """One file on its way to or from `peer`, as people call it. `position` of `size` bytes are through the stage that
    it is in."""

    def __init__(self, queue: TransferQueue, peer: str, name: str, size: int) -> None:
        self.peer, self.name, self.size = peer, name, size
        self.stage = Stage.QUEUED
        self.position = 0
        self.failure = ""  # why it ended early: a sentence for people
        self.refusal: Fields | None = None  # the server's, if that was why
        self._queue, self._loop = queue, queue.loop
        self._link: FileLink | None = None
        self._request: Request | None = None
        self._hashing: Hashing | None = None
        self._tries = 0  # in a row without a byte
        self._moved = True

    def is_of(self, peer: str, name: str) -> bool:
        """Whether it is this file of `peer`, or for `peer`."""
        return (fold(peer), name) == (fold(self.peer), self.name)

    @property
    def over(self) -> bool:
        return self.stage is Stage.OVER

    @property
    def signs(self) -> int:
        """How often the server has said that it is at work, where nothing moves."""
        return self._link.signs if self._link else 0

    @abstractmethod
    def begin(self) -> None:
        """Its turn has come. Raises TransferError."""

    @abstractmethod
    def _ask(self) -> None:
        """Asks for a ticket, the first or another."""

    @abstractmethod
    def _granted(self, reply: Fields, ticket: str, way: Way) -> FileLink:
        """A link that goes on from where the file stopped. Raises TransferError."""

    @abstractmethod
    def _release(self) -> None:
        """Closes what is open."""

    def _request_ticket(self, place: Fields, file: Fields) -> None:
        self.stage = Stage.ASKING
        self._request = self._queue.ask({**place, **file})

    def answers(self, item: n.Answered) -> bool:
        """Uses the answer to its own request; False when `item` answers another's."""
        if item.request is not self._request:
            return False
        self._request = None
        ticket, way = item.reply.get("ticket"), self._queue.way()
        if item.status == "TOO_MANY_TRANSFERS":
            self._later(Stage.FULL)
        elif item.status != "OK":
            self._refused(item.reply)
        elif not isinstance(ticket, str) or not TICKET.accepts(ticket) or way is None:
            self.broken("the server gave no ticket")
        else:
            self._begin_link(item.reply, ticket, way)
        return True

    def _begin_link(self, reply: Fields, ticket: str, way: Way) -> None:
        try:
            self._link = self._granted(reply, ticket, way)
        except TransferError as error:
            self.end(str(error))
            return
        self.stage, self._moved = Stage.MOVING, False
        if self._queue.listener:
            self._queue.listener.begun(self)
        self._link.begin()

    def _refused(self, reply: Fields) -> None:
        self.refusal = reply
        self.end(text_of(reply))

    @abstractmethod
    def heard(self, event: Fields) -> None:
        """Something has happened; it may be about this file."""

    # What its link tells.

    def moved(self, position: int) -> None:
        """So much is through."""
        self._moved = True
        self.position = position

    def replied(self, reply: Fields) -> None:
        """The server's last word on the transfer's own connection."""
        self._link = None
        if reply.get("status") == "OK":
            self.end()
        elif status_of(reply) in _LATER:
            self.broken(str(reply.get("text")))
        else:
            self._refused(reply)

    def broken(self, why: str) -> None:
        """Tries again: at once if something was moved, else later and later."""
        self._link = None
        if self._moved:
            self._tries = 0
        self._tries += 1
        if self._tries > MAX_TRIES:
            self.end(f'The transfer of "{self.name}" was given up: {why}. The same command goes on from there.')
        else:
            self._later(Stage.INTERRUPTED)

    def leave(self) -> None:
        """The chat goes on at another server: with the session, this one's transfers have ended."""
        if self._link:
            self._link.end()
            self.broken("the server is gone")

    def _later(self, stage: Stage) -> None:
        self.stage = stage
        tries = self._tries if stage is Stage.INTERRUPTED else 3
        delay = 0.0 if tries == 1 else self._queue.jitter() * min(_LONGEST, 0.2 * 2.0**tries)
        self._moved = False
        self._loop.call_later(delay, lambda: self.stage is stage and self._ask())

    def end(self, failure: str = "") -> None:
        """Done, or not: then `failure` says why."""
        if self.over:
            return
        self.stage, self.failure = Stage.OVER, failure
        if self._link:
            self._link.end()
            self._link = None
        if self._request:
            self._queue.conversation.outbox.drop(self._request)  # its answer does not matter any more
        if self._hashing:
            self._hashing.cancel()
        self._release()
        self._queue.ended(self)


class TransferListener(Protocol):
    """Who wants to know."""

    def begun(self, transfer: Transfer) -> None:
        """Bytes begin to move, from ``transfer.position`` on; again after each interruption."""

    def begun_anew(self, transfer: Transfer) -> None:
        """Another server has nothing, or less, of what was sent: bytes are sent once more. ``begun`` follows."""

    def ended(self, transfer: Transfer) -> None:
        """It is over; ``transfer.failure`` says whether it failed."""


class TransferQueue:
    """The queue. `way`: how the server is reached. ``heard`` must be told all news of the conversation."""

    def __init__(
        self, loop: Loop, conversation: Conversation, way: Callable[[], Way | None],
        jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self.loop, self.conversation, self.way, self.jitter = loop, conversation, way, jitter
        self.listener: TransferListener | None = None
        self.active: list[Transfer] = []
        self.queued: deque[Transfer] = deque()
        self._filling = False

    @property
    def all(self) -> list[Transfer]:
        """Those that are not over, in order."""
        return [*self.active, *self.queued]

    def add(self, transfer: Transfer) -> None:
        """Begins it, now or when others have ended. Raises TransferError for one that is under way already."""
        if any(type(other) is type(transfer) and other.is_of(transfer.peer, transfer.name) for other in self.all):
            raise TransferError(f'"{transfer.name}" is on its way already.')
        self.queued.append(transfer)
        self._fill()

    def heard(self, item: News) -> bool:
        """Any news of the conversation; whether it was about a transfer alone."""
        match item:
            case n.Answered():
                return any(transfer.answers(item) for transfer in list(self.active))
            case n.Arrived(event) if self.active:
                for transfer in list(self.active):
                    transfer.heard(event)
            case n.LoggedIn() if item.server:
                for transfer in list(self.active):
                    transfer.leave()
            case n.Ended():
                self.stop(item.text)
        return False

    def stop(self, why: str = "") -> None:
        """Ends all at once; what was moved stays."""
        self._filling = True  # no other begins
        for transfer in self.all:
            transfer.end(why or "The transfer was stopped.")
        self.queued.clear()
        self._filling = False

    def _fill(self) -> None:
        if self._filling:
            return
        self._filling = True
        while self.queued and len(self.active) < AT_ONCE:
            transfer = self.queued.popleft()
            self.active.append(transfer)
            try:
                transfer.begin()
            except TransferError as error:
                transfer.end(str(error))
        self._filling = False

    def ask(self, request: Fields) -> Request:
        """Asks something of the server, now or when it is back."""
        fields = {name: value for name, value in request.items() if name != "action"}
        return self.conversation.request(str(request["action"]), fields, self.loop.now)

    def ended(self, transfer: Transfer) -> None:
        """`transfer` is over: the next one may begin."""
        if transfer in self.active:
            self.active.remove(transfer)
        if self.listener:
            self.listener.ended(transfer)
        self._fill()
