"""One file from a user: ask for a ticket, gather the bytes in a part, check them, give it its name, and say so.

Must not know the queue's order or the screen. Order that must hold: length and digest are right → synced → named →
``received``, upon which the server forgets its own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from chatlib.client.carriers import Address, Carrier
from chatlib.client.carriers import Download as DownloadCarrier
from chatlib.client.localfiles import FULL, FileError, Hashing, Part, check_folder, reason
from chatlib.client.news import Fields, Request
from chatlib.client.transfers import Stage, Transfer, Transfers
from chatlib.protocol.text import fold
from chatlib.protocol.words import quoted, readable_size
from chatlib.reactor.jobs import Job

_DIGEST = re.compile("[0-9a-f]{64}")


class Download(Transfer):
    """What `peer` has sent under `name`, into `folder`; afterwards it is at `path`, and `receipt` is on its way."""

    def __init__(self, transfers: Transfers, sender: str, name: str, folder: Path, size: int = 0) -> None:
        super().__init__(transfers, sender, name, size)
        self.path: Path | None = None
        self.receipt: Request | None = None
        self._folder = folder
        self._part: Part | None = None
        self._sha256 = ""
        self._hashing: Hashing | None = None

    def is_of(self, sender: str, name: str) -> bool:
        """Whether it is this file of this user."""
        return (fold(sender), name) == (fold(self.peer), self.name)

    def begin(self) -> None:
        try:
            check_folder(self._folder, self.name)  # before there is a ticket to be wasted
        except FileError as error:
            self.end(str(error))
        else:
            self._again()

    def _again(self) -> None:
        self._ask("fileget", {"from": self.peer, "name": self.name})

    def _granted(self, reply: Fields, ticket: str, address: Address) -> Carrier | None:
        size, sha256 = reply.get("size"), reply.get("sha256")
        if not isinstance(size, int) or size < 0 or not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256):
            self.end("The server does not speak this program's protocol.")
            return None
        try:
            part = self._open(size, sha256)
            self.position = part.size
            if self.position > size:  # nothing that this program wrote
                os.ftruncate(part.fd, 0)
                self.position = 0
            room = part.room()
        except FileError as error:
            self.end(str(error))
            return None
        except OSError as error:
            self.failed(error)
            return None
        if size - self.position > room:
            self.end(f'There is no room for "{self.name}" ({readable_size(size)}) in {self._folder.absolute()}.')
            return None
        return DownloadCarrier(self._loop, address, ticket, self.position, part, size, self)

    def _open(self, size: int, sha256: str) -> Part:
        """The part of exactly this file; one of another file that had the name before is of no use."""
        if self._part and (size, sha256) != (self.size, self._sha256):
            self._part.remove()
            self._part.close()
            self._part = None
        self.size, self._sha256 = size, sha256
        if self._part is None:
            self._part = Part(self._folder, self.name, sha256)
        return self._part

    # What the carrier tells.

    def whole(self) -> None:
        assert self._part is not None
        self._carrier = None
        self.stage, self.position = Stage.CHECKING, 0
        self._hashing = Hashing(self._loop, self._part.fd, self.size, self.moved, self._hashed)

    def lied(self) -> None:
        if self._part:
            self._part.remove()
        command = f"{quoted(self.peer)} {quoted(self.name)}"
        self.end(
            f'"{self.name}" from "{self.peer}" did not come as it was announced: what came was removed. '
            f'It still waits: "fileget {command}" tries again, "filedecline {command}" refuses it.'
        )

    def failed(self, error: OSError | None) -> None:
        assert error is not None
        kept = "What has come is kept: the same command goes on from there."
        full = f"the disk is full: {self._folder.absolute()}" if error.errno in FULL else reason(error)
        self.end(f'"{self.name}" cannot be saved: {full}. {kept}')

    def gone(self, to: str, name: str) -> None: ...

    # The end.

    def _hashed(self, sha256: str, failure: str) -> None:
        assert self._part is not None
        fd = self._part.fd

        def work() -> bytes:
            os.fsync(fd)
            return b""

        if failure:
            self.end(f'"{self.name}" cannot be checked: {failure}.')
        elif sha256 != self._sha256:
            self.lied()
        else:
            try:
                Job(self._loop, work, self._synced)
            except OSError as error:
                self._synced(b"", reason(error))

    def _synced(self, _: bytes, failure: str) -> None:
        if self.over:
            return
        assert self._part is not None
        try:
            if failure:
                raise OSError(None, failure)
            self.path = self._part.publish()
        except OSError as error:
            self.failed(error)
            return
        received: Fields = {"from": self.peer, "name": self.name, "sha256": self._sha256}
        self.receipt = self._transfers.ask("received", received)
        self.end()

    def _release(self) -> None:
        if self._hashing:
            self._hashing.cancel()
        if self._part:
            self._part.close()
