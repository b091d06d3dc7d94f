"""What a line must be, and how what is not is refused: every status of WIRE.md's general refusals; ids and keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatlib.core import features
from chatlib.server.presence import QUIET
from tests.server.house import House

Talk = Callable[..., None]


def test_before_hello_nothing_else_is_allowed(house: House, talk: Talk) -> None:
    talk(
        """
        x> {"action":"login","scram":"n,,n=facebook,r=12345678"}
        x> {"action":"whoelse","id":1}
        x> {"action":"hello","protocol":1,"id":2}
        x> {"action":"hello","protocol":1}
        x> {"action":"broadcast","text":"hi"}
        x< {"action":"login","status":"NOT_ALLOWED"}
        x< {"action":"whoelse","id":1,"status":"NOT_ALLOWED"}
        x< {"action":"hello","id":2,"status":"OK","server":"chatlib/1","protocol":1,"epoch":"*","time":"*","heartbeat":30.0,"iterations":4096}
        x< {"action":"hello","status":"NOT_ALLOWED"}
        x< {"action":"broadcast","status":"NOT_ALLOWED"}
        """,  # noqa: E501
        x=house.connect(),
    )


def test_what_is_no_request_is_refused_and_the_connection_goes_on(house: House, talk: Talk) -> None:
    talk(
        """
        x> hello?
        x> [1]
        x> {"action":"hello","protocol":1} and more
        x> {"action":"hello","protocol":NaN}
        x>
        x> {}
        x> {"action":7,"id":3}
        x> {"action":"dance","id":"a"}
        x> {"action":"stop"}
        x> {"action":"blacklist add","user":"SEAS"}
        x> {"action":"hello","protocol":2}
        x> {"action":"hello","protocol":1,"client":""}
        x> {"action":"hello","id":5}
        x> {"action":"hello","protocol":1,"colour":"red"}
        x> {"action":"hello","protocol":true}
        x< {"action":null,"status":"BAD_REQUEST","text":"The line is not JSON (character 1)."}
        x< {"action":null,"status":"BAD_REQUEST","text":"The line is not a JSON object."}
        x< {"action":null,"status":"BAD_REQUEST","text":"The line goes on after its JSON value (character 32)."}
        x< {"action":null,"status":"BAD_REQUEST","text":"NaN is not a JSON number."}
        x< {"action":null,"status":"BAD_REQUEST","text":"The line is not JSON (character 1)."}
        x< {"action":null,"status":"BAD_REQUEST","text":"Field \\"action\\" must be the name of an action."}
        x< {"action":null,"id":3,"status":"BAD_REQUEST"}
        x< {"action":"dance","id":"a","status":"UNKNOWN_ACTION","text":"There is no action \\"dance\\"."}
        x< {"action":"stop","status":"UNKNOWN_ACTION"}
        x< {"action":"blacklist add","status":"UNKNOWN_ACTION"}
        x< {"action":"hello","status":"BAD_REQUEST","text":"Field \\"protocol\\" must be 1, the protocol's number."}
        x< {"action":"hello","status":"BAD_REQUEST"}
        x< {"action":"hello","id":5,"status":"BAD_REQUEST","text":"Field \\"protocol\\" is missing: it must be 1, the protocol's number."}
        x< {"action":"hello","status":"BAD_REQUEST"}
        x< {"action":"hello","status":"BAD_REQUEST"}
        """,  # noqa: E501
        x=house.connect(),
    )


BAD_FIELDS = [
    ({"action": "message", "text": "hi"}, "to"),
    ({"action": "message", "to": "SEAS"}, "text"),
    ({"action": "message", "to": "SEAS", "text": ""}, "text"),
    ({"action": "message", "to": "SEAS", "text": "x" * 4097}, "text"),
    ({"action": "message", "to": "SEAS", "text": "\x1b[2J"}, "text"),
    ({"action": "message", "to": "SEAS", "text": "\ud800"}, "text"),
    ({"action": "message", "to": "a b", "text": "hi"}, "to"),
    ({"action": "message", "to": 7, "text": "hi"}, "to"),
    ({"action": "message", "to": "SEAS", "text": "hi", "from": "Google"}, "from"),
    ({"action": "message", "to": "SEAS", "text": "hi", "by": "google"}, "by"),
    ({"action": "message", "to": "SEAS", "text": "hi", "at": 1}, "at"),
    ({"action": "message", "to": "SEAS", "text": "hi", "key": ""}, "key"),
    ({"action": "message", "to": "SEAS", "text": "hi", "key": "k" * 65}, "key"),
    ({"action": "message", "to": "SEAS", "text": "hi", "id": 1.5}, "id"),
    ({"action": "broadcast"}, "text"),
    ({"action": "block", "user": None}, "user"),
    ({"action": "history", "count": -1}, "count"),
    ({"action": "history", "count": True}, "count"),
    ({"action": "wholasthr", "minutes": 0}, "minutes"),
    ({"action": "alive", "seen": "1"}, "seen"),
    ({"action": "password", "scram": "n,,n=Columbia,r=12345678", "verifier": "secret"}, "verifier"),
    ({"action": "whoelse", "\ud800": 1}, ""),
    ({"action": "whoelse", "\x1b[2J": 1}, ""),
]


@pytest.mark.parametrize("behind_a_change", [False, True], ids=["alone", "behind a change"])
def test_a_wrong_field_is_named(house: House, behind_a_change: bool) -> None:
    columbia = house.login("Columbia")
    for request, field in BAD_FIELDS:
        columbia.say(*([{"action": "block", "user": "SEAS"}] if behind_a_change else []), request)
        reply = columbia.reply(request["action"] if request != {"action": "block", "user": None} else "block")
        if behind_a_change and request["action"] == "block":
            reply = columbia.reply("block")
        assert reply["status"] == "BAD_REQUEST", (request, reply)
        assert f'"{field}"' in reply["text"] or not field, (request, reply)
        assert reply["text"].isprintable(), "what the peer wrote may come back only without what a terminal obeys"
    assert columbia.ask("whoelse")["status"] == "OK"


def test_every_action_is_refused_where_its_state_forbids_it(house: House) -> None:
    greeted, online = house.greet(), house.login("Columbia")
    for action in ("alive", "message", "broadcast", "whoelse", "online", "list_users", "wholasthr", "block", "unblock",
                   "blacklist", "history", "password", "logout", "exit", "quit", "send"):  # fmt: skip
        assert greeted.ask(action)["status"] == "NOT_ALLOWED", action
    for action in ("hello", "register", "login", "deregister", "de-register"):
        assert online.ask(action)["status"] == "NOT_ALLOWED", action
    assert "before login" in greeted.ask("alive")["text"]


def test_ids_come_back_as_they_were(house: House) -> None:
    columbia = house.login("Columbia")
    for mark in (0, -5, 2**53 - 1, "", "x" * 64, "é"):
        assert columbia.ask("whoelse", id=mark)["id"] == mark
        assert columbia.ask("nonsense", id=mark)["id"] == mark
    for mark in (2**53, "x" * 65, None, [1], {}, True, "\n"):
        reply = columbia.ask("whoelse", id=mark)
        assert reply["status"] == "BAD_REQUEST" and "id" not in reply
        assert "id" not in columbia.ask("nonsense", id=mark)


def test_cr_lf_and_bytes_in_any_portions(house: House) -> None:
    peer = house.greet()
    for byte in b'{"action":"register","user":"c r","id":1}\r\n  {"action":"nothing"}\t\r\n':
        peer.say(bytes([byte]))
        house.settle()
    assert [message["status"] for message in peer.hear()] == ["BAD_REQUEST", "UNKNOWN_ACTION"]


def test_a_key_repeated_gets_the_first_reply_and_changes_nothing(house: House, talk: Talk) -> None:
    talk(
        """
        c> {"action":"message","id":1,"key":"k","to":"facebook","text":"hi"}
        c> {"action":"message","id":2,"key":"k","to":"facebook","text":"hi"}
        c< {"action":"message","id":1,"status":"OK","seq":"$1","delivered":true}
        c< {"action":"message","id":2,"status":"OK","seq":"$1","delivered":true}
        f< {"event":"message","seq":"$1","time":"*","from":"Columbia","text":"hi"}
        c> {"action":"send","text":"hi","to":"facebook","key":"k"}
        c> {"action":"message","id":3,"key":"k","to":"facebook","text":"ho"}
        c> {"action":"broadcast","key":"k","text":"hi"}
        c< {"action":"send","status":"OK","seq":"$1","delivered":true}
        c< {"action":"message","id":3,"status":"KEY_REUSED"}
        c< {"action":"broadcast","status":"KEY_REUSED"}
        f> {"action":"message","key":"k","to":"Columbia","text":"mine"}
        f< {"action":"message","status":"OK","seq":"$2","delivered":true}
        c< {"event":"message","seq":"$2","time":"*","from":"facebook","text":"mine"}
        c> {"action":"block","key":"b","user":"SEAS"}
        c> {"action":"block","key":"b","user":"SEAS"}
        c> {"action":"block","key":"c","user":"SEAS"}
        c< {"action":"block","status":"OK","user":"SEAS"}
        c< {"action":"block","status":"OK","user":"SEAS"}
        c< {"action":"block","status":"ALREADY_BLOCKED"}
        """,
        c=house.login("Columbia"),
        f=house.login("facebook"),
    )


def test_a_key_outlives_a_crash_and_a_stop(house: House) -> None:
    columbia = house.login("Columbia")
    request = {"action": "message", "to": "SEAS", "text": "once", "key": "k"}
    columbia.say(request)
    first = columbia.reply("message")
    for end in (house.crash, house.stop, house.crash):
        end()
        house.restart()
        columbia = house.login("Columbia")
        columbia.say(request)
        assert columbia.reply("message") == first
    assert house.login("SEAS").texts == ["once"]


def test_refusals_of_talk_have_their_own_status_and_sentence(house: House, talk: Talk) -> None:
    talk(
        """
        c> {"action":"message","to":"columbia","text":"me"}
        c> {"action":"message","to":"nobody","text":"hi"}
        c> {"action":"block","user":"Columbia"}
        c> {"action":"unblock","user":"columbia"}
        c> {"action":"block","user":"nobody"}
        c> {"action":"unblock","user":"seas"}
        c> {"action":"block","user":"seas"}
        c> {"action":"block","user":"SEAS"}
        c> {"action":"blacklist"}
        c< {"action":"message","status":"SELF_MESSAGE","text":"You cannot send a message to yourself!"}
        c< {"action":"message","status":"NO_SUCH_USER","text":"There is no user \\"nobody\\"."}
        c< {"action":"block","status":"SELF_BLOCK","text":"You cannot block yourself!"}
        c< {"action":"unblock","status":"SELF_UNBLOCK"}
        c< {"action":"block","status":"NO_SUCH_USER"}
        c< {"action":"unblock","status":"NOT_BLOCKED","text":"You have not blocked \\"SEAS\\"."}
        c< {"action":"block","status":"OK","user":"SEAS"}
        c< {"action":"block","status":"ALREADY_BLOCKED","text":"You have blocked \\"SEAS\\" already."}
        c< {"action":"blacklist","status":"OK","items":["SEAS"]}
        s> {"action":"message","to":"Columbia","text":"why?"}
        s> {"action":"whoelse"}
        s> {"action":"broadcast","text":"all?"}
        s< {"action":"message","status":"BLOCKED","text":"*"}
        s< {"action":"whoelse","status":"OK","items":[]}
        s< {"event":"broadcast","seq":"$1","time":"*","from":"SEAS","text":"all?"}
        s< {"action":"broadcast","status":"OK","seq":"$1","undelivered":1}
        """,
        c=house.login("Columbia"),
        s=house.login("SEAS"),
    )


def test_a_line_too_long_ends_the_connection_and_no_other(house: House, talk: Talk) -> None:
    other = house.login("Columbia")
    peer = house.greet()
    peer.say(b'{"action":"' + b"x" * 70_000)
    house.settle()
    assert [(m.get("action"), m.get("event"), m["status"]) for m in peer.hear()] == [
        (None, None, "TOO_LONG"), (None, "bye", "PROTOCOL_ERROR"),
    ]  # fmt: skip
    assert peer.closed
    assert other.ask("whoelse")["status"] == "OK"


@pytest.mark.parametrize(("logged_in", "longest"), [(True, 65_536), (False, 4_096)])
def test_the_longest_line_is_taken(house: House, logged_in: bool, longest: int) -> None:
    peer = house.login("Columbia") if logged_in else house.greet()
    line = b'{"action":"nothing"'
    for size in (longest - 1, longest):
        peer.say(line + b" " * (size - len(line) - 2) + b"}\n")
        assert peer.reply("nothing")["status"] == "UNKNOWN_ACTION"
    peer.say(line + b" " * (longest + 1 - len(line) - 2) + b"}\n", {"action": "whoelse"})
    house.settle()
    assert [message["status"] for message in peer.hear()][-2:] == ["TOO_LONG", "PROTOCOL_ERROR"]
    assert peer.closed


def test_invalid_utf8_is_a_bad_request(house: House) -> None:
    peer = house.greet()
    peer.say(b'{"action":"\xff\xfe"}\n', {"action": "nothing"})
    assert peer.reply("nothing")["status"] == "UNKNOWN_ACTION"
    assert peer.heard[-2]["text"] == "The line is not UTF-8 (byte 12)."


def test_half_a_line_at_the_end_is_no_request(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    house.pass_time(QUIET)
    columbia.say('{"action":"message","to":"facebook","text":"whole"}\n{"action":"message","to":"facebook","text":"half"}')
    columbia.end()
    house.settle()
    assert [reply["action"] for reply in columbia.hear() if "action" in reply] == ["message"]
    assert columbia.closed
    assert facebook.texts == ["whole"]
    assert facebook.events[-1] == {**facebook.events[-1], "event": "presence", "user": "Columbia", "online": False}


def test_logout_twice_in_one_packet(house: House, talk: Talk) -> None:
    talk(
        """
        (5 seconds)
        c> {"action":"logout"}
        c> {"action":"logout"}
        c> {"action":"broadcast","text":"after"}
        c< {"action":"logout","status":"OK"}
        c< {"event":"bye","status":"LOGGED_OUT","text":"Goodbye!"}
        c< closed
        f< {"event":"presence","time":"*","user":"Columbia","online":false}
        """,
        c=house.login("Columbia"),
        f=house.login("facebook"),
    )


@pytest.mark.parametrize("action, request_line", [
    ("whoelse", {"action": "whoelse", "id": 1}),
    ("message", {"action": "message", "id": 1, "to": "facebook", "text": "hi"}),
])  # fmt: skip
def test_a_handler_that_raises_gives_internal(
    house: House, monkeypatch: pytest.MonkeyPatch, action: str, request_line: dict[str, object]
) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")

    def mistake(*_: object) -> None:
        raise ZeroDivisionError("ours")

    with monkeypatch.context() as patch:
        patch.setitem(features.ANSWERS, action, mistake)  # type: ignore[arg-type]
        patch.setitem(features.HANDLERS, action, mistake)  # type: ignore[arg-type]
        columbia.say(request_line)
        assert columbia.reply(action) == {"action": action, "id": 1, "status": "INTERNAL", "text": "*"} | {
            "text": "The server made a mistake; its log has the details."
        }
    assert columbia.ask("message", to="facebook", text="on we go")["status"] == "OK"
    assert facebook.texts == ["on we go"]
    assert "ZeroDivisionError: ours" in house.log()
    assert any("Internal error: ZeroDivisionError" in line for line in house.said)


def test_a_mistake_after_the_command_costs_one_connection_and_not_the_server(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")

    def mistake(*_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setitem(house.server.requests._after, "depart", mistake)
    columbia.say({"action": "message", "to": "facebook", "text": "hi"}, {"action": "logout"})
    house.settle()
    assert facebook.texts == ["hi"] and columbia.closed
    assert facebook.ask("whoelse")["status"] == "OK"
    assert "ZeroDivisionError: ours" in house.log()


def test_a_transfer_is_a_connection_s_first_line_or_nothing(house: House) -> None:
    """It is no request like others, even where the session is still new."""
    peer = house.connect()
    peer.say('\n{"action":"upload","ticket":"x","offset":0}\n')
    house.settle()
    peer.hear()
    assert [reply["status"] for reply in peer.heard] == ["BAD_REQUEST", "NOT_ALLOWED"]
    assert "Traceback" not in house.log()
