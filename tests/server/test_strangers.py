"""Connections that have not logged in: whose go when there are too many, and what is kept back for the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import pytest

from chatlib.server.session import Session
from chatlib.server.strangers import Strangers
from tests.chance import new_chance
from tests.server.house import House

Build = Callable[..., House]


@dataclass(eq=False)
class Stranger:
    address: str


def test_the_newest_of_the_greediest_address_goes() -> None:
    strangers = Strangers(lambda place: 0, lambda: 0.0)
    modest, *greedy = [cast(Session, Stranger(address)) for address in ("10.0.0.1", *["10.0.0.2"] * 3)]
    for one in (greedy[0], modest, greedy[1], greedy[2]):
        strangers.come(one)
    for expected in (greedy[2], greedy[1]):
        assert strangers.superfluous() is expected
        strangers.leave(expected)
        strangers.leave(expected)  # twice is once
    assert len(strangers) == 2


def test_where_each_address_has_one_the_oldest_goes() -> None:
    strangers = Strangers(lambda place: 0, lambda: 0.0)
    crowd = [cast(Session, Stranger(f"2001:db8:0:{number:x}::1")) for number in range(4)]
    for one in crowd:
        strangers.come(one)
    assert not strangers.room("2001:db8:0:1::2", 4)  # a second one would be the one to go
    assert strangers.room("10.0.0.1", 4)
    newcomer = cast(Session, Stranger("10.0.0.1"))
    strangers.come(newcomer)
    for expected in (*crowd, newcomer):
        assert strangers.superfluous() is expected
        strangers.leave(expected)


def test_somebody_with_many_addresses_keeps_nobody_out(house: House) -> None:
    house.admin("change STRANGERS 10")
    crowd = [house.greet(address=f"2001:db8:0:{number:x}::1") for number in range(30)]
    newcomer = house.connect(address="10.0.0.1")
    assert newcomer.hello()["status"] == "OK"
    assert newcomer.prove("login", "Columbia")["status"] == "OK"
    assert sum(peer.closed for peer in crowd) == 21


def test_it_is_as_a_plain_count_says() -> None:
    random = new_chance()
    strangers, there = Strangers(lambda place: 0, lambda: 0.0), list[Session]()
    for _ in range(500):
        if there and random.random() < 0.45:
            one = random.choice(there)
            there.remove(one)
            strangers.leave(one)
        else:
            one = cast(Session, Stranger(f"10.0.0.{random.randrange(8)}"))
            there.append(one)
            strangers.come(one)
        assert len(strangers) == len(there)
        if there:
            counts = {other.address: sum(each.address == other.address for each in there) for other in there}
            chosen = strangers.superfluous()
            assert counts[chosen.address] == max(counts.values())
            assert chosen is [other for other in there if other.address == chosen.address][-1]


def test_with_few_descriptors_newcomers_still_get_in(house: House) -> None:
    columbia = house.login("Columbia")
    typing = house.greet(address="10.0.0.2")
    house.server.sessions._descriptors = 10
    greedy = [house.connect(address="10.0.0.66") for _ in range(30)]
    house.settle()
    assert len(house.server.sessions) <= 10
    assert typing.prove("login", "facebook")["status"] == "OK"
    newcomer = house.connect(address="10.0.0.3")
    assert newcomer.hello()["status"] == "OK"
    assert newcomer.prove("login", "SEAS")["status"] == "OK"
    assert columbia.ask("whoelse")["items"] == ["facebook", "SEAS"]
    assert sum(peer.closed for peer in greedy) >= 23


def test_connections_that_linger_go_first_when_descriptors_are_few(house: House) -> None:
    house.server.sessions._descriptors = 5
    lingering = [house.login(user) for user in ("Columbia", "facebook")]
    for peer in lingering:
        peer.ask("logout")  # told bye; the peers do not hang up
    house.settle()
    newcomers = [house.connect(address=f"10.0.0.{number}") for number in range(5)]
    house.settle()
    assert len(house.server.sessions) == 5 and not any(peer.closed for peer in newcomers)


# Seats.


def test_a_seat_that_is_held_is_not_to_be_had_by_others(build: Build) -> None:
    """A newcomer who said hello while a seat was free, and one who queued for it."""
    house = build(MaxCon=2, WAITING_ROOM=5)
    early = house.greet("early")
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    queued = house.greet("queued")
    assert queued.heard[0]["status"] == "WAITING"
    facebook.ask("logout")
    house.settle()
    assert queued.events[-1] == {"event": "admitted"}
    refused = early.prove("login", "SEAS")
    assert refused == {"action": "login", "status": "SERVER_FULL", "text": "All seats are taken; try again later."}
    assert queued.prove("login", "Google")["status"] == "OK"
    columbia.ask("logout")
    assert early.prove("login", "SEAS")["status"] == "OK"


def test_the_last_seat_goes_to_one_of_two_who_log_in_at_once(build: Build) -> None:
    house = build(MaxCon=3, WAITING_ROOM=5)
    early = [house.greet(name) for name in ("Columbia", "facebook")]
    house.login("SEAS")
    house.login("Google")
    proofs = [peer.challenge("login", peer.name) for peer in early]
    house.disk.fast = False
    for peer, (exchange, challenge) in zip(early, proofs, strict=True):
        peer.say({"action": "login", "scram": peer.final(exchange, challenge, "open sesame")})
    house.settle()
    for _ in range(3):
        house.disk.release()
        house.settle()
    statuses = sorted(message["status"] for peer in early for message in peer.hear_all("login"))
    assert statuses == ["CONTINUE", "CONTINUE", "OK", "SERVER_FULL"]
    house.disk.fast = True


def test_a_crowd_that_leaves_the_waiting_room_costs_its_size(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build(MaxCon=1, WAITING_ROOM=800, STRANGERS=0)
    house.login("Columbia")
    crowd = [house.connect() for _ in range(600)]
    for peer in crowd:
        peer.say({"action": "hello", "protocol": 1})
    house.settle()
    told: list[int] = []
    say = house.server.delivery.to

    def counting(session: Session, line: bytes) -> None:
        told[-1] += 1
        say(session, line)

    monkeypatch.setattr(house.server.delivery, "to", counting)
    for peer in crowd[:300]:
        peer.hang_up()
    for _ in range(40):
        told.append(0)
        house.tick()
    assert max(told) <= 256, "so many in a tick"
    assert sum(told) <= 2 * 300, "everyone is told about once, not once for each who left"
    assert [peer.events[-1]["position"] for peer in crowd[300:]] == list(range(1, 301))
