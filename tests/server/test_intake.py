"""What holds requests up: budgets, the rate limit, dear answers, long and unfinished lines. Others do not feel it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import pytest

from chatlib.server import intake, limits
from tests.server.house import House

Build = Callable[..., House]


def held_by(work: Callable[[], object]) -> int:
    """Bytes of memory that `work` leaves behind."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


# Strangers.


def test_a_stranger_who_sends_nothing_but_newlines_is_sent_away_and_costs_little(build: Build) -> None:
    house = build(RATE_LIMIT=20)
    columbia = house.login("Columbia")
    strangers = [house.connect(f"stranger {number}", f"10.0.1.{number}") for number in range(50)]
    for stranger in strangers:
        stranger.socket.setblocking(False)

    def flood() -> None:
        for stranger in strangers:
            stranger.socket.send(b"\n" * 65_000)
        house.tick(3)

    assert held_by(flood) < 50 * 20_000, "4 KiB of each are read, and no more"
    assert columbia.ask("whoelse")["status"] == "OK"
    house.settle()
    for stranger in strangers:
        told = stranger.hear()
        assert [message["status"] for message in told[:-1]] == ["BAD_REQUEST"] * 20
        assert told[-1] == {"event": "bye", "status": "PROTOCOL_ERROR", "text": "Too many lines that are not requests."}


def test_all_strangers_together_have_a_budget_and_users_one_of_their_own(house: House) -> None:
    columbia = house.login("Columbia")
    strangers = [house.connect(f"stranger {number}") for number in range(100)]
    house.settle()
    for stranger in strangers:
        stranger.say(b'{"action":"hello","protocol":1}\n' + b'{"action":"nothing"}\n' * 9)
    columbia.say({"action": "whoelse"})
    house.tick()
    assert sum(len(stranger.hear()) for stranger in strangers) == limits.STRANGERS_LINES
    assert [message["action"] for message in columbia.hear()] == ["whoelse"]
    house.settle()
    for stranger in strangers:
        stranger.hear()
        assert len(stranger.heard) == 10, "whatever waits has its turn"


def test_strangers_have_their_turns_a_line_at_a_time(house: House) -> None:
    """Whoever says one thing need not wait until a hundred others have said all of theirs."""
    junk = [house.connect(f"junk {number}") for number in range(limits.STRANGERS_LINES - 1)]
    house.settle()
    for peer in junk:
        peer.say(b"x\n" * 15)
    house.tick()
    newcomer = house.connect()
    newcomer.say({"action": "hello", "protocol": 1})
    house.tick(3)
    assert [message["status"] for message in newcomer.hear()] == ["OK"]
    assert max(len(peer.hear()) for peer in junk) < 6


