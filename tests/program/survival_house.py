"""What the tests of survival share: a server process that may be killed, and people in this process."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.link import Link
from chatlib.client.memory import FileMemory
from chatlib.client.news import Fields
from chatlib.client.outbox import Memory
from chatlib.client.servers import Servers
from chatlib.protocol.commands import State
from chatlib.protocol.scram import make_verifier
from chatlib.reactor.loop import READ, Loop
from tests.patience import LIMIT
from tests.program.cutting_proxy import CuttingProxy
from tests.program.survival_plan import Plan, request_of

ROOT = Path(__file__).resolve().parents[2]
SALT = b"salt of survival"
# Servers are killed, and what coverage has counted goes with them: it would only make them slower.
UNMEASURED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


def names(count: int) -> list[str]:
    return [f"p{number:02d}" for number in range(count)]


def password(name: str) -> str:
    return f"{name}-password"


class Server:
    """``server.py`` on a free port, another one after each start; to be killed at any moment, also while it starts."""

    def __init__(self, home: Path, users: Iterable[str], **parameters: object) -> None:
        self.home = home
        home.mkdir()
        parameters = {"SCRAM_ITERATIONS": 4096, "RATE_LIMIT": 0, "HEARTBEAT": 1, **parameters}
        (home / "para.txt").write_text("".join(f"{name} {value}\n" for name, value in parameters.items()))
        lines = [f"{name} {make_verifier(password(name), 4096, SALT)}\n" for name in users]
        (home / "credentials.txt").write_text("".join(lines))
        self.port = 0  # 0: not listening yet
        self.slow_sync = 0.0  # seconds
        self.said = b""
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Starts it, and does not wait."""
        self.port, self.said = 0, b""
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "server.py"), "0", "--home", str(self.home), "--bind", "127.0.0.1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**UNMEASURED, "CHAT_SLOW_SYNC": str(self.slow_sync)},
        )  # fmt: skip
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    def listens(self) -> bool:
        """Whether it is ready; takes in what it has said."""
        assert self.process is not None and self.process.stdout is not None
        while chunk := self.process.stdout.read(65_536):
            self.said += chunk
        if not self.port and b"Listening on port " in self.said and b"." in self.said.partition(b"on port ")[2]:
            self.port = int(self.said.partition(b"on port ")[2].partition(b".")[0])
        assert b"Internal error" not in self.said, self.said.decode()
        assert self.process.poll() is None, f"the server has ended: {self.said.decode()}"
        return self.port != 0

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        self.begin()
        assert self.process is not None and self.process.stdout is not None
        deadline = time.monotonic() + LIMIT
        try:
            while not self.listens():
                assert time.monotonic() < deadline, self.said
                select.select([self.process.stdout], [], [], 1.0)
        except BaseException:
            self.close()
            raise

    def kill(self) -> None:
        """``kill -9``."""
        self.listens()
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """A clean stop: the text files hold everything."""
        self.listens()
        assert self._end(signal.SIGTERM) == 0

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None and self.process.stdout and self.process.stdin
        process, self.process, self.port = self.process, None, 0
        process.send_signal(number)
        status = process.wait(timeout=LIMIT)
        process.stdout.close()
        process.stdin.close()
        return status

    def close(self) -> None:
        """Whatever happened: it is gone."""
        if self.process is not None:
            self._end(signal.SIGKILL)

    # What is on disk after a clean stop.

    def stored(self) -> list[tuple[str, str, int]]:
        """(receiver, line, offset) of everything in the message store; also of lines that say where messages stand."""
        found, offset = [], 0
        for number, line in enumerate((self.home / "data" / "message_rep.txt").read_bytes().splitlines(True)):
            if number:
                _, receiver, event = line.decode().split(" ", 2)
                found.append((receiver, event, offset))
            offset += len(line)
        return found

    def mailboxes(self) -> dict[str, list[tuple[list[int], list[int]]]]:
        """User (or ``all``) → seqs and offsets of what was received, and of what was sent to one other."""
        found: dict[str, list[tuple[list[int], list[int]]]] = {}
        lines = {offset: line for _, line, offset in self.stored()}
        for row in (self.home / "data" / "mailboxes.txt").read_text().splitlines()[1:]:
            user, _, _, _, *streams = json.loads(row)
            found[user] = []
            for _, places, seqs, offsets in (streams[:4], streams[4:] or [[]] * 4):
                for part in [json.loads(lines[place]) for place in reversed(places)]:
                    seqs, offsets = part["seqs"] + seqs, part["offsets"] + offsets
                found[user].append((seqs, offsets))
        return found


