"""The loop: the order of a tick, faults, work left over, and signals."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from chatlib.reactor.loop import READ, WRITE, Signals
from tests.conftest import Python
from tests.reactor.turns import Note, Turns


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    yield near, far
    near.close()
    far.close()


Pair = tuple[socket.socket, socket.socket]


def fail(text: str = "a bug") -> None:
    raise RuntimeError(text)


def test_a_tick_is_input_then_timers_then_phases_in_order(turns: Turns, pair: Pair) -> None:
    near, far = pair
    notes: list[str] = []
    left = Note(notes, "left over: ")
    turns.loop.phases += [lambda: notes.append("commit"), lambda: notes.append("flush")]
    turns.loop.watch(near.fileno(), READ | WRITE, Note(notes, readable=lambda: near.recv(9)))
    turns.loop.call_later(1.0, lambda: notes.append("timer"))
    turns.loop.again(left)
    far.send(b"x")
    turns.tick(after=1.0)
    assert notes == ["left over: again", "writable", "readable", "timer", "commit", "flush"]
    turns.loop.forget(near.fileno(), left)


def test_the_clocks_are_read_once_a_tick(turns: Turns) -> None:
    seen: list[tuple[float, float]] = []

    def look() -> None:
        turns.clock.now += 0.5
        seen.append((turns.loop.now, turns.loop.wall))

    turns.loop.phases += [look, look]
    turns.clock.now = 7.12345
    turns.tick()
    assert seen == [(7.12345, 7.123)] * 2


def test_events_are_changed_and_forgotten(turns: Turns, pair: Pair) -> None:
    near, far = pair
    notes: list[str] = []
    channel = Note(notes)
    far.send(b"x")
    turns.loop.watch(near.fileno(), READ, channel)
    turns.tick()
    turns.loop.change(near.fileno(), 0, channel)
    turns.loop.change(near.fileno(), 0, channel)
    turns.tick()
    turns.loop.change(near.fileno(), WRITE, channel)
    turns.tick()
    turns.loop.change(near.fileno(), READ, channel)
    turns.tick()
    turns.loop.again(channel)
    turns.loop.forget(near.fileno(), channel)
    turns.tick()
    assert notes == ["readable", "writable", "readable"]


def test_work_left_over_is_done_once_in_the_next_tick_which_does_not_wait(turns: Turns) -> None:
    notes: list[str] = []
    channel = Note(notes)
    turns.loop.again(channel)
    turns.loop.again(channel)
    turns.loop.tick()  # would wait for ever otherwise
    turns.tick()
    assert notes == ["again"]


def test_work_left_over_that_is_left_over_again_waits_for_the_next_tick(turns: Turns) -> None:
    notes: list[str] = []
    channel = Note(notes, again=lambda: turns.loop.again(channel))
    turns.loop.again(channel)
    for count in (1, 2, 3):
        turns.loop.tick()
        assert notes == ["again"] * count
    turns.loop.forget(0, channel)


# Faults.


@pytest.mark.parametrize("call", ["readable", "writable", "again"])
def test_a_fault_in_a_channel_is_reported_and_the_loop_lives(turns: Turns, pair: Pair, call: str) -> None:
    near, far = pair
    notes: list[str] = []
    events = WRITE if call == "writable" else READ
    channel = Note(notes, **{call: fail, "broken": lambda: turns.loop.forget(near.fileno(), channel)})
    turns.loop.watch(near.fileno(), events, channel)
    if call == "again":
        turns.loop.again(channel)
    elif call == "readable":
        far.send(b"x")
    turns.loop.phases.append(lambda: notes.append("phase"))
    turns.tick(2)
    assert notes == [call, "broken", "phase", "phase"]
    assert [str(fault) for fault in turns.faults] == ["a bug"]
    turns.faults.clear()


def test_a_channel_that_breaks_while_breaking_does_not_end_the_loop_either(turns: Turns, pair: Pair) -> None:
    near, far = pair
    notes: list[str] = []
    channel = Note(notes, readable=lambda: (near.recv(9), fail("first")), broken=lambda: fail("second"))
    turns.loop.watch(near.fileno(), READ, channel)
    far.send(b"x")
    turns.tick(2)
    assert notes == ["readable", "broken"]
    assert [str(fault) for fault in turns.faults] == ["first", "second"]
    turns.faults.clear()


def test_a_fault_in_a_timer(turns: Turns) -> None:
    calls: list[str] = []
    turns.loop.call_later(0.0, fail)
    turns.loop.call_later(0.0, lambda: calls.append("next"))
    turns.tick()
    assert calls == ["next"]
    assert len(turns.faults) == 1
    turns.faults.clear()


def test_a_phase_that_raises_ends_the_loop(turns: Turns) -> None:
    turns.loop.phases.append(fail)
    with pytest.raises(RuntimeError):
        turns.tick()


def test_what_is_no_exception_ends_the_loop(turns: Turns) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    turns.loop.call_later(0.0, interrupt)
    with pytest.raises(KeyboardInterrupt):
        turns.tick()


def test_a_channel_that_was_forgotten_in_this_tick_is_not_called_any_more(turns: Turns) -> None:
    """One reply may end another connection, whose descriptor is ready too, and closed by then."""
    notes: list[str] = []
    pairs = [socket.socketpair() for _ in range(2)]
    channels: list[Note] = []

    def end_the_other(other: int) -> None:
        pairs[1 - other][0].recv(9)
        turns.loop.forget(pairs[other][0].fileno(), channels[other])
        pairs[other][0].close()

    for number in (0, 1):
        channels.append(Note(notes, f"{number}: ", readable=lambda n=number: end_the_other(1 - n)))  # type: ignore[misc]
        turns.loop.watch(pairs[number][0].fileno(), READ, channels[number])
        pairs[number][1].send(b"x")
    turns.tick(2)
    assert notes in (["0: readable"], ["1: readable"])
    for pair in pairs:
        for end in pair:
            end.close()


def test_left_over_work_of_a_channel_that_was_forgotten_meanwhile_is_not_done(turns: Turns, pair: Pair) -> None:
    notes: list[str] = []
    second = Note(notes, "second ")
    first = Note(notes, "first ", again=lambda: turns.loop.forget(pair[0].fileno(), second))
    turns.loop.watch(pair[0].fileno(), READ, second)
    turns.loop.again(first)
    turns.loop.again(second)
    turns.tick(2)
    assert notes == ["first again"]


def test_run_ends_after_the_tick_that_stops_it(turns: Turns) -> None:
    notes: list[str] = []
    turns.loop.call_later(0.0, turns.loop.stop)
    turns.loop.phases.append(lambda: notes.append("phase"))
    turns.loop.run()
    assert notes == ["phase"]
    assert turns.loop.ticks == 1


# Signals.


@pytest.fixture
def handlers() -> Iterator[None]:
    """What signals did before is restored."""
    numbers = (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    fd = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(fd)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_signals_come_as_input(turns: Turns, handlers: None) -> None:
    came: list[int] = []
    signals = Signals(turns.loop, (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1), came.append)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
        turns.until(lambda: len(came) and came[-1] == number)  # noqa: B023
        came.append(0)
    assert [number for number in came if number] == [signal.SIGHUP, signal.SIGTERM, signal.SIGHUP]
    turns.loop.forget(signals._read_fd, signals)
    signal.set_wakeup_fd(-1)
    os.close(signals._read_fd)
    os.close(signals._write_fd)


WAITING = """
import os, signal, time
from chatlib.reactor.loop import Loop, Signals

