"""Several sessions of one user at the edge: all hear everything once and in order, and each is slow by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatlib.server.presence import QUIET
from tests.server.carrying import DATA, Dial, announce
from tests.server.house import PASSWORD, House, Peer

LONG = "x" * 4_000


@pytest.fixture
def shared(build: Callable[..., House]) -> House:
    return build(DUPLICATE_LOGIN="share", SESSIONS=3)


def kinds(peer: Peer) -> list[str]:
    return [f"{event['event']} {event.get('text', event.get('status'))}" for event in peer.events]


def test_a_conversation(shared: House) -> None:
    seas, desk = shared.login("SEAS"), shared.login("Columbia", client="desk", address="10.0.0.1")
    laptop = shared.login("Columbia", client="laptop", address="10.0.0.2")
    for peer in (seas, desk, laptop):
        peer.hear()
    assert seas.ask("whoelse")["items"] == ["Columbia"]
    desk.ask("message", to="seas", text="from the desk")
    assert (desk.events, kinds(laptop)[-1], kinds(seas)[-1]) == ([], "sent from the desk", "message from the desk")
    sent = laptop.events[-1]
    assert sent == {"event": "sent", "seq": seas.events[-1]["seq"], "time": sent["time"], "to": "SEAS",
                    "text": "from the desk"}  # fmt: skip
    seas.ask("message", to="columbia", text="for both")
    laptop.ask("broadcast", text="for all")
    laptop.ask("crt", title="plans")
    laptop.ask("msg", title="plans", text="a post")
    for peer in (desk, laptop):
        assert kinds(peer)[-3:] == ["message for both", "broadcast for all", "post a post"]
        seqs = [event["seq"] for event in peer.events if "seq" in event]
        assert seqs == sorted(set(seqs))
    laptop.ask("unfollow", title="plans")
    seas.ask("msg", title="plans", text="unheard")
    assert kinds(desk)[-1] == kinds(laptop)[-1] == "post a post"
    desk.ask("follow", title="plans")
    seas.ask("msg", title="plans", text="heard")
    assert kinds(desk)[-1] == kinds(laptop)[-1] == "post heard"


def test_they_are_listed_and_one_ends_another(shared: House) -> None:
    desk = shared.login("Columbia", client="desk", address="10.0.0.1")
    laptop = shared.login("Columbia", client="laptop", address="10.0.0.2")
    head, one, two = shared.admin("online users")
    assert head == "1 online:" and one.startswith("  Columbia from 10.0.0.1 since ") and one.endswith(", session 1")
    assert two.startswith("  Columbia from 10.0.0.2 since ") and two.endswith(", session 2")
    assert "  sessions: 2" in shared.admin("stats")
    assert laptop.ask("sessions")["items"] == [
        {"number": 1, "address": "10.0.0.1", "time": 1_700_000_000.0, "here": False},
        {"number": 2, "address": "10.0.0.2", "time": 1_700_000_000.0, "here": True},
    ]
    assert laptop.ask("exit", number=7)["status"] == "NO_SUCH_SESSION"
    assert laptop.ask("logout", number=1)["number"] == 1
    assert desk.closed
    assert desk.events[-1] == {
        "event": "bye", "status": "LOGGED_OUT", "text": "You logged out here from another session of yours.",
    }  # fmt: skip
    assert [item["number"] for item in laptop.ask("sessions")["items"]] == [2]
    assert laptop.ask("logout", number=2)["status"] == "OK"
    assert laptop.closed and laptop.events[-1]["text"] == "Goodbye!"
    assert "columbia" not in shared.server.world.online and not shared.server.delivery.sessions


def test_presence_is_told_of_the_first_and_of_the_last(shared: House) -> None:
    watcher = shared.login("SEAS")
    desk, laptop = shared.login("Columbia"), shared.login("Columbia")
    shared.pass_time(2 * QUIET)
    desk.hang_up()
    shared.pass_time(2 * QUIET)
    assert [event["online"] for event in watcher.events] == [True]
    laptop.ask("logout")
    shared.pass_time(2 * QUIET)
    assert [event["online"] for event in watcher.events] == [True, False]


def test_too_many(shared: House) -> None:
    for _ in range(3):
        shared.login("Columbia")
    reply = shared.greet().prove("login", "Columbia")
    assert (reply["status"], reply["text"]) == (
        "TOO_MANY_SESSIONS", '"Columbia" has 3 sessions open already: log out of one first.')  # fmt: skip
    assert len(shared.server.delivery.everyone()) == 3
    shared.admin("kick columbia")
    assert shared.server.delivery.everyone() == []


def test_two_logins_at_once_are_both_let_in(build: Callable[..., House]) -> None:
    house = build(DUPLICATE_LOGIN="share", MaxCon=1)
    one, two = house.greet(client="one"), house.greet(client="two")
    halves = [peer.challenge("login", "Columbia") for peer in (one, two)]
    for peer, (exchange, challenge) in zip((one, two), halves, strict=True):
        peer.say({"action": "login", "scram": peer.final(exchange, challenge, PASSWORD)})
    assert [peer.reply("login")["status"] for peer in (one, two)] == ["OK", "OK"]
    assert house.server.seats._entering == {}


def test_it_counts_as_seen_when_one_has_acknowledged_it(shared: House) -> None:
    seas = shared.login("SEAS")
    desk, laptop = shared.login("Columbia"), shared.login("Columbia")
    desk.ask("alive", seen=0)
    laptop.ask("alive", seen=0)
    first = seas.ask("message", to="Columbia", text="one")["seq"]
    second = seas.ask("message", to="Columbia", text="two")["seq"]
    desk.ask("alive", seen=second)
    laptop.ask("alive", seen=first)
    shared.pass_time(2)
    assert shared.server.world.accounts["columbia"].seen == second
    assert shared.greet().prove("login", "Columbia")["unread"] == 0
    assert desk.texts == laptop.texts == ["one", "two"]


def test_who_comes_back_misses_nothing_and_who_begins_anew_is_told_only_what_nobody_has_seen(shared: House) -> None:
    assert shared.greet().heard[-1]["sessions"] == 3
    seas = shared.login("SEAS")
    desk, laptop = shared.login("Columbia", client="desk"), shared.login("Columbia", client="laptop")
    desk.ask("alive", seen=0)
    laptop.ask("alive", seen=0)
    seen = seas.ask("message", to="Columbia", text="one")["seq"]
    desk.ask("alive", seen=seen)
    laptop.ask("alive", seen=seen)
    desk.hang_up()
    shared.settle()
    missed = seas.ask("message", to="Columbia", text="two")["seq"]
    laptop.ask("alive", seen=missed)
    laptop.ask("message", to="SEAS", text="sent meanwhile")
    seas.ask("message", to="Columbia", text="three")
    again = shared.greet(client="desk")
    assert again.prove("login", "Columbia", seen=seen, resume=True)["unread"] == 2
    assert kinds(again) == ["message two", "sent sent meanwhile", "message three"]
    assert again.events[1]["to"] == "SEAS"
    anew = shared.greet()
    assert anew.prove("login", "Columbia", seen=0)["unread"] == 1
    assert anew.texts == ["three"]


def test_a_session_that_is_taken_over_goes_on_where_it_was(shared: House) -> None:
    seas = shared.login("SEAS")
    desk, laptop = shared.login("Columbia", client="desk"), shared.login("Columbia", client="laptop")
    desk.ask("alive", seen=0)
    laptop.ask("alive", seen=0)
    one = seas.ask("message", to="Columbia", text="one")["seq"]
    laptop.ask("alive", seen=one)
    shared.pass_time(2)
    again = shared.login("Columbia", client="desk")
    assert desk.closed and again.texts == ["one"]
    seas.ask("message", to="Columbia", text="two")
    assert laptop.texts == again.texts == ["one", "two"]
    assert [item["number"] for item in laptop.ask("sessions")["items"]] == [1, 2]


def test_a_slow_one_holds_up_no_other(shared: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.server.server.OUTPUT_LIMIT", 200_000)
    seas, slow, quick = shared.login("SEAS"), shared.login("Columbia", client="slow"), shared.login("Columbia")
    slow.ask("alive", seen=0)
    sent = []
    while shared.server.delivery.of("columbia")[0].client == "slow":
        sent.append(f"{len(sent)} {LONG}")
        assert len(sent) < 500, "it must have been ended by now"
        seas.ask("message", to="Columbia", text=sent[-1])
        quick.hear()
        assert quick.texts == sent, "each as it is sent"
    slow.read_until(lambda: slow.closed)
    assert slow.events[-1]["status"] == "SLOW_CONSUMER"
    again = shared.greet(client="slow")
    shown = [text for text in slow.texts if len(text) > 5]
    again.prove("login", "Columbia", seen=slow.events[len(shown) - 1]["seq"], resume=True)
    again.read_until(lambda: len(shown) + len(again.texts) >= len(sent))
    assert shown + again.texts == sent


def test_what_is_sent_elsewhere_while_one_catches_up_comes_in_its_place(
    shared: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatlib.server.catchup.BATCH", 3)
    seas = shared.login("SEAS")
    for number in range(60):
        seas.ask("message", to="Columbia", text=f"{number} {LONG}")
    desk = shared.greet(client="desk")
    desk.prove("login", "Columbia", seen=0)
    assert not shared.server.delivery.of("columbia")[0].listening, "it does not read"
    laptop = shared.greet(client="laptop")
    laptop.prove("login", "Columbia", seen=0)
    laptop.read_until(lambda: len(laptop.texts) == 60)
    told = []
    for number in range(4):
        laptop.ask("message", to="SEAS", text=f"sent {number}")
        seas.ask("message", to="Columbia", text=f"live {number}")
        told += [f"sent {number}", f"live {number}"]
    desk.read_until(lambda: kinds(desk)[-1] == "message live 3")
    assert [event["text"][:6] for event in desk.events][-8:] == told
    seqs = [event["seq"] for event in desk.events]
    assert len(seqs) == 68 and seqs == sorted(set(seqs))
    assert shared.server.delivery._held == {}


def test_who_catches_up_and_never_reads_is_not_told_without_end(
    shared: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatlib.server.delivery.HELD", 5)
    seas = shared.login("SEAS")
    for number in range(300):
        seas.ask("message", to="Columbia", text=f"{number} {LONG}")
    slow = shared.greet(client="slow")
    slow.prove("login", "Columbia", seen=0)
    quick = shared.login("Columbia", client="quick")
    for number in range(6):
        quick.ask("message", to="SEAS", text=str(number))
    assert [session.client for session in shared.server.delivery.of("columbia")] == ["quick"]
    assert shared.server.delivery._held == {}


def test_the_rate_limit_is_the_users(build: Callable[..., House]) -> None:
    house = build(DUPLICATE_LOGIN="share", RATE_LIMIT=2)
    one, two = house.login("Columbia"), house.login("Columbia")
    for peer in (one, two):
        peer.say(*({"action": "whoelse"} for _ in range(10)))
    house.settle()
    answered = len(one.hear_all("whoelse")) + len(two.hear_all("whoelse"))
    assert answered <= 10
    house.pass_time(10)
    assert len(one.hear_all("whoelse")) + len(two.hear_all("whoelse")) == 20
    one.ask("logout")
    two.hang_up()
    house.settle()
    house.login("Columbia")


def test_an_upload_that_one_has_under_way_another_does_not_break(shared: House, dial: Dial) -> None:
    desk, laptop = shared.login("Columbia"), shared.login("Columbia")
    reply = announce(desk)
    pipe = dial(shared)
    pipe.ask("upload", reply["ticket"], 0, DATA[:1_000])
    shared.settle()
    refused = announce(laptop)
    assert (refused["status"], refused["text"]) == (
        "TOO_MANY_TRANSFERS",
        'An earlier upload of "a.bin" is under way in another session of yours: wait for its end.',
    )
    pipe.send(DATA[1_000:])
    assert pipe.status() == "OK"
    assert announce(laptop)["status"] == "FILE_EXISTS"
    assert desk.events == [], "it knows"
    sent = laptop.events[-1]
    assert (sent["event"], sent["to"], sent["name"], sent["size"]) == ("sent", "SEAS", "a.bin", len(DATA))


def test_bytes_that_move_keep_the_session_they_are_for(build: Callable[..., House], dial: Dial) -> None:
    house = build(DUPLICATE_LOGIN="share", TIME_OUT=100)
    idle, busy = house.login("Columbia"), house.login("Columbia")
    pipe = dial(house)
    pipe.ask("upload", announce(busy)["ticket"], 0, b"")
    for place in range(0, 60, 20):
        house.pass_time(38)
        pipe.send(DATA[place : place + 20])
        house.settle()
    assert idle.closed and idle.events[-1]["status"] == "TIME_OUT"
    assert not busy.closed


def test_sessions_outlive_a_save_and_end_with_a_crash(shared: House) -> None:
    watcher = shared.login("SEAS")
    shared.login("Columbia", address="10.0.0.1")
    shared.login("Columbia", address="10.0.0.2")
    shared.save()
    assert len(shared.server.world.further["columbia"]) == 1
    watcher.ask("message", to="Columbia", text="x")
    shared.crash()
    shared.restart()
    assert not shared.server.world.online and not shared.server.world.further
    assert shared.login("Columbia").texts == ["x"]


def test_a_question_that_waits_until_its_user_has_left_is_refused(house: House) -> None:
    """The answers of a tick have a budget, and the logout is carried out before there is time for one more."""
    ann = house.login("Columbia")
    house.server.budgets.answers._amount = 1e-9
    ann.say({"action": "message", "to": "SEAS", "text": "bye"}, {"action": "whoelse"}, {"action": "unread"},
            {"action": "history", "count": 0}, {"action": "logout"})  # fmt: skip
    house.settle()
    statuses = [(said.get("action", "bye"), said["status"]) for said in ann.hear()]
    assert statuses == [("message", "OK"), ("whoelse", "OK"), ("unread", "NOT_ALLOWED"), ("history", "NOT_ALLOWED"),
                        ("logout", "OK"), ("bye", "LOGGED_OUT")]  # fmt: skip
    assert "Traceback" not in house.log()
