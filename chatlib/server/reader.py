"""The reader: what one user was given, what the kernel took of it, and what was acknowledged (design, section 2).

Its states: CATCHING_UP (stored messages are handed out, batch by batch), CURRENT (events go out as they happen, and
the kernel has taken all), BEHIND (the kernel has not). CATCHING_UP → CURRENT when the last batch is taken; CURRENT ⇄
BEHIND.

A client that acknowledges (it says `seen` or `alive`) has seen what it says. For any other, what the kernel took counts
as seen: `taken` while it catches up or is behind, everything flushed while it is current.

Must not know connections, or what an event says.
"""

from __future__ import annotations


class Reader:
    """One session's. All numbers are seqs."""

    __slots__ = ("_behind", "_taken", "acked", "acknowledges", "current", "cursor")

    def __init__(self) -> None:
        self.acknowledges = False  # has said seen or alive
        self.acked = 0
        self.cursor = 0  # the last stored message handed out
        self.current = False  # listens, and the kernel has taken all that waited before
        self._behind = False
        self._taken = 0  # while not current: up to where the kernel has taken all

    def begin(self, seen: int) -> None:
        """The user had seen everything up to `seen` before."""
        self.acked = self.cursor = self._taken = seen

    def took_all(self) -> None:
        """Before a batch is handed out: the connection has no backlog, so the kernel has taken all batches before."""
        self._taken = self.cursor

    def fell_behind(self, flushed: int) -> None:
        """The kernel did not take all of this tick; everything up to `flushed` it had taken before."""
        if self.current and not self._behind:
            self._taken = flushed
        self._behind = True

    def drained(self, listening: bool) -> None:
        """The kernel has taken everything."""
        self._behind = False
        self.current = listening

    def acknowledge(self, seq: int) -> bool:
        """The client has shown everything up to `seq`; whether that is news."""
        self.acknowledges = True
        if seq <= self.acked:
            return False
        self.acked = seq
        return True

    def seen(self, flushed: int) -> int:
        """Up to where the user has seen everything, when everything up to `flushed` was pushed."""
        if self.acknowledges:
            return self.acked
        return flushed if self.current and not self._behind else self._taken
