"""The loop: one ``selectors`` selector, timers, signals, and the order of a tick (design, section 3).

A tick is: select; read the clocks once; input of every ready channel; timers that are due; then the phases that the
program has put in, in their order (commit, execute, flush, reap). Must not know what a channel carries.

A channel is whatever the selector watches. Its legal calls: ``readable`` and ``writable`` when its descriptor is,
``again`` once in the next tick for each ``loop.again(channel)``. A call that raises is a fault: it is reported, the
channel's ``broken`` is called, the loop lives. An exception out of a phase, and what is no Exception, ends the loop.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from chatlib.reactor.timers import Timer, Timers

INPUT = 0.005  # seconds for the input of one tick, however many channels are ready; the others are first in the next
READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Resumable(Protocol):
    """What may have work left over for the next tick."""

    def again(self) -> None: ...
    def broken(self) -> None: ...


class Channel(Resumable, Protocol):
    """What the loop calls. See the module for when."""

    def readable(self) -> None: ...
    def writable(self) -> None: ...

Ready = list[tuple[selectors.SelectorKey, int]]  # descriptors, and for what
# Told at a tick's end how many descriptors were ready, and when each part ended: input, timers, each of the phases.
Measure = Callable[[int, list[float]], None]


class Loop:
    """Legal order: build, ``phases``, ``run`` once. `now` and `wall` are this tick's times; `wall_text`: as JSON."""

    def __init__(
        self,
        on_fault: Callable[[BaseException], None],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.phases: list[Callable[[], None]] = []
        self.measure: Measure | None = None
        self.notable: list[tuple[str, float]] = []  # `took`, in this tick: `measure` clears it
        self.ticks = 0
        self.running = False
        self._selector = selectors.DefaultSelector()
        self._timers = Timers()
        self._again: dict[Resumable, None] = {}
        self._passed_over: dict[int, int] = {}  # descriptors that were ready when the time was over → place
        self._forgotten: set[Resumable] = set()  # in this tick: what is ready for them is not told any more
        self._on_fault = on_fault
        self._clock, self._wall_clock = clock, wall_clock
        self.read_clocks()

    def read_clocks(self) -> None:
        """What time it is: once a tick, and again by whoever waits without one, before the loop runs or behind it."""
        self.now = self._clock()
        self.wall = round(self._wall_clock(), 3)
        self.wall_text = repr(self.wall).encode()

    # Descriptors.

    def watch(self, fd: int, events: int, channel: Channel) -> None:
        """Calls `channel` whenever `fd` is ready for `events`. PermissionError: a plain file, always ready."""
        self._selector.register(fd, events, channel)
        self._forgotten.discard(channel)

    def change(self, fd: int, events: int, channel: Channel) -> None:
        """Other events from now on; 0: none."""
        known = fd in self._selector.get_map()
        if events and known:
            self._selector.modify(fd, events, channel)
        elif events:
            self._selector.register(fd, events, channel)
        elif known:
            self._selector.unregister(fd)

    def forget(self, fd: int, channel: Channel) -> None:
        """No more calls for `channel`. Must come before `fd` is closed."""
        self.change(fd, 0, channel)
        self._again.pop(channel, None)
        self._forgotten.add(channel)

    def again(self, channel: Resumable) -> None:
        """`channel` has work left over: calls it in the next tick, which then does not wait."""
        self._again[channel] = None

    # Time.

    def call_at(self, deadline: float, call: Callable[[], object]) -> Timer:
        """Calls once `now` has reached `deadline`, after the tick's input."""
        return self._timers.at(deadline, call)

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """As call_at, counted from this tick."""
        return self._timers.at(self.now + seconds, call)

    def took(self, what: str, seconds: float) -> None:
        """For `measure`: a single thing that takes long, in this tick."""
        if self.measure is not None:
            self.notable.append((what, seconds))

    # The tick.

    def run(self) -> None:
        """Ticks until ``stop``."""
        self.running = True
        while self.running:
            self.tick()

    def stop(self) -> None:
        """Ends `run` after this tick."""
        self.running = False

    def tick(self) -> None:
        """One turn, in the order that the module names."""
        ready = self._selector.select(self._patience())
        if self._passed_over:  # they come first, in their order, where they are still ready
            places, self._passed_over = self._passed_over, {}
            ready.sort(key=lambda one: places.get(one[0].fd, len(places)))
        self.read_clocks()
        self.ticks += 1
        self._forgotten.clear()
        if self._again:
            waiting, self._again = self._again, {}
            for channel in waiting:
                if channel not in self._forgotten:
                    self._guard(channel.again, channel)
        inputs = enumerate(ready)
        while not self._input(inputs, ready):  # a fault costs its channel, and the others go on
            pass
        clock = self._clock
        ends = [clock()]
        for timer in self._timers.due(self.now):
            self._guard(timer.fire, None)
        for phase in self.phases:
            ends.append(clock())
            phase()
        if self.measure is not None:
            ends.append(clock())
            self.measure(len(ready), ends)

    def _input(self, inputs: Iterator[tuple[int, tuple[selectors.SelectorKey, int]]], ready: Ready) -> bool:
        """Tells what is ready, as far as the time goes; False: a channel has failed, and more may be ready."""
        forgotten = self._forgotten
        channel: Channel | None = None
        try:
            for number, (key, events) in inputs:
                if not number & 7 and number and self._clock() - self.now > INPUT:
                    self._passed_over = {key.fd: place for place, (key, _) in enumerate(ready[number:])}
                    return True
                channel = key.data
                if events & WRITE and channel not in forgotten:
                    self._guard(channel.writable, channel)
                if events & READ and channel not in forgotten:
                    channel.readable()
        except Exception as fault:
            self._on_fault(fault)
            assert channel is not None
            self._guard(channel.broken, None)
            return False
        return True

    def _patience(self) -> float | None:
        if self._again:
            return 0.0
        deadline = self._timers.next_deadline()
        # Rounded up by the selector; a deadline that has passed means: do not wait.
        return None if deadline is None else max(0.0, deadline - self._clock())

    def _guard(self, call: Callable[[], object], channel: Resumable | None) -> None:
        try:
            call()
        except Exception as fault:
            self._on_fault(fault)
            if channel is not None:
                self._guard(channel.broken, None)

    def close_watched(self) -> None:
        """In a forked child: closes all that the loop watches, so that the child does not keep ports and peers open."""
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)

    def close(self) -> None:
        """Gives the selector's descriptor back."""
        self._selector.close()


class Signals:
    """Signals as one more channel: `on_signal` is called with each one's number, in the tick's input."""

    def __init__(self, loop: Loop, numbers: Iterable[signal.Signals], on_signal: Callable[[int], None]) -> None:
        self._read_fd, self._write_fd = os.pipe()
        for fd in (self._read_fd, self._write_fd):
            os.set_blocking(fd, False)
        self._on_signal = on_signal
        # The wake-up byte is written in C, whatever Python is doing; the handler itself has nothing left to do.
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        loop.watch(self._read_fd, READ, self)

    def readable(self) -> None:
        for number in os.read(self._read_fd, 64):
            self._on_signal(number)

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...
