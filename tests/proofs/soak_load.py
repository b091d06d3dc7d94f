"""The people of `make soak`: they come, talk, post, pay, send and fetch files, and go, as long as they are told to.

``python -m tests.proofs.soak_load PORT FIRST COUNT SEED``: a process of its own. Each second it prints a JSON object:
how many are online, the latency of the messages that arrived (milliseconds), what was done, and what went wrong. A line
on standard input sends everybody home; it ends when they are. The latency is from the moment a message is sent until
its receiver, in this same process, has read it.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from chatlib.protocol import cheque as cheques
from chatlib.protocol.cheque import Cheque, cheque_key
from chatlib.protocol.scram import parse_verifier
from tests.program.peer import PASSWORD, VERIFIER
from tests.proofs.wires import Hub, Message, Wire, bring, fetch, hello, prove

STAY, AWAY, PAUSE = 20.0, 2.0, 0.7  # seconds, on average
SIZES = (100, 5_000, 60_000, 400_000)  # bytes of a file
POSTS = 150  # in a thread, until its creator removes it
_KEY = cheque_key(parse_verifier(VERIFIER).server_key)
# What people may hear of what others have done meanwhile.
_ALLOWED = {"NO_SUCH_THREAD", "THREAD_EXISTS", "NOT_OWNER", "NO_SUCH_FILE", "TOO_MANY_TRANSFERS", "FILE_EXISTS",
            "BAD_TICKET", "INSUFFICIENT_FUNDS", "ALREADY_ONLINE", "NOT_ALLOWED"}  # fmt: skip
_DEEDS = {"message": 50, "broadcast": 0.5, "post": 6, "pay": 8, "cash": 3, "file": 4, "look": 8, "search": 1}


class Crowd:
    """All of them, what they did, and when they do more."""

    def __init__(self, port: int, first: int, count: int, seed: str) -> None:
        self.hub, self.port, self.chance = Hub(), port, random.Random(f"{seed} soak {first}")
        self.people = [Person(self, f"u{number:03d}") for number in range(first, first + count)]
        self.threads: Counter[str] = Counter()  # posts in each
        self.online = 0
        self.latencies: list[float] = []
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.leaving = False
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Calls it then."""
        self._number += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._number, call))

    def run(self) -> None:
        """Until everybody has gone home."""
        for person in self.people:
            self.later(self.chance.uniform(0.0, 3.0), person.come)
        report_at = time.monotonic() + 1.0
        while not self.leaving or self.hub.wires:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            if now >= report_at:
                report_at += 1.0
                print(json.dumps(self.report()), flush=True)
                if not self.leaving and select.select([sys.stdin], [], [], 0)[0]:
                    self.go_home()
            until = min(report_at, self._due[0][0] if self._due else report_at)
            self.hub.pump(min(0.05, until - time.monotonic()))
        print(json.dumps(self.report()), flush=True)

    def go_home(self) -> None:
        """Nobody comes any more."""
        self.leaving = True
        for person in self.people:
            person.leave()

    def report(self) -> Message:
        """What happened since the last one."""
        ordered = sorted(self.latencies)
        points = [1e3 * ordered[int(share * (len(ordered) - 1))] if ordered else None for share in (0.5, 0.99)]
        report = {"online": self.online, "p50": points[0], "p99": points[1], "messages": len(ordered),
                  "done": self.done, "wrong": self.wrong[:3]}  # fmt: skip
        self.latencies, self.done = [], Counter()
        return report

    def heard(self, request: Message, reply: Message) -> bool:
        """Counts a reply; whether it is OK."""
        if reply["status"] == "OK":
            self.done[request["action"]] += 1
        elif reply["status"] not in _ALLOWED:
            self.wrong.append(f"{request}: {reply}"[:500])
        return bool(reply["status"] == "OK")


