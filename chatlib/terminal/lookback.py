"""Ctrl+R: the line that was entered before and holds what is typed now, the newest first.

Must not know keys, nor the line that is being edited. Legal order: ``more``, ``older``, ``newer`` and ``back`` as one
likes. Invariants: ``back`` undoes exactly the last step that was taken; when nothing is found, the last find stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from chatlib.protocol.text import printable, unfinished


class Find(NamedTuple):
    """Where a search stands."""

    wanted: str
    place: int | None  # index into the lines
    failed: bool


class Lookback:
    """A search through `lines`, oldest first. `before`: what the last search was for, and ``older`` begins with."""

    def __init__(self, lines: Iterable[str], before: str = "") -> None:
        self._lines = tuple(lines)
        self._before = before
        self._steps = [Find("", None, False)]

    @property
    def now(self) -> Find:
        return self._steps[-1]

    @property
    def line(self) -> str | None:
        """The line that was found."""
        return None if self.now.place is None else printable(self._lines[self.now.place])

    @property
    def column(self) -> int:
        """Where in the line the find begins."""
        return max(0, _at(self.line or "", self._found_for()))

    def more(self, text: str) -> None:
        """More is typed of what is wanted; a line that holds it still stays."""
        for char in text:
            wanted = unfinished(self.now.wanted + char)
            if wanted != self.now.wanted:
                start = len(self._lines) - 1 if self.now.place is None else self.now.place
                self._go(wanted, range(start, -1, -1))

    def older(self) -> None:
        wanted = self.now.wanted or self._before
        start = len(self._lines) if self.now.place is None else self.now.place
        if wanted:
            self._go(wanted, range(start - 1, -1, -1), other=True)

    def newer(self) -> None:
        if self.now.wanted and self.now.place is not None:
            self._go(self.now.wanted, range(self.now.place + 1, len(self._lines)), other=True)

    def back(self) -> None:
        if len(self._steps) > 1:
            self._steps.pop()

    def _go(self, wanted: str, places: range, other: bool = False) -> None:
        shown = self.line if other else None
        for place in places:
            line = printable(self._lines[place])
            if _at(line, wanted) >= 0 and line != shown:
                self._steps.append(Find(wanted, place, False))
                return
        self._steps.append(Find(wanted, self.now.place, True))

    def _found_for(self) -> str:
        return next((step.wanted for step in reversed(self._steps) if not step.failed), "")


def _at(line: str, wanted: str) -> int:
    """Where `wanted` stands in `line`; capitals make no difference."""
    return line.lower().find(wanted.lower()) if len(line.lower()) == len(line) else line.find(wanted)
