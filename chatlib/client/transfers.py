"""File transfers of one user: four at once, the others queue; one that breaks goes on from where it stopped.

A transfer asks for its ticket on the chat connection, when its turn has come, and moves its bytes on a connection of
its own (:mod:`.carriers`). Must not know people: whoever wants to tell something of it listens (:class:`Listener`).
Legal order: built → ``add`` → ``begin`` by the queue → ``end`` once, from either side. ``Transfers.heard`` is told all
news of the conversation. Invariant: a transfer ends only when it is done, refused, or out of luck MAX_TRIES times in
a row without one byte moved; a lost connection alone ends none.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from chatlib.client import news as n
from chatlib.client.carriers import Address, Carrier
from chatlib.client.conversation import Conversation
from chatlib.client.localfiles import FileError
from chatlib.client.news import Fields, News, Request
from chatlib.protocol.text import fold
from chatlib.reactor.loop import Loop

AT_ONCE = 4
MAX_TRIES = 8
_LONGEST = 10.0  # seconds between two tries, at most
_LATER = frozenset({"BAD_TICKET", "BAD_REQUEST", "SHUTTING_DOWN", "SERVER_FULL"})  # refusals of a moment


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
    """One file on its way to or from `peer`. `position` of `size` bytes are through the stage that it is in."""

    def __init__(self, transfers: Transfers, peer: str, name: str, size: int) -> None:
        self.peer, self.name, self.size = peer, name, size
        self.stage = Stage.QUEUED
        self.position = 0
        self.failure = ""  # why it ended early: a sentence for people
        self.refusal: Fields | None = None  # the server's, if that was why
        self._transfers, self._loop = transfers, transfers.loop
        self._carrier: Carrier | None = None
        self._request: Request | None = None
        self._tries = 0  # in a row without a byte
        self._moved = True
        self._stopped = False  # whether it was the user who ended it

    def same(self, other: Transfer) -> bool:
        """Whether both would move the same file."""
        mine, theirs = (type(self), fold(self.peer), self.name), (type(other), fold(other.peer), other.name)
        return mine == theirs

    @property
    def over(self) -> bool:
        return self.stage is Stage.OVER

    @abstractmethod
    def begin(self) -> None:
        """Its turn has come."""

    @abstractmethod
    def _granted(self, reply: Fields, ticket: str, address: Address) -> Carrier | None:
        """A carrier that goes on from where it stopped; None when it has ended instead."""

    @abstractmethod
    def _release(self) -> None:
        """Closes what is open."""

    @abstractmethod
    def gone(self, to: str, name: str) -> None:
        """A file of that name, sent to `to`, is off the server."""

    # Asking for a ticket.

    def _ask(self, action: str, fields: Fields) -> None:
        self.stage = Stage.ASKING
        self._request = self._transfers.ask(action, fields)

    @abstractmethod
    def _again(self) -> None:
        """Asks for another ticket."""

    def answers(self, item: n.Answered) -> bool:
        """Takes the answer to its own request."""
        if item.request is not self._request:
            return False
        self._request = None
        ticket, address = item.reply.get("ticket"), self._transfers.address()
        if item.status == "TOO_MANY_TRANSFERS":
            self._later(Stage.FULL)
        elif item.status != "OK":
            self._refused(item.reply)
        elif not isinstance(ticket, str) or address is None:
            self.broken("the server gave no ticket")
        else:
            self._carrier = self._granted(item.reply, ticket, address)
            if self._carrier:
                self.stage = Stage.MOVING
                self._moved = False
                self._transfers.listener.begun(self)
                self._carrier.begin()
        return True

    def _refused(self, reply: Fields) -> None:
        self.refusal = reply
        self.end(str(reply.get("text") or reply.get("status")))

    # What a carrier tells.

    def moved(self, position: int) -> None:
        """So much is through."""
        self._moved = True
        self.position = position

    def replied(self, reply: Fields) -> None:
        """The server's last word on the transfer's own connection."""
        self._carrier = None
        if reply.get("status") in _LATER:
            self.broken(str(reply.get("text")))
        else:
            self._refused(reply)

    def broken(self, why: str) -> None:
        """Tries again: at once if something was moved, else later and later."""
        self._carrier = None
        if self._moved:
            self._tries = 0
        self._tries += 1
        if self._tries > MAX_TRIES:
            self.end(f'The transfer of "{self.name}" was given up: {why}. The same command goes on from there.')
        else:
            self._later(Stage.INTERRUPTED)

    def _later(self, stage: Stage) -> None:
        self.stage = stage
        tries = self._tries if stage is Stage.INTERRUPTED else 3
        delay = 0.0 if tries == 1 else self._transfers.jitter() * min(_LONGEST, 0.2 * 2.0**tries)
        self._moved = False
        self._loop.call_later(delay, self._retry)

    def _retry(self) -> None:
        if self.stage in (Stage.INTERRUPTED, Stage.FULL):
            self._again()

    # The end.

    def end(self, failure: str = "") -> None:
        """Done, or not: then `failure` says why."""
        if self.over:
            return
        self.stage, self.failure = Stage.OVER, failure
        if self._carrier:
            self._carrier.end()
            self._carrier = None
        if self._request:
            self._transfers.forget(self._request)
        self._release()
        self._transfers.ended(self)


class Listener(Protocol):
    """Who wants to know."""

    def begun(self, transfer: Transfer) -> None:
        """Bytes begin to move, from ``transfer.position`` on; again after each interruption."""

    def ended(self, transfer: Transfer) -> None:
        """It is over; ``transfer.failure`` says whether it failed."""


class Transfers:
    """The queue. `address`: where the server is."""

    def __init__(
        self,
        loop: Loop,
        conversation: Conversation,
        address: Callable[[], Address | None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.loop, self.address, self.jitter = loop, address, jitter
        self.listener: Listener = _Nobody()
        self.active: list[Transfer] = []
        self.queued: deque[Transfer] = deque()
        self._conversation = conversation
        self._filling = False

    @property
    def all(self) -> list[Transfer]:
        """Those that are not over, in order."""
        return [*self.active, *self.queued]

    @property
    def user(self) -> str:
        """Whose transfers these are."""
        return self._conversation.user

    def add(self, transfer: Transfer) -> None:
        """Begins it, now or when others have ended. Raises FileError for one that is under way already."""
        if any(transfer.same(other) for other in self.all):
            raise FileError(f'"{transfer.name}" is on its way already.')
        self.queued.append(transfer)
        self._fill()

    def heard(self, item: News) -> bool:
        """Any news of the conversation; whether it was about a transfer alone."""
        match item:
            case n.Answered():
                return any(transfer.answers(item) for transfer in list(self.active))
            case n.Arrived({"event": "file_gone", "to": str(to), "name": str(name)}):
                for transfer in list(self.active):
                    transfer.gone(to, name)
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
            transfer.begin()
        self._filling = False

    # What a transfer asks for.

    def ask(self, action: str, fields: Fields) -> Request:
        """Asks something of the server, now or when it is back."""
        return self._conversation.request(action, fields, self.loop.now)

    def forget(self, request: Request) -> None:
        """Its answer does not matter any more."""
        self._conversation.outbox.drop(request)

    def ended(self, transfer: Transfer) -> None:
        """`transfer` is over: the next one may begin."""
        if transfer in self.active:
            self.active.remove(transfer)
        self.listener.ended(transfer)
        self._fill()


class _Nobody:
    """Listens to nothing."""

    def begun(self, transfer: Transfer) -> None: ...

    def ended(self, transfer: Transfer) -> None: ...
