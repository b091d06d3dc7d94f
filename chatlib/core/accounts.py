"""Accounts, their sessions, lockouts, and the replies remembered for keys. Plain state, no rules of conversation.

Accounts are found by their folded name (:func:`chatlib.protocol.text.fold`), called `user` throughout the core.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatlib.core.mail import Mailbox

if TYPE_CHECKING:
    from chatlib.core.files import Waiting

FORGET = 86_400.0  # seconds after which wrong passwords are forgotten
MAX_KEYS = 1_000  # replies remembered for each user


@dataclass(slots=True)
class Presence:
    """An open session. `login` is the LSN of its login: it tells this session from an earlier one of the same user."""

    login: int
    since: float  # seconds since the epoch
    address: str
    client: str | None  # the name that the client program keeps while it runs
    away_from: int  # what the user had seen at login: all between it and `login` came while away


@dataclass(slots=True)
class Account:
    """A registered user and what stands under this name."""

    name: str  # as registered
    user: str  # folded
    verifier: str
    joined: int  # the LSN of the registration: earlier broadcasts are not for this account
    seen: int = 0  # every event up to this seq has been seen
    left: float = 0.0  # when the last session ended; 0: never
    mail: Mailbox = field(default_factory=Mailbox)
    # These five are None until there is something in them: most users never need them, and there may be many.
    skipped: set[int] | None = None  # broadcasts that a block kept from this user
    blocks: set[str] | None = None  # users whom this user blocks
    blocked_by: set[str] | None = None
    files: Waiting | None = None  # waiting for this user
    replies: OrderedDict[str, str] | None = None  # key → fingerprint of the request + reply, oldest first

    def remember(self, key: str, reply: str) -> None:
        """Keeps what was answered to the request with this `key`; forgets the oldest beyond MAX_KEYS."""
        if self.replies is None:
            self.replies = OrderedDict()
        self.replies[key] = reply
        if len(self.replies) > MAX_KEYS:
            self.replies.popitem(last=False)


@dataclass(slots=True)
class Failures:
    """Wrong passwords of one user from one address. Locked out while `until` is later than now."""

    count: int = 0
    last: float = 0.0
    until: float = 0.0


class Lockouts:
    """Who typed wrong passwords, from where (``*`` when BLOCK_SCOPE is ``user``)."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], Failures] = {}

    def seconds_left(self, user: str, origin: str, now: float) -> float:
        """How long `user` stays locked out at `origin`; 0 when not at all."""
        entry = self.entries.get((user, origin))
        return max(0.0, entry.until - now) if entry else 0.0

    def locked(self, user: str, now: float) -> float:
        """How long `user` stays locked out from anywhere; 0 when not at all."""
        return max([0.0, *(entry.until - now for (name, _), entry in self.entries.items() if name == user)])

    def tries_left(self, user: str, origin: str, limit: int) -> int:
        """How many wrong passwords it takes until `user` is locked out at `origin`."""
        entry = self.entries.get((user, origin))
        return max(1, limit - entry.count) if entry else limit

    def fail(self, user: str, origin: str, now: float, limit: int, seconds: float) -> int:
        """Counts a wrong password and returns the tries that are left; at 0 the lockout has begun."""
        if len(self.entries) % 1_000 == 999:  # a peer with many addresses does not make it grow without bound
            self.expire(now - FORGET)
        entry = self.entries.setdefault((user, origin), Failures())
        entry.count += 1
        entry.last = now
        if entry.count < limit:
            return limit - entry.count
        entry.count = 0
        entry.until = now + seconds
        return 0

    def clear(self, user: str, origin: str | None = None) -> int:
        """Forgets the failures of `user`, at one origin or at all; returns how many entries that were."""
        gone = [key for key in self.entries if key[0] == user and origin in (None, key[1])]
        for key in gone:
            del self.entries[key]
        return len(gone)

    def expire(self, before: float) -> None:
        """Forgets what ended and was last touched earlier than `before`."""
        for key in [key for key, entry in self.entries.items() if max(entry.last, entry.until) < before]:
            del self.entries[key]
