"""Proofs of a password: of which account they are, what is said before them, and a change of password in steps."""

from __future__ import annotations

import pytest

from chatlib.protocol.scram import ClientExchange, make_verifier
from tests.server.house import ITERATIONS, PASSWORD, VERIFIER, House, Peer

V = str(VERIFIER)
STRANGERS = str(make_verifier("the stranger's own", ITERATIONS, b"strange strange!"))


def half(house: House, action: str, user: str, password: str = PASSWORD) -> tuple[Peer, str]:
    """A peer with a challenge, and what it will say to it."""
    peer = house.greet()
    exchange, challenge = peer.challenge(action, user)
    return peer, peer.final(exchange, challenge, password)


def in_flight(house: House, *requests: tuple[Peer, dict[str, str]]) -> list[str]:
    """All of them reach the server before the disk has taken the first; the statuses of the replies."""
    house.disk.fast = False
    for peer, request in requests:
        peer.say(request)
        house.settle()
    assert not any(peer.hear() for peer, _ in requests), "nothing is answered before it is on disk"
    house.disk.fast = True
    house.disk.release()
    return [peer.reply(request["action"])["status"] for peer, request in requests]


def test_the_proof_of_an_old_password_does_not_open_a_strangers_account(house: House) -> None:
    leaver, farewell = half(house, "deregister", "SEAS")
    intruder, old_proof = half(house, "login", "SEAS")
    stranger = house.greet()
    assert in_flight(
        house,
        (leaver, {"action": "deregister", "scram": farewell}),
        (stranger, {"action": "register", "user": "SEAS", "verifier": STRANGERS}),
        (intruder, {"action": "login", "scram": old_proof}),
    ) == ["OK", "OK", "WRONG_PASSWORD"]
    assert stranger.prove("login", "SEAS", "the stranger's own")["status"] == "OK"
    house.crash()
    house.restart()
    assert house.greet().prove("login", "SEAS", "the stranger's own")["status"] == "OK"


def test_nor_does_it_remove_the_strangers_account(house: House) -> None:
    leaver, farewell = half(house, "deregister", "SEAS")
    again, twice = half(house, "deregister", "SEAS")
    stranger = house.greet()
    assert in_flight(
        house,
        (leaver, {"action": "deregister", "scram": farewell}),
        (stranger, {"action": "register", "user": "seas", "verifier": STRANGERS}),
        (again, {"action": "deregister", "scram": twice}),
    ) == ["OK", "OK", "WRONG_PASSWORD"]
    assert stranger.prove("login", "SEAS", "the stranger's own")["status"] == "OK"


def test_a_wrong_password_of_the_old_account_does_not_count_against_the_new_one(house: House) -> None:
    leaver, farewell = half(house, "deregister", "SEAS")
    guessers = [half(house, "login", "SEAS", "a guess") for _ in range(3)]
    stranger = house.greet()
    statuses = in_flight(
        house,
        (leaver, {"action": "deregister", "scram": farewell}),
        (stranger, {"action": "register", "user": "SEAS", "verifier": STRANGERS}),
        *((peer, {"action": "login", "scram": guess}) for peer, guess in guessers),
    )
    assert statuses == ["OK", "OK", "WRONG_PASSWORD", "WRONG_PASSWORD", "WRONG_PASSWORD"]
    assert house.greet().prove("login", "SEAS", "wrong")["tries_left"] == 2


def test_a_proof_of_a_password_that_was_changed_meanwhile_neither_lets_in_nor_counts(house: House) -> None:
    changer = house.login("Columbia")
    house.server.world.parameters["DUPLICATE_LOGIN"] = "replace"
    late, old_proof = half(house, "login", "Columbia")
    remover, farewell = half(house, "deregister", "Columbia")
    assert changer.prove("password", "Columbia", verifier=STRANGERS)["status"] == "OK"
    changer.ask("logout")
    reply = late.ask("login", scram=old_proof)
    assert (reply["status"], reply["tries_left"]) == ("WRONG_PASSWORD", 3)
    assert remover.ask("deregister", scram=farewell)["status"] == "WRONG_PASSWORD"
    assert house.greet().prove("login", "Columbia", "wrong")["tries_left"] == 2
    assert house.greet().prove("login", "Columbia", "the stranger's own")["status"] == "OK"


