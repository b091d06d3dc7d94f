"""The main proof: between a bad network, killed servers and killed clients, every message is shown exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.client.memory import FileMemory
from tests.chance import SEED, new_chance
from tests.program.cutting_proxy import CuttingProxy
from tests.program.survival_house import (
    House,
    Server,
    check_stored,
    names,
)
from tests.program.survival_plan import Plan, check_shown, for_whom


@pytest.fixture
def house() -> Iterator[House]:
    house = House(new_chance(), hurry=5.0)
    yield house
    house.close()


class Crowd:
    """Twenty people with plans, behind the proxy."""

    def __init__(self, house: House, server: Server, proxy: CuttingProxy, tmp_path: Path, count: int) -> None:
        self.house, self.server, self.proxy = house, server, proxy
        self.everyone = names(20)
        self.plans = {name: Plan(name, self.everyone, SEED, count) for name in self.everyone}
        self.people = [
            house.person(name, proxy.port, FileMemory(tmp_path / "memory"), self.plans[name]) for name in self.everyone
        ]
        self.expected = {
            name: sum(map(len, for_whom(self.plans, name).values())) for name in self.everyone
        }
        self.to_say = sum(len(plan.says) for plan in self.plans.values())

    @property
    def said(self) -> int:
        return self.to_say - sum(len(person.says) for person in self.people)

    def talk(self) -> None:
        """At each tick a few say something, online or not; nobody runs far ahead of the answers."""
        for person in self.house.rng.sample(self.people, 4):
            if len(person.conversation.outbox.pending) < 40:
                person.say_next()

    def caught_up(self) -> bool:
        return all(person.quiet and len(person.texts()) >= self.expected[person.name] for person in self.people)

    def state(self) -> str:
        return "; ".join(
            f"{p.name} {p.conversation.state} says {len(p.says)} pending {len(p.conversation.outbox.pending)} shown "
            f"{len(p.texts())}/{self.expected[p.name]} lost {len(p.lost)} {p.endings}"
            for p in self.people if not (p.quiet and len(p.texts()) == self.expected[p.name])
        )  # fmt: skip

    def check(self, tmp_path: Path) -> None:
        """Nobody ended, everything was answered OK and shown once; and the server thinks so, too."""
        for person in self.people:
            assert not person.endings, person.endings
            assert [reply["status"] for _, reply in person.answers] == ["OK"] * len(self.plans[person.name].says)
            seqs = [int(str(event["seq"])) for event in person.events if "seq" in event]
            assert seqs == sorted(set(seqs))
            check_shown(self.plans, person.name, person.texts())
        # Some connections are still half-open: a logout there would not be heard.
        logins = [len(person.logins) for person in self.people]
        self.proxy.cut_all()
        self.house.until(lambda: all(
            person.quiet and len(person.logins) > before for person, before in zip(self.people, logins, strict=True)
        ), self.state)  # fmt: skip
        for person in self.people:
            person.conversation.logout(self.house.loop.now)
        self.house.until(lambda: all(person.endings for person in self.people))
        for person in self.people:
            assert person.endings[-1].status == "LOGGED_OUT"
            self.house.leave(person)
        again = [self.house.person(name, self.proxy.port) for name in self.everyone]  # without a memory
        self.house.until(lambda: all(person.logins for person in again))
        assert [person.logins[0].unread for person in again] == [0] * len(again)
        for person in again:
            person.conversation.logout(self.house.loop.now)
        self.house.until(lambda: all(person.endings for person in again))
        assert not any(person.texts() for person in again)
        self.server.stop()
        check_stored(self.plans, self.server)


def test_a_bad_network(house: House, tmp_path: Path) -> None:
    server = house.server(tmp_path / "home", names(20))
    server.start()
    proxy = house.proxy(house.rng, upstream=server.port)
    crowd = Crowd(house, server, proxy, tmp_path, 40)
    house.each_tick.append(crowd.talk)
    house.until(lambda: crowd.said == crowd.to_say, crowd.state)
    proxy.calm()
    house.until(crowd.caught_up, crowd.state)
    crowd.check(tmp_path)
    print(f"{proxy.accepted} connections, {dict(proxy.struck)}")


def test_a_bad_network_and_a_server_killed_six_times(house: House, tmp_path: Path) -> None:
    server = house.server(tmp_path / "home", names(20), JOURNAL_LIMIT="64 KiB")
    server.start()
    proxy = house.proxy(house.rng, upstream=server.port)
    crowd = Crowd(house, server, proxy, tmp_path, 60)
    kills = sorted(house.rng.sample(range(20, crowd.to_say - 20), 6))
    house.each_tick.append(crowd.talk)
    for number, when in enumerate(kills):
        house.until(lambda when=when: crowd.said >= when, crowd.state)
        server.kill()
        proxy.upstream = 0
        server.begin()
        if number % 4 == 3:  # once more, while it starts
            born = house.loop.now
            wait = 5.0 * house.rng.uniform(0.05, 0.5)
            house.until(lambda born=born, wait=wait: house.loop.now > born + wait)
            server.kill()
            server.begin()
        house.until(server.listens)
        proxy.upstream = server.port
    house.until(lambda: crowd.said == crowd.to_say, crowd.state)
    proxy.calm()
    house.until(crowd.caught_up, crowd.state)
    crowd.check(tmp_path)
    print(f"{proxy.accepted} connections, {dict(proxy.struck)}")
