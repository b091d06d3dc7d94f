"""An independent checker of the books: it reads ``data/ledger.txt`` and nothing else, and knows none of our code.

``python tests/ledger.py FILE`` prints every balance, or the first line that is wrong.
"""

from __future__ import annotations

import binascii
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Ledger:
    """What all lines come to."""

    balances: dict[str, int] = field(default_factory=lambda: {"*": 0})
    lines: int = 0
    memos: Counter[str] = field(default_factory=Counter)  # of payments
    cheques: Counter[tuple[str, str]] = field(default_factory=Counter)  # payer and number
    payments: int = 0  # between users

    def __post_init__(self) -> None:
        self._last: dict[str, int] = {}
        self._lsn = 0

    def take(self, line: bytes, offset: int) -> None:
        """One line, with its end. Raises AssertionError, or ValueError for what is no line at all."""
        assert line.endswith(b"\n"), "it is cut short"
        assert line[:8] == f"{binascii.crc32(line[8:]):08x}".encode(), "its checksum does not fit"
        _, number, lsn, _, kind, source, target, *numbers = line.decode("utf-8").split(" ", 12)
        note = json.loads(numbers.pop())
        amount, left, right, before, after = map(int, numbers)
        self.lines += 1
        assert int(number) == self.lines, "a line is missing, or there twice"
        assert int(lsn) >= self._lsn, "it is out of order"
        self._lsn = int(lsn)
        if kind == "open":
            assert source == "*" and target not in self.balances, "it opens what is open"
            self.balances[target] = 0
        elif kind == "close":
            assert target == "*" and amount == self.balances[source], "what was left did not go back"
        else:
            assert 1 <= amount <= 10**12, "nobody may pay so much"
            assert (source == "*") == (kind == "grant") and target != "*" and source != target, "of no known kind"
            assert kind in ("pay", "cheque", "grant"), "of no known kind"
        self.balances[source] -= amount
        self.balances[target] += amount
        assert (left, right) == (self.balances[source], self.balances[target]), "a balance is wrong"
        assert source == "*" or left >= 0, "more was paid than was there"
        assert (before, after) == (self._last.get(source, 0), self._last.get(target, 0)), "an earlier line is elsewhere"
        self._last[source] = self._last[target] = offset
        if kind == "close":
            del self.balances[source], self._last[source]
        self.payments += kind in ("pay", "cheque")
        if kind == "cheque":
            self.cheques[source, note[0]] += 1
        elif kind == "pay" and note:
            self.memos[note] += 1


def read(path: Path) -> Ledger:
    """All of a ledger. Raises AssertionError that names the first line that is wrong."""
    ledger, offset = Ledger(), 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if number > 1:
                try:
                    ledger.take(line, offset)
                except (AssertionError, ValueError, KeyError) as wrong:
                    raise AssertionError(f"{path.name}, line {number}: {wrong}") from None
            offset += len(line)
    assert sum(ledger.balances.values()) == 0, "not all balances add up to 0"
    assert ledger.cheques.total() == len(ledger.cheques), "a cheque was cashed twice"
    return ledger


if __name__ == "__main__":
    for name, balance in sorted(read(Path(sys.argv[1])).balances.items()):
        print(name, balance)
