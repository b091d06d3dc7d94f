"""Small cuts at the wrong moment, each made by hand: what the proofs at large have found, reduced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chance import new_chance
from tests.program.cutting_proxy import faultless
from tests.program.survival_house import House, Server
from tests.program.survival_peer import Peer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "home", ["ann", "bob"])
    server.start()
    yield server
    server.close()


def log_in_when_free(port: int, user: str, **fields: object) -> Peer:
    """The server may not have noticed yet that the connection before is gone."""
    while True:
        peer = Peer(port)
        reply = peer.ask("login", scram=f"n,,n={user},r=noncenoncenonce")
        if reply["status"] == "CONTINUE":
            peer.login(user, **fields)
            return peer
        assert reply["status"] == "ALREADY_ONLINE"
        peer.reset()


def test_a_connection_cut_right_behind_the_login(server: Server) -> None:
    """What waited was given to the kernel, but the client had no time to say alive: it is told again."""
    bob = Peer(server.port)
    bob.login("bob")
    for number in range(3):
        assert bob.ask("message", to="ann", text=f"m{number}")["status"] == "OK"
    ann = Peer(server.port)
    assert ann.login("ann", seen=0)["unread"] == 3
    ann.until_text("m2")
    ann.reset()
    again = log_in_when_free(server.port, "ann", seen=0)
    again.until_text("m2")
    assert again.texts() == ["m0", "m1", "m2"]
    assert all(event["offline"] is True for event in again.events if event["event"] == "message")
    again.reset()
    third = log_in_when_free(server.port, "ann", seen=again.events[-1]["seq"])
    third.logout()
    assert third.texts() == []


@pytest.fixture
def house(server: Server) -> Iterator[House]:
    house = House(new_chance(), hurry=5.0)
    yield house
    house.close()


def test_more_unanswered_than_the_server_remembers_keys(house: House, server: Server) -> None:
    """It remembers 1,000 of a user: so no more than that may be under way when a connection breaks."""
    proxy = house.proxy(house.rng, faultless, server.port)
    ann, bob = house.person("ann", proxy.port), house.person("bob", server.port)
    house.until(lambda: ann.online and bob.online)
    proxy.silence(up=False)
    for number in range(1_500):
        ann.say("bob", f"m{number}")
    house.until(lambda: ann.lost)
    house.until(lambda: ann.quiet and len(bob.texts()) >= 1_500, lambda: len(bob.texts()))
    assert [reply["status"] for _, reply in ann.answers] == ["OK"] * 1_500
    bob.conversation.logout(house.loop.now)
    house.until(lambda: bob.endings)
    assert bob.texts() == [f"m{number}" for number in range(1_500)]


def test_a_connection_given_up_does_not_replace_its_successor(server: Server) -> None:
    """A network held up the last word of a login; the client came back on another connection, and then it arrived."""
    old = Peer(server.port, client="the same program")
    final = old.final("ann")
    new = Peer(server.port, client="the same program")
    new.login("ann", seen=0)
    assert old.ask("login", scram=final, seen=0)["status"] == "ALREADY_ONLINE"
    assert new.ask("whoelse") == {"action": "whoelse", "status": "OK", "items": []}
    newest = Peer(server.port, client="the same program")
    newest.login("ann", seen=0)
    new.rest()
    assert new.events[-1]["status"] == "REPLACED"


def test_nor_while_the_login_of_its_successor_is_on_its_way_to_the_disk(server: Server) -> None:
    server.kill()
    server.slow_sync = 0.5
    server.start()
    old, new = (Peer(server.port, client="the same program") for _ in range(2))
    final, late = new.final("ann"), old.final("ann")
    new.say("login", scram=final, seen=0)
    Peer(server.port)  # greeted: so the server has taken in what was said before
    old.say("login", scram=late, seen=0)
    assert (old.hear() or {})["status"] == "ALREADY_ONLINE"
    assert (new.hear() or {})["status"] == "OK"
    assert new.ask("whoelse")["status"] == "OK"
