"""Cheques against the real server, over its socket and with its files: who can cash which, and who can write one."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chatlib.client import Client, NoCheque, Refused
from chatlib.protocol.cheque import VALID, Cheque, cheque_key, expiry_of, new_number, parse, write
from chatlib.protocol.scram import Verifier, make_verifier, parse_verifier
from tests.client.conftest import USERS, Server
from tests.client.programs import until
from tests.patience import LIMIT

RICH = 10_000  # what everybody begins with


def client(server: Server, user: str = "", password: str = "", **options: object) -> Client:
    chat = Client("127.0.0.1", server.port, timeout=LIMIT, **options)  # type: ignore[arg-type]
    while user:
        try:
            chat.login(user, password or USERS[user])
            break
        except Refused as refused:
            assert refused.status == "ALREADY_ONLINE"  # the server has not heard yet that a killed one is gone
    return chat


def verifier(server: Server, user: str) -> Verifier:
    """As it stands in the server's file."""
    lines = (server.home / "credentials.txt").read_text().splitlines()
    (found,) = [line.split()[1] for line in lines if line.split()[:1] == [user]]
    return parse_verifier(found)


def key_of(server: Server, user: str) -> bytes:
    """What signs the cheques of a user whose password never changed."""
    return cheque_key(verifier(server, user).server_key)


def refusal(chat: Client, cheque: str) -> str:
    with pytest.raises(Refused) as refused:
        chat.cash(cheque)
    return refused.value.status


def event(chat: Client, kind: str) -> dict[str, object]:
    for each in chat.events(timeout=LIMIT):
        if each["event"] == kind:
            return each
    raise AssertionError(f"no {kind}")


def test_a_cheque_is_cashed_once_and_both_are_told(server: Server, tmp_path: Path) -> None:
    with client(server, "ann", memory=tmp_path) as ann, client(server, "bob") as bob:
        line = ann.write_cheque("BOB", 250, "for tea")
        assert [each.amount for each in ann.cheques()] == [250]
        assert (ann.balance(), bob.balance()) == (RICH, RICH)
        reply = bob.cash("\n ".join(line.split()))
        assert (reply["from"], reply["amount"], reply["memo"], reply["balance"]) == ("ann", 250, "for tea", RICH + 250)
        told = event(ann, "cheque_cashed")
        assert (told["by"], told["number"], told["amount"], told["memo"], told["balance"]) == (
            "bob", parse(line).number, 250, "for tea", RICH - 250)  # fmt: skip
        assert ann.cheques() == []
        assert refusal(bob, line) == "ALREADY_CASHED"
        (entry,) = bob.statement(1)
        assert (entry["kind"], entry["from"], entry["to"], entry["amount"], entry["balance"], entry["memo"]) == (
            "cheque", "ann", "bob", 250, RICH + 250, "for tea")  # fmt: skip
        assert (ann.balance(), bob.balance()) == (RICH - 250, RICH + 250)


def test_asked_again_with_its_key_it_is_still_cashed_once(server: Server) -> None:
    with client(server, "ann") as ann, client(server, "bob") as bob:
        line = ann.write_cheque("bob", 250)
        first = bob.cash(line, key="the one")
        assert {**bob.cash(line, key="the one"), "id": 0} == {**first, "id": 0}
        assert refusal(bob, line) == "ALREADY_CASHED"
        assert bob.balance() == RICH + 250


def test_the_payer_is_away_and_the_server_was_killed_and_started_again(server: Server, tmp_path: Path) -> None:
    with client(server, "ann", memory=tmp_path) as ann:
        line, other = ann.write_cheque("bob", 250), ann.write_cheque("bob", 30)
    with client(server, "bob") as bob:
        bob.cash(line)
    server.kill()
    server.start()
    with client(server, "bob") as bob:
        assert refusal(bob, line) == "ALREADY_CASHED"
        assert bob.balance() == RICH + 250
    server.stop()
    server.start()
    with client(server, "bob") as bob:
        assert refusal(bob, line) == "ALREADY_CASHED"
        bob.cash(other)
        assert bob.balance() == RICH + 280
    with client(server, "ann", memory=tmp_path) as ann:
        assert ann.cheques() == [], "the client was told what was cashed while it was away"
        assert [event(ann, "cheque_cashed")["amount"] for _ in range(2)] == [250, 30]
        assert ann.balance() == RICH - 280


def test_a_cheque_is_written_while_the_server_is_away(server: Server) -> None:
    with client(server, "ann") as ann:
        server.stop()
        line = ann.write_cheque("bob", 250)
        server.start()
        with client(server, "bob") as bob:
            assert bob.cash(line)["amount"] == 250
        assert ann.balance() == RICH - 250, "the client has come back"


