"""When to acknowledge what was shown, when a silent server counts as dead, and how long it takes to answer.

Pure arithmetic on `now`. Must not know messages or connections. Legal order: ``start`` at login, ``stop`` and
``forget`` when the connection is gone.
"""

from __future__ import annotations

from chatlib.protocol.commands import ACTIONS, Runs

NEVER = float("inf")
SILENCE = 15.0  # seconds until what has never said a word counts as no server of ours
GRACE = 5.0  # seconds that a server may be late,
HASTE = 2.0  # and where there is another server to go to
BURST = 64  # events shown until they are acknowledged at once,
DELAY = 1.0  # else this many seconds after the first of them
SHORTEST, LONGEST = 0.1, 86_400.0  # seconds that a server may choose
JUST_NOW = 3.0  # seconds for which an answer says how long the next one may take
PRESENT = 60.0  # seconds between two requests whose only use is to say that somebody is there


class Heartbeat:
    """The client's half of the heartbeat."""

    def __init__(self) -> None:
        self.interval = 30.0
        self._running = False
        self._shown = 0  # not acknowledged
        self.is_active = False  # somebody is there, and the server has not been told
        self._told_at = NEVER  # when it was told so
        self._acknowledge_at = self._beat_at = NEVER

    def choose(self, interval: object) -> None:
        """The server's choice, which stands if it is one that a server may make: else it could keep us busy."""
        if isinstance(interval, int | float) and SHORTEST <= interval <= LONGEST:
            self.interval = float(interval)

    def start(self, now: float) -> None:
        self._running = True
        self._beat_at = now + self.interval
        self._acknowledge_at = now + DELAY if self._shown else NEVER
        self.is_active, self._told_at = False, now

    def stop(self) -> None:
        self._running = False

    def shown(self, now: float) -> None:
        """Something is to be acknowledged."""
        self._shown += 1
        self._acknowledge_at = now if self._shown >= BURST else min(self._acknowledge_at, now + DELAY)

    def active(self, now: float) -> None:
        """Somebody is there: the next acknowledgement or beat says so, or one of its own if that was long ago."""
        self.is_active = True
        if now >= self._told_at + PRESENT:
            self._beat_at = now

    def sent(self, now: float) -> None:
        """An acknowledgement of everything shown is on its way."""
        self._shown = 0
        if self.is_active:
            self.is_active, self._told_at = False, now
        self._acknowledge_at, self._beat_at = NEVER, now + self.interval

    def deadline(self) -> float:
        """When an ``alive`` is due."""
        return min(self._acknowledge_at, self._beat_at) if self._running else NEVER

    def dead_at(self, heard: float, asked: float, *, spare: bool = False) -> float:
        """When a server counts as dead that was last heard at `heard` and owes an answer since `asked`. `spare`: there
        is another one; then a machine that vanishes is noticed `interval` and HASTE later."""
        return max(heard + self.interval, asked) + HASTE if spare else max(heard, asked) + self.interval + GRACE


class Promptness:
    """How long answers take that need no work."""

    def __init__(self) -> None:
        self._asked: dict[int, float] = {}  # by the request's id: since when, oldest first
        self._last = self._until = 0.0  # what the last one took, and how long that counts

    def asked(self, number: int, action: str, now: float) -> None:
        """Something is asked."""
        row = ACTIONS.get(action)
        if row is not None and row.runs in (Runs.READS, Runs.CHANGES):
            self._asked[number] = now

    def answered(self, number: int, now: float) -> None:
        """Something is answered."""
        if number in self._asked:
            self._last, self._until = now - self._asked.pop(number), now + JUST_NOW

    def forget(self) -> None:
        """Nothing that was asked will be answered on this connection."""
        self._asked.clear()
        self._until = 0.0

    @property
    def since(self) -> float:
        """Since when the server owes an answer; infinity: it owes none."""
        return next(iter(self._asked.values()), NEVER)

    def latency(self, now: float) -> float:
        """Seconds: of the next answer so far, or of the last one, if that was just now."""
        return max(self._last if now < self._until else 0.0, now - self.since)
