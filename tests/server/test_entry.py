"""Coming in: registration, login, lockout, second logins, passwords changed, accounts removed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatlib.core.proofs import LOOKED_AT
from chatlib.protocol.scram import make_verifier
from chatlib.server.presence import QUIET
from tests.server.house import ITERATIONS, PASSWORD, VERIFIER, House

Talk = Callable[..., None]
V = str(VERIFIER)


def test_registration(house: House, talk: Talk) -> None:
    talk(
        f"""
        x> {{"action":"register","id":1,"user":"Shuo","verifier":"{V}"}}
        x> {{"action":"register","user":"shuo","verifier":"{V}"}}
        x> {{"action":"register","user":"all","verifier":"{V}"}}
        x> {{"action":"register","user":"System","verifier":"{V}"}}
        x> {{"action":"register","user":"a b","verifier":"{V}"}}
        x> {{"action":"register","user":"ab","verifier":"secret"}}
        x> {{"action":"register","user":"ab","password":"secret"}}
        x< {{"action":"register","id":1,"status":"OK","user":"Shuo"}}
        x< {{"action":"register","status":"USER_EXISTS","text":"There is a user \\"Shuo\\" already."}}
        x< {{"action":"register","status":"USER_EXISTS","text":"The name \\"all\\" is reserved."}}
        x< {{"action":"register","status":"USER_EXISTS"}}
        x< {{"action":"register","status":"BAD_REQUEST"}}
        x< {{"action":"register","status":"BAD_REQUEST"}}
        x< {{"action":"register","status":"BAD_REQUEST"}}
        """,
        x=house.greet(),
    )
    assert house.login("shuo").user == "shuo"


def test_registration_closed(build: Callable[..., House]) -> None:
    house = build(REGISTRATION="closed")
    assert house.greet().ask("register", user="new", verifier=V)["status"] == "REGISTRATION_CLOSED"


def test_a_verifier_written_unusually_lets_its_user_in(house: House) -> None:
    house.greet().ask("register", user="odd", verifier=V.replace("$4096:", "$004096:"))
    assert house.greet().prove("login", "odd")["status"] == "OK"


def test_login_is_scram(house: House, talk: Talk) -> None:
    columbia = house.greet()
    exchange, challenge = columbia.challenge("login", "columbia")
    assert challenge["scram"].startswith("r=the-nonce-of-the-client")
    reply = columbia.ask("login", scram=columbia.final(exchange, challenge, PASSWORD), id="x")
    exchange.check(reply["scram"])
    assert {**reply, "scram": "", "seq": 0} == {
        "action": "login", "id": "x", "status": "OK", "user": "Columbia", "unread": 0, "seq": 0, "scram": ""
    }  # fmt: skip


@pytest.mark.parametrize("scram", ["n,,n=facebook", "p=tls-unique,,n=facebook,r=12345678", "n,,n=a=2Cb,r=12345678",
                                   "n,,n=facebook,r=", "n,,n=fa cebook,r=12345678"])  # fmt: skip
def test_a_malformed_first_message_is_refused(house: House, scram: str) -> None:
    reply = house.greet().ask("login", scram=scram)
    assert reply["status"] == "BAD_REQUEST" and '"scram"' in reply["text"]


def test_the_halves_of_a_proof_belong_together(house: House) -> None:
    peer = house.greet()
    assert peer.ask("login", scram="c=biws,r=12345678,p=AAAA")["status"] == "BAD_REQUEST", "no first half"
    exchange, challenge = peer.challenge("login", "Columbia")
    final = peer.final(exchange, challenge, PASSWORD)
    assert peer.ask("deregister", scram=final)["status"] == "BAD_REQUEST", "of another action"
    assert peer.ask("login", scram=final.replace("r=the", "r=The"))["status"] == "BAD_REQUEST", "another nonce"
    assert peer.ask("login", scram=final)["status"] == "BAD_REQUEST", "a challenge serves once"
    assert peer.prove("login", "Columbia")["status"] == "OK"


def test_an_unknown_name_and_an_account_that_goes_meanwhile(house: House) -> None:
    peer, other = house.greet(), house.greet()
    assert peer.ask("login", scram="n,,n=nobody,r=12345678")["status"] == "NO_SUCH_USER"
    exchange, challenge = peer.challenge("login", "SEAS")
    assert other.prove("deregister", "SEAS")["status"] == "OK"
    assert peer.ask("login", scram=peer.final(exchange, challenge, PASSWORD))["status"] == "NO_SUCH_USER"


def test_three_wrong_passwords_lock_out_across_connections_and_restarts(house: House) -> None:
    first = house.greet()
    assert first.prove("login", "Columbia", "wrong")["tries_left"] == 2
    house.crash()
    house.restart()
    reply = house.greet().prove("login", "Columbia", "wrong")
    assert (reply["status"], reply["tries_left"]) == ("WRONG_PASSWORD", 1)
    assert reply["text"] == "Wrong password: 1 try is left."
    assert house.stop() == ""
    house.restart()
    reply = house.greet().prove("login", "Columbia", "wrong")
    assert (reply["status"], reply["seconds"]) == ("LOCKED_OUT", 60)
    house.clock.now += 20
    assert house.greet().prove("login", "columbia")["seconds"] == 40
    assert house.greet().prove("deregister", "Columbia")["status"] == "LOCKED_OUT"
    assert house.greet(address="10.0.0.2").prove("login", "Columbia")["status"] == "OK", "counted by address"
    house.crash()
    house.restart()
    house.clock.now += 39.5
    assert house.greet().prove("login", "Columbia")["seconds"] == 1
    house.clock.now += 0.6
    assert house.greet().prove("login", "Columbia")["status"] == "OK"


def test_block_scope_user_and_a_success_that_wipes_the_slate(build: Callable[..., House]) -> None:
    house = build(BLOCK_SCOPE="user", MAX_FAILURES=2)
    peer = house.greet()
    assert peer.prove("login", "Columbia", "wrong")["status"] == "WRONG_PASSWORD"
    assert peer.prove("login", "Columbia")["status"] == "OK"
    peer.ask("logout")
    peer = house.greet()
    assert peer.prove("login", "Columbia", "wrong")["tries_left"] == 1
    assert house.greet(address="10.9.9.9").prove("login", "Columbia", "wrong")["status"] == "LOCKED_OUT"
    assert house.greet(address="10.8.8.8").prove("login", "Columbia")["status"] == "LOCKED_OUT"


def test_a_second_login_is_refused(house: House) -> None:
    first = house.login("Columbia", client="one")
    for client in (None, "two"):
        reply = house.greet(client=client).prove("login", "columbia")
        assert (reply["status"], reply["text"]) == ("ALREADY_ONLINE", '"Columbia" is logged in already.')
    assert first.ask("whoelse")["status"] == "OK"


def test_two_logins_at_once_let_one_in(house: House) -> None:
    one, two = house.greet(), house.greet()
    halves = [peer.challenge("login", "Columbia") for peer in (one, two)]
    for peer, (exchange, challenge) in zip((one, two), halves, strict=True):
        peer.say({"action": "login", "scram": peer.final(exchange, challenge, PASSWORD)})
    assert [peer.reply("login")["status"] for peer in (one, two)] == ["OK", "ALREADY_ONLINE"]


def test_a_second_login_replaces_the_first(build: Callable[..., House]) -> None:
    house = build(DUPLICATE_LOGIN="replace")
    watcher = house.login("SEAS")
    first = house.login("Columbia", client="one")
    first.ask("alive", seen=0)
    house.login("facebook").ask("message", to="Columbia", text="not acknowledged")
    watcher.hear()
    second = house.login("Columbia", client="two", address="10.0.0.7")
    assert first.events[-1] == {"event": "bye", "status": "REPLACED", "text": "You logged in again from 10.0.0.7."}
    assert first.closed
    assert second.texts == ["not acknowledged"] and second.heard[-1]["offline"] is True
    assert watcher.events[-1]["user"] == "facebook", "nobody came and nobody left"
    assert house.admin("online users")[0] == "3 online:"


def test_the_same_client_takes_its_session_over(house: House) -> None:
    watcher = house.login("SEAS")
    first = house.login("Columbia", client="the same")
    first.ask("alive", seen=0)
    watcher.hear()
    watcher.ask("message", to="Columbia", text="1")
    second = house.login("Columbia", client="the same")
    assert first.closed
    assert second.texts == ["1"]
    watcher.ask("message", to="Columbia", text="2")
    assert second.texts == ["1", "2"]
    house.pass_time(QUIET)
    assert [event for event in watcher.events if event["event"] == "presence" and event["user"] == "Columbia"] == [
        {"event": "presence", "time": 1_700_000_000.0, "user": "Columbia", "online": True}
    ]
    second.hang_up()
    house.settle()
    assert watcher.events[-1]["online"] is False


def test_a_password_is_changed(house: House) -> None:
    columbia = house.login("Columbia")
    new = str(make_verifier("new password", ITERATIONS, b"new salt new salt"))
    assert columbia.prove("password", "Columbia", verifier=new)["status"] == "OK"
    columbia.ask("logout")
    house.crash()
    house.restart()
    assert house.greet().prove("login", "Columbia")["status"] == "WRONG_PASSWORD"
    assert house.greet().prove("login", "Columbia", "new password")["status"] == "OK"
    assert house.stop() == ""
    assert f"Columbia {new}\n" in house.read("credentials.txt")


def test_a_password_is_not_changed_by_who_does_not_know_it(house: House) -> None:
    columbia = house.login("Columbia")
    assert columbia.prove("password", "facebook", verifier=V)["status"] == "BAD_REQUEST", "another's"
    replies = [columbia.prove("password", "Columbia", "wrong", verifier=V) for _ in range(3 + LOOKED_AT)]
    assert [reply["status"] for reply in replies] == ["WRONG_PASSWORD"] * 2 + ["LOCKED_OUT"] * (1 + LOOKED_AT)
    assert columbia.prove("password", "Columbia", verifier=V)["status"] == "LOCKED_OUT"
    assert columbia.ask("whoelse")["status"] == "OK"


def test_an_account_is_removed_with_its_mail(house: House, talk: Talk) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    columbia.ask("message", to="facebook", text="a secret for facebook")
    columbia.ask("block", user="facebook")
    peer = house.greet()
    assert peer.prove("deregister", "SEAS")["status"] == "ALREADY_ONLINE"
    assert peer.prove("deregister", "facebook", "wrong")["status"] == "WRONG_PASSWORD"
    assert peer.prove("deregister", "facebook")["status"] == "OK"
    assert peer.ask("login", scram="n,,n=facebook,r=12345678")["status"] == "NO_SUCH_USER"
    assert columbia.ask("blacklist")["items"] == ["facebook"], "the name, whoever has it next"
    assert seas.ask("message", to="facebook", text="hi")["status"] == "NO_SUCH_USER"
    house.register("facebook")
    assert house.login("facebook").texts == [], "a namesake gets nothing of it"
    for end in (house.crash, house.stop):
        end()
        house.restart()
        assert "a secret" not in house.read("data/message_rep.txt")
        assert house.login("facebook").texts == []
    assert house.greet().prove("deregister", "Google")["status"] == "OK"
    assert house.stop() == ""
    assert "Google" not in house.read("credentials.txt")


def test_a_blocked_name_stays_blocked_when_it_is_registered_anew(house: House) -> None:
    columbia = house.login("Columbia")
    columbia.ask("block", user="facebook")
    assert house.greet().prove("deregister", "facebook")["status"] == "OK"
    for end in (house.crash, house.stop):
        end()
        house.restart()
        assert house.login("Columbia").ask("blacklist")["items"] == ["facebook"]
        assert house.admin("blocked users")[-1] == "  Columbia blocks facebook"
    house.register("FaceBook")
    for end in (house.crash, house.stop):
        facebook = house.login("facebook")
        assert facebook.ask("message", to="Columbia", text="it is me again")["status"] == "BLOCKED"
        assert facebook.ask("broadcast", text="it is me again")["undelivered"] == 1
        end()
        house.restart()
    columbia = house.login("Columbia")
    assert columbia.texts == []
    assert columbia.ask("blacklist")["items"] == ["FaceBook"]
    assert columbia.ask("unblock", user="facebook")["status"] == "OK"
    house.login("facebook").ask("message", to="Columbia", text="it is me again")
    assert columbia.texts == ["it is me again"]


def test_deregister_and_login_of_the_same_user_cross(house: House) -> None:
    one, two = house.greet(), house.greet()
    exchange, challenge = one.challenge("de-register", "Columbia")
    assert two.prove("login", "Columbia")["status"] == "OK"
    reply = one.ask("de-register", scram=one.final(exchange, challenge, PASSWORD))
    assert reply["status"] == "ALREADY_ONLINE"


# Seats.


def test_full_without_a_waiting_room(build: Callable[..., House]) -> None:
    house = build(MaxCon=1)
    typing = house.greet("typing")
    seated = house.login("Columbia")
    assert typing.events == [{"event": "notice", "time": 1_700_000_000.0, "text": "The last seat has just been taken."}]
    late = house.connect()
    assert late.hello()["status"] == "SERVER_FULL"
    assert late.events[-1]["status"] == "SERVER_FULL" and late.closed
    assert typing.prove("login", "facebook")["status"] == "SERVER_FULL"
    seated.ask("logout")
    assert typing.prove("login", "facebook")["status"] == "OK"


def test_the_same_client_needs_no_second_seat(build: Callable[..., House]) -> None:
    house = build(MaxCon=1)
    house.login("Columbia", client="mine")
    assert house.connect().hello("other")["status"] == "SERVER_FULL"
    again = house.connect()
    assert again.hello("mine")["status"] == "OK"
    assert again.prove("login", "Columbia")["status"] == "OK"


def test_the_waiting_room(build: Callable[..., House]) -> None:
    house = build(MaxCon=1, WAITING_ROOM=3)
    seated = house.login("Columbia")
    one, two, three, four = (house.connect(name) for name in ("one", "two", "three", "four"))
    assert [peer.hello()["status"] for peer in (one, two, three, four)] == ["WAITING"] * 3 + ["SERVER_FULL"]
    assert [peer.heard[0]["position"] for peer in (one, two, three)] == [1, 2, 3]
    assert one.heard[0]["iterations"] == ITERATIONS, "the rest of OK"
    assert two.ask("login", scram="n,,n=SEAS,r=12345678")["status"] == "NOT_ALLOWED"
    two.hang_up()
    house.settle()
    assert one.events == [] and three.events == [{"event": "waiting", "position": 2}]
    house.pass_time(600, 100)
    assert not one.closed and not three.closed, "waiting is no reason to be sent away"
    seated.ask("logout")
    house.settle()
    assert one.events == [{"event": "admitted"}]
    assert three.events[-1] == {"event": "waiting", "position": 1}
    assert house.connect().hello()["status"] == "WAITING", "the seat is offered to the first"
    assert one.prove("login", "facebook")["status"] == "OK"
    assert three.events[-1] == {"event": "waiting", "position": 1}
    one.hang_up()
    house.settle()
    assert three.events[-1] == {"event": "admitted"}


def test_who_was_admitted_and_leaves_gives_the_seat_to_the_next(build: Callable[..., House]) -> None:
    house = build(MaxCon=1, WAITING_ROOM=5)
    seated = house.login("Columbia")
    one, two = house.connect(), house.connect()
    one.hello()
    two.hello()
    house.pass_time(600, 100)
    seated.ask("logout")
    house.settle()
    assert one.events == [{"event": "admitted"}]
    house.pass_time(170, 10)
    assert not one.closed
    house.pass_time(11)
    assert one.events[-1]["status"] == "TIME_OUT", "an offer is good for the time to log in"
    assert two.events[-1] == {"event": "admitted"}


def test_more_seats_by_the_administrator(build: Callable[..., House]) -> None:
    house = build(MaxCon=1, WAITING_ROOM=5)
    house.login("Columbia")
    waiting = [house.connect() for _ in range(3)]
    for peer in waiting:
        peer.hello()
    house.admin("change MaxCon 3")
    assert [peer.events[-1] for peer in waiting] == [{"event": "admitted"}, {"event": "admitted"},
                                                     {"event": "waiting", "position": 1}]  # fmt: skip


def test_too_many_who_do_not_log_in(build: Callable[..., House]) -> None:
    house = build(STRANGERS=3)
    columbia = house.login("Columbia")
    typing = house.greet("typing a password", address="10.0.0.2")
    greedy = [house.connect(address="10.0.0.3") for _ in range(3)]
    house.settle()
    assert greedy[2].events[-1]["status"] == "SERVER_FULL" and greedy[2].closed, "the newest of the greediest address"
    newcomer = house.connect(address="10.0.0.4")
    assert newcomer.hello()["status"] == "OK"
    assert greedy[1].events[-1]["status"] == "SERVER_FULL" and not greedy[0].closed
    assert typing.prove("login", "facebook")["status"] == "OK"
    assert columbia.ask("whoelse")["status"] == "OK"
