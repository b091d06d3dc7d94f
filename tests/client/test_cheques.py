"""A client's cheques against a fake server: key, book on disk, what voids them, and those that one was given."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from chatlib.client import cheques as module
from chatlib.client import kept
from chatlib.client.cheques import Cheques, NoCheque
from chatlib.client.conversation import Conversation
from chatlib.client.memory import FileMemory
from chatlib.protocol.cheque import VALID, Cheque, cheque_key, fingerprint, parse, signed, write
from chatlib.protocol.scram import Verifier
from tests.client.fake_server import FakeServer, Wire

TIME = 1_800_000_000


class Payer:
    """bob, with a book in a folder."""

    def __init__(self, folder: Path | None, server: FakeServer | None = None) -> None:
        self.complaints: list[str] = []
        self.memory = FileMemory(folder) if folder else None
        self.wire = Wire(Conversation(self.memory), server)
        self.wire.server.hello["time"] = TIME
        beside = self.memory.beside if self.memory else lambda _: None
        self.cheques = Cheques(self.wire.conversation, beside, self.complaints.append)

    def log_in(self, password: str = "secret") -> Payer:
        self.hears(self.wire.log_in(password=password))
        return self

    def hears(self, news: list[Any]) -> None:
        for item in news:
            self.cheques.heard(item)

    def writes(self, amount: int = 5, to: str = "ann", memo: str = "") -> str:
        return self.cheques.write(to, amount, memo, self.wire.now)

    @property
    def key(self) -> bytes:
        """What the server would look at the cheques with."""
        return cheque_key(verifier(self).server_key)

    def book(self) -> list[int]:
        return [cheque.amount for cheque in self.cheques.written(self.wire.now)]

    def changes_password(self, new: str) -> None:
        conversation = self.wire.conversation
        conversation.change_password(self.wire.now)
        self.wire.run()
        conversation.give_password("secret")
        conversation.prove(self.wire.now, new)
        self.hears(self.wire.run())

    def ends(self) -> None:
        self.cheques.close()
        if self.memory:
            self.memory.close()


def verifier(payer: Payer) -> Verifier:
    return payer.wire.server.verifiers["bob"]


def said(payer: Payer, reply: dict[str, Any]) -> None:
    """The server's answer to ``cheques``."""
    payer.wire.server.scripted["cheques"] = [reply]
    payer.wire.conversation.request("cheques", {}, payer.wire.now)
    payer.hears(payer.wire.run())


def tells(payer: Payer, event: dict[str, Any]) -> None:
    payer.wire.server.say(event)
    payer.hears(payer.wire.run())


# The key, and the time.


def test_the_server_knows_the_cheque_by_the_verifier_alone() -> None:
    payer = Payer(None).log_in()
    line = payer.writes(250, "Ann", "rent  of\tMay")
    cheque = parse(line)
    assert (cheque.payer, cheque.payee, cheque.amount, cheque.memo) == ("bob", "Ann", 250, "rent of May")
    assert cheque.expiry == TIME + VALID
    assert signed(line, payer.key)


def test_nobody_writes_before_the_login_or_after_the_end() -> None:
    payer = Payer(None)
    with pytest.raises(NoCheque, match="logged in"):
        payer.writes()
    payer.log_in()
    payer.wire.conversation.logout(payer.wire.now)
    payer.hears(payer.wire.run())
    assert payer.wire.conversation.signature is None
    with pytest.raises(NoCheque, match="logged in"):
        payer.writes()


def test_the_key_stays_while_the_server_is_away_and_when_it_is_back() -> None:
    payer = Payer(None).log_in()
    payer.hears(payer.wire.cut())
    payer.wire.now += 3_600
    line = payer.writes()
    assert signed(line, payer.key)
    assert parse(line).expiry == TIME + 3_600 + VALID, "time goes on by the server's clock"
    payer.wire.connect()
    payer.hears(payer.wire.news)
    assert signed(payer.writes(), payer.key)
    assert payer.book() == [5, 5]


