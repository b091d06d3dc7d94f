"""Who came and who went: told at once, and of one user at most once in five seconds; then what is true by then."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from chatlib.server.presence import QUIET
from tests.server.house import House, Peer


def told(peer: Peer) -> list[tuple[str, bool]]:
    return [(event["user"], event["online"]) for event in peer.events if event["event"] == "presence"]


def come_and_go(house: House, times: int, seconds: float) -> None:
    for _ in range(times):
        house.login("Columbia").ask("logout")
        house.pass_time(seconds, 0.25)


def test_a_user_who_comes_and_goes_in_a_loop_is_told_of_once_in_five_seconds(house: House) -> None:
    watcher = house.login("SEAS")
    come_and_go(house, 40, 0.25)  # ten seconds, and gone in the end
    house.pass_time(QUIET)
    assert told(watcher) == [("Columbia", True), ("Columbia", False)], "whenever it was looked at, the user was away"
    columbia = house.login("Columbia")
    assert told(watcher)[-1] == ("Columbia", True), "what is new is told at once"
    columbia.ask("logout")
    assert told(watcher)[-1] == ("Columbia", True)
    at = house.clock.wall()
    house.pass_time(QUIET)
    assert watcher.events[-1] == {"event": "presence", "time": at, "user": "Columbia", "online": False}, "when it was"
    house.login("Columbia")
    house.pass_time(QUIET)
    assert told(watcher)[4:] == [("Columbia", True)]


def test_one_users_coming_does_not_keep_another_untold(house: House) -> None:
    watcher = house.login("SEAS")
    house.login("Columbia")
    house.login("facebook")
    assert told(watcher) == [("Columbia", True), ("facebook", True)]


def test_neither_who_blocks_nor_who_is_blocked_is_told(house: House) -> None:
    blocker, blocked, watcher = house.login("facebook"), house.login("Google"), house.login("SEAS")
    blocker.ask("block", user="Columbia")
    columbia = house.login("Columbia")
    columbia.ask("block", user="Google")
    columbia.ask("logout")
    house.pass_time(QUIET)
    house.login("Columbia")
    house.pass_time(QUIET)
    assert told(watcher) == [("Columbia", True), ("Columbia", False), ("Columbia", True)]
    assert ("Columbia", True) not in told(blocker) and ("Columbia", False) not in told(blocker)
    assert told(blocked)[-1] == ("Columbia", True), "it came before it blocked anybody"
    assert ("Columbia", False) not in told(blocked)


def test_nobody_is_told_of_himself(house: House) -> None:
    house.login("SEAS")
    columbia = house.login("Columbia")
    columbia.ask("logout")
    house.pass_time(1)
    columbia = house.login("Columbia")
    house.pass_time(QUIET)
    columbia.ask("logout")
    house.pass_time(1)
    columbia = house.login("Columbia")
    house.pass_time(QUIET)
    assert told(columbia) == []


def test_an_account_that_goes_within_the_five_seconds_is_told_to_be_away(house: House) -> None:
    watcher, blocker = house.login("SEAS"), house.login("facebook")
    blocker.ask("block", user="Columbia")
    house.login("Columbia").ask("logout")
    assert house.greet().prove("deregister", "Columbia")["status"] == "OK"
    house.pass_time(QUIET)
    assert told(watcher)[-2:] == [("Columbia", True), ("Columbia", False)]
    assert not {("Columbia", True), ("Columbia", False)} & set(told(blocker))
    house.pass_time(QUIET)
    assert not house.server.announcer._told, "nothing is kept of it"


def test_above_the_limit_nobody_is_told_by_the_clock_either(build: Callable[..., House]) -> None:
    house = build(PRESENCE_LIMIT=2)
    watcher = house.login("SEAS")
    house.login("Columbia").ask("logout")
    house.login("facebook")
    house.login("Google")
    house.pass_time(2 * QUIET)
    assert told(watcher) == [("Columbia", True), ("facebook", True)]


@given(st.lists(st.tuples(st.sampled_from(["come", "go", "pass"]), st.sampled_from([0.5, 2.0, 6.0])), max_size=30))
def test_it_is_told_at_most_once_in_five_seconds_and_in_the_end_it_is_true(
    build: Callable[..., House], steps: list[tuple[str, float]]
) -> None:
    house = build(TIME_OUT=100_000, HEARTBEAT=10_000)
    watcher = house.login("SEAS")
    columbia: Peer | None = None
    heard: list[tuple[float, bool]] = []

    def listen() -> None:
        heard.extend((house.clock.now, e["online"]) for e in watcher.hear() if e.get("user") == "Columbia")

    def pass_time(seconds: float) -> None:
        for _ in range(int(seconds / 0.5)):
            house.pass_time(0.5, 0.5)
            listen()

    for act, seconds in steps:
        if act == "come" and columbia is None:
            columbia = house.login("Columbia")
        elif act == "go" and columbia is not None:
            columbia.ask("logout")
            columbia = None
        listen()
        pass_time(seconds)
    pass_time(QUIET)
    assert (heard[-1][1] if heard else False) == (columbia is not None)
    assert all(later[0] - earlier[0] >= QUIET and later[1] != earlier[1]
               for earlier, later in zip(heard, heard[1:], strict=False))  # fmt: skip
    house.close()
    house.running = False


def test_nothing_is_kept_of_who_came_longer_ago(house: House) -> None:
    house.register(*(f"user{number}" for number in range(50)))
    for number in range(50):
        house.login(f"user{number}")
    kept = house.server.announcer._told
    assert len(kept) == 50
    house.pass_time(QUIET)
    assert not kept
