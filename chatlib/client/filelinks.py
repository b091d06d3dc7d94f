"""Connections that carry a file's bytes, one way each, beside the chat connection on the same loop.

A link moves a bounded piece a tick, so that chat and screen never wait. Must not know where a ticket came from, nor
what follows a failure. Legal order: built → ``begin`` once → the loop's calls; the owner hears ``moved*`` and then
exactly one of the others, or nothing after ``end``. Invariants: a link sends nothing of a file that has changed, and
writes nothing beyond the size announced.
"""

from __future__ import annotations

import errno
import os
from typing import Protocol

from chatlib.client.localfiles import DownloadPart, Source
from chatlib.client.news import Fields
from chatlib.client.sockets import PlainSocket, Way
from chatlib.client.trust import NotTrusted
from chatlib.protocol.framing import MAX_LINE, BadLine, decode, encode
from chatlib.reactor.loop import READ, WRITE, Loop

STALLED = 60.0  # seconds without a byte until a connection counts as broken
CHECKED = 900.0  # seconds that a server may take to check and sync a large file
PIECE = 256 << 10

class FileLinkOwner(Protocol):
    """Whom a link tells. After each call but ``moved`` the link has ended."""

    def moved(self, position: int) -> None:
        """So much of the file is over."""

    def replied(self, reply: Fields) -> None:
        """The server's last word: an upload is there, or either was refused."""

    def broken(self, why: str) -> None:
        """The connection ended early, or there was none: it may be tried again."""

    def failed(self, error: OSError | None) -> None:
        """The local disk does not take it; None: the local file has changed."""


class FetchLinkOwner(FileLinkOwner, Protocol):
    """What only a download can tell."""

    def whole(self) -> None:
        """All bytes are written."""

    def lied(self) -> None:
        """The server sends something else than it announced."""


class FileLink:
    """What both directions share: the socket, the first line, and the watch over progress."""

    def __init__(self, loop: Loop, way: Way, request: Fields, position: int, owner: FileLinkOwner) -> None:
        self.position = position
        self._loop, self._owner = loop, owner
        self._way = way
        self._first = encode({**request, "offset": position})
        self._heard = b""  # the beginning of the server's line
        self._socket: PlainSocket | None = None
        self._connected = self._secured = False
        self._patience = STALLED
        self.signs = 0  # how often the server has said that it is at work
        self._looked_at = -1
        self._timer = loop.call_later(STALLED, self._look)

    def begin(self) -> None:
        """Connects."""
        try:
            self._socket = self._way.socket()
            self._loop.watch(self._socket.fileno(), WRITE, self)
            error = self._socket.connect()
        except OSError as fault:
            error = fault.errno or errno.EIO
        if error:
            self._break(os.strerror(error))

    def end(self) -> None:
        """Closes the connection; the owner hears nothing more."""
        self._timer.cancel()
        if self._socket:
            self._loop.forget(self._socket.fileno(), self)
            self._socket.close()
            self._socket = None

    def _break(self, why: str) -> None:
        self.end()
        self._owner.broken(why)

    def _look(self) -> None:
        if self.position == self._looked_at:
            self._stalled()
            return
        self._looked_at = self.position
        self._timer = self._loop.call_later(self._patience, self._look)

    def _is_at_work(self) -> None:
        """The server has said so: from now on it says so again and again."""
        self.signs += 1
        self._patience, self._looked_at = STALLED, self.position
        self._timer.cancel()
        self._timer = self._loop.call_later(STALLED, self._look)

    def _stalled(self) -> None:
        self._break("nothing moved any more")

    def _listen(self, events: int) -> None:
        assert self._socket is not None
        self._loop.change(self._socket.fileno(), events, self)

    # The channel.

    def writable(self) -> None:
        if self._socket is None:
            return
        if not self._connected:
            error = self._socket.error()
            if error:
                self._break(os.strerror(error))
                return
            self._connected = True
        if not self._shake(self._socket):
            return
        try:
            self._socket.flush()
            if self._first:
                self._first = self._first[self._socket.send(self._first) :]
            if not self._first:
                self._send(self._socket)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._listen(READ)  # the next recv tells why, after what the server said last

    def _shake(self, connection: PlainSocket) -> bool:
        """Goes on with the handshake; whether it is over."""
        if self._secured:
            return True
        try:
            self._secured = connection.shake()
        except NotTrusted:
            self._break("the server has another certificate now")
            return False
        except OSError as error:
            self._break(f"no TLS: {error.strerror}")
            return False
        self._listen(READ | WRITE if self._secured or connection.pending else READ)
        return self._secured

    def readable(self) -> None:
        if self._socket is None or not self._connected or not self._shake(self._socket):
            return
        try:
            self._receive(self._socket)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error.strerror or str(error))

    def _lost(self, why: str) -> None:
        self._break(why)

    def again(self) -> None: ...

    def broken(self) -> None:
        self.end()

    def _line(self, piece: bytes) -> tuple[Fields, bytes] | None:
        """The server's line, once it is there, and the bytes after it. Blanks in front say that it is at work."""
        if piece.isspace() and not self._heard and b"\n" not in piece:
            self._is_at_work()
            return None
        self._heard += piece
        line, end, rest = self._heard.partition(b"\n")
        if not end and len(line) < MAX_LINE:
            return None
        try:
            return decode(line), rest
        except BadLine:
            return {"status": "PROTOCOL_ERROR", "text": "The server does not speak this program's protocol."}, b""

    def _send(self, connection: PlainSocket) -> None:
        """The first line is out and there is room. Raises OSError."""
        raise NotImplementedError

    def _receive(self, connection: PlainSocket) -> None:
        """There is something to read. Raises OSError."""
        raise NotImplementedError


