"""Wrong passwords by user and address, and the lockouts they lead to. Plain state.

A lockout never lasts longer than it was set for: it ends as well when the clock is set back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

FORGET = 86_400.0  # seconds after which wrong passwords are forgotten
MAX_ENTRIES = 100_000  # however many addresses a peer has
_SWEEP = 2  # old entries that are checked with each wrong password


@dataclass(slots=True)
class Failures:
    """Wrong passwords of one user from one address. A lockout begins with the `last` one and goes on `until` then."""

    count: int = 0  # since the last success; during a lockout: since its beginning
    last: float = 0.0
    until: float = 0.0

    def seconds_left(self, now: float) -> float:
        """How long the lockout goes on; 0 when there is none."""
        return self.until - now if self.last <= now < self.until else 0.0

    def forgotten(self, now: float) -> bool:
        """Whether they no longer count: they are too long ago, or the clock was set back to before them."""
        return now < self.last or max(self.last, self.until) < now - FORGET


class Lockouts:
    """By user and origin (``*`` when BLOCK_SCOPE is ``user``), the latest at the end."""

    __slots__ = ("_origins", "entries")

    def __init__(self) -> None:
        self.entries: OrderedDict[tuple[str, str], Failures] = OrderedDict()
        self._origins: dict[str, set[str]] = {}

    def add(self, user: str, origin: str, failures: Failures) -> None:
        """Adds an entry at the end; also used when a snapshot is read."""
        self.entries[user, origin] = failures
        self.entries.move_to_end((user, origin))
        self._origins.setdefault(user, set()).add(origin)

    def _remove(self, key: tuple[str, str]) -> None:
        del self.entries[key]
        origins = self._origins[key[0]]
        origins.discard(key[1])
        if not origins:
            del self._origins[key[0]]

    def seconds_left(self, user: str, origin: str, now: float) -> float:
        """How long `user` stays locked out at `origin`; 0 when not at all."""
        entry = self.entries.get((user, origin))
        return entry.seconds_left(now) if entry else 0.0

    def locked(self, user: str, now: float) -> float:
        """How long `user` stays locked out from anywhere; 0 when not at all."""
        return max((self.seconds_left(user, origin, now) for origin in self._origins.get(user, ())), default=0.0)

    def tries_left(self, user: str, origin: str, limit: int) -> int:
        """How many wrong passwords it takes until `user` is locked out at `origin`."""
        entry = self.entries.get((user, origin))
        return max(1, limit - entry.count) if entry else limit

    def fail(self, user: str, origin: str, now: float, limit: int, seconds: float) -> int:
        """Counts a wrong password and returns the tries that are left; at 0 the lockout has begun."""
        entry = self.entries.get((user, origin))
        if entry is None or entry.forgotten(now) or 0.0 < entry.until <= now:
            entry = Failures()
        self.add(user, origin, entry)
        entry.count += 1
        entry.last = now
        self._sweep(now)
        if entry.count < limit:
            return limit - entry.count
        entry.count = 0
        entry.until = now + seconds
        return 0

    def looked_at(self, user: str, origin: str, more: int = 0) -> int:
        """Adds `more` to the wrong passwords that were checked during the lockout; how many there are."""
        entry = self.entries[user, origin]
        entry.count += more
        return entry.count

    def clear(self, user: str, origin: str | None = None) -> int:
        """Forgets the failures of `user`, at one origin or at all; returns how many entries that were."""
        origins = self._origins.get(user, set())
        gone = [(user, one) for one in origins if origin in (None, one)]
        for key in gone:
            self._remove(key)
        return len(gone)

    def _sweep(self, now: float) -> None:
        for _ in range(_SWEEP):
            key, entry = next(iter(self.entries.items()))
            if not entry.forgotten(now) and len(self.entries) <= MAX_ENTRIES:
                return
            self._remove(key)

    def expire(self, now: float) -> None:
        """Forgets all that is long over. Its cost grows with the number of entries: for the start."""
        for key in [key for key, entry in self.entries.items() if entry.forgotten(now)]:
            self._remove(key)
