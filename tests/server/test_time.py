"""Time-outs, heartbeats and the rate limit, by a clock that moves when it is told to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatlib.server.presence import QUIET
from tests.server.house import House


def test_two_hours_in_two_seconds(build: Callable[..., House]) -> None:
    """One speaks, one only says alive, one is silent, one stops saying alive."""
    house = build(TIME_OUT=1800, HEARTBEAT=30)
    speaks, alive, silent, dies = (house.login(user) for user in ("Columbia", "facebook", "Google", "SEAS"))
    dies.ask("alive", seen=0)
    left: dict[str, float] = {}
    for second in range(0, 7_200, 10):
        if second % 600 == 0 and second < 3_600:
            speaks.say({"action": "whoelse"})
        if second % 30 == 0:
            alive.say({"action": "alive", "seen": 0})
            if second <= 300:
                dies.say({"action": "alive", "seen": 0})
        house.pass_time(10, 10)
        for peer in list(house.peers):
            if peer.events and peer.events[-1]["event"] == "bye" and peer.name not in left:
                left[peer.name] = second + 10
                assert peer.closed
    assert left == {"SEAS": 350, "facebook": 1_800, "Google": 1_800, "Columbia": 4_810}
    byes = {peer.name: peer.events[-1]["status"] for peer in house.peers}
    assert byes == {"SEAS": "HEARTBEAT_LOST", "facebook": "TIME_OUT", "Google": "TIME_OUT", "Columbia": "TIME_OUT"}
    seen_by_columbia = [(e["user"], e["online"]) for e in speaks.events if e["event"] == "presence"][-3:]
    assert seen_by_columbia == [("SEAS", False), ("Google", False), ("facebook", False)]


def test_whoever_is_there_is_not_logged_off(build: Callable[..., House]) -> None:
    house = build(TIME_OUT=1800, HEARTBEAT=10_000)
    types, reads, odd = (house.login(user) for user in ("Columbia", "facebook", "Google"))
    house.pass_time(1_790, 10)
    assert types.ask("alive", active=True)["status"] == "OK"
    assert reads.ask("alive", active=False)["status"] == "OK"
    assert odd.ask("alive", active=1)["text"] == 'Field "active" must be true or false.'
    house.pass_time(20)
    assert [peer.events[-1]["status"] for peer in (reads, odd)] == ["TIME_OUT", "TIME_OUT"]
    house.pass_time(1_760, 10)
    assert types.ask("whoelse")["items"] == []


def test_hello_says_the_heartbeat(build: Callable[..., House]) -> None:
    assert build(HEARTBEAT=7.5).connect().hello()["heartbeat"] == 7.5


def test_a_heartbeat_that_is_in_the_kernel_already_counts(build: Callable[..., House]) -> None:
    house = build(HEARTBEAT=30)
    columbia = house.login("Columbia")
    columbia.ask("alive", seen=0)
    house.clock.now += 100  # the server was asleep; the client was not
    columbia.say({"action": "alive", "seen": 0})
    house.settle()
    assert not columbia.closed and columbia.ask("whoelse")["status"] == "OK"


def test_who_does_not_log_in_in_time_is_sent_away(house: House) -> None:
    mute, greeted = house.connect(), house.greet()
    house.pass_time(179)
    assert not mute.events and not greeted.events
    house.pass_time(2)
    assert [peer.events[-1]["status"] for peer in (mute, greeted)] == ["TIME_OUT", "TIME_OUT"]
    house.settle()
    assert not house.server.sessions or all(session.over for session in house.server.sessions)


def test_a_changed_time_out_holds_at_once(house: House) -> None:
    columbia = house.login("Columbia")
    house.pass_time(100, 50)
    house.admin("change TIME_OUT 120")
    house.pass_time(19)
    assert not columbia.events
    house.pass_time(2)
    assert columbia.events[-1] == {"event": "bye", "status": "TIME_OUT", "text": "You were idle for 2 minutes."}


def test_requests_beyond_the_rate_wait_and_none_is_lost(build: Callable[..., House]) -> None:
    house = build(RATE_LIMIT=20)
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    house.pass_time(5)  # full buckets
    texts = [str(number) for number in range(300)]
    columbia.say(*({"action": "message", "to": "facebook", "text": text} for text in texts))
    house.settle()
    assert facebook.texts == texts[:100], "the burst"
    assert facebook.ask("whoelse")["status"] == "OK", "others are not throttled"
    house.pass_time(1, 0.05)
    assert 119 <= len(facebook.texts) <= 121
    house.pass_time(10, 0.05)
    assert facebook.texts == texts
    assert len([m for m in columbia.hear() if m.get("action") == "message" and m["status"] == "OK"]) == 300


def test_who_is_throttled_is_alive(build: Callable[..., House]) -> None:
    """The server does not read such a client: then it must not miss its heartbeats either."""
    house = build(RATE_LIMIT=20, HEARTBEAT=30)
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    texts = [f"{number}" for number in range(1_400)]
    lines = "".join(f'{{"action":"message","to":"facebook","text":"{text}"}}\n' for text in texts)
    columbia.ask("alive", seen=0)
    columbia.say(lines)
    for _ in range(90):
        house.pass_time(1, 0.25)
        columbia.say({"action": "alive", "seen": 0})
        facebook.hear(), columbia.hear()
    assert [event for event in columbia.events if event["event"] == "bye"] == []
    assert facebook.texts == texts


def test_no_rate_limit(build: Callable[..., House]) -> None:
    house = build(RATE_LIMIT=0)
    columbia = house.login("Columbia")
    columbia.say(*({"action": "whoelse"} for _ in range(2_000)))
    house.settle()
    assert len([m for m in columbia.hear() if m.get("action") == "whoelse"]) == 2_000


def test_the_end_of_a_throttled_peer_comes_after_its_requests(build: Callable[..., House]) -> None:
    house = build(RATE_LIMIT=1)
    facebook, columbia = house.login("facebook"), house.login("Columbia")
    columbia.say(*({"action": "message", "to": "facebook", "text": str(number)} for number in range(8)))
    columbia.end()
    house.pass_time(10)
    assert facebook.texts == [str(number) for number in range(8)]
    assert facebook.events[-1]["online"] is False


@pytest.mark.parametrize("acknowledges", [True, False])
def test_a_connection_that_dies_is_noticed_at_once(house: House, acknowledges: bool) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    if acknowledges:
        columbia.ask("alive", seen=0)
    house.pass_time(QUIET)
    columbia.hang_up()
    house.settle()
    assert facebook.events[-1] == {**facebook.events[-1], "event": "presence", "user": "Columbia", "online": False}


def test_a_clock_that_was_wrong_and_was_set_right(house: House) -> None:
    """Messages keep their order in time. Lockouts, and who was here lately, go by the clock as it is."""
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    house.clock.wall_at_start += 365 * 86_400.0
    columbia.say({"action": "message", "to": "facebook", "text": "next year"})
    house.settle()
    house.clock.wall_at_start -= 365 * 86_400.0
    columbia.say({"action": "message", "to": "facebook", "text": "this year"})
    house.settle()
    first, second = (event["time"] for event in facebook.events if event["event"] == "message")
    assert second == first > house.clock.wall()
    house.crash()
    house.restart()
    google = house.login("Google")
    assert google.ask("wholasthr")["items"] == ["Columbia", "facebook"], "they left when the server came back"
    google.hang_up()
    house.settle()
    assert house.login("SEAS").ask("wholasthr")["items"] == ["Columbia", "facebook", "Google"]
