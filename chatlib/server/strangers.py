"""Strangers: connections that have not logged in, and which of them goes when there are too many.

The newest of the address that has the most: whoever opens many drives out his own, and a person who is typing a
password stays. Every operation costs the same, however many there are.
"""

from __future__ import annotations

from chatlib.server.session import Session


class Strangers:
    """All of them. `leave` is legal at any time, also for one that is not among them."""

    def __init__(self) -> None:
        self._by_address: dict[str, dict[Session, None]] = {}  # each address's in the order in which they came
        self._by_count: dict[int, dict[str, None]] = {}  # addresses that have so many
        self._most = 0  # what the greediest address has
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def come(self, stranger: Session) -> None:
        """One more."""
        of_address = self._by_address.setdefault(stranger.address, {})
        of_address[stranger] = None
        self._count += 1
        self._recount(stranger.address, len(of_address) - 1, len(of_address))

    def leave(self, stranger: Session) -> None:
        """One has logged in, waits for a seat, or is gone."""
        of_address = self._by_address.get(stranger.address)
        if of_address is None or stranger not in of_address:
            return
        del of_address[stranger]
        self._count -= 1
        if not of_address:
            del self._by_address[stranger.address]
        self._recount(stranger.address, len(of_address) + 1, len(of_address))

    def _recount(self, address: str, before: int, now: int) -> None:
        if before:
            del self._by_count[before][address]
            if not self._by_count[before]:
                del self._by_count[before]
        if now:
            self._by_count.setdefault(now, {})[address] = None
        if now > self._most or before == self._most and before not in self._by_count:
            self._most = now  # counts change by one: no other address can have more

    def superfluous(self) -> Session:
        """Who is to go: the newest of the greediest address. Legal while there is anyone."""
        address = next(reversed(self._by_count[self._most]))
        return next(reversed(self._by_address[address]))