def test_two_changes_of_a_password_that_cross(house: House) -> None:
    columbia = house.login("Columbia")
    exchange, challenge = columbia.challenge("password", "Columbia")
    final = columbia.final(exchange, challenge, PASSWORD)
    house.edit("credentials.txt", f"Columbia {V}", f"Columbia {STRANGERS}")
    house.reload()
    assert columbia.ask("password", scram=final, verifier=V)["status"] == "WRONG_PASSWORD"
    columbia.ask("logout")
    assert house.greet().prove("login", "Columbia", "the stranger's own")["status"] == "OK"


# What is said before the proof.


@pytest.mark.parametrize("action", ["login", "deregister"])
def test_who_does_not_know_the_password_is_not_told_who_is_online(house: House, action: str) -> None:
    house.login("Columbia")
    said = {}
    for user in ("Columbia", "SEAS"):  # one is online, the other is away
        peer = house.greet()
        exchange, challenge = peer.challenge(action, user)
        assert challenge["status"] == "CONTINUE"
        reply = peer.ask(action, scram=peer.final(exchange, challenge, "wrong"))
        said[user] = {**reply, "text": reply["text"].replace(user, "")}
    assert said["Columbia"] == said["SEAS"]
    assert house.greet().prove(action, "Columbia")["status"] == "ALREADY_ONLINE"


def test_whether_a_name_is_free_can_be_asked_before_a_password_is_typed(house: House) -> None:
    peer = house.greet()
    assert peer.ask("register", user="Shuo", id=1) == {"action": "register", "id": 1, "status": "OK", "user": "Shuo"}
    assert peer.ask("register", user="COLUMBIA")["text"] == 'There is a user "Columbia" already.'
    assert peer.ask("register", user="all")["status"] == "USER_EXISTS"
    assert peer.ask("login", scram="n,,n=Shuo,r=x")["status"] == "NO_SUCH_USER", "a question changes nothing"
    lsn = house.server.world.lsn
    assert peer.ask("register", user="Shuo")["status"] == "OK"
    assert house.server.world.lsn == lsn, "nor is it kept"
    house.admin("change REGISTRATION closed")
    assert peer.ask("register", user="Shuo")["status"] == "REGISTRATION_CLOSED"
    assert '"user"' in peer.ask("register")["text"]


def test_a_question_about_a_name_is_answered_behind_what_was_asked_before(house: House) -> None:
    peer = house.greet()
    peer.say({"action": "register", "user": "Shuo", "verifier": V}, {"action": "register", "user": "Shuo"})
    assert [peer.reply("register")["status"] for _ in range(2)] == ["OK", "USER_EXISTS"]


# A change of password in steps.


def prove_old(peer: Peer, password: str = PASSWORD) -> str:
    exchange, challenge = peer.challenge("password", "Columbia")
    reply = peer.ask("password", scram=peer.final(exchange, challenge, password))
    if reply["status"] == "OK":
        exchange.check(reply["scram"])
    status: str = reply["status"]
    return status


def test_a_wrong_old_password_is_told_before_the_new_one_is_typed(house: House) -> None:
    columbia = house.login("Columbia")
    assert prove_old(columbia, "wrong") == "WRONG_PASSWORD"
    assert columbia.ask("password", verifier=STRANGERS)["status"] == "BAD_REQUEST", "nothing was proven"
    assert prove_old(columbia) == "OK"
    reply = columbia.ask("password", verifier=STRANGERS, id=7)
    assert reply == {"action": "password", "id": 7, "status": "OK"}
    assert columbia.ask("password", verifier=V)["status"] == "BAD_REQUEST", "a proof serves once"
    columbia.ask("logout")
    house.crash()
    house.restart()
    assert house.greet().prove("login", "Columbia")["status"] == "WRONG_PASSWORD"
    assert house.greet().prove("login", "Columbia", "the stranger's own")["status"] == "OK"


