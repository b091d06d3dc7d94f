"""The world at rest: a world ↔ the lines of the flat text files (design, section 5). No I/O.

One row of FILES is one file: how its lines are written, and what one line read does to a world. The rows are read in
their order, since later ones stand on the accounts of earlier ones. Invariant: a world read from what another wrote is
equal to it.
"""

from __future__ import annotations

import json
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple
from sys import intern
from typing import Any, NamedTuple

from chatlib.core.accounts import Account, Presence, folded
from chatlib.core.byhand import ByHand
from chatlib.core.files import File as WaitingFile
from chatlib.core.files import Waiting
from chatlib.core.lockouts import Failures
from chatlib.core.mail import UNKNOWN, Broadcasts, Mailbox
from chatlib.core.talk import join_block
from chatlib.core.world import World
from chatlib.protocol.framing import dumps
from chatlib.protocol.text import is_name


class SnapshotError(ValueError):
    """A line that cannot be read; names the file and the line."""


class File(NamedTuple):
    """A flat file: what it says of itself in its first line, its lines, and what a line read does."""

    about: str
    dump: Callable[[World], Iterator[str]]
    load: Callable[[World, str], None]


def _dump_state(world: World) -> Iterator[str]:
    yield f"lsn {world.lsn}"
    yield f"at {world.at!r}"
    yield f"store_end {world.store_end}"
    if world.by_hand.parameters or world.by_hand.accounts:
        yield f"by_hand {dumps([world.by_hand.parameters, world.by_hand.accounts])}"
    for name, value in world.parameters.items():
        yield f"{name} {dumps(value)}"


def _load_state(world: World, line: str) -> None:
    name, value = line.split(" ", 1)
    if name in ("lsn", "at", "store_end"):
        setattr(world, name, json.loads(value))
    elif name == "by_hand":
        taken = [{user: (lsn, held) for user, (lsn, held) in one.items()} for one in json.loads(value)]
        world.by_hand = ByHand(*taken)
    elif name in world.parameters:  # one that a later version no longer has is forgotten
        world.parameters[name] = json.loads(value)


def _dump_users(world: World) -> Iterator[str]:
    for account in world.accounts.values():
        presence = world.online.get(account.user)
        session: list[Any] | None = None
        if presence:
            session = [presence.login, presence.since, presence.address, presence.client, presence.away_from]
        yield f"{account.name} {account.verifier} {account.joined} {account.left!r} {dumps(session)}"


def _load_users(world: World, line: str) -> None:
    name, verifier, joined, left, session = line.split(" ", 4)
    account = Account(name, folded(name), verifier, int(joined), left=float(left))
    world.accounts.load(account.user, account)
    if account.left:
        world.departures.load((account.left, account.user))
    fields = json.loads(session)
    if fields:
        world.online[account.user] = Presence(*fields)


def _numbers(values: Iterable[int]) -> str:
    return " ".join(map(str, values))


def _column(text: str) -> array[int]:
    return array("q", map(int, text.split()))


def _dump_mailboxes(world: World) -> Iterator[str]:
    box = world.broadcasts
    yield f"all\t0\t{' '.join(box.senders)}\t{_numbers(box.seqs)}\t{_numbers(box.offsets)}"
    for account in world.accounts.values():
        refused = " ".join(f"{name}:{','.join(map(str, edges))}" for name, edges in (account.refused or {}).items())
        mail = account.mail
        yield f"{account.user}\t{account.seen}\t{refused}\t{_numbers(mail.seqs)}\t{_numbers(mail.offsets)}"


def _load_mailboxes(world: World, line: str) -> None:
    user, seen, words, seqs, offsets = line.split("\t")
    if user == "all":
        positions = _column(seqs)
        senders = map(intern, words.split() or [UNKNOWN] * len(positions))  # an earlier version did not say
        world.broadcasts = Broadcasts(positions, _column(offsets), senders)
        return
    account = world.accounts[user]
    account.seen = int(seen)
    account.refused = _refused(world, words.split()) if words else None
    if seqs or offsets:
        account.mail = Mailbox(_column(seqs), _column(offsets))


