"""The world at rest: a world ↔ the lines of the flat text files (design, section 5). No I/O.

The world's own files are here, those of a feature with the feature. They are read in the order of ``files``, since
later ones stand on the accounts of earlier ones. Invariant: a world read from what another wrote is equal to it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from chatlib.core import sessions
from chatlib.core.accounts import Account, folded
from chatlib.core.byhand import ByHand
from chatlib.core.feature import AppendOnly, FlatFile, FlatFolder
from chatlib.core.features import FEATURES
from chatlib.core.world import World
from chatlib.protocol.framing import dumps


class SnapshotError(ValueError):
    """A line that cannot be read; names the file and the line."""


def _dump_state(world: World) -> Iterator[str]:
    yield f"lsn {world.lsn}"
    yield f"at {world.at!r}"
    yield f"store_end {world.store_end}"
    if world.limited:
        yield "limited true"
    if world.floor:
        yield f"floor {dumps([world.floor, world.floor_offset])}"
    if world.expiring:
        yield f"expiring {dumps(world.expiring)}"
    for node, taken in sorted(world.by_hand.items()):
        yield f"by_hand {dumps([taken.parameters, taken.accounts, *([node] if node else [])])}"
    for feature in FEATURES:
        for name, held in feature.lines(world):
            yield f"{name} {dumps(held)}"
    for name, value in world.parameters.items():
        yield f"{name} {dumps(value)}"


def _load_state(world: World, line: str) -> None:
    name, value = line.split(" ", 1)
    if name == "at":
        world.move_to(json.loads(value))
    elif name in ("lsn", "store_end", "limited"):
        setattr(world, name, json.loads(value))
    elif name == "floor":
        world.floor, world.floor_offset = map(int, json.loads(value))
    elif name == "expiring":
        floor, offset, last = json.loads(value)
        world.expiring = int(floor), int(offset), str(last)
    elif name == "by_hand":
        parameters, accounts, *node = json.loads(value)
        taken = [{user: (lsn, held) for user, (lsn, held) in one.items()} for one in (parameters, accounts)]
        world.by_hand[str(node[0]) if node else ""] = ByHand(*taken)
    elif name in world.parameters:  # one that a later version no longer has is forgotten
        world.parameters[name] = json.loads(value)
    else:
        for feature in FEATURES:
            if name in feature.reads:
                feature.reads[name](world, json.loads(value))


def _dump_users(world: World) -> Iterator[str]:
    for account in world.accounts.values():
        open_sessions = dumps(sessions.dumped(world, account.user))
        yield f"{account.name} {account.verifier} {account.joined} {account.left!r} {open_sessions}"


def _load_users(world: World, line: str) -> None:
    name, verifier, joined, left, open_sessions = line.split(" ", 4)
    account = Account(name, folded(name), verifier, int(joined), left=float(left))
    world.accounts.load(account.user, account)
    if account.left:
        world.departures.load((account.left, account.user))
    sessions.load(world, account.user, json.loads(open_sessions))


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


_FIRST = {
    "state.txt": FlatFile("the last command in these files, and the parameters", _dump_state, _load_state),
    "users.txt": FlatFile("name, verifier, LSN of registration, last departure, open sessions", _dump_users,
                          _load_users),
}  # fmt: skip
_LAST = {"replies.txt": FlatFile("user, key and first reply", _dump_replies, _load_reply)}

# What a set of format 1 always had.
OLD_FILES = ("state.txt", "users.txt", "mailboxes.txt", "block_rep.txt", "list_block.txt", "file_rep.txt",
             "replies.txt")  # fmt: skip


def files() -> dict[str, FlatFile | FlatFolder]:
    """All flat files by name: the world's own, and those of each feature. The name of a folder ends in "/"."""
    return {**_FIRST, **{name: file for feature in FEATURES for name, file in feature.files.items()}, **_LAST}


def appends() -> dict[str, AppendOnly]:
    """The files that only grow, by name."""
    return {name: file for feature in FEATURES for name, file in feature.appends.items()}


def dump(world: World) -> Iterator[tuple[str, str, Iterator[str]]]:
    """Each file's name, what it is about, and its lines without ends, which are made when they are asked for."""
    for name, file in files().items():
        if isinstance(file, FlatFile):
            yield name, file.about, file.dump(world)
        else:
            for inner, _ in file.names(world):
                yield name + inner, file.about, file.dump(world, inner)


def changed(world: World) -> dict[str, int]:
    """Of the files in folders, the last command that changed their lines."""
    folders = [(name, file) for name, file in files().items() if isinstance(file, FlatFolder)]
    return {name + inner: lsn for name, folder in folders for inner, lsn in folder.names(world)}


def load(world: World, lines: Mapping[str, Iterable[tuple[int, str]]]) -> None:
    """Fills a new `world` from numbered lines. Raises SnapshotError, naming the place, for what cannot be read."""
    for name, file in files().items():
        if isinstance(file, FlatFile):
            _load_lines(name, file.about, lines.get(name, ()), partial(file.load, world))
        else:
            for full in (full for full in lines if full.startswith(name)):
                _load_lines(full, file.about, lines[full], file.load(world, full.removeprefix(name)))
    for feature in FEATURES:
        if wrong := feature.wrong(world):
            raise SnapshotError(wrong)


def _load_lines(name: str, about: str, lines: Iterable[tuple[int, str]], load_line: Callable[[str], None]) -> None:
    for number, line in lines:
        try:
            load_line(line)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise SnapshotError(f"{name}, line {number}: {about} is expected ({error})") from None
