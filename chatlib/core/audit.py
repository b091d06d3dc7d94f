"""An audit: all balances computed anew from the ledger, and compared with what the world says. No I/O.

It believes nothing: of each line the checksum, the number, the balances and the places of earlier lines must be what
the lines before it make of it. Legal order: ``read`` each portion of the ledger, in order → ``compare``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from chatlib.core.bank import Bank
from chatlib.core.ledger import BANK, START, parse
from chatlib.core.streams import CHECKSUM
from chatlib.protocol.cheque import MAX_AMOUNT

_BANK = BANK.encode()
_BETWEEN_USERS = (b"pay", b"cheque")


class Disagreement(ValueError):
    """The first line, or the balance, that is wrong; the message names it."""


class Audit:
    """What the ledger makes of everybody, so far."""

    def __init__(self) -> None:
        self.entries = 0
        self._offset = START
        self._lsn = 0
        self._books: dict[bytes, list[int]] = {_BANK: [0, 0]}  # balance, and where the last line stands

    def read(self, lines: Sequence[bytes]) -> None:
        """Lines with their checksums and ends. Raises Disagreement."""
        sums = struct.pack(f">{len(lines)}I", *[zlib.crc32(line[CHECKSUM:]) for line in lines]).hex().encode()
        all_whole = sums == b"".join([line[:CHECKSUM] for line in lines])
        books, offset = self._books, self._offset
        for number, line in enumerate(lines, self.entries + 1):
            try:
                _, said, _, _, kind, source, target, amount, rest = line.split(b" ", 8)
                moved = int(amount)
                if kind not in _BETWEEN_USERS:
                    self._may_be_the_banks(kind, source, target, moved)
                elif not 1 <= moved <= MAX_AMOUNT or source in (target, _BANK) or target == _BANK:
                    raise ValueError("it cannot be booked")
                one, other = books[source], books[target]
                one[0] -= moved
                other[0] += moved
                if (
                    not rest.startswith(b"%d %d %d %d " % (one[0], other[0], one[1], other[1])) or int(said) != number
                    or not (all_whole or _is_whole(line))
                    or (one[0] < 0 and source != _BANK) or (kind == b"close" and one[0])
                ):  # fmt: skip
                    raise ValueError(_difference(line, number, one, other))
            except (ValueError, KeyError) as wrong:
                raise Disagreement(self._place(line, number, offset, wrong)) from None
            one[1] = other[1] = offset
            offset += len(line)
            if kind == b"close":
                del books[source]
        self.entries += len(lines)
        self._offset = offset
        if lines:
            self._in_order(lines[-1])

    def _may_be_the_banks(self, kind: bytes, source: bytes, target: bytes, amount: int) -> None:
        """Whether the bank can have booked this. An account that opens has a book from now on. Raises ValueError."""
        if kind == b"open":
            fits = source == _BANK and target not in self._books and 0 <= amount <= MAX_AMOUNT
            self._books.setdefault(target, [0, 0])
        elif kind == b"close":
            fits = target == _BANK != source and amount >= 0
        else:
            fits = kind == b"grant" and source == _BANK != target and 1 <= amount <= MAX_AMOUNT
        if not fits:
            raise ValueError("it cannot be booked")

    def _in_order(self, line: bytes) -> None:
        """LSNs grow. Looked at once in a portion: within one, the numbers say the same."""
        entry = parse(line[CHECKSUM:])
        if entry.lsn < self._lsn:
            place = self._place(line, self.entries, self._offset - len(line), f"LSN {self._lsn} came before it")
            raise Disagreement(place)
        self._lsn = entry.lsn

    @staticmethod
    def _place(line: bytes, number: int, offset: int, wrong: object) -> str:
        if not _is_whole(line):
            wrong = "it is damaged (its checksum does not fit)"
        elif isinstance(wrong, KeyError):
            wrong = f"there is no account {wrong.args[0].decode(errors='replace')}"
        return f"ledger.txt, line {number + 1}, at byte {offset}: {wrong}"

    def compare(self, bank: Bank) -> None:
        """With what the world says, when all was read. Raises Disagreement."""
        if (self.entries, self._offset) != (bank.entries, bank.end):
            raise Disagreement(
                f"ledger.txt: {bank.entries} entries, which end at byte {bank.end}, are expected: {self.entries} are "
                f"there, which end at byte {self._offset}"
            )
        here = {user.encode(): [book.balance, book.last] for user, book in bank.books.items()}
        for user in sorted(here.keys() | self._books.keys()):
            if here.get(user) != self._books.get(user):
                held, booked = (f"{found[0]} credits" if found else "no account" for found in
                                (here.get(user), self._books.get(user)))  # fmt: skip
                raise Disagreement(f"{user.decode()}: {held}, but by the ledger {booked}")
        total = sum(balance for balance, _ in here.values())
        if total:
            raise Disagreement(f"all balances add up to {total}, and not to 0")


def _is_whole(line: bytes) -> bool:
    return line[:CHECKSUM] == b"%08x" % zlib.crc32(line[CHECKSUM:])


def _difference(line: bytes, number: int, one: list[int], other: list[int]) -> str:
    """What a line should say, and what it says."""
    entry = parse(line[CHECKSUM:])
    for what, said, right in (
        ("the number", entry.number, number),
        (f"the balance of {entry.source}", entry.source_balance, one[0]),
        (f"the balance of {entry.target}", entry.target_balance, other[0]),
        (f"the place of the earlier line of {entry.source}", entry.source_last, one[1]),
        (f"the place of the earlier line of {entry.target}", entry.target_last, other[1]),
    ):
        if said != right:
            return f"{what} is {said}, and should be {right}"
    return f"{entry.source} has {entry.source_balance} credits after it"
