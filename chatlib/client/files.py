"""One user's file transfers: four at once, the others queue; one that breaks goes on from where it stopped.

A transfer asks for its ticket on the chat connection, and moves its bytes on a connection of its own
(:mod:`.filelinks`). Must not know people: whoever wants to tell something of it listens (:class:`TransferListener`).

A transfer's stages: QUEUED → READING (a file to be sent is hashed) → ASKING → MOVING → CHECKING → OVER. From ASKING it
goes to FULL and back while the user's other programs have all places, from MOVING and CHECKING to INTERRUPTED and back
to ASKING, from anywhere to OVER. Invariants: a transfer ends only when it is done, refused, or out of luck MAX_TRIES
times in a row without one byte moved; the bytes sent are those that were hashed; a file that came is synced, then
named, then ``received``, whereupon the server forgets its own.
"""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Protocol

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.filelinks import Address, FetchLink, FileLink, SendLink
from chatlib.client.localfiles import DownloadPart, Hashing, Source, TransferError, cannot_save, check_folder
from chatlib.client.news import Fields, News, Request
from chatlib.protocol.text import fold
from chatlib.protocol.words import quoted
from chatlib.reactor.loop import Loop

AT_ONCE = 4
MAX_TRIES = 8
_LONGEST = 10.0  # seconds between two tries, at most
_LATER = frozenset({"BAD_TICKET", "BAD_REQUEST", "SHUTTING_DOWN", "SERVER_FULL"})  # refusals of a moment
_DIGEST = re.compile("[0-9a-f]{64}")
_NONSENSE = "The server does not speak this program's protocol."


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
        """Whether it is this file of this user, or for this user."""
        return (fold(peer), name) == (fold(self.peer), self.name)

    @property
    def over(self) -> bool:
        return self.stage is Stage.OVER

    @abstractmethod
    def begin(self) -> None:
        """Its turn has come. Raises TransferError."""

    @abstractmethod
    def _ask(self) -> None:
        """Asks for a ticket, the first or another."""

    @abstractmethod
    def _granted(self, reply: Fields, ticket: str, address: Address) -> FileLink:
        """A link that goes on from where the file stopped. Raises TransferError."""

    @abstractmethod
    def _release(self) -> None:
        """Closes what is open."""

    def _request_ticket(self, action: str, fields: Fields) -> None:
        self.stage = Stage.ASKING
        self._request = self._queue.ask(action, fields)

    def answers(self, item: n.Answered) -> bool:
        """Uses the answer to its own request; False when `item` answers another's."""
        if item.request is not self._request:
            return False
        self._request = None
        ticket, address = item.reply.get("ticket"), self._queue.address()
        if item.status == "TOO_MANY_TRANSFERS":
            self._later(Stage.FULL)
        elif item.status != "OK":
            self._refused(item.reply)
        elif not isinstance(ticket, str) or address is None:
            self.broken("the server gave no ticket")
        else:
            self._begin_link(item.reply, ticket, address)
        return True

    def _begin_link(self, reply: Fields, ticket: str, address: Address) -> None:
        try:
            self._link = self._granted(reply, ticket, address)
        except TransferError as error:
            self.end(str(error))
            return
        self.stage, self._moved = Stage.MOVING, False
        if self._queue.listener:
            self._queue.listener.begun(self)
        self._link.begin()

    def _refused(self, reply: Fields) -> None:
        self.refusal = reply
        self.end(str(reply.get("text") or reply.get("status")))

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
        elif reply.get("status") in _LATER:
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


class Sending(Transfer):
    """The local file `path`, to `to`."""

    def __init__(self, queue: TransferQueue, to: str, path: str) -> None:
        """Raises TransferError for a file that cannot be sent."""
        if fold(to) == fold(queue.conversation.user):
            raise TransferError("You cannot send a file to yourself!")
        self._source = Source(path)
        super().__init__(queue, to, self._source.name, self._source.size)
        self.renamed = self._source.renamed  # what cannot be seen is not sent in a name
        self._sha256 = ""
        self._all_sent = False  # once: the server may have the file, whatever happens to its reply

    def begin(self) -> None:
        self._source.open()
        self.size = self._source.size
        self.stage = Stage.READING
        self._hashing = Hashing(self._loop, self._source.fd, self.size, self.moved, self._hashed)

    def _hashed(self, sha256: str, failure: str) -> None:
        self.position = 0
        self._sha256 = sha256
        if failure:
            self.end(f'"{self._source.typed}" cannot be read: {failure}.')
        else:
            self._ask()

    def _ask(self) -> None:
        if self._source.intact():
            fields: Fields = {"to": self.peer, "name": self.name, "size": self.size, "sha256": self._sha256}
            self._request_ticket("file", fields)
        else:
            self.failed(None)

    def _granted(self, reply: Fields, ticket: str, address: Address) -> FileLink:
        offset = reply.get("offset")
        if not isinstance(offset, int) or not 0 <= offset <= self.size:
            raise TransferError(_NONSENSE)
        self.position = offset
        self._all_sent |= offset == self.size
        return SendLink(self._loop, address, ticket, offset, self._source, self)

    def _refused(self, reply: Fields) -> None:
        if reply.get("status") == "FILE_EXISTS" and self._all_sent:
            self.end()  # it is this one: only the reply was lost
        else:
            super()._refused(reply)

    def gone(self, to: str, name: str) -> None:
        """A file of that name is off the server: it was there, and only the reply was lost."""
        if self._all_sent and self.is_of(to, name):
            self.end()

    def moved(self, position: int) -> None:
        super().moved(position)
        if self.stage is Stage.MOVING and position == self.size:
            self._all_sent = True
            self.stage = Stage.CHECKING

    def failed(self, error: OSError | None) -> None:
        """The file is not what it was."""
        self.end(f'"{self._source.typed}" has changed since its sending began: send it again.')

    def _release(self) -> None:
        self._source.close()


