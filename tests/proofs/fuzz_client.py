"""Hostile servers against the client: its library, its dialogue, and what both show in a terminal and without one.

The server says events and replies with wrong, absurd and hostile values, lines that are none, and goodbye; a person
types on. Nothing raises, the client goes on or says why it ends, and nothing of the server's is obeyed by a terminal.
"""

from __future__ import annotations

import json
import random
import traceback
from pathlib import Path
from typing import Any, Protocol

from chatlib.terminal.editor import Editor
from chatlib.terminal.plain import PlainScreen
from chatlib.terminal.screen import Part, Screen
from tests.client.person import Person
from tests.proofs import fuzz_carried
from tests.proofs import fuzz_words as words
from tests.proofs.hostile_text import foreign, hostile, obeyed

STEPS = 150  # in a round
COLUMNS = 1_000_000  # so that no line is broken
PLAIN: dict[str, Any] = {
    "seq": 5, "time": 1.7e9, "from": "ann", "text": "hi", "user": "ann", "to": "ann", "thread": "t", "number": 1,
    "of": 3, "name": "f", "size": 3, "sha256": "0" * 64, "outcome": "fetched", "amount": 3, "memo": "m",
    "balance": 7, "by": "ann", "online": True, "seconds": 60, "address": "127.0.0.1", "port": 4, "key": "0" * 64,
    "link": 1, "status": "REFUSED", "position": 1, "question": True, "id": 1, "cheque": "cheque/1 a",
    "offline": True, "edited": 1.7e9, "items": [], "next": 3, "tries_left": 2, "scram": "v=", "unread": 1,
    "since": 0, "ticket": "t", "offset": 0, "title": "t", "creator": "ann", "messages": 3, "following": True,
    "file": "f", "place": "all", "count": 3, "kind": "pay", "expiry": 1_700_000_000, "here": True, "here2": 1,
    "delivered": True, "undelivered": 0, "left": True, "epoch": "e1", "iterations": 4096, "heartbeat": 30.0,
}  # fmt: skip
EVENTS = {
    "message": "seq time from text offline", "broadcast": "seq time from text", "sent": "seq time to text name size",
    "file": "seq time from name size sha256", "file_gone": "seq time to name outcome",
    "post": "seq time thread from number text", "edit": "seq time thread from number of text",
    "delete": "seq time thread from number of", "upload": "seq time thread from name size",
    "file_removed": "seq time thread from name", "thread_removed": "seq time thread from",
    "payment": "seq time from amount memo balance", "cheque_cashed": "seq time by number amount memo balance",
    "grant": "seq time amount balance", "presence": "time user online", "address_asked": "from seconds",
    "address": "user address port key", "address_refused": "user status text", "introduction_over": "user status",
    "notice": "time text", "waiting": "position", "admitted": "", "console": "text time", "prompt": "text question",
    "private": "from text time link id", "unheard_of": "text",
}  # fmt: skip
ITEM = (
    "user", "address", "port", "seq", "time", "kind", "from", "to", "amount", "balance", "memo", "number", "expiry",
    "title", "creator", "messages", "following", "text", "name", "size", "file", "edited", "place", "count", "here",
    "event", "online", "thread", "sha256",
)  # fmt: skip
TYPED = (
    "message ann hi", "broadcast hi", "whoelse", "list_users", "wholasthr 5", "block ann", "unblock ann",
    "blacklist", "history 5", "history ann 5", "history #t 5", "search hi", "unread", "list", "getaddress ann",
    "yes ann", "no ann", "allow ann", "disallow ann", "allowed", "crt t", "lst", "msg t hi", "dlt t 1",
    "edt t 1 hi", "rdt t", "rdt t 5", "rmv t", "rmf t f", "dwn t f", "follow t", "unfollow t", "following",
    "fileget", "fileget ann f", "filedecline ann f", "balance", "pay ann 3 rent", "statement", "cash cheque/1 a",
    "cheques", "cheque ann 3 --print", "sessions", "logout 2", "private ann hi", "stopprivate ann", "to #t",
    "to ann", "to", "hi there", "r hi", "help", "help pay", "nonsense", "settings", "/me waves", "upd t /nowhere",
    "file ann /nowhere",
)  # fmt: skip


class Failed(AssertionError):
    """An invariant of the client's does not hold."""


class Counted(Protocol):
    client: int


