"""Downloads: bytes at rest on their way to whoever may fetch them (:mod:`.carriers`).

What is not on this disk is fetched from the vault first, while the connection waits.
"""

from __future__ import annotations

from typing import Any

from chatlib.cluster.vault import Carried, Outcome
from chatlib.core.feature import DownloadGrant
from chatlib.core.replies import refusal
from chatlib.protocol.framing import encode
from chatlib.reactor.bulk import Bulk
from chatlib.reactor.loop import WRITE
from chatlib.server.carriers import REFUSALS, Carrier, Means, Ticket


class Download(Carrier):
    """Bytes at rest, to whoever may fetch them."""

    events = WRITE

    def __init__(
        self, means: Means, bulk: Bulk, ticket: Ticket, grant: DownloadGrant, request: dict[str, Any]
    ) -> None:
        super().__init__(means, bulk, ticket, request)
        self._grant = grant
        self._why = ""  # it is not on this disk
        head = {"action": "download", "status": "OK", "size": grant.size, "offset": self.position}
        self._head = encode(head | ({"id": request["id"]} if "id" in request else {}))

    def begin(self, _rest: bytes) -> None:
        """Whatever came with the request means nothing."""
        self._loop.watch(self._fd, WRITE, self)
        try:
            self._file = self._blobs.open(self._grant.blob)
        except FileNotFoundError as error:
            self._why = str(error)
            self._fetch()
        except OSError as error:
            self._why = str(error)
            self.carried(Carried(Outcome.MISSING))

    def _fetch(self) -> None:
        grant = self._grant
        self._loop.change(self._fd, 0, self)  # it could be written to all the time
        self._means.vault.fetch(grant.blob, grant.size, grant.sha256, self)
        if self._open and self._file < 0:
            self._wait()

    def carried(self, ended: Carried) -> None:
        if not self._open:
            return
        if ended.outcome is Outcome.DONE:
            self._stop_waiting()
            try:
                self._file = self._blobs.open(self._grant.blob)
                self._loop.change(self._fd, WRITE, self)
                return
            except OSError as error:
                self._why, ended = str(error), Carried(Outcome.MISSING)
        if ended.outcome in (Outcome.MISSING, Outcome.DAMAGED):
            self._means.tell(f"A waiting file cannot be read: {ended.text or self._why}")
            self._say_and_close(refusal(*REFUSALS[ended.outcome]))
        else:
            self._refuse(ended)

    def _alone(self) -> None:
        self.end()

    def _close_file(self) -> None:
        self._blobs.close(self._grant.blob, self._file)

    def writable(self) -> None:
        left = self._grant.size - self.position
        allowed = min(self._my_turn(), max(1, left))
        if allowed <= 0:
            return
        try:
            if self._head:
                self._head = self._head[self._bulk.say(self._head) :]
                return
            count = self._bulk.give(self._file, self.position, min(allowed, left))
        except BlockingIOError:
            return
        except OSError:
            self.end()
            return
        self.position += count
        self._moved(count)
        if not count and self._release():  # the kernel still holds bytes: wait for the peer to close
            self._finish()

    def again(self) -> None:
        self.writable()
