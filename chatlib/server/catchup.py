"""Catching up: who comes back is handed what waited, batch by batch, before events come as they happen.

All of it has one budget in a tick, so that no number of people who come back at once holds the loop up. Must not know
what an event says. Legal order: ``begin`` once for each session that has logged in; ``go_on`` whenever its peer has
been given everything.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter

from chatlib.core.sessions import sent_meanwhile
from chatlib.core.streams import MORE
from chatlib.core.world import World
from chatlib.reactor.budget import Budget
from chatlib.server.delivery import Delivery
from chatlib.server.session import Session
from chatlib.server.stored import Stored

BATCH = 256  # stored messages handed to one connection in one tick,
BATCH_SIZE = 262_144  # or about so many bytes: far less than would make it a slow consumer
_OFFLINE = b',"offline":true}\n'


class CatchUp:
    """Of all sessions."""

    def __init__(self, world: World, stored: Stored, delivery: Delivery, budget: Budget) -> None:
        self._world, self._stored, self._delivery, self._budget = world, stored, delivery, budget

    def begin(self, session: Session, resumes: bool) -> None:
        """`session` has logged in, and its reader knows what it has seen. `resumes`: it is told, too, what its user has
        sent since then."""
        user, since = session.user, session.reader.cursor
        sent = sent_meanwhile(self._world, user, since, session.login) if resumes else []
        self._delivery.hold(session, sent)
        if sent or self._world.waiting(user, since, 1):
            self.go_on(session)
        else:
            self._delivery.listen(session)

    def go_on(self, session: Session) -> None:
        """Queues up for another batch."""
        if not session.catching_up:  # twice in one tick, and what was never pushed would count as taken
            session.catching_up = True
            self._budget.wait(partial(self._batch, session))

    def _batch(self, session: Session) -> None:
        """Hands out stored messages; listens to new ones when there are no more. At most once in a tick."""
        session.catching_up = False
        if session.over or session.departed or session.listening or session.connection.backlog_size:
            return  # with a backlog, it goes on when it is drained
        begun = perf_counter()
        session.reader.took_all()
        try:
            more = self._hand_out(session)
        except Exception:  # a session that heard nothing more would look alive for ever
            session.broken()
            raise
        if more:
            self.go_on(session)
        else:
            self._delivery.listen(session)
        self._budget.spend(perf_counter() - begun)

    def _hand_out(self, session: Session) -> bool:
        """The next stored messages; whether there are more."""
        reader, login, size = session.reader, session.login, 0
        positions, lines = self._world.waiting(session.user, reader.cursor, BATCH), list[bytes]()
        looked_at = positions.pop()[0] if positions and positions[-1][1] == MORE else 0
        for (seq, _), event in zip(positions, self._stored.events(positions, session.user), strict=False):
            lines.append(event[:-2] + _OFFLINE if seq < login else event)
            size += len(event)
            if size > BATCH_SIZE:
                break
        if lines:
            reader.cursor = positions[len(lines) - 1][0]
        more = size > BATCH_SIZE or bool(looked_at) or len(lines) == BATCH
        if size <= BATCH_SIZE:
            reader.cursor = looked_at or reader.cursor
        held = self._delivery.held(session, reader.cursor if more else self._world.lsn)
        if held:
            stored = zip((seq for seq, _ in positions), lines, strict=False)
            lines = [line for _, line in sorted([*stored, *held])]
        if lines:
            self._delivery.all_to(session, lines)
        return more