class Watched(Person):
    """A person whose lines go to a terminal, and to a pipe."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.piped: list[str] = []
        editor = Editor()
        self.screen = Screen(self.written.append, editor, COLUMNS, 50)
        self.plain = PlainScreen(self.piped.append, Editor())
        self.screen.open()
        self.plain.open()
        super().__init__(window=1_000)

    def print(self, *parts: Part) -> None:
        self.screen.print(*parts)
        self.plain.print(*parts)

    def note(self, title: str, text: str) -> None:
        self.screen.note(title, text)

    def look(self) -> None:
        """Nothing but our own reaches a terminal."""
        prompt = self.dialogue.prompt(4.0, self.wire.now)
        self.screen.set_prompt(prompt.text, prompt.note, prompt.secret)
        self.screen.flush()
        self.plain.flush()
        self.transcript.clear()
        written, piped = "".join(self.written), "".join(self.piped)
        self.written.clear()
        self.piped.clear()
        if found := foreign(written):
            raise Failed(f"a terminal is given {found!r} in {written[-2_000:]!r}")
        if found := obeyed(piped):
            raise Failed(f"a pipe is given {found!r} in {piped[-2_000:]!r}")


def _value(chance: random.Random, name: str) -> Any:
    how = chance.random()
    if how < 0.5:
        return PLAIN.get(name, 1)
    if how < 0.8:
        return hostile(chance)
    if how < 0.85 and name == "items":
        return [chance.choice(words.ABSURD), hostile(chance)]
    return chance.choice(words.ABSURD)


def _fields(chance: random.Random, names: str) -> dict[str, Any]:
    given = {name: _value(chance, name) for name in names.split() if chance.random() < 0.95}
    if "seq" in given and chance.random() < 0.8:
        given["seq"] = chance.randrange(1, 1 << 40)
    return given


def _reply(chance: random.Random) -> dict[str, Any]:
    """Of any command."""
    status = chance.choice(("OK", "OK", "OK", "OK", "NO_SUCH_USER", "INTERNAL", "ASKED", "CONTINUE", hostile(chance)))
    names = chance.sample(tuple(PLAIN), chance.randrange(8))
    reply = {**_fields(chance, " ".join(names)), "status": status, "text": hostile(chance)}
    if chance.random() < 0.5:
        reply["items"] = [
            {name: _value(chance, name) for name in ITEM if chance.random() < 0.9} for _ in range(chance.randrange(4))
        ]
        for item in reply["items"]:
            item["event"] = chance.choice(tuple(EVENTS))
    if chance.random() < 0.1:
        reply["items"] = [hostile(chance) for _ in range(3)]
    if chance.random() < 0.9:
        reply.pop("next", None)
    return reply


def _raw(chance: random.Random) -> bytes:
    """A line that is none, or what looks like one."""
    match chance.randrange(5):
        case 0:
            return words.line(chance)
        case 1:
            return chance.choice(words.RAW) + b"\n"
        case 2:
            return (hostile(chance) + "\n").encode(errors="replace")
        case 3:
            event = {"event": chance.choice(tuple(EVENTS)), **_fields(chance, "seq time from text")}
            return words.mutated(chance, json.dumps(event).encode()) + b"\n"
    return json.dumps({"action": chance.choice(("message", "alive", None, "x")), "id": chance.choice(words.ABSURD),
                       **_reply(chance)}).encode() + b"\n"  # fmt: skip


def _greeted() -> Watched:
    person = Watched()
    person.types("bob", "secret")
    person.look()
    return person


def _step(chance: random.Random, person: Watched) -> int:
    """Something that the server or the person does; how many lines the client was given."""
    server = person.wire.server
    match chance.choices(range(6), (6, 6, 1, 1, 1, 1))[0]:
        case 0:
            count = chance.choice((1, 5, 30))
            for _ in range(count):
                kind = chance.choice(tuple(EVENTS))
                server.say({"event": kind, **_fields(chance, EVENTS[kind])})
        case 1:
            count, line = 1, chance.choice(TYPED)
            if person.dialogue.accepts():
                action = line.split()[0]
                for each in {action, "message", "msg", "broadcast", "history", "getaddress", "search", "lst", "pay"}:
                    server.scripted[each] = [_reply(chance)]
                person.types(line)
        case 2:
            count = 1
            server._output.append(_raw(chance))
        case 3:
            count = 1
            server.say(
                {
                    "event": "bye",
                    "status": chance.choice(("KICKED", "TIME_OUT", "REPLACED", hostile(chance))),
                    "text": hostile(chance),
                }
            )
        case 4:
            count = 0
            person.wire.cut()
        case _:
            count = 0
            person.wire.size = chance.choice((0, 1, 10))
            person.wire.pass_time(chance.choice((1.0, 40.0)))
    person._listen()
    person.look()
    return count


def _goes_on(person: Watched) -> None:
    """Once the server says what is right again, what a person types reaches it."""
    wire = person.wire
    wire.server.scripted.clear()
    wire.size = 0
    person._listen()
    conversation = wire.conversation
    if not person.dialogue.accepts() or not person.dialogue.online or conversation.state is None:
        return  # something asked for has no answer yet, or it will come back
    before = len(wire.server.requests)
    person.types("whoelse")
    if conversation.state is not None and not wire.server.requests[before:]:
        raise Failed(f"the client is nowhere: {conversation.state}, as {conversation.user!r}")


def play(folder: Path, seed: int, number: int, totals: Counted) -> None:
    """One round of it: a person, and files, which are saved in `folder`."""
    _talk(seed, number, totals)
    try:
        totals.client += fuzz_carried.play(folder, random.Random(f"{seed} carried {number}"))
    except Exception as fault:
        raise Failed("".join(traceback.format_exception(fault))) from fault


def _talk(seed: int, number: int, totals: Counted) -> None:
    chance = random.Random(f"{seed} client {number}")
    person = _greeted()
    for _ in range(STEPS):
        try:
            totals.client += _step(chance, person)
        except Failed:
            raise
        except Exception as fault:
            raise Failed("".join(traceback.format_exception(fault))) from fault
        if person.dialogue.status is not None or person.wire.conversation.ended:
            person = _greeted()
        elif chance.random() < 0.1:
            _goes_on(person)
