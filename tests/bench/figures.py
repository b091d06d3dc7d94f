"""What a row is and what it fills: aims, figures, units, and how much is done. Data, without any measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from testbed import Testbed


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done: everything, or little enough to see that it works."""

    quick: bool

    @property
    def seconds(self) -> int:
        """Measured time of a row."""
        return 1 if self.quick else 4

    def users(self, full: int) -> int:
        """How many are online."""
        return full // 10 if self.quick and full > 1000 else full

    @property
    def repeats(self) -> int:
        """How often what takes a second is done."""
        return 1 if self.quick else 3

    @property
    def file(self) -> int:
        """Bytes of a large file."""
        return 64 << 20 if self.quick else 1 << 30

    @property
    def history(self) -> int:
        """Messages journaled before a restart."""
        return 50_000 if self.quick else 1_000_000


@dataclass(frozen=True, slots=True)
class Unit:
    """How a figure is shown, and whether less of it is better."""

    show: Callable[[float], str]
    at_most: bool


@dataclass(frozen=True, slots=True)
class Aim:
    """A line of the table: what others reach, and what is to be reached here."""

    work: str
    goal: float
    unit: Unit
    servers: str = ""  # C servers of the kind
    relay: str = ""  # a bare Python relay without any logic


@dataclass(frozen=True, slots=True)
class Figure:
    """What was reached; `wall` is the same per second of wall time."""

    reached: float
    wall: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """`name` is for --only."""

    name: str
    aims: tuple[Aim, ...]
    measure: Callable[[Testbed, Scale], list[Figure]]


def _rate(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value:,.0f}"


RATE = Unit(_rate, at_most=False)
PERCENT = Unit(lambda value: f"{value:.2f} %", at_most=True)
MICROSECONDS = Unit(lambda value: f"{value:.1f} us", at_most=True)
MILLISECONDS = Unit(lambda value: f"{value:.2f} ms", at_most=True)
SECONDS = Unit(lambda value: f"{value:.2f} s", at_most=True)
MEGABYTES_A_SECOND = Unit(lambda value: f"{value / 1e6:,.0f} MB/s", at_most=False)
MEGABYTES = Unit(lambda value: f"{value / 1e6:.1f} MB", at_most=True)
SHARE = Unit(lambda value: f"{value:.0%}", at_most=False)
TIMES = Unit(lambda value: f"{value:.2f}-fold", at_most=True)
KILOBYTES = Unit(lambda value: f"{value:.1f} KB", at_most=True)
