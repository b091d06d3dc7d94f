"""Timers in a heap. Time is a parameter: seconds of any clock that does not go back."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count


class Timer:
    """One pending call. `cancel` may be called at any time, also from the call itself."""

    __slots__ = ("_timers", "call")

    def __init__(self, timers: Timers, call: Callable[[], object]) -> None:
        self._timers = timers
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """The call will not be made, even when it is due in this very tick."""
        if self.call is not None:
            self.call = None
            self._timers.cancelled()

    def fire(self) -> None:
        """Makes the call, unless it was cancelled or made already."""
        call, self.call = self.call, None
        if call is not None:
            call()


class Timers:
    """The heap. Calls with the same deadline are made in the order in which they were asked for."""

    __slots__ = ("_cancelled", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0  # an upper bound of the entries whose call is None

    def cancelled(self) -> None:
        """One more entry is of no use: when most are, the heap is built anew, so that it never grows without bound."""
        self._cancelled += 1
        if self._cancelled > 64 + len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapify(self._heap)
            self._cancelled = 0

    def at(self, deadline: float, call: Callable[[], object]) -> Timer:
        """Makes `call` once `deadline` has come."""
        timer = Timer(self, call)
        heappush(self._heap, (deadline, next(self._order), timer))
        return timer

    def next_deadline(self) -> float | None:
        """The earliest deadline, None when nothing is pending."""
        while self._heap and self._heap[0][2].call is None:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Timer]:
        """Takes out those whose time has come, earliest first. What they ask for anew waits for the next tick."""
        timers = []
        while self._heap and self._heap[0][0] <= now:
            timer = heappop(self._heap)[2]
            if timer.call is not None:
                timers.append(timer)
        return timers
