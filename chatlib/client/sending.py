"""One file to a user: hash it, ask for a ticket, send it, and know that it arrived.

Must not know the queue's order or the screen. Invariant: the bytes sent are those that were hashed; a file that has
changed since is refused, at every piece and at every new beginning.
"""

from __future__ import annotations

from chatlib.client.carriers import Address, Carrier
from chatlib.client.carriers import Upload as UploadCarrier
from chatlib.client.localfiles import FileError, Hashing, Source
from chatlib.client.news import Fields
from chatlib.client.transfers import Stage, Transfer, Transfers
from chatlib.protocol.text import fold


class Upload(Transfer):
    """To `peer`, the local file `path`."""

    def __init__(self, transfers: Transfers, to: str, path: str) -> None:
        """Raises FileError for a file that cannot be sent."""
        if fold(to) == fold(transfers.user):
            raise FileError("You cannot send a file to yourself!")
        self._source = Source(path)
        super().__init__(transfers, to, self._source.name, self._source.size)
        self.renamed = self._source.renamed  # what cannot be seen is not sent in a name
        self._hashing: Hashing | None = None
        self._sha256 = ""
        self._all_sent = False  # once: the server may have the file, whatever happens to its reply

    def begin(self) -> None:
        try:
            self._source.open()
        except FileError as error:
            self.end(str(error))
            return
        self.size = self._source.size
        self.stage = Stage.READING
        self._hashing = Hashing(self._loop, self._source.fd, self.size, self.moved, self._hashed)

    def _hashed(self, sha256: str, failure: str) -> None:
        self.position = 0
        self._sha256 = sha256
        if failure:
            self.end(f'"{self._source.typed}" cannot be read: {failure}.')
        else:
            self._again()

    def _again(self) -> None:
        if self._source.intact():
            self._ask("file", {"to": self.peer, "name": self.name, "size": self.size, "sha256": self._sha256})
        else:
            self.failed(None)

    def _granted(self, reply: Fields, ticket: str, address: Address) -> Carrier | None:
        offset = reply.get("offset")
        if not isinstance(offset, int) or not 0 <= offset <= self.size:
            self.end("The server does not speak this program's protocol.")
            return None
        self.position = offset
        self._all_sent |= offset == self.size
        return UploadCarrier(self._loop, address, ticket, offset, self._source, self)

    def _refused(self, reply: Fields) -> None:
        if reply.get("status") == "FILE_EXISTS" and self._all_sent:
            self.end()  # it is this one: only the reply was lost
        else:
            super()._refused(reply)

    def gone(self, to: str, name: str) -> None:
        """It was there, and more: only the reply was lost."""
        if self._all_sent and (fold(to), name) == (fold(self.peer), self.name):
            self.end()

    def moved(self, position: int) -> None:
        super().moved(position)
        if self.stage is Stage.MOVING and position == self.size:
            self._all_sent = True
            self.stage = Stage.CHECKING

    def replied(self, reply: Fields) -> None:
        if reply.get("status") == "OK":
            self.end()
        else:
            super().replied(reply)

    def whole(self) -> None: ...

    def lied(self) -> None: ...

    def failed(self, error: OSError | None) -> None:
        """The file is not what it was."""
        self.end(f'"{self._source.typed}" has changed since its sending began: send it again.')

    def _release(self) -> None:
        if self._hashing:
            self._hashing.cancel()
        self._source.close()
