"""Lives of clusters: what stands in their log, and a node that carries it out, in a process of its own.

The log is a list of messages, each a batch of a node's commands. They come in any order in which a log may have them:
twice, late, out of turn, of nodes that are gone, and from clocks that differ.

    python -m tests.core.cluster_life < LIVES > WHAT CAME OF THEM
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chatlib.core import mailboxes, streams
from chatlib.core.nodes import FORMAT, nodes_of
from chatlib.core.replies import text_of
from chatlib.protocol.framing import dumps
from tests.core.stage import loaded, new_world, saved

USERS = ("ann", "bea", "cyd", "dan", "eve", "fay")
NODES = ("a", "b", "c")
PARAMETERS = {"MAX_FAILURES": 3, "DUPLICATE_LOGIN": "share", "SESSIONS": 3, "MAIL_QUOTA": 6}
VERIFIER = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0$q7vV0Gbb8p0RUXcTMWnyOXgSy6uZw2lWKQeqqFvHJG0=:6iQkQkHZ4S1mU8cZ8n0mJ2E0y1r3fYq8bq2n8k0q1u8="  # noqa: E501
Message = dict[str, Any]


@dataclass
class Node:
    """One node of a cluster, that executes what stands in the log."""

    is_origin: bool = False  # the commands are its own, as it made them: the others have read them
    replies: int = 0  # a checksum of all replies
    executed: int = 0
    position: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world, self.recorder = new_world(**PARAMETERS)

    def take(self, message: Message) -> bool:
        """The next message of the log; whether it was carried out."""
        self.position += 1
        nodes, payload = nodes_of(self.world), dumps(message).encode()
        batch = message["node"], message["incarnation"], message["number"]
        accepted = nodes.accepts(*batch)
        if accepted:
            nodes.took(*batch)
            for command in message["commands"]:
                self._execute(deepcopy(command) if self.is_origin else json.loads(json.dumps(command)))
        nodes.place = self.position, zlib.crc32(payload, nodes.place[1])
        return accepted

    def _execute(self, command: dict[str, Any]) -> None:
        reply, effects, fault = self.world.execute(command)
        if fault is not None:
            self.faults.append(repr(fault))
        self.recorder.carry_out(effects)
        self.executed += 1
        self.replies = zlib.crc32(text_of(reply).encode(), self.replies)

    def save(self) -> None:
        """Stops, and starts from its text files."""
        self.world = loaded(json.loads(json.dumps(saved(self.world))), self.recorder)

    def result(self) -> dict[str, Any]:
        """All that must be equal everywhere."""
        self.recorder.take()
        return {
            "files": saved(self.world), "messages": self.recorder.messages.decode("latin-1"),
            "ledger": {name: text.decode() for name, text in self.recorder.appended_to.items()},
            "replies": self.replies, "executed": self.executed, "faults": self.faults,
        }  # fmt: skip


@dataclass
class Sender:
    """A server's side of it: what it believes of itself, which the world may know better."""

    name: str
    skew: float  # seconds by which its clock is off
    incarnation: int = 0
    number: int = 0


