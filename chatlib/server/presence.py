"""Who comes and who goes, as the others are told: of one user at most once in QUIET seconds.

Whatever happened meanwhile, what is true then is told if it differs from what was told last: nobody is shown wrong for
ever. Must not know sessions, nor how lines are sent; `later` makes a call after so many seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from chatlib.core import entry
from chatlib.core.world import World

QUIET = 5.0  # seconds


class _Told(NamedTuple):
    """What was told last: also when there is no account any more, it was said of this name."""

    name: str
    online: bool
    hidden: Collection[str]  # to whom nothing was told


class Announcer:
    """Invariant: of a user in `_told` nothing is told until its time is over; then it is looked at once more."""

    def __init__(
        self,
        world: World,
        fan_out: Callable[[bytes, Collection[str]], None],
        later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._world, self._fan_out, self._later = world, fan_out, later
        self._told: dict[str, _Told] = {}

    def changed(self, user: str) -> None:
        """`user` has come or gone."""
        account = self._world.accounts.get(user)
        if account is not None and user not in self._told:
            self._tell(user, _Told(account.name, user in self._world.online, entry.hidden_from(account)))

    def _tell(self, user: str, news: _Told) -> None:
        world = self._world
        if len(world.online) > world.parameters["PRESENCE_LIMIT"]:
            return
        account, presence = world.accounts.get(user), world.online.get(user)
        at = presence.since if presence else account.left if account else world.at
        self._told[user] = news
        self._later(QUIET, partial(self._look_again, user))
        self._fan_out(entry.presence_event(news.name, at, news.online), news.hidden)

    def _look_again(self, user: str) -> None:
        told = self._told.pop(user)
        if told.online == (user in self._world.online):
            return
        if user in self._world.accounts:
            self.changed(user)
        else:
            self._tell(user, told._replace(online=False))
