"""Books that are damaged are made right again: from what is whole of the ledger, and what everybody holds. No I/O.

Each whole line of the ledger is booked again, with a new number, new balances and places; it keeps its LSN, its time,
its parties and its memo. Where lines are lost, the later ones say what each party held before them, and the text files
what each holds in the end: the difference is booked as a payment between those who lost and those who gained, and what
is left over with the bank. So an audit finds the result right, and everybody holds what is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from chatlib.core.bank import Bank, Book, move
from chatlib.core.ledger import BANK, Entry
from chatlib.protocol.cheque import MAX_AMOUNT

MEMO = '"made good: the lines of the ledger that said it are damaged"'
Entries = Iterable[Entry | None]  # None: a line that is lost


class Mending:
    """One ledger. Legal order: ``lines``, all of it → the rest."""

    def __init__(self) -> None:
        self.bank = Bank()
        self.lost = 0  # lines
        self.made: list[tuple[str, float]] = []  # each movement that was made good, and about when it was

    def lines(self, read: Callable[[int], Entries], held: Mapping[str, int] | None) -> Iterator[bytes]:
        """The new ledger's lines, without checksums. `read`: the entries from a place on. `held`: what everybody but
        the bank holds in the end; None: that is not known."""
        in_gap, last = False, (0, 0.0)
        for place, entry in enumerate(read(0)):
            if entry is None:
                self.lost += 1
                in_gap = True
                continue
            if in_gap or not self._goes_on(entry):
                in_gap = False
                lsn, at = last if last[0] else (entry.lsn, entry.at)
                yield from self._make_good(self._before(read(place), held), lsn, at)
            last = entry.lsn, entry.at
            yield from self._again(entry)
        if held is not None:
            everybody: dict[str, int | None] = {user: None for user in self.bank.books if user != BANK}
            yield from self._make_good({**everybody, **held}, *last)

    def close(self, users: Iterable[str], lsn: int, at: float) -> Iterator[bytes]:
        """What these hold, who have no account any more, goes back to the bank."""
        for user in users:
            yield self._enter(lsn, at, "close", user, BANK, self.bank.books[user].balance, '""')

    # What the whole lines say.

    def _goes_on(self, entry: Entry) -> bool:
        """Whether the books are as this line has found them."""
        return all(self._holds(party) == before for party, before in _parties(entry) if party != BANK)

    def _holds(self, party: str) -> int | None:
        book = self.bank.books.get(party)
        return book.balance if book else None

    @staticmethod
    def _before(entries: Entries, held: Mapping[str, int] | None) -> dict[str, int | None]:
        """What each party held before the next line of it."""
        found: dict[str, int | None] = {}
        for entry in entries:
            for party, before in _parties(entry) if entry else ():
                if party != BANK:
                    found.setdefault(party, before)
        return {**(held or {}), **found}

    def _again(self, entry: Entry) -> Iterator[bytes]:
        """Books a whole line again. What cannot be (two lines that contradict each other) is left to what follows."""
        source, target, books = entry.source, entry.target, self.bank.books
        fits = {"open": source == BANK and target not in books, "close": target == BANK != source and source in books}
        if not fits.get(entry.kind, source in books and target in books):
            self.lost += 1
            return
        amount = books[source].balance if entry.kind == "close" else entry.amount
        if source != BANK and books[source].balance < amount:
            self.lost += 1
            return
        yield self._enter(entry.lsn, entry.at, entry.kind, source, target, amount, entry.note)

    # What must have been.

    def _make_good(self, wanted: Mapping[str, int | None], lsn: int, at: float) -> Iterator[bytes]:
        """Everybody holds what is wanted. None: no account."""
        books = self.bank.books
        more: dict[str, int] = {}
        less: dict[str, int] = {}
        for user, amount in wanted.items():
            before = self._holds(user)
            if before is None and amount is not None:
                first = min(amount, MAX_AMOUNT)
                yield self._enter(lsn, at, "open", BANK, user, first, MEMO)
                before = first
            difference = (amount or 0) - (before or 0)
            if difference:
                (more if difference > 0 else less)[user] = abs(difference)
        for loser in list(less):
            for gainer in list(more):
                amount = min(less[loser], more[gainer], MAX_AMOUNT)
                if amount:
                    yield self._enter(lsn, at, "pay", loser, gainer, amount, MEMO)
                    self.made.append((f"{loser} paid {gainer} {amount:,}", at))
                    less[loser] -= amount
                    more[gainer] -= amount
        for user, amount in more.items():
            while amount:
                part = min(amount, MAX_AMOUNT)
                yield self._enter(lsn, at, "grant", BANK, user, part, MEMO)
                self.made.append((f"the bank gave {user} {part:,}", at))
                amount -= part
        for user in [user for user, amount in wanted.items() if amount is None and user in books or less.get(user)]:
            yield from self._less(user, wanted[user], lsn, at)

    def _less(self, user: str, wanted: int | None, lsn: int, at: float) -> Iterator[bytes]:
        """What `user` holds too much goes to the bank: the end of an account alone can say that."""
        yield self._enter(lsn, at, "close", user, BANK, self.bank.books[user].balance, MEMO)
        again = "" if wanted is None else f", and opened again with {wanted:,}"
        self.made.append((f"the account of {user} was closed{again}", at))
        if wanted is not None:
            yield from self._make_good({user: wanted}, lsn, at)

    def _enter(self, lsn: int, at: float, kind: str, source: str, target: str, amount: int, note: str) -> bytes:
        bank, books = self.bank, self.bank.books
        if kind == "open":
            books[target] = Book(opened=at)
        line = move(bank, lsn, repr(at), kind, source, target, amount, note)
        if kind == "close":
            del books[source]
        return line


def _parties(entry: Entry) -> Iterator[tuple[str, int | None]]:
    """Both, with what each held before; None: no account."""
    yield entry.source, entry.source_balance + entry.amount
    yield entry.target, None if entry.kind == "open" else entry.target_balance - entry.amount