def _refused(world: World, words: list[str]) -> dict[str, array[int]]:
    """When blocks held; an earlier version has kept the seqs of the broadcasts that they hid."""
    if ":" not in words[0]:
        return {UNKNOWN: world.broadcasts.edges_of(sorted(map(int, words)))}
    refused = {}
    for word in words:
        name, edges = word.split(":")
        refused[intern(name)] = array("q", map(int, edges.split(",")))
    return refused


def _dump_blocks(world: World) -> Iterator[str]:
    for account in world.accounts.values():
        for other in account.blocks or ():
            yield f"{account.user} {other}"


def _load_block(world: World, line: str) -> None:
    blocker, blocked = line.split(" ")
    if not is_name(blocked):
        raise ValueError("a name is expected")
    join_block(world, world.lsn, world.accounts[blocker], blocked)


def _dump_lockouts(world: World) -> Iterator[str]:
    for (user, origin), entry in world.lockouts.entries.items():
        yield f"{user} {origin} {entry.count} {entry.last!r} {entry.until!r}"


def _load_lockout(world: World, line: str) -> None:
    user, origin, count, last, until = line.split(" ")
    world.lockouts.add(user, origin, Failures(int(count), float(last), float(until)))


def _dump_addresses(world: World) -> Iterator[str]:
    for account in world.accounts.values():
        for address, client in account.known:
            yield f"{account.user} {address} {dumps(client)}"


def _load_address(world: World, line: str) -> None:
    user, address, client = line.split(" ", 2)
    account = world.accounts[user]
    account.known += ((address, str(json.loads(client))),)


def _dump_replies(world: World) -> Iterator[str]:
    for account in world.accounts.values():
        for key, reply in (account.replies or {}).items():
            yield f"{account.user} {dumps([key, reply])}"


def _load_reply(world: World, line: str) -> None:
    user, pair = line.split(" ", 1)
    account = world.accounts[user]
    if account.replies is None:
        account.replies = OrderedDict()
    key, reply = json.loads(pair)
    account.replies[key] = reply


def _dump_files(world: World) -> Iterator[str]:
    for account in world.accounts.values():
        for sender, file in account.files or ():
            yield f"{account.user} {sender} {dumps(astuple(file))}"


def _load_file(world: World, line: str) -> None:
    receiver, sender, fields = line.split(" ", 2)
    file = WaitingFile(*json.loads(fields))
    account = world.accounts[receiver]
    if account.files is None:
        account.files = Waiting()
    account.files.add(sender, file)


FILES: Mapping[str, File] = {
    "state.txt": File("the last command in these files, and the parameters", _dump_state, _load_state),
    "users.txt": File("name, verifier, LSN of registration, last departure, open session", _dump_users, _load_users),
    "mailboxes.txt": File(
        "user, seen up to, when blocks held (all: senders), seqs and offsets in message_rep.txt",
        _dump_mailboxes, _load_mailboxes,
    ),
    "block_rep.txt": File("who blocks whom", _dump_blocks, _load_block),
    "list_block.txt": File("user, origin, wrong passwords, last one, locked out until", _dump_lockouts, _load_lockout),
    "addresses.txt": File("user, address from which the password was proven, client", _dump_addresses, _load_address),
    "file_rep.txt": File("receiver, sender, waiting file: number, time, from, name, size, SHA-256, bytes", _dump_files,
                         _load_file),
    "replies.txt": File("user, key and first reply", _dump_replies, _load_reply),
}

# What a set of format 1 always had.
OLD_FILES = ("state.txt", "users.txt", "mailboxes.txt", "block_rep.txt", "list_block.txt", "file_rep.txt",
             "replies.txt")  # fmt: skip


def dump(world: World) -> Iterator[tuple[str, str, Iterator[str]]]:
    """Each file's name, what it is about, and its lines without ends."""
    for name, file in FILES.items():
        yield name, file.about, file.dump(world)


def load(world: World, files: Mapping[str, Iterable[tuple[int, str]]]) -> None:
    """Fills a new `world` from numbered lines. Raises SnapshotError, naming the place, for what cannot be read."""
    for name, file in FILES.items():
        for number, line in files.get(name, ()):
            try:
                file.load(world, line)
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise SnapshotError(f"{name}, line {number}: {file.about} is expected ({error})") from None
