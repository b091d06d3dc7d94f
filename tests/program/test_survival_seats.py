"""Those who do not read, those who log in twice, those who wait for a seat, and those whose cable is pulled."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chance import new_chance
from tests.patience import LIMIT
from tests.program.cutting_proxy import faultless
from tests.program.survival_house import ROOT, House, Person, Server, password
from tests.program.survival_peer import Peer

USERS = ["ann", "bob", "carl", "dora", "eve"]


@pytest.fixture
def house() -> Iterator[House]:
    house = House(new_chance(), hurry=5.0)
    yield house
    house.close()


@pytest.fixture
def start(house: House, tmp_path: Path) -> Callable[..., Server]:
    def start(**parameters: object) -> Server:
        server = house.server(tmp_path / "home", USERS, **parameters)
        server.start()
        return server

    return start


def logged_out(house: House, user: str) -> Callable[[], bool]:
    watcher = next(person for person in house.people if person.name != user)
    return lambda: any(e["event"] == "presence" and e["user"] == user and not e["online"] for e in watcher.events)


def test_a_slow_consumer(house: House, start: Callable[..., Server]) -> None:
    """The others get everything while one does not read; that one is ended, and gets everything at its next login."""
    server = start()
    ann, bob, carl = (house.person(name, server.port) for name in ("ann", "bob", "carl"))
    house.until(lambda: ann.online and bob.online and carl.online)
    carl.awake = False
    house.loop.change(carl.link._socket.fileno(), 0, carl.link)  # type: ignore[union-attr]  # does not read at all
    large = "\U0001f40c" * 4_000  # 16 KB
    said = [f"{number} {large}" for number in range(900)]  # more than the kernel and the server hold for one
    for number, text in enumerate(said):
        (ann if number % 2 else bob).say("*", text)
        if number % 50 == 49:
            house.until(lambda: ann.quiet and bob.quiet)
    house.until(lambda: len(ann.texts()) == len(bob.texts()) == len(said))
    assert all(reply["status"] == "OK" for person in (ann, bob) for _, reply in person.answers)
    house.until(logged_out(house, "carl"))
    assert ann.texts() == bob.texts() and not carl.texts()
    carl.awake = True
    house.loop.change(carl.link._socket.fileno(), 1, carl.link)  # type: ignore[union-attr]
    house.until(lambda: len(carl.texts()) >= len(said), lambda: (len(carl.texts()), carl.lost))
    assert carl.lost[0].status in ("SLOW_CONSUMER", "LOST") and len(carl.lost) == 1, carl.lost
    assert carl.texts() == ann.texts()
    assert not carl.endings and carl.online
    assert b"bye carl SLOW_CONSUMER" in b"".join(path.read_bytes() for path in (server.home / "data/logs").iterdir())


def test_a_reader_with_a_small_window_catches_up(start: Callable[..., Server]) -> None:
    """What waited is handed out no faster than it is read: nobody is a slow consumer for that."""
    server = start()
    bob = Peer(server.port)
    bob.login("bob")
    said = [f"{number} " + "\U0001f40c" * 4_090 for number in range(300)]
    for text in said:
        assert bob.ask("message", to="ann", text=text)["status"] == "OK"
    ann = Peer(server.port, receive_buffer=4_096)
    ann.login("ann", seen=0)
    ann.until_text(said[-1])
    assert ann.texts() == said
    assert not [event for event in ann.events if event["event"] == "bye"]


def test_another_login_replaces_the_first(house: House, start: Callable[..., Server]) -> None:
    """The first is told by whom, and what it has not shown goes to the second; back and forth."""
    server = start(DUPLICATE_LOGIN="replace")
    bob, ann = house.person("bob", server.port), house.person("ann", server.port)
    house.until(lambda: ann.online and bob.online)
    shown: list[str] = []
    for turn in range(8):
        ann.shows = house.rng.random() < 0.5  # the others read, and show nothing
        for number in range(20):
            bob.say("ann", f"{turn}.{number}")
        if house.rng.random() < 0.5:
            house.until(lambda: bob.quiet)
        other = house.person("ann", server.port)
        house.until(lambda ann=ann, other=other: other.online and ann.endings)
        assert ann.endings[0].status == "REPLACED" and "127.0.0.1" in ann.endings[0].text
        shown += [text for seq, text in numbered(ann) if seq <= ann.conversation.seen]
        house.leave(ann)
        ann = other
    house.until(lambda: bob.quiet and "7.19" in [*shown, *ann.texts()])
    shown += ann.texts()
    # Shown twice: only what the first had shown, and had not had the time to acknowledge.
    assert list(dict.fromkeys(shown)) == [f"{turn}.{number}" for turn in range(8) for number in range(20)]


def numbered(person: Person) -> list[tuple[int, str]]:
    return [(int(str(e["seq"])), str(e["text"])) for e in person.events if e["event"] == "message"]


class Program:
    """client.py, with pipes."""

    def __init__(self, port: int, user: str, state: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "client.py"), "127.0.0.1", str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "XDG_STATE_HOME": str(state), "LC_ALL": "C.UTF-8", "NO_COLOR": "1"},
        )  # fmt: skip
        self.said = ""
        self.types(f"{user}\n{password(user)}\n")

    def types(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def says(self, text: str) -> None:
        """Waits until it has said that; what is before is forgotten."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + LIMIT
        while text not in self.said:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            assert chunk, f"{text!r} was not said: {self.said!r}"
            self.said += chunk.decode()
        self.said = self.said.partition(text)[2]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def test_the_waiting_room(house: House, start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(MaxCon=1, WAITING_ROOM=3)
    programs: list[Program] = []

    def program(user: str) -> Program:
        programs.append(Program(server.port, user, tmp_path / f"state-{user}"))
        return programs[-1]

    try:
        ann = program("ann")
        ann.says("Welcome")
        waiting = []
        for position, user in enumerate(("bob", "carl", "dora"), 1):
            waiting.append(program(user))
            waiting[-1].says(f" {position}")
        eve = program("eve")
        eve.says("All seats are taken")
        assert eve.process.wait(LIMIT) == 1
        bob, carl, dora = waiting
        bob.process.kill()  # leaving the queue is noticed
        carl.says(" 1")
        dora.says(" 2")
        ann.types("logout\n")
        assert ann.process.wait(LIMIT) == 0
        carl.says("Welcome")
        dora.says(" 1")
        carl.types("message dora while you wait\nlogout\n")
        dora.says("while you wait")
    finally:
        for each in programs:
            each.close()


def test_a_pulled_cable(house: House, start: Callable[..., Server]) -> None:
    """Half-open: the heartbeat is missed, the others are told, and what was sent meanwhile comes afterwards."""
    server = start(HEARTBEAT=0.2)
    proxy = house.proxy(house.rng, faultless, server.port)
    ann, bob = house.person("ann", server.port), house.person("bob", proxy.port)
    house.until(lambda: ann.online and bob.online)
    ann.say("bob", "before")
    house.until(lambda: bob.texts() == ["before"])
    proxy.silence()
    bob.awake = False  # it sleeps, too: it shall not come back before it was missed
    ann.say("bob", "into the dark")
    house.until(logged_out(house, "bob"))
    assert ann.answers[-1][1]["delivered"] is True
    ann.say("bob", "to the mailbox")
    house.until(lambda: ann.quiet)
    assert ann.answers[-1][1]["delivered"] is False
    bob.awake = True
    house.until(lambda: len(bob.texts()) >= 3)
    house.until(lambda: [e["online"] for e in ann.events if e["event"] == "presence"][-1:] == [True])
    assert bob.texts() == ["before", "into the dark", "to the mailbox"]
    assert [e.get("offline", False) for e in bob.events if e["event"] == "message"] == [False, True, True]
    assert [login.again for login in bob.logins] == [False, True]
    assert b"bye bob HEARTBEAT_LOST" in (server.home / "data/logs/current.log").read_bytes()
