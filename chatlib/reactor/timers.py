"""Timers in a heap. Time is a parameter: seconds of any clock that does not go back."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count


class Timer:
    """One pending call. `cancel` may be called at any time, also from the call itself."""

    __slots__ = ("call", "deadline")

    def __init__(self, deadline: float, call: Callable[[], object]) -> None:
        self.deadline = deadline
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """The call will not be made. The entry stays in the heap until its time."""
        self.call = None


class Timers:
    """The heap. Calls with the same deadline are made in the order in which they were asked for."""

    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def at(self, deadline: float, call: Callable[[], object]) -> Timer:
        """Makes `call` once `deadline` has come."""
        timer = Timer(deadline, call)
        heappush(self._heap, (deadline, next(self._order), timer))
        return timer

    def next_deadline(self) -> float | None:
        """The earliest deadline, None when nothing is pending."""
        while self._heap and self._heap[0][2].call is None:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Callable[[], object]]:
        """Takes out the calls whose time has come, earliest first. What they ask for anew waits for the next tick."""
        calls = []
        while self._heap and self._heap[0][0] <= now:
            timer = heappop(self._heap)[2]
            if timer.call is not None:
                calls.append(timer.call)
        return calls
