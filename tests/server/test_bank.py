"""Money in the house: what is refused at the edge, what survives stops and crashes, what is damaged, and the audit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatlib.core.audit import Audit, Disagreement
from chatlib.core.bank import bank_of
from chatlib.core.ledger import NAME, START
from chatlib.storage import appendfile
from chatlib.storage.textfile import FileError
from tests import ledger
from tests.chance import new_chance
from tests.server.house import PASSWORD, VERIFIER, House, Peer
from tests.server.test_recovery import flip, refused

USERS = ("Columbia", "facebook", "Google", "SEAS")


def path_of(house: House) -> Path:
    return house.folder / "data" / NAME


def balances(house: House) -> dict[str, int]:
    """As the ledger has them; everything is there that was answered."""
    house.settle()
    found = ledger.read(path_of(house)).balances
    books = bank_of(house.server.world).books
    assert found == {user: book.balance for user, book in books.items()}
    return found


def audit(house: House) -> str:
    """The last that the console says about one."""
    house.heard_by_admin()
    house.console.line("audit")
    house.wait_for(lambda: not house.console.busy)
    return house.heard_by_admin()[-1]


def paid(house: House) -> Peer:
    """Some of it in the text files, some in the journal."""
    columbia = house.login("Columbia")
    for number in range(5):
        assert columbia.ask("pay", to="SEAS", amount=10, memo=f"saved {number}", key=f"s{number}")["status"] == "OK"
    assert house.save() == ["Saved."]
    for number in range(5):
        columbia.ask("pay", to="SEAS", amount=1, memo=f"journaled {number}", key=f"j{number}")
    house.pass_time(1.0)
    return columbia


# At the edge.


@pytest.mark.parametrize(("fields", "status"), [
    ({"amount": 5}, "BAD_REQUEST"), ({"amount": 0, "key": "k"}, "BAD_AMOUNT"),
    ({"amount": -5, "key": "k"}, "BAD_AMOUNT"), ({"amount": 1.5, "key": "k"}, "BAD_AMOUNT"),
    ({"amount": "5", "key": "k"}, "BAD_AMOUNT"),
    ({"amount": True, "key": "k"}, "BAD_AMOUNT"), ({"amount": 10**12 + 1, "key": "k"}, "BAD_AMOUNT"),
    ({"key": "k"}, "BAD_REQUEST"), ({"amount": 5, "key": "k", "memo": ""}, "BAD_REQUEST"),
    ({"amount": 5, "key": "k", "memo": "x" * 201}, "BAD_REQUEST"),
    ({"amount": 20_000, "key": "k"}, "INSUFFICIENT_FUNDS"),
])  # fmt: skip
def test_what_is_refused(house: House, fields: dict[str, Any], status: str) -> None:
    columbia = house.login("Columbia")
    assert columbia.ask("pay", to="SEAS", **fields)["status"] == status
    assert columbia.ask("balance")["balance"] == 10_000


def test_the_payee_hears_at_once_or_at_the_next_login(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("pay", to="facebook", amount=7, memo="tea", key="k1")
    columbia.ask("pay", to="SEAS", amount=8, key="k2")
    told = facebook.hear()[-1]
    assert (told["event"], told["from"], told["amount"], told["memo"], told["balance"]) == (
        "payment", "Columbia", 7, "tea", 10_007)  # fmt: skip
    seas = house.login("SEAS")
    waited = [event for event in seas.events if event["event"] == "payment"]
    assert [(event["from"], event["amount"], event["offline"]) for event in waited] == [("Columbia", 8, True)]
    assert house.admin("grant seas 5") == ["SEAS has been given 5, and has 10,013 now."]
    assert house.admin("grant nobody 5") == ['Error! There is no user "nobody".']
    assert house.admin("grant seas 1.5")[0].startswith("Error! Usage: grant <user> <amount>")
    assert seas.hear()[-1]["balance"] == 10_013


def test_a_statement_of_hundreds_of_entries_comes_in_pages(house: House) -> None:
    columbia = house.login("Columbia")
    for number in range(120):
        columbia.ask("pay", to="SEAS", amount=1, memo=str(number), key=f"k{number}")
    found: list[dict[str, Any]] = []
    page = columbia.ask("statement", count=1_000)
    while True:
        found = page["items"] + found
        if "next" not in page:
            break
        page = columbia.ask("statement", count=1_000, before=page["next"])
    assert [item["memo"] for item in found] == ["", *map(str, range(120))] and found[-1]["balance"] == 9_880


# Stops, crashes, people's edits.


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_the_books_are_the_same_after_it(house: House, how: str) -> None:
    paid(house)
    before, lines = balances(house), path_of(house).read_bytes()
    assert before["columbia"] == 9_945 and before["seas"] == 10_055 and before["*"] == -40_000
    for _ in range(2):
        getattr(house, how)()
        house.restart()
        assert balances(house) == before and path_of(house).read_bytes() == lines
        assert house.login("Columbia").ask("pay", to="SEAS", amount=10, memo="saved 0", key="s0")["balance"] == 9_990
        assert balances(house) == before, "a retry gets its first reply, and changes nothing"


def test_a_save_does_not_write_the_ledger_anew(house: House) -> None:
    paid(house)
    number, changed = path_of(house).stat().st_ino, path_of(house).stat().st_mtime_ns
    assert house.save() == ["Saved."] and house.stop() == ""
    assert (path_of(house).stat().st_ino, path_of(house).stat().st_mtime_ns) == (number, changed)


def test_a_crash_in_the_middle_of_a_save(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new set holds, but is not in its place yet; then it is not even whole."""
    columbia = paid(house)
    with monkeypatch.context() as patched:
        patched.setattr("chatlib.storage.checkpoint._move", lambda folder: None)
        house.save()
    columbia.ask("pay", to="SEAS", amount=100, key="late")
    before = balances(house)
    house.crash()
    house.restart()
    assert balances(house) == before
    house.login("Columbia").ask("pay", to="SEAS", amount=100, key="later")
    before = balances(house)
    with monkeypatch.context() as patched:
        patched.setattr("chatlib.storage.checkpoint._manifest", lambda rows: 1 / 0)
        assert house.save() != ["Saved."]
    house.crash()
    house.restart()
    assert balances(house) == before and audit(house).startswith("The books are right: ")


