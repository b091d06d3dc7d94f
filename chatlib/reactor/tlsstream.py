"""TLS without I/O: records in and out, plain bytes out and in; and TLS 1.2 without certificates.

Must not know sockets, nor what the plain bytes mean. Legal order: ``shake`` until ``secured``, then ``read`` and
``write``; ``take_in`` before and ``give_out`` after any of them. Invariants: it keeps no more than what was taken in
and a part of one record; a peer whose records say nearly nothing (new keys, again and again) is refused; nobody
negotiates anew, so what a channel is bound to (``binding``) holds as long as it does.
"""

from __future__ import annotations

import contextlib
import ssl

RECEIVE = 65_536  # plain bytes asked for at once
HOLLOW = 24_576  # bytes of records that may come and say nothing: more than one record has, and far more than new keys,
WORTH = 32  # and so many of them are made good by each plain byte. New keys for 27 bytes cost 10 µs.
ANONYMOUS = "AECDH-AES256-SHA:@SECLEVEL=0"  # without certificates: who it is must be proven inside

_OPTIONS = ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


class Hollow(ssl.SSLError):
    """A peer whose records say nothing."""

    reason = "RECORDS_THAT_SAY_NOTHING"


class NoAnonymousTls(Exception):
    """This platform's OpenSSL has no ciphers without certificates, or refuses to use them."""


def anonymous_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A listener's and a caller's, for TLS 1.2 without certificates, tried on each other. Raises NoAnonymousTls."""
    try:
        listener, caller = (_anonymous(side) for side in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT))
        _try(listener, caller)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise NoAnonymousTls(getattr(error, "reason", None) or str(error)) from None
    return listener, caller


def _anonymous(side: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 has no such ciphers, and no tls-unique
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ANONYMOUS)
    context.options |= _OPTIONS
    return context


def _try(listener: ssl.SSLContext, caller: ssl.SSLContext) -> None:
    """Shakes hands in memory: what a platform lets one ask for, it may still refuse to do."""
    ends = [TlsStream(listener, server=True), TlsStream(caller, server=False)]
    for _ in range(3):
        for end, other in ((ends[1], ends[0]), (ends[0], ends[1])):
            end.shake()
            other.take_in(end.give_out())
    if not all(end.secured and end.binding for end in ends):
        raise ValueError("a handshake without certificates does not come to its end")


class TlsStream:
    """TLS without I/O: records in and out. Raises ssl.SSLError for what the peer may not do."""

    __slots__ = ("_hollow", "_in", "_out", "_tls", "over", "secured")

    def __init__(self, context: ssl.SSLContext, *, server: bool, host: str | None = None) -> None:
        context.options |= ssl.OP_NO_RENEGOTIATION
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server, server_hostname=host)
        self._hollow = 0  # bytes of records that came, and that no plain bytes have made good
        self.secured = False
        self.over = False  # the peer has announced its end

    @property
    def binding(self) -> bytes:
        """What TLS 1.2 alone knows of this very channel (``tls-unique``); nothing where one cannot rely on it."""
        if not self.secured or self._tls.session_reused or self._tls.version() == "TLSv1.3":
            return b""
        return self._tls.get_channel_binding("tls-unique") or b""

    @property
    def certificate(self) -> bytes:
        """What the peer shows (DER); nothing before the handshake is over, or where it has none."""
        return (self._tls.getpeercert(binary_form=True) or b"") if self.secured else b""

    def take_in(self, records: bytes) -> None:
        self._in.write(records)
        self._hollow += len(records)

    @property
    def pending(self) -> int:
        """How many bytes of records there are for the peer."""
        return self._out.pending

    def give_out(self) -> bytes:
        return self._out.read() if self._out.pending else b""

    def shake(self) -> None:
        """One step of the handshake, as far as what is here goes."""
        if not self.secured:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                return
            self.secured, self._hollow = True, 0

    def _came(self, plain: int) -> None:
        """So many plain bytes did. Raises ssl.SSLError."""
        self._hollow = max(0, self._hollow - WORTH * plain)
        if self._hollow > HOLLOW and not self.over:
            raise Hollow

    def read(self) -> bytes:
        """The plain bytes of all whole records."""
        pieces: list[bytes] = []
        try:
            while not self.over:
                piece = self._tls.read(RECEIVE)
                if piece:
                    pieces.append(piece)
                else:
                    self.over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.over = True
        plain = b"".join(pieces)
        self._came(len(plain))
        return plain

    def read_into(self, buffer: memoryview) -> int:
        """Puts the plain bytes of all whole records there; how many. They need less room than the records."""
        count = 0
        try:
            while not self.over:
                got: int = self._tls.read(RECEIVE, buffer[count:])  # type: ignore[assignment]
                count += got
                self.over = not got
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.over = True
        self._came(count)
        return count

    def write(self, plain: bytes | memoryview) -> None:
        self._tls.write(plain)

    def finish(self) -> None:
        """Announces the end of what is sent."""
        with contextlib.suppress(ssl.SSLError, ValueError):  # the peer's own end is awaited
            self._tls.unwrap()