def test_what_was_altered_is_refused_whichever_field_or_character_it_is(house: Callable[..., Server]) -> None:
    server = house(FSYNC="second")
    with client(server, "ann") as ann, client(server, "bob") as bob:
        line = ann.write_cheque("bob", 250, "tea")
        cheque, words = parse(line), line.split(" ")
        changes: list[dict[str, object]] = [
            {"payer": "carl"}, {"payer": "Ann"}, {"payee": "Bob"}, {"payee": "carl"}, {"amount": 2_500}, {"amount": 1},
            {"number": new_number()}, {"expiry": cheque.expiry + 1}, {"expiry": cheque.expiry - 1}, {"memo": ""},
            {"memo": "tee"},
        ]  # fmt: skip
        for change in changes:
            altered = write(replace(cheque, **change), b"").split(" ")  # type: ignore[arg-type]
            assert refusal(bob, " ".join([*altered[:6], words[6], *altered[7:]])) == "BAD_CHEQUE", change
        for place, char in enumerate(line):
            other = "1" if char == "0" else "0"
            status = refusal(bob, line[:place] + other + line[place + 1 :])
            assert status == "BAD_CHEQUE" or (status == "NO_SUCH_USER" and line[:place].count(" ") == 1), (place, other)
            assert refusal(bob, line[:place] + line[place + 1 :]) in ("BAD_CHEQUE", "NO_SUCH_USER"), place
        assert bob.balance() == RICH
        assert bob.cash(line)["amount"] == 250, "nothing of that has used it up"


@pytest.mark.parametrize("line", ["cheque/1", "hello", "c" * 400, "cheque/2 ann bob 1 0 0 0", "cheque/1 " + "x " * 150])
def test_what_is_no_cheque(server: Server, line: str) -> None:
    with client(server, "bob") as bob:
        assert refusal(bob, line) == "BAD_CHEQUE"


def test_what_the_wire_lets_nobody_ask(server: Server) -> None:
    with client(server, "bob") as bob:
        for bad in ("", "c" * 401, "a\x00b", 7, None, ["cheque/1"]):
            with pytest.raises(Refused) as refused:
                bob.request("cash", {"cheque": bad})
            assert refused.value.status == "BAD_CHEQUE"


def test_a_payee_cannot_write_one_for_oneself(server: Server) -> None:
    """With all that a payee has: a cheque that was cashed, one's own key, and keys that anybody can make."""
    with client(server, "ann") as ann, client(server, "bob") as bob:
        line = ann.write_cheque("bob", 1)
        bob.cash(line)
        made = replace(parse(line), number=new_number(), amount=RICH)
        salt = verifier(server, "ann").salt
        keys = (key_of(server, "bob"), b"", bytes(32), cheque_key(b""), cheque_key(salt), salt,
                cheque_key(make_verifier("bob-password", 4096, salt).server_key),
                verifier(server, "ann").stored_key)  # fmt: skip
        for key in keys:
            assert refusal(bob, write(made, key)) == "BAD_CHEQUE"
        assert refusal(bob, write(replace(made, payer="bob"), key_of(server, "bob"))) == "SELF_PAYMENT"
        assert refusal(bob, write(replace(made, payer="nobody"), bytes(32))) == "NO_SUCH_USER"
        assert refusal(bob, write(replace(made, payer="admin"), bytes(32))) == "NO_SUCH_USER"
        assert bob.balance() == RICH + 1


def test_nobody_else_cashes_it(server: Server) -> None:
    with client(server, "ann") as ann, client(server, "carl") as carl, client(server, "bob") as bob:
        line = ann.write_cheque("bob", 250)
        assert refusal(carl, line) == "NOT_PAYEE"
        assert refusal(ann, line) == "NOT_PAYEE"
        assert bob.cash(line)["amount"] == 250


@pytest.mark.parametrize(("seconds", "status"), [
    (-VALID, "EXPIRED"),
    (-5, "EXPIRED"),
    (2 * VALID, "BAD_CHEQUE"),
    (400 * VALID, "BAD_CHEQUE"),
])  # fmt: skip
def test_it_is_good_for_seven_days_whatever_its_writer_says(server: Server, seconds: int, status: str) -> None:
    with client(server, "bob") as bob:
        cheque = Cheque("ann", "bob", 250, new_number(), round(time.time()) + seconds)
        assert refusal(bob, write(cheque, key_of(server, "ann"))) == status
        assert bob.balance() == RICH


def test_a_new_password_voids_what_was_not_cashed(server: Server, tmp_path: Path) -> None:
    with client(server, "ann", memory=tmp_path) as ann, client(server, "bob") as bob:
        line, cashed = ann.write_cheque("bob", 250), ann.write_cheque("bob", 1)
        bob.cash(cashed)
        ann.change_password(USERS["ann"], "another")
        assert refusal(bob, line) == "BAD_CHEQUE"
        assert refusal(bob, cashed) == "BAD_CHEQUE"
        assert ann.cheques() == []
        assert bob.cash(ann.write_cheque("bob", 30))["amount"] == 30
        ann.change_password("another", USERS["ann"])
        assert refusal(bob, line) == "BAD_CHEQUE", "the same word is another password"
    server.kill()
    server.start()
    with client(server, "bob") as bob:
        assert refusal(bob, line) == "BAD_CHEQUE"
        assert bob.balance() == RICH + 31


