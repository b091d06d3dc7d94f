"""Timers: in the order of their deadlines, and never after cancel."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatlib.reactor.timers import Timers
from tests.reactor.turns import Turns


def fire(timers: Timers, now: float) -> None:
    for timer in timers.due(now):
        timer.fire()


def test_the_order_is_that_of_the_deadlines_then_that_of_asking() -> None:
    timers, calls = Timers(), list[str]()
    for deadline, name in ((3.0, "c"), (1.0, "a1"), (2.0, "b"), (1.0, "a2")):
        timers.at(deadline, lambda name=name: calls.append(name))  # type: ignore[misc]
    assert timers.next_deadline() == 1.0
    fire(timers, 0.9)
    assert calls == []
    fire(timers, 2.0)
    assert calls == ["a1", "a2", "b"]
    assert timers.next_deadline() == 3.0
    fire(timers, 99.0)
    fire(timers, 99.0)
    assert calls == ["a1", "a2", "b", "c"]
    assert timers.next_deadline() is None


def test_cancelled_timers_are_not_called_and_nobody_waits_for_them() -> None:
    timers, calls = Timers(), list[str]()
    first = timers.at(1.0, lambda: calls.append("first"))
    timers.at(2.0, lambda: calls.append("second"))
    first.cancel()
    first.cancel()
    assert timers.next_deadline() == 2.0
    fire(timers, 5.0)
    assert calls == ["second"]
    first.cancel()


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=300), st.lists(st.integers(0, 20)))
def test_any_timers(asked: list[tuple[int, bool]], times: list[int]) -> None:
    timers, calls = Timers(), list[int]()
    made = [timers.at(float(at), lambda n=n: calls.append(n)) for n, (at, _) in enumerate(asked)]  # type: ignore[misc]
    for timer, (_, cancelled) in zip(made, asked, strict=True):
        if cancelled:
            timer.cancel()
    alive = sorted((at, n) for n, (at, cancelled) in enumerate(asked) if not cancelled)
    now = -1
    for time in sorted(times):
        now = time
        fire(timers, float(now))
        left = [at for at, _ in alive if at > now]
        assert timers.next_deadline() == (min(left) if left else None)
    assert calls == [n for at, n in alive if at <= now]


def test_a_heap_of_cancelled_timers_does_not_grow_without_bound() -> None:
    timers = Timers()
    for _ in range(10_000):
        timers.at(1e9, lambda: None).cancel()
    assert len(timers._heap) < 200


def test_a_call_may_cancel_others_of_the_same_tick_and_itself(turns: Turns) -> None:
    calls: list[str] = []
    first = turns.loop.call_later(1.0, lambda: (calls.append("first"), second.cancel(), first.cancel()))
    second = turns.loop.call_later(1.0, lambda: calls.append("second"))
    third = turns.loop.call_later(2.0, lambda: calls.append("third"))
    turns.tick(after=2.0)
    assert calls == ["first", "third"]
    third.cancel()


def test_a_call_that_asks_anew_waits_for_the_next_tick(turns: Turns) -> None:
    calls: list[int] = []

    def again() -> None:
        calls.append(turns.loop.ticks)
        if len(calls) < 3:
            turns.loop.call_later(0.0, again)

    turns.loop.call_later(0.0, again)
    turns.tick(3)
    assert calls == [1, 2, 3]
