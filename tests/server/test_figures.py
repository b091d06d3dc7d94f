"""What a server counts and measures of itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.server.figures import Figures, Histogram, percentile
from tests.server.house import House


def figures_after(seconds: int, each_second: Callable[[Figures], object]) -> Figures:
    """Figures that were looked at once a second, as the server does."""
    figures = Figures(0.0)
    for second in range(1, seconds + 1):
        each_second(figures)
        figures.look(float(second))
    return figures


def test_what_happens_is_counted_by_name() -> None:
    figures = Figures(0.0)
    figures.count("door: strangers turned away")
    figures.count("door: strangers turned away", by=2)
    figures.count("tls: handshakes")
    assert figures.counters == {"door: strangers turned away": 3, "tls: handshakes": 1}
    assert figures.lately() == figures.counters


def test_the_last_minute_forgets_what_came_before_it() -> None:
    figures = figures_after(300, lambda figures: figures.count("requests"))
    assert figures.counters["requests"] == 300
    assert figures.lately() == {"requests": 60} and figures.within(300.0) == 60.0


def test_what_did_not_happen_lately_is_not_named() -> None:
    figures = Figures(0.0)
    figures.count("refusals")
    for second in range(1, 200):
        figures.look(float(second))
    assert figures.counters == {"refusals": 1} and figures.lately() == {}


def test_percentiles_are_right_within_five_percent() -> None:
    chance = random.Random(7)
    durations = [chance.lognormvariate(-7.0, 2.0) for _ in range(20_000)]
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    histogram.fold()
    for share in (0.01, 0.5, 0.9, 0.99, 0.999):
        exact = sorted(durations)[int(share * len(durations)) - 1]
        assert percentile(histogram.counts, share) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("count", [1, 5, 100])
def test_many_at_once_count_as_one_after_the_other(count: int) -> None:
    one, other = Histogram(), Histogram()
    one.add_many(0.003, count)
    one.fold()
    for _ in range(count):
        other.add(0.003)
    other.fold()
    assert (one.counts, one.total) == (other.counts, other.total) and one.total == count


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-12, 2.0**-24, 0.001, 1.0, 2.0**16, 1e9])
def test_any_duration_has_its_place_however_it_comes(seconds: float) -> None:
    one, other = Histogram(), Histogram()
    for _ in range(100):
        one.add(seconds)
    one.fold()
    other.add_many(seconds, 100)
    assert one.counts == other.counts and sum(one.counts) == 100


def test_bounds_of_buckets_are_told_alike_by_both_ways() -> None:
    bounds = [2.0 ** (each / 8 - 24) for each in range(330)]
    one, other = Histogram(), Histogram()
    for bound in bounds:
        one._fresh.extend([bound] * 100)
        other.add_many(bound, 100)
    one.fold()
    assert sum(one.counts) == sum(other.counts) == 100 * len(bounds)
    both = zip(one.counts, other.counts, strict=True)
    assert max(abs(a - b) for a, b in both) <= 100, "a bound may fall on either side"


def test_a_measure_of_the_last_minute_stands_apart_from_all() -> None:
    figures = Figures(0.0)
    ticks = figures.histogram("ticks")
    for second in range(1, 301):
        ticks.add_many(0.001 if second <= 240 else 0.1, 10)
        figures.look(float(second))
    assert figures.percentiles("ticks", 0.5, 0.99) == [pytest.approx(0.001, rel=0.05), pytest.approx(0.1, rel=0.05)]
    assert figures.percentiles_lately("ticks", 0.5) == [pytest.approx(0.1, rel=0.05)]
    assert figures.percentiles("syncs", 0.5) == [None], "nothing was measured"


def test_memory_stays_flat_whatever_is_measured() -> None:
    figures = figures_after(1_000, lambda figures: [figures.histogram("ticks").add(0.001) for _ in range(100)])
    histogram = figures.histogram("ticks")
    assert histogram.total == 100_000 and len(histogram.counts) == 320 and not histogram._fresh
    assert len(figures._moments) <= 14


def test_what_any_part_counts_is_shown_by_stats(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.server.figures.count("door: strangers turned away", by=12)
    said = house.admin("stats")
    assert said[said.index("Door (12, 12 of them in the last minute):") + 1] == "  strangers turned away: 12 (12)"