def test_the_clock_follows_what_the_server_says() -> None:
    payer = Payer(None).log_in()
    conversation = payer.wire.conversation
    payer.wire.server.post("hi", time=TIME + 50.5)
    payer.wire.run()
    assert conversation.server_time(payer.wire.now + 1) == TIME + 51.5
    payer.wire.server.post("late", time=TIME - 1_000)
    for nonsense in (float("inf"), float("nan"), -5, "noon", None, 1e300, True):
        payer.wire.server.say({"event": "notice", "time": nonsense, "text": ""})
    payer.wire.run()
    assert conversation.server_time(payer.wire.now) == TIME + 50.5
    payer.wire.server.hello["time"] = TIME - 7
    payer.wire.cut()
    payer.wire.connect()
    assert conversation.server_time(payer.wire.now) == TIME - 7, "a clock that was set back"


def test_a_new_password_signs_from_now_on_and_voids_what_was_signed_before(tmp_path: Path) -> None:
    payer = Payer(tmp_path).log_in()
    old = payer.writes(5)
    payer.changes_password("another")
    assert payer.book() == []
    assert payer.cheques.take_voided() == [], "it was said before"
    new = payer.writes(6)
    assert signed(new, payer.key) and not signed(old, payer.key)
    payer.hears(payer.wire.cut())
    payer.wire.connect()
    payer.hears(payer.wire.news)
    assert payer.book() == [6]
    assert signed(payer.writes(), payer.key)


def test_a_password_that_was_not_changed_voids_nothing() -> None:
    payer = Payer(None).log_in()
    payer.writes(5)
    payer.wire.server.scripted["password"] = [{"status": "LOCKED_OUT", "text": "No."}]
    payer.wire.conversation.change_password(payer.wire.now)
    payer.hears(payer.wire.run())
    assert payer.book() == [5]
    assert signed(payer.writes(), payer.key)


@pytest.mark.parametrize("taken", [False, True])
def test_a_change_of_password_whose_answer_is_lost(taken: bool) -> None:
    payer = Payer(None).log_in()
    payer.writes(5)
    conversation = payer.wire.conversation
    conversation.change_password(payer.wire.now)
    payer.wire.run()
    conversation.give_password("secret")
    conversation.prove(payer.wire.now, "another")
    if taken:
        payer.wire.server.feed(conversation.take_output())
    payer.hears(payer.wire.cut())
    payer.wire.connect()
    payer.hears(payer.wire.news)
    assert payer.book() == ([] if taken else [5])
    assert signed(payer.writes(), payer.key)


# The book.


def test_the_book_is_there_again_without_key_or_mac(tmp_path: Path) -> None:
    payer = Payer(tmp_path).log_in()
    lines = [payer.writes(amount, memo="for tea") for amount in (5, 6, 7)]
    payer.ends()
    path = tmp_path / "e1" / "bob.cheques"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept_bytes = path.read_bytes()
    for secret in (payer.key, verifier(payer).server_key, verifier(payer).stored_key):
        assert secret not in kept_bytes and secret.hex().encode() not in kept_bytes
    assert fingerprint(payer.key).encode() not in kept_bytes, "nor anything to try passwords on"
    for line in lines:
        assert line.split(" ")[6].encode() not in kept_bytes
    again = Payer(tmp_path, payer.wire.server).log_in()
    assert [write(cheque, again.key) for cheque in again.cheques.written(again.wire.now)] == lines


def test_who_writes_no_cheques_has_no_file(tmp_path: Path) -> None:
    payer = Payer(tmp_path).log_in()
    assert payer.cheques.written(payer.wire.now) == []
    assert sorted(path.name for path in (tmp_path / "e1").iterdir()) == ["bob.outbox", "bob.seen"]


