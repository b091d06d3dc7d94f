"""Carriers: the connections that carry a file's bytes, one way each.

Bytes are moved a bounded piece at a time, one piece a tick and carrier, as long as the tick's allowance lasts; so no
transfer holds up chat or another transfer. What takes long (checking and syncing an upload) is done by a forked child.
Legal order: built → ``begin`` once → the loop's calls → the end, from either side, once.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatlib.core.files import Waiting, WaitingFile, no_such_file
from chatlib.core.replies import refusal
from chatlib.core.world import Command, Reply
from chatlib.protocol.framing import encode
from chatlib.protocol.text import fold
from chatlib.reactor.connection import Connection
from chatlib.reactor.jobs import Job
from chatlib.reactor.loop import READ, WRITE
from chatlib.storage.blobs import DigestMismatch

if TYPE_CHECKING:
    from chatlib.server.server import Server
    from chatlib.server.transfers import Transfers

STALLED = 60.0  # seconds without a byte until a transfer is ended


@dataclass(slots=True, eq=False)
class Ticket:
    """The right to one transfer, in one login of one account. `file` is for a download, what follows for an upload."""

    action: str
    token: str
    user: str
    login: int  # the LSN of the login in which it was asked for
    address: str
    until: float
    request: dict[str, Any]
    carrier: Carrier | None = None  # once it is used
    file: WaitingFile | None = None
    key: str = ""  # of the part
    joined: int = 0  # the LSN of the sender's registration,
    to: str = ""
    to_joined: int = 0  # and the receiver's: a name may go to somebody else
    left: int = 0  # bytes that have not come yet


class Carrier:
    """What both directions share: one socket, one ticket, and the watch over its progress."""

    events = READ

    def __init__(self, transfers: Transfers, sock: socket.socket, ticket: Ticket, request: dict[str, Any]) -> None:
        self._transfers, self._server = transfers, transfers.server
        self._socket, self._fd = sock, sock.fileno()
        self._request = request
        self._served = -1  # the tick in which it had its turn
        self._timer = self._server.loop.call_later(STALLED, self._look)
        self._looked_at = -1
        self._open = True
        self._file = -1
        self.ticket = ticket
        self.finishing = False
        self._room_seen = -1
        self.position: int = request["offset"]

    def _watch(self) -> None:
        self._server.loop.watch(self._fd, self.events, self)

    def _look(self) -> None:
        if self.position == self._looked_at and not self.finishing:
            self.end()
            return
        self._looked_at = self.position
        self._timer = self._server.loop.call_later(STALLED, self._look)

    def _my_turn(self) -> int:
        """Bytes that it may move now. At most one turn a tick; without one, it is first in the next tick."""
        loop = self._server.loop
        if not self._open or self._served == loop.ticks:
            return 0
        allowed = self._transfers.allowance()
        if allowed <= 0:
            loop.again(self)
            return 0
        self._served = loop.ticks
        return allowed

    def end(self) -> None:
        """Closes everything; what has arrived stays."""
        if self._release():
            self._socket.close()

    def _release(self) -> bool:
        """Leaves the loop, keeps the socket. False when it had done so before."""
        if not self._open:
            return False
        self._open = False
        self._timer.cancel()
        self._server.loop.forget(self._fd, self)
        if self._file >= 0:
            self._close_file()
        self._transfers.remove(self)
        return True

    def _close_file(self) -> None:
        os.close(self._file)

    def _say_and_close(self, reply: Reply) -> None:
        if not self._release():
            return
        try:
            connection = Connection(self._server.loop, self._socket, self.ticket.address, 1 << 16)
        except OSError:  # it cost this peer its answer, and must cost nobody else anything
            self._socket.close()
            return
        message: dict[str, object] = {"action": self.ticket.action}
        if "id" in self._request:
            message["id"] = self._request["id"]
        connection.push(encode({**message, **reply}))
        connection.close()

    def readable(self) -> None: ...

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None:
        """A fault of ours."""
        self.end()


class Upload(Carrier):
    """Bytes from a sender into a part."""

    @staticmethod
    def refuses(server: Server, ticket: Ticket, offset: int) -> Reply:
        """Why it cannot begin, or nothing."""
        there = server.blobs.part_size(ticket.key)
        return {} if offset == there else refusal("BAD_REQUEST", f'Field "offset" must be {there}.')

    def begin(self, rest: bytes) -> None:
        """`rest`: bytes that came with the request."""
        self._size: int = self.ticket.request["size"]
        self._watch()
        try:
            self._file = self._server.blobs.open_part(self.ticket.key)
        except OSError as error:
            self._fail(error)
            return
        if self._write(memoryview(rest)[: self._size - self.position]):
            self._finish_when_whole()

    def readable(self) -> None:
        allowed = min(self._my_turn(), self._size - self.position)
        if allowed <= 0:
            return
        buffer = self._transfers.buffer[:allowed]
        try:
            count = self._socket.recv_into(buffer)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self.end()
            return
        self._transfers.moved(count, self.ticket.user)
        if self._write(buffer[:count]):
            self._finish_when_whole()

    def _write(self, piece: memoryview) -> bool:
        try:
            while piece:
                written = os.write(self._file, piece)
                self.position += written
                self._transfers.kept(self.ticket, written)
                piece = piece[written:]
            if self.position >> 20 != self._room_seen >> 20:  # each MiB: others write to this disk, too
                self._room_seen = self.position
                if not self._server.blobs.room():
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: OSError) -> None:
        """A full disk costs the part; after anything else the upload may go on."""
        name, to = self.ticket.request["name"], self.ticket.request["to"]
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if full:
            self._server.blobs.drop_part(self.ticket.key)
        reason = "the server's disk is full" if full else f"the server's disk failed ({error.strerror})"
        self._server.log.write(f'upload of "{name}" for {to} failed: {error}')
        receiver = self._server.delivery.sessions.get(fold(to))
        if receiver is not None:
            text = f'A file "{name}" from "{self.ticket.user}" could not be taken: {reason}.'
            receiver.event({"event": "notice", "time": self._server.loop.wall, "text": text})
        self._say_and_close(refusal("NO_SPACE" if full else "INTERNAL", f'"{name}" could not be taken: {reason}.'))

    def _finish_when_whole(self) -> None:
        if self.position < self._size or self.finishing:
            return
        self.finishing = True
        self._server.loop.change(self._fd, 0, self)
        blobs, key, sha256 = self._server.blobs, self.ticket.key, self.ticket.request["sha256"]

        def work() -> bytes:
            try:
                return blobs.check(key, sha256).encode()
            except DigestMismatch:
                return b""

        try:
            Job(self._server.loop, work, self._checked)
        except OSError as error:
            self._fail(error)

    def _checked(self, answer: bytes, failure: str) -> None:
        if failure:
            self._fail(OSError(errno.EIO, failure))
        elif not answer:
            self._server.blobs.drop_part(self.ticket.key)
            name = self.ticket.request["name"]
            text = f'"{name}" did not arrive as it was announced: send it again.'
            self._say_and_close(refusal("DIGEST_MISMATCH", text))
        else:
            ticket = self.ticket
            command = {
                "action": "file_stored", "at": self._server.loop.wall, "user": ticket.user, "joined": ticket.joined,
                **{name: ticket.request[name] for name in ("to", "name", "size", "sha256")},
                "to_joined": ticket.to_joined, "blob": answer.decode(),
            }  # fmt: skip
            self._server.pipeline.submit(self, "upload", None, command)

    def answered(self, _echo: str, _request_id: Any, _command: Command, reply: Reply) -> None:
        """The file is visible, or was refused: then nobody needs its bytes."""
        if reply["status"] != "OK":
            self._server.blobs.drop_part(self.ticket.key)
        self._say_and_close(reply)

    def again(self) -> None:
        self.readable()


class Download(Carrier):
    """Bytes of a waiting file to its receiver."""

    events = WRITE

    @staticmethod
    def refuses(server: Server, ticket: Ticket, offset: int) -> Reply:
        """Why it cannot begin, or nothing."""
        file, account = ticket.file, server.world.accounts[ticket.user]  # who is logged in has one
        assert file is not None
        if file != (account.files or Waiting()).find(fold(file.sender), file.name, file.sha256):
            return no_such_file(file.sender, file.name)
        size = file.size
        return {} if offset <= size else refusal("BAD_REQUEST", f'Field "offset" must be 0 to {size}.')

    def begin(self, rest: bytes) -> None:
        """`rest`: bytes that came with the request, and mean nothing."""
        assert self.ticket.file is not None
        self._size = self.ticket.file.size
        head = {"action": "download", "status": "OK", "size": self._size, "offset": self.position}
        self._head = encode(head | ({"id": self._request["id"]} if "id" in self._request else {}))
        self._watch()
        try:
            self._file = self._server.blobs.open(self.ticket.file.blob)
        except OSError as error:
            self._server.tell(f"A waiting file cannot be read: {error}")
            self._say_and_close(refusal("NO_SUCH_FILE", "The file's bytes are missing; tell the administrator."))

    def _close_file(self) -> None:
        assert self.ticket.file is not None
        self._server.blobs.close(self.ticket.file.blob, self._file)

    def writable(self) -> None:
        allowed = min(self._my_turn(), max(1, self._size - self.position))
        if allowed <= 0:
            return
        try:
            if self._head:
                self._head = self._head[self._socket.send(self._head) :]
                return
            count = os.sendfile(self._fd, self._file, self.position, allowed) if self.position < self._size else 0
        except BlockingIOError:
            return
        except OSError:
            self.end()
            return
        self.position += count
        self._transfers.moved(count, self.ticket.user)
        if not count and self._release():  # the kernel still holds bytes: wait for the peer to close
            Connection(self._server.loop, self._socket, self.ticket.address, 1).close()

    def again(self) -> None:
        self.writable()

