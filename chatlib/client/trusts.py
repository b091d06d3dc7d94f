"""Whom the client takes for its servers on TLS, where there are several: each is judged by itself, by its own address.

A password that was given to one server is proven to another by itself, when the first is gone. So from then on
(``strict``) a server that nobody vouches for is not met without a person: it is passed over, and ``ask`` hears of it.
Somebody vouches for it when a CA does, when it was met before, or when its certificate is that of a server that was met
before or has proven itself in this run: who has the key of that one is as good as that one.

Must not know sockets. Legal order: ``of`` at any time; ``accept`` or ``refuse`` behind ``ask``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chatlib.client.addresses import ServerAddress
from chatlib.client.trust import KnownServers, NotMet, Trust

MAX_REFUSED = 1_000  # what a person has refused is kept so far


class Trusts:
    """Of one client. `cafile`, `known` and `complain`: as Trust wants them. `ask` is told place and fingerprint."""

    def __init__(
        self,
        *,
        cafile: Path | None = None,
        known: KnownServers | None = None,
        complain: Callable[[str], None] = lambda _: None,
        ask: Callable[[str, str], None] | None = None,
    ) -> None:
        self.strict = False
        self._cafile, self._known, self._complain = cafile, known, complain
        self._ask = ask
        self._trusts: dict[str, Trust] = {}
        self._proven: set[str] = set()  # fingerprints
        self._settled: set[tuple[str, str]] = set()  # what was asked, or told, and needs no second time

    def of(self, address: ServerAddress) -> Trust:
        """For the server there. Raises ValueError for a bad `cafile`."""
        if address.key not in self._trusts:
            self._trusts[address.key] = Trust(
                *address, cafile=self._cafile, known=self._known, complain=self._complain,
                may_meet=lambda found: not self.strict or found in self._proven, proven=self._proven.add,
            )  # fmt: skip
        return self._trusts[address.key]

    def passed_over(self, why: str, *, unmet: NotMet | None = None) -> None:
        """A server was not trusted, and others are there: whoever runs the client hears of it, once."""
        about = (unmet.place, unmet.fingerprint) if unmet else ("", why)
        if about in self._settled or len(self._settled) >= MAX_REFUSED:
            return
        self._settled.add(about)
        if unmet is None or self._ask is None:
            self._complain(why if unmet is None else f"{why} {self._advice(unmet)}")
        else:
            self._ask(*about)

    def _advice(self, unmet: NotMet) -> str:
        if self._known is None:
            return "So it is passed over: a CA that vouches for it (cafile) would spare that."
        line = f"{unmet.place} {unmet.fingerprint}"
        return f'So it is passed over: when it is the right one, add the line "{line}" to {self._known.path}.'

    def withdraw(self, place: str, found: str) -> None:
        """It was asked, and needs no answer now; it may be asked again."""
        self._settled.discard((place, found))

    def accept(self, place: str, found: str) -> None:
        """A person has said that this fingerprint is the right one of the server at `place`."""
        if place in self._trusts:
            self._trusts[place].accept(found)