def came(number):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        loop.stop()

loop = Loop(print)
Signals(loop, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP), came)
loop.call_later(0.0, lambda: os.kill(os.getpid(), signal.SIGHUP))
loop.call_later(0.0, lambda: loop.call_later(0.0, lambda: os.kill(os.getpid(), signal.SIGINT)))
loop.call_later(0.0, lambda: loop.call_later(0.0, lambda: os.kill(os.getpid(), signal.SIGTERM)))
loop.run()
print("stopped")
"""


def test_a_process_that_waits_is_woken_by_its_signals(python: Python) -> None:
    done = python(WAITING)
    assert done.stdout.split() == ["SIGHUP", "SIGINT", "SIGTERM", "stopped"], done.stderr


def test_a_crowd_that_is_ready_at_once_does_not_hold_up_the_tick(turns: Turns) -> None:
    """Each call takes 1 ms by the clock: input ends after 5 ms, and goes on where it ended."""
    order: list[int] = []
    pairs = [socket.socketpair() for _ in range(200)]

    def slow(number: int) -> None:
        turns.clock.now += 0.001
        order.append(number)

    for number, (here, there) in enumerate(pairs):
        there.send(b"x")
        turns.loop.watch(here.fileno(), READ, Note([], readable=partial(slow, number)))
    for _ in range(30):
        turns.loop.tick()
    assert len(order) == 30 * 8, "the time is looked at every 8 calls"
    assert len(set(order[:200])) == 200, "nobody has a second turn before everybody had the first"
    for pair in pairs:
        for end in pair:
            end.close()
