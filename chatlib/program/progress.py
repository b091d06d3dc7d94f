"""How far transfers are: bars above a prompt, or now and then a plain line.

Must not know connections or files. Time is the parameter `now`. Legal order of a Meter: ``at`` with times that do not
go back, then its figures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from chatlib.client.files import Fetching, Stage, Transfer
from chatlib.protocol.words import readable_size
from chatlib.terminal.screen import Part, style

WINDOW = 5.0  # seconds over which a rate is measured
STEP = 0.1  # seconds between two figures shown
WIDTH = 20  # of a bar
NAME = 32  # characters of a name that a bar shows
QUARTER = 25  # per cent between two plain lines,
QUIET = 1.0  # and seconds


class Meter:
    """One transfer's figures."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._stage = Stage.QUEUED
        self._told = 0  # per cent in the last plain line,
        self._told_at = 0.0  # and when that was

    def at(self, transfer: Transfer, now: float) -> None:
        """Looks at the transfer."""
        samples = self._samples
        if transfer.stage is not self._stage or (samples and transfer.position < samples[-1][1]):
            samples.clear()
            self._stage = transfer.stage
        samples.append((now, transfer.position))
        while samples[0][0] < now - WINDOW:
            samples.popleft()

    @property
    def rate(self) -> float:
        """Bytes a second; 0: not known."""
        (begin, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - begin) if end > begin else 0.0

    def quarter(self, transfer: Transfer, now: float) -> int:
        """The mark that was passed since the last one told, in per cent; 0: none, or too early."""
        if transfer.stage is not Stage.MOVING:
            return 0
        if not self._told_at:
            self._told, self._told_at = _mark(transfer), now  # it was told that it begins here
        mark = _mark(transfer)
        if mark in (self._told, 100) or now < self._told_at + QUIET:
            return 0
        self._told, self._told_at = mark, now
        return mark


def percent(transfer: Transfer) -> int:
    """0 to 100; 100 only when all is through."""
    return transfer.position * 100 // transfer.size if transfer.size else 100


def _mark(transfer: Transfer) -> int:
    return percent(transfer) // QUARTER * QUARTER


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def label(transfer: Transfer) -> str:
    """``report.pdf from ann``."""
    name = transfer.name if len(transfer.name) <= NAME else transfer.name[: NAME - 1] + "…"
    return f"{name} {'from' if isinstance(transfer, Fetching) else 'to'} {transfer.peer}"


def _bar(transfer: Transfer, meter: Meter, width: int) -> Part:
    begin = label(transfer).ljust(width)
    if transfer.stage not in (Stage.READING, Stage.MOVING, Stage.CHECKING):
        return style(f"{begin}  {transfer.stage.value}", "dim")
    done = percent(transfer)
    full = done * WIDTH // 100
    line = f"{begin}  [{'#' * full}{'-' * (WIDTH - full)}] {done:3} %"
    if transfer.stage is not Stage.MOVING:
        return f"{line}  {transfer.stage.value}"
    rate = meter.rate
    left = f"  {_time((transfer.size - transfer.position) / rate)} left" if rate else ""
    return f"{line}  {readable_size(rate)}/s{left}"


class Bars:
    """The bars of all transfers, drawn anew at most every STEP seconds."""

    def __init__(self) -> None:
        self.meters: dict[Transfer, Meter] = {}
        self._lines: list[Part] = []
        self._drawn = -STEP

    def measure(self, active: Sequence[Transfer], now: float) -> bool:
        """Looks at the transfers; False when the last look is not long ago."""
        if now < self._drawn + STEP and self.meters.keys() == set(active):
            return False
        self._drawn = now
        self.meters = {transfer: self.meters.get(transfer) or Meter() for transfer in active}
        for transfer, meter in self.meters.items():
            meter.at(transfer, now)
        return True

    def lines(self, active: Sequence[Transfer], queued: int, now: float) -> list[Part]:
        """What stands above the prompt."""
        if self.measure(active, now):
            width = max((len(label(transfer)) for transfer in active), default=0)
            self._lines = [_bar(transfer, meter, width) for transfer, meter in self.meters.items()]
            if queued:
                self._lines.append(style(f"{queued} more wait{'s' if queued == 1 else ''}", "dim"))
        return self._lines