def test_users_together_have_a_budget_in_which_nobody_is_passed_over(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LINES", 100)
    house = build(users=tuple(f"user{number}" for number in range(8)))
    users = [house.login(f"user{number}") for number in range(8)]
    house.settle()
    for user in users:
        user.say(b'{"action":"alive"}\n' * 90)
    for _ in range(8):
        house.tick()
    answered = [len(user.hear_all("alive")) for user in users]
    assert answered == [90] * 8, "90 and 10, 90 and 10, ..."


# Lines.


def test_a_line_in_pieces_of_two_costs_its_bytes(house: House) -> None:
    columbia = house.login("Columbia")
    line = b'{"action":"message","to":"facebook","text":"' + b"x" * 4_000 + b'"}' + b" " * 60_000

    def half_a_line() -> None:
        for at in range(0, len(line), 2):
            columbia.house.server.delivery.sessions["columbia"].received(line[at : at + 2])

    assert held_by(half_a_line) < 200_000
    columbia.say(b"\n")
    assert columbia.reply("message")["status"] == "OK"


def test_what_waits_is_not_copied_for_each_token(build: Build) -> None:
    """A packet of many short lines, taken one by one."""
    house = build(RATE_LIMIT=1_000)
    columbia = house.login("Columbia")
    house.pass_time(10)
    columbia.say(b'{"action":"alive"}\n' * 3_400)
    house.pass_time(1, 1.0)
    raw = house.server.delivery.sessions["columbia"].intake._wire._raw
    house.pass_time(0.5, 0.001)
    assert not columbia.closed
    house.pass_time(10)
    assert len(columbia.hear_all("alive")) == 3_400
    assert len(raw) <= 65_536 + 20


# The rate limit.


def test_who_is_throttled_has_one_timer(build: Build) -> None:
    house = build(RATE_LIMIT=20)
    columbia = house.login("Columbia")
    before = len(house.server.loop._timers._heap)
    columbia.say(b'{"action":"alive"}\n' * 500)
    session = house.server.delivery.sessions["columbia"]
    for _ in range(200):
        house.tick()
        session.intake.again()
        session.drained()
    assert len(house.server.loop._timers._heap) <= before + 2


def test_a_token_is_spent_for_a_line_and_for_nothing_else(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that has had its turn waits for the next one; that costs it no tokens."""
    monkeypatch.setattr(intake, "PER_CONNECTION", 3)
    house = build(RATE_LIMIT=2)
    columbia = house.login("Columbia")
    house.pass_time(60, 60)
    columbia.say(b'{"action":"alive"}\n' * 10)
    house.settle()
    assert len(columbia.hear_all("alive")) == 10, "the burst: 10 tokens, 10 lines"


# Dear answers.


def dear(house: House, monkeypatch: pytest.MonkeyPatch, cost: float = 0.002) -> None:
    """Each list of users takes `cost` seconds by the clock that is read for the budget."""
    clock = [0.0]

    def perf_counter() -> float:
        clock[0] += cost / 2
        return clock[0]

    monkeypatch.setattr(intake, "perf_counter", perf_counter)


def test_long_answers_have_a_budget_for_all_and_everyone_has_a_turn(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = build(users=tuple(f"user{number}" for number in range(5)))
    users = [house.login(f"user{number}") for number in range(5)]
    house.settle()
    dear(house, monkeypatch)  # 1 ms each: three or four fit into a tick
    for user in users:
        user.say(b'{"action":"list_users","id":1}\n' * 20)
    answered = [[0] * 5]
    for _ in range(60):
        house.tick()
        answered.append([len(user.hear_all("list_users")) for user in users])
    for before, after in pairwise(answered):
        assert sum(after) - sum(before) <= 4
    for before, after in zip(answered, answered[6:], strict=False):
        assert all(one < other or one == 20 for one, other in zip(before, after, strict=True)), "everyone has a turn"
    assert answered[-1] == [20] * 5


def test_cheap_requests_do_not_wait_for_the_dear_ones_of_others(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    house.settle()
    dear(house, monkeypatch)
    columbia.say(b'{"action":"list_users"}\n' * 100)
    house.tick()
    facebook.say({"action": "message", "to": "Columbia", "text": "meanwhile"})
    house.tick()
    house.tick()
    assert facebook.hear_all("message")
    assert len(columbia.hear_all("list_users")) < 100


def test_replies_stay_in_order_when_a_dear_one_comes_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    house.settle()
    dear(house, monkeypatch, cost=0.006)
    requests = [{"action": "list_users"}, {"action": "message", "to": "facebook", "text": "x"}, {"action": "whoelse"},
                {"action": "nonsense"}, {"action": "block", "user": "SEAS"}, {"action": "blacklist"}] * 5  # fmt: skip
    facebook.say(b'{"action":"list_users"}\n' * 5)
    columbia.say(*({**request, "id": number} for number, request in enumerate(requests)))
    columbia.end()
    house.settle()
    assert [message["id"] for message in columbia.hear() if "action" in message] == list(range(30))
    assert columbia.closed


def test_a_dear_request_counts_for_more_than_one(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build(RATE_LIMIT=10)
    columbia = house.login("Columbia")
    house.pass_time(10)
    dear(house, monkeypatch, cost=0.010)  # 5 ms each, the price of five requests
    columbia.say(b'{"action":"list_users"}\n' * 20)
    house.settle()
    assert 9 <= len(columbia.hear_all("list_users")) <= 10, "a burst of 50 requests, at 6 each"
    house.pass_time(30, 0.1)
    assert len(columbia.hear_all("list_users")) == 20, "later, not never"


# Other things that speak first.


@pytest.mark.parametrize("split", [1, 10, 4_000])
def test_a_web_page_cannot_make_a_browser_give_commands(house: House, split: int) -> None:
    body = b'{"action":"hello","protocol":1}\n{"action":"register","user":"evil","verifier":"x"}\n'
    post = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n\r\n" + body
    peer = house.connect()
    for at in range(0, len(post), split):
        peer.say(post[at : at + split])
        house.settle()
    told = b""
    peer.socket.setblocking(False)
    while piece := peer.socket.recv(4_096):
        told += piece
    head, _, text = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert f"Content-Length: {len(text)}".encode() in head
    assert text == b"This is a chat server, and no web server: use client.py to talk to it.\n"
    assert "evil" not in house.server.world.accounts
    peer.end()
    house.settle()
    assert not house.server.sessions


@pytest.mark.parametrize("line", [b"GET / HTTP/1.0\r\n", b"PRI * HTTP/2.0\r\n", b"OPTIONS * HTTP/1.1\n"])
def test_all_kinds_of_http(house: House, line: bytes) -> None:
    peer = house.connect()
    peer.say(line)
    house.settle()
    assert peer.socket.recv(4_096).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_field_given_twice_reaches_nothing(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.say('{"action":"message","to":"facebook","text":"bell \\u0007","text":"bell"}\n')
    house.settle()
    refused = {"action": None, "status": "BAD_REQUEST", "text": 'Field "text" is given twice.'}
    assert refused in columbia.hear()
    assert facebook.texts == []
    assert b"u0007" not in (house.folder / "data" / "journal.txt").read_bytes()


# The end.


def test_nothing_follows_bye(house: House) -> None:
    columbia = house.login("Columbia")
    house.disk.fast = False
    columbia.say(*({"action": "broadcast", "text": str(number)} for number in range(3)))
    house.settle()
    house.console.line("kick columbia")
    for _ in range(3):
        house.disk.release()
        house.settle()
    told = columbia.hear()
    assert told[-1]["event"] == "bye" and told[-1]["status"] == "KICKED"
    house.disk.fast = True


def test_replies_to_what_came_before_do_not_follow_bye(house: House) -> None:
    columbia = house.login("Columbia")
    house.disk.fast = False
    columbia.say({"action": "broadcast", "text": "under way"})
    house.settle()
    house.server.stop()
    house.disk.release()
    house.settle()
    assert [message.get("status") for message in columbia.hear()] == ["SHUTTING_DOWN"]
    house.disk.fast = True


def test_heartbeats_are_kept_as_they_were_promised(build: Build) -> None:
    house = build(HEARTBEAT=30)
    columbia = house.login("Columbia", client="one")
    columbia.ask("alive", seen=0)
    house.admin("change HEARTBEAT 2")
    for _ in range(10):
        house.pass_time(29)
        assert columbia.ask("alive", seen=0)["status"] == "OK"
    newcomer = house.connect()
    assert newcomer.hello()["heartbeat"] == 2
    assert newcomer.prove("login", "facebook")["status"] == "OK"
    newcomer.ask("alive", seen=0)
    house.pass_time(8)
    assert newcomer.events[-1]["status"] == "HEARTBEAT_LOST" and not columbia.closed
