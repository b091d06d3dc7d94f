"""Who has seen what: gathered from all sessions, and told to the world once a second, however many said something.

A client that acknowledges says so itself; for any other, what the kernel took counts (see reader). Must not know how a
session is told anything.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.core.world import Command, World
from chatlib.server.delivery import Delivery
from chatlib.server.session import Session

AT_ONCE = 5_000  # users in one record: no log takes a command of any size


class Acknowledged:
    """Of all sessions that are logged in. Legal order: ``come`` → (``acknowledge`` or ``upto``)* → ``leave``."""

    def __init__(self, world: World, delivery: Delivery, submit: Callable[[Command], None]) -> None:
        self._world, self._delivery, self._submit = world, delivery, submit
        self._silent: dict[Session, None] = {}  # those that have never acknowledged anything
        self._said: dict[Session, None] = {}  # those whose clients acknowledged something in this second,
        self._left: dict[str, int] = {}  # and by user, what was acknowledged in it by sessions that are over
        self._gathered = 0  # LSN up to which it was looked at who has seen what

    def come(self, session: Session) -> None:
        """`session` is its user's from now on."""
        if not session.reader.acknowledges:
            self._silent[session] = None

    def leave(self, session: Session) -> None:
        """It is over."""
        self._silent.pop(session, None)
        if session in self._said:
            del self._said[session]
            self._left[session.user] = max(self._left.get(session.user, 0), session.reader.acked)

    def upto(self, session: Session) -> int:
        """Up to which seq this session was shown everything."""
        return session.reader.seen(self._delivery.flushed)

    def seen(self, user: str) -> int:
        """Up to which seq a user has seen everything, if the world may not know yet: one session is enough."""
        return max([self._left.get(user, 0), *map(self.upto, self._delivery.of(user))])

    def acknowledge(self, session: Session, seq: int) -> None:
        """Its client has shown everything up to `seq`."""
        if not session.reader.acknowledges:
            session.reader.acknowledges = True
            self._silent.pop(session, None)
            session.watch_time()
        if session.reader.acknowledge(min(seq, self._world.lsn)):
            self._said[session] = None

    def gather(self, at: float) -> None:
        """One record, or a few, says who has seen what since the last one. For once a second."""
        said, self._said = self._said, {}
        seen, self._left = self._left, {}
        for session in said:
            seen[session.user] = max(seen.get(session.user, 0), session.reader.acked)
        flushed = self._delivery.flushed
        if flushed != self._gathered:
            self._gathered = flushed
            for session in self._silent:
                account, upto = self._world.accounts[session.user], self.upto(session)
                if upto > account.seen and self._world.unread(account):
                    seen[session.user] = max(seen.get(session.user, 0), upto)
        users = list(seen)
        for begin in range(0, len(users), AT_ONCE):
            part = {user: seen[user] for user in users[begin : begin + AT_ONCE]}
            self._submit({"action": "seen", "at": at, "seen": part})
