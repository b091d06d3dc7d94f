"""``kill -9`` of the server under a load of payments and cheques, with checkpoints and without: an audit after it finds
the books right, and an independent checker finds every answered payment in the ledger, once."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.protocol import cheque as cheques
from chatlib.protocol.cheque import Cheque, cheque_key
from chatlib.protocol.scram import parse_verifier
from tests import ledger
from tests.chance import new_chance
from tests.program.peer import VERIFIER, Message, Program, TcpPeer, make_home, take_some

Start = Callable[..., Program]
USERS = ("ann", "bob", "cid", "dan")
KEY = cheque_key(parse_verifier(VERIFIER).server_key)  # all users of the home have one password


class Payer:
    """One user who pays the others and cashes their cheques, each time with a key, and knows what was answered."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.sent: dict[str, Message] = {}  # by key: a payment's is its memo, a cheque's its number
        self.answered: set[str] = set()
        self.peer: TcpPeer | None = None

    def ask(self, count: int, chance: random.Random) -> None:
        others = [user for user in USERS if user != self.user]
        fresh = [self._request(chance.choice(others), chance) for _ in range(count)]
        self.sent.update((request["key"], request) for request in fresh)
        self._send(fresh)

    def _request(self, other: str, chance: random.Random) -> Message:
        key, amount = f"{chance.randrange(1 << 64):016x}", chance.randrange(1, 9)
        if chance.random() < 0.7:
            return {"action": "pay", "id": key, "key": key, "to": other, "amount": amount, "memo": key}
        cheque = Cheque(other, self.user, amount, key, cheques.expiry_of(time.time()))
        return {"action": "cash", "id": key, "key": key, "cheque": cheques.write(cheque, KEY)}

    def ask_again(self) -> None:
        """What was not answered, with the same keys, and some of what was."""
        self._send([request for key, request in self.sent.items() if key not in self.answered])
        self._send([self.sent[key] for key in itertools.islice(self.answered, 10)])

    def _send(self, requests: list[Message]) -> None:
        assert self.peer
        with contextlib.suppress(ConnectionError):
            self.peer.send(*requests)

    def take(self, count: int = 1) -> None:
        """So many replies; as many as there are, when the server is gone."""
        assert self.peer
        while count:
            message = self.peer.read()
            if message is None:
                return
            if message.get("action") in ("pay", "cash"):
                assert message["status"] == "OK", message
                self.answered.add(message["id"])
                count -= 1

    @property
    def open(self) -> int:
        return len(self.sent) - len(self.answered)


def check(server: Program, home: Path, payers: list[Payer], everything: bool = False) -> None:
    """The console's audit, the balances that people are told, and the ledger as a stranger reads it."""
    server.type("audit")
    assert "The books are right: " in server.wait_for("The books are ")
    balances = {user: server.login(user).ask("balance")["balance"] for user in USERS}
    server.kill()
    found = ledger.read(home / "data" / "ledger.txt")
    assert {user: found.balances[user] for user in USERS} == balances
    booked = [*found.memos.elements(), *(number for _, number in found.cheques.elements())]
    assert len(booked) == len(set(booked)), "booked twice"
    answered = set().union(*(payer.answered for payer in payers))
    sent = {key for payer in payers for key in payer.sent}
    assert answered <= set(booked) <= sent
    assert not everything or set(booked) == sent


@pytest.mark.parametrize("limit", ["64 MiB", "64 KiB"], ids=["", "with checkpoints"])
def test_kill_under_a_load_of_payments(start: Start, tmp_path: Path, limit: str) -> None:
    chance = new_chance(limit)
    home = make_home(tmp_path / "load", USERS, JOURNAL_LIMIT=limit)
    payers = [Payer(user) for user in USERS]
    for _ in range(4):
        server = start(at=home)
        for payer in payers:
            payer.peer = server.login(payer.user)
            count = payer.open + min(10, len(payer.answered))
            payer.ask_again()
            payer.take(count)
            assert not payer.open, "what was sent again is answered"
        kill_at = chance.randrange(1, 400)
        for payer in payers:
            payer.ask(150, chance)
        if chance.random() < 0.5:
            server.type("save")
        take_some(payers, kill_at)
        server.kill()
        for payer in payers:
            payer.take(payer.open)  # what was on its way was answered, too
            assert payer.peer
            payer.peer.close()
        check(start(at=home), home, payers)
    server = start(at=home)
    for payer in payers:
        payer.peer = server.login(payer.user)
        count = payer.open + min(10, len(payer.answered))
        payer.ask_again()
        payer.take(count)
        payer.peer.reset()
    server.stop()
    check(start(at=home), home, payers, everything=True)
