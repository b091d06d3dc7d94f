"""A deadline that often moves, on a loop whose timers do not."""

from __future__ import annotations

from chatlib.client.heartbeat import NEVER
from chatlib.reactor.loop import Loop


class Alarm:
    """Ends the loop's wait at a deadline that often moves. It may ring early, and leaves few timers behind."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._rings_at = NEVER

    def set(self, deadline: float) -> None:
        if deadline < self._rings_at:
            self._rings_at = deadline
            self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._rings_at = NEVER
