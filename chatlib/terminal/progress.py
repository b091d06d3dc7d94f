"""How far long things are: bars above a prompt, or now and then a plain line.

Must not know what goes on: whoever does is asked for a :class:`Progress`. Time is the parameter `now`. Legal order of a
Meter: ``at`` with times that do not go back, then its figures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from chatlib.protocol.words import readable_size
from chatlib.terminal.screen import Part, style

WINDOW = 5.0  # seconds over which a rate is measured
STEP = 0.1  # seconds between two figures shown
WIDTH = 20  # of a bar
QUARTER = 25  # per cent between two plain lines,
QUIET = 1.0  # and seconds

T = TypeVar("T")


class Progress(NamedTuple):
    """How far one thing is: `position` of `size` bytes."""

    label: str
    position: int
    size: int
    state: str = ""  # what it does instead of moving
    counts: bool = True  # whether `position` means anything in this state

    @property
    def percent(self) -> int:
        """0 to 100; 100 only when all is through."""
        return self.position * 100 // self.size if self.size else 100

    @property
    def mark(self) -> int:
        """The last of the marks for plain lines that is behind it, in per cent."""
        return self.percent // QUARTER * QUARTER


class Meter:
    """One thing's figures."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._state: str | None = None
        self._told = 0  # per cent in the last plain line,
        self._told_at = 0.0  # and when that was

    def at(self, progress: Progress, now: float) -> None:
        """Looks at it."""
        samples = self._samples
        if progress.state != self._state or (samples and progress.position < samples[-1][1]):
            samples.clear()
            self._state = progress.state
        samples.append((now, progress.position))
        while samples[0][0] < now - WINDOW:
            samples.popleft()

    @property
    def rate(self) -> float:
        """Bytes a second; 0: not known."""
        (begin, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - begin) if end > begin else 0.0

    def quarter(self, progress: Progress, now: float) -> int:
        """The mark that was passed since the last one told, in per cent; 0: none, or too early."""
        if progress.state:
            return 0
        mark = progress.mark
        if not self._told_at:
            self._told, self._told_at = mark, now  # it was told that it begins here
        if mark in (self._told, 100) or now < self._told_at + QUIET:
            return 0
        self._told, self._told_at = mark, now
        return mark


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _bar(progress: Progress, meter: Meter, width: int) -> Part:
    begin = progress.label.ljust(width)
    if not progress.counts:
        return style(f"{begin}  {progress.state}", "dim")
    full = progress.percent * WIDTH // 100
    # The figure stands before the bar, since a narrow terminal cuts the end off.
    line = f"{begin}  {progress.percent:3} % [{'#' * full}{'-' * (WIDTH - full)}]"
    if progress.state:
        return f"{line}  {progress.state}"
    rate = meter.rate
    left = f"  {_time((progress.size - progress.position) / rate)} left" if rate else ""
    return f"{line}  {readable_size(rate)}/s{left}"


class Bars(Generic[T]):
    """The bars of all things that `look` knows, drawn anew at most every STEP seconds."""

    def __init__(self, look: Callable[[T], Progress]) -> None:
        self._look = look
        self._meters: dict[T, Meter] = {}
        self._lines: list[Part] = []
        self._drawn = -STEP

    def _measure(self, active: Sequence[T], now: float) -> list[tuple[T, Progress, Meter]]:
        """What is under way; nothing when the last look is not long ago."""
        if now < self._drawn + STEP and self._meters.keys() == set(active):
            return []
        self._drawn = now
        self._meters = {each: self._meters.get(each) or Meter() for each in active}
        found = [(each, self._look(each), meter) for each, meter in self._meters.items()]
        for _, progress, meter in found:
            meter.at(progress, now)
        return found

    def lines(self, active: Sequence[T], queued: int, now: float) -> list[Part]:
        """What stands above the prompt."""
        found = self._measure(active, now)
        if found or not active:
            width = max((len(progress.label) for _, progress, _ in found), default=0)
            self._lines = [_bar(progress, meter, width) for _, progress, meter in found]
            if queued:
                self._lines.append(style(f"{queued} more wait{'s' if queued == 1 else ''}", "dim"))
        return self._lines

    def quarters(self, active: Sequence[T], now: float) -> list[tuple[T, int]]:
        """For plain lines: what has passed a mark, and which, in per cent."""
        found = [(each, meter.quarter(progress, now)) for each, progress, meter in self._measure(active, now)]
        return [(each, mark) for each, mark in found if mark]
