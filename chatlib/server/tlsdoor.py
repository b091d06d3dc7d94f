"""The door for TLS: a connection whose first byte is that of a TLS record goes on inside; and who may stay outside.

States: no TLS, until ``begin`` or REQUIRE_TLS want it; then a certificate is loaded, and shown to whoever comes. A
reload takes a new one, for new connections; one that cannot be used is refused, and the old one stays. Where there is
none to show (it could not be made, and REQUIRE_TLS turns everybody else away) nobody comes in, and the administrator is
told why.

Must not know what is said inside. Legal order: ``begin`` before anybody connects; then any call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from chatlib.core.replies import refusal
from chatlib.core.world import Reply
from chatlib.reactor.budget import Budget
from chatlib.reactor.connection import Connection
from chatlib.reactor.jobs import Job
from chatlib.reactor.loop import Loop
from chatlib.reactor.presented import Presented, Unusable, load
from chatlib.reactor.tls import UNLIMITED, TlsConnection
from chatlib.server.dialects import Opening
from chatlib.server.session import Session
from chatlib.storage import tlsfile
from chatlib.storage.textfile import FileError

HANDSHAKES = 0.002  # seconds of handshakes in one tick
HELLO = 16_384  # bytes that a peer may send until its handshake is over
REMEMBERED = 1_000  # sessions of TLS 1.2 that OpenSSL may keep: then another context takes over
SOON = 30 * 86_400.0  # seconds before its end that a certificate is warned of
_RECORD = 0x16  # a TLS record that holds a handshake; no other dialect begins with it
_NO_TLS_HERE = bytes((21, 3, 1, 0, 2, 2, 40))  # an alert: fatal, handshake_failure
_REQUIRED: Final = "This server takes TLS connections only: start the client with --tls."

Tell = Callable[[str], None]


class TlsDoor:
    """One server's. `offered`: whether whoever comes may have TLS."""

    def __init__(
        self, loop: Loop, parameters: Mapping[str, Any], own: Path, limit: int, tell: Tell, count: Callable[[str], None]
    ) -> None:
        """`own`: the file of the server's own certificate. `limit`: as for connections. `tell`: the administrator."""
        self._loop, self._parameters, self._own, self._limit = loop, parameters, own, limit
        self._tell, self._count = tell, count
        self._files = own, own  # the certificate, and its key
        self._shown: Presented | None = None
        self._exchanged: Presented | None = None  # shown still, though its file holds another by now
        self._shaking = Budget(loop, HANDSHAKES)
        self._job: Job | None = None  # makes the server's own certificate
        self._begun = False
        self.opening = Opening("TLS", lambda data: data[0] == _RECORD, self._come)

    # Having a certificate.

    def begin(self, wanted: bool, chain: Path | None = None, key: Path | None = None) -> None:
        """Offers TLS, if that is `wanted` or a parameter wants it. `chain`, `key`: files of another certificate.

        Raises FileError, OSError.
        """
        self._begun = True
        if chain is not None:
            self._files = chain, key or chain
        if wanted or self.required:
            if self._files[0] == self._own and not self._own.exists():
                tlsfile.make(self._own)
            try:
                self._show(self._load())
            except Unusable as wrong:
                raise FileError(self._remedy(wrong)) from None
        elif self._own.exists():
            self._tell("TLS is off, and this home has a certificate: whoever came with --tls cannot. Start with --tls.")

    def _load(self) -> Presented:
        """What the files hold. Raises Unusable."""
        shown = load(*self._files)
        if self._files[0] == self._own and tlsfile.is_damaged(self._own):
            raise Unusable(f"{self._own} is damaged (its checksum does not fit)")
        return shown

    def _remedy(self, wrong: Unusable) -> str:
        if self._files[0] != self._own:
            return str(wrong)
        return f"{wrong}. Restore it from a backup, or move it away: a new one is made, which clients must be told of"

    def _show(self, shown: Presented) -> None:
        self._shown = shown
        left = shown.expires - time.time()
        if left < SOON:
            day = time.strftime("%Y-%m-%d", time.gmtime(shown.expires))
            what = "has expired on" if left <= 0 else "expires on"
            self._tell(f"The certificate of this server {what} {day}: clients that check it refuse it from then on.")

    def reload(self, tell: Tell) -> None:
        """Takes a certificate that has been exchanged."""
        if self._shown is None:
            self.policy_changed()
            return
        try:
            new = self._load()
            if new.fingerprint == self._shown.fingerprint:
                self._shown = new  # what vouches for it may be another
                return
            if new.expires <= time.time():
                raise Unusable(f"{self._files[0]}: that certificate has expired")
        except Unusable as wrong:
            tell(f"The certificate stays as it is: {wrong}.")
            return
        self._show(new)
        tell(f"New certificate, for connections from now on: {new.fingerprint}.")

    def policy_changed(self) -> None:
        """REQUIRE_TLS may be another: it wants a certificate, too."""
        if not self._begun or not self.required or self._shown is not None or self._job is not None:
            return
        if self._files[0] == self._own and not self._own.exists():
            self._job = Job(self._loop, self._make, self._made)
        else:
            self._turn_on()

    def _make(self) -> bytes:
        tlsfile.make(self._own)
        return b""

    def _made(self, _answer: bytes, failure: str) -> None:
        self._job = None
        if failure:
            self._tell(f"Nobody can come in: REQUIRE_TLS is yes, but there is no certificate. {failure}.")
        else:
            self._turn_on()

    def _turn_on(self) -> None:
        try:
            self._show(self._load())
        except Unusable as wrong:
            self._tell(f"Nobody can come in: REQUIRE_TLS is yes, but there is no certificate. {self._remedy(wrong)}.")
        else:
            self._tell(f"TLS is on. The certificate is {self.fingerprint}.")

    def end(self) -> None:
        """The server stops."""
        if self._job is not None:
            self._job.end()
            self._job = None

    # What is known.

    @property
    def offered(self) -> bool:
        """Whether whoever comes may have TLS."""
        return self._shown is not None

    @property
    def required(self) -> bool:
        """Whether whoever comes must have it."""
        return bool(self._parameters["REQUIRE_TLS"] == "yes")

    @property
    def fingerprint(self) -> str:
        """Of the certificate that is shown; nothing where there is none."""
        return self._shown.fingerprint if self._shown else ""

    def refusal(self, session: Session) -> Reply:
        """Why `session` may not come in, or nothing."""
        return refusal("TLS_REQUIRED", _REQUIRED) if self.required and not session.binding else {}

    # Whoever comes.

    def _come(self, session: Session, _data: bytes) -> None:
        if session.binding:
            session.end("PROTOCOL_ERROR", "TLS inside TLS is not spoken here.")
        elif self._shown is None:
            session.say(_NO_TLS_HERE)
            session.end_without_bye()
        else:
            go_inside = partial(self._go_inside, session, self._shown, session.intake.rest())
            if self._shaking.free():
                go_inside()
            else:  # the first step of a handshake, and what it needs of memory, wait for their turn
                session.connection.pause_reading()
                self._shaking.wait(go_inside)

    def _go_inside(self, session: Session, shown: Presented, first: bytes) -> None:
        begun, below = perf_counter(), session.connection
        if session.over or not below.open:
            return
        assert isinstance(below, Connection)
        below.resume_reading()
        tls = TlsConnection(
            self._loop, below, shown.context, session, server=True, limit=self._limit,
            shaking=self._shaking, on_secured=partial(self._secured, session), allowance=HELLO,
        )  # fmt: skip
        session.goes_on_inside(tls, shown.binding)
        self._count("TLS: connections")
        if shown.remembers > REMEMBERED and shown is not self._exchanged:
            self._renew(shown)
        self._shaking.spend(perf_counter() - begun)
        tls.begin(first)

    def _secured(self, session: Session) -> None:
        assert isinstance(session.connection, TlsConnection)
        session.connection.allowance = UNLIMITED
        self._count("TLS: handshakes")

    def somebody_in_between(self) -> None:
        """A proof was bound to another channel than the one on which it came."""
        self._count("TLS: proofs of another channel")

    def _renew(self, shown: Presented) -> None:
        """The same certificate with nothing remembered; a file that was exchanged meanwhile waits for a reload."""
        try:
            new = self._load()
        except Unusable:
            self._exchanged = shown
            return
        if new.fingerprint == shown.fingerprint:
            self._shown = new
        else:
            self._exchanged = shown
