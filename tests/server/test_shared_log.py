"""Another log feeds the same world: commands of other servers come between ours, and all are committed late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatlib.core import snapshot
from chatlib.core.nodes import FORMAT, nodes_of
from chatlib.core.world import Command, Reply, World
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


def test_with_a_server_that_is_gone_its_users_go_and_no_connection_of_ours(
    agreement: Agreement, build: Callable[..., House]
) -> None:
    house = build()
    columbia = house.login("Columbia")
    come = {"action": "node_up", "incarnation": 1, "format": FORMAT, "left": 0.0}
    agreement.others({**come, "node": "a"}, {**come, "node": "b"})
    agreement.agree()
    house.settle()
    assert columbia.hear()[-1]["status"] == "NODE_LOST", "a single server's sessions end with the first of a cluster"
    for user in ("columbia", "facebook"):
        agreement.others({"action": "login", "user": user, "address": "10.9.9.9", "client": None, "node": "b"})
    agreement.agree()
    house.settle()
    assert [*house.server.world.online] == ["columbia", "facebook"]
    agreement.others({"action": "node_down", "node": "b", "incarnation": 1, "number": 1})
    agreement.agree()
    house.settle()
    assert not house.server.world.online and [node.up for node in nodes_of(house.server.world).by_name.values()] == [
        True, False,
    ]  # fmt: skip


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


class Asker:
    """Somebody who gives commands and asks, and hears what comes of it."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, str]] = []
        self.then: Callable[[], None] = lambda: None

    def answered(self, echo: str, request_id: Any, command: Command, reply: Reply) -> None:
        self.heard.append((request_id, reply["status"]))
        self.then()

    def broken(self) -> None:
        raise AssertionError


def is_there(house: House, name: str) -> Callable[[], Reply]:
    return lambda: {"status": "OK" if name in house.server.world.accounts else "NO_SUCH_USER"}


def test_a_fresh_read_knows_what_was_done_elsewhere_before_and_any_other_does_not(
    agreement: Agreement, build: Callable[..., House]
) -> None:
    house, asker = build(), Asker()
    pipeline = house.server.pipeline
    agreement.late = True
    agreement.others({"action": "register", "user": "newcomer", "verifier": str(VERIFIER)})
    agreement.agree()  # of which nothing was heard here yet
    pipeline.submit_read(asker, "", "now", is_there(house, "newcomer"))
    pipeline.execute()
    assert asker.heard == [("now", "NO_SUCH_USER")]
    pipeline.submit_read(asker, "", "fresh", is_there(house, "newcomer"), fresh=True)
    pipeline.submit_read(asker, "", "behind it", is_there(house, "newcomer"))
    executed = pipeline.executed
    pipeline.execute()
    assert asker.heard[1:] == [] and not pipeline.idle
    while not pipeline.idle:
        agreement.agree()
        house.settle()
    assert asker.heard[1:] == [("fresh", "OK"), ("behind it", "OK")]
    assert pipeline.executed == executed + 1, "a barrier is no command"


def test_a_fresh_read_is_answered_in_its_turn(agreement: Agreement, build: Callable[..., House]) -> None:
    house, asker = build(), Asker()
    pipeline = house.server.pipeline
    for number in range(6):
        if number % 2:
            pipeline.submit_read(asker, "", number, is_there(house, "seas"), fresh=True)
        else:
            pipeline.submit(asker, "", number, {"action": "block", "by": "SEAS", "user": "Google", "at": 1.0})
    pipeline.settle()
    assert [number for number, _ in asker.heard] == [0, 1, 2, 3, 4, 5]


def test_alone_a_fresh_read_waits_for_nothing(build: Callable[..., House]) -> None:
    house, asker = build(), Asker()
    house.server.pipeline.submit_read(asker, "", 1, is_there(house, "seas"), fresh=True)
    house.settle()
    assert asker.heard == [(1, "OK")] and house.server.pipeline.idle


def test_what_is_lost_is_answered_in_order_and_what_is_submitted_then_is_later(
    agreement: Agreement, build: Callable[..., House]
) -> None:
    """Nobody's commands come before the one that the server itself submits first."""
    house, asker, silent = build(), Asker(), Asker()
    pipeline, seat = house.server.pipeline, agreement.seats[0]
    block = {"action": "block", "by": "SEAS", "user": "Google", "at": 1.0}
    agreement.late = True
    pipeline.submit(asker, "", 1, block)
    pipeline.submit_read(asker, "", 2, is_there(house, "seas"))
    pipeline.submit(None, "", None, block)
    pipeline.submit(asker, "", 3, block)
    pipeline.submit_read(asker, "", 4, is_there(house, "seas"), fresh=True)
    house.settle()
    asker.then = lambda: pipeline.submit(silent, "", "again", block)

    def first() -> None:
        assert pipeline.idle and asker.heard == []
        seat.proposed.clear()
        pipeline.submit(silent, "", "up", block)

    pipeline.lose({"status": "NODE_LOST", "text": "Gone."}, first)
    assert asker.heard == [(number, "NODE_LOST") for number in (1, 2, 3, 4)]
    agreement.late = False
    pipeline.settle()
    assert [what for what, _ in silent.heard] == ["up", *["again"] * 4]
    assert pipeline.idle and len(asker.heard) == 4
    pipeline.submit_read(asker, "", 5, is_there(house, "seas"))
    house.settle()
    assert asker.heard[4:] == [(5, "OK")]


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
