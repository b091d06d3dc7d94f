"""The log alone, small: an engine of which there is nothing but one stream, and servers of which there is nothing but
their end of it. Time passes when the test says so.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from chatlib.cluster import batch
from chatlib.cluster.link import EngineLink
from chatlib.cluster.stream import ClusterLog
from chatlib.protocol.nats import Message
from tests.patience import LIMIT

NAME = "chat"
Call = Callable[[], object]
Answered = Callable[[Message | None], bool | None]


class Moments:
    """A clock, and what is to be done when: also a loop, as far as a log wants one."""

    def __init__(self) -> None:
        self.now = 100.0
        self.unfinished = 0  # how often there was work left over
        self._calls: list[tuple[float, int, Call]] = []
        self._count = 0

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now

    def call_at(self, at: float, call: Call) -> Any:
        self._count += 1
        entry = (at, self._count, call)
        self._calls.append(entry)

        class Handle:
            def cancel(_) -> None:  # noqa: N805
                if entry in self._calls:
                    self._calls.remove(entry)

        return Handle()

    def again(self, _channel: object) -> None:
        self.unfinished += 1

    def ring(self) -> None:
        for entry in sorted(entry for entry in self._calls if entry[0] <= self.now):
            self._calls.remove(entry)
            entry[2]()


class Stream:
    """What the engine stores. The flags say what it does wrong."""

    def __init__(self) -> None:
        self.moments = Moments()
        self.messages: dict[int, bytes] = {}
        self.last = 0
        self.links: list[SmallLink] = []
        self.identities: dict[str, int] = {}
        self.stores = True  # False: there is no quorum, and nobody hears anything
        self.refusals: deque[int] = deque()  # errors, before it does what it is asked for
        self.acknowledges = True
        self.mute = 0  # so many questions for messages get no answer
        self.publishes = True  # what it stores is said
        self.answer: Callable[[int, bytes], bytes | None] = lambda position, message: message  # one replica's view
        self.asked: list[dict[str, Any]] = []

    @property
    def first(self) -> int:
        return min(self.messages, default=self.last + 1)

    def store(self, message: bytes, identity: str = "") -> int:
        """Whoever has published it."""
        if identity and identity in self.identities:
            return self.identities[identity]
        self.last += 1
        self.messages[self.last] = message
        if identity:
            self.identities[identity] = self.last
        for link in self.links:
            if self.publishes:
                link.say(f"{NAME}.out", {"Nats-Sequence": str(self.last)}, message)
        return self.last

    def purge(self, position: int) -> None:
        self.messages = {at: message for at, message in self.messages.items() if at > position}


class SmallLink:
    """The part of a link that a log uses."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.connected = True
        self.max_payload = 1 << 20
        self.failure = ""
        self.on_connected: list[Call] = []
        self.left = 0  # how often it went on to the next node of the engine
        self.sent: list[bytes] = []
        self._heard: dict[str, Callable[[Message], None]] = {}
        self._coming: deque[Call] = deque()
        self._open: list[tuple[float, Answered]] = []
        stream.links.append(self)

    def subscribe(self, subject: str, heard: Callable[[Message], None]) -> None:
        self._heard[subject] = heard

    def say(self, subject: str, headers: dict[str, str], payload: bytes) -> None:
        """Published, for whoever has subscribed when it comes."""
        if self.connected and subject in self._heard:
            self._coming.append(lambda: self._heard[subject](Message(subject, headers=headers, payload=payload)))

    def request(self, subject: str, payload: bytes, answered: Answered, *, headers: Mapping[str, str] | None = None,
                patience: float = 2.0, many: bool = False) -> None:  # fmt: skip
        self._open.append((self.stream.moments.now + patience, answered))
        if not self.connected:
            return
        answers: list[Message] = []
        if subject == f"{NAME}.log":
            self.sent.append(payload)
            answers = self._store(payload, (headers or {}).get("Nats-Msg-Id", ""))
        elif not self.stream.stores:
            pass
        elif "DIRECT.GET" in subject and self.stream.mute:
            self.stream.mute -= 1
        elif "DIRECT.GET" in subject:
            answers = self._get(json.loads(payload))
        elif "STREAM.INFO" in subject:
            state = {"first_seq": self.stream.first, "last_seq": self.stream.last}
            answers = [Message("", payload=json.dumps({"config": {}, "state": state}).encode())]
        for answer in answers:
            self._coming.append(lambda answer=answer: self._answer(answered, answer, many))

    def _answer(self, answered: Answered, message: Message | None, many: bool) -> None:
        found = [one for one in self._open if one[1] is answered]
        if found and (answered(message) or not many or message is None):
            self._open.remove(found[0])

    def _store(self, payload: bytes, identity: str) -> list[Message]:
        stream = self.stream
        if not stream.stores:
            return []
        if stream.refusals:
            error = {"code": 503, "err_code": stream.refusals.popleft(), "description": "not now"}
            return [Message("", payload=json.dumps({"error": error}).encode())]
        known = identity in stream.identities
        position = stream.store(payload, identity)
        answer = {"stream": NAME, "seq": position, **({"duplicate": True} if known else {})}
        return [Message("", payload=json.dumps(answer).encode())] if stream.acknowledges else []

    def _get(self, wanted: dict[str, Any]) -> list[Message]:
        stream, answers, size, at = self.stream, list[Message](), 0, 0
        stream.asked.append(wanted)
        for at in range(max(stream.first, wanted["seq"]), stream.last + 1):
            if len(answers) == wanted["batch"] or size >= wanted["max_bytes"]:
                at -= 1
                break
            message = stream.answer(at, stream.messages[at])
            if message is not None:
                answers.append(Message("", headers={"Nats-Sequence": str(at)}, payload=message))
                size += len(message)
        if not answers:
            return [Message("", status=404)]
        headers = {"Nats-Last-Sequence": str(at), "Nats-Num-Pending": str(stream.last - at)}
        return [*answers, Message("", status=204, headers=headers)]

    def pump(self) -> None:
        """All that is on its way comes."""
        while self._coming:
            self._coming.popleft()()
        for until, answered in list(self._open):
            if self.stream.moments.now >= until:
                self._answer(answered, None, False)

    def lose(self) -> None:
        """The connection is gone, and whatever was on its way."""
        self.connected = False
        self._coming.clear()
        for _, answered in list(self._open):
            self._answer(answered, None, False)

    def connect(self) -> None:
        self.connected = True
        for call in self.on_connected:
            call()

    def leave(self, reason: str) -> None:
        self.left += 1
        self.lose()
        self.connect()

    def wait(self, until: Callable[[], bool], patience: float) -> bool:
        end = self.stream.moments.now + patience
        while not until():
            if self.stream.moments.now >= end:
                return False
            self.pump()
            self.stream.moments.now += 0.01
            self.stream.moments.ring()
        return True


