"""Whatever is said, to whom, in any order: each connection gets all that it has a right to, in the order it was said.

Connections come, go, follow, speak another dialect, and die while a tick's words are sent. Some users have several.
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

    client = None

    def __init__(self, delivery: Delivery, user: str, login: int, loud: bool) -> None:
        self.delivery, self.user, self.login = delivery, user, login
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
        self.here: list[Ear] = []
        self.all: list[Ear] = []
        self.number = 0

    def says(self) -> bytes:
        self.number += 1
        return b"line %d\n" % self.number

    def excluded(self) -> set[str]:
        return {user for user in [*self.users, "nobody"] if self.chance.random() < 0.2}

    @property
    def users(self) -> list[str]:
        return list(dict.fromkeys(ear.user for ear in self.here))

    def come(self) -> None:
        user = f"user{len(self.all)}"
        if self.here and self.chance.random() < 0.4:
            user = self.chance.choice(self.here).user
        ear = Ear(self.delivery, user, 1 + len(self.all), self.chance.random() < 0.3)
        self.here.append(ear)
        self.all.append(ear)
        self.follows.setdefault(user, {name for name in STREAMS if self.chance.random() < 0.4})
        self.delivery.come(ear)
        if self.chance.random() < 0.5:
            self.to(ear)
        self.delivery.listen(ear)

    def to(self, ear: Ear) -> None:
        line = self.says()
        self.delivery.to(ear, line)
        ear.is_due(line)

    def deliver(self, user: str) -> None:
        line = self.says()
        self.delivery.deliver(user, line)
        for ear in self.here:
            if ear.user == user:
                ear.is_due(line)

    def sent(self, speaker: Ear) -> None:
        line = self.says()
        self.delivery.sent(speaker.user, line, speaker)
        for ear in self.here:
            if ear.user == speaker.user and ear is not speaker:
                ear.is_due(line)

    def fan_out(self) -> None:
        line, excluded = self.says(), self.excluded()
        self.delivery.fan_out(line, excluded)
        for ear in self.here:
            if ear.user not in excluded:
                ear.is_due(line)

    def publish(self) -> None:
        stream, line, excluded = self.chance.choice(STREAMS), self.says(), self.excluded()
        self.delivery.publish(stream, line, excluded)
        for ear in self.here:
            if ear.user not in excluded and stream in self.follows[ear.user]:
                ear.is_due(line)

    def follow(self, user: str) -> None:
        stream, followed = self.chance.choice(STREAMS), self.follows[user]
        (self.delivery.unfollow if stream in followed else self.delivery.follow)(user, stream)
        followed ^= {stream}

    def act(self) -> None:
        kinds = ["come", "to", "deliver", "sent", "fan_out", "fan_out", "publish", "publish", "follow", "leave"]
        kind, ear = self.chance.choice(kinds), self.chance.choice([*self.here, None])
        if kind == "come" or ear is None:
            self.come()
        elif kind in ("to", "sent"):
            getattr(self, kind)(ear)
        elif kind in ("follow", "deliver"):
            getattr(self, kind)(ear.user)
        elif kind == "leave":
            self.here.remove(ear)
            ear.leave()
        else:
            getattr(self, kind)()

    def flush(self) -> None:
        for ear in self.here:
            ear.dies = self.chance.random() < 0.08
        self.delivery.flush(0)
        self.here = [ear for ear in self.here if not ear.gone]
        for ear in self.all:
            assert ear.got == ear.due or ear.dies
        assert self.delivery.hearing() == len(self.users) == len(self.delivery.sessions)
        for user in self.users:
            there = [ear for ear in self.here if ear.user == user]
            assert list(self.delivery._listening(user)) == self.delivery.of(user) == there
        assert len(self.delivery.everyone()) == len(self.here)


def test_everybody_gets_everything_in_order() -> None:
    chance = new_chance()
    for _ in range(examples(300)):
        room = Room(chance)
        for _ in range(6):
            for _ in range(chance.randrange(14)):
                room.act()
            room.flush()