def test_an_old_password_once_proven_does_not_serve_for_ever(house: House) -> None:
    columbia = house.login("Columbia")
    assert prove_old(columbia) == "OK"
    house.pass_time(200, 20)
    assert "prove the old password first" in columbia.ask("password", verifier=STRANGERS)["text"]
    assert columbia.prove("password", "Columbia", verifier=STRANGERS)["status"] == "OK", "both in one"


def test_the_steps_of_a_change_in_another_order(house: House) -> None:
    columbia = house.login("Columbia")
    assert '"scram" is missing' in columbia.ask("password")["text"]
    exchange, challenge = columbia.challenge("password", "Columbia")
    assert columbia.ask("password", verifier=STRANGERS)["status"] == "BAD_REQUEST", "challenged, not proven"
    assert prove_old(columbia) == "OK"
    final = ClientExchange("Columbia", "x").final(challenge["scram"], b"x" * 32)
    assert columbia.ask("password", scram=final)["status"] == "BAD_REQUEST", "proven already"
    assert columbia.ask("password", verifier=STRANGERS)["status"] == "OK"


def test_a_password_changed_by_hand_ends_a_proof_of_the_old_one(house: House) -> None:
    columbia = house.login("Columbia")
    assert prove_old(columbia) == "OK"
    house.edit("credentials.txt", f"Columbia {V}", f"Columbia {STRANGERS}")
    house.reload()
    assert columbia.ask("password", verifier=V)["status"] == "WRONG_PASSWORD"


# Lockouts behind one address.


def test_a_stranger_behind_the_same_address_locks_nobody_out(house: House) -> None:
    house.login("Columbia", client="mine").ask("logout")
    stranger = house.greet(client="stranger")
    statuses = [stranger.prove("login", "Columbia", "guess")["status"] for _ in range(10)]
    assert statuses == ["WRONG_PASSWORD"] * 2 + ["LOCKED_OUT"] * 8
    house.crash()
    house.restart()
    owner = house.greet(client="a new run")
    assert owner.prove("login", "Columbia")["status"] == "OK"
    new = str(make_verifier("better", ITERATIONS, b"new salt new salt"))
    assert owner.prove("password", "Columbia", verifier=new)["status"] == "OK"
    owner.ask("logout")
    assert house.stop() == ""
    house.restart()
    stranger = house.greet(client="stranger")
    for _ in range(100):
        assert stranger.prove("login", "Columbia", "guess")["status"] == "LOCKED_OUT"
    assert house.greet(client="stranger").prove("login", "Columbia", "better")["status"] == "LOCKED_OUT", "guessed late"
    assert house.greet(client="a new run").prove("login", "Columbia", "better")["status"] == "OK"


def test_the_owner_removes_the_account_while_a_stranger_is_locked_out(house: House) -> None:
    house.login("Columbia").ask("logout")
    for address in ("10.0.0.1", "10.6.6.6"):
        for _ in range(3):
            house.greet(address=address).prove("login", "Columbia", "guess")
    assert house.greet(address="10.6.6.6").prove("deregister", "Columbia")["status"] == "LOCKED_OUT"
    assert house.greet().prove("deregister", "Columbia")["status"] == "OK"


def test_a_clock_set_back_by_a_year_ends_a_lockout(house: House) -> None:
    for _ in range(3):
        house.greet().prove("login", "Columbia", "wrong")
    house.clock.wall_at_start -= 365 * 86_400.0
    house.settle()
    assert house.admin("blocked users")[0] == "Nobody is locked out."
    assert house.greet().prove("login", "Columbia")["status"] == "OK"