class Cluster:
    """Writes a life."""

    def __init__(self, chance: Random) -> None:
        self.chance, self.at, self.said = chance, 1_700_000_000.0, 0
        self.oracle = Node(is_origin=True)
        self.senders = [Sender(name, chance.uniform(-1.5, 1.5)) for name in NODES]
        self.messages: list[Message] = []
        self.connections = 0

    def life(self, length: int) -> list[Message]:
        """So many messages."""
        for sender in self.senders:
            self._comes_up(sender)
        self._say(self.senders[0], [{"action": "register", "user": user, "verifier": VERIFIER} for user in USERS])
        while len(self.messages) < length:
            self.at += self.chance.choice((0.0, 0.01, 1.0, 40.0))
            self.chance.choice(self.ACTS)(self)
        return self.messages

    # What may happen.

    def _speaks(self) -> None:
        sender = self.chance.choice(self.senders)
        self._say(sender, [self._command(sender) for _ in range(self.chance.randrange(5))])

    def _speaks_again(self) -> None:
        """Some message is there twice, at once or much later."""
        self._put(self.chance.choice(self.messages[-3:] if self.chance.random() < 0.5 else self.messages))

    def _speaks_out_of_turn(self) -> None:
        sender = self.chance.choice(self.senders)
        number = sender.number + self.chance.choice((-1, 0, 2, 3))
        self._put(self._message(sender, number, [self._command(sender)]))

    def _is_missed(self) -> None:
        """One node says that another is gone; perhaps it has spoken since, perhaps it goes on without knowing."""
        teller, gone = self.chance.sample(self.senders, 2)
        number = gone.number - self.chance.choice((0, 0, 1))
        command = {"action": "node_down", "node": gone.name, "incarnation": gone.incarnation, "number": number}
        self._say(teller, [self._command(teller), command, self._command(teller)])

    def _stops(self) -> None:
        sender = self.chance.choice(self.senders)
        command = {"action": "node_down", "node": sender.name, "incarnation": sender.incarnation, "clean": True}
        self._say(sender, [self._command(sender), command, self._command(sender)])

    def _comes(self) -> None:
        """It was killed, or has read its own end; in half of the cases it has not heard of all that it is."""
        self._comes_up(self.chance.choice(self.senders))

    def _makes_a_snapshot(self) -> None:
        sender, nodes = self.chance.choice(self.senders), nodes_of(self.oracle.world)
        position = nodes.snapshot[0] if self.chance.random() < 0.8 else 0
        self._say(sender, [{"action": "snapshot_begin", "node": sender.name, "position": position}])
        if self.chance.random() < 0.7:
            told = {"action": "snapshot", "node": sender.name, "position": nodes.place[0], "chain": nodes.place[1]}
            self._say(sender, [told])

    ACTS = (*[_speaks] * 40, *[_speaks_again] * 4, *[_speaks_out_of_turn] * 2, *[_is_missed] * 2, _stops,
            *[_comes] * 3, _makes_a_snapshot)  # fmt: skip

    # How it is said.

    def _comes_up(self, sender: Sender) -> None:
        known = nodes_of(self.oracle.world).get(sender.name)
        sender.incarnation = (known.incarnation if known else 0) + 1
        sender.number = 0
        told = {"action": "node_up", "node": sender.name, "incarnation": sender.incarnation, "format": FORMAT,
                "address": f"10.0.0.9:{ord(sender.name)}", "left": self.at - 3.0, "limited": True,
                "written": (self.chance.randrange(50),) * 2, "nonce": f"{self.chance.random()}"}  # fmt: skip
        self._say(sender, [told])

    def _say(self, sender: Sender, commands: list[dict[str, Any]]) -> None:
        sender.number += 1
        self._put(self._message(sender, sender.number, commands))

    def _message(self, sender: Sender, number: int, commands: list[dict[str, Any]]) -> Message:
        at = self.at + sender.skew
        commands = [{"at": at, **command} for command in commands]
        return {"node": sender.name, "incarnation": sender.incarnation, "number": number, "commands": commands}

    def _put(self, message: Message) -> None:
        self.messages.append(message)
        self.oracle.take(message)

    def _command(self, sender: Sender) -> dict[str, Any]:
        self.said += 1
        return self.chance.choice((self._talk, self._talk, self._talk, self._login, self._rare))(sender)

    def _login(self, sender: Sender) -> dict[str, Any]:
        chance = self.chance
        self.connections += chance.choice((-2, 1, 1))
        return {"action": "login", "user": chance.choice(USERS), "address": f"10.0.0.{chance.randrange(3)}",
                "node": sender.name, "client": f"c{chance.randrange(4)}", "connection": max(1, self.connections),
                "seen": chance.randrange(2 * self.oracle.world.lsn + 1)}  # fmt: skip

    def _talk(self, _sender: Sender) -> dict[str, Any]:
        user, other = self.chance.sample(USERS, 2)
        if self.oracle.world.online and self.chance.random() < 0.9:
            user = self.chance.choice(list(self.oracle.world.online))
        said, number, title = f"said {self.said}.", self.said % 7, f"plans{self.said % 3}"
        return self.chance.choice((
            {"action": "message", "by": user, "to": other, "text": said, "key": f"k{number}"},
            {"action": "message", "by": user, "to": other, "text": said},
            {"action": "broadcast", "by": user, "text": said}, {"action": "broadcast", "by": user, "text": said},
            {"action": "block", "by": user, "user": other}, {"action": "unblock", "by": user, "user": other},
            {"action": "allow", "by": user, "user": other},
            {"action": "crt", "by": user, "title": title}, {"action": "follow", "by": user, "title": title},
            {"action": "msg", "by": user, "title": title, "text": said},
            {"action": "msg", "by": user, "title": title, "text": said},
            {"action": "dlt", "by": user, "title": title, "number": 1},
            {"action": "pay", "by": user, "to": other, "amount": number + 1, "memo": said, "key": f"p{number}"},
            {"action": "file_stored", "user": user, "to": other, "name": f"f{number}", "size": 9, "sha256": "0" * 64,
             "blob": f"{self.said:032x}"},
        ))  # fmt: skip

    def _rare(self, sender: Sender) -> dict[str, Any]:
        chance, lsn, number = self.chance, self.oracle.world.lsn, self.said % 7
        user, other = chance.sample(USERS, 2)
        return chance.choice((
            {"action": "wrong_password", "user": user, "address": f"10.0.0.{chance.randrange(3)}"},
            {"action": "wrong_password", "user": user, "address": f"10.0.0.{chance.randrange(3)}"},
            {"action": "seen", "seen": {user: chance.randrange(2 * lsn + 1), other: lsn}},
            {"action": "depart", "user": user, "seen": lsn, "session": self._session(user)},
            {"action": "kick", "user": user}, {"action": "ban", "user": other, "seconds": 5.0},
            {"action": "rmv", "by": user, "title": f"plans{self.said % 3}"}, {"action": "unlock", "user": user},
            {"action": "expire", "before": max(1, lsn - 60), "offset": 0},
            {"action": "edit", "node": sender.name, "parameters": {"MaxCon": 4 + number}, "accounts": {},
             "written": (chance.randrange(lsn + 1),) * 2},
            {"action": "edit", "node": sender.name, "parameters": {}, "written": (0, 0),
             "accounts": {other: VERIFIER if number else None}},
            {"action": "deregister", "user": user} if number % 2 else {"action": "no such thing"},
            *[{"action": "register", "user": one, "verifier": VERIFIER} for one in (user, other)],
        ))  # fmt: skip

    def _session(self, user: str) -> int:
        session = self.oracle.world.online.get(user)
        return session.login if session and self.chance.random() < 0.8 else 1


def results(lives: list[list[Message]], chance: Random) -> Iterator[dict[str, Any]]:
    """What comes of each life at a node, which stops and starts by chance."""
    for life in lives:
        node = Node()
        for message in life:
            node.take(message)
            if chance.random() < 0.05:
                node.save()
        yield node.result()


def make_small() -> None:
    """Streams whose positions go into the message store soon, and few accounts looked through at once."""
    streams.CHUNK, streams.TAIL, streams.CHUNKS_AT_ONCE, mailboxes.AT_ONCE = 2, 4, 3, 2


if __name__ == "__main__":
    make_small()
    json.dump(list(results(json.load(sys.stdin), Random(sys.argv[1]))), sys.stdout)
