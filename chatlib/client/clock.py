"""The server's time of day, as far as it has said so.

Must not know messages, nor this machine's time of day: `now` is any clock that never goes back.
"""

from __future__ import annotations


class ServerClock:
    """What it says never goes back, but for a server that begins anew."""

    def __init__(self) -> None:
        self._time = self._since = 0.0

    def heard(self, time: object, now: float, *, anew: bool) -> None:
        """The server has said what time it is; what no server may say is not listened to."""
        if isinstance(time, int | float) and 0 <= time < 1e11 and (anew or time > self.time(now)):
            self._time, self._since = time, now

    def time(self, now: float) -> float:
        return self._time + max(0.0, now - self._since)
