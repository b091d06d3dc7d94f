"""The ledger: one line for each entry in the books, in double entry. No I/O.

::

    <checksum> <number> <lsn> <time> <kind> <from> <to> <amount> <balance of from> <balance of to>
        <offset of from's line before this one> <the same of to> <memo, or what a cheque says, as JSON>

All in one line. Parties are users and ``*``, the bank, which is the other side of all that is no payment, and which
holds minus what all users hold: so all balances add up to 0. An offset of 0 says that there is no earlier line. Numbers
are dense, from 1. Kinds: ``open`` and ``close`` (of an account), ``pay``, ``cheque``, ``grant``. The checksum is CRC-32
of the rest, with the blank in front and the end; lines are without it here, as whoever stores them adds it.

The ledger is only added to. A checkpoint never writes it anew, and no index is needed: a party's lines are found from
its last one backward, by the offsets.
"""

from __future__ import annotations

from typing import NamedTuple

BANK = "*"
NAME = "ledger.txt"
HEADER = (
    f"# {NAME} 2: a checksum of the rest, number, LSN, time, kind, from, to, amount, both balances after it, where the"
    " last line of each stands, memo\n"
)
START = len(HEADER)  # the offset of the first line


class Entry(NamedTuple):
    """A line, as it was read."""

    number: int
    lsn: int
    at: float
    kind: str
    source: str
    target: str
    amount: int
    source_balance: int
    target_balance: int
    source_last: int
    target_last: int
    note: str  # JSON

    def concerns(self, party: str) -> bool:
        """Whether it is one of this party's."""
        return party in (self.source, self.target)

    def last_of(self, party: str) -> int:
        """Where the line before this one stands of a party that it concerns."""
        return self.source_last if party == self.source else self.target_last

    def balance_of(self, party: str) -> int:
        """What a party that it concerns held after it."""
        return self.source_balance if party == self.source else self.target_balance


def parse(line: bytes) -> Entry:
    """A line without its checksum. Raises ValueError for what is no entry."""
    words = line.decode().rstrip("\n").split(" ", 12)
    if len(words) != 13 or words[0]:
        raise ValueError("no entry of the ledger")
    _, number, lsn, at, kind, source, target, *numbers, note = words
    return Entry(int(number), int(lsn), float(at), kind, source, target, *map(int, numbers), note)  # type: ignore[arg-type,call-arg]
