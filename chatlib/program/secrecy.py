"""Who else can read along, as far as a person has to know: TLS as the command line wants it, and what is said of it.

Must not know what is talked about. Legal order: ``lines`` before a person is asked for a password.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chatlib.client.link import Link
from chatlib.client.memory import default_folder
from chatlib.client.servers import Servers
from chatlib.client.trust import FILE, KnownServers
from chatlib.client.trusts import Trusts
from chatlib.program.options import Options
from chatlib.program.sentences import entry as say
from chatlib.program.sentences.book import Line


def servers_of(
    options: Options,
    environ: Mapping[str, str],
    complain: Callable[[str], None],
    ask: Callable[[str, str], None] | None = None,
) -> Servers:
    """Whom the program calls, and whom it is to believe. `ask` is told place and fingerprint of a server that nobody
    vouches for, when only a person can say whether it is the right one."""
    trusts = Trusts(cafile=options.cafile, known=_known(environ), complain=complain, ask=ask) if options.tls else None
    return Servers(options.servers, trusts)


def _known(environ: Mapping[str, str]) -> KnownServers:
    return KnownServers(default_folder(environ) / FILE)


class Secrecy:
    """What is said once: that others can read along, or, for each server, which certificate was met for the first
    time."""

    def __init__(self, link: Link, environ: Mapping[str, str]) -> None:
        self._link = link
        self._known = _known(environ)
        self._said: set[str] = set()

    def lines(self, offers_tls: bool) -> list[Line]:
        """The server has answered; `offers_tls`: it says that it could talk over TLS."""
        way, certificate = self._link.peer, self._link.certificate
        if way is None or (certificate is None and way.is_loopback):
            return []
        about = certificate.fingerprint if certificate else "plain"
        if about in self._said:
            return []
        self._said.add(about)
        if certificate is not None:
            return say.first_contact(self._link.at.key, certificate.fingerprint) if certificate.is_new else []
        return [say.readable(offers_tls, self._was_met())]

    def _was_met(self) -> bool:
        try:
            return bool(self._known.of(self._link.at.key))
        except OSError:
            return False
