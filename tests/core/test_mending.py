"""Books that were damaged are right again, and everybody holds what is proven."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from chatlib.core.audit import Audit
from chatlib.core.ledger import BANK, START, Entry, parse
from chatlib.core.mending import Mending
from chatlib.core.streams import CHECKSUM
from chatlib.storage.textfile import is_whole, with_checksums
from tests.chance import new_chance

USERS = ("ann", "bob", "cyd", "dan")


def books(chance: random.Random, count: int) -> tuple[list[bytes], dict[str, int]]:
    """A ledger, and what everybody holds."""
    mending, lines, lsn = Mending(), [], 0
    for _ in range(count):
        lsn += 1
        held = mending.bank.books
        there = [user for user in USERS if user in held]
        away = [user for user in USERS if user not in held]
        kind = chance.choice(["open", "pay", "pay", "pay", "grant", "close"])
        if kind == "open" and away:
            entry = ("open", BANK, chance.choice(away), 1_000)
        elif kind == "close" and there:
            user = chance.choice(there)
            entry = ("close", user, BANK, held[user].balance)
        elif kind == "grant" and there:
            entry = ("grant", BANK, chance.choice(there), chance.randrange(1, 500))
        elif kind == "pay" and len(there) > 1:
            one, other = chance.sample(there, 2)
            if not held[one].balance:
                continue
            entry = ("pay", one, other, chance.randint(1, held[one].balance))
        else:
            continue
        lines.append(with_checksums([mending._enter(lsn, lsn / 2, *entry, f'"memo {lsn}"')]))
    return lines, {user: book.balance for user, book in mending.bank.books.items() if user != BANK}


def entries(lines: list[bytes], place: int) -> Iterator[Entry | None]:
    for line in lines[place:]:
        yield parse(line[CHECKSUM:]) if is_whole(line) else None


def mended(lines: list[bytes], held: dict[str, int] | None) -> tuple[Mending, list[bytes]]:
    """And an audit finds it right."""
    mending = Mending()
    made = [with_checksums([line]) for line in mending.lines(lambda place: entries(lines, place), held)]
    audit = Audit()
    audit.read(made)
    audit.compare(mending.bank)
    assert mending.bank.end == START + sum(map(len, made))
    return mending, made


def balances(mending: Mending) -> dict[str, int]:
    return {user: book.balance for user, book in mending.bank.books.items() if user != BANK}


def test_what_is_whole_stays_as_it_is() -> None:
    lines, held = books(new_chance(), 60)
    for known in (held, None):
        mending, made = mended(lines, known)
        assert made == lines
        assert (mending.lost, mending.made) == (0, [])


def test_a_lost_payment_is_made_good_between_those_two() -> None:
    mending = Mending()
    steps = [("open", BANK, "ann", 1_000), ("open", BANK, "bob", 1_000), ("pay", "ann", "bob", 250),
             ("pay", "bob", "ann", 1), ("grant", BANK, "ann", 5)]  # fmt: skip
    lines = [with_checksums([mending._enter(n, 1.5, *step, '"tea"')]) for n, step in enumerate(steps, 1)]
    for known in (balances(mending), None):
        broken = [*lines[:2], b"x" + lines[2][1:], *lines[3:]]
        again, made = mended(broken, known)
        assert balances(again) == {"ann": 756, "bob": 1_249}
        assert again.lost == 1
        assert again.made == [("ann paid bob 250", 1.5)]
        assert made[2].split(b" ")[4:8] == [b"pay", b"ann", b"bob", b"250"]


@pytest.mark.parametrize("known", [True, False])
def test_any_lines_may_be_lost(known: bool) -> None:
    """With what everybody holds, they hold it again. Without, whoever a later line names does."""
    chance = new_chance(known)
    for _ in range(150):
        lines, held = books(chance, 40)
        for _ in range(chance.randrange(1, 5)):
            place = chance.randrange(len(lines))
            match chance.randrange(3):
                case 0:
                    lines[place] = b"damaged" + lines[place][7:]
                case 1:
                    del lines[place:]
                case 2:
                    del lines[place]
            if not lines:
                break
        mending, _ = mended(lines, held if known else None)
        if known:
            assert balances(mending) == held
        assert sum(book.balance for book in mending.bank.books.values()) == 0


def test_nothing_is_left_of_the_ledger() -> None:
    mending, made = mended([], {"ann": 5, "bob": 3 * 10**12})
    assert balances(mending) == {"ann": 5, "bob": 3 * 10**12}
    assert len(made) == 4