class SendLink(FileLink):
    """Bytes of `source` to the server."""

    def __init__(
        self, loop: Loop, way: Way, ticket: str, position: int, source: Source, owner: FileLinkOwner
    ) -> None:
        super().__init__(loop, way, {"action": "upload", "ticket": ticket}, position, owner)
        self._source = source

    def _send(self, connection: PlainSocket) -> None:
        left = self._source.size - self.position
        if not self._source.intact():
            self.end()
            self._owner.failed(None)
            return
        if left:
            self.position += self._move(connection, min(left, PIECE))
            self._owner.moved(self.position)
        if self.position >= self._source.size:
            self._patience = CHECKED
        self._listen(READ if self.position >= self._source.size and not connection.pending else READ | WRITE)

    def _move(self, connection: PlainSocket, count: int) -> int:
        return connection.send_file(self._source.fd, self.position, count)

    def _receive(self, connection: PlainSocket) -> None:
        piece = connection.receive(MAX_LINE)
        heard = self._line(piece)
        if heard is not None:
            self.end()
            self._owner.replied(heard[0])
        elif not piece:
            self._break("the server closed the connection")


class FetchLink(FileLink):
    """Bytes from the server into `part`."""

    def __init__(
        self, loop: Loop, way: Way, ticket: str, position: int, part: DownloadPart, size: int, owner: FetchLinkOwner
    ) -> None:
        super().__init__(loop, way, {"action": "download", "ticket": ticket}, position, owner)
        self._fetcher = owner
        self._part, self._size = part, size
        self._answered = False

    def _send(self, connection: PlainSocket) -> None:
        self._listen(READ | WRITE if connection.pending else READ)

    def _receive(self, connection: PlainSocket) -> None:
        if self._answered:
            piece = memoryview(connection.receive(PIECE))
            count = len(piece)
        else:
            chunk = connection.receive(MAX_LINE)
            heard = self._line(chunk)
            if heard is None:
                if not chunk:
                    self._break("the server closed the connection")
                return
            reply, rest = heard
            if not self._agrees(reply):
                return
            count, piece = -1, memoryview(rest)
        if not count:
            self._lost("the server closed the connection")
        elif piece:
            self._write(piece)

    def _agrees(self, reply: Fields) -> bool:
        self._answered = True
        if reply.get("status") != "OK":
            self.end()
            self._owner.replied(reply)
        elif (reply.get("size"), reply.get("offset")) != (self._size, self.position):
            self.end()
            self._fetcher.lied()
        return self._socket is not None

    def _write(self, piece: memoryview) -> None:
        if self.position + len(piece) > self._size:
            self.end()
            self._fetcher.lied()
            return
        try:
            self._part.write(piece, self.position)
        except OSError as error:
            self.end()
            self._owner.failed(error)
            return
        self.position += len(piece)
        self._owner.moved(self.position)

    def _lost(self, why: str) -> None:
        # The server closes after the last byte; only then does it count this transfer as ended.
        if self._answered and self.position == self._size:
            self.end()
            self._fetcher.whole()
        else:
            self._break(why)

    def _stalled(self) -> None:
        self._lost("nothing moved any more")
