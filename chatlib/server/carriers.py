"""Carriers: the connections that carry a file's bytes, one way each: here uploads; :mod:`.downloads` has the others.

A carrier moves a bounded piece at a time, one piece a tick, as long as the tick's share lasts; so no transfer holds up
chat or another transfer. Must not know what the bytes are for: that is in the ticket's grant.
Legal order: built → ``begin`` once → the loop's calls → the end, from either side, once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from chatlib.cluster.vault import Carried, Outcome, Vault
from chatlib.core.feature import DownloadGrant, UploadGrant
from chatlib.core.replies import refusal
from chatlib.core.world import Command, Reply
from chatlib.protocol.framing import encode
from chatlib.reactor.bulk import SLACK, Bulk
from chatlib.reactor.loop import READ, Loop
from chatlib.reactor.timers import Timer
from chatlib.server.checks import BEHIND, Checks
from chatlib.server.people import People
from chatlib.server.pipeline import Origin
from chatlib.storage.blobs import Blobs
from chatlib.storage.checker import Checked
from chatlib.storage.serverlog import WARNING, ServerLog

STALLED = 60.0  # seconds without a byte until a transfer is ended
SIGN = 5.0  # seconds between signs that we are still at work, for a peer who waits for the other servers' sake
ALONE = 256 << 10  # bytes that the only transfer moves in one tick: more is faster, and chat waits longer
TOGETHER = 64 << 10  # bytes moved in one tick when there are several, by one of them in turn (make bench)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSALS = {
    Outcome.AWAY: ("NO_QUORUM", "The servers cannot agree at the moment, and so not move the file: try again later."),
    Outcome.MISSING: ("NO_SUCH_FILE", "The file's bytes are missing; tell the administrator."),
    Outcome.DAMAGED: ("NO_SUCH_FILE", "The file's bytes are damaged; tell the administrator."),
    Outcome.DISK: ("INTERNAL", "The server's disk failed; tell the administrator."),
    Outcome.DEAD: ("INTERNAL", "This server can reach no files of others until it is started again."),
}


@dataclass(slots=True, eq=False)
class Ticket:
    """The right to one transfer, in one login of one account."""

    row: str  # the command by which it was asked for, with
    request: dict[str, Any]
    grant: UploadGrant | DownloadGrant
    token: str
    user: str
    login: int  # the LSN of the login in which it was asked for
    address: str
    until: float
    carrier: Carrier | None = None  # once it is used
    key: str = ""  # of an upload's part
    left: int = 0  # bytes of an upload that have not come yet
    inside_tls: bool = False  # asked for over TLS: it is good over TLS only

    @property
    def action(self) -> str:
        """What its connection has to ask for."""
        return "upload" if isinstance(self.grant, UploadGrant) else "download"


class Share:
    """How many bytes may be moved in a tick. `active`: how many carriers there are."""

    def __init__(self, loop: Loop) -> None:
        self.active = 0
        self.buffer = memoryview(bytearray(ALONE + SLACK))  # for all uploads, one after the other
        self._loop = loop
        self._tick = -1
        self._left = 0

    def left(self) -> int:
        """Bytes that may be moved now; 0: in the next tick."""
        if self._tick != self._loop.ticks:
            self._tick, self._left = self._loop.ticks, ALONE if self.active == 1 else TOGETHER
        return self._left

    def spend(self, count: int) -> None:
        """So many were."""
        self._left -= count


class Submit(Protocol):
    """How a command is given (:meth:`chatlib.server.pipeline.Pipeline.submit`)."""

    def __call__(self, origin: Origin | None, echo: str, request_id: Any, command: Command, /) -> None: ...


class Counting(Protocol):
    """Who counts what is under way."""

    def kept(self, ticket: Ticket, count: int) -> None:
        """So many bytes of an upload are in its part."""

    def ended(self, carrier: Carrier) -> None:
        """It moves no more."""


@dataclass(frozen=True, slots=True)
class Means:
    """What carriers have in common."""

    loop: Loop
    share: Share
    counting: Counting
    blobs: Blobs
    checks: Checks
    vault: Vault
    submit: Submit
    people: People
    log: ServerLog
    tell: Callable[[str], None]


class Carrier:
    """What both directions share: one socket (plain, or inside TLS), one ticket, and the watch over its progress."""

    events = READ

    def __init__(self, means: Means, bulk: Bulk, ticket: Ticket, request: dict[str, Any]) -> None:
        self.ticket = ticket
        self.position: int = request["offset"]
        self.finishing = False  # all is here: it goes on, whatever becomes of the session and the peer
        self._means, self._loop, self._blobs = means, means.loop, means.blobs
        self._bulk, self._fd = bulk, bulk.fileno()
        self._request = request
        self._served = -1  # the tick in which it had its turn
        self._timer = self._loop.call_later(STALLED, self._look)
        self._progress, self._looked_at = 0, -1
        self._sign: Timer | None = None  # while the vault has something to do
        self._open = True
        self._file = -1

    def _look(self) -> None:
        if self._progress == self._looked_at and not self.finishing and self._sign is None:
            self.end()
            return
        self._looked_at = self._progress
        self._timer = self._loop.call_later(STALLED, self._look)

    def _my_turn(self) -> int:
        """Bytes that it may move now. At most one turn a tick; without one, it is first in the next tick."""
        loop = self._loop
        if not self._open or self._served == loop.ticks:
            return 0
        allowed = self._means.share.left()
        if allowed <= 0:
            loop.again(self)
            return 0
        self._served = loop.ticks
        return allowed

    def _moved(self, count: int) -> None:
        self._progress += count
        self._means.share.spend(count)
        self._means.people.active(self.ticket.user, self.ticket.login)

    def _wait(self) -> None:
        """The vault is at work: the peer hears a blank now and then, which means nothing before a line."""
        self._sign = self._loop.call_later(SIGN, self._show)

    def _stop_waiting(self) -> None:
        if self._sign is not None:
            self._sign.cancel()
            self._sign = None
            self._looked_at = -1

    def _show(self) -> None:
        try:
            self._bulk.say(b" ")
        except BlockingIOError:
            pass
        except OSError:  # the peer has gone
            self._alone()
            return
        self._wait()

    def _alone(self) -> None:
        """Nobody waits for this any more."""

    def carried(self, ended: Carried) -> None:
        """The vault has done what it could."""
        raise NotImplementedError

    def _refuse(self, ended: Carried) -> None:
        """It could not."""
        why = os.strerror(ended.error) if ended.error else ended.text
        said = f"{self.ticket.action} for {self.ticket.user} failed: {ended.outcome.name.lower()} {why}"
        self._means.log.write(said.rstrip(), WARNING)
        if ended.error in _FULL:
            self._say_and_close(refusal("NO_SPACE", "The server's disk has no room for the file."))
        else:
            self._say_and_close(refusal(*REFUSALS[ended.outcome]))

    def end(self) -> None:
        """Closes everything; what has arrived stays."""
        if self._release():
            self._bulk.close()

    def _release(self) -> bool:
        """Leaves the loop, keeps the socket. False when it had done so before."""
        if not self._open:
            return False
        self._open = False
        self._timer.cancel()
        self._stop_waiting()
        self._loop.forget(self._fd, self)
        if self._file >= 0:
            self._close_file()
        self._means.counting.ended(self)
        return True

    def _close_file(self) -> None:
        os.close(self._file)

    def _say_and_close(self, reply: Reply) -> None:
        if not self._release():
            return
        message: dict[str, object] = {"action": self.ticket.action}
        if "id" in self._request:
            message["id"] = self._request["id"]
        self._finish(encode({**message, **reply}))

    def _finish(self, last: bytes = b"") -> None:
        """The peer gets what is on its way to it, and `last`."""
        try:
            self._bulk.finish(self._loop, self.ticket.address, last)
        except OSError:  # it cost this peer its answer, and must cost nobody else anything
            self._bulk.close()

    def readable(self) -> None: ...

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None:
        """A fault of ours."""
        self.end()


class Upload(Carrier):
    """Bytes from a sender into a part::

        RECEIVING ──▶ CHECKING ──▶ SHARING ──▶ SUBMITTED ──▶ over
        hashed as     the rest is   the vault    the command that
        they come     hashed, all   has them     makes them visible
                      are synced

    Whatever goes wrong ends it; `finishing` is true from CHECKING on.
    """

    def __init__(
        self, means: Means, bulk: Bulk, ticket: Ticket, grant: UploadGrant, request: dict[str, Any]
    ) -> None:
        super().__init__(means, bulk, ticket, request)
        self._grant = grant
        self._digest = means.checks.digest(ticket.key, self)
        self._room_seen = -1
        self._blob = ""  # once all is right
        self._shared = False  # the vault has it

    def begin(self, rest: bytes) -> None:
        """`rest`: bytes that came with the request."""
        self._loop.watch(self._fd, READ, self)
        try:
            self._file = self._blobs.open_part(self.ticket.key)
        except OSError as error:
            self._fail(error)
            return
        self._write(memoryview(rest)[: self._grant.size - self.position])

    def readable(self) -> None:
        allowed = min(self._my_turn(), self._grant.size - self.position)
        if allowed <= 0:
            return
        buffer = self._means.share.buffer
        try:
            count = self._bulk.take(buffer, allowed)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self.end()
            return
        self._moved(count)
        self._write(buffer[: min(count, self._grant.size - self.position)])

    def _write(self, piece: memoryview) -> None:
        try:
            while piece:
                written = os.write(self._file, piece)
                self.position += written
                self._means.counting.kept(self.ticket, written)
                piece = piece[written:]
            if self.position >> 20 != self._room_seen >> 20:  # each MiB: others write to this disk, too
                self._room_seen = self.position
                if not self._blobs.room():
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.position == self._grant.size:
                self.finishing = True
                self._loop.change(self._fd, 0, self)
            self._check()
        except OSError as error:
            self._fail(error)

    def _check(self) -> None:
        """Lets the digest catch up, when it is worth it. Raises OSError."""
        digest = self._digest
        if not digest.busy and (self.finishing or self.position - digest.upto >= BEHIND):
            self._means.checks.start(digest, self._file, self.position, self.finishing, self)

    def checked(self, answer: Checked | None) -> None:
        """A piece is hashed; the last one: and all are synced."""
        if answer is None:
            self._fail(OSError(errno.EIO, "its files cannot be checked"))
        elif answer.error:
            if answer.at_sync:  # a disk says so once, and then forgets what it has lost
                self._blobs.drop_part(self.ticket.key)
            self._fail(OSError(answer.error, os.strerror(answer.error)))
        elif not answer.synced:
            try:
                self._check()
            except OSError as error:
                self._fail(error)
        elif self._digest.sha256 != self._grant.sha256:
            self._blobs.drop_part(self.ticket.key)
            text = f'"{self._grant.name}" did not arrive as it was announced: send it again.'
            self._say_and_close(refusal("DIGEST_MISMATCH", text))
        else:
            self._blob = self._blobs.new_name(self.ticket.key)
            self._shared = False
            self._means.vault.put(self._blob, self._file, self._grant.size, self)
            if self._open and not self._shared:
                self._wait()

    def carried(self, ended: Carried) -> None:
        if not self._open:
            return
        if ended.outcome is Outcome.DONE:
            self._shared = True
            command = {**self._grant.command, "at": self._loop.wall, "blob": self._blob}
            self._means.submit(self, "upload", None, command)
        elif ended.outcome is Outcome.DISK:
            self._fail(OSError(ended.error, os.strerror(ended.error) if ended.error else ended.text))
        else:
            self._refuse(ended)

    @property
    def login(self) -> int:
        """Of the session that sends it."""
        return self.ticket.login

    def _fail(self, error: OSError) -> None:
        """A full disk costs the part; after anything else the upload may go on."""
        name, tells, user = self._grant.name, self._grant.tells, self.ticket.user
        full = error.errno in _FULL
        if full:
            self._blobs.drop_part(self.ticket.key)
        reason = "the server's disk is full" if full else f"the server's disk failed ({error.strerror or error})"
        self._means.log.write(f'upload of "{name}" from {user} failed: {error}', WARNING)
        if tells:
            self._means.people.notice(tells, f'A file "{name}" from "{user}" could not be taken: {reason}.')
        self._say_and_close(refusal("NO_SPACE" if full else "INTERNAL", f'"{name}" could not be taken: {reason}.'))

    def answered(self, _echo: str, _request_id: Any, _command: Command, reply: Reply) -> None:
        """The bytes are visible; or they were refused, and nobody needs them, unless nobody has looked at them."""
        if reply["status"] not in ("OK", "NODE_LOST"):
            self._blobs.drop_part(self.ticket.key)
        self._say_and_close(reply)

    def _release(self) -> bool:
        released = super()._release()
        if released and self._blobs.part_size(self.ticket.key):
            self._means.checks.keep(self.ticket.key, self._digest)
        elif released:
            self._means.checks.forget(self._digest)
        return released

    def again(self) -> None:
        self.readable()
