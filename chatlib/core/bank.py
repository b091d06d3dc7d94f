"""The bank: what everybody holds, payments, cheques that were cashed, and what the administrator grants.

Each movement is one command and one line of the ledger (:mod:`.ledger`). Invariants: the balances of all parties, the
bank's own among them, add up to 0; no user's is below 0; a cheque is cashed once. Nothing that was booked is changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Any

from chatlib.core.effects import APPEND
from chatlib.core.feature import AppendOnly, Command, Feature, FlatFile, Request
from chatlib.core.ledger import BANK, HEADER, NAME, START, Entry, parse
from chatlib.core.ordered import Directory
from chatlib.core.replies import Reply, encoded, no_such_user, page, refusal
from chatlib.core.streams import CHECKSUM
from chatlib.core.talk import post
from chatlib.protocol import cheque as cheques
from chatlib.protocol.cheque import BadCheque, Cheque, cheque_key
from chatlib.protocol.framing import dumps, quote
from chatlib.protocol.kinds import MAX_INTEGER
from chatlib.protocol.scram import parse_verifier
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import World

PAGE = 50  # entries in one page: with the longest memos it still is one line
NUMBERS = 500  # of cheques in one page
MAX_CASHED = 10_000  # cheques of one payer that were cashed and have not expired
ENTRIES = 10  # of a statement for which nobody said how many
EARLY = 86_400  # seconds by which the clock of a cheque's writer may be ahead


@dataclass(slots=True)
class Book:
    """What one party holds. `opened`: the time of its first line; `last`: where its last one stands in the ledger."""

    balance: int = 0
    last: int = 0
    opened: float = 0.0


@dataclass(slots=True)
class Bank:
    """All of it. Cashed numbers are kept until the cheque's expiry, by its payer; `expiring` has them in a heap."""

    books: dict[str, Book] = field(default_factory=lambda: {BANK: Book()})
    entries: int = 0
    end: int = START  # bytes of the ledger
    cashed: dict[str, Directory[int]] = field(default_factory=dict)
    expiring: list[tuple[int, str, str]] = field(default_factory=list, compare=False)

    def cash(self, payer: str, number: str, expiry: int) -> None:
        """This one was cashed."""
        self.cashed.setdefault(payer, Directory())[number] = expiry
        heappush(self.expiring, (expiry, payer, number))

    def forget_expired(self, now: float) -> None:
        """Two at most: each cheque that is cashed pays for one, so what is kept cannot grow, and nobody waits."""
        for _ in range(2):
            if not self.expiring or self.expiring[0][0] > now:
                return
            _, payer, number = heappop(self.expiring)
            numbers = self.cashed[payer]
            del numbers[number]
            if not numbers:
                del self.cashed[payer]


def bank_of(world: World) -> Bank:
    """The world's bank."""
    bank: Bank = world.state["bank"]
    return bank


def _enter(world: World, lsn: int, kind: str, source: str, target: str, amount: int, note: str) -> None:
    """Moves `amount`, and books it: both have a book, and it is known that they may. `note` is JSON."""
    line = move(world.state["bank"], lsn, world.at_text, kind, source, target, amount, note)
    world.effects.append((APPEND, NAME, line))


def move(bank: Bank, lsn: int, at_text: str, kind: str, source: str, target: str, amount: int, note: str) -> bytes:
    """The same in these books, at a time as JSON. Returns the ledger's line."""
    one, other = bank.books[source], bank.books[target]
    bank.entries = number = bank.entries + 1
    one.balance -= amount
    other.balance += amount
    line = (
        f" {number} {lsn} {at_text} {kind} {source} {target} {amount} {one.balance} {other.balance}"
        f" {one.last} {other.last} {note}\n"
    ).encode()
    one.last = other.last = bank.end
    bank.end += CHECKSUM + len(line)
    return line


# Handlers.


def pay(world: World, lsn: int, command: Command) -> Reply:
    """To one user, who hears of it now or at the next login."""
    sender, amount = command["by"], command["amount"]
    receiver = world.accounts.get(fold(command["to"]))
    if receiver is None:
        return no_such_user(command["to"])
    user = receiver.user
    if user == sender:
        return _to_oneself()
    account = world.accounts[sender]
    if account.blocked_by and user in account.blocked_by:
        return refusal("BLOCKED", f'"{receiver.name}" has blocked you: nothing was paid.')
    books = world.state["bank"].books
    book = books[sender]
    if book.balance < amount:
        text = f"{amount:,} is too much: you have {book.balance:,}."
        return refusal("INSUFFICIENT_FUNDS", text, balance=book.balance)
    if books[user].balance + amount > MAX_INTEGER:
        return _too_rich(receiver)
    note = quote(command.get("memo", ""))
    _enter(world, lsn, "pay", sender, user, amount, note)
    post(world, lsn, receiver, (
        f'{{"event":"payment","seq":{lsn},"time":{world.at_text},"from":"{account.name}","amount":{amount},'
        f'"memo":{note},"balance":{books[user].balance}}}'
    ))  # fmt: skip
    text = f'{{"status":"OK","seq":{lsn},"balance":{book.balance}}}'
    return encoded(text, {"status": "OK", "seq": lsn, "balance": book.balance})


