"""Strangers: connections that have not logged in; which of them are heard, and which goes when there are too many.

Of one place (:func:`chatlib.protocol.network.place`) so many are heard at once. The next ones wait, unread, until one
of those has logged in or gone: a class behind one router comes back through a few connections at a time, and nobody is
refused. Whoever has said nothing for SILENT seconds gives way to somebody who waits.

When there are too many in all, the newest of the place that has the most goes: whoever opens many drives out his own,
and a person who is typing a password stays. Where no place has more than one, the oldest goes: else somebody with many
addresses, as one network of IPv6 has, would keep everybody out with a connection of each, for as long as each may
stay. Every operation costs the same, however many there are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from chatlib.protocol.network import place
from chatlib.server.session import Session

WAITING = 3  # times as many of one place may wait as are heard
SILENT = 5.0  # seconds without a first request


@dataclass(slots=True)
class _Place:
    """One place's, each in the order in which they came. `silent`: of those heard, who said nothing yet, since when."""

    all: dict[Session, None] = field(default_factory=dict)
    waiting: OrderedDict[Session, None] = field(default_factory=OrderedDict)
    silent: OrderedDict[Session, float] = field(default_factory=OrderedDict)


class Strangers:
    """All of them. `limit`: how many of a place are heard at once, 0: all. `leave` and `heard` are legal at any time,
    also for one that is not among them."""

    def __init__(self, limit: Callable[[str], int], now: Callable[[], float]) -> None:
        self._limit, self._now = limit, now
        self._places: dict[str, _Place] = {}
        self._by_count: dict[int, dict[str, None]] = {}  # places that have so many
        self._most = 0  # what the greediest place has
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def room(self, address: str, most: int) -> bool:
        """Whether one more may come from there, where there may be `most` in all (0: any number)."""
        where = place(address)
        found = self._places.get(where)
        if found is None:
            return True
        if most and self._count >= most and len(found.all) >= self._most:
            return False  # it would be the one to go
        limit = self._limit(where)
        return not limit or len(found.all) < (1 + WAITING) * limit

    def come(self, stranger: Session, at_once: bool = False) -> None:
        """One more. `at_once`: it need not wait."""
        where, now = place(stranger.address), self._now()
        found = self._places.get(where)
        if found is None:
            found = self._places[where] = _Place()
        found.all[stranger] = None
        self._count += 1
        self._recount(where, len(found.all) - 1, len(found.all))
        limit = 0 if at_once else self._limit(where)
        if limit and len(found.all) - len(found.waiting) > limit:
            found.waiting[stranger] = None
            stranger.wait()
            longest, since = next(iter(found.silent.items()), (None, now))
            if longest is not None and now - since >= SILENT:
                longest.end("TIME_OUT", f"You said nothing for {SILENT:g} seconds, and others wait.")
        elif not at_once:
            found.silent[stranger] = now

    def heard(self, stranger: Session) -> None:
        """It has said hello."""
        found = self._places.get(place(stranger.address))
        if found is not None:
            found.silent.pop(stranger, None)

    def leave(self, stranger: Session) -> None:
        """One has logged in, waits for a seat, or is gone. Another one of its place is heard."""
        where = place(stranger.address)
        found = self._places.get(where)
        if found is None or stranger not in found.all:
            return
        del found.all[stranger]
        found.silent.pop(stranger, None)
        found.waiting.pop(stranger, None)
        self._count -= 1
        if not found.all:
            del self._places[where]
        self._recount(where, len(found.all) + 1, len(found.all))
        self._let_in(where, found)

    def look_again(self) -> None:
        """The limit is another one, perhaps."""
        for where, found in list(self._places.items()):
            self._let_in(where, found)

    def _let_in(self, where: str, found: _Place) -> None:
        limit = self._limit(where)
        while found.waiting and (not limit or len(found.all) - len(found.waiting) < limit):
            stranger, _ = found.waiting.popitem(last=False)
            found.silent[stranger] = self._now()
            stranger.wait_no_longer()

    def _recount(self, where: str, before: int, now: int) -> None:
        if before:
            del self._by_count[before][where]
            if not self._by_count[before]:
                del self._by_count[before]
        if now:
            self._by_count.setdefault(now, {})[where] = None
        if now > self._most or before == self._most and before not in self._by_count:
            self._most = now  # counts change by one: no other place can have more

    def superfluous(self) -> Session:
        """Who is to go: the newest of the greediest place; of places with one each, the oldest. Legal while there is
        anyone."""
        greediest = self._by_count[self._most]
        where = next(reversed(greediest) if self._most > 1 else iter(greediest))
        return next(reversed(self._places[where].all))
