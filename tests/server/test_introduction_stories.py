"""Random stories of introductions, several steps at a time, and what must hold in each, as the clients saw it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatlib.core.peers import Allowances
from chatlib.server.introductions import ASKING
from tests.chance import examples, new_chance
from tests.server.house import House, Peer

NAMES = ("Columbia", "facebook", "Google", "SEAS")
STEPS = ("getaddress", "getaddress", "getaddress", "yes", "yes", "no", "allow", "disallow", "block", "unblock")


class Client:
    """What one client knows from what it was told, and nothing else."""

    def __init__(self, house: House, name: str) -> None:
        self.name, self.house = name, house
        self.peer: Peer | None = None
        self.come()

    def come(self) -> None:
        self.house.settle()
        self.peer = self.house.login(self.name, address=f"10.0.0.{NAMES.index(self.name)}")
        self.peer.ask("listen", port=4_000)
        self.keys: dict[str, str] = {}
        self.asked: dict[str, float] = {}  # whom, until when: no answer yet
        self.read = 0  # of what the peer has heard

    def leave(self) -> None:
        if self.peer is not None:
            self.peer.hang_up()
        self.peer = None
        self.keys, self.asked = {}, {}

    def take(self) -> list[str]:
        """Takes in what it has heard; of whom it was told an address for the first time."""
        if self.peer is None:
            return []
        self.peer.hear()
        fresh, self.read = self.peer.heard[self.read :], len(self.peer.heard)
        met: list[str] = []
        for message in fresh:
            self._take(message, met)
        return met

    def _take(self, message: dict[str, Any], met: list[str]) -> None:
        if message.get("status") == "ASKED":
            assert message["user"] not in self.asked, "each question has one answer"
            self.asked[message["user"]] = self.house.clock.now + ASKING
        match message.get("event"):
            case "address":
                assert (message["address"], message["port"]) == (f"10.0.0.{NAMES.index(message['user'])}", 4_000)
                self.asked.pop(message["user"], None)
                if message["user"] not in self.keys:
                    met.append(message["user"])
                key = self.keys.setdefault(message["user"], message["key"])
                assert key == message["key"], "it stays the same until it is over"
            case "address_refused":
                del self.asked[message["user"]]
            case "introduction_over":
                self.asked.pop(message["user"], None)  # a block in the tick of the yes
                self.keys.pop(message["user"], None)


class Story:
    """Four people, each of whom has a client that knows what it was told."""

    def __init__(self, house: House, number: int) -> None:
        self.house, self.chance = house, new_chance(number)
        self.clients = {name: Client(house, name) for name in NAMES}
        self.keys: set[str] = set()
        self.said: set[tuple[str, str, str]] = set()  # in this step: who, what, about whom
        self.policy = "consent"
        self.was_open = False  # in this step

    def step(self) -> None:
        """Some things at once."""
        self.said, self.was_open = set(), self.policy == "open"
        asked = {(name, other) for name, client in self.clients.items() for other in client.asked}
        given = {(name, other) for name in NAMES for other in NAMES if self._allows(name, other)}
        for _ in range(self.chance.choice((1, 1, 2, 4))):
            self._one(self.clients[self.chance.choice(NAMES)])
        self.house.settle()
        asked |= {(name, other) for name, what, other in self.said if what == "getaddress"}
        met = [(client.name, other) for client in self.clients.values() for other in client.take()]
        for name, other in met:
            assert self.was_open or self._agreed(name, other, asked, given) or self._agreed(other, name, asked, given)
        fresh = {self.clients[name].keys[other] for name, other in met if other in self.clients[name].keys}
        assert not fresh & self.keys, "no key comes again"
        self.keys |= fresh
        self.check()

    def _one(self, client: Client) -> None:
        what, other = self.chance.choice((*STEPS, "leave", "pass time", "policy")), self.chance.choice(NAMES)
        if client.peer is None:
            client.come()
        elif what == "leave":
            client.leave()
        elif what == "policy":
            self.policy = self.chance.choice(("consent", "consent", "consent", "open", "never"))
            self.was_open |= self.policy == "open"
            self.house.admin(f"change ADDRESS_POLICY {self.policy}")
            self.house.wait_for(lambda: not self.house.server.saver.busy)  # a child that has our sockets, too
        elif what == "pass time":
            self.house.pass_time(self.chance.choice((1.0, 20.0)), 20.0)
        else:
            client.peer.say({"action": what, "user": other})
            self.said.add((client.name, what, other))

    def _allows(self, name: str, other: str) -> bool:
        allowances: Allowances = self.house.server.world.state["peers"]
        return allowances.has(name.lower(), other.lower())

    def _agreed(self, asker: str, user: str, asked: set[tuple[str, str]], given: set[tuple[str, str]]) -> bool:
        """Whether `asker` has asked, and `user` has agreed."""
        yes = {(user, "yes", asker), (user, "allow", asker)} & self.said
        return (asker, user) in asked and bool(yes or (user, asker) in given or (user, asker) in asked)

    def check(self) -> None:
        """What each client knows fits what the others know, and what the world says."""
        world, now = self.house.server.world, self.house.clock.now
        for name, client in self.clients.items():
            account = world.accounts[name.lower()]
            for other, key in client.keys.items():
                assert self.clients[other].keys.get(name) == key, "both know the key, or neither"
                assert other.lower() not in (account.blocks or ()) and other.lower() not in (account.blocked_by or ())
            person = self.house.server.introductions._people.get(account.user)
            waiting = {user for user, ask in person.asks.items() if not ask.refused} if person else set()
            assert {other.lower() for other in client.asked} == waiting
            for other, until in client.asked.items():
                assert until > now and self.clients[other].peer is not None, (name, other, until, now)


@pytest.mark.parametrize("number", range(examples(8)))
def test_whatever_people_do_both_know_the_key_or_neither(build: Callable[..., House], number: int) -> None:
    story = Story(build(TIME_OUT=1_000_000), number)
    for _ in range(120):
        story.step()
    assert story.keys, "some were introduced"