class Nodes:
    """Who is up, as the commands ``up NODE INCARNATION`` and ``down NODE`` say."""

    def __init__(self) -> None:
        self.place = (0, 0)
        self.up: dict[str, tuple[int, int, bool]] = {}  # incarnation, number, whether it is up

    def accepts(self, name: str, incarnation: int, number: int) -> bool:
        current, last, up = self.up.get(name, (0, 0, False))
        if incarnation == current:
            return up and number == last + 1
        return incarnation == current + 1 and number == 1

    def took(self, name: str, incarnation: int, number: int) -> None:
        current, _, up = self.up.get(name, (0, 0, False))
        if incarnation == current:
            self.up[name] = (current, number, up)

    def names_up(self) -> list[str]:
        return [name for name, (_, _, is_up) in self.up.items() if is_up]

    def execute(self, record: bytes) -> None:
        word, *rest = record.decode().split()
        if word == "up":
            self.up[rest[0]] = (int(rest[1]), 1, True)
        elif word == "down":
            incarnation, number, _ = self.up[rest[0]]
            self.up[rest[0]] = (incarnation, number, False)


class Small:
    """A server: it executes what it reads, and nothing else."""

    def __init__(self, stream: Stream, node: str, earlier: Small | None = None, is_up: bool = True) -> None:
        """`earlier`: the one whose place it goes on from."""
        self.node, self.moments, self.link = node, *self._engine(stream)
        self.nodes = Nodes()
        self.executed: list[bytes] = []
        if earlier:
            self.nodes.place, self.nodes.up = earlier.nodes.place, dict(earlier.nodes.up)
            self.executed = list(earlier.executed)
        self.own: list[bytes] = []  # of these, what was ours
        self.passed: list[int] = []  # barriers
        self.over = 0
        self.beats: list[str] = []
        self.waiting: dict[int, bytes] = {}
        self.said: list[str] = []
        self.log = ClusterLog(self.link, NAME, node, self.moments, self.nodes, self.said.append,  # type: ignore[arg-type]
                              clock=self.moments.clock, wall_clock=self.moments.wall)  # fmt: skip
        self.log.heard = lambda node, at: self.beats.append(node)
        self.log.on_over = self._over
        self.log.prove(len(self.executed), bool(earlier))
        self.log.mend()
        self.log.open()
        if is_up:
            self.catch_up()
            self.come_up()

    def _engine(self, stream: Any) -> tuple[Moments, Any]:
        """What tells the time, and the link."""
        return stream.moments, SmallLink(stream)

    def _over(self) -> None:
        self.over += 1

    def catch_up(self) -> None:
        while self.log.behind:
            self.log.ready()
            self.execute()

    def come_up(self) -> None:
        incarnation = self.nodes.up.get(self.node, (0, 0, False))[0] + 1
        self.log.come_up(incarnation)
        self.append(f"up {self.node} {incarnation}")
        self.settle()

    def append(self, *records: str) -> list[int]:
        tickets = [self.log.append(record.encode()) for record in records]
        self.waiting.update(zip(tickets, (record.encode() for record in records), strict=True))
        return tickets

    def execute(self) -> None:
        for part in self.log.committed():
            for entry in part:
                if isinstance(entry, int):
                    if entry not in self.waiting:
                        self.passed.append(entry)
                        continue
                    record = self.waiting.pop(entry)
                    self.own.append(record)
                else:
                    record = entry
                self.executed.append(record)
                self.nodes.execute(record)
            assert self.log.lsn == len(self.executed), "it counts as the world does"

    def tick(self) -> None:
        """A turn of its loop."""
        self.link.pump()
        self.moments.ring()
        self.execute()
        self.log.commit()
        self.execute()

    def settle(self) -> None:
        while self.waiting:
            self.log.commit()
            while self.log.busy:
                self.log.ready()
            self.execute()


