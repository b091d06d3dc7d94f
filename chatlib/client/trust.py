"""Whom the client takes for its server on TLS: one that a CA vouches for, or one whose certificate it has met before.

Must not know sockets, nor what is said. Without a CA nothing vouches for a certificate that is met for the first time:
whoever shows its fingerprint to a person does so before a password is typed, and it is remembered (``proven``) when the
server has proven that it knows the password's verifier and has this very certificate, or with a new account, which can
prove nothing. Invariants: whatever was met first holds for as long as the program runs; what is remembered is never
replaced, only refused; a list that cannot be read lets nobody in.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path

from chatlib.client.addresses import ServerAddress
from chatlib.protocol.certificate import end_point, fingerprint
from chatlib.protocol.text import printable
from chatlib.reactor.tlsstream import TlsStream

_FINGERPRINT = re.compile("SHA256:[0-9a-f]{64}")


class NotTrusted(Exception):
    """Whoever answers is not the server, or may not be; the message is for people."""


class NotMet(NotTrusted):
    """Nobody vouches for whoever answers, and a password was given already, to another server."""

    def __init__(self, server: str, place: str, found: str) -> None:
        self.place, self.fingerprint = place, found
        super().__init__(f"{server} was not met over TLS before: its certificate has the fingerprint {found}. "
                         "Nothing was sent.")  # fmt: skip


FILE = "known_servers.txt"


class KnownServers:
    """The file of those met before, ``HOST:PORT SHA256:hex`` a line; a person may add and remove lines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, place: str) -> list[tuple[int, str]]:
        """What is remembered of the server at `place`, with the numbers of the lines. Raises OSError."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except (FileNotFoundError, NotADirectoryError):
            return []
        words = [(number, line.split()) for number, line in enumerate(lines, 1)]
        return [(number, " ".join(found[1:])) for number, found in words if found and found[0].lower() == place]

    def add(self, place: str, found: str) -> None:
        """Remembers it, unless another client has remembered something meanwhile. Raises OSError."""
        self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(fd, fcntl.LOCK_EX)
            if not self.of(place):
                size = os.fstat(fd).st_size
                torn = size and os.pread(fd, 1, size - 1) != b"\n"
                os.write(fd, (b"\n" if torn else b"") + f"{place} {found}\n".encode())
        finally:
            os.close(fd)


class Certificate:
    """The server's, on one connection. `is_new`: nobody vouches for it yet, and it was not met before."""

    def __init__(self, der: bytes, is_new: bool, proven: Callable[[], object]) -> None:
        self.fingerprint, self.binding = fingerprint(der), end_point(der)
        self.is_new = is_new
        self._proven = proven

    def proven(self) -> None:
        """A proof that is bound to it holds, or an account was made over it."""
        if self.is_new:
            self.is_new = False
            self._proven()


class Trust:
    """For one server, at `host` and `port` as a person names them. `cafile`: who vouches for it; `known`: who was met
    before, where no CA is asked. `complain` is told in a sentence, once, what cannot be remembered."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        cafile: Path | None = None,
        known: KnownServers | None = None,
        complain: Callable[[str], None] = lambda _: None,
        may_meet: Callable[[str], bool] = lambda _: True,
        proven: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`may_meet`: whether a server with this fingerprint may be met for the first time now; `proven` hears of one
        that is. Raises ValueError, with a sentence, for a `cafile` that is none."""
        self._host, self._cafile, self._known, self._complain = host, cafile, known, complain
        self._server = f"The server {host} port {port}"
        self._place = ServerAddress(host, port).key
        self._context = context_of(cafile)
        self._may_meet, self._proven = may_meet, proven
        self._met = ""  # its fingerprint, in this run

    def stream(self) -> TlsStream:
        """For a new connection."""
        return TlsStream(self._context, server=False, host=self._host if self._cafile else None)

    def unvouched(self, error: ssl.SSLCertVerificationError) -> NotTrusted:
        """The CA does not vouch for what the server shows."""
        why = printable(error.verify_message).rstrip(".")
        return NotTrusted(
            f"{self._server} shows a certificate that {self._cafile} does not vouch for: {why}. Nothing was sent."
        )

    def judge(self, der: bytes) -> Certificate:
        """The certificate that a connection's handshake has shown. Raises NotTrusted."""
        if not der:
            raise NotTrusted(f"{self._server} shows no certificate. Nothing was sent.")
        found = fingerprint(der)
        is_new = False
        if self._cafile is None:
            is_new = not self._is_known(found)
            if self._met and found != self._met:
                raise NotTrusted(
                    f"{self._server} shows another certificate than a moment ago: {found} now, {self._met} then. "
                    "Nothing was sent. Whoever runs the server can say which is right: it prints its own at its start."
                )
            if is_new and not self._met and not self._may_meet(found):
                raise NotMet(self._server, self._place, found)
            self._met = found
            if not is_new:
                self._proven(found)
        return Certificate(der, is_new, lambda: self._remember(found))

    def accept(self, found: str) -> None:
        """A person has said that this is the server's."""
        self._met = self._met or found

    def _is_known(self, found: str) -> bool:
        if self._known is None:
            return False
        try:
            lines = self._known.of(self._place)
        except OSError as error:
            raise NotTrusted(f"Cannot read {self._known.path} ({error.strerror}): whether this is the server that you "
                             "know cannot be said. Nothing was sent.") from None  # fmt: skip
        if not lines or any(each == found for _, each in lines):
            return bool(lines)
        number, known = lines[0]
        where = f"line {number} of {self._known.path}"
        if not _FINGERPRINT.fullmatch(known):
            raise NotTrusted(f"{self._server} has the certificate {found}, and {where} holds no whole fingerprint of "
                             "it: correct that line, or remove it. Nothing was sent.")  # fmt: skip
        raise NotTrusted(
            f"{self._server} does not have the certificate that it had: {found} now, {known} before. Either it has a "
            "new one, or somebody stands in between. Nothing was sent. Compare the new one with what the server prints "
            f"at its start: if it is the same, remove {where}, and connect again."
        )

    def _remember(self, found: str) -> None:
        self._proven(found)
        if self._known is not None:
            try:
                self._known.add(self._place, found)
            except OSError as error:
                self._complain(f"Cannot write to {self._known.path} ({error.strerror}): "
                               "the server's certificate is not remembered.")  # fmt: skip


def context_of(cafile: Path | None) -> ssl.SSLContext:
    """What TLS asks of a server. Raises ValueError for a file that holds no CA's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = cafile is not None
    context.verify_mode = ssl.CERT_NONE if cafile is None else ssl.CERT_REQUIRED
    if cafile is not None:
        try:
            context.load_verify_locations(cafile)
        except ssl.SSLError:
            raise ValueError(f'"{cafile}" holds no certificate') from None
        except OSError as error:
            raise ValueError(f'"{cafile}" cannot be read: {error.strerror}') from None
    return context
