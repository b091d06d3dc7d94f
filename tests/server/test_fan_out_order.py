"""Whatever is said, to whom, in any order: each connection gets all that it has a right to, in the order it was said.

Connections come, go, follow, speak another dialect, and die while a tick's words are sent.
"""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

from chatlib.server.delivery import Delivery
from tests.chance import examples, new_chance

STREAMS = ("#one", "#two", "#three")


class Loud:
    """A dialect that says everything in capitals."""

    name = "loud"
    translate: ClassVar[Any] = staticmethod(bytes.upper)


class Ear:
    """A session with its connection, reader and intake, as far as delivery knows them. `due` is what it must get."""

    client = login = None

    def __init__(self, delivery: Delivery, user: str, loud: bool) -> None:
        self.delivery, self.user = delivery, user
        self.wire = Loud() if loud else None
        self.translate = Loud.translate if loud else None
        self.pieces: list[bytes] | None = None
        self.mark = self.backlog_size = 0
        self.listening = self.current = self.dies = self.gone = False
        self.connection = self.reader = self.intake = self
        self.got = self.due = b""
        self._backlog, self._open = None, True  # as push_to_all looks at a connection

    def _send(self, data: bytes) -> int:
        if self.dies:
            raise ConnectionResetError
        self.got += data
        return len(data)

    def push(self, data: bytes) -> bool:
        if self.dies:
            self.leave()
            return False
        self.got += data
        return True

    def leave(self) -> None:
        if not self.gone:
            self.gone = True
            self.delivery.leave(self)  # type: ignore[arg-type]

    def fell_behind(self, flushed: int) -> None: ...

    def block(self) -> None: ...

    def is_due(self, line: bytes) -> None:
        self.due += line.upper() if self.translate else line


class Room:
    """A delivery, and whoever listens to it."""

    def __init__(self, chance: Random) -> None:
        self.chance, self.follows = chance, dict[str, set[str]]()
        self.delivery: Any = Delivery(self.follows.__getitem__)
        self.here: dict[str, Ear] = {}
        self.all: list[Ear] = []
        self.number = 0

    def says(self) -> bytes:
        self.number += 1
        return b"line %d\n" % self.number

    def excluded(self) -> set[str]:
        return {user for user in [*self.here, "nobody"] if self.chance.random() < 0.2}

    def come(self) -> None:
        user = f"user{len(self.all)}"
        ear = self.here[user] = Ear(self.delivery, user, self.chance.random() < 0.3)
        self.all.append(ear)
        self.follows[user] = {name for name in STREAMS if self.chance.random() < 0.4}
        self.delivery.come(ear)
        if self.chance.random() < 0.5:
            self.to(ear)
        self.delivery.listen(ear)

    def to(self, ear: Ear) -> None:
        line = self.says()
        self.delivery.to(ear, line)
        ear.is_due(line)

    def fan_out(self) -> None:
        line, excluded = self.says(), self.excluded()
        self.delivery.fan_out(line, excluded)
        for user in self.here.keys() - excluded:
            self.here[user].is_due(line)

    def publish(self) -> None:
        stream, line, excluded = self.chance.choice(STREAMS), self.says(), self.excluded()
        self.delivery.publish(stream, line, excluded)
        for user in self.here.keys() - excluded:
            if stream in self.follows[user]:
                self.here[user].is_due(line)

    def follow(self, user: str) -> None:
        stream, followed = self.chance.choice(STREAMS), self.follows[user]
        (self.delivery.unfollow if stream in followed else self.delivery.follow)(user, stream)
        followed ^= {stream}

    def act(self) -> None:
        kinds = ["come", "to", "to", "fan_out", "fan_out", "publish", "publish", "follow", "leave"]
        kind, user = self.chance.choice(kinds), self.chance.choice([*self.here, ""])
        if kind == "come" or not user:
            self.come()
        elif kind == "to":
            self.to(self.here[user])
        elif kind == "follow":
            self.follow(user)
        elif kind == "leave":
            self.here.pop(user).leave()
        else:
            getattr(self, kind)()

    def flush(self) -> None:
        for ear in self.here.values():
            ear.dies = self.chance.random() < 0.08
        self.delivery.flush(0)
        self.here = {user: ear for user, ear in self.here.items() if not ear.gone}
        for ear in self.all:
            assert ear.got == ear.due or ear.dies
        assert self.delivery.listeners == self.here


def test_everybody_gets_everything_in_order() -> None:
    chance = new_chance()
    for _ in range(examples(300)):
        room = Room(chance)
        for _ in range(6):
            for _ in range(chance.randrange(14)):
                room.act()
            room.flush()
