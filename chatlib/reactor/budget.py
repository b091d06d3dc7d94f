"""Budgets: so much of one kind of work in a tick, for all who want it; the rest goes on in the ticks that follow.

Whoever finds a budget used up waits in its queue and is resumed in order, so nobody is passed over. While a budget is
`closed` nothing of it may be spent, and nobody is resumed. Must not know what the work is. Legal calls: any, at any
time in a tick.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from chatlib.reactor.loop import Loop


class Budget:
    """`amount` of one kind of work (seconds, lines) in each tick."""

    __slots__ = ("_amount", "_loop", "_spent", "_tick", "_waiting", "_whole")

    def __init__(self, loop: Loop, amount: float) -> None:
        self._loop = loop
        self._amount = self._whole = amount
        self._spent = 0.0
        self._tick = -1  # in which so much was spent
        self._waiting: deque[Callable[[], object]] = deque()

    @property
    def closed(self) -> bool:
        """Whether there is none of it for now, whatever tick it is."""
        return not self._amount

    def close(self) -> None:
        """There is none of it until ``reopen``."""
        self._amount = 0.0

    def reopen(self) -> None:
        """There is as much as ever; who waits is resumed in the next ticks."""
        self._amount = self._whole
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting and self._amount:
            self._loop.again(self)

    def left(self) -> float:
        """What this tick has left, whoever waits; not above 0 when it is used up."""
        if self._tick != self._loop.ticks:
            self._tick, self._spent = self._loop.ticks, 0.0
        return self._amount - self._spent

    def free(self) -> bool:
        """Whether a newcomer may begin now: something is left, and nobody waits for it."""
        return not self._waiting and self.left() > 0

    def grant(self, wanted: int) -> int:
        """How much of a whole number that is `wanted` may be spent: it is spent. Below 0: so much is given back."""
        left = self.left()
        granted = wanted if wanted <= left else max(0, int(left))
        self._spent += granted
        return granted

    def spend(self, amount: float) -> None:
        """So much was done. It may be more than was left: work is not stopped in the middle."""
        self.left()
        self._spent += amount

    def wait(self, resume: Callable[[], object]) -> None:
        """Calls `resume` once, in a later tick, when it is its turn. `resume` spends what it uses."""
        self._waiting.append(resume)
        self._go_on()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def again(self) -> None:
        """The next tick has come. Each who waits now is resumed at most once: who asks again queues up behind."""
        for _ in range(len(self._waiting)):
            if self.left() <= 0:
                break
            self._waiting.popleft()()
        self._go_on()

    def broken(self) -> None:
        """One resumed call has failed: it was taken out of the queue; the others still have their turn."""
        self._go_on()
