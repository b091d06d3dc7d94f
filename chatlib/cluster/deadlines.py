"""Deadlines of whoever is a part of the loop, and can be pumped without it.

Must not know what they are for. The loop has one timer, for the first of them; without a loop, ``next`` says how long
one may wait, and ``ring`` makes the calls that are due.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.reactor.loop import Loop
from chatlib.reactor.timers import Timer, Timers


class Deadlines:
    """Legal order: anything, then ``close``. `clock` must be the loop's."""

    def __init__(self, loop: Loop | None, clock: Callable[[], float]) -> None:
        self._loop, self._clock = loop, clock
        self._timers = Timers()
        self._alarm: Timer | None = None  # the loop's
        self._alarm_at = 0.0

    def at(self, deadline: float, call: Callable[[], object]) -> Timer:
        """Makes `call` once `deadline` has come."""
        timer = self._timers.at(deadline, call)
        self._arm(deadline)
        return timer

    def next(self) -> float | None:
        """The first one."""
        return self._timers.next_deadline()

    def _arm(self, deadline: float | None) -> None:
        if self._loop is None or deadline is None or self._alarm is not None and self._alarm_at <= deadline:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = self._loop.call_at(deadline, self._alarmed), deadline

    def _alarmed(self) -> None:
        self._alarm = None
        self.ring()

    def ring(self) -> None:
        """Makes the calls that are due. A fault in one of them keeps none from being made."""
        timers = self._timers.due(self._clock())
        try:
            all_of([timer.fire for timer in timers])
        finally:
            self._arm(self.next())

    def close(self) -> None:
        """Makes no call any more."""
        self._timers = Timers()
        self._loop = None
        if self._alarm is not None:
            self._alarm.cancel()


def all_of(calls: list[Callable[[], object]]) -> None:
    """Makes them all, and only then raises what the first that failed has raised."""
    fault: Exception | None = None
    for call in calls:
        try:
            call()
        except Exception as what:
            fault = fault or what
    if fault is not None:
        raise fault