class NowMoments(Moments):
    """Time passes by itself."""

    def clock(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def ring(self) -> None:
        self.now = time.monotonic()
        super().ring()


class Linked(Small):
    """The same over a real link; `stream` says to what."""

    def _engine(self, stream: Any) -> tuple[Moments, Any]:
        self._second = time.monotonic()
        return NowMoments(), EngineLink(None, stream, clock=time.monotonic)

    def tick(self) -> None:
        self.link.wait(lambda: self.log._has_more, 0.002)
        self.moments.ring()
        self.execute()
        self.log.commit()
        if time.monotonic() - self._second >= 1.0:
            self._second = time.monotonic()
            self.log.every_second()
        self.execute()

    def close(self) -> None:
        self.log.close()
        self.link.close()


def live(until: Callable[[], object], *servers: Linked) -> None:
    """All of them live until something holds."""
    end = time.monotonic() + LIMIT
    while not until():
        assert time.monotonic() < end, "it never happens"
        for server in servers:
            server.tick()


def pass_time(seconds: float, *servers: Small) -> None:
    """All of them live for so long, and what is on its way comes."""
    moments = servers[0].moments
    for step in range(round(seconds * 20)):
        moments.now += 0.05
        for server in servers:
            server.tick()
            if step % 20 == 19:
                server.log.every_second()
    for server in servers:
        server.tick()


def written(node: str, incarnation: int, number: int, *records: str, place: tuple[int, int] = (0, 0)) -> bytes:
    """A batch."""
    return batch.pack(node, incarnation, number, 1_700_000_000.0, place, [record.encode() for record in records])