def grant(world: World, lsn: int, command: Command) -> Reply:
    """The administrator moves credits from the bank to a user."""
    receiver, amount = world.accounts.get(fold(command["user"])), command["amount"]
    if receiver is None:
        return no_such_user(command["user"])
    book = bank_of(world).books[receiver.user]
    if book.balance + amount > MAX_INTEGER:
        return _too_rich(receiver)
    _enter(world, lsn, "grant", BANK, receiver.user, amount, '""')
    _tell(world, lsn, receiver, {"event": "grant", "amount": amount, "balance": book.balance})
    return {"status": "OK", "user": receiver.name, "seq": lsn, "balance": book.balance}


def cash(world: World, lsn: int, command: Command) -> Reply:
    """A cheque that somebody wrote for the user who brings it."""
    bank = bank_of(world)
    bank.forget_expired(world.at)
    try:
        cheque = cheques.parse(command["cheque"])
    except BadCheque as wrong:
        return refusal("BAD_CHEQUE", str(wrong))
    payer = world.accounts.get(fold(cheque.payer))
    if payer is None:
        return no_such_user(cheque.payer)
    if not cheques.signed(command["cheque"], _key(payer)):
        return refusal("BAD_CHEQUE", f'"{payer.name}" did not write this cheque, or has another password by now.')
    payee = world.accounts[command["by"]]
    refused = _cheque_refusal(world, cheque, payer, payee)
    if refused:
        return refused
    bank.cash(payer.user, cheque.number, cheque.expiry)
    _enter(world, lsn, "cheque", payer.user, payee.user, cheque.amount, dumps([cheque.number, cheque.memo]))
    _tell(world, lsn, payer, {"event": "cheque_cashed", "by": payee.name, "number": cheque.number,
          "amount": cheque.amount, "memo": cheque.memo, "balance": bank.books[payer.user].balance})  # fmt: skip
    return {"status": "OK", "seq": lsn, "from": payer.name, "amount": cheque.amount, "memo": cheque.memo,
            "balance": bank.books[payee.user].balance}  # fmt: skip


def _cheque_refusal(world: World, cheque: Cheque, payer: Account, payee: Account) -> Reply | None:
    """Why a cheque that `payer` wrote is not cashed, or None."""
    bank = bank_of(world)
    source, target = bank.books[payer.user], bank.books[payee.user]
    if fold(cheque.payee) != payee.user:
        return refusal("NOT_PAYEE", f'This cheque is for "{world.name_of(fold(cheque.payee))}".')
    if payer is payee:
        return _to_oneself()
    if cheque.expiry <= world.at:
        return refusal("EXPIRED", "This cheque has expired: ask for a new one.")
    if cheque.written > world.at + EARLY:
        return refusal("BAD_CHEQUE", "This cheque is good for longer than a cheque may be.")
    numbers = bank.cashed.get(payer.user, ())
    if cheque.number in numbers:
        return refusal("ALREADY_CASHED", "This cheque was cashed before.")
    if cheque.written < source.opened or cheque.written < target.opened:
        return refusal("BAD_CHEQUE", "This cheque is older than one of the two accounts: the name was another user's.")
    if len(numbers) >= MAX_CASHED:
        return refusal("TOO_MANY_CHEQUES", f'Too many cheques of "{payer.name}" were cashed within a week.')
    if source.balance < cheque.amount:
        return refusal("INSUFFICIENT_FUNDS", f'"{payer.name}" does not have that much now.')
    return _too_rich(payee) if target.balance + cheque.amount > MAX_INTEGER else None


def _key(account: Account) -> bytes:
    return cheque_key(parse_verifier(account.verifier).server_key)


def _tell(world: World, lsn: int, account: Account, fields: dict[str, Any]) -> None:
    """An event about money, for one user: now, or at the next login."""
    post(world, lsn, account, dumps({"event": fields.pop("event"), "seq": lsn, "time": world.at, **fields}))


def _to_oneself() -> Reply:
    return refusal("SELF_PAYMENT", "You cannot pay yourself!")


def _too_rich(account: Account) -> Reply:
    return refusal("BALANCE_LIMIT", f'"{account.name}" cannot have more than {MAX_INTEGER:,} credits.')


# Accounts come and go.


def opened(world: World, account: Account) -> None:
    """The bank gives INITIAL_BALANCE to who is new, also to who was there before there was a bank."""
    books = bank_of(world).books
    if account.user not in books:
        books[account.user] = Book(opened=world.at)
        _enter(world, world.lsn, "open", BANK, account.user, world.parameters["INITIAL_BALANCE"], '""')


def forget(world: World, account: Account) -> None:
    """What is left returns to the bank. Cashed numbers stay until they expire."""
    books = bank_of(world).books
    if account.user in books:
        _enter(world, world.lsn, "close", account.user, BANK, books[account.user].balance, '""')
        del books[account.user]


# Questions.


