"""Figures: what a server counts and measures of itself, since its start and in the last minute.

Whoever has something to count says so by name: ``figures.count("door: strangers turned away")``. What stands before the
colon is the group under which ``stats`` shows it; nothing need be declared. A measure is a :class:`Histogram`. Both
keep as much memory as there are names, whatever happens how often: so a name must never hold what a peer has said.

Must not know what is counted, and reads no clock. Legal order: anything, ``look`` about once a second.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from math import log2

STEP = 5.0  # seconds between two moments that are remembered
MINUTE = 60.0
_PARTS = 8  # buckets for each doubling: what is read off is wrong by 5 % at most
_LEAST, _MOST = -24, 16  # powers of two of a second: from 60 ns to 18 hours; what is beyond counts as that
_FEW = 20  # at once, that are as quickly added one by one
_SIZE = (_MOST - _LEAST) * _PARTS

Counts = list[int]


class Histogram:
    """Durations in seconds, in buckets that grow by a twelfth. ``add(seconds)`` is a list's own ``append``: 20 ns.

    `fold` sorts what was added into the buckets, about 0.1 µs for each; until then it takes memory.
    """

    __slots__ = ("_fresh", "add", "counts", "total")

    def __init__(self) -> None:
        self._fresh: list[float] = []
        self.add: Callable[[float], None] = self._fresh.append
        self.counts: Counts = [0] * _SIZE
        self.total = 0  # durations that were folded

    def add_many(self, seconds: float, count: int) -> None:
        """The same duration `count` times."""
        if count == 1:
            self.add(seconds)
        elif count <= _FEW:
            self._fresh.extend([seconds] * count)
        else:
            self.counts[_bucket(seconds)] += count
            self.total += count

    def fold(self) -> None:
        """Sorts what is fresh into the buckets: a bucket at a time, not a duration at a time."""
        fresh = self._fresh
        if not fresh:
            return
        fresh.sort()
        begun, count = 0, len(fresh)
        while begun < count:
            bucket = _bucket(fresh[begun])
            end = count if bucket == _SIZE - 1 else bisect_left(fresh, _lower(bucket + 1), begun + 1)
            self.counts[bucket] += end - begun
            begun = end
        self.total += count
        fresh.clear()


def _bucket(seconds: float) -> int:
    if seconds <= 0.0:
        return 0
    return max(0, min(_SIZE - 1, int((log2(seconds) - _LEAST) * _PARTS)))


def _lower(bucket: float) -> float:
    """Where a bucket begins; with a half, its middle."""
    return float(2.0 ** (bucket / _PARTS + _LEAST))


def percentile(counts: Counts, share: float, before: Counts | None = None) -> float | None:
    """The duration that `share` of all stay within; of those only that came since `before`. None: there were none."""
    new = counts if before is None else [now - then for now, then in zip(counts, before, strict=True)]
    wanted = share * sum(new)
    for bucket, count in enumerate(new):
        wanted -= count
        if count and wanted <= 0.0:
            return _lower(bucket + 0.5)
    return None


class Figures:
    """All counters and histograms of one server. `now`: the loop's time."""

    def __init__(self, now: float) -> None:
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.histograms: dict[str, Histogram] = {}
        self._moments = deque([(now, dict[str, int](), dict[str, Counts]())])  # the oldest is about a minute ago

    def count(self, name: str, by: int = 1) -> None:
        """`name` happened `by` times more."""
        self.counters[name] += by

    def histogram(self, name: str) -> Histogram:
        """The one of this name; a new one where there is none."""
        return self.histograms.setdefault(name, Histogram())

    def fold(self) -> None:
        """Sorts what was measured into the buckets: legal at any time, so that there is never much of it."""
        for histogram in self.histograms.values():
            histogram.fold()

    def look(self, now: float) -> None:
        """Folds what was measured, and remembers how things stand every STEP seconds."""
        self.fold()
        moments = self._moments
        if now - moments[-1][0] < STEP:
            return
        counts = {name: histogram.counts.copy() for name, histogram in self.histograms.items()}
        moments.append((now, dict(self.counters), counts))
        while len(moments) > 1 and moments[1][0] <= now - MINUTE:
            moments.popleft()

    def within(self, now: float) -> float:
        """How many seconds "in the last minute" means: fewer at the beginning."""
        return now - self._moments[0][0]

    def lately(self) -> Mapping[str, int]:
        """The counters of the last minute: those that have grown."""
        before = self._moments[0][1]
        return {name: new for name, count in self.counters.items() if (new := count - before.get(name, 0))}

    def percentiles(self, name: str, *shares: float) -> list[float | None]:
        """Of a histogram, since the start."""
        histogram = self.histogram(name)
        histogram.fold()
        return [percentile(histogram.counts, share) for share in shares]

    def percentiles_lately(self, name: str, *shares: float) -> list[float | None]:
        """The same of the last minute."""
        histogram = self.histogram(name)
        histogram.fold()
        return [percentile(histogram.counts, share, self._moments[0][2].get(name)) for share in shares]
