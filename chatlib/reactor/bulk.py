"""Bulk: a file's bytes through a socket, bounded pieces at a time, plain or inside TLS.

Whoever moves the bytes watches the socket (``fileno``) and decides how many go at once. A call that would have to wait
raises BlockingIOError, and is made again when the socket is ready; any other OSError is the end. Must not know what the
bytes mean. Legal order: ``take``, or ``say`` and ``give``, any number of times; ``finish`` once, or ``close``.

Invariants: ``take`` leaves nothing with TLS but a part of a record, so that a socket that is not ready has nothing to
take; what is encrypted and not sent is what was given last.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Protocol

from chatlib.reactor.connection import Connection
from chatlib.reactor.loop import Loop
from chatlib.reactor.tls import TlsConnection
from chatlib.reactor.tlsstream import TlsStream

PIECE = 64 << 10  # bytes encrypted at once, and of records taken from the kernel: more costs malloc a page fault each
_FED = 32 << 10  # of them decrypted at once: then TLS says whether they hold anything
_LEAST = 4_096  # bytes of records asked for, however few plain ones are wanted: they are longer
SLACK = 32 << 10  # by which a buffer must be larger than what is wanted: the rest of a record may come with it
_ANSWERS = 64 << 10  # bytes that TLS itself may have to say to a peer who does not read them


class Bulk(Protocol):
    """What both kinds can do."""

    def fileno(self) -> int:
        """What to watch."""

    def take(self, buffer: memoryview, wanted: int) -> int:
        """Puts what has come into `buffer`, about `wanted` bytes; how many. 0: the end."""

    def say(self, data: bytes) -> int:
        """Sends something short; how much of it need not be said again."""

    def give(self, file: int, position: int, wanted: int) -> int:
        """Sends up to `wanted` bytes of `file` from there; how many. 0: that was all, and it is on its way."""

    def finish(self, loop: Loop, address: str, data: bytes = b"") -> None:
        """Says `data`, and closes when the peer has it, or after a while. Raises OSError with the socket open."""

    def close(self) -> None:
        """Closes now."""


class PlainBulk:
    """Bytes as they are."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.fileno: Callable[[], int] = sock.fileno
        self.say: Callable[[bytes], int] = sock.send
        self.close: Callable[[], None] = sock.close

    def take(self, buffer: memoryview, wanted: int) -> int:
        """See Bulk."""
        return self._socket.recv_into(buffer[:wanted])

    def give(self, file: int, position: int, wanted: int) -> int:
        """See Bulk."""
        return os.sendfile(self._socket.fileno(), file, position, wanted) if wanted else 0

    def finish(self, loop: Loop, address: str, data: bytes = b"") -> None:
        """See Bulk."""
        _finish(loop, self._socket, address, data)


class TlsBulk:
    """Bytes inside TLS, whose handshake is over."""

    def __init__(self, sock: socket.socket, stream: TlsStream, unsent: bytes = b"") -> None:
        self._socket, self._stream = sock, stream
        self._unsent: list[bytes | memoryview] = [unsent] if unsent else []  # records
        self.fileno: Callable[[], int] = sock.fileno
        self.close: Callable[[], None] = sock.close

    def take(self, buffer: memoryview, wanted: int) -> int:
        """See Bulk."""
        stream, count = self._stream, 0
        while wanted > 0 and not stream.over:
            try:
                asked = min(PIECE, max(wanted, _LEAST))
                records = self._socket.recv(asked)
            except BlockingIOError:
                break
            if not records and not count:
                raise ConnectionResetError("cut")  # nobody has announced the end
            for start in range(0, len(records), _FED):
                stream.take_in(records[start : start + _FED])
                count += stream.read_into(buffer[count:])
            wanted -= len(records)
            if len(records) < asked:
                break  # that was all
        if stream.pending:
            self._answer()
        if not count and not stream.over:
            raise BlockingIOError
        return count

    def _answer(self) -> None:
        """TLS itself has something to say: to a peer who changes its keys, say."""
        if sum(map(len, self._unsent)) + self._stream.pending > _ANSWERS:
            raise ConnectionAbortedError("a peer who does not read")
        with contextlib.suppress(BlockingIOError):
            self._send(self._stream.give_out())

    def say(self, data: bytes) -> int:
        """See Bulk."""
        self._stream.write(data)
        with contextlib.suppress(BlockingIOError):  # then it goes with what follows
            self._send(self._stream.give_out())
        return len(data)

    def give(self, file: int, position: int, wanted: int) -> int:
        """See Bulk."""
        self._send()
        given, records = 0, []
        while given < wanted:
            piece = os.pread(file, min(PIECE, wanted - given), position + given)
            if not piece:
                break
            self._stream.write(piece)
            records.append(self._stream.give_out())
            given += len(piece)
        with contextlib.suppress(BlockingIOError):
            self._send(*records)
        return given

    def _send(self, *records: bytes) -> None:
        """Sends these behind what is unsent. Raises BlockingIOError when some are not sent now."""
        unsent = self._unsent
        unsent += records
        while unsent:
            sent = self._socket.sendmsg(unsent)  # one call: each wakes the peer
            while unsent and sent >= len(unsent[0]):
                sent -= len(unsent.pop(0))
            if sent:
                unsent[0] = memoryview(unsent[0])[sent:]

    def finish(self, loop: Loop, address: str, data: bytes = b"") -> None:
        """See Bulk."""
        if data:
            self._stream.write(data)
        self._stream.finish()
        _finish(loop, self._socket, address, b"".join((*self._unsent, self._stream.give_out())))


def _finish(loop: Loop, sock: socket.socket, address: str, data: bytes) -> None:
    connection = Connection(loop, sock, address, 1 << 16)
    if data:
        connection.push(data)
    connection.close()


def detached(connection: Connection | TlsConnection) -> Bulk:
    """What moves a file's bytes through the connection from now on; that gets no more calls."""
    if isinstance(connection, TlsConnection):
        return TlsBulk(*connection.detach())
    return PlainBulk(connection.detach())
