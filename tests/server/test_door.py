"""The door of a real server: who is turned away, who waits, and that nobody else notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatlib.server import door
from chatlib.server.strangers import SILENT, WAITING
from tests.server.house import VERIFIER, House
from tests.server.peer import Message, Peer

Build = Callable[..., House]
V = str(VERIFIER)
HERE, ELSEWHERE = "10.0.0.1", "10.0.0.9"


def begin(peer: Peer, user: str = "Columbia") -> None:
    """Asks for a challenge."""
    peer.say({"action": "login", "scram": f"n,,n={user},r=0123456789"})
    peer.house.settle()


def statuses(peer: Peer, action: str = "login") -> list[str]:
    peer.hear()
    return [str(message["status"]) for message in peer.heard if message.get("action") == action]


def bye(peer: Peer) -> Message:
    peer.house.settle()
    peer.hear()
    return peer.heard[-1]


# Bans.


def test_a_banned_address_hears_one_line_and_is_closed_before_anything_is_read(house: House) -> None:
    eve = house.login("facebook", address="10.0.0.66")
    stranger = house.connect(address="10.0.0.67")
    other = house.login("Columbia", address="10.0.1.1")
    assert house.admin("ban 10.0.0.0/24 2h no more spam")[0] == "10.0.0.0/24 is banned for 2 hours (no more spam)."
    wanted = {"event": "bye", "status": "BANNED", "reason": "no more spam", "until": house.clock.wall() + 7_200,
              "text": "You are banned from this server for another 2 hours (no more spam). Ask the administrator."}
    assert all(bye(peer)["status"] == "BANNED" and peer.closed for peer in (eve, stranger))
    newcomer = house.connect(address="10.0.0.1")
    newcomer.say({"action": "hello", "protocol": 1})
    house.settle()
    newcomer.hear()
    assert newcomer.heard == [wanted] and newcomer.closed
    assert len(house.server.sessions) == 3, "no session was made of it"
    assert other.ask("whoelse")["items"] == []
    house.crash()
    house.restart()
    assert bye(house.connect(address="10.0.0.2"))["status"] == "BANNED"
    assert house.admin("unban 10.0.0.0/24") == ["10.0.0.0/24 is not banned any more."]
    assert house.login("facebook", address="10.0.0.66").ask("balance")["status"] == "OK"


def test_a_ban_that_is_over_lets_in(house: House) -> None:
    house.admin("ban 10.0.0.1 10m")
    assert house.connect(address="10.0.0.1").house is house and bye(house.peers[-1])["status"] == "BANNED"
    house.pass_time(600.0, 600.0)
    assert house.greet().heard[-1]["status"] == "OK"


def test_a_banned_name_is_kept_out_everywhere_and_strangers_are_not_told(house: House) -> None:
    here, there = house.login("Columbia"), house.greet(address=ELSEWHERE)
    assert house.admin("ban columbia 1d") == ["Columbia is banned for 24 hours."]
    assert bye(here)["status"] == "BANNED" and here.closed
    assert there.prove("login", "Columbia", "guess")["status"] == "WRONG_PASSWORD"
    refused = there.prove("login", "Columbia")
    assert refused["status"] == "BANNED" and refused["until"] == house.clock.wall() + 86_400
    assert house.stop() == ""
    house.restart()
    assert house.greet().prove("login", "Columbia")["status"] == "BANNED"
    house.pass_time(86_400.0, 86_400.0)
    assert house.greet().prove("login", "Columbia")["status"] == "OK"


def test_a_login_that_crosses_the_ban_of_its_name_does_not_get_in(house: House) -> None:
    peer = house.greet()
    exchange, challenge = peer.challenge("login", "Columbia")
    house.console.line("ban Columbia")
    peer.say({"action": "login", "scram": peer.final(exchange, challenge, "open sesame")})
    house.settle()
    assert statuses(peer)[-1] == "BANNED" and "columbia" not in house.server.world.online


def test_a_crowd_that_is_banned_goes_a_part_in_each_tick(build: Build) -> None:
    house = build()
    crowd = [house.connect(address=f"10.0.0.{number}") for number in range(120)]
    house.settle()
    house.console.line("ban 10.0.0.0/8")
    ended = []
    for _ in range(10):
        before = len(house.server.sessions._lingering)
        house.tick()
        ended.append(len(house.server.sessions._lingering) - before)
    assert max(ended) <= door.ENDED and sum(ended) == 120
    assert all(bye(peer)["status"] == "BANNED" for peer in crowd)


def test_a_flood_of_the_banned_is_closed_at_once(house: House) -> None:
    house.admin("ban 10.6.6.6")
    flood = [house.connect(address="10.6.6.6") for _ in range(door.LINGERING + 20)]
    assert house.server.door._lingering == door.LINGERING
    for peer in flood:
        peer.hear()
        assert peer.heard[0]["status"] == "BANNED"
        peer.hang_up()
    house.settle()
    assert house.server.door._lingering == 0
    assert house.server.figures.counters["door: banned turned away"] == len(flood)


def test_what_the_administrator_is_told(house: House) -> None:
    house.admin("ban Columbia 2h a reason, as it was typed", "ban @SEAS", "ban 10.0.0.7/24 10m", "ban 2001:db8::1")
    assert house.admin("mute Google 3d hush", "mute Google 30s") == [
        "Google is muted for 3 days (hush).", "Google is muted for 30 seconds."]  # fmt: skip
    said = [line.split(" since ")[0].rstrip(",") for line in house.admin("bans")]
    assert said[0] == "4 banned:" and said[5] == "1 muted:"
    assert [line.split(" until")[0].split(" for ever")[0] for line in said[1:5]] == [
        "  10.0.0.0/24", "  2001:db8::1", "  Columbia", "  SEAS"]  # fmt: skip
    assert house.admin("bans")[3].endswith(": a reason, as it was typed")
    whom = ["10.0.0.0/24", "2001:db8::1", "columbia", "seas"]
    assert house.console.complete("unban ") == [f"unban {who}" for who in whom]
    assert house.console.complete("unmute ") == ["unmute google"]
    assert house.admin("ban 10.0.0.1/99")[0] == "Error! Usage: ban <who> [for] [why]"
    for time in ("0s", "-5m", "1.5h", "2 hours", "99999d"):  # none of these is for ever
        usage, allowed, *_ = house.admin(f"ban facebook {time}")
        assert usage == "Error! Usage: ban <who> [for] [why]"
        assert allowed == "<for> must be a whole number with a unit: 30s, 10m, 2h or 3d."
    assert house.admin("unban facebook") == ['Error! "facebook" is not banned.']
    assert house.admin("unban 10.9.9.9") == ['Error! "10.9.9.9" is not banned.']
    assert house.admin("ban nobody") == ['Error! There is no user "nobody".']
    house.admin("unban columbia", "unban @SEAS", "unban 10.0.0.0/24", "unban 2001:db8::1", "unmute google")
    assert house.admin("bans") == ["Nobody is banned.", "Nobody is muted."]


# Mutes at the edge.


def test_whoever_is_muted_is_told_and_sends_neither_files_nor_asks_for_addresses(house: House) -> None:
    eve, ann = house.login("facebook"), house.login("Columbia", address=ELSEWHERE)
    for peer in (eve, ann):
        peer.ask("listen", port=7)
    assert ann.ask("getaddress", user="facebook")["status"] == "ASKED"
    house.admin("mute facebook 10m")
    assert eve.events[-1]["text"].startswith("You are muted for another 10 minutes.")
    file = {"name": "a", "size": 1, "sha256": "0" * 64}
    assert eve.ask("file", to="Columbia", **file)["status"] == "MUTED"
    assert eve.ask("yes", user="Columbia")["status"] == "MUTED"
    assert eve.ask("getaddress", user="Columbia")["status"] == "MUTED"
    assert eve.ask("broadcast", text="x")["status"] == "MUTED"
    assert ann.ask("getaddress", user="facebook") == {
        "action": "getaddress", "status": "MUTED", "text": '"facebook" is muted.'}  # fmt: skip
    assert eve.ask("whoelse")["items"] == ["Columbia"]
    house.clock.now += 600
    assert eve.ask("file", to="Columbia", **file)["status"] == "OK", "though no command has told the world the time"


# How many strangers.


def test_of_one_address_some_are_heard_some_wait_and_the_rest_are_turned_away(build: Build) -> None:
    house = build(STRANGERS_PER_ADDRESS=2)
    crowd = [house.connect() for _ in range(2 * (1 + WAITING) + 1)]
    for peer in crowd:
        peer.say({"action": "hello", "protocol": 1})
    house.settle()
    assert [len(peer.hear()) for peer in crowd[:-1]] == [1, 1] + [0] * 2 * WAITING
    assert bye(crowd[-1])["status"] == "SERVER_FULL"
    elsewhere = house.greet(address=ELSEWHERE)
    assert elsewhere.heard[0]["status"] == "OK", "nobody else notices"
    assert crowd[0].prove("login", "Columbia")["status"] == "OK"
    house.settle()
    assert [len(peer.hear()) for peer in crowd[2:4]] == [1, 0], "one has logged in: the next is heard"
    crowd[1].hang_up()
    house.settle()
    assert len(crowd[3].hear()) == 1
    house.admin("change STRANGERS_PER_ADDRESS 0")
    assert [len(peer.hear()) for peer in crowd[4:8]] == [1] * 4
    assert house.server.figures.counters["door: strangers turned away"] == 1


def test_whoever_says_nothing_gives_way(build: Build) -> None:
    house = build(STRANGERS_PER_ADDRESS=2)
    typing, silent = house.greet(), house.connect()
    house.pass_time(SILENT)
    newcomer = house.connect()
    assert bye(silent)["status"] == "TIME_OUT"
    assert newcomer.hello()["status"] == "OK" and not typing.closed
    late = house.connect()
    late.say({"action": "hello", "protocol": 1})
    house.settle()
    assert not late.hear() and not typing.closed, "whoever types a password stays"


def test_this_machine_counts_for_many_and_a_network_of_ipv6_for_one(build: Build) -> None:
    house = build(STRANGERS_PER_ADDRESS=1)
    here = [house.greet(address="127.0.0.1") for _ in range(door.MANY)]
    assert all(peer.heard for peer in here)
    there = [house.connect(address=f"2001:db8::{number}:1") for number in range(2)]
    for peer in there:
        peer.say({"action": "hello", "protocol": 1})
    house.settle()
    assert [len(peer.hear()) for peer in there] == [1, 0]


def test_with_all_strangers_there_a_newcomer_of_the_greediest_is_turned_away_at_the_accept(build: Build) -> None:
    house = build(STRANGERS=4)
    for _ in range(3):
        house.connect(address="10.6.6.6")
    person = house.greet()
    house.settle()
    assert bye(house.connect(address="10.6.6.6"))["status"] == "SERVER_FULL"
    assert len(house.server.sessions) == 4
    assert house.greet(address=ELSEWHERE).heard[0]["status"] == "OK", "one of the greedy went"
    assert person.prove("login", "Columbia")["status"] == "OK"


def test_a_class_behind_one_address_comes_back_with_the_defaults(build: Build) -> None:
    """A hundred at once, after a restart: nobody is refused, and nobody waits for the clock."""
    users = tuple(f"pupil{number}" for number in range(100))
    house = build(users=users, LOGINS=30, REGISTRATIONS=20, STRANGERS_PER_ADDRESS=32, SCRAM_ITERATIONS=4096)
    house.server.world.parameters["MaxCon"] = 100
    peers = [house.connect(user) for user in users]
    for peer in peers:
        peer.say({"action": "hello", "protocol": 1})
    inside: list[Peer] = []
    while len(inside) < 100:
        house.settle()
        ready = [peer for peer in peers if peer not in inside and peer.hear()]
        assert ready, "somebody is always let on"
        for peer in ready:
            assert peer.prove("login", peer.name)["status"] == "OK"
            inside.append(peer)
    assert house.server.figures.counters["door: logins slowed down"] == 0


# Logins.


def test_an_address_that_tries_too_much_is_slowed_down_and_its_user_elsewhere_is_not(build: Build) -> None:
    house = build(LOGINS=3, BLOCK_TIME=0.1)
    guessing = [house.greet() for _ in range(6)]
    for peer in guessing:
        begin(peer)
    assert [statuses(peer) for peer in guessing] == [["CONTINUE"]] * 3 + [[]] * 3
    assert house.greet(address=ELSEWHERE).prove("login", "Columbia")["status"] == "OK"
    guessing[3].say({"action": "hello", "protocol": 1})
    house.settle()
    assert not guessing[3].hear(), "it is not read"
    house.pass_time(20.5, 20.5)
    assert statuses(guessing[3]) == ["CONTINUE"], "a token in 20 seconds"
    guessing[4].hang_up()
    house.pass_time(41.0, 20.5)
    assert statuses(guessing[5]) == ["CONTINUE"]
    assert house.server.figures.counters["door: logins slowed down"] == 3
    house.pass_time(door.HOUR, door.HOUR)
    begin(house.greet(address="10.0.0.2"))
    assert len(house.server.door._places) <= 2, "what does not count any more is forgotten"


def test_a_login_that_succeeds_does_not_count(build: Build) -> None:
    house = build(LOGINS=1)
    for _ in range(5):
        peer = house.login("Columbia")
        assert peer.ask("logout")["status"] == "OK"
    first, second = house.greet(), house.greet()
    exchange, challenge = first.challenge("login", "Columbia")
    begin(second, "facebook")
    assert statuses(second) == []
    first.say({"action": "login", "scram": first.final(exchange, challenge, "open sesame")})
    house.settle()
    assert statuses(second) == ["CONTINUE"], "the next one goes on at once"
    third = house.greet()
    begin(third)
    house.admin("change LOGINS 0")
    assert statuses(third) == ["CONTINUE"]


def test_the_users_of_a_slowed_address_who_are_in_notice_nothing(build: Build) -> None:
    house = build(LOGINS=1)
    inside = house.login("Columbia")
    for _ in range(3):
        begin(house.greet())
    assert inside.prove("password", "Columbia", verifier=V)["status"] == "OK"
    assert inside.ask("whoelse")["status"] == "OK"


def test_places_are_bounded(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST", 10)
    house = build(LOGINS=2)
    for number in range(50):
        begin(house.greet(address=f"10.1.0.{number}"))
    assert len(house.server.door._places) <= 11


# Junk.


def test_a_place_that_says_much_that_means_nothing_is_not_read_for_a_while(build: Build) -> None:
    house = build(RATE_LIMIT=4)
    junk = [house.greet() for _ in range(3)]
    for peer in junk:
        peer.hear()
        peer.say(*["junk\n"] * 10)
    person, user = house.greet(), house.login("Columbia")
    house.settle()
    said = [len(peer.hear()) for peer in junk]
    assert sum(said) == int(door.JUNK) * 4 + 3, "so much at once, and of each the line that was too much"
    assert person.prove("login", "facebook")["status"] == "OK", "whoever says none, from the same place"
    assert user.ask("whoelse")["items"] == ["facebook"]
    house.pass_time(1.0)
    assert sum(len(peer.hear()) for peer in junk) in (3, 4)
    house.pass_time(10.0)
    for peer in junk:
        peer.hear()
        assert [message.get("status") for message in peer.heard] == ["OK"] + ["BAD_REQUEST"] * 10
    assert house.server.figures.counters["door: junk slowed down"] > 10


# Registrations.


def test_so_many_registrations_in_an_hour(build: Build) -> None:
    house = build(REGISTRATIONS=2)
    peer = house.greet()
    assert [peer.ask("register", user=name, verifier=V)["status"] for name in ("ann", "ann", "bob", "cyd")] == [
        "OK", "USER_EXISTS", "OK", "TOO_MANY_REGISTRATIONS"]  # fmt: skip
    refused = peer.ask("register", user="cyd")
    assert (refused["status"], refused["seconds"]) == ("TOO_MANY_REGISTRATIONS", 3_600)
    assert refused["text"].endswith("try again in 60 minutes.")
    assert house.greet(address=ELSEWHERE).ask("register", user="dan", verifier=V)["status"] == "OK"
    house.pass_time(3_600.0, 3_600.0)
    assert house.greet().ask("register", user="cyd", verifier=V)["status"] == "OK"


def test_registrations_that_are_refused_are_heard_as_slowly_as_junk(build: Build) -> None:
    house = build(RATE_LIMIT=4)
    peers = [house.greet() for _ in range(3)]
    before = house.server.world.lsn
    for peer in peers:
        peer.hear()
        peer.say(*[{"action": "register", "user": "Columbia", "verifier": V}] * 10)
    house.settle()
    house.pass_time(1.0)
    said = sum(len(peer.hear()) for peer in peers)
    assert said == house.server.world.lsn - before <= int(door.JUNK) * 4 + 3 + 4, "each was in the journal"
    assert house.server.figures.counters["door: junk slowed down"] >= 3
    assert house.login("SEAS").ask("whoelse")["items"] == [], "whoever says none, from the same place"


def test_a_name_is_free_as_soon_as_its_ban_is_over(house: House) -> None:
    house.admin("ban Columbia 10m")
    assert house.greet().prove("deregister", "Columbia")["status"] == "OK"
    assert house.greet().ask("register", user="Columbia")["status"] == "BANNED"
    house.pass_time(600.0, 600.0)
    peer = house.greet()
    assert peer.ask("register", user="Columbia")["status"] == "OK"
    assert peer.ask("register", user="Columbia", verifier=V)["status"] == "OK"


def test_registrations_that_are_on_their_way_count(build: Build) -> None:
    house = build(REGISTRATIONS=2)
    peers = [house.greet() for _ in range(4)]
    for number, peer in enumerate(peers):
        peer.say({"action": "register", "user": f"new{number}", "verifier": V})
    house.settle()
    assert sorted(statuses(peer, "register")[0] for peer in peers) == ["OK", "OK"] + ["TOO_MANY_REGISTRATIONS"] * 2


def test_so_many_accounts(build: Build) -> None:
    house = build(MAX_USERS=5)
    peer = house.greet()
    assert peer.ask("register", user="ann", verifier=V)["status"] == "OK"
    assert peer.ask("register", user="bob")["status"] == "TOO_MANY_USERS"
    house.write("credentials.txt", house.read("credentials.txt") + f"bob {V}\n")
    house.reload()
    assert "bob" in house.server.world.accounts, "what the administrator writes by hand is not limited"
    house.admin("change MAX_USERS 1")
    house.crash()
    house.restart()
    assert len(house.server.world.accounts) == 6, "nothing that was taken in is refused by a replay"


# Mail.


def test_a_full_mailbox_is_equal_after_a_crash(build: Build) -> None:
    house = build(MAIL_QUOTA=3)
    ann = house.login("Columbia")
    assert [ann.ask("message", to="SEAS", text="x")["status"] for _ in range(2)] == ["OK"] * 2
    house.save()
    house.crash()
    house.restart()
    ann = house.login("Columbia")
    assert [ann.ask("message", to="SEAS", text="x")["status"] for _ in range(2)] == ["OK", "MAILBOX_FULL"]
    house.login("SEAS").ask("logout")
    house.pass_time(1.0)
    assert ann.ask("message", to="SEAS", text="x")["status"] == "OK", "they were read"
