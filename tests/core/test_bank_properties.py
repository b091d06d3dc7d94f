"""What must hold for any payments, cheques, retries and grants, while accounts come and go, and the world is read from
its text files, or made of its commands again, in between: nothing is lost, nothing doubled, nobody owes.

A model in a few lines says what each reply must mean; ``tests/ledger.py``, which knows none of the code, reads the
ledger.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from chatlib.core.audit import Audit
from chatlib.core.bank import bank_of
from chatlib.core.ledger import BANK, NAME, START
from chatlib.protocol import cheque as cheques
from chatlib.protocol.cheque import VALID, Cheque, cheque_key
from chatlib.protocol.scram import Verifier, make_verifier
from tests.chance import examples, new_chance
from tests.core.stage import Stage, new_world, picture
from tests.ledger import Ledger

NAMES = ("Ann", "Bea", "Cyd", "Dan")
PASSWORDS = [make_verifier(f"p{number}", 4_096) for number in range(3)]
REFUSED = {"NO_SUCH_USER", "SELF_PAYMENT", "INSUFFICIENT_FUNDS", "BLOCKED", "KEY_REUSED", "NOT_ALLOWED", "BAD_CHEQUE",
           "NOT_PAYEE", "EXPIRED", "ALREADY_CASHED"}  # fmt: skip


class Books:
    """A stage, what may be asked for again, and what everybody must have."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.first_balance = chance.choice([0, 1, 50, 10_000])
        self.stage = Stage(INITIAL_BALANCE=self.first_balance)
        self.stage.now = 1_700_000_000.0
        self.credits: dict[str, int] = {}  # the model
        self.passwords: dict[str, Verifier] = {}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.booked: set[tuple[str, int, str]] = set()  # whose account, and which key: it has taken effect
        self.lines: list[str] = []
        self.statuses: set[str] = set()
        for name in NAMES:
            self.register(name)
            self.login(name)

    # What happens.

    def register(self, name: str) -> None:
        verifier = self.chance.choice(PASSWORDS)
        if self.stage.do("register", user=name, verifier=str(verifier))["status"] == "OK":
            self.passwords[name.lower()] = verifier
            self.credits[name.lower()] = self.stage.world.parameters["INITIAL_BALANCE"]

    def login(self, name: str) -> None:
        self.stage.do("login", user=name.lower(), address="10.0.0.1", client="c")

    def ask(self, action: str, by: str, fields: dict[str, Any]) -> None:
        self.asked.append((action, by, fields))
        account = self.stage.world.accounts.get(by)
        life = (by, account.joined if account else 0, fields["key"])
        entries = bank_of(self.stage.world).entries
        reply = self.stage.do(action, by, **fields)
        moved = bank_of(self.stage.world).entries - entries
        self.statuses.add(reply["status"])
        assert reply["status"] == "OK" or (reply["status"] in REFUSED and not moved)
        assert moved == (reply["status"] == "OK" and life not in self.booked), "each key once"
        if moved:
            self.booked.add(life)
            payer, payee = (by, fields["to"].lower()) if action == "pay" else (reply["from"].lower(), by)
            amount = fields["amount"] if action == "pay" else reply["amount"]
            self.credits[payer] -= amount
            self.credits[payee] += amount

    def pay(self) -> None:
        chance = self.chance
        fields = {"to": chance.choice([*NAMES, "BEA", "nobody"]), "amount": chance.choice([1, 7, 49, 3_000, 10**12])}
        memo = {"memo": chance.choice(["tea", '"}\\ ü\u2028', "*"])} if chance.random() < 0.3 else {}
        key = chance.choice([f"k{len(self.asked)}", "often"])
        self.ask("pay", chance.choice(NAMES).lower(), {**fields, **memo, "key": key})

    def write(self) -> None:
        chance, world = self.chance, self.stage.world
        payer, payee = chance.choice(NAMES), chance.choice([*NAMES, "bea"])
        key = cheque_key(self.passwords.get(payer.lower(), PASSWORDS[0]).server_key)
        cheque = Cheque(payer, payee, chance.choice([1, 7, 49, 3_000]), f"{chance.randrange(1 << 64):016x}",
                        cheques.expiry_of(world.at))  # fmt: skip
        self.lines.append(cheques.write(cheque, key))

    def cash(self) -> None:
        if self.lines:
            line = self.chance.choice(self.lines[-6:])
            by = line.split()[2].lower() if self.chance.random() < 0.8 else self.chance.choice(NAMES).lower()
            self.ask("cash", by, {"cheque": line, "key": f"c{len(self.asked)}"})

    def again(self) -> None:
        if self.asked:
            self.ask(*self.chance.choice(self.asked[-8:]))

    def grant(self) -> None:
        name, amount = self.chance.choice(NAMES), self.chance.choice([1, 500])
        if self.stage.do("grant", user=name, amount=amount)["status"] == "OK":
            self.credits[name.lower()] += amount

    def leave(self) -> None:
        """De-registered by the user, or removed by hand; perhaps back with the same password."""
        name = self.chance.choice(NAMES)
        presence = self.stage.world.online.get(name.lower())
        if self.chance.random() < 0.5 and presence:
            self.stage.do("depart", user=name.lower(), session=presence.login)
            self.stage.do("deregister", user=name.lower())
        elif name.lower() in self.credits:
            self.stage.do("edit", accounts={name: None})
        self.credits.pop(name.lower(), None)
        self.stage.now += 1.0
        self.register(name)
        self.login(name)

    def password(self) -> None:
        name = self.chance.choice(NAMES)
        if name.lower() in self.stage.world.online:
            verifier = self.passwords[name.lower()] = self.chance.choice(PASSWORDS)
            self.stage.do("password", name.lower(), verifier=str(verifier))

    def block(self) -> None:
        one, other = self.chance.sample(NAMES, 2)
        self.stage.do(self.chance.choice(["block", "unblock", "unblock"]), one.lower(), user=other)

    def start(self) -> None:
        """A crash, and a start: nobody is online, and everybody comes back."""
        self.stage.do("start", left=self.stage.now)
        for name in NAMES:
            self.login(name)

    def change(self) -> None:
        self.stage.do("edit", parameters={"INITIAL_BALANCE": self.chance.choice([0, 3, 10_000])})

    def later(self) -> None:
        self.stage.now += self.chance.choice([0.001, 60.0, VALID / 2])

    # What must hold.

    def check(self) -> None:
        books = bank_of(self.stage.world).books
        assert {user: book.balance for user, book in books.items() if user != BANK} == self.credits
        assert sum(book.balance for book in books.values()) == 0
        assert min(self.credits.values()) >= 0

    def check_ledger(self) -> None:
        data = bytes(self.stage.recorder.appended_to[NAME])
        stranger, audit, offset = Ledger(), Audit(), START
        assert len(data) == bank_of(self.stage.world).end
        for line in data[START:].splitlines(keepends=True):
            stranger.take(line, offset)
            audit.read([line])
            offset += len(line)
        audit.compare(bank_of(self.stage.world))
        assert stranger.balances == {user: book.balance for user, book in bank_of(self.stage.world).books.items()}
        assert set(stranger.cheques.values()) <= {1}

    def check_replay(self) -> None:
        """Another world of the same commands, with new files, is equal, and so are its files."""
        world, recorder = new_world(INITIAL_BALANCE=self.first_balance)
        for _, body in self.stage.log:
            recorder.carry_out(world.execute(json.loads(body))[1])
        assert picture(world) == picture(self.stage.world)
        assert recorder.appended_to == self.stage.recorder.appended_to
        assert recorder.messages == self.stage.recorder.messages


WEIGHTS = {"pay": 40, "write": 14, "cash": 20, "again": 14, "grant": 4, "leave": 3, "password": 2, "block": 4,
           "start": 2, "change": 1, "later": 8}  # fmt: skip


@pytest.mark.usefixtures("small_streams")
def test_nothing_is_lost_or_doubled_and_nobody_owes() -> None:
    chance = new_chance()
    statuses: set[str] = set()
    for _ in range(examples(25)):
        books = Books(chance)
        for what in chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=150):
            getattr(books, what)()
            books.check()
            if chance.random() < 0.03:
                books.stage.save()
        books.check_ledger()
        books.check_replay()
        books.stage.save()
        statuses |= books.statuses
    assert statuses >= {"OK", *REFUSED} - {"NOT_ALLOWED", "EXPIRED"}
