"""Another log feeds the same world: commands of other servers come between ours, and all are committed late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatlib.core import snapshot
from chatlib.core.world import World
from chatlib.server import server as server_module
from chatlib.storage.log import CommitFailed, Log
from tests.chance import examples, new_chance
from tests.core.stage import picture
from tests.server.house import VERIFIER, House, Peer
from tests.server.shared_log import Agreement, Seat

USERS = ("Columbia", "facebook", "Google", "SEAS")


@pytest.fixture
def agreement(monkeypatch: pytest.MonkeyPatch) -> Agreement:
    """From now on every house has a seat at this one log."""
    agreement = Agreement(new_chance())
    monkeypatch.setattr(server_module, "Journal", lambda folder, syncer: Seat(agreement))
    return agreement


def elsewhere(agreement: Agreement, user: str) -> None:
    """`user` logs in at another server."""
    agreement.others({"action": "login", "user": user, "address": "10.9.9.9", "client": None})


def files_of(world: World) -> list[tuple[str, list[str]]]:
    return [(name, list(lines)) for name, _, lines in snapshot.dump(world)]


def test_a_seat_is_a_log() -> None:
    log: Log = Seat(Agreement(new_chance()))
    log.close()


def test_what_others_say_is_heard_here_and_what_is_said_here_waits_for_them(
    agreement: Agreement, build: Callable[..., House]
) -> None:
    house = build()
    columbia = house.login("Columbia")
    elsewhere(agreement, "facebook")
    agreement.agree()
    house.settle()
    assert columbia.ask("whoelse")["items"] == ["facebook"]
    assert columbia.ask("message", to="facebook", text="are you there?")["delivered"] is True
    agreement.late = True
    agreement.others(
        {"action": "message", "by": "facebook", "to": "Columbia", "text": "I am"},
        {"action": "broadcast", "by": "facebook", "text": "hello all"},
    )
    columbia.say({"action": "message", "id": 1, "to": "facebook", "text": "late"}, {"action": "blacklist", "id": 2})
    house.settle()
    assert columbia.hear() == [], "nothing is shown, and nothing answered, before it is committed"
    agreement.agree()
    house.settle()
    heard = columbia.hear()
    assert [m["text"] for m in heard if m.get("event") in ("message", "broadcast")] == ["I am", "hello all"]
    assert [m["id"] for m in heard if "id" in m] == [1, 2]
    seqs = [m["seq"] for m in heard if "seq" in m]
    assert len(set(seqs)) == 3 and house.server.world.lsn == len(agreement.records) == max(seqs)


def test_what_comes_of_others_alone_is_executed_without_anything_of_ours(
    agreement: Agreement, build: Callable[..., House]
) -> None:
    house = build()
    google = house.login("Google")
    elsewhere(agreement, "seas")
    agreement.others({"action": "block", "by": "seas", "user": "Google"})
    agreement.agree()
    house.settle()
    assert google.ask("message", to="SEAS", text="x")["status"] == "BLOCKED"
    agreement.others({"action": "no such thing"}, {"action": "message", "by": "seas", "to": "nobody", "text": "x"})
    agreement.agree()
    house.settle()
    assert house.server.world.lsn == len(agreement.records), "a fault of ours takes its place, too"
    assert google.ask("whoelse")["status"] == "OK"


def test_what_another_server_makes_of_the_parameters_holds_here_too(
    agreement: Agreement, build: Callable[..., House]
) -> None:
    house = build()
    columbia = house.login("Columbia")
    agreement.others({"action": "edit", "parameters": {"TIME_OUT": 5.0, "FSYNC": "second"}})
    agreement.agree()
    house.settle()
    assert agreement.seats[0].sync_always is False
    house.pass_time(6.0)
    assert columbia.closed


def test_a_log_that_fails_stops_the_server_and_answers_nothing(
    agreement: Agreement, build: Callable[..., House]
) -> None:
    house = build()
    columbia = house.login("Columbia")
    agreement.seats[0].failure = "the others are gone"
    columbia.say({"action": "broadcast", "text": "lost"})
    with pytest.raises(CommitFailed, match="the others are gone"):
        house.settle()
    assert columbia.hear() == []


def test_a_checkpoint_and_a_start_while_others_go_on(agreement: Agreement, build: Callable[..., House]) -> None:
    house = build()
    columbia = house.login("Columbia")
    elsewhere(agreement, "google")
    columbia.ask("message", to="SEAS", text="first")
    assert house.save() == ["Saved."]
    seat = agreement.seats[0]
    assert seat.truncated == seat.cuts[-1] > 0
    agreement.others({"action": "message", "by": "google", "to": "SEAS", "text": "second"})
    agreement.agree()
    house.crash()
    agreement.others({"action": "message", "by": "google", "to": "SEAS", "text": "third"})
    agreement.agree()
    house.restart()
    assert house.login("SEAS").texts == ["first", "second", "third"]
    assert house.stop() == ""


def test_houses_on_one_log_have_the_same_world(agreement: Agreement, build: Callable[..., House]) -> None:
    """Whatever their people do, and however the commands of all of them are put in order."""
    chance = new_chance("life")
    houses = [build(), build()]
    peers: list[Peer] = []
    for house, users in zip(houses, (USERS[:2], USERS[2:]), strict=True):
        peers += [house.login(user) for user in users]
    agreement.late = True
    for number in range(10 * examples(6)):
        peer = chance.choice(peers)
        peer.say(chance.choice([
            {"action": "broadcast", "text": f"{peer.name} {number}"},
            {"action": "message", "to": chance.choice(USERS), "text": f"{peer.name} {number}", "key": f"k{number % 7}"},
            {"action": "block", "user": chance.choice(USERS)},
            {"action": "unblock", "user": chance.choice(USERS)},
        ]))  # fmt: skip
        if number % 9 == 0:
            agreement.others({"action": "register", "user": f"other{number}", "verifier": str(VERIFIER)})
        if chance.random() < 0.5:
            agreement.agree()
        chance.choice(houses).settle()
    for _ in range(4):  # what was answered may have let go of what waited
        agreement.agree()
        for house in houses:
            house.settle()
    one, other = (house.server.world for house in houses)
    assert one.lsn == other.lsn == len(agreement.records)
    assert picture(one) == picture(other)
    assert files_of(one) == files_of(other)
    for house in houses:
        assert house.save() == ["Saved."]
    first, second = ((house.folder / "data").glob("*_rep.txt") for house in houses)
    assert _texts(first) == _texts(second)


def _texts(paths: Any) -> dict[str, bytes]:
    return {Path(path).name: path.read_bytes() for path in paths}
