"""Who else can read along, as far as a person has to know: TLS as the command line wants it, and what is said of it.

Must not know what is talked about. Legal order: ``lines`` before a person is asked for a password.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chatlib.client.link import Link
from chatlib.client.memory import default_folder
from chatlib.client.trust import FILE, KnownServers, Trust, place_of
from chatlib.program.options import Options
from chatlib.program.sentences import entry as say
from chatlib.program.sentences.book import Line


def trust_of(options: Options, environ: Mapping[str, str], complain: Callable[[str], None]) -> Trust | None:
    """Whom the program is to believe; None: it talks without TLS."""
    if not options.tls:
        return None
    return Trust(options.host, options.port, cafile=options.cafile, known=_known(environ), complain=complain)


def _known(environ: Mapping[str, str]) -> KnownServers:
    return KnownServers(default_folder(environ) / FILE)


class Secrecy:
    """What is said once: that others can read along, or which certificate was met for the first time."""

    def __init__(self, link: Link, options: Options, environ: Mapping[str, str]) -> None:
        self._link = link
        self._known, self._place = _known(environ), place_of(options.host, options.port)
        self._said = False

    def lines(self, offers_tls: bool) -> list[Line]:
        """The server has answered; `offers_tls`: it says that it could talk over TLS."""
        if self._said or self._link.peer is None:
            return []
        self._said = True
        certificate = self._link.certificate
        if certificate is not None:
            return say.first_contact(certificate.fingerprint) if certificate.is_new else []
        return [] if self._link.peer.is_loopback else [say.readable(offers_tls, self._was_met())]

    def _was_met(self) -> bool:
        try:
            return bool(self._known.of(self._place))
        except OSError:
            return False
