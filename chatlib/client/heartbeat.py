"""When to acknowledge what was shown, and when a silent server counts as dead. Pure arithmetic on `now`.

Must not know messages or connections. Legal order: ``start`` at login, ``stop`` when the connection is gone.
"""

from __future__ import annotations

NEVER = float("inf")
GRACE = 5.0  # seconds that a server may be late
BURST = 64  # events shown until they are acknowledged at once,
DELAY = 1.0  # else this many seconds after the first of them


class Heartbeat:
    """The client's half of the heartbeat. `interval` is the server's choice."""

    def __init__(self) -> None:
        self.interval = 30.0
        self._running = False
        self._shown = 0  # not acknowledged
        self._acknowledge_at = self._beat_at = NEVER

    def start(self, now: float) -> None:
        self._running = True
        self._beat_at = now + self.interval
        self._acknowledge_at = now + DELAY if self._shown else NEVER

    def stop(self) -> None:
        self._running = False

    def shown(self, now: float) -> None:
        """Something is to be acknowledged."""
        self._shown += 1
        self._acknowledge_at = now if self._shown >= BURST else min(self._acknowledge_at, now + DELAY)

    def sent(self, now: float) -> None:
        """An acknowledgement of everything shown is on its way."""
        self._shown = 0
        self._acknowledge_at, self._beat_at = NEVER, now + self.interval

    def deadline(self) -> float:
        """When an ``alive`` is due."""
        return min(self._acknowledge_at, self._beat_at) if self._running else NEVER

    def dead_at(self, heard: float, asked: float) -> float:
        """When a server counts as dead that was last heard at `heard` and owes an answer since `asked`."""
        return max(heard, asked) + self.interval + GRACE
