"""Long lists at the console: their lines, and how they are said in portions, so that none holds the loop up.

Only reads the world, which may change while a list goes on: each portion is of the world as it is by then. Must not
know who reads the lines. A list is an iterator of lines, with None now and then for work that said nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from typing import Any

from chatlib.core.bank import bank_of
from chatlib.core.sessions import sessions_of
from chatlib.core.threads import forum_of
from chatlib.core.world import Account, World
from chatlib.protocol.text import ADMIN, counted, fold
from chatlib.reactor.loop import Loop
from chatlib.server.whereabouts import Where

PORTION = 100  # lines said in a tick: about a millisecond
LOOKED_AT = 10  # what is looked at without a line counts as one

Lines = Iterator[str | None]


class Listings:
    """Says lists one after the other. `say` gets a line."""

    def __init__(self, loop: Loop, say: Callable[[str], None]) -> None:
        self._loop, self._say = loop, say
        self._lines: Lines | None = None

    @property
    def busy(self) -> bool:
        """Whether a list goes on."""
        return self._lines is not None

    def begin(self, lines: Lines) -> None:
        """Says the first portion now, and the others in the ticks that follow."""
        if self._lines is not None:
            self._lines = chain(self._lines, lines)
            return
        self._lines = lines
        self.again()

    def end(self) -> None:
        """Says no more."""
        self._lines = None

    def again(self) -> None:
        if self._lines is None:
            return
        count = 0
        for line in islice(self._lines, PORTION):
            count += 1
            if line is not None:
                self._say(line)
        if count < PORTION:
            self._lines = None
        else:
            self._loop.again(self)

    def broken(self) -> None:
        """What is left of a list that has failed is not said."""
        self._lines = None


def online(world: World) -> Lines:
    """Who is online, from where, since when; of a user with several sessions each."""
    yield f"{len(world.online)} online:" if world.online else "Nobody is online."
    for user in _in_order(world.online.after):
        found = sessions_of(world, user)
        for session in found:
            number = f", session {session.number}" if len(found) > 1 else ""
            yield f"  {world.accounts[user].name} from {session.address} since {_clock(session.since)}{number}"


def accounts(world: World) -> Lines:
    """Every registered user."""
    yield f"{len(world.accounts)} registered:" if world.accounts else "There are no users."
    for account in filter(None, _looked_at(world)):
        left = f"last here {_clock(account.left)}" if account.left else "never here"
        here = "online" if account.user in world.online else left
        yield f"  {account.name}: {here}, {world.unread(account)} unread"


_COLUMNS = ("name", "address", "port", "peer port", "online", "balance")
_FIGURES = (False, False, True, True, False, True)  # right-aligned
_SHORT = (0, 4, 5)  # of them in a narrow window
_GAP = 2  # blanks before each


def table(world: World, where: Callable[[str], Where | None], columns: int = 0) -> Lines:
    """A row for each account: where its user is, where direct connections are taken, what it holds.

    Where `columns` (0: as many as it takes) are too few for that, the places stand in a line of their own, below those
    who have one: else a terminal would break each row behind the name, and put its balance under another one's.
    """
    widths = list(map(len, _COLUMNS))
    for account in _looked_at(world):
        if account:
            widths = list(map(max, widths, map(len, _row(world, account, where(account.user)))))
        else:
            yield None
    narrow = 0 < columns < _GAP * len(widths) + sum(widths)
    shown = _SHORT if narrow else range(len(_COLUMNS))
    yield _aligned(_COLUMNS, widths, shown)
    for account in filter(None, _looked_at(world)):
        place = where(account.user)
        row = _row(world, account, place)
        yield _aligned(row, widths, shown)
        if narrow and place:
            at = f"port {row[2]}" + (f", peer port {row[3]}" if row[3] != "-" else "")
            yield f"    at {row[1]}, {at}"


def _row(world: World, account: Account, place: Where | None) -> tuple[str, ...]:
    there = (place.address, *(str(port or "-") for port in place[1:]), "yes") if place else ("-", "-", "-", "no")
    return (account.name, *there, f"{bank_of(world).books[account.user].balance:,}")


def _aligned(row: Sequence[str], widths: Sequence[int], shown: Iterable[int]) -> str:
    cells = (row[each].rjust(widths[each]) if _FIGURES[each] else row[each].ljust(widths[each]) for each in shown)
    return "".join(" " * _GAP + cell for cell in cells).rstrip()


def blocked(world: World, now: float) -> Lines:
    """Who is locked out, from where, for how long; and who blocks whom."""
    locked: list[tuple[str, str, float]] = []  # the latest at the end
    for number, ((user, where), entry) in enumerate(list(world.lockouts.entries.items())):
        if number % LOOKED_AT == 0:
            yield None
        if seconds := entry.seconds_left(now):
            locked.append((user, where, seconds))
    yield f"{len(locked)} locked out:" if locked else "Nobody is locked out."
    for user, where, seconds in locked:
        origin = "every address" if where == "*" else where
        if user in world.accounts or user == ADMIN:
            yield f"  {world.name_of(user)} from {origin} for another {counted(round(seconds), 'second')}"
    count = 0
    for account in _looked_at(world):
        if account is None:
            yield None
        else:
            count += len(account.blocks or ())
    yield f"{count} blocked by other users:" if count else "No user blocks another."
    for account in _looked_at(world):
        if account is None:
            yield None
        else:
            for other in list(account.blocks or ()):
                yield f"  {account.name} blocks {world.name_of(other)}"


def rulings(world: World, now: float) -> Lines:
    """Who is banned and who is muted: since and until when, and why."""
    banned = [*world.bans.networks.items(), *world.bans.names.items()]
    for found, what in ((banned, "banned"), (list(world.muted.items()), "muted")):
        held = [(who, ruling) for who, ruling in found if ruling.holds(now)]
        yield f"{len(held)} {what}:" if held else f"Nobody is {what}."
        for who, ruling in held:
            until = f"until {_clock(ruling.until)}" if ruling.until else "for ever"
            why = f": {ruling.reason}" if ruling.reason else ""
            yield f"  {world.name_of(who)} {until}, since {_clock(ruling.since)}{why}"


def files(world: World) -> Lines:
    """The files that wait, oldest first, with their numbers."""
    runs: list[list[tuple[int, Any, str]]] = [[]]  # each short enough to be sorted at once
    for account in _looked_at(world):
        if account is None:
            yield None
            continue
        for _, file in account.files or ():
            runs[-1].append((file.number, file, account.name))
            if len(runs[-1]) == PORTION:
                runs[-1].sort()
                runs.append([])
                yield None
    runs[-1].sort()
    count = sum(map(len, runs))
    yield f"{count} waiting:" if count else "No files wait."
    for number, file, receiver in merge(*runs):
        size = counted(file.size, "byte")
        yield f'  {number}: "{file.name}" ({size}) from {file.sender} for {receiver}, since {_clock(file.at)}'


def threads(world: World) -> Lines:
    """The threads of the forum, by their titles."""
    forum = forum_of(world)
    yield f"{counted(len(forum), 'thread')}:" if forum else "There are no threads."
    for folded in _in_order(forum.after):
        thread = forum.get(folded)
        if thread is None:
            continue
        account = world.accounts.get(fold(thread.creator.name))
        gone = "" if account and thread.creator.is_account(account) else " (who is gone)"
        files = f", {counted(len(thread.attachments), 'file')} of {counted(thread.size, 'byte')}"
        said = counted(len(thread.seqs), "message") + (files if thread.attachments else "")
        yield f"  {thread.title} by {thread.creator.name}{gone}: {said}"


def _looked_at(world: World) -> Iterator[Account | None]:
    """All accounts in order, with a None behind so many."""
    for number, user in enumerate(_in_order(world.accounts.after), 1):
        account = world.accounts.get(user)
        if account:
            yield account
        if number % LOOKED_AT == 0:
            yield None


def _in_order(after: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """The keys of a directory that may change meanwhile."""
    last = ""
    while portion := list(islice(after(last), LOOKED_AT)):
        yield from portion
        last = portion[-1]


def _clock(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
