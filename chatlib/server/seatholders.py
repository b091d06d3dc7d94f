"""Whose client programs have a seat: here, and at the other servers of the same world.

Whoever comes back while all seats are taken has one still: the connection broke, and nobody has noticed, or it was at a
server that is gone. Must not know what a seat is.
"""

from __future__ import annotations

from collections.abc import Container

from chatlib.core.world import World
from chatlib.reactor.loop import Loop

PERIOD = 1.0  # seconds: nobody comes back sooner, and looking through all who are online takes some time


class SeatHolders:
    """What the client programs of those online call themselves."""

    def __init__(self, here: Container[str | None], world: World, loop: Loop) -> None:
        """`here`: those of this server, as it is at any time."""
        self._here, self._world, self._loop = here, world, loop
        self._away: frozenset[str | None] = frozenset()  # those of other servers, too
        self._looked_at = -PERIOD

    def __contains__(self, client: object) -> bool:
        if client is None or client in self._here:
            return client is not None
        if not self._world.shared:
            return False
        if self._loop.now - self._looked_at >= PERIOD:
            self._looked_at = self._loop.now
            self._away = frozenset([presence.client for presence in self._world.online.values()])
        return client in self._away
