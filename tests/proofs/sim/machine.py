"""The simulated machine: its clock, what happens when, chance, the trace, processes, and where it may crash.

Time goes on only here. Whatever happens is an event on one heap; who waits (a selector, a sleep) lets events happen
meanwhile. A `step` is counted for each change of the server's disk, each call on its sockets and each phase of its
ticks: at a chosen one the machine crashes. Everything that depends on chance asks `chance`, so one seed is one story.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import threading
from collections.abc import Callable
from typing import Any

from tests.proofs.sim.disk import Disk
from tests.proofs.sim.nodes import Process

EPOCH = 1_700_000_000.0  # the time of day when the clock says 0
HOME, PEOPLE = "/sim/server", "/sim/people"


class Crash(BaseException):
    """Nothing more is done by whoever hears of it."""


class Wrong(BaseException):
    """Something outside of the server is not as it must be: the server must not take that for a fault of its own."""


class Stuck(AssertionError):
    """What should have happened has not."""


class Machine:
    """One schedule's. `process`: who works at the moment."""

    def __init__(self, seed: str, tracing: bool = False) -> None:
        self.chance = random.Random(seed)
        self.now = 1_000.0
        self.skipped = 0.0  # seconds of the calendar, while nobody was there
        self.process: Process | None = None
        self.server: Process | None = None  # while it runs
        self.disks = {root: Disk(root, self.wall) for root in (HOME, PEOPLE)}
        self.disk = self.disks[HOME]
        self.disk.before = self._before
        self.fault: Callable[[str, str, int], int] = lambda kind, path, size: size
        self.jobs: list[Fiber] = []
        self.woken: dict[int, Callable[[], None]] = {}  # by process: whom its sockets wake,
        self.addresses: dict[int, str] = {}  # and where it is
        self.steps = 0
        self.server_woken = False
        self.crash_at = 0  # the step; 0: none
        self.crashing = False
        self.tracing, self.trace = tracing, list[str]()
        self._digest = hashlib.sha256()
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._pids = 100
        self._drift = 0.0

    def wake_server(self) -> None:
        """Something may be ready for it."""
        self.server_woken = True

    # Time.

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now + self.skipped

    def perf_counter(self) -> float:
        """Work takes a while, by chance: budgets run out here and there."""
        self._drift += self.chance.choice((1e-6, 1e-5, 1e-4))
        return self.now + self._drift

    def later(self, delay: float, call: Callable[[], object]) -> None:
        """`call` is an event in so many seconds."""
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, call))

    def happen(self, until: float) -> bool:
        """The next event, if it comes before `until`: whether there was one. Else it is `until` now."""
        if self._events and self._events[0][0] <= until:
            at, _, call = heapq.heappop(self._events)
            self.now = max(self.now, at)
            mine, self.process = self.process, None
            try:
                call()
            except Exception as error:
                raise Wrong(f"{type(error).__name__}: {error}") from error
            finally:
                self.process = mine
            if self.crashing and mine is self.server and mine is not None:
                raise Crash
            return True
        if until != float("inf"):
            self.now = max(self.now, until)
        return False

    def pass_time(self, seconds: float) -> None:
        """Whatever happens meanwhile."""
        until = self.now + seconds
        while self.happen(until):
            pass

    def sleep(self, seconds: float) -> None:
        """Of the process that works."""
        if isinstance(threading.current_thread(), Fiber):
            threading.current_thread().pause(seconds)  # type: ignore[attr-defined]
        else:
            self.pass_time(seconds)

    # What is seen of it.

    def note(self, *words: object) -> None:
        """Something happened."""
        text = f"{self.now:.6f} {' '.join(map(str, words))}"
        self._digest.update(text.encode())
        if self.tracing:
            self.trace.append(f"{self.steps:6} {text}")

    @property
    def digest(self) -> str:
        """Of everything that happened so far."""
        return self._digest.hexdigest()

    # Processes, and where they crash.

    def new_process(self, parent: Process | None = None) -> Process:
        self._pids += 1
        return Process(self._pids, parent)

    def step(self, kind: str, detail: object = "") -> None:
        """The server, or a child of its, is about to do something."""
        process = self.process
        if process is not None and process.over:
            raise Crash
        if process is None or (process is not self.server and process.parent is None):
            return
        self.steps += 1
        self.note("child" if process.parent else "server", kind, detail)
        if self.steps == self.crash_at:
            self.note("the machine crashes here")
            self.crashing = True
            raise Crash

    def _before(self, kind: str, path: str, size: int) -> int:
        self.step(kind, path[len(HOME) + 1 :])
        taken = self.fault(kind, path, size)
        fiber = threading.current_thread()
        if isinstance(fiber, Fiber):
            fiber.perhaps_pause()
        return taken


class Fiber(threading.Thread):
    """A forked child: a thread that works only while nobody else does, until it pauses."""

    def __init__(self, machine: Machine, process: Process, work: Callable[[], Any], pace: float) -> None:
        """`pace`: how likely it pauses at each change of the disk."""
        super().__init__(daemon=True)
        self._machine, self.process, self._work, self._pace = machine, process, work, pace
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.wakes = 0.0  # in so many seconds, when it has paused
        self.start()

    def run(self) -> None:
        self._go.acquire()
        try:
            if not self.process.over:
                self.result = self._work()
        except BaseException as error:
            self.error = error
        self.done = True
        self._back.release()

    def proceed(self) -> None:
        """Until it pauses, or is done. Called by whoever else works."""
        machine = self._machine
        mine, machine.process = machine.process, self.process
        self._go.release()
        self._back.acquire()
        machine.process = mine

    def pause(self, seconds: float) -> None:
        """Called in the child."""
        self.wakes = seconds
        self._back.release()
        self._go.acquire()
        if self.process.over:
            raise Crash

    def perhaps_pause(self) -> None:
        chance = self._machine.chance
        if chance.random() < self._pace:
            self.pause(chance.choice((0.0001, 0.01, 0.5)))

    def kill(self) -> None:
        """Its process is over, wherever it is."""
        self.process.end()
        while not self.done:
            self.proceed()
