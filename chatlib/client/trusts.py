"""Whom the client takes for its servers on TLS, where there are several: each is judged by itself, by its own address.

A password that was given to one server is proven to another by itself, when the first is gone. So from then on
(``strict``) a server that nobody vouches for is not met without a person: it is passed over, and `ask` hears of it.
Somebody vouches for it when a CA does, when it was met before, or when its certificate is that of a server that was met
before or has proven itself in this run: who has the key of that one is as good as that one.

Must not know sockets. Legal order: ``of`` at any time; ``accept``, ``refuse`` or ``withdraw`` behind `ask`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from pathlib import Path

from chatlib.client.addresses import ServerAddress
from chatlib.client.trust import KnownServers, NotMet, Trust

MAX_SETTLED = 1_000  # what a person has heard or refused is known so far


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
        self._settled: set[tuple[str, str]] = set()  # what was told or refused, and needs no second time
        self._asked: tuple[str, str] | None = None

    def of(self, address: ServerAddress) -> Trust:
        """For the server there. Raises ValueError for a bad `cafile`."""
        if address.key not in self._trusts:
            self._trusts[address.key] = Trust(
                *address, cafile=self._cafile, known=self._known, complain=self._complain,
                may_meet=lambda found: not self.strict or found in self._proven, proven=self._proven.add,
            )  # fmt: skip
        return self._trusts[address.key]

    def keep(self, keys: Container[str]) -> None:
        """Forgets all others."""
        self._trusts = {key: trust for key, trust in self._trusts.items() if key in keys}

    def passed_over(self, why: str) -> None:
        """A server was not trusted, and others are there: whoever runs the client hears of it, once."""
        if self._is_new(("", why)):
            self._complain(why)

    def unmet(self, servers: Sequence[NotMet]) -> None:
        """These were passed over, and no other is there. A person is asked about one at a time."""
        for each in servers:
            about = each.place, each.fingerprint
            if self._ask is None:
                self.passed_over(f"{each} {self._advice(each)}")
            elif self._asked is None and about not in self._settled:
                self._asked = about
                self._ask(*about)

    def _is_new(self, about: tuple[str, str]) -> bool:
        is_new = about not in self._settled and len(self._settled) < MAX_SETTLED
        if is_new:
            self._settled.add(about)
        return is_new

    def _advice(self, unmet: NotMet) -> str:
        if self._known is None:
            return "So it is passed over: a CA that vouches for it (cafile) would spare that."
        line = f"{unmet.place} {unmet.fingerprint}"
        return f'So it is passed over: when it is the right one, add the line "{line}" to {self._known.path}.'

    def accept(self, place: str, found: str) -> None:
        """A person has said that this fingerprint is the right one of the server at `place`."""
        self._asked = None
        if place in self._trusts:
            self._trusts[place].accept(found)

    def refuse(self, place: str, found: str) -> None:
        """It is not: nobody is asked again."""
        self._asked = None
        self._is_new((place, found))

    def withdraw(self) -> None:
        """What was asked needs no answer now, and may be asked again."""
        self._asked = None