class Person:
    """One user. What is asked for is answered before the connection ends, but for those who go rudely."""

    def __init__(self, crowd: Crowd, name: str) -> None:
        self.crowd, self.name = crowd, name
        self._wire: Wire | None = None
        self._online, self._last, self._acknowledged = False, 0, 0
        self._number = 0

    def come(self) -> None:
        """Connects and logs in."""
        if not self.crowd.leaving:
            self._wire = Wire(self.crowd.hub, self.crowd.port, self._event, self._gone)
            done = prove("login", self.name, PASSWORD, self._in, seen=self._last)
            self._wire.converse(hello(done))

    def _in(self, reply: Message) -> None:
        crowd = self.crowd
        if self._wire and crowd.heard({"action": "login"}, reply):
            self._online = True
            crowd.online += 1
            wire = self._wire
            crowd.later(crowd.chance.expovariate(1 / STAY), lambda: self.leave() if self._wire is wire else None)
            self._soon(wire)
        elif self._wire:  # its last session is just ending
            self._wire.close()

    def _gone(self) -> None:
        crowd = self.crowd
        crowd.online -= self._online
        self._wire, self._online = None, False
        crowd.later(crowd.chance.expovariate(1 / AWAY), self.come)

    def leave(self) -> None:
        """Politely, or not."""
        if self._wire and self._online and (self.crowd.leaving or self.crowd.chance.random() < 0.7):
            self.ask({"action": "logout"})
        elif self._wire:
            self._wire.reset()

    def _soon(self, wire: Wire) -> None:
        self.crowd.later(self.crowd.chance.expovariate(1 / PAUSE), lambda: self._act(wire))

    def ask(self, request: Message, then: Callable[[Message], None] = lambda reply: None) -> None:
        """A request; `then` only hears of its success."""
        if self._wire:
            self._wire.ask(request, lambda reply: then(reply) if self.crowd.heard(request, reply) else None)

    # What they hear.

    def _event(self, event: Message) -> None:
        self._last = max(self._last, event.get("seq", 0))
        match event["event"]:
            case "message" if "offline" not in event:
                self.crowd.latencies.append(time.monotonic() - float(event["text"].partition(" ")[0]))
            case "file":
                self.crowd.later(self.crowd.chance.uniform(0.0, 2.0), lambda: self._take(event))
            case "bye" if event["status"] not in ("LOGGED_OUT", "REPLACED"):
                self.crowd.wrong.append(str(event))

    def _take(self, event: Message) -> None:
        file = {"from": event["from"], "name": event["name"]}
        if self.crowd.chance.random() < 0.2:
            self.ask({"action": "filedecline", **file})
            return

        def held(content: bytes) -> None:
            if hashlib.sha256(content).hexdigest() != event["sha256"]:
                self.crowd.wrong.append(f"{event}: other bytes")
            self.ask({"action": "received", **file, "sha256": event["sha256"]})

        def granted(reply: Message) -> None:
            fetch(self.crowd.hub, self.crowd.port, reply, lambda no: None, held)

        self.ask({"action": "fileget", **file}, granted)

    # What they do.

    def _act(self, wire: Wire) -> None:
        if self._wire is not wire:
            return
        if self._last > self._acknowledged:
            self._acknowledged = self._last
            self.ask({"action": "alive", "seen": self._last, "active": True})
        crowd = self.crowd
        deed = crowd.chance.choices(list(_DEEDS), list(_DEEDS.values()))[0]
        other = crowd.chance.choice([person for person in crowd.people if person is not self]).name
        text = f"{time.monotonic()} " + "x" * crowd.chance.choice([10, 50, 300])
        self._number += 1
        key = f"{self.name} {crowd.chance.randrange(1 << 48):x}"
        match deed:
            case "message":
                self.ask({"action": "message", "to": other, "text": text})
            case "broadcast":
                self.ask({"action": "broadcast", "text": text})
            case "post":
                self._post(text)
            case "pay":
                self.ask({"action": "pay", "to": other, "amount": 1, "memo": "for tea", "key": key})
            case "cash":
                number = f"{crowd.chance.randrange(1 << 64):016x}"
                cheque = Cheque(other, self.name, 1, number, cheques.expiry_of(time.time()))
                self.ask({"action": "cash", "cheque": cheques.write(cheque, _KEY), "key": key})
            case "file":
                self._send_file(other)
            case "look":
                self.ask(crowd.chance.choice([{"action": "whoelse"}, {"action": "history", "count": 20},
                                              {"action": "lst"}, {"action": "balance"}, {"action": "unread"}]))
            case "search":
                self.ask({"action": "search", "words": "xxxxxxxxxx", "count": 5})
        self._soon(wire)

    def _post(self, text: str) -> None:
        threads = self.crowd.threads
        if len(threads) < 8:
            title = f"thread{self.crowd.chance.randrange(10**9)}"
            threads[title] = 0
            self.ask({"action": "crt", "title": title})
            self.ask({"action": "msg", "title": title, "text": text})
            return
        title = self.crowd.chance.choice(list(threads))
        self.ask({"action": "msg", "title": title, "text": text}, lambda reply: threads.update({title: 1}))
        if threads[title] > POSTS:  # the creator alone may
            for person in self.crowd.people:
                person.ask({"action": "rmv", "title": title}, lambda reply: threads.pop(title, None) and None)

    def _send_file(self, other: str) -> None:
        content = self.crowd.chance.randbytes(self.crowd.chance.choice(SIZES))
        about: dict[str, Any] = {"name": f"{self._number}.bin", "size": len(content),
                                 "sha256": hashlib.sha256(content).hexdigest()}  # fmt: skip

        def granted(reply: Message) -> None:
            bring(self.crowd.hub, self.crowd.port, reply, content,
                  lambda reply: self.crowd.heard({"action": "upload"}, reply) and None)  # fmt: skip

        self.ask({"action": "file", "to": other, **about}, granted)


def main() -> None:
    port, first, count, seed = sys.argv[1:]
    Crowd(int(port), int(first), int(count), seed).run()


if __name__ == "__main__":
    main()