def balance(world: World, user: str, _request: Request, _now: float) -> Reply:
    """What the user holds."""
    return {"status": "OK", "balance": bank_of(world).books[user].balance}


def statement(world: World, user: str, request: Request, _now: float) -> Reply:
    """The user's last entries, oldest first. A page is asked for with the offset of its last line."""
    count, joined = request.get("count", ENTRIES), world.accounts[user].joined
    offset = request.get("before", bank_of(world).books[user].last)
    found: list[dict[str, object]] = []
    while offset and len(found) < min(count, PAGE):
        line = world.archive.appended(NAME, offset)
        entry = parse(line) if line else None
        if entry is None or not entry.concerns(user) or entry.lsn < joined:
            if not found and "before" in request:
                return refusal("NO_SUCH_ENTRY", "There is no such place in your statement.")
            raise ValueError(f"{NAME}: the entry at byte {offset} cannot be read")
        found.append(_shown(world, user, entry))
        offset = entry.last_of(user)
    return page(found[::-1], offset if offset and len(found) < count else None)


def _shown(world: World, user: str, entry: Entry) -> dict[str, object]:
    note = json.loads(entry.note)
    number, memo = note if isinstance(note, list) else ("", note)
    shown = {
        "seq": entry.lsn, "time": entry.at, "kind": entry.kind, "from": world.name_of(entry.source),
        "to": world.name_of(entry.target), "amount": entry.amount, "balance": entry.balance_of(user), "memo": memo,
    }  # fmt: skip
    return {**shown, "number": number} if number else shown


def cashed(world: World, user: str, request: Request, now: float) -> Reply:
    """Which of the user's cheques were cashed, of those that have not expired; and what tells the key that signs them
    now from others."""
    bank = bank_of(world)
    earliest, numbers = bank.books[user].opened + cheques.VALID, bank.cashed.get(user, Directory[int]())
    good = ((number, expiry) for number in numbers.after(request.get("after", ""))
            if (expiry := numbers[number]) > now and expiry >= earliest)  # fmt: skip
    shown = [{"number": number, "expiry": expiry} for number, expiry in islice(good, NUMBERS)]
    reply = page(shown, str(shown[-1]["number"]) if next(good, None) else None)
    return {**reply, "key": cheques.fingerprint(_key(world.accounts[user]))}


# At rest.


def _dump(world: World) -> Iterator[str]:
    bank = bank_of(world)
    own = bank.books[BANK]
    yield f"{BANK} {own.balance} {own.last} {bank.end} {bank.entries}"
    for account in world.accounts.values():
        if book := bank.books.get(account.user):  # else it is of a home of an earlier version, until the start
            yield f"{account.user} {book.balance} {book.last} {book.opened!r}"


def _load(world: World, line: str) -> None:
    bank = bank_of(world)
    user, balance, last, *more = line.split(" ")
    if user == BANK:
        bank.books[BANK] = Book(int(balance), int(last))
        bank.end, bank.entries = map(int, more)
        return
    (opened,) = more
    bank.books[world.accounts[user].user] = Book(int(balance), int(last), float(opened))


def _dump_cashed(world: World) -> Iterator[str]:
    for payer, numbers in sorted(bank_of(world).cashed.items()):
        for number, expiry in sorted(numbers.items()):
            yield f"{payer} {number} {expiry}"


def _load_cashed(world: World, line: str) -> None:
    payer, number, expiry = line.split(" ")
    bank_of(world).cash(payer, number, int(expiry))


def _wrong(world: World) -> str:
    """What is wrong with the balances that were read, or ""."""
    books = bank_of(world).books
    total = sum(book.balance for book in books.values())
    if total:
        return f"accounts.txt: the balances, the bank's among them, add up to {total}, and not to 0"
    return next((f'accounts.txt: "{user}" has {book.balance} credits' for user, book in books.items()
                 if book.balance < 0 and user != BANK), "")  # fmt: skip


def _fits(world: World, line: bytes, offset: int) -> bool:
    """Whether this is the ledger's last line, as the balances have it."""
    bank = bank_of(world)
    entry = parse(line)
    return entry.number == bank.entries and all(
        (book.last, book.balance) == (offset, entry.balance_of(party))
        for party in (entry.source, entry.target) if (book := bank.books.get(party))
    )  # fmt: skip


FEATURE = Feature(
    "bank",
    handlers={"pay": pay, "grant": grant, "cash": cash},
    answers={"balance": balance, "statement": statement, "cheques": cashed},
    files={
        "accounts.txt": FlatFile("user, credits, where its last line in ledger.txt stands, opened at (*: the bank; "
                                 "then the ledger's length, and lines)", _dump, _load),
        "cheques.txt": FlatFile("payer, number and expiry of each cheque that was cashed, until it expires",
                                _dump_cashed, _load_cashed),
    },
    appends={NAME: AppendOnly(HEADER, lambda world: bank_of(world).end, _fits)},
    opened=opened,
    forget=forget,
    wrong=_wrong,
    state=Bank,
    speaks={"pay": "memo"},
)  # fmt: skip
