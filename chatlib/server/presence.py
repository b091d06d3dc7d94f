"""Who comes and who goes, as the others are told: of one user at most once in QUIET seconds.

Whatever happened meanwhile, what is true then is told if it differs from what was told last: nobody is shown wrong for
ever. Must not know sessions, nor how lines are sent; `later` makes a call after so many seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from chatlib.core.entry import News, news_of
from chatlib.core.world import World

QUIET = 5.0  # seconds


class Announcer:
    """Invariant: of a user in `_told` nothing is told until its time is over; then it is looked at once more."""

    def __init__(
        self,
        world: World,
        fan_out: Callable[[bytes, Collection[str]], None],
        later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._world, self._fan_out, self._later = world, fan_out, later
        self._told: dict[str, News] = {}

    def changed(self, user: str, news: News) -> None:
        """`user` has come or gone."""
        if user not in self._told:
            self._tell(user, news)

    def _tell(self, user: str, news: News) -> None:
        if len(self._world.online) > self._world.parameters["PRESENCE_LIMIT"]:
            return
        self._told[user] = news
        self._later(QUIET, partial(self._look_again, user))
        self._fan_out(news.event(), news.hidden)

    def _look_again(self, user: str) -> None:
        told, account = self._told.pop(user), self._world.accounts.get(user)
        if told.online == (user in self._world.online):
            return
        if account is not None:
            self.changed(user, news_of(self._world, account))
        else:
            self._tell(user, told._replace(online=False, at=self._world.at))
