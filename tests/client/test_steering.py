"""A console from afar without a network: what it says to the server, and what to the person."""

from __future__ import annotations

import json
from typing import Any

from chatlib.client.heartbeat import GRACE
from chatlib.client.steering import LEAVING, Steering
from chatlib.protocol.scram import ServerExchange, make_verifier

VERIFIER = make_verifier("keeper", 4096)


class Rig:
    """Both ends: `heard` is what the person was told, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.now = 0.0
        self.steering = Steering(self, lambda: "nonce")
        self.steering.connected(0.0)

    def __getattr__(self, name: str) -> Any:
        if name not in ("asked", "refused", "opened", "told", "prompted", "completed", "nothing_left", "over"):
            raise AttributeError(name)
        return lambda *words: self.heard.append((name, *words))

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.steering.take_output().splitlines()]

    def say(self, **message: Any) -> None:
        self.steering.received(json.dumps(message).encode() + b"\n", self.now)

    def request(self, action: str) -> dict[str, Any]:
        (request,) = self.sent()
        assert request["action"] == action, request
        return request

    def greet(self) -> None:
        hello = self.request("hello")
        assert hello["console"] is True
        self.say(action="hello", id=hello["id"], status="OK", heartbeat=30.0)

    def challenge(self) -> ServerExchange:
        first = self.request("admin")
        exchange = ServerExchange.begin(first["scram"], VERIFIER, "server")
        self.say(action="admin", id=first["id"], status="CONTINUE", scram=exchange.challenge)
        return exchange

    def open(self) -> None:
        self.greet()
        exchange = self.challenge()
        self.steering.give("keeper", self.now)
        final = self.request("admin")
        self.say(action="admin", id=final["id"], status="OK", scram=exchange.verify(final["scram"]))
        assert self.heard[-2:] == [("asked",), ("opened",)] and self.steering.open


def test_lines_go_out_and_what_is_said_comes_back() -> None:
    rig = Rig()
    rig.open()
    rig.say(event="prompt", text="server> ", question=False)
    rig.steering.line("stats", 80, 1.0)
    line = rig.request("console")
    assert line["line"] == "stats" and line["columns"] == 80 and rig.steering.asks("console")
    rig.say(event="console", text="  up: 1 s\n  online: 0")
    rig.say(event="console", text="login ann", time=5.0)
    rig.say(action="console", id=line["id"], status="OK")
    assert not rig.steering.asks("console")
    assert rig.heard[2:] == [
        ("prompted", "server> ", False), ("told", "  up: 1 s\n  online: 0", 0.0), ("told", "login ann", 5.0)
    ]  # fmt: skip


def test_completions_refusals_and_interrupts() -> None:
    rig = Rig()
    rig.open()
    rig.heard.clear()
    rig.steering.complete("ki", 1.0)
    rig.say(action="complete", id=rig.request("complete")["id"], status="OK", items=["kick "])
    rig.steering.interrupt(1.0)
    rig.say(action="interrupt", id=rig.request("interrupt")["id"], status="OK", left=True)
    rig.steering.interrupt(1.0)
    rig.say(action="interrupt", id=rig.request("interrupt")["id"], status="OK", left=False)
    rig.steering.line("x", 0, 1.0)
    rig.say(action="console", id=rig.request("console")["id"], status="TOO_MANY_LINES", text="Too many.")
    assert rig.heard == [("completed", "ki", ["kick "]), ("nothing_left",), ("told", "Error! Too many.", 0.0)]


def test_a_wrong_password_begins_anew() -> None:
    rig = Rig()
    rig.greet()
    rig.challenge()
    rig.steering.give("wrong", 0.0)
    rig.say(action="admin", id=rig.request("admin")["id"], status="WRONG_PASSWORD", text="Wrong.")
    rig.challenge()
    assert rig.heard == [("asked",), ("refused", "Wrong."), ("asked",)]
    assert "wrong" not in repr(vars(rig.steering))


def test_a_server_that_cannot_prove_that_it_knows_the_password_is_not_trusted() -> None:
    rig = Rig()
    rig.greet()
    rig.challenge()
    rig.steering.give("keeper", 0.0)
    rig.say(action="admin", id=rig.request("admin")["id"], status="OK", scram="v=bm8=")
    assert rig.heard[-1][:2] == ("over", "NOT_TRUSTED") and not rig.steering.wanted


def test_it_ends_once_whatever_comes() -> None:
    for ending, status in (
        (lambda rig: rig.say(event="bye", status="SHUTTING_DOWN", text="Bye."), "SHUTTING_DOWN"),
        (lambda rig: rig.steering.disconnected("Gone.", 1.0), "LOST"),
        (lambda rig: rig.steering.received(b"no json\n", 1.0), "PROTOCOL_ERROR"),
    ):
        rig = Rig()
        rig.open()
        ending(rig)
        rig.steering.disconnected("Gone.", 1.0)
        assert [each[1] for each in rig.heard if each[0] == "over"] == [status]
        assert rig.steering.state is None and not rig.steering.wanted


def test_leaving() -> None:
    rig = Rig()
    rig.open()
    rig.steering.leave(1.0, patient=True)
    rig.request("leave")
    rig.say(event="console", text="Saved.")
    rig.say(event="bye", status="LOGGED_OUT", text="Goodbye!")
    assert rig.heard[-2:] == [("told", "Saved.", 0.0), ("over", "LOGGED_OUT", "Goodbye!")]
    hasty = Rig()
    hasty.open()
    hasty.steering.leave(1.0, patient=False)
    assert hasty.steering.deadline() == 1.0 + LEAVING
    hasty.steering.tick(1.0 + LEAVING)
    assert hasty.heard[-1] == ("over", "LOGGED_OUT", "")
    before = Rig()
    before.steering.leave(0.0, patient=True)
    assert before.heard == [("over", "LOGGED_OUT", "")]


def test_heartbeats_and_a_server_that_is_dead() -> None:
    rig = Rig()
    rig.open()
    assert rig.steering.deadline() == 30.0
    rig.steering.tick(30.0)
    assert "active" not in rig.request("alive")
    rig.steering.tick(65.0 + GRACE)
    assert rig.heard[-1] == ("over", "LOST", "The server does not answer any more.")


def test_a_person_who_types_is_there() -> None:
    rig = Rig()
    rig.open()
    rig.steering.active(10.0)
    rig.steering.tick(30.0)
    assert rig.request("alive")["active"] is True


def test_an_older_server_says_why_it_does_not_do() -> None:
    rig = Rig()
    rig.say(action="hello", id=rig.request("hello")["id"], status="BAD_REQUEST", text='Unknown field "console".')
    assert rig.heard == [("over", "BAD_REQUEST", 'Unknown field "console".')]