def check_stored(plans: dict[str, Plan], server: Server) -> None:
    """Every message took effect once: one line in the store, one place in one mailbox, and one in its sender's."""
    stored = [line for line in server.stored() if line[1].startswith('{"event"')]
    said = sorted(text for plan in plans.values() for _, text in plan.says)
    texts = [event.partition('"text":"')[2].partition('"')[0] for _, event, _ in stored]
    assert sorted(texts) == said, "the message store"
    at = {offset: (receiver, text) for (receiver, _, offset), text in zip(stored, texts, strict=True)}
    placed, sent = [], []
    for user, both in server.mailboxes().items():
        for seqs, offsets in both:
            assert seqs == sorted(set(seqs)) and offsets == sorted(set(offsets)), f"{user}'s mailbox"
        for receiver, text in (at[offset] for offset in both[0][1]):
            assert receiver == user and text.split(":")[2] == ("*" if user == "all" else user)
            placed.append(text)
        for _, text in (at[offset] for offset in both[1][1]):
            assert text.split(":")[0] == user
            sent.append(text)
    assert sorted(placed) == said, "the mailboxes"
    assert sorted(sent) == [text for text in said if text.split(":")[2] != "*"], "what each has sent"


class Person:
    """One user at the real client core, in this process."""

    def __init__(
        self, house: House, name: str, port: int, memory: Memory | None = None, plan: Plan | None = None
    ) -> None:
        self.house, self.name, self.port = house, name, port
        self.says = list(plan.says) if plan else []
        self.memory = memory
        self.events: list[Fields] = []  # shown
        self.answers: list[tuple[str, Fields]] = []  # action, reply
        self.endings: list[n.Ended] = []
        self.logins: list[n.LoggedIn] = []
        self.lost: list[n.Lost] = []
        self.shows = True  # whether events are acknowledged
        self.awake = True
        self.begin()

    def begin(self) -> None:
        """A program starts."""
        self.conversation = Conversation(self.memory)
        # Chance that is never large: after many failures in a row nobody waits for half a minute here.
        jitter = self.house.rng.random
        self.link = Link(self.house.loop, Servers(f"127.0.0.1:{self.port}"), self.conversation, lambda: 0.3 * jitter())
        self.conversation.login(self.name, self.house.loop.now)
        self._again_at = 0.0

    def texts(self, *kinds: str) -> list[str]:
        return [str(event["text"]) for event in self.events if event["event"] in (kinds or ("message", "broadcast"))]

    @property
    def online(self) -> bool:
        return self.conversation.state is State.ONLINE

    @property
    def quiet(self) -> bool:
        """Whether there is nothing that this person waits to say, or to have answered."""
        return self.online and not self.says and not self.conversation.outbox.pending

    def say(self, to: str, text: str) -> None:
        action, fields = request_of(to, text)
        self.conversation.request(action, fields, self.house.loop.now)

    def say_next(self) -> None:
        """The next one of the plan, online or not."""
        if self.says and self.logins:
            self.say(*self.says.pop(0))

    def turn(self) -> None:
        now = self.house.loop.now
        if self._again_at and now >= self._again_at:
            self.begin()
        self.link.turn()
        for item in self.conversation.take_news():
            self._hear(item, now)

    def _hear(self, item: n.News, now: float) -> None:
        match item:
            case n.Challenged():
                self.conversation.give_password(password(self.name))
                self.conversation.prove(now)
            case n.LoggedIn():
                self.logins.append(item)
            case n.Arrived(event):
                self.events.append(event)
                if self.shows:
                    self.conversation.shown(event, now)
            case n.Answered(request, reply):
                if request.action == "login":  # refused for now: the session of a connection that broke is still there
                    assert reply["status"] == "ALREADY_ONLINE", reply
                    self.close()
                    self._again_at = now + 0.5
                else:
                    self.answers.append((request.action, reply))
            case n.Lost():
                self.lost.append(item)
            case n.Ended():
                if not self.logins:  # a program that could not even log in is started again
                    assert item.status in ("LOST", "UNREACHABLE", "SHUTTING_DOWN", "TIME_OUT"), item
                    self.close()
                    self._again_at = now + 0.1
                else:
                    self.endings.append(item)

    def close(self) -> None:
        """The program ends, whatever it was doing."""
        self.link.close()
        if isinstance(self.memory, FileMemory):
            self.memory.close()


