"""How the server is doing: for people in groups, for programs as JSON."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.server.stats import _long
from tests.server.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def data(house: House) -> dict[str, Any]:
    (line,) = house.admin("stats --json")
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def group(house: House, heading: str) -> list[str]:
    """The lines below a heading that begins so."""
    said = house.admin("stats")
    first = next(place for place, line in enumerate(said) if line.startswith(heading)) + 1
    end = next((place for place in range(first, len(said)) if not said[place].startswith("  ")), len(said))
    return [line.strip() for line in said[first:end]]


def test_json_is_one_object_on_one_line(house: House) -> None:
    house.login("Columbia")
    house.greet()
    found = data(house)
    people = {"registered": 4, "online": 1, "sessions": 1, "connections": 2, "strangers": 1}
    assert people.items() <= found["people"].items()
    assert found["server"]["memory"]["peak"] >= found["server"]["memory"]["now"] > 1 << 20
    assert 0 < found["server"]["descriptors"]["used"] < found["server"]["descriptors"]["limit"]
    assert found["work"]["last_lsn"] == house.server.world.lsn
    assert found["errors"] == []


def test_requests_are_counted_by_command_and_refusals_by_status(house: House) -> None:
    ann = house.login("Columbia")
    for _ in range(3):
        ann.ask("message", to="Google", text="hi")
    ann.ask("message", to="nobody", text="hi")
    ann.ask("alive")
    ann.ask("dance")
    found = data(house)
    assert {"message": 4, "alive": 1, "login": 2, "hello": 1}.items() <= found["counted"]["requests"].items()
    assert found["counted"]["refusals"] == {"NO_SUCH_USER": 1, "UNKNOWN_ACTION": 1}, "no step of a proof is one"
    house.pass_time(3)
    assert data(house)["counted"]["requests"] == found["counted"]["requests"], "they are not counted twice"
    house.pass_time(120)
    assert group(house, "Requests (")[0] == "message: 4", "long ago"
    house.login("Google").ask("message", to="Columbia", text="hi")
    assert group(house, "Requests (12, 4 of them in the last minute):")[0] == "message: 5 (1)"


def test_a_refusal_counts_each_time_it_is_said_also_by_its_key(house: House) -> None:
    ann = house.login("Columbia")
    for _ in range(2):
        assert ann.ask("message", to="nobody", text="hi", key="k1")["status"] == "NO_SUCH_USER"
    assert data(house)["counted"]["refusals"] == {"NO_SUCH_USER": 2}


def test_goodbyes_are_counted_by_status(house: House) -> None:
    house.login("Columbia").ask("logout")
    house.admin("kick google")
    house.login("Google")
    house.admin("kick google")
    assert data(house)["counted"]["goodbyes"] == {"LOGGED_OUT": 1, "KICKED": 1}


def test_the_journal_and_the_checkpoint(house: House) -> None:
    assert data(house)["disk"]["checkpoint"] == {"at": 0.0, "age": 0.0, "seconds": None}
    assert "checkpoint: none yet" in group(house, "Disk:")
    ann = house.login("Columbia")
    ann.ask("message", to="Google", text="hi")
    journal = data(house)["disk"]["journal"]
    assert journal["records"] == len(house.journal()) and journal["bytes"] > 100
    house.save()
    house.pass_time(90)
    disk = data(house)["disk"]
    assert disk["journal"]["records"] == 0 and disk["checkpoint"]["age"] == 90.0
    assert any(line.startswith("checkpoint: 90 s ago, took ") for line in group(house, "Disk:"))
    ann.ask("message", to="Google", text="hi")
    assert data(house)["disk"]["journal"]["records"] == 1
    house.crash()
    house.restart()
    assert data(house)["disk"]["journal"]["records"] == len(house.journal())
    assert data(house)["disk"]["checkpoint"]["at"] > 0, "the one that the start found"


def test_the_latest_warnings_and_errors_are_kept(house: House) -> None:
    assert "No errors and no warnings." in house.admin("stats")
    for number in range(12):
        house.server.tell(f"The disk is nearly full: {number}.")
    house.server.fault(ValueError("two\nlines"))
    lines = group(house, "Latest errors and warnings:")
    assert len(lines) == 10 and lines[0].endswith("full: 3.") and lines[-1].endswith(" ValueError: two lines")


def test_a_search_for_garbage_in_a_tick_is_named(house: House) -> None:
    ticks = house.server.ticks
    ticks.collected("start", {})
    ticks._searching_since -= 0.03
    ticks.collected("stop", {})
    assert [name for name, seconds in house.server.loop.notable if seconds >= 0.03] == ["a search for garbage"]
    assert ticks.collected not in gc.callbacks, "only while the server runs"


@pytest.mark.parametrize(("seconds", "shown"), [
    (0, "0 s"), (90, "90 s"), (150, "2 min 30 s"), (3_600, "1 h 0 min"), (100_000, "1 day 3 h"),
    (300_000, "3 days 11 h"),
])  # fmt: skip
def test_long_times_are_said_in_two_units(seconds: float, shown: str) -> None:
    assert _long(seconds) == shown
