"""What peers have given us, by their keys: so that nothing is shown twice when a connection breaks before the peer has
heard that it was shown, and the peer sends it again on the next one.

In memory only. Must not know connections. Invariant: of each user so many are unshown at most, on however many
connections they came, and what is kept of all is bounded; only what was shown is forgotten, the oldest first.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum, auto

from chatlib.protocol.peer import WINDOW

UNSHOWN = 2 * WINDOW  # of one user: a whole window of one connection, and one of the next
KEPT = 2 * UNSHOWN  # of one user
USERS = 100  # of whom what was shown is kept

Place = tuple[int, int]  # a connection's number, and the number that is acknowledged on it
NOWHERE: Place = 0, 0


class Taken(Enum):
    """What a thing is that comes in."""

    NEW = auto()
    WAITING = auto()  # it came before, and will be acknowledged where it came last
    SHOWN = auto()  # it was shown before
    TOO_MANY = auto()


class Given:
    """Legal order: ``take`` for what comes in, ``shown`` once for what was NEW."""

    def __init__(self) -> None:
        # By user and key: where it is to be acknowledged; NOWHERE: it was shown. Who spoke last stands last.
        self._users: OrderedDict[str, OrderedDict[str, Place]] = OrderedDict()

    def take(self, user: str, key: str, place: Place) -> Taken:
        """Something has come under this key, and at this place."""
        given = self._users.setdefault(user, OrderedDict())
        self._users.move_to_end(user)
        known = given.get(key)
        if known == NOWHERE:
            return Taken.SHOWN
        if known is None and sum(each != NOWHERE for each in given.values()) >= UNSHOWN:
            return Taken.TOO_MANY
        given[key] = place
        self._forget(given)
        return Taken.NEW if known is None else Taken.WAITING

    def shown(self, user: str, key: str) -> Place:
        """It was shown: where that is to be acknowledged."""
        given = self._users.get(user, OrderedDict())
        place = given.get(key, NOWHERE)
        if key in given:
            given[key] = NOWHERE
        return place

    def _forget(self, given: OrderedDict[str, Place]) -> None:
        if len(given) > KEPT:
            del given[next(key for key, place in given.items() if place == NOWHERE)]
        if len(self._users) > USERS:
            quiet = (user for user, each in self._users.items() if all(place == NOWHERE for place in each.values()))
            if (user := next(quiet, None)) is not None:
                del self._users[user]
