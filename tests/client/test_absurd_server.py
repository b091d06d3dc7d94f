"""Whatever a server says to a person's client, the client says something or nothing, and goes on."""

from __future__ import annotations

from typing import Any

import pytest

from chatlib.client.conversation import Conversation
from chatlib.client.heartbeat import SHORTEST
from chatlib.client.peers import MAX_INTRODUCTIONS
from tests.client.fake_server import Wire
from tests.client.peerrig import KEY, Stage
from tests.client.person import Person

ABSURD: list[Any] = [
    None, True, -1, 2**70, 10**400, 1e308, "", "ann", "\x1b[31m\x07\r\n", "a" * 3_000, [], [1], [{}], {}, {"a": 1},
    "OK",
]  # fmt: skip
PLAIN: dict[str, Any] = {
    "seq": 5, "time": 1.7e9, "from": "ann", "text": "hi", "user": "ann", "to": "ann", "thread": "t", "number": 1,
    "of": 3, "name": "f", "size": 3, "sha256": "0" * 64, "outcome": "fetched", "amount": 3, "memo": "m", "balance": 7,
    "by": "ann", "online": True, "seconds": 60, "address": "127.0.0.1", "port": 4, "key": "0" * 64, "link": 1,
    "status": "REFUSED", "position": 1, "question": True, "id": 1, "cheque": "cheque/1 a", "offline": True,
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
    "notice": "time text", "waiting": "position", "private": "from text time link id", "cheque": "from cheque time id",
}  # fmt: skip
REPLIES = {
    "list": ("list", "status balance online items"), "balance": ("balance", "status balance"),
    "pay ann 3": ("pay", "status seq balance"), "statement": ("statement", "status items"),
    "cheques": ("cheques", "status key items"), "getaddress ann": ("getaddress", "status user seconds"),
    "private ann hi": ("getaddress", "status user seconds"), "allowed": ("allowed", "status items"),
}  # fmt: skip
ITEM = ("user", "address", "port", "seq", "time", "kind", "from", "to", "amount", "balance", "memo", "number", "expiry")


def logged_in() -> Person:
    person = Person(window=1_000)
    person.types("bob", "secret")
    return person


def goes_on(person: Person) -> None:
    person.dialogue._peers.look(person.wire.now + 100)
    person.read()
    person.types("private zoe hi", "no zoe", "message ann hi")
    assert person.wire.server.effects == ["hi"]


@pytest.mark.parametrize("kind", EVENTS)
def test_no_event_ends_a_client(kind: str) -> None:
    fields = EVENTS[kind].split()
    person = logged_in()
    for name in fields:
        for value in ABSURD:
            person.wire.server.say({"event": kind, **{each: PLAIN[each] for each in fields}, name: value})
        person._listen()
    goes_on(person)


@pytest.mark.parametrize("typed", REPLIES)
def test_no_reply_ends_a_client(typed: str) -> None:
    action, fields = REPLIES[typed][0], REPLIES[typed][1].split()
    person = logged_in()
    for name in fields:
        more: list[Any] = [[dict.fromkeys(ITEM, value)] for value in ABSURD] if name == "items" else []
        for value in [*ABSURD, *more]:
            reply = {each: [] if each == "items" else PLAIN[each] for each in fields}
            person.wire.server.scripted.setdefault(action, []).append({**reply, "status": "OK", name: value})
            person.types(typed)
            person.types("no ann")
    del person.wire.server.scripted[action]
    goes_on(person)


def test_whoever_is_in_cannot_be_sent_back_to_the_door() -> None:
    person = logged_in()
    person.wire.server.say({"event": "admitted"})
    person.wire.server.say({"event": "waiting", "position": 3})
    person._listen()
    goes_on(person)


def test_what_no_line_can_carry_is_not_repeated_to_the_server() -> None:
    person = logged_in()
    person.wire.server.scripted["whoelse"] = [{"status": "OK", "items": ["ann"], "next": "x\ud800"}]
    person.types("whoelse")
    assert person.wire.server.requests[-1]["after"] == "x?"
    goes_on(person)


@pytest.mark.parametrize("seconds", [0, -1, 1e-300, 1e308, 10**400, "30", None, True])
def test_a_server_cannot_choose_a_heartbeat_that_keeps_a_client_busy(seconds: object) -> None:
    wire = Wire(Conversation())
    wire.server.hello["heartbeat"] = seconds
    wire.log_in()
    assert wire.now + SHORTEST <= wire.conversation.deadline() <= wire.now + 30.0


def test_a_server_that_lets_everybody_ask_does_not_fill_the_memory() -> None:
    person = logged_in()
    person.read()
    for number in range(2_000):
        person.wire.server.say({"event": "address_asked", "from": f"x{number}", "seconds": 60})
    person._listen()
    assert person.read().count("wants your address") == 100
    person.types("yes x99", "yes x100")
    asked = [request for request in person.wire.server.requests if request["action"] == "yes"]
    assert [request["user"] for request in asked] == ["x99", "x100"]  # the second as a command, for the server to say
    goes_on(person)


def test_a_server_that_introduces_everybody_does_not_fill_the_memory() -> None:
    stage = Stage()
    bob = stage.side("bob")
    for number in range(2 * MAX_INTRODUCTIONS):
        bob.hears("address", user=f"x{number}", address="127.0.0.1", port=1, key=KEY.hex())
    assert sum(bob.peers.introduced(f"x{number}") for number in range(2 * MAX_INTRODUCTIONS)) == MAX_INTRODUCTIONS
    bob.hears("introduction_over", user="x5", status="LEFT")
    bob.hears("address", user="ann", address="127.0.0.1", port=1, key=KEY.hex())
    assert bob.peers.introduced("ann")
    stage.close()
