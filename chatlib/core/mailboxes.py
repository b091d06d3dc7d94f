"""Where everyone's messages stand, at rest; and how messages that are too old leave all streams.

A line of ``mailboxes.txt`` is one stream: a shared one (``all`` are the broadcasts), or an account's mail with what the
account has seen, refused and followed, and where what it sent
stands if it sent anything. It is a JSON list, which is read fastest. An earlier version wrote five columns
with tabs between them, and all positions; they are read, too.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from itertools import islice
from sys import intern
from typing import TYPE_CHECKING

from chatlib.core.feature import Command, FlatFile
from chatlib.core.refused import edges_of
from chatlib.core.replies import Reply
from chatlib.core.streams import NO_MAIL, UNKNOWN, SharedStream, Stream
from chatlib.protocol.framing import dumps
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
        account.mail, account.sent = _shortened(account.mail, floor), _shortened(account.sent, floor)
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


def _shortened(stream: Stream, floor: int) -> Stream:
    if stream is NO_MAIL:
        return stream
    stream.forget(floor)
    return stream if stream.seqs else NO_MAIL


def _line(name: str, seen: int, refused: object, follows: object, stream: Stream, sent: Stream = NO_MAIL) -> str:
    both = _columns(stream) + (_columns(sent) if sent is not NO_MAIL else [])
    return dumps([name, seen, refused, follows, *both])


def _columns(stream: Stream) -> list[list[int]]:
    columns = (stream.firsts, stream.places, stream.seqs, stream.offsets)
    return [column.tolist() if column else [] for column in columns]  # type: ignore[attr-defined]


def _dump(world: World) -> Iterator[str]:
    for name, stream in world.streams.items():
        yield _line(name, 0, stream.senders, world.said if name == "all" else {}, stream)
    for account in world.accounts.values():
        refused = {sender: edges.tolist() for sender, edges in (account.refused or {}).items()}
        yield _line(account.user, account.seen, refused, account.follows or {}, account.mail, account.sent)


def _load(world: World, line: str) -> None:
    if not line.startswith("["):
        _load_old(world, *line.split("\t"))
        return
    name, seen, refused, pairs, firsts, places, seqs, offsets, *sent = json.loads(line)
    follows = {intern(other): int(since) for other, since in dict(pairs).items()}
    if name == "all" or not is_name(name):
        world.streams[name] = SharedStream(seqs, offsets, firsts, places, map(intern, refused))
        world.said.update(follows)
        return
    account = world.accounts[name]
    account.seen = int(seen)
    account.refused = {intern(sender): array("q", edges) for sender, edges in dict(refused).items()} or None
    account.follows = follows or None
    if seqs or firsts:
        account.mail = Stream(seqs, offsets, firsts, places)
    if sent:  # an earlier version did not keep it
        firsts, places, seqs, offsets = sent
        account.sent = Stream(seqs, offsets, firsts, places)


def _load_old(world: World, name: str, seen: str, words: str, seqs: str, offsets: str) -> None:
    """A line of an earlier version, which in the beginning did not say who had sent the broadcasts."""
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
        pairs = (word.split(":") for word in words.split())
        account.refused = {intern(sender): array("q", map(int, edges.split(","))) for sender, edges in pairs} or None
    if seqs or offsets:
        account.mail = Stream(*positions)


def _column(text: str) -> array[int]:
    return array("q", map(int, text.split()))


MAILBOXES = FlatFile(
    "stream, seen up to, when blocks held, streams followed since (all: senders, who spoke last); in message_rep.txt: "
    "first seqs of chunks and offsets of their lines, seqs and offsets of what is not in chunks; "
    "the same of what was sent",
    _dump, _load,
)  # fmt: skip
