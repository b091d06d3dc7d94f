"""Bars above a prompt, and the few plain lines that stand for them."""

from __future__ import annotations

from chatlib.terminal.progress import Bars, Meter, Progress
from chatlib.terminal.screen import style


def test_bars_of_several_things() -> None:
    things = {"a": Progress("short", 0, 1_000), "b": Progress("longer", 5, 10, "checking")}
    bars = Bars(things.__getitem__)
    assert bars.lines(["a", "b"], 0, 100.0) == [
        "short     0 % [--------------------]  0 bytes/s", "longer   50 % [##########----------]  checking",
    ]  # fmt: skip
    things["a"] = Progress("short", 250, 1_000)
    things["b"] = Progress("longer", 5, 10, "waits", counts=False)
    assert bars.lines(["a", "b"], 0, 100.05)[0].endswith("  0 bytes/s"), "not more than ten times a second"
    assert bars.lines(["a", "b"], 2, 101.0) == [
        "short    25 % [#####---------------]  250 bytes/s  0:03 left", style("longer  waits", "dim"),
        style("2 more wait", "dim"),
    ]  # fmt: skip
    assert bars.lines([], 0, 101.01) == []


def test_a_rate_begins_anew_with_another_state_and_when_something_begins_again() -> None:
    meter = Meter()
    for now, position, state in ((0.0, 0, ""), (1.0, 100, ""), (2.0, 150, "checking"), (3.0, 190, "checking")):
        meter.at(Progress("x", position, 1_000, state), now)
    assert meter.rate == 40
    meter.at(Progress("x", 10, 1_000, "checking"), 4.0)
    assert meter.rate == 0


def test_each_quarter_is_told_once() -> None:
    things = {"a": Progress("x", 0, 100)}
    bars, told = Bars(things.__getitem__), []
    for step in range(101):
        things["a"] = Progress("x", step, 100)
        told += bars.quarters(["a"], 100.0 + step / 5)
    assert told == [("a", 25), ("a", 50), ("a", 75)]
