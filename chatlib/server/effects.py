"""What cannot be undone (lines erased, files removed) waits until its command is durable, and is done a little a tick.

With FSYNC ``second`` a command is carried out before it is durable: were a line erased at once, a power cut could bring
an account back without its mail. Must not know what an effect is. Legal order: ``put`` while commands are executed;
``step`` once a tick; ``finish`` when everything is durable, before a checkpoint, which would not let them be replayed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from chatlib.storage.journal import Journal

BUDGET = 200  # effects carried out in one tick: about 2 ms

Effect = Callable[[], object]


class Effects:
    """The queue, in the order of the commands. A fault costs its own effect and nothing else."""

    def __init__(self, journal: Journal, on_fault: Callable[[BaseException], None]) -> None:
        self._journal, self._on_fault = journal, on_fault
        self._waiting: deque[tuple[int, Iterator[Effect]]] = deque()  # the LSN to be durable, and what follows

    def put(self, effects: Iterable[Effect]) -> None:
        """To be carried out when the command that is being executed is durable."""
        self._waiting.append((self._journal.committed, iter(effects)))

    def step(self) -> bool:
        """Carries out what is due, as far as the budget goes. Whether more is due."""
        left = BUDGET
        while self._is_due() and left:
            for effect in islice(self._waiting[0][1], left):
                left -= 1
                self._carry_out(effect)
            if left:
                self._waiting.popleft()
        return self._is_due()

    def finish(self) -> None:
        """Carries out everything; legal when everything committed is durable."""
        while self.step():
            pass
        assert not self._waiting

    def _is_due(self) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= self._journal.durable

    def _carry_out(self, effect: Effect) -> None:
        try:
            effect()
        except (OSError, ValueError) as fault:  # one line, one file
            self._on_fault(fault)
