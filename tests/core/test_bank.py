"""Conversations about money: payments, cheques, grants, statements, and what becomes of an account's credits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatlib.core.audit import Audit, Disagreement
from chatlib.core.bank import EARLY, ENTRIES, NUMBERS, PAGE, Book, bank_of
from chatlib.core.features import ANSWERS
from chatlib.core.ledger import BANK, NAME, START
from chatlib.core.ordered import Directory
from chatlib.protocol import cheque as cheques
from chatlib.protocol.cheque import VALID, Cheque, cheque_key
from chatlib.protocol.kinds import MAX_AMOUNT, MAX_INTEGER
from chatlib.protocol.scram import make_verifier
from chatlib.storage.messages import at_rest
from tests.core.stage import Stage

NOW = 1_700_000_000.0
VERIFIERS = {user: make_verifier(user, 4_096) for user in ("Alice", "Bob", "Carol")}


@pytest.fixture
def three() -> Stage:
    """Alice and Bob are online, Carol is away; each has 100 credits."""
    stage = Stage(INITIAL_BALANCE=100)
    stage.now = NOW
    for name, verifier in VERIFIERS.items():
        stage.do("register", user=name, verifier=str(verifier))
    for name in ("alice", "bob"):
        stage.do("login", user=name, address="10.0.0.1")
    stage.recorder.take()
    return stage


def credits_of(stage: Stage) -> dict[str, int]:
    books: dict[str, Book] = bank_of(stage.world).books
    assert sum(book.balance for book in books.values()) == 0
    return {user: book.balance for user, book in books.items()}


def written(payee: str = "bob", amount: int = 30, payer: str = "Alice", memo: str = "", **more: Any) -> str:
    cheque = Cheque(payer, payee, amount, more.get("number", "0123456789abcdef"),
                    more.get("expiry", cheques.expiry_of(more.get("now", NOW))), memo)  # fmt: skip
    return cheques.write(cheque, cheque_key(VERIFIERS[more.get("signer", payer)].server_key))


def test_payments(three: Stage) -> None:
    three.play("""
        > alice: pay to=BOB amount=30 memo='for tea' key=k1
        < OK seq=6 balance=70
          bob <- payment seq=6 from=Alice amount=30 memo=for tea balance=130
        > alice: pay to=BOB amount=30 memo='for tea' key=k1
        < OK seq=6 balance=70
        > alice: pay to=carol amount=70 key=k2
        < OK seq=8 balance=0
        > save
        > alice: pay to=carol amount=1 key=k3
        < INSUFFICIENT_FUNDS balance=0: 1 is too much: you have 0.
        > bob: pay to=nobody amount=1 key=k1
        < NO_SUCH_USER: There is no user "nobody".
        > bob: pay to=Bob amount=1 key=k2
        < SELF_PAYMENT: You cannot pay yourself!
        > alice: block user=bob
        < OK user=Bob
        > bob: pay to=alice amount=1 key=k3
        < BLOCKED: "Alice" has blocked you: nothing was paid.
        > alice: pay to=BOB amount=31 key=k1
        < KEY_REUSED: The key "k1" was used for another request before.
        > login user=carol
        < OK user=Carol unread=1 seq=15
          alice, bob <- presence user=Carol online=True
        """)
    assert credits_of(three) == {BANK: -300, "alice": 0, "bob": 130, "carol": 170}


def test_a_cheque_is_cashed_once(three: Stage) -> None:
    line = written(memo="for the boat")
    three.do("depart", user="alice", session=4)
    three.recorder.take()
    reply = three.do("cash", "bob", cheque=line, key="k1")
    assert reply == {"status": "OK", "seq": 7, "from": "Alice", "amount": 30, "memo": "for the boat", "balance": 130}
    assert three.do("cash", "bob", cheque=line, key="k1") == reply, "a retry"
    assert three.do("cash", "bob", cheque=line, key="k2")["status"] == "ALREADY_CASHED"
    three.save()
    assert three.do("cash", "bob", cheque=line, key="k3")["status"] == "ALREADY_CASHED"
    event, _ = three.stored(*three.world.waiting("alice", 0)[-1])
    told = json.loads(event)
    assert told == {"event": "cheque_cashed", "seq": 7, "time": NOW, "by": "Bob", "number": "0123456789abcdef",
                    "amount": 30, "memo": "for the boat", "balance": 70}  # fmt: skip
    assert credits_of(three) == {BANK: -300, "alice": 70, "bob": 130, "carol": 100}


def refused(stage: Stage, line: str, by: str = "bob") -> str:
    """The status, when nothing was booked."""
    before = credits_of(stage), bank_of(stage.world).entries, bank_of(stage.world).cashed
    status: str = stage.do("cash", by, cheque=line, key=f"k{stage.lsn}")["status"]
    assert (credits_of(stage), bank_of(stage.world).entries, bank_of(stage.world).cashed) == before
    return status


def test_cheques_that_are_refused(three: Stage) -> None:
    good = written()
    for at, char in enumerate(good):
        if char != " ":
            other = "7" if char != "7" else "8"
            assert refused(three, good[:at] + other + good[at + 1 :]) in ("BAD_CHEQUE", "NO_SUCH_USER"), at
    assert refused(three, written(signer="Bob")) == "BAD_CHEQUE", "self-made by the payee"
    assert refused(three, written(payee="carol")) == "NOT_PAYEE"
    assert refused(three, written(payer="Bob", payee="bob")) == "SELF_PAYMENT"
    assert refused(three, written(amount=101)) == "INSUFFICIENT_FUNDS"
    assert refused(three, written(now=NOW - VALID)) == "EXPIRED"
    assert refused(three, written(now=NOW + EARLY + 1)) == "BAD_CHEQUE", "for longer than it may be"
    assert refused(three, written(now=NOW - 1)) == "BAD_CHEQUE", "before the accounts were opened"
    assert refused(three, "cheque/1") == "BAD_CHEQUE"
    three.do("password", "alice", verifier=str(VERIFIERS["Carol"]))
    assert refused(three, good) == "BAD_CHEQUE", "a new password"
    three.do("edit", accounts={"Alice": None})
    assert refused(three, good) == "NO_SUCH_USER"


def test_a_cheque_is_not_for_who_takes_the_name_later(three: Stage) -> None:
    to_bob, from_alice = written(), written(number="1" * 16)
    three.now += 10
    three.do("edit", accounts={"Bob": None})
    three.do("register", user="Bob", verifier=str(VERIFIERS["Bob"]))
    three.do("login", user="bob", address="10.0.0.1")
    assert refused(three, to_bob) == "BAD_CHEQUE"
    three.do("edit", accounts={"Alice": None})
    three.do("edit", accounts={"Alice": str(VERIFIERS["Alice"])})
    assert refused(three, from_alice) == "BAD_CHEQUE", "with the very same password"
    assert three.do("cash", "bob", cheque=written(now=three.now), key="last")["status"] == "OK"


def test_cashed_numbers_are_forgotten_when_they_expire(three: Stage) -> None:
    three.do("grant", user="alice", amount=1_000)
    for number in range(20):
        three.now += 100
        line = written(amount=1, number=f"{number:016x}", now=three.now)
        assert three.do("cash", "bob", cheque=line, key=f"c{number}")["status"] == "OK"
    three.save()
    told = three.world.state["bank"]
    assert len(told.cashed["alice"]) == 20
    three.now += VALID
    for number in range(10):
        line = written(amount=1, number=f"f{number:015x}", now=three.now)
        assert three.do("cash", "bob", cheque=line, key=f"d{number}")["status"] == "OK"
        three.save()
    assert sorted(bank_of(three.world).cashed["alice"]) == [f"f{number:015x}" for number in range(10)]


def ask(stage: Stage, action: str, user: str, **request: Any) -> dict[str, Any]:
    return ANSWERS[action](stage.world, user, request, stage.now)


def test_what_a_payer_asks_about_cheques(three: Stage) -> None:
    key = cheques.fingerprint(cheque_key(VERIFIERS["Alice"].server_key))
    assert ask(three, "cheques", "alice") == {"status": "OK", "items": [], "key": key}
    three.do("cash", "bob", cheque=written(), key="k")
    item = {"number": "0123456789abcdef", "expiry": cheques.expiry_of(NOW)}
    assert ask(three, "cheques", "alice") == {"status": "OK", "items": [item], "key": key}
    assert ask(three, "cheques", "alice", after=item["number"])["items"] == []
    assert ask(three, "cheques", "bob")["items"] == []
    three.now += VALID + 1
    assert ask(three, "cheques", "alice")["items"] == []


def test_a_page_of_cashed_cheques_costs_what_it_shows_in_whatever_order_they_were_cashed(three: Stage) -> None:
    """A payer chooses the numbers: also those that an answer would have to look for longest."""
    looked_at = []

    class Watched(Directory[int]):
        def __getitem__(self, number: str) -> int:
            looked_at.append(number)
            return super().__getitem__(number)

        def items(self) -> Any:
            looked_at.extend(self)
            return super().items()

    numbers = [f"{number:016x}" for number in range(3 * NUMBERS)]
    told = bank_of(three.world)
    told.cashed["alice"] = Watched()
    for number in reversed(numbers):
        told.cash("alice", number, int(three.now) + VALID)
    found: list[str] = []
    while len(found) < len(numbers):
        looked_at.clear()
        reply = ask(three, "cheques", "alice", **({"after": found[-1]} if found else {}))
        assert len(looked_at) <= NUMBERS + 1
        found += [item["number"] for item in reply["items"]]
        assert reply.get("next") == (found[-1] if len(found) < len(numbers) else None)
    assert found == numbers


def test_statements(three: Stage) -> None:
    for number in range(60):
        three.do("pay", "alice", to="bob", amount=1, memo=f"no. {number}", key=f"k{number}")
    three.do("cash", "bob", cheque=written(), key="c")
    three.do("grant", user="Bob", amount=7)
    items = ask(three, "statement", "bob")["items"]
    assert len(items) == ENTRIES and items[-1] == {
        "seq": 67, "time": NOW, "kind": "grant", "from": "*", "to": "Bob", "amount": 7, "balance": 197, "memo": ""}
    assert (items[-2]["kind"], items[-2]["number"], items[-2]["from"]) == ("cheque", "0123456789abcdef", "Alice")
    assert (items[-3]["kind"], items[-3]["memo"], items[-3]["balance"]) == ("pay", "no. 59", 160)
    first = ask(three, "statement", "bob", count=1_000)
    assert len(first["items"]) == PAGE
    second = ask(three, "statement", "bob", count=1_000 - PAGE, before=first["next"])
    assert "next" not in second and [item["kind"] for item in second["items"]][:2] == ["open", "pay"]
    assert [item["memo"] for item in second["items"] + first["items"]][1:-2] == [f"no. {n}" for n in range(60)]
    bank = bank_of(three.world)
    for wrong in (1, START - 1, first["next"] + 1, bank.end, 2**53 - 1, bank.books["carol"].last):
        assert ask(three, "statement", "bob", before=wrong)["status"] == "NO_SUCH_ENTRY", wrong


def test_a_page_of_the_longest_entries_is_one_line(three: Stage) -> None:
    three.do("grant", user="alice", amount=MAX_AMOUNT)
    for number in range(60):
        three.do("pay", "alice", to="bob", amount=10**9, memo="\U0001f600" * 200, key=f"k{number}")
    reply = ask(three, "statement", "alice", count=1_000, id="x" * 64)
    assert len(json.dumps(reply, ensure_ascii=False).encode()) < 60_000


def test_a_statement_shows_nothing_of_who_had_the_name_before(three: Stage) -> None:
    three.do("pay", "alice", to="bob", amount=1, memo="private", key="k")
    old = bank_of(three.world).books["bob"].last
    three.do("edit", accounts={"Bob": None})
    three.do("register", user="Bob", verifier="v")
    assert [item["kind"] for item in ask(three, "statement", "bob")["items"]] == ["open"]
    assert ask(three, "statement", "bob", before=old)["status"] == "NO_SUCH_ENTRY"


def test_what_is_left_returns_to_the_bank(three: Stage) -> None:
    three.do("pay", "alice", to="bob", amount=40, key="k")
    three.do("depart", user="bob", session=5)
    three.do("deregister", user="bob")
    assert credits_of(three) == {BANK: -160, "alice": 60, "carol": 100}
    three.do("edit", parameters={"INITIAL_BALANCE": 0}, accounts={"Dan": "v"})
    assert credits_of(three) == {BANK: -160, "alice": 60, "carol": 100, "dan": 0}
    three.save()


def test_grants(three: Stage) -> None:
    three.play("""
        > grant user=Bob amount=5
        < OK user=Bob seq=6 balance=105
          bob <- grant seq=6 amount=5 balance=105
        > grant user=nobody amount=5
        < NO_SUCH_USER: There is no user "nobody".
        """)
    bank_of(three.world).books["bob"].balance = MAX_INTEGER - 10
    assert three.do("grant", user="bob", amount=11)["status"] == "BALANCE_LIMIT"
    assert three.do("pay", "alice", to="bob", amount=11, key="k")["status"] == "BALANCE_LIMIT"
    assert refused_by_limit(three) == "BALANCE_LIMIT"


def refused_by_limit(stage: Stage) -> str:
    status: str = stage.do("cash", "bob", cheque=written(), key="c")["status"]
    return status


def test_who_was_there_before_the_bank_gets_an_account_at_the_next_start(three: Stage) -> None:
    three.world.state["bank"] = type(bank_of(three.world))()
    three.recorder.appended_to[NAME] = three.recorder.appended_to[NAME][:START]
    three.save()
    three.do("start", left=NOW)
    three.do("start", left=NOW)
    assert credits_of(three) == {BANK: -300, "alice": 100, "bob": 100, "carol": 100}


# The audit.


def lived_in(stage: Stage) -> list[bytes]:
    """The lines of a ledger with something of every kind."""
    stage.do("pay", "alice", to="bob", amount=5, memo='a "memo"\u2028', key="k1")
    stage.do("cash", "bob", cheque=written(), key="k2")
    stage.do("grant", user="bob", amount=9)
    stage.do("edit", accounts={"Carol": None})
    stage.do("pay", "bob", to="alice", amount=1, key="k3")
    return bytes(stage.recorder.appended_to[NAME][START:]).splitlines(keepends=True)


def audited(stage: Stage, lines: list[bytes]) -> str:
    audit = Audit()
    try:
        for line in lines:
            audit.read([line])
        audit.compare(bank_of(stage.world))
    except Disagreement as wrong:
        return str(wrong)
    return ""


def test_an_audit_names_the_first_line_that_is_wrong(three: Stage) -> None:
    lines = lived_in(three)
    assert len(lines) == 8 and audited(three, lines) == ""
    for number, line in enumerate(lines):
        for at in range(len(line)):
            flipped = line[:at] + bytes([line[at] ^ 1 << at % 8]) + line[at + 1 :]
            found = audited(three, [*lines[:number], flipped, *lines[number + 1 :]])
            place = f"ledger.txt, line {number + 2}, at byte {START + sum(map(len, lines[:number]))}: "
            assert found.startswith(place), at
        gone = audited(three, lines[:number] + lines[number + 1 :])
        assert gone.startswith(f"ledger.txt, line {number + 2}, " if number < 7 else "ledger.txt: 8 entries"), number
        assert audited(three, [*lines[: number + 1], *lines[number:]]).startswith(f"ledger.txt, line {number + 3}, ")


def sealed(words: str) -> bytes:
    return at_rest(words.encode())


def test_an_audit_finds_what_has_a_checksum_and_is_wrong_all_the_same(three: Stage) -> None:
    lines = lived_in(three)
    for place, old, new, what in (
        (3, " 5 95 105 ", " 6 95 105 ", "the balance of alice is 95, and should be 94"),
        (3, " 5 95 105 ", " 6 94 106 ", ""),  # the next line disagrees
        (3, " pay alice bob 5 95 105", " pay alice bob 500 -400 600", "alice has -400 credits after it"),
        (3, " pay alice ", " pay nobody ", "there is no account nobody"),
        (3, " pay alice ", " pay * ", "it cannot be booked"),
        (3, " pay ", " give ", "it cannot be booked"),
        (3, " 4 ", " 5 ", "the number is 5, and should be 4"),
        (4, " cheque ", " close ", "it cannot be booked"),
    ):
        text = lines[place][8:].decode()
        changed = sealed(text.replace(old, new, 1))
        found = audited(three, [*lines[:place], changed, *lines[place + 1 :]])
        assert what in found and found.startswith("ledger.txt, line "), found
    bank_of(three.world).books["alice"].balance += 1
    assert audited(three, lines) == "alice: 67 credits, but by the ledger 66 credits"
