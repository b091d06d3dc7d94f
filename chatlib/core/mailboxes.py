"""Where everyone's messages stand, at rest; and how messages that are too old leave all streams.

A line of ``mailboxes.txt`` is one stream: a shared one (``all`` are the broadcasts), or an account's mail with what the
account has seen, refused and followed. An earlier version wrote five columns, with all positions; they are read, too.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from sys import intern
from typing import TYPE_CHECKING

from chatlib.core.feature import Command, FlatFile
from chatlib.core.refused import edges_of
from chatlib.core.replies import Reply
from chatlib.core.streams import NO_MAIL, UNKNOWN, SharedStream, Stream
from chatlib.protocol.text import is_name

if TYPE_CHECKING:
    from chatlib.core.world import World

AT_ONCE = 1_000  # accounts whose mail is looked through at once


def expire(world: World, _lsn: int, command: Command) -> Reply:
    """Everything earlier than the seq `before` goes, which stands before `offset` in the message store.

    The mail of AT_ONCE accounts is looked through at once; the same command again goes on with the next. When all are
    done, the shared streams follow, and the world has a new floor. Until then it is `expiring`, and a command goes on
    with what was begun, whatever it says. `offset` is the beginning of a segment, and `before` the first seq there.
    """
    floor, offset, last = world.expiring or (command["before"], command["offset"], "")
    users = list(islice(world.accounts.after(last), AT_ONCE))
    for user in users:
        account = world.accounts[user]
        if account.mail is not NO_MAIL:
            account.mail.forget(floor)
            account.mail = account.mail if account.mail.seqs else NO_MAIL
    if len(users) == AT_ONCE:
        world.expiring = (floor, offset, users[-1])
        return {"status": "OK"}
    world.expiring = None
    if floor > world.floor:
        world.floor, world.floor_offset = floor, offset
        for stream in world.streams.values():
            stream.forget(floor)
        world.said = {sender: seq for sender, seq in world.said.items() if seq >= floor}
    return {"status": "OK"}


def _numbers(values: Iterable[int]) -> str:
    return " ".join(map(str, values))


def _column(text: str) -> array[int]:
    return array("q", map(int, text.split()))


def _pairs(values: Iterable[tuple[str, int]]) -> str:
    return " ".join(f"{name}:{seq}" for name, seq in values)


def _read_pairs(text: str) -> dict[str, int]:
    pairs = (word.split(":") for word in text.split())
    return {intern(name): int(seq) for name, seq in pairs}


def _positions(stream: Stream) -> str:
    columns = (stream.firsts, stream.places, stream.seqs, stream.offsets)
    return "\t".join(map(_numbers, columns))


def _dump(world: World) -> Iterator[str]:
    for name, stream in world.streams.items():
        said = _pairs(world.said.items()) if name == "all" else ""
        yield f"{name}\t0\t{' '.join(stream.senders)}\t{said}\t{_positions(stream)}"
    for account in world.accounts.values():
        refused = " ".join(f"{name}:{','.join(map(str, edges))}" for name, edges in (account.refused or {}).items())
        follows = _pairs((account.follows or {}).items())
        yield f"{account.user}\t{account.seen}\t{refused}\t{follows}\t{_positions(account.mail)}"


def _load(world: World, line: str) -> None:
    columns = line.split("\t")
    if len(columns) == 5:
        _load_old(world, *columns)
        return
    name, seen, words, pairs, firsts, places, seqs, offsets = columns
    positions = (_column(seqs), _column(offsets), _column(firsts), _column(places))
    if name == "all" or not is_name(name):
        world.streams[name] = SharedStream(*positions, map(intern, words.split()))
        world.said.update(_read_pairs(pairs))
        return
    account = world.accounts[name]
    account.seen = int(seen)
    account.refused = _refused(words.split())
    account.follows = _read_pairs(pairs) or None
    if positions[0] or positions[2]:
        account.mail = Stream(*positions)


def _load_old(world: World, name: str, seen: str, words: str, seqs: str, offsets: str) -> None:
    """A line of an earlier version, which did not say who had sent the broadcasts in the beginning."""
    positions = _column(seqs), _column(offsets)
    if name == "all":
        senders = [*map(intern, words.split())] or [UNKNOWN] * len(positions[0])
        world.streams[name] = SharedStream(*positions, senders=senders)
        world.said = {sender: seq for sender, seq in zip(senders, positions[0], strict=True) if sender != UNKNOWN}
        return
    account = world.accounts[name]
    account.seen = int(seen)
    if words and ":" not in words:  # the seqs of the broadcasts that blocks hid, not yet when blocks held
        account.refused = {UNKNOWN: edges_of(world.broadcasts.seqs, sorted(map(int, words.split())))}
    else:
        account.refused = _refused(words.split())
    if seqs or offsets:
        account.mail = Stream(*positions)


def _refused(words: list[str]) -> dict[str, array[int]] | None:
    refused = {}
    for word in words:
        name, edges = word.split(":")
        refused[intern(name)] = array("q", map(int, edges.split(",")))
    return refused or None


MAILBOXES = FlatFile(
    "stream, seen up to, when blocks held, streams followed since (all: senders, who spoke last); in message_rep.txt: "
    "first seqs of chunks and offsets of their lines, seqs and offsets of what is not in chunks",
    _dump, _load,
)  # fmt: skip
