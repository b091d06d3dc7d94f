"""Which server to try next: those that a person has named, in a random order, then those that a server has named.

A round tries each once. It ends with a server where a session lasts, or when all were tried; then another may begin.
The server whose session was lost is the last of the next round. Must not know sockets, nor what is said.
Legal order: ``next`` until it is None, then ``end``; between two of them what became of the one at hand.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from chatlib.client.addresses import ServerAddress, addresses_of
from chatlib.client.failures import NO_SUCH_HOST, no_tls, none_reached, unreachable
from chatlib.client.sockets import Way
from chatlib.client.trust import NotMet, NotTrusted
from chatlib.client.trusts import Trusts
from chatlib.reactor.connector import SocketAddress


class Failure(NamedTuple):
    """Why a server was not reached. `short`: in a few words; `text`: for people, where it is the only one. `final`:
    trying again is of no use."""

    short: str
    text: str
    final: bool = False


class Servers:
    """Of one client. `own`: those that a person has named. `trusts`: whom to believe; None: no TLS."""

    def __init__(
        self,
        own: str | Sequence[ServerAddress],
        trusts: Trusts | None = None,
        shuffle: Callable[[list[ServerAddress]], None] = random.shuffle,
    ) -> None:
        """Raises ValueError, with a sentence, for addresses that are none, and for trust that cannot be."""
        self.own = addresses_of(own) if isinstance(own, str) else tuple(own)
        self.at = self.own[0]  # the one that is tried, or that there is a connection to
        self.trusts = trusts
        if trusts is not None:
            trusts.of(self.at)  # a CA's file that is none is told now
        self._shuffle = shuffle
        self._learned: Sequence[ServerAddress] = ()
        self._round: list[ServerAddress] | None = None  # who was not tried yet; None: the next one begins a round
        self._keys: set[str] = set()  # of all in this round, tried or not
        self._ways: list[SocketAddress] = []  # of `at`, not tried yet
        self._tried: set[SocketAddress] = set()  # in this round
        self._lost: Way | None = None  # a session was lost there, and it is the last one of this round
        self._failures: dict[ServerAddress, Failure] = {}  # in this round
        self._unmet: list[NotMet] = []
        self._found: dict[ServerAddress, list[SocketAddress]] = {}
        self._nameless: set[ServerAddress] = set()  # whose name was not found when it was looked up last

    @property
    def more(self) -> bool:
        """Whether another server is left in this round."""
        return any(each != self.at for each in self._round or ())

    @property
    def others(self) -> bool:
        """Whether there is another server at all."""
        return any(each.key != self.at.key for each in (*self.own, *self._learned))

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len({each.key for each in (*self.own, *self._learned)}) > 1

    def learn(self, addresses: Sequence[ServerAddress]) -> None:
        """A server that has proven itself says who else there is. What was known of others is forgotten."""
        self._learned = addresses
        if self._round is not None:
            self._join(self._round, addresses)
        here = {each.key for each in (*self.own, *addresses, self.at)}
        self._found = {each: ways for each, ways in self._found.items() if each.key in here}
        self._nameless &= self._found.keys() | set(self.own)
        if self.trusts is not None:
            self.trusts.keep(here)

    def next(self) -> Way | None:
        """How to reach the next one; None: all were tried, see ``end``."""
        if self._round is None:
            self._begin()
        assert self._round is not None
        while True:
            while self._ways:
                address = self._ways.pop(0)
                if address not in self._tried:
                    self._tried.add(address)
                    return Way(address, None if self.trusts is None else self.trusts.of(self.at))
            if not self._round:
                return None
            self.at = self._round.pop(0)
            if self._lost is not None and not self._round:
                self._tried.discard(self._lost.address)
            self._ways = self._resolve()

    def reached(self) -> None:
        """A connection stands: no other way to the same server is needed."""
        self._ways = []
        self._warn()

    def steady(self, way: Way | None) -> None:
        """A session lasts: when it is lost, all others are tried, and this one last."""
        lost = self.at
        self._begin()
        assert self._round is not None
        self._round = [*(each for each in self._round if each != lost), lost]
        if way is not None:
            self._lost, self._tried = way, {way.address}

    def _begin(self) -> None:
        own = list(self.own)
        self._shuffle(own)
        self._round = sorted(own, key=lambda each: each in self._nameless)
        self._keys = {each.key for each in own}
        self._join(self._round, self._learned)
        self._ways, self._tried, self._lost = [], set(), None
        self._failures, self._unmet = {}, []

    def _resolve(self) -> list[SocketAddress]:
        """Where the one at hand may be; a name is looked up once, because that may take long and blocks."""
        if self.at not in self._found:
            try:
                found = socket.getaddrinfo(*self.at, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                self._nameless.add(self.at)
                self.unreached(NO_SUCH_HOST, getattr(error, "strerror", None) or "", False)
                return []
            self._nameless.discard(self.at)
            self._found[self.at] = [(family, address) for family, _, _, _, address in found]
        return list(self._found[self.at])

    def _join(self, one_round: list[ServerAddress], addresses: Sequence[ServerAddress]) -> None:
        """These are tried, too, behind all others, if they are no part of the round yet."""
        others = [each for each in addresses if each.key not in self._keys]
        self._shuffle(others)
        self._keys.update(each.key for each in others)
        one_round += others

    # What did not work.

    def unreached(self, number: int, reason: str, of_tls: bool) -> None:
        """No connection to the one at hand: an errno, or a sentence; `of_tls`: it answers, and speaks no TLS."""
        short = reason or (os.strerror(number) if number else "no such host")
        self.failed(short, no_tls(*self.at, short) if of_tls else unreachable(*self.at, number, reason))

    def failed(self, short: str, text: str) -> None:
        """It was of no use to try the one at hand."""
        self._failures[self.at] = Failure(short, text)

    def not_trusted(self, why: NotTrusted) -> None:
        """Whoever answers may not be the one at hand."""
        self._ways = []
        self._failures[self.at] = Failure("it is not trusted", str(why), final=not isinstance(why, NotMet))
        if isinstance(why, NotMet):
            self._unmet.append(why)

    def end(self) -> tuple[str, str]:
        """The round is over, and none is reached: the status and the text of that."""
        self._warn()
        failures, self._round = self._failures, None
        if self.trusts is not None and self._unmet:
            self.trusts.unmet(self._unmet)
        if len(failures) == 1:
            text = next(iter(failures.values())).text
        else:
            text = none_reached([f"{at} ({each.short.rstrip('.')})" for at, each in failures.items()])
        return ("NOT_TRUSTED" if all(each.final for each in failures.values()) else "UNREACHABLE"), text

    def over(self) -> None:
        """The round is over, although one was reached."""
        self._round = None

    def _warn(self) -> None:
        """Somebody may stand where one of several servers was: whoever runs the client hears of it, once."""
        if self.trusts is not None and self.several:
            for each in self._failures.values():
                if each.final:
                    self.trusts.passed_over(each.text)