def test_a_cheque_that_was_cashed_leaves_the_book(tmp_path: Path) -> None:
    payer = Payer(tmp_path).log_in()
    number = parse(payer.writes(5)).number
    payer.writes(6, memo="a secret")
    tells(payer, {"event": "cheque_cashed", "seq": 1, "by": "ann", "number": number, "amount": 5})
    tells(payer, {"event": "cheque_cashed", "seq": 2, "by": "ann", "number": "0" * 16, "amount": 5})
    assert payer.book() == [6]
    payer.ends()
    again = Payer(tmp_path, payer.wire.server).log_in()
    assert again.book() == [6]
    tells(again, {"event": "cheque_cashed", "seq": 3, "number": again.cheques.written(0)[0].number})
    assert (tmp_path / "e1" / "bob.cheques").read_bytes() == b""


def test_the_server_is_asked_what_was_cashed_elsewhere() -> None:
    payer = Payer(None).log_in()
    number = parse(payer.writes(5)).number
    payer.writes(6)
    said(payer, {"status": "OK", "key": fingerprint(payer.key), "items": [{"number": number, "expiry": 1}, 7]})
    assert payer.book() == [6]


def test_a_password_that_was_changed_by_hand_under_the_session(tmp_path: Path) -> None:
    payer = Payer(tmp_path).log_in()
    cheque = parse(payer.writes(5))
    said(payer, {"status": "OK", "key": "0123456789abcdef", "items": []})
    assert payer.book() == []
    assert payer.cheques.take_voided() == [cheque]
    assert payer.cheques.take_voided() == []
    with pytest.raises(NoCheque, match="log in again"):
        payer.writes()


def test_a_password_that_was_changed_while_this_client_did_not_run(tmp_path: Path) -> None:
    payer = Payer(tmp_path).log_in()
    cheque = parse(payer.writes(5))
    payer.ends()
    elsewhere = Payer(None, payer.wire.server).log_in()
    elsewhere.changes_password("another")
    again = Payer(tmp_path, payer.wire.server).log_in("another")
    assert again.book() == []
    assert again.cheques.take_voided() == [cheque]


def test_a_cheque_that_has_expired_leaves_the_book() -> None:
    payer = Payer(None).log_in()
    payer.writes(5)
    payer.wire.now += VALID - 1
    assert payer.book() == [5]
    payer.wire.now += 1
    assert payer.book() == []


def test_a_book_that_is_torn_or_edited(tmp_path: Path) -> None:
    payer = Payer(tmp_path).log_in()
    payer.writes(5)
    payer.writes(6)
    payer.ends()
    path = tmp_path / "e1" / "bob.cheques"
    one, other = path.read_bytes().splitlines(keepends=True)
    wrong = {**json.loads(one), "amount": "5"}
    path.write_bytes(one + b"\xff\n[]\n{}\n\n" + json.dumps(wrong).encode() + b"\n" + b"  \n" + other[:-9])
    again = Payer(tmp_path, payer.wire.server).log_in()
    assert again.book() == [5]
    assert path.read_bytes() == one
    again.writes(7)
    assert again.book() == [5, 7]
    again.ends()
    assert Payer(tmp_path, payer.wire.server).log_in().book() == [5, 7]


def test_another_server_has_another_book(tmp_path: Path) -> None:
    payer = Payer(tmp_path).log_in()
    payer.writes(5)
    payer.wire.server.hello["epoch"] = "e2"
    payer.hears(payer.wire.cut())
    payer.wire.connect()
    payer.hears(payer.wire.news)
    assert payer.book() == []
    payer.wire.server.hello["epoch"] = "e1"
    payer.hears(payer.wire.cut())
    payer.wire.connect()
    payer.hears(payer.wire.news[-3:])
    assert payer.book() == [5]


