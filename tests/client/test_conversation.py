"""The client's side of the wire against a fake server, without sockets, with time as a parameter."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.protocol.commands import State
from chatlib.protocol.scram import ScramError, make_verifier
from tests.chance import new_chance
from tests.client.fake_server import FakeServer, Wire


def new_wire(size: int = 0, **options: Any) -> Wire:
    tokens = (f"token{number:04}" for number in itertools.count())
    return Wire(Conversation(token=lambda: next(tokens), **options), size=size)


def online(size: int = 0, **options: Any) -> Wire:
    wire = new_wire(size, **options)
    wire.log_in()
    assert wire.conversation.state is State.ONLINE
    return wire


def texts(news: list[Any]) -> list[Any]:
    return [item.event["text"] for item in news if isinstance(item, n.Arrived)]


def answers(news: list[Any]) -> list[tuple[str, str]]:
    return [(item.request.action, item.status) for item in news if isinstance(item, n.Answered)]


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_login_whole_and_byte_by_byte(size: int) -> None:
    wire = new_wire(size)
    wire.server.post("while away")
    wire.connect()
    wire.conversation.login("bob", wire.now)
    assert wire.run() == [n.Challenged("login", "bob")]
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now)
    news = wire.run()
    assert news[:2] == [n.LoggedIn("bob", 1, False, 0), n.Away(1)]
    assert texts(news) == ["while away"]
    assert wire.news[0] == n.Greeted()
    assert [request["action"] for request in wire.server.requests] == ["hello", "login", "login"]


def test_the_login_says_what_was_seen_so_that_nothing_else_counts_as_seen() -> None:
    wire = new_wire()
    wire.connect()
    wire.conversation.login("bob", wire.now)
    wire.run()
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now)
    (line,) = wire.conversation.take_output().splitlines()
    assert b'"login"' in line and b'"seen":0' in line


@pytest.mark.parametrize("shares", [True, False])
def test_who_comes_back_says_so_to_a_server_that_lets_a_user_have_several_sessions(shares: bool) -> None:
    wire = new_wire()
    if shares:
        wire.server.hello["sessions"] = 8
    wire.log_in()
    wire.cut()
    wire.connect()
    logins = [request for request in wire.server.requests if request["action"] == "login" and "seen" in request]
    assert ["resume" in login for login in logins] == [False, shares]


def test_what_other_sessions_had_seen_before_this_one_began_is_not_missed_here() -> None:
    wire = new_wire()
    wire.server.hello["sessions"] = 8
    wire.server.begins = 40
    wire.log_in()
    assert wire.conversation.seen == 40
    wire.cut()
    wire.connect()
    again = [request for request in wire.server.requests if request.get("resume")]
    assert [login["seen"] for login in again] == [40]


def test_what_was_sent_here_is_told_from_what_was_sent_elsewhere() -> None:
    wire = online()
    wire.conversation.request("message", {"to": "Ann", "text": "answered"}, wire.now)
    wire.run()
    (seq,) = [item.reply["seq"] for item in wire.news if isinstance(item, n.Answered)]
    wire.conversation.request("message", {"to": "Ann", "text": "under way"}, wire.now)
    wire.conversation.take_output()
    for number, text in ((seq, "answered"), (90, "under way"), (91, "elsewhere")):
        wire.server.say({"event": "sent", "seq": number, "time": 0, "to": "ann", "text": text})
    assert texts(wire.run()) == ["elsewhere"]


def test_an_unknown_user_and_a_wrong_password() -> None:
    wire = new_wire()
    wire.connect()
    wire.conversation.login("eve", wire.now)
    assert answers(wire.run()) == [("login", "NO_SUCH_USER")]
    assert answers(wire.log_in(password="wrong")) == [("login", "WRONG_PASSWORD")]
    assert isinstance(wire.log_in()[0], n.LoggedIn)


def test_register_then_login_without_typing_the_password_again() -> None:
    wire = new_wire()
    wire.connect()
    wire.conversation.register("eve", "a password", wire.now)
    assert answers(wire.run()) == [("register", "OK")]
    wire.conversation.login("eve", wire.now)
    assert wire.run() == [n.LoggedIn("eve", 0, False, 0)]


@pytest.mark.parametrize("iterations", [1, 4095, 10_000_001])
def test_iterations_out_of_bounds_are_refused(iterations: int) -> None:
    wire = new_wire()
    wire.server.hello["iterations"] = iterations
    wire.connect()
    assert wire.conversation.ended and wire.conversation.ended.status == "NOT_TRUSTED"
    wire = new_wire()
    wire.connect()
    wire.conversation.login("bob", wire.now)
    first = wire.conversation.take_output()
    nonce = first.split(b"r=")[1].split(b'"')[0].decode()
    number = wire.conversation.outbox.next_id() - 1
    scram = f"r={nonce}x,s=c2FsdHNhbHQ=,i={iterations}"
    line = f'{{"action":"login","id":{number},"status":"CONTINUE","scram":"{scram}"}}\n'
    wire.conversation.received(line.encode(), wire.now)
    assert wire.conversation.ended and wire.conversation.ended.status == "NOT_TRUSTED"


def test_a_server_that_does_not_know_the_verifier_is_not_trusted() -> None:
    wire = new_wire()
    wire.connect()
    wire.conversation.login("bob", wire.now)
    wire.run()
    wire.server.scripted["login"] = [{"status": "OK", "scram": "v=AAAA", "user": "bob", "unread": 0}]
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now)
    wire.run()
    assert wire.conversation.ended and wire.conversation.ended.status == "NOT_TRUSTED"
    assert wire.conversation.user == ""


def test_a_bad_password_is_asked_for_again_before_anything_is_sent() -> None:
    wire = new_wire()
    wire.connect()
    wire.conversation.login("bob", wire.now)
    wire.run()
    with pytest.raises(ScramError):
        wire.conversation.give_password("with\x07bell")
    wire.conversation.prove(wire.now)
    assert wire.run() == []
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now)
    assert isinstance(wire.run()[0], n.LoggedIn)


def test_no_password_is_kept() -> None:
    wire = online()
    seen: set[int] = set()

    def holds(value: object) -> bool:
        if id(value) in seen:
            return False
        seen.add(id(value))
        if isinstance(value, str | bytes):
            return "secret" in str(value)
        if isinstance(value, dict):
            return any(map(holds, value.values()))
        if isinstance(value, list | tuple):
            return any(map(holds, value))
        slots = [getattr(value, name, None) for name in getattr(type(value), "__slots__", ())]
        return any(map(holds, [*vars(value).values()] if hasattr(value, "__dict__") else slots))

    assert not holds(wire.conversation)


def test_unanswered_requests_are_sent_again_in_order_with_their_keys_and_take_effect_once() -> None:
    wire = online()
    wire.server.mute = True
    for text in ("one", "two"):
        wire.conversation.request("message", {"to": "ann", "text": text}, wire.now)
    wire.conversation.request("whoelse", {}, wire.now)
    wire.run()
    assert wire.server.effects == ["one", "two"]
    assert isinstance(wire.cut()[0], n.Lost)
    wire.conversation.request("message", {"to": "ann", "text": "three"}, wire.now)
    wire.server.mute = False
    wire.connect()
    assert wire.server.effects == ["one", "two", "three"]
    assert wire.news[-5] == n.LoggedIn("bob", 0, True, 4)
    assert answers(wire.news) == [("message", "OK"), ("message", "OK"), ("whoelse", "OK"), ("message", "OK")]
    asked = [request for request in wire.server.requests if request["action"] == "message"]
    assert asked[:2] == asked[2:4]
    assert len({request["key"] for request in asked}) == 3
    assert len(set(wire.server.clients)) == 1


def test_an_event_is_told_once_however_often_it_is_delivered() -> None:
    wire = online()
    wire.server.post("one")
    assert texts(wire.run()) == ["one"]
    wire.cut()
    wire.server.post("two")
    wire.connect()
    assert texts(wire.news) == ["one", "two"]
    assert n.Away(1) in wire.news
    wire.pass_time(2)
    assert wire.server.acknowledged == 0, "nothing was shown"
    for item in wire.news:
        if isinstance(item, n.Arrived):
            wire.conversation.shown(item.event, wire.now)
    wire.pass_time(2)
    assert wire.server.acknowledged == wire.server.seq


def test_another_epoch_has_other_numbers() -> None:
    wire = online()
    for text in ("one", "two"):
        wire.server.post(text)
    wire.run()
    wire.cut()
    wire.server.hello["epoch"], wire.server.seq, wire.server.mail = "e2", 0, []
    wire.server.post("anew")
    wire.connect()
    assert texts(wire.news) == ["one", "two", "anew"]


def test_a_later_life_of_the_server_goes_on_where_it_says() -> None:
    """Restored from a backup: what is as it was is not shown again; what has an old number and is new is."""
    wire = online()
    for text in ("one", "two", "after the backup"):
        wire.server.post(text)
        for item in wire.run():
            if isinstance(item, n.Arrived):
                wire.conversation.shown(item.event, wire.now)
    last = wire.server.seq
    wire.cut()
    wire.server.hello["epoch"], wire.server.hello["earlier"] = "e2", [["e0", 99], ["e1", last - 1]]
    wire.server.seq = last - 1
    wire.server.mail = wire.server.mail[:-1]
    wire.server.post("anew")
    wire.connect()
    assert texts(wire.news) == ["one", "two", "after the backup", "anew"]


@pytest.mark.parametrize("said", [None, "x", [1], [["e1"]], [["e1", "9"]], [["e1", True]], [["e1", -5]], [[1, 2]], {}])
def test_what_a_server_says_of_earlier_lives_is_looked_at(said: object) -> None:
    wire = online()
    wire.server.post("one")
    for item in wire.run():
        if isinstance(item, n.Arrived):
            wire.conversation.shown(item.event, wire.now)
    wire.cut()
    wire.server.hello["epoch"], wire.server.hello["earlier"] = "e2", said
    wire.connect()
    assert wire.conversation.state is State.ONLINE
    assert wire.conversation.last_seen() == 0


def test_a_burst_is_acknowledged_at_once_a_few_after_a_second() -> None:
    wire = online()
    for number in range(64):
        wire.server.post(str(number))
    for item in wire.run():
        wire.conversation.shown(item.event, wire.now)
    wire.pass_time(0)
    assert wire.server.acknowledged == 64
    wire.server.post("one more")
    for item in wire.run():
        wire.conversation.shown(item.event, wire.now)
    wire.pass_time(0.9)
    assert wire.server.acknowledged == 64
    wire.pass_time(0.1)
    assert wire.server.acknowledged == 65


def test_two_hours_of_heartbeats() -> None:
    wire = online()
    heard = []
    feed = wire.server.feed

    def counting(data: bytes) -> bytes:
        heard.extend(line for line in data.splitlines() if b'"alive"' in line)
        return feed(data)

    wire.server.feed = counting  # type: ignore[method-assign]
    assert wire.pass_time(7200) == []
    assert len(heard) == 240


def test_a_server_that_answers_nothing_is_given_up_after_the_heartbeat_and_five_seconds() -> None:
    wire = online()
    wire.server.mute = True
    assert wire.pass_time(30 + 34.9) == []
    assert isinstance(wire.pass_time(0.2)[0], n.Lost)
    assert wire.conversation.state is None and wire.conversation.wanted


def test_logout_acknowledges_and_ends() -> None:
    wire = online()
    wire.server.post("hi")
    for item in wire.run():
        wire.conversation.shown(item.event, wire.now)
    wire.conversation.request("message", {"to": "ann", "text": "bye"}, wire.now)
    wire.conversation.logout(wire.now)
    news = wire.run()
    assert answers(news) == [("message", "OK")] and news[-1] == n.Ended("LOGGED_OUT", "")
    assert wire.server.acknowledged == 1
    assert not wire.conversation.wanted


def test_logout_from_a_dead_server_takes_three_seconds() -> None:
    wire = online()
    wire.server.mute = True
    wire.conversation.logout(wire.now)
    assert wire.pass_time(2.9) == []
    assert wire.pass_time(0.2) == [n.Ended("LOGGED_OUT", "")]


@pytest.mark.parametrize("status", ["KICKED", "REPLACED", "PROTOCOL_ERROR"])
def test_a_bye_that_is_final(status: str) -> None:
    wire = online()
    wire.server.say({"event": "bye", "status": status, "text": "So it is."})
    assert wire.run() == [n.Ended(status, "So it is.")]


@pytest.mark.parametrize("status", ["SHUTTING_DOWN", "HEARTBEAT_LOST", "SLOW_CONSUMER"])
def test_a_bye_that_is_not(status: str) -> None:
    wire = online()
    wire.server.say({"event": "bye", "status": status, "text": "For now."})
    assert wire.run() == [n.Lost(status, "For now.")]
    wire = online(reconnect=False)
    wire.server.say({"event": "bye", "status": status, "text": "For now."})
    assert wire.run() == [n.Ended(status, "For now.")]


@pytest.mark.parametrize("status", ["NO_SUCH_USER", "WRONG_PASSWORD", "ALREADY_ONLINE"])
def test_a_second_login_that_is_refused_for_good(status: str) -> None:
    wire = online()
    wire.cut()
    wire.server.scripted["login"] = [{"status": status, "text": "No."}]
    wire.connect()
    assert wire.news[-1] == n.Ended(status, "No.")


@pytest.mark.parametrize(("status", "seconds"), [("LOCKED_OUT", 40), ("SERVER_FULL", 0)])
def test_a_second_login_that_has_to_wait(status: str, seconds: int) -> None:
    wire = online()
    wire.cut()
    wire.server.scripted["login"] = [{"status": status, "text": "Later.", "seconds": seconds}]
    wire.connect()
    assert wire.news[-1] == n.Lost(status, "Later.")
    assert wire.conversation.retry_after == seconds and wire.conversation.wanted
    wire.connect()
    assert wire.conversation.state is State.ONLINE


def test_a_password_changed_elsewhere_ends_it() -> None:
    wire = online()
    wire.cut()
    wire.server.verifiers["bob"] = type(wire.server.verifiers["bob"])(4096, b"othersaltother12", bytes(32), bytes(32))
    wire.connect()
    assert wire.conversation.ended and wire.conversation.ended.status == "WRONG_PASSWORD"


def test_an_idle_program_comes_back_at_once_an_idle_person_when_there_is_something_to_say() -> None:
    for attended in (False, True):
        wire = online(attended=attended)
        wire.server.say({"event": "bye", "status": "TIME_OUT", "text": "You were idle for 30 minutes."})
        assert wire.run() == [
            n.Idle("You were idle for 30 minutes.") if attended
            else n.Lost("TIME_OUT", "You were idle for 30 minutes.")
        ]  # fmt: skip
        assert wire.conversation.wanted is not attended and wire.conversation.deadline() == float("inf")
        wire.conversation.request("message", {"to": "ann", "text": "I am back"}, wire.now)
        assert wire.conversation.wanted
        wire.connect()
        assert wire.news[-2:] == [n.LoggedIn("bob", 0, True, 1), wire.news[-1]]
        assert wire.server.effects == ["I am back"]
    wire.conversation.end("LOGGED_OUT", "")
    wire.conversation.wake()
    assert not wire.conversation.wanted


def test_whoever_is_there_says_so_at_most_once_a_minute_besides_the_heartbeat() -> None:
    wire = online()
    for _ in range(10):  # keys
        wire.conversation.active(wire.now)
        assert wire.pass_time(1.0) == [] and wire.server.active == []
    wire.pass_time(20.0)
    assert wire.server.active == [True]
    wire.pass_time(120.0)
    assert wire.server.active == [True, False, False, False, False]
    wire.conversation.active(wire.now)
    wire.pass_time(0.0)
    assert wire.server.active[5:] == [True]
    wire.conversation.active(wire.now)
    wire.pass_time(29.0)
    assert wire.server.active[6:] == []
    wire.cut()
    wire.conversation.active(wire.now)  # nobody to be told
    wire.connect()
    wire.pass_time(31.0)
    assert wire.server.active[6:] == [False]


def test_a_person_does_not_notice_that_the_server_restarts_before_the_login() -> None:
    wire = new_wire(attended=True)
    wire.connect()
    assert wire.news == [n.Greeted()]
    wire.server.say({"event": "bye", "status": "SHUTTING_DOWN", "text": "The server stops."})
    assert wire.run() == [n.Lost("SHUTTING_DOWN", "The server stops.")] and wire.conversation.wanted
    wire.conversation.disconnected("cannot be reached", wire.now, "UNREACHABLE")
    assert wire.run() == [n.Lost("UNREACHABLE", "cannot be reached")]
    wire.conversation.login("bob", wire.now)  # typed meanwhile
    wire.connect()
    assert wire.news[-2:] == [n.Greeted(goes_on=True), n.Challenged("login", "bob")]
    wire.cut()
    wire.conversation.give_password("secret")  # typed meanwhile: goes to this account alone
    wire.conversation.prove(wire.now)
    wire.connect()
    assert wire.news[-1] == n.LoggedIn("bob", 0, False, 0)


def test_a_password_that_was_typed_for_another_salt_is_asked_for_again() -> None:
    wire = new_wire(attended=True)
    wire.connect()
    wire.conversation.login("bob", wire.now)
    wire.run()
    wire.cut()
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now)
    wire.server.verifiers["bob"] = make_verifier("other", 4096)  # who has registered the name meanwhile
    wire.connect()
    assert wire.news[-1] == n.Challenged("login", "bob") and not wire.server.online


def test_a_challenge_and_the_end_may_come_in_one_packet() -> None:
    """Whoever reads the news one by one answers a challenge that is over already."""
    wire = online()
    wire.conversation.change_password(wire.now)
    wire.conversation.logout(wire.now)
    assert [type(item) for item in wire.run()] == [n.Challenged, n.Ended]
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now, "another")
    assert wire.run() == []


def test_a_new_password_that_comes_too_late_is_no_part_of_the_next_login() -> None:
    wire = online()
    wire.conversation.change_password(wire.now)
    assert wire.run() == [n.Challenged("password", "bob")]
    wire.cut()
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now, "another")
    wire.connect()
    assert wire.conversation.state is State.ONLINE
    assert not any("verifier" in request for request in wire.server.requests)


@pytest.mark.parametrize("options", [{}, {"attended": True, "reconnect": False}])
def test_others_end_when_the_server_is_lost_before_the_login(options: dict[str, bool]) -> None:
    wire = new_wire(**options)
    wire.connect()
    assert wire.cut() == [n.Ended("LOST", "The cable was pulled.")]


def test_a_name_is_asked_for_first_and_an_old_password_proven_first() -> None:
    wire = new_wire()
    wire.connect()
    for user, status in (("Bob", "USER_EXISTS"), ("eve", "OK")):
        wire.conversation.ask_name(user, wire.now)
        assert answers(wire.run()) == [("register", status)]
    assert "eve" not in wire.server.verifiers
    wire.log_in()
    wire.conversation.change_password(wire.now)
    wire.run()
    wire.conversation.give_password("wrong")
    wire.conversation.prove(wire.now)
    assert answers(wire.run()) == [("password", "WRONG_PASSWORD")]
    wire.conversation.change_password(wire.now)
    wire.run()
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now)
    assert wire.run() == [n.Proven("password")]
    before = wire.server.verifiers["bob"]
    with pytest.raises(ScramError):
        wire.conversation.renew(wire.now, "\x07")
    wire.conversation.renew(wire.now, "new")
    assert answers(wire.run()) == [("password", "OK")] and wire.server.verifiers["bob"] != before
    wire.cut()
    wire.connect()
    assert isinstance(wire.news[-1], n.LoggedIn)


@pytest.mark.parametrize("sent", [False, True])
def test_cut_between_the_proof_of_the_old_password_and_the_new_one(sent: bool) -> None:
    wire = online()
    wire.conversation.change_password(wire.now)
    wire.run()
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now)
    wire.run()
    if sent:
        wire.conversation.renew(wire.now, "new")
        wire.server.feed(wire.conversation.take_output())  # the challenge is lost
    assert answers(wire.cut()) == [("password", "LOST")]
    wire.connect()
    assert isinstance(wire.news[-1], n.LoggedIn)


def test_the_server_is_lost_before_the_first_login() -> None:
    wire = new_wire()
    wire.connect()
    wire.conversation.disconnected("Gone.", wire.now)
    assert wire.run() == [n.Ended("LOST", "Gone.")]


def test_someone_who_thinks_longer_than_the_server_waits_notices_nothing() -> None:
    wire = new_wire()
    wire.connect()
    wire.conversation.login("bob", wire.now)
    wire.run()
    wire.server.say({"event": "bye", "status": "TIME_OUT", "text": "Too slow."})
    assert wire.run() == [] and not wire.conversation.wanted
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now)
    assert wire.conversation.wanted
    wire.connect()
    assert wire.conversation.state is State.ONLINE


def test_the_waiting_room() -> None:
    wire = new_wire()
    wire.server.hello.update(status="WAITING", position=2)
    wire.connect()
    wire.server.say({"event": "waiting", "position": 1})
    wire.run()
    assert wire.news == [n.Queued(2), n.Queued(1)]
    wire.server.say({"event": "admitted"})
    assert wire.run() == [n.Greeted()]
    assert isinstance(wire.log_in()[0], n.LoggedIn)


def test_a_full_server_at_first() -> None:
    wire = new_wire()
    wire.server.hello = {"status": "SERVER_FULL", "text": "Full."}
    wire.connect()
    assert wire.news == [n.Ended("SERVER_FULL", "Full.")]


def test_deregister_proves_and_can_be_cancelled_until_then() -> None:
    wire = new_wire()
    wire.connect()
    wire.conversation.deregister("bob", wire.now)
    assert wire.run() == [n.Challenged("deregister", "bob")]
    wire.conversation.give_password("secret")
    wire.conversation.cancel()
    wire.conversation.prove(wire.now)
    assert wire.run() == [] and "bob" in wire.server.verifiers
    wire.conversation.deregister("bob", wire.now)
    wire.run()
    wire.conversation.give_password("secret")
    wire.conversation.prove(wire.now)
    assert answers(wire.run()) == [("deregister", "OK")] and not wire.server.verifiers


def change_password(wire: Wire, old: str = "secret") -> None:
    wire.conversation.change_password(wire.now)
    assert wire.run() == [n.Challenged("password", "bob")]
    wire.conversation.give_password(old)
    wire.conversation.prove(wire.now, "new secret")


def test_a_change_of_password_and_coming_back_with_the_new_one() -> None:
    wire = online()
    change_password(wire, "not it")
    assert answers(wire.run()) == [("password", "WRONG_PASSWORD")]
    wire.cut()
    wire.connect()
    change_password(wire)
    assert answers(wire.run()) == [("password", "OK")]
    wire.cut()
    wire.connect()
    assert wire.conversation.state is State.ONLINE


@pytest.mark.parametrize("arrived", [True, False])
def test_a_change_of_password_cut_in_the_middle(arrived: bool) -> None:
    wire = online()
    change_password(wire)
    if arrived:
        wire.server.mute = True
        wire.run()
        wire.server.mute = False
    wire.cut()
    wire.connect()
    assert answers(wire.news) == [("password", "OK" if arrived else "LOST")]
    assert wire.conversation.state is State.ONLINE
    wire.conversation.change_password(wire.now)


def test_long_answers_are_put_together() -> None:
    wire = online()
    wire.server.scripted["list_users"] = [
        {"status": "OK", "items": [{"user": "a", "online": True}], "next": "a"},
        {"status": "OK", "items": [{"user": "b", "online": False}]},
    ]
    wire.server.scripted["history"] = [
        {"status": "OK", "items": [{"seq": 8}, {"seq": 9}], "next": 8},
        {"status": "OK", "items": [], "next": 4},  # blocks hid all that was looked at
        {"status": "OK", "items": [{"seq": 3}]},
    ]
    wire.conversation.request("list_users", {}, wire.now)
    wire.conversation.request("history", {"count": 3}, wire.now)
    first, second = [item.reply for item in wire.run()]
    assert [user["user"] for user in first["items"]] == ["a", "b"] and "next" not in first
    assert [message["seq"] for message in second["items"]] == [3, 8, 9]
    pages = [request for request in wire.server.requests if request["action"] in ("list_users", "history")]
    assert pages[2]["after"] == "a"
    assert [(page["before"], page["count"]) for page in pages[3:]] == [(8, 1), (4, 1)]


def test_of_a_long_answer_no_more_pages_are_asked_for_than_are_wanted() -> None:
    wire = online()
    wire.server.scripted["list_users"] = [
        {"status": "OK", "items": ["a", "b"], "next": "b"}, {"status": "OK", "items": ["c", "d"], "next": "d"},
    ]  # fmt: skip
    wire.conversation.request("list_users", {}, wire.now, most=3)
    (item,) = wire.run()
    assert item.reply["items"] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b"\xff\n", b"x" * 70_000])
def test_a_server_that_speaks_something_else(line: bytes) -> None:
    wire = online()
    wire.conversation.received(line, wire.now)
    assert wire.conversation.ended and wire.conversation.ended.status == "PROTOCOL_ERROR"


def test_no_message_breaks_the_client() -> None:
    names = ["event", "action", "id", "status", "seq", "items", "next", "position", "text", "time", "offline"]
    values = [None, True, 0, -1, 2**70, 1.5, "", "x", "bye", "OK", [], [1], [{}], {}, {"user": 1}]
    chance = new_chance()
    for _ in range(40):
        wire = online()
        for _ in range(20):
            number = wire.conversation.request("whoelse", {}, wire.now) and wire.conversation.outbox.next_id() - 1
            wire.conversation.take_output()
            message = {name: chance.choice(values) for name in chance.sample(names, chance.randint(1, 6))}
            wire.server.say({**message, "id": number} if chance.random() < 0.5 else message)
            wire.conversation.received(wire.server.take(), wire.now)
        if not wire.conversation.ended:
            wire.conversation.request("whoelse", {}, wire.now)
            assert wire.conversation.take_output() or wire.conversation.state is None


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_cut_everything_takes_effect_once_and_in_order(seed: int) -> None:
    chance = new_chance(seed)
    steps = chance.choices(["say", "post", "cut", "mute", "run", "wait"], k=40)
    wire = online(chance.randint(1, 200))
    said = posted = 0
    shown: list[str] = []

    def show(news: list[Any]) -> None:
        for item in news:
            if isinstance(item, n.Arrived):
                shown.append(item.event["text"])
                wire.conversation.shown(item.event, wire.now)

    for step in [*steps, "run", "wait"]:
        if step == "say":
            wire.conversation.request("message", {"to": "ann", "text": f"s{said}"}, wire.now)
            said += 1
        elif step == "post":
            wire.server.post(f"p{posted}")
            posted += 1
        elif step == "cut" and wire.conversation.state is not None:
            wire.server.feed(wire.conversation.take_output())  # it arrives, the answer does not
            show(wire.cut())
        elif step == "mute":
            wire.server.mute = True
            show(wire.run())
            wire.server.mute = False
            show(wire.cut())
        else:
            if wire.conversation.state is None:
                seen = len(wire.news)
                wire.connect()
                show(wire.news[seen:])
            show(wire.run())
            show(wire.pass_time(2 if step == "wait" else 0))
    assert wire.server.effects == [f"s{number}" for number in range(said)]
    assert shown == [f"p{number}" for number in range(posted)]
    assert not wire.conversation.outbox.pending
    assert wire.server.acknowledged >= (wire.server.mail[-1]["seq"] if posted else 0)


def test_the_fake_server_counts_keys() -> None:
    server = FakeServer()
    request = {"action": "message", "id": 1, "key": "k", "to": "ann", "text": "x"}
    server._message(request)
    server._message(request)
    assert server.effects == ["x"]