class Fetching(Transfer):
    """What `sender` has sent under `name`, into `folder`; afterwards it is at `path`, and `receipt` is on its way."""

    def __init__(self, queue: TransferQueue, sender: str, name: str, folder: Path, size: int = 0) -> None:
        super().__init__(queue, sender, name, size)
        self.path: Path | None = None
        self.receipt: Request | None = None
        self._folder = folder
        self._part: DownloadPart | None = None
        self._sha256 = ""

    def begin(self) -> None:
        check_folder(self._folder, self.name)  # before there is a ticket to be wasted
        self._ask()

    def _ask(self) -> None:
        self._request_ticket("fileget", {"from": self.peer, "name": self.name})

    def _granted(self, reply: Fields, ticket: str, address: Address) -> FileLink:
        size, sha256 = reply.get("size"), reply.get("sha256")
        if not isinstance(size, int) or size < 0 or not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256):
            raise TransferError(_NONSENSE)
        if self._part and (size, sha256) != (self.size, self._sha256):  # another file had the name before
            self._part.remove()
            self._part.close()
            self._part = None
        self.size, self._sha256 = size, sha256
        self._part = self._part or DownloadPart(self._folder, self.name, sha256)
        self.position = self._part.begin(size)
        return FetchLink(self._loop, address, ticket, self.position, self._part, size, self)

    def whole(self) -> None:
        """All bytes are written."""
        assert self._part is not None
        self._link = None
        self.stage, self.position = Stage.CHECKING, 0
        self._hashing = Hashing(self._loop, self._part.fd, self.size, self.moved, self._hashed)

    def _hashed(self, sha256: str, failure: str) -> None:
        assert self._part is not None
        if failure:
            self.end(f'"{self.name}" cannot be checked: {failure}.')
            return
        if sha256 != self._sha256:
            self.lied()
            return
        try:
            self.path = self._part.publish()
        except OSError as error:
            self.failed(error)
            return
        self.receipt = self._queue.ask("received", {"from": self.peer, "name": self.name, "sha256": self._sha256})
        self.end()

    def lied(self) -> None:
        """What came is not what was announced."""
        if self._part:
            self._part.remove()
        command = f"{quoted(self.peer)} {quoted(self.name)}"
        self.end(
            f'"{self.name}" from "{self.peer}" did not come as it was announced: what came was removed. '
            f'It still waits: "fileget {command}" tries again, "filedecline {command}" refuses it.'
        )

    def failed(self, error: OSError | None) -> None:
        """The disk does not take it."""
        assert error is not None
        self.end(cannot_save(self.name, self._folder, error))

    def _release(self) -> None:
        if self._part:
            self._part.close()


class TransferListener(Protocol):
    """Who wants to know."""

    def begun(self, transfer: Transfer) -> None:
        """Bytes begin to move, from ``transfer.position`` on; again after each interruption."""

    def ended(self, transfer: Transfer) -> None:
        """It is over; ``transfer.failure`` says whether it failed."""


class TransferQueue:
    """The queue. `address`: where the server is. ``heard`` must be told all news of the conversation."""

    def __init__(
        self, loop: Loop, conversation: Conversation, address: Callable[[], Address | None],
        jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self.loop, self.conversation, self.address, self.jitter = loop, conversation, address, jitter
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
            case n.Arrived({"event": "file_gone", "to": str(to), "name": str(name)}):
                for transfer in list(self.active):
                    if isinstance(transfer, Sending):
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
            try:
                transfer.begin()
            except TransferError as error:
                transfer.end(str(error))
        self._filling = False

    def ask(self, action: str, fields: Fields) -> Request:
        """Asks something of the server, now or when it is back."""
        return self.conversation.request(action, fields, self.loop.now)

    def ended(self, transfer: Transfer) -> None:
        """`transfer` is over: the next one may begin."""
        if transfer in self.active:
            self.active.remove(transfer)
        if self.listener:
            self.listener.ended(transfer)
        self._fill()