def test_accounts_that_come_and_go_by_hand(house: House) -> None:
    columbia = house.login("Columbia")
    columbia.ask("pay", to="SEAS", amount=1_000, key="k")
    house.edit("credentials.txt", f"SEAS {VERIFIER}\n", f"Newton {VERIFIER}\n")
    house.reload()
    assert balances(house) == {"*": -39_000, "columbia": 9_000, "facebook": 10_000, "google": 10_000, "newton": 10_000}
    assert house.admin("change INITIAL_BALANCE 0") == ["INITIAL_BALANCE is now 0."]
    house.stop()
    house.edit("credentials.txt", f"Newton {VERIFIER}\n", f"Newton {VERIFIER}\nDarwin {VERIFIER}\n")
    house.restart()
    assert balances(house)["darwin"] == 0 and audit(house).startswith("The books are right: 8 ")
    assert house.greet().prove("deregister", "Newton", PASSWORD)["status"] == "OK"
    assert balances(house)["*"] == -29_000


def test_fsync_second_loses_at_most_what_was_not_synced(build: Callable[..., House]) -> None:
    house = build(FSYNC="second")
    columbia = paid(house)
    durable = (house.folder / "data" / "journal.txt").stat().st_size
    before = balances(house)
    for number in range(20):
        columbia.ask("pay", to="SEAS", amount=1, key=f"lost {number}")
    house.crash()
    journal = house.folder / "data" / "journal.txt"
    journal.write_bytes(journal.read_bytes()[:durable])
    house.restart()
    assert balances(house) == before and audit(house).startswith("The books are right: ")
    assert house.login("Columbia").ask("pay", to="SEAS", amount=1, key="lost 0")["balance"] == before["columbia"] - 1


# Damage.


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_a_missing_ledger_is_never_taken_as_empty(house: House, how: str) -> None:
    paid(house)
    getattr(house, how)()
    whole = path_of(house).read_bytes()
    path_of(house).unlink()
    assert refused(house).startswith(f"{path_of(house)} is missing: the server does not start without it. ")
    path_of(house).write_bytes(whole)
    house.restart()
    assert balances(house)["seas"] == 10_055