def test_a_disk_that_fails_is_told_once_and_the_book_goes_on_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payer = Payer(tmp_path).log_in()
    payer.writes(5)
    monkeypatch.setattr(kept.os, "pwrite", lambda *_: 3)
    payer.writes(6)
    monkeypatch.undo()
    payer.writes(7)
    (complaint,) = payer.complaints
    assert complaint.startswith("Cheques are forgotten when this client has ended: No space left on device (")
    assert payer.book() == [5, 6, 7]
    payer.hears(payer.wire.cut())
    payer.wire.connect()
    payer.hears(payer.wire.news[-3:])
    assert payer.book() == [5, 6, 7]


def test_a_book_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "e1").mkdir()
    (tmp_path / "e1" / "bob.cheques").mkdir()
    payer = Payer(tmp_path).log_in()
    assert "Is a directory" in payer.complaints[0]
    assert signed(payer.writes(), payer.key)


def test_the_file_does_not_grow_with_what_was_cashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_SIZE", 2_000)
    payer = Payer(tmp_path).log_in()
    payer.writes(1)
    for amount in range(2, 60):
        number = parse(payer.writes(amount)).number
        tells(payer, {"event": "cheque_cashed", "seq": amount, "number": number})
    assert (tmp_path / "e1" / "bob.cheques").stat().st_size <= 2_000
    payer.ends()
    assert Payer(tmp_path, payer.wire.server).log_in().book() == [1]


def test_no_more_than_so_many_are_open_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WRITTEN", 2)
    payer = Payer(None).log_in()
    payer.writes(), payer.writes()
    with pytest.raises(NoCheque, match="2 cheques that are not cashed yet"):
        payer.writes()


@pytest.mark.parametrize(("to", "amount", "memo", "why"), [
    ("BOB", 5, "", "to yourself"),
    ("ann", 0, "", "from 1 to"),
    ("ann", 10**12 + 1, "", "from 1 to"),
    ("a nn", 5, "", "a user's name"),
    ("ann", 5, "m" * 201, "at most 200"),
])  # fmt: skip
def test_what_cannot_be_written_is_not_in_the_book(to: str, amount: int, memo: str, why: str) -> None:
    payer = Payer(None).log_in()
    with pytest.raises(NoCheque, match=why):
        payer.writes(amount, to, memo)
    assert payer.book() == []


# Those that one is given.


def cheque(number: int = 1, payer: str = "Ann", payee: str = "bob", expiry: int = TIME + VALID) -> str:
    return write(Cheque(payer, payee, 30, f"{number:016x}", expiry, "for tea"), b"ann's")


def test_a_book_that_was_open_to_others_is_not_any_more(tmp_path: Path) -> None:
    Payer(tmp_path).log_in().ends()
    for name in ("bob.cashable", "bob.cashable.new"):
        (tmp_path / "e1" / name).touch(0o666)
        (tmp_path / "e1" / name).chmod(0o666)
    payee = Payer(tmp_path).log_in()
    for number in (1, 2):
        payee.cheques.give(cheque(number), "ann", payee.wire.now)
        assert stat.S_IMODE((tmp_path / "e1" / "bob.cashable").stat().st_mode) == 0o600
        payee.ends()
        payee = Payer(tmp_path).log_in()


def test_a_cheque_that_was_given_is_kept_until_it_is_cashed(tmp_path: Path) -> None:
    payee = Payer(tmp_path).log_in()
    line = cheque()
    given = payee.cheques.give(line.replace(" ", "\n  "), "ann", payee.wire.now)
    assert given == parse(line)
    assert payee.cheques.give(line, "ann", payee.wire.now) == given, "twice is once"
    payee.ends()
    assert stat.S_IMODE((tmp_path / "e1" / "bob.cashable").stat().st_mode) == 0o600
    again = Payer(tmp_path, payee.wire.server).log_in()
    assert again.cheques.given(again.wire.now) == [given]
    assert again.cheques.lines("000000000000000" + "1") == [line]
    assert again.cheques.lines("1") == []
    for status, left in (("INSUFFICIENT_FUNDS", [given]), ("OK", [])):
        again.wire.server.scripted["cash"] = [{"status": status}]
        again.wire.conversation.request("cash", {"cheque": line}, again.wire.now)
        again.hears(again.wire.run())
        assert again.cheques.given(again.wire.now) == left
    assert (tmp_path / "e1" / "bob.cashable").read_bytes() == b""