def test_a_password_given_by_hand_voids_them_too(server: Server, tmp_path: Path) -> None:
    with client(server, "ann", memory=tmp_path) as ann:
        line = ann.write_cheque("bob", 250)
    server.stop()
    path = server.home / "credentials.txt"
    lines = [line for line in path.read_text().splitlines() if line.split()[0] != "ann"]
    path.write_text("\n".join([*lines, "ann by-hand"]) + "\n")
    server.start()
    with client(server, "bob") as bob:
        assert refusal(bob, line) == "BAD_CHEQUE"
    with client(server, "ann", "by-hand", memory=tmp_path) as ann:
        assert ann.cheques() == []


def test_a_payer_who_has_too_little_may_have_enough_later(server: Server) -> None:
    with client(server, "ann") as ann, client(server, "bob") as bob, client(server, "carl") as carl:
        line = ann.write_cheque("bob", RICH)
        ann.pay("carl", 1)
        assert refusal(bob, line) == "INSUFFICIENT_FUNDS"
        assert (ann.balance(), bob.balance()) == (RICH - 1, RICH)
        carl.pay("ann", 1)
        assert bob.cash(line)["balance"] == 2 * RICH
        assert ann.balance() == 0


def registered_anew(server: Server, user: str) -> None:
    with client(server) as chat:
        chat.deregister(user, USERS[user])
        chat.register(user, USERS[user])


def test_a_payer_who_was_removed_and_registered_anew(server: Server) -> None:
    with client(server, "ann") as ann:
        line, cashed = ann.write_cheque("bob", 250), ann.write_cheque("bob", 1)
    with client(server, "bob") as bob, client(server) as other:
        bob.cash(cashed)
        other.deregister("ann", USERS["ann"])
        assert refusal(bob, line) == "NO_SUCH_USER"
        other.register("ann", USERS["ann"])
        assert refusal(bob, line) == "BAD_CHEQUE", "the same name and password are another account"
        assert refusal(bob, cashed) == "BAD_CHEQUE"
        assert bob.balance() == RICH + 1


def register_dora(server: Server) -> None:
    """Always with the same salt."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as sock, sock.makefile("rw") as lines:
        for request in ({"action": "hello", "protocol": 1},
                        {"action": "register", "user": "dora",
                         "verifier": str(make_verifier("dora-password", 4096, bytes(16)))}):  # fmt: skip
            lines.write(json.dumps(request) + "\n")
            lines.flush()
            assert json.loads(lines.readline())["status"] == "OK"


def test_an_account_that_was_made_anew_with_the_same_verifier_pays_none_of_the_earlier_ones(server: Server) -> None:
    """A client chooses the salt: the key may be the same, and the number, once cashed, forgotten."""
    register_dora(server)
    with client(server, "dora", "dora-password") as dora:
        line, cashed = dora.write_cheque("bob", 250), dora.write_cheque("bob", 1)
    with client(server, "bob") as bob:
        bob.cash(cashed)
        until(lambda: time.time() > parse(line).written)  # its writer's clock gave it the second that had begun
        with client(server) as chat:
            chat.deregister("dora", "dora-password")
        register_dora(server)
        assert {refusal(bob, line), refusal(bob, cashed)} <= {"BAD_CHEQUE", "ALREADY_CASHED"}
        assert bob.balance() == RICH + 1


def test_a_payee_who_was_removed_and_the_name_registered_anew(server: Server) -> None:
    with client(server, "ann") as ann:
        line = ann.write_cheque("bob", 250)
        until(lambda: time.time() > parse(line).written)
        registered_anew(server, "bob")
        with client(server, "bob") as other:
            assert refusal(other, line) == "BAD_CHEQUE"
            assert other.balance() == RICH
            assert other.cash(ann.write_cheque("bob", 30))["amount"] == 30


def test_a_cheque_of_a_clock_that_is_a_little_ahead_is_taken(server: Server) -> None:
    with client(server, "bob") as bob:
        ahead = Cheque("ann", "bob", 250, new_number(), expiry_of(time.time() + 600))
        assert bob.cash(write(ahead, key_of(server, "ann")))["amount"] == 250


def test_a_session_hears_that_another_one_has_changed_the_password(house: Callable[..., Server]) -> None:
    server = house(DUPLICATE_LOGIN="share")
    with client(server, "ann") as desk, client(server, "ann") as laptop, client(server, "bob") as bob:
        desk.change_password(USERS["ann"], "another")
        line = laptop.write_cheque("bob", 250)
        assert refusal(bob, line) == "BAD_CHEQUE"
        assert laptop.cheques() == []
        with pytest.raises(NoCheque, match="log in again"):
            laptop.write_cheque("bob", 250)
        assert bob.cash(desk.write_cheque("bob", 30))["amount"] == 30
