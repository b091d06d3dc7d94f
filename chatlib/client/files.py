"""A file on its way up and one on its way down, and whose files there are: a user's, or another feature's.

A feature says in a :class:`Place` what is asked for its files; all else is the same for all of them. Must not know
people or screens. Invariants: the bytes sent are those that were hashed; a file that came is verified, synced, then
named; only then the server is told, if it wants to be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from chatlib.client.filelinks import FetchLink, FileLink, SendLink
from chatlib.client.localfiles import DownloadPart, Hashing, Source, TransferError, cannot_save, check_folder
from chatlib.client.news import Fields, Request
from chatlib.client.sockets import Way
from chatlib.client.transfers import Stage, Transfer, TransferQueue
from chatlib.protocol.text import fold
from chatlib.protocol.words import quoted

_DIGEST = re.compile("[0-9a-f]{64}")
_NONSENSE = "The server does not speak this program's protocol."


@dataclass(frozen=True, slots=True)
class Place:
    """Where files are put and fetched from. `shown`: what people call it. The others are requests without what is the
    file's own: `upload` and `download` ask for tickets, `receipt` says that a file is here, if that is wanted."""

    shown: str
    upload: Fields
    download: Fields
    receipt: Fields | None = None

    def has_had(self, event: Fields, name: str, user: str) -> bool:
        """Whether `event` proves that what `user` has sent under `name` was here."""
        return False

    def once_more(self, name: str) -> str:
        """What a person may do about a file that did not come as it was announced."""
        return "The same command tries again."


class UserFiles(Place):
    """What waits on the server for `user`, or what `user` has sent."""

    def __init__(self, user: str) -> None:
        download: Fields = {"action": "fileget", "from": user}
        super().__init__(user, {"action": "file", "to": user}, download, {"action": "received", "from": user})

    def has_had(self, event: Fields, name: str, user: str) -> bool:
        gone = event.get("event") == "file_gone"
        return gone and (fold(str(event.get("to"))), event.get("name")) == (fold(self.shown), name)

    def once_more(self, name: str) -> str:
        command = f"{quoted(self.shown)} {quoted(name)}"
        return f'It still waits: "fileget {command}" tries again, "filedecline {command}" refuses it.'


class ThreadFiles(Place):
    """What is in the thread `title`, for everybody."""

    def __init__(self, title: str) -> None:
        super().__init__(f"#{title}", {"action": "upd", "title": title}, {"action": "dwn", "title": title})

    def has_had(self, event: Fields, name: str, user: str) -> bool:
        there = (f"#{event.get('thread')}", str(event.get("from")))
        mine = tuple(map(fold, there)) == (fold(self.shown), fold(user))
        return mine and (event.get("event"), event.get("name")) == ("upload", name)


class Sending(Transfer):
    """The local file `path`, to `place`."""

    def __init__(self, queue: TransferQueue, place: Place, path: str) -> None:
        """Raises TransferError for a file that cannot be sent."""
        if fold(place.shown) == fold(queue.conversation.user):
            raise TransferError("You cannot send a file to yourself!")
        self._source = Source(path)
        super().__init__(queue, place.shown, self._source.name, self._source.size)
        self._place = place
        self.renamed = self._source.renamed  # what cannot be seen is not sent in a name
        self._sha256 = ""
        self._way: Way | None = None  # where it was sent to last
        self._all_sent = False  # once: the server may have the file, whatever happens to its reply
        self._sent_before = False  # all of it, on an earlier connection: perhaps to another of several servers

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
            file: Fields = {"name": self.name, "size": self.size, "sha256": self._sha256}
            self._request_ticket(self._place.upload, file)
        else:
            self.failed(None)

    def _granted(self, reply: Fields, ticket: str, way: Way) -> FileLink:
        offset = reply.get("offset")
        if not isinstance(offset, int) or not 0 <= offset <= self.size:
            raise TransferError(_NONSENSE)
        is_elsewhere, self._way = self._way is not None and self._way.address != way.address, way
        if is_elsewhere and offset < self.position and self._queue.listener:
            self._queue.listener.begun_anew(self)
        self.position = offset
        self._sent_before = self._all_sent
        self._all_sent |= offset == self.size
        return SendLink(self._loop, way, ticket, offset, self._source, self)

    def _refused(self, reply: Fields) -> None:
        # Asked again after all was sent: it is this one, unless the server says that it is another, and only the reply
        # was lost. A last word on the bytes themselves means what it says, unless an earlier try has come first.
        asking = self.stage is Stage.ASKING
        lost = self._all_sent if asking else self._sent_before
        there = reply.get("sha256", self._sha256 if asking else "")
        if lost and reply.get("status") == "FILE_EXISTS" and there == self._sha256:
            self.end()
        else:
            super()._refused(reply)

    def heard(self, event: Fields) -> None:
        """The file may have been there, and be gone by now; then only the reply was lost."""
        if self._all_sent and self._place.has_had(event, self.name, self._queue.conversation.user):
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
    """The file `name` of `place`, into `folder`; afterwards it is at `path`, and a `receipt` on its way, if one is
    wanted."""

    def __init__(self, queue: TransferQueue, place: Place, name: str, folder: Path, size: int = 0) -> None:
        super().__init__(queue, place.shown, name, size)
        self._place = place
        self.path: Path | None = None
        self.receipt: Request | None = None
        self._folder = folder
        self._part: DownloadPart | None = None
        self._sha256 = ""

    def begin(self) -> None:
        check_folder(self._folder, self.name)  # before there is a ticket to be wasted
        self._ask()

    def _ask(self) -> None:
        self._request_ticket(self._place.download, {"name": self.name})

    def _granted(self, reply: Fields, ticket: str, way: Way) -> FileLink:
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
        return FetchLink(self._loop, way, ticket, self.position, self._part, size, self)

    def heard(self, event: Fields) -> None: ...

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
        if self._place.receipt is not None:
            file: Fields = {"name": self.name, "sha256": self._sha256}
            self.receipt = self._queue.ask({**self._place.receipt, **file})
        self.end()

    def lied(self) -> None:
        """What came is not what was announced."""
        if self._part:
            self._part.remove()
        text = f'"{self.name}" from "{self.peer}" did not come as it was announced: what came was removed. '
        self.end(text + self._place.once_more(self.name))

    def failed(self, error: OSError | None) -> None:
        """The disk does not take it."""
        assert error is not None
        self.end(cannot_save(self.name, self._folder, error))

    def _release(self) -> None:
        if self._part:
            self._part.close()


