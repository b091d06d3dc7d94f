"""Effects are carried out in order, live and in replay, also behind a handler that raised: both come out equal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from chatlib.core import features, talk
from chatlib.core.effects import FAN_OUT, TELL
from chatlib.core.feature import Command, Feature, Handler
from chatlib.core.replies import Reply
from chatlib.core.world import World
from chatlib.protocol import kinds
from chatlib.protocol.commands import TABLE
from chatlib.protocol.commands.table import Field, Row, Runs
from chatlib.protocol.framing import dumps, encode
from chatlib.server.recovery import recover
from chatlib.storage.home import Home
from chatlib.storage.journal import Journal
from tests.chance import new_chance
from tests.core.stage import picture
from tests.server.house import Disk, House

ROWS = (Row("stumble", "says something, and fails", (Field("to", kinds.NAME), Field("text", kinds.TEXT)),
            runs=Runs.CHANGES),)  # fmt: skip


def stumble(world: World, lsn: int, command: Command) -> Reply:
    event = {"event": "message", "seq": lsn, "time": world.at, "from": "SEAS", "text": command["text"]}
    talk.post(world, lsn, world.accounts[command["to"]], dumps(event))
    world.effects.append((TELL, command["by"], encode({"event": "notice", "text": "said"})))
    raise ZeroDivisionError(f"behind {command['text']}")


STUMBLING = Feature("stumbling", {"stumble": stumble})


@pytest.fixture
def stumbling() -> Iterator[None]:
    TABLE.add(ROWS)
    features.add(STUMBLING)
    yield
    features.remove(STUMBLING)
    TABLE.remove(ROWS)


def stored(house: House) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((house.folder / "data").glob("message*"))}


def recovered(house: House) -> tuple[dict[str, Any], dict[str, bytes], list[str]]:
    """What a start on a copy of the home makes of it: the world, the message store, the faults."""
    there = house.folder.parent / "copy"
    shutil.rmtree(there, ignore_errors=True)
    shutil.copytree(house.folder, there)
    faults: list[str] = []
    home = Home(there)
    journal = Journal(home.data, Disk())  # type: ignore[arg-type]
    world, messages, appended = recover(home, journal, print, lambda fault: faults.append(str(fault)))
    lines = {path.name: path.read_bytes() for path in sorted((there / "data").glob("message*"))}
    messages.close()
    appended.close()
    os.close(home._lock_fd)
    return picture(world), lines, faults


def test_behind_a_fault_the_live_and_the_replayed_world_are_equal(stumbling: None, house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    assert columbia.ask("message", to="facebook", text="one")["status"] == "OK"
    reply = columbia.ask("stumble", to="facebook", text="two", key="k")
    assert reply == {"action": "stumble", "status": "INTERNAL", "text": reply["text"]}
    assert columbia.ask("message", to="google", text="three")["delivered"] is False
    assert facebook.texts == ["one", "two"], "what the handler had said before it raised is carried out"
    assert [event["text"] for event in columbia.events if event["event"] == "notice"] == ["said"]
    assert columbia.ask("stumble", to="facebook", text="two", key="k")["status"] == "INTERNAL", "no reply was kept"
    live, lines = picture(house.server.world), stored(house)
    assert "ZeroDivisionError: behind two" in house.log()
    assert recovered(house) == (live, lines, ["behind two", "behind two"])
    house.crash()
    house.restart()
    assert house.login("facebook").ask("history", count=9)["items"][0]["text"] == "one"
    assert house.login("Google").texts == ["three"]


def failing(real: Handler) -> Handler:
    """Raises behind every fourth command, when all of it is done."""

    def handler(world: World, lsn: int, command: Command) -> Reply:
        reply = real(world, lsn, command)
        if lsn % 4 == 0:
            raise ZeroDivisionError(f"at {lsn}")
        return reply

    return handler


def test_whatever_fails_live_and_replayed_worlds_are_equal(
    stumbling: None, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = new_chance()
    for action in ("message", "broadcast", "block", "unblock", "seen", "depart"):
        monkeypatch.setitem(features.HANDLERS, action, failing(features.HANDLERS[action]))
    names = ("columbia", "facebook", "google", "seas")
    peers = {name: house.login(name) for name in names[:3]}
    for number in range(60):
        action = chance.choice(("message", "stumble", "stumble", "broadcast", "block", "unblock"))
        fields: dict[str, Any] = {"text": f"text {number}"} if action not in ("block", "unblock") else {}
        if action != "broadcast":
            fields["to" if "text" in fields else "user"] = chance.choice(names)
        if chance.random() < 0.3:
            fields["key"] = f"key {chance.randint(0, 9)}"
        peers[chance.choice(names[:3])].ask(action, **fields)
        if chance.random() < 0.1:
            house.pass_time(1.0)
        if chance.random() < 0.05:
            house.save()
    peers["columbia"].hang_up()
    house.settle()
    live, lines = picture(house.server.world), stored(house)
    assert recovered(house)[:2] == (live, lines)
    assert "ZeroDivisionError: at " in house.log() and "ZeroDivisionError: behind " in house.log()


def test_an_effect_that_fails_costs_itself_and_nothing_else(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")

    def handler(world: World, _lsn: int, command: Command) -> Reply:
        world.effects += [(TELL, ["no", "name"], b""), (FAN_OUT, encode({"event": "notice", "text": "for all"}), ())]
        return {"status": "OK"}

    with monkeypatch.context() as patch:
        patch.setitem(features.HANDLERS, "message", handler)
        assert columbia.ask("message", to="facebook", text="hi")["status"] == "OK"
    assert [event["text"] for event in facebook.events if event["event"] == "notice"] == ["for all"]
    assert "TypeError: unhashable type" in house.log()
    assert columbia.ask("message", to="facebook", text="on we go")["status"] == "OK"
