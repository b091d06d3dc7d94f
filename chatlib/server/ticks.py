"""What a server's ticks come to: their length without the waiting, and why one took long.

A tick longer than SLOW goes to the server log with its cause, and at most so many in a minute; with LOG `debug`, each
longer than NOTED. How long commands waited until they were committed is measured here, too, to the tick.

Must not know what a command does. Legal order: ``measure`` at each tick's end, ``look`` once a second.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter, deque
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from chatlib.protocol.text import counted
from chatlib.reactor.loop import Loop
from chatlib.server.delivery import Delivery
from chatlib.server.figures import Figures
from chatlib.server.pipeline import Pipeline
from chatlib.storage.serverlog import DEBUG, WARNING, ServerLog

SLOW = 0.05  # seconds
NOTED = 0.005  # with LOG debug
IN_A_MINUTE = 10  # slow ticks that are logged; with LOG debug so many times more of those that are noted
_MORE = 10
_MANY = 256  # requests heard, that are counted together
_LONG = 0.002  # seconds of a single thing that is named as a cause
_PARTS = ("input", "timers", "commit and execution", "flush", "reap", "console")  # and what is behind them
_COMMIT = 2  # its place among them


class Longest(NamedTuple):
    """The longest tick since the start: when it ended, and what it did."""

    seconds: float = 0.0
    at: float = 0.0
    cause: str = ""


class Ticks:
    """Those of one loop, whose `measure` this puts in."""

    def __init__(self, *, loop: Loop, figures: Figures, log: ServerLog, pipeline: Pipeline, delivery: Delivery) -> None:
        self._loop, self._log, self._pipeline, self._delivery = loop, log, pipeline, delivery
        self.longest = Longest()
        self._figures = figures
        self._add_length, self._queued = figures.histogram("ticks").add, figures.histogram("queue")
        self._add_queued = self._queued.add
        self._syncs, self.in_place = figures.histogram("syncs"), 0
        self._heard, self._heard_since = log.heard, loop.wall
        self._known = 0  # of what was heard, before this tick
        self._worth = 0.0  # a tick of this length is looked at
        self._limit = _Limit(IN_A_MINUTE, loop.now), _Limit(IN_A_MINUTE * _MORE, loop.now)
        self._submitted = pipeline.submitted
        self._waiting: deque[tuple[int, int, float]] = deque()  # tickets up to this, how many, submitted when
        self._executed, self._delivered, self._pushed = pipeline.executed, 0, 0  # before this tick
        self._starved = _starved()  # a second ago
        self._searching_since = 0.0
        loop.measure = self.measure

    def synced(self, seconds: float, in_place: bool) -> None:
        """A sync took so long; `in_place`: the loop stood still for it."""
        self._syncs.add(seconds)
        if in_place:
            self.in_place += 1
            if seconds > _LONG:
                self._loop.took("a sync in place", seconds)

    def collected(self, phase: str, _info: object) -> None:
        """For ``gc.callbacks``: a search for garbage begins, or ends."""
        now = time.perf_counter()
        if phase == "start":
            self._searching_since = now
        elif now - self._searching_since > _LONG:
            self._loop.took("a search for garbage", now - self._searching_since)

    def measure(self, ready: int, ends: list[float]) -> None:
        """The end of a tick, as the loop tells it."""
        loop, pipeline, delivery = self._loop, self._pipeline, self._delivery
        begun = loop.now
        length = ends[-1] - begun
        self._add_length(length)
        if length > self._worth:
            self._look_at(length, ready, ends)
        if loop.notable:
            loop.notable.clear()
        submitted = pipeline.submitted
        if submitted == self._submitted + 1 and submitted == pipeline.done and not self._waiting:
            self._submitted = submitted
            self._add_queued(ends[_COMMIT] - begun)  # nearly always, where one command makes a tick
        elif submitted != self._submitted or self._waiting:
            self._time_commands(submitted, begun, ends[_COMMIT])
        heard = self._heard
        if heard:
            if not self._known:
                self._heard_since = loop.wall
            elif len(heard) > _MANY or int(loop.wall) != int(self._heard_since):
                self._log.tally(self._heard_since)
        self._known = len(heard)
        if not loop.ticks & 1_023:
            self._figures.fold()  # a little at a time, however many ticks there are in a second
        self._executed, self._delivered, self._pushed = pipeline.executed, delivery.delivered, delivery.pushed

    def _time_commands(self, submitted: int, begun: float, committed: float) -> None:
        """How long the commands that were committed in this tick had waited for it."""
        waiting, done, count = self._waiting, self._pipeline.done, submitted - self._submitted
        self._submitted = submitted
        if done == submitted and not waiting:  # nearly always: a fast disk
            self._queued.add_many(committed - begun, count)
            return
        if count:
            waiting.append((submitted, count, begun))
        while waiting and waiting[0][0] <= done:
            _, count, since = waiting.popleft()
            self._queued.add_many(committed - since, count)

    def _look_at(self, length: float, ready: int, ends: list[float]) -> None:
        slow = length >= SLOW
        noted = slow or (length >= NOTED and self._log.debugs)
        if length <= self.longest.seconds and not noted:
            return
        cause = self._cause(length, ready, ends)
        if length > self.longest.seconds:
            self.longest = Longest(length, self._loop.wall, cause)
        self._worth = min(self.longest.seconds, NOTED if self._log.debugs else SLOW)
        if noted and self._limit[not slow].allows(length):
            self._log.write(f"A tick took {_ms(length)} ms: {cause}", WARNING if slow else DEBUG)

    def _cause(self, length: float, ready: int, ends: list[float]) -> str:
        """What happened in this tick, the longest part first."""
        parts = _lengths([self._loop.now, *ends])
        said = [", ".join(f"{name} {_ms(part)}" for name, part in parts if part >= 0.001 or part == parts[0][1])]
        said.append(counted(ready, "channel"))
        heard = Counter(name for _, name in self._heard[self._known :])
        if heard:
            said.append(f"requests: {', '.join(f'{name} x{count}' for name, count in heard.most_common())}")
        if executed := self._pipeline.executed - self._executed:
            said.append(f"{counted(executed, 'command')} executed")
        if lines := self._delivery.delivered - self._delivered:
            pushed = self._delivery.pushed - self._pushed
            said.append(f"{counted(lines, 'line')} of {counted(pushed, 'byte')} flushed")
        said += [f"{name} {_ms(seconds)} ms" for name, seconds in self._loop.notable]
        starved = min(length, _starved() - self._starved)
        if starved >= 0.001:
            said.append(f"other programs had the CPU for up to {_ms(starved)} ms of it")
        return "; ".join(said)

    def look(self) -> None:
        """Once a second: what was too much to be logged is said in all when its minute is over."""
        self._figures.look(self._loop.now)
        self._starved = _starved()
        self._worth = min(self.longest.seconds, NOTED if self._log.debugs else SLOW)
        for limit, weight, least in zip(self._limit, (WARNING, DEBUG), (SLOW, NOTED), strict=True):
            count, longest = limit.over(self._loop.now)
            if count:
                self._log.write(
                    f"{counted(count, 'more tick')} over {_ms(least)} ms in the last minute, the longest of"
                    f" {_ms(longest)} ms", weight
                )  # fmt: skip


class _Limit:
    """So many in a minute; what is more is counted."""

    def __init__(self, most: int, now: float) -> None:
        self._most = most
        self._since = now
        self._count = 0
        self._longest = 0.0  # of those that were too many

    def allows(self, length: float) -> bool:
        self._count += 1
        if self._count > self._most:
            self._longest = max(self._longest, length)
        return self._count <= self._most

    def over(self, now: float) -> tuple[int, float]:
        """When the minute is over: how many were too many, and the longest of these."""
        if now - self._since < 60.0:
            return 0, 0.0
        found = max(0, self._count - self._most), self._longest
        self._since, self._count, self._longest = now, 0, 0.0
        return found


def _lengths(times: Sequence[float]) -> list[tuple[str, float]]:
    """How long each part took, the longest first."""
    spent: dict[str, float] = {}
    for place, (begun, end) in enumerate(pairwise(times)):
        name = _PARTS[min(place, len(_PARTS) - 1)]
        spent[name] = spent.get(name, 0.0) + end - begun
    return sorted(spent.items(), key=lambda part: -part[1])


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:.0f}" if seconds >= 0.0095 else f"{seconds * 1_000:.1f}"


def _starved() -> float:
    """Seconds since the start in which this process could have run, and others did (Linux; elsewhere 0)."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fd = os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(fd, 128).split()[1]) / 1e9
        finally:
            os.close(fd)
    return 0.0
