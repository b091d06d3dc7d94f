"""Limits on what connections may ask for: this tick's budgets, which all share, and each user's rate limit.

Must not know what is asked for.
"""

from __future__ import annotations

from chatlib.reactor.budget import Budget
from chatlib.reactor.loop import Loop

PER_CONNECTION = 256  # lines of one connection in one tick
LINES = 1_024  # lines of all users in one tick
STRANGERS_LINES = 32  # lines in one tick of all who have not logged in,
STRANGERS_TURN = 1  # and of these, lines of one of them: the others have their turns before it has another
ANSWERS = 0.002  # seconds of dear answers in one tick
CATCHING_UP = 0.002  # seconds of handing out stored messages in one tick
SEARCHING = 0.002  # seconds of searching in one tick
STRANGERS_LINE = 4_096  # bytes of a line, and bytes read at once, before login
BURST = 5.0  # seconds' worth of requests that the rate limit lets through at once
PRICE = 1_000.0  # requests that a second of the server's time counts for


class Budgets:
    """What all connections of a server share in a tick."""

    def __init__(self, loop: Loop) -> None:
        self.lines = Budget(loop, LINES)
        self.strangers = Budget(loop, STRANGERS_LINES)
        self.answers = Budget(loop, ANSWERS)
        self.catching_up = Budget(loop, CATCHING_UP)
        self.searching = Budget(loop, SEARCHING)

    def listen(self, whether: bool) -> None:
        """Whether anything more is heard: not while too much waits for the log."""
        if self.lines.closed is whether:
            for budget in (self.lines, self.strangers):
                if whether:
                    budget.reopen()
                else:
                    budget.close()


class Bucket:
    """The rate limit of one user: tokens, one a request, that come back with time. `at`: when it was last looked at."""

    __slots__ = ("_tokens", "at")

    def __init__(self, now: float) -> None:
        self._tokens = float("inf")  # full, however large it is
        self.at = now

    def fill(self, rate: int, now: float) -> int:
        """The whole tokens that are there at `now`, with `rate` new ones a second."""
        self._tokens = min(BURST * rate, self._tokens + (now - self.at) * rate)
        self.at = now
        return max(0, int(self._tokens))

    def wait(self, rate: int) -> float:
        """Seconds until there is a token."""
        return max(0.0, 1.0 - self._tokens) / rate

    def spend(self, tokens: int) -> None:
        """So many requests were let through; below 0: were not, after all."""
        self._tokens -= tokens

    def charge(self, seconds: float, rate: int) -> None:
        """A request took so long: it counts for more than one. The debt is paid off in BURST seconds."""
        self._tokens = max(-BURST * rate, self._tokens - seconds * PRICE)


class Buckets:
    """Those of users who are away: a new login is no new burst."""

    def __init__(self) -> None:
        self._kept: dict[str, Bucket] = {}
        self._limit = 1_000

    def keep(self, user: str, bucket: Bucket, now: float) -> None:
        """`user` goes."""
        self._kept[user] = bucket
        if len(self._kept) > self._limit:  # those that are full by now need not be kept
            self._kept = {user: kept for user, kept in self._kept.items() if kept.at > now - 2 * BURST}
            self._limit = 1_000 + 2 * len(self._kept)

    def take_out(self, user: str) -> Bucket | None:
        """`user` comes."""
        return self._kept.pop(user, None)
