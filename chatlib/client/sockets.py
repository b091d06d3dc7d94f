"""A socket to the server, plain or inside TLS: what the chat's link and the files' links have in common.

Must not know the loop, nor what is said. Nothing here blocks. Legal order: built → ``connect`` → ``shake`` until it is
true → ``send`` and ``receive`` → ``close``; ``flush`` when there is room again, while something is ``pending``.
Invariants: nothing of ours goes into TLS before the certificate was judged; a handshake has HANDSHAKE bytes, and its
owner gives it a time; what TLS keeps for the kernel is bounded; one call reads the kernel once.

Why no :class:`chatlib.reactor.tls.TlsConnection`: a Connection that cannot send is gone at once, and a client wants to
hear why (``bye``) of a server that has closed; and files go from the disk to the kernel without passing through here.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
import ssl
from typing import NamedTuple

from chatlib.client.failures import OUTSIDE
from chatlib.client.trust import Certificate, Trust
from chatlib.protocol.framing import BadLine, decode
from chatlib.protocol.text import printable
from chatlib.reactor.connector import SocketAddress

HANDSHAKE = 262_144  # bytes that a server may say before TLS stands: a chain of certificates has a few thousand
SLICE = 65_536  # plain bytes that are encrypted at once
MOST = 1 << 20  # bytes of records that the kernel may not have taken
LAST_WORD = 1_000  # bytes of what may be said before TLS, and characters of what is shown of it
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST")
_ALERT = re.compile(r"(ssl|tls)v\w+ (alert )?")
_NO_SENDFILE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTSOCK)


class PlainSocket:
    """Without TLS. Raises OSError, and BlockingIOError where there is nothing to be had now."""

    certificate: Certificate | None = None  # the server's, from when TLS stands
    pending = False  # whether something that was taken waits for the kernel

    def __init__(self, address: SocketAddress) -> None:
        family, self._place = address
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def local(self) -> SocketAddress:
        """From where the server is reached."""
        return self._socket.family, self._socket.getsockname()

    def connect(self) -> int:
        """Begins to connect: 0, or why that cannot be."""
        error = self._socket.connect_ex(self._place)
        return 0 if error in (errno.EINPROGRESS, errno.EINTR) else error

    def error(self) -> int:
        """What became of it, once the socket can be written."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def shake(self) -> bool:
        """Goes on with the handshake; whether it is over. Raises NotTrusted."""
        return True

    def receive(self, size: int) -> bytes:
        """What has come, about `size` bytes at most; nothing: the server says no more."""
        return self._socket.recv(size)

    def send(self, data: bytes) -> int:
        """How many bytes of `data` were taken."""
        return self._socket.send(data)

    def send_file(self, fd: int, position: int, count: int) -> int:
        """As ``send``, of the file's bytes from `position` on."""
        try:
            return os.sendfile(self.fileno(), fd, position, count)
        except OSError as error:
            if error.errno not in _NO_SENDFILE:
                raise
        return self.send(os.pread(fd, count, position))

    def flush(self) -> None:
        """Gives the kernel what it has not taken, as far as it does now."""

    def close(self) -> None:
        self._socket.close()


class TlsSocket(PlainSocket):
    """Inside TLS, with a server that `trust` takes for the right one."""

    def __init__(self, address: SocketAddress, trust: Trust) -> None:
        super().__init__(address)
        self._trust, self._stream = trust, trust.stream()
        self._records = b""
        self._shaken = 0  # bytes of the handshake that have come
        self._first = b""  # the first of them

    @property
    def pending(self) -> bool:  # type: ignore[override]
        return bool(self._records)

    def shake(self) -> bool:
        if self.certificate is None:
            if self._take_in(SLICE):
                raise OSError(errno.ECONNRESET, "the server closed the connection")
            if self._shaken > HANDSHAKE:
                raise OSError(errno.EPROTO, "it never comes to an end")
            try:
                self._stream.shake()
            except ssl.SSLCertVerificationError as error:
                self._say_so()
                raise self._trust.unvouched(error) from None
            except ssl.SSLError as error:
                self._say_so()
                raise _turned_away(self._first) or _failure(error) from None
            self.flush()
            if self._stream.secured:
                self.certificate = self._trust.judge(self._stream.certificate)
        return self.certificate is not None

    def _say_so(self) -> None:
        """The server hears why, if TLS has a word for it."""
        with contextlib.suppress(OSError):
            self.flush()

    def _take_in(self, size: int) -> bool:
        """One read of the kernel; whether that was the end."""
        try:
            records = self._socket.recv(size)
        except (BlockingIOError, InterruptedError):
            return False
        self._stream.take_in(records)
        self._shaken += len(records)
        if self.certificate is None and len(self._first) < LAST_WORD:
            self._first += records[:LAST_WORD]
        return not records

    def receive(self, size: int) -> bytes:
        over = self._take_in(size)
        try:
            plain = self._stream.read()
        except ssl.SSLError as error:
            self._say_so()
            raise _failure(error) from None
        self.flush()
        if not (plain or over or self._stream.over):
            raise BlockingIOError
        return plain

    def send(self, data: bytes) -> int:
        self.flush()
        taken, whole = 0, memoryview(data)
        while taken < len(data) and not self._records:
            piece = whole[taken : taken + SLICE]
            try:
                self._stream.write(piece)
            except ssl.SSLError as error:
                raise _failure(error) from None
            taken += len(piece)
            self.flush()
        if data and not taken:
            raise BlockingIOError
        return taken

    def send_file(self, fd: int, position: int, count: int) -> int:
        return self.send(os.pread(fd, count, position))

    def flush(self) -> None:
        self._records += self._stream.give_out()
        if self._records:
            with contextlib.suppress(BlockingIOError, InterruptedError):
                self._records = self._records[self._socket.send(self._records) :]
        if len(self._records) > MOST:
            raise OSError(errno.EPROTO, "the server asks, and does not listen")

    def close(self) -> None:
        if self.certificate is not None and self._socket.fileno() >= 0:
            self._stream.finish()
            self._say_so()
        super().close()


class Way(NamedTuple):
    """How the server is reached."""

    address: SocketAddress
    trust: Trust | None  # None: without TLS

    @property
    def is_loopback(self) -> bool:
        """Whether nothing leaves this machine."""
        try:
            return ipaddress.ip_address(str(self.address[1][0]).removeprefix("::ffff:")).is_loopback
        except ValueError:
            return False

    def socket(self) -> PlainSocket:
        """A new one. Raises OSError."""
        return PlainSocket(self.address) if self.trust is None else TlsSocket(self.address, self.trust)


def _failure(error: ssl.SSLError) -> OSError:
    said = _ALERT.sub("it says ", (error.reason or "it breaks the rules of TLS").replace("_", " ").lower())
    return OSError(errno.EPROTO, "it speaks something else" if error.reason in _NO_TLS else said)


def _turned_away(heard: bytes) -> OSError | None:
    """Whoever is banned, or comes when there are too many strangers, is told so before TLS could begin."""
    try:
        bye = decode(heard.partition(b"\n")[0])
    except BadLine:
        return None
    text = bye.get("text")
    if bye.get("event") != "bye" or not isinstance(text, str):
        return None
    return OSError(errno.EPROTO, f"{OUTSIDE}: {printable(text[:LAST_WORD]).rstrip('.')}")
