"""What a server's ticks come to, and why one took long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.server.ticks import IN_A_MINUTE
from tests.server.house import House


class Slow:
    """Work that is left over from the last tick, and takes `seconds` in this one."""

    def __init__(self, house: House, seconds: float) -> None:
        self._house, self._seconds = house, seconds

    def again(self) -> None:
        self._house.clock.now += self._seconds

    def broken(self) -> None: ...


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def slow_tick(house: House, seconds: float) -> None:
    house.server.loop.again(Slow(house, seconds))
    house.tick()


def slows_down(house: House, call: Callable[[], object], seconds: float) -> Callable[[], object]:
    """`call`, which takes so long from now on."""

    def slower() -> object:
        house.clock.now += seconds
        return call()

    return slower


def records(house: House, words: str = "A tick took") -> list[str]:
    house.settle()
    return [line.split(" ", 2)[2] for line in house.log().splitlines() if words in line]


def test_a_tick_over_50_ms_is_logged_with_its_cause(house: House) -> None:
    ann, bob = house.login("Columbia"), house.login("Google")
    execute = house.server.world.execute
    house.server.world.execute = lambda command: slows_down(house, lambda: execute(command), 0.06)()  # type: ignore
    ann.ask("message", to="Google", text="a secret")
    bob.ask("whoelse")
    (said,) = records(house)
    assert said.startswith("A tick took 60 ms: commit and execution 60; 1 channel; requests: message x1; 1 command")
    assert "flushed" in said and "secret" not in said


def test_parts_are_told_the_longest_first(house: House) -> None:
    slow_tick(house, 0.051)
    house.server.loop.phases[1] = slows_down(house, house.server.loop.phases[1], 0.2)  # type: ignore[assignment]
    slow_tick(house, 0.052)
    first, second = records(house)[:2]
    assert first.startswith("A tick took 51 ms: input 51; ") and "flush" not in first
    assert second.startswith("A tick took 252 ms: flush 200, input 52; ")


def test_waiting_is_no_part_of_a_tick(house: House) -> None:
    house.pass_time(600, step=60)
    assert records(house) == [] and house.server.ticks.longest.seconds == 0.0


def test_a_sync_in_place_and_a_fork_are_named(house: House) -> None:
    house.server.loop.took("a fork", 0.031)
    house.server.ticks.synced(0.04, True)
    house.server.ticks.synced(0.5, False)  # by the child: the loop went on
    slow_tick(house, 0.08)
    slow_tick(house, 0.07)
    first, second = records(house)
    assert "; a fork 31 ms; a sync in place 40 ms" in first
    assert "fork" not in second and "sync" not in second, "each tick has its own"


def test_the_log_cannot_be_flooded(house: House) -> None:
    for _ in range(500):
        slow_tick(house, 0.051)
    slow_tick(house, 0.09)
    assert len(records(house)) == IN_A_MINUTE
    house.pass_time(61)
    assert records(house, "more tick")[0].endswith("the longest of 90 ms")
    slow_tick(house, 0.051)
    assert len(records(house)) > IN_A_MINUTE, "in the next minute there is room again"


def test_the_longest_tick_is_remembered(house: House) -> None:
    for seconds in (0.02, 0.3, 0.04):
        slow_tick(house, seconds)
    longest = house.server.ticks.longest
    assert longest.seconds == pytest.approx(0.3) and longest.cause.startswith("input 300; ")
    assert any(line.startswith("  longest tick: 300 ms at ") for line in house.admin("stats"))


def test_with_log_debug_a_tick_over_5_ms_is_logged(house: House) -> None:
    slow_tick(house, 0.006)
    assert records(house) == []
    house.admin("change LOG debug")
    house.pass_time(1)
    slow_tick(house, 0.006)
    assert records(house)[0].startswith("A tick took 6.0 ms: input 6.0; ")


def test_commands_wait_for_a_slow_disk_and_that_is_measured(house: House) -> None:
    ann = house.login("Columbia")
    house.disk.fast = False
    ann.say(*({"action": "message", "to": "Google", "text": "hi", "id": number} for number in range(1, 41)))
    house.settle()
    house.clock.now += 0.2
    house.disk.release()
    house.settle()
    waited = house.server.figures.percentiles_lately("queue", 0.9)[0]
    assert waited == pytest.approx(0.2, rel=0.05)
    assert not house.server.ticks._waiting