@pytest.mark.parametrize("status", ["BAD_CHEQUE", "NOT_PAYEE", "ALREADY_CASHED", "EXPIRED", "NO_SUCH_USER"])
def test_a_cheque_that_will_never_be_paid_is_let_go(status: str) -> None:
    payee = Payer(None).log_in()
    payee.cheques.give(cheque(), "ann", payee.wire.now)
    payee.wire.server.scripted["cash"] = [{"status": status}]
    payee.wire.conversation.request("cash", {"cheque": cheque()}, payee.wire.now)
    payee.hears(payee.wire.run())
    assert payee.cheques.given(payee.wire.now) == []


@pytest.mark.parametrize(("line", "why"), [
    ("hello", "begins with"),
    (cheque()[:-1] + "\u202e", "copied"),
    (cheque(payer="carl"), "carl pays"),
    (cheque(payee="carl"), "Only carl"),
    (cheque(expiry=TIME), "expired"),
])  # fmt: skip
def test_what_the_server_would_refuse_is_not_taken(line: str, why: str) -> None:
    payee = Payer(None).log_in()
    with pytest.raises(NoCheque, match=why):
        payee.cheques.give(line, "ann", payee.wire.now)
    assert payee.cheques.given(payee.wire.now) == []


def test_a_cheque_that_has_expired_is_not_kept() -> None:
    payee = Payer(None).log_in()
    payee.cheques.give(cheque(), "ann", payee.wire.now)
    payee.wire.now += VALID
    assert payee.cheques.given(payee.wire.now) == []
    assert payee.cheques.lines(f"{1:016x}") == []


def test_one_who_sends_many_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GIVEN_BY_ONE", 2)
    monkeypatch.setattr(module, "MAX_GIVEN", 4)
    payee = Payer(None).log_in()
    for payer in ("ann", "carl"):
        for number in range(2):
            payee.cheques.give(cheque(number, payer), payer, payee.wire.now)
        with pytest.raises(NoCheque, match="Too many"):
            payee.cheques.give(cheque(3, payer), payer, payee.wire.now)
    with pytest.raises(NoCheque, match="Too many"):
        payee.cheques.give(cheque(1, "dora"), "dora", payee.wire.now)
    assert len(payee.cheques.lines(f"{1:016x}")) == 2, "a number that somebody chose like another's takes nothing away"


def test_a_forged_line_with_the_number_of_a_good_one_takes_nothing_away(tmp_path: Path) -> None:
    """Whoever wrote the good one might like to have it back."""
    payee = Payer(tmp_path).log_in()
    good = cheque()
    forged = write(Cheque("Ann", "bob", 1, f"{1:016x}", TIME + VALID, ""), b"nobody's")
    for line in (good, forged):
        payee.cheques.give(line, "ann", payee.wire.now)
    assert payee.cheques.lines(f"{1:016x}") == [good, forged]
    assert payee.cheques.numbers() == [f"{1:016x}"]
    payee.ends()
    again = Payer(tmp_path, payee.wire.server).log_in()
    again.wire.server.scripted["cash"] = [{"status": "OK"}, {"status": "BAD_CHEQUE"}]
    assert again.cheques.lines(f"{1:016x}") == [good, forged]
    for line in (good, forged):
        again.wire.conversation.request("cash", {"cheque": line}, again.wire.now)
    again.hears(again.wire.run())
    assert again.cheques.given(again.wire.now) == []


def test_nobody_elses_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "e1").mkdir()
    target = tmp_path / "precious"
    target.write_text("precious")
    os.symlink(target, tmp_path / "e1" / "bob.cheques")
    payer = Payer(tmp_path).log_in()
    payer.writes(5)
    assert target.read_text() == "precious"