class House:
    """The loop of a test: people, the proxy, and the wait for what must come true.

    `hurry`: how much faster the people's clocks go, so that five seconds of patience with a dead server are one.
    """

    def __init__(self, rng: random.Random, hurry: float = 1.0) -> None:
        self.rng = rng
        self._hurry = hurry
        self.loop = Loop(_raise, clock=lambda: time.monotonic() * hurry)
        self.people: list[Person] = []
        self.proxies: list[CuttingProxy] = []
        self.servers: list[Server] = []
        self.each_tick: list[Callable[[], None]] = []
        self.loop.phases = [self._turn]

    def proxy(self, *arguments: object, **more: object) -> CuttingProxy:
        proxy = CuttingProxy(*arguments, **more)  # type: ignore[arg-type]
        self.proxies.append(proxy)
        self.loop.watch(proxy.fileno(), READ, _Watched())
        return proxy

    def server(self, home: Path, users: Iterable[str], **parameters: object) -> Server:
        server = Server(home, users, **parameters)
        self.servers.append(server)
        return server

    def person(self, name: str, port: int, memory: Memory | None = None, plan: Plan | None = None) -> Person:
        person = Person(self, name, port, memory, plan)
        self.people.append(person)
        return person

    def leave(self, person: Person) -> None:
        """Takes someone out, at once."""
        person.close()
        self.people.remove(person)

    def _turn(self) -> None:
        for proxy in self.proxies:
            proxy.step()
        for person in self.people:
            if person.awake:
                person.turn()
        for call in self.each_tick:
            call()
        for person in self.people:
            if person.awake:
                person.link.flush()

    def until(self, true: Callable[[], object], why: Callable[[], object] = lambda: "", seconds: float = LIMIT) -> None:
        """Ticks until something is true; fails when nothing that `why` tells has changed for `seconds`."""
        state, look_at, deadline = why(), 0.0, time.monotonic() + seconds
        while not true():
            if (now := time.monotonic()) > look_at:
                before, state, look_at = state, why(), now + 1.0
                deadline = deadline if state == before else now + seconds
                assert now < deadline, f"nothing has changed for {seconds} s: {state}"
            patience = min([0.02, *(wait for proxy in self.proxies if (wait := proxy.patience()) is not None)])
            self.loop.call_later(patience, _nothing)
            self.loop.tick()

    def close(self) -> None:
        for person in list(self.people):
            self.leave(person)
        for proxy in self.proxies:
            self.loop.forget(proxy.fileno(), _WATCHED)
            proxy.close()
        for server in self.servers:
            server.close()
        self.loop.close()


class _Watched:
    """Wakes the loop; the work is done in the phase."""

    def readable(self) -> None: ...
    def writable(self) -> None: ...
    def again(self) -> None: ...
    def broken(self) -> None: ...


_WATCHED = _Watched()


def _nothing() -> None: ...


def _raise(fault: BaseException) -> None:
    raise fault
