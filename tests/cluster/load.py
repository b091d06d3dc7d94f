"""People who talk to a world on several servers, all in one process, and what they were told: history.py judges it.

Each says numbered messages to the next one, each with a key that is also its text, and pays now and then. Whoever hears
nothing for HEARTBEAT and 2 seconds, or is sent away, goes to the next server, comes back in there, and says again under
the same keys what was not answered. The first addresses differ, so that all servers have somebody.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests.cluster.history import Said
from tests.program.peer import PASSWORD
from tests.proofs.wires import Hub, Message, Talk, Wire, prove

SILENCE = 4.0  # seconds: HEARTBEAT and 2
CALLING = 15.0  # seconds that a server has for hello and login, which wait for the log
AGAIN = 0.2  # seconds until the next try, after a refusal
PAYS = 8  # each eighth thing that somebody says is a payment
AT_ONCE = 4  # messages of one person that are not answered yet
# Refusals that pass by themselves: said again.
PASSING = frozenset({"NODE_LOST", "NO_QUORUM", "SHUTTING_DOWN", "ALREADY_ONLINE", "LOCKED_OUT"})


class Person:
    """One user with one connection at a time."""

    def __init__(self, name: str, to: str, crowd: Crowd, first: int) -> None:
        self.name, self.to, self.crowd = name, to, crowd
        self.said: list[Said] = []
        self.told: list[tuple[int, str]] = []
        self.open: dict[str, Said] = {}
        self.online, self.seen, self.connections = False, 0, 0
        self.next_at = 0.0
        self.latest = 0.0  # when the latest was asked of what was answered
        self._turn, self._call_at, self._heard_at, self._beat_at = first, 0.0, 0.0, 0.0
        self._wire: Wire | None = None

    @property
    def server(self) -> int:
        """The number of the server that it is connected to, or calls next."""
        return self._turn % len(self.crowd.ports)

    # Coming and going.

    def turn(self, now: float) -> None:
        """What is due."""
        if self._wire is None:
            if now >= self._call_at:
                self._call(now)
            return
        if now > self._heard_at + (SILENCE if self.online else CALLING):
            self.crowd.notes["silent"] += 1
            self._leave(self._wire, now)
        elif self.online and now >= self._beat_at:
            self._beat_at = now + 1.0
            self._wire.ask({"action": "alive", "seen": self.seen}, lambda reply: None)

    def _call(self, now: float) -> None:
        self._heard_at = now
        self.connections += 1
        wire = self._wire = Wire(self.crowd.hub, self.crowd.ports[self.server], lambda event: self._event(wire, event),
                                 lambda: self._gone(wire))  # fmt: skip
        if wire not in self.crowd.hub.wires:
            self._leave(wire, now)
            return
        wire.converse(self._coming(wire))

    def _coming(self, wire: Wire) -> Talk:
        client = {"client": f"load {self.name}", **({"connection": self.connections} if self.crowd.counts else {})}
        reply = yield {"action": "hello", "protocol": 1, **client}
        self._heard_at = time.monotonic()
        if reply["status"] != "OK":
            self._refused(wire, reply)
            return
        yield from prove("login", self.name, PASSWORD, lambda reply: self._in(wire, reply), seen=self.seen, resume=True)

    def _in(self, wire: Wire, reply: Message) -> None:
        if reply["status"] != "OK":
            self._refused(wire, reply)
            return
        now = time.monotonic()
        self.online, self._heard_at, self._beat_at = True, now, now
        self.crowd.came_back.append((now, self.name))
        for one in list(self.open.values()):
            one.tries += 1
            self._send(wire, one)

    def _refused(self, wire: Wire, reply: Message) -> None:
        self.crowd.notes[f"login: {reply['status']}"] += 1
        if reply["status"] not in PASSING:
            self.crowd.wrong(f"{self.name} may not come in: {reply}")
        self._leave(wire, time.monotonic(), AGAIN)

    def _gone(self, wire: Wire) -> None:
        if wire is self._wire:
            self._leave(wire, time.monotonic())

    def _leave(self, wire: Wire, now: float, after: float = 0.0) -> None:
        """The next server, at once; when all were tried in vain, a little later."""
        self.online, self._wire = False, None
        wire.close()
        self._turn += 1
        self._call_at = now + (after or (AGAIN if self.connections % len(self.crowd.ports) == 0 else 0.0))

    # Saying and hearing.

    def say(self, now: float) -> None:
        """The next message."""
        if not self.online or len(self.open) >= AT_ONCE or self._wire is None:
            return
        one = Said(f"{self.name}-{len(self.said)}", self.name, self.to, now, pays=len(self.said) % PAYS == PAYS - 1)
        self.said.append(one)
        self.open[one.key] = one
        self._send(self._wire, one)

    def _send(self, wire: Wire, one: Said) -> None:
        request: Message = {"action": "message", "to": one.to, "text": one.key, "key": one.key}
        if one.pays:
            request = {"action": "pay", "to": one.to, "amount": 1, "memo": one.key, "key": one.key}
        wire.ask(request, lambda reply: self._answered(wire, one, reply))

    def _answered(self, wire: Wire, one: Said, reply: Message) -> None:
        now = self._heard_at = time.monotonic()
        if reply["status"] == "OK":
            if one.answered is None:
                one.answered, one.seq = now, int(reply["seq"])
                self.latest = max(self.latest, one.asked)
                self.open.pop(one.key, None)
            elif one.seq != reply["seq"]:
                self.crowd.wrong(f"{one.key} was acknowledged with seq {one.seq} and then with {reply['seq']}")
        else:
            self.crowd.notes[f"message: {reply['status']}"] += 1
            if reply["status"] not in PASSING:
                self.crowd.wrong(f"{one.key}: {reply}")
            elif wire is self._wire:
                self._leave(wire, now, AGAIN)

    def _event(self, wire: Wire, event: Message) -> None:
        self._heard_at = time.monotonic()
        match event["event"]:
            case "message" | "payment":
                self.told.append((int(event["seq"]), str(event["text" if event["event"] == "message" else "memo"])))
                self.seen = max(self.seen, int(event["seq"]))
            case "bye":
                self.crowd.notes[f"bye {event['status']}"] += 1
                if event["status"] == "REPLACED" and wire is self._wire:
                    self.crowd.wrong(f"{self.name}'s latest connection was replaced by an earlier one")
                self._gone(wire)
            case "notice":
                self.crowd.notes["notice"] += 1


class Crowd:
    """All of them. `counts`: their hello says how many connections they had."""

    def __init__(self, ports: list[int], users: Iterable[str], chance: random.Random, rate: float = 200.0,
                 counts: bool = True) -> None:  # fmt: skip
        self.ports, self.counts = ports, counts
        self.hub = Hub()
        self.notes: Counter[str] = Counter()
        self.faults: list[str] = []
        self.came_back: list[tuple[float, str]] = []  # when, and who
        names = list(users)
        self.people = [Person(name, names[(i + 1) % len(names)], self, i) for i, name in enumerate(names)]
        self._pause = len(names) / rate  # seconds between two messages of one person
        self._chance = chance

    @property
    def said(self) -> list[Said]:
        return [one for person in self.people for one in person.said]

    @property
    def told(self) -> dict[str, list[tuple[int, str]]]:
        return {person.name: person.told for person in self.people}

    def wrong(self, sentence: str) -> None:
        """Something that must not be."""
        if len(self.faults) < 10:
            self.faults.append(sentence)

    def run(self, seconds: float, until: Callable[[], Any] = lambda: False, talks: bool = True) -> bool:
        """Lives on for so long, or until that holds: whether it does."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for person in self.people:
                person.turn(now)
                if talks and now >= person.next_at:
                    person.next_at = now + self._pause * self._chance.uniform(0.5, 1.5)
                    person.say(now)
            self.hub.pump(0.002)
            if until():
                return True
        return bool(until())

    def settled(self) -> bool:
        """Everybody is online, and everything was answered."""
        return all(person.online and not person.open for person in self.people)

    def all_told(self) -> bool:
        """Everybody has heard what was acknowledged to be for them."""
        wanted = Counter(one.to for one in self.said if one.answered is not None)
        return all(len(person.told) >= wanted[person.name] for person in self.people)

    def close(self) -> None:
        """Hangs up."""
        for wire in list(self.hub.wires):
            self.hub.wires.discard(wire)
            self.hub.selector.unregister(wire.socket)
            wire.socket.close()
        self.hub.selector.close()