def test_a_ledger_that_is_cut_or_of_another_save_is_refused(house: House) -> None:
    paid(house)
    house.stop()
    whole = path_of(house).read_bytes()
    path_of(house).write_bytes(whole[:-1])
    assert f"{path_of(house)}: {len(whole)} bytes are expected, {len(whole) - 1} are there" in refused(house)
    flip_at = len(whole) - 3
    path_of(house).write_bytes(whole)
    flip(path_of(house), flip_at)
    assert f"{path_of(house)}: the last line, at byte " in refused(house)
    lines = whole.splitlines(keepends=True)
    path_of(house).write_bytes(b"".join([*lines[:-2], lines[-1], lines[-2]]))
    assert "is not the one that the other files know" in refused(house)


def test_any_flipped_bit_is_refused_at_the_start_or_named_by_an_audit(house: House) -> None:
    chance = new_chance()
    paid(house)
    house.stop()
    whole, bank = path_of(house).read_bytes(), bank_of(house.server.world)
    for at in range(len(whole)):
        path_of(house).write_bytes(whole)
        flip(path_of(house), at, chance.randrange(8))
        line = whole[:at].count(b"\n") + 1
        try:
            appendfile.prove(path_of(house), whole[:START], bank.end, lambda held, offset: True)
        except FileError as wrong:
            assert str(path_of(house)) in str(wrong) and line in (1, whole.count(b"\n") - 1, whole.count(b"\n"))
            continue
        checked = Audit()
        with pytest.raises(Disagreement, match=f"^ledger.txt, line {line}, at byte "):
            for _, lines in appendfile.lines(path_of(house), START, bank.end):
                checked.read(lines)
        with pytest.raises(AssertionError, match=f"^ledger.txt, line {line}: "):
            ledger.read(path_of(house))


def test_the_console_names_the_line_and_nobody_is_shown_it(house: House) -> None:
    paid(house)
    house.stop()
    whole = path_of(house).read_bytes()
    flip(path_of(house), whole.index(b"saved 3"))
    house.restart()
    line = whole[: whole.index(b"saved 3")].count(b"\n") + 1
    found = audit(house)
    assert found.startswith(f"The books are wrong: ledger.txt, line {line}, at byte ") and "is damaged" in found
    columbia = house.login("Columbia")
    assert [item["memo"] for item in columbia.ask("statement", count=5)["items"]][0] == "journaled 0"
    house.heard_by_admin()
    assert columbia.ask("statement", count=50)["status"] == "INTERNAL"
    assert "Internal error: ValueError" in house.heard_by_admin()[-1]
    assert columbia.ask("pay", to="SEAS", amount=1, key="on")["status"] == "OK", "the rest goes on"


def test_balances_that_do_not_add_up_stop_the_start(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    paid(house)
    bank_of(house.server.world).books["seas"].balance += 1
    house.stop()
    assert refused(house).startswith(
        f"{house.folder}/data/accounts.txt: the balances, the bank's among them, add up to 1, and not to 0")


# The audit.


def test_one_audit_at_a_time_and_a_stop_ends_it(house: House) -> None:
    paid(house)
    house.heard_by_admin()
    house.console.line("audit")
    house.console.line("audit")
    assert house.console.busy
    house.tick()
    assert house.heard_by_admin()[0] == "Error! An audit is under way already."
    house.wait_for(lambda: not house.console.busy)
    assert house.heard_by_admin()[-1].startswith("The books are right: 14 lines and 4 accounts agree, and all add up")
    house.console.line("audit")
    house.tick()
    assert house.stop() == ""
    assert "The audit ends here: the server stops." in house.heard_by_admin()


def test_an_audit_sees_the_books_as_they_were_when_it_began(house: House) -> None:
    columbia = paid(house)
    house.console.line("grant seas 5")
    house.console.line("audit")
    house.tick()
    for number in range(10):
        columbia.ask("pay", to="SEAS", amount=1, key=f"meanwhile {number}")
    house.wait_for(lambda: not house.console.busy)
    assert house.heard_by_admin()[-1].startswith("The books are right: 15 lines "), "with what was asked for before it"


def test_what_a_home_keeps_for_a_payment_is_its_reply(house: House) -> None:
    columbia = house.login("Columbia")
    first = columbia.ask("pay", to="SEAS", amount=1, memo="ü", key="k", id=7)
    assert columbia.ask("pay", to="SEAS", amount=1, memo="ü", key="k", id=8) == {**first, "id": 8}
    assert columbia.ask("pay", to="SEAS", amount=2, memo="ü", key="k")["status"] == "KEY_REUSED"
    assert json.loads(json.dumps(balances(house)))["seas"] == 10_001
