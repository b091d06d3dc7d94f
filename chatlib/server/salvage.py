"""What the flat files of a home say, also where some of them are damaged: line by line, as far as they can be read.

Of a damaged file no single line can be proven. So whatever another file proves is taken from there: who has an account,
and with which verifier, from the base of credentials.txt, which has a checksum of its own. Lines that cannot be read
are told. Changes nothing on the disk. Must not know the journal, nor what stands in the message store and the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from chatlib.core import snapshot
from chatlib.core.accounts import Account, folded
from chatlib.core.feature import FlatFile
from chatlib.core.world import World
from chatlib.protocol.text import ADMIN, fold, is_name
from chatlib.storage import checkpoint, messagefiles
from chatlib.storage.checkpoint import MANIFEST, Flat
from chatlib.storage.edited import Base
from chatlib.storage.parameters import defaults
from chatlib.storage.textfile import FileError

_UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, IndexError, AttributeError, AssertionError)


@dataclass
class Salvage:
    """What was read. `damage`: why a file is not what the server wrote, by name; `lost`: a sentence for each line or
    fact that could not be read; `rebuilt`: users whose account was missing, taken from elsewhere."""

    world: World
    flat: Flat
    damage: dict[str, FileError] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    boxes: set[str] = field(default_factory=set)  # streams of mailboxes.txt that were read, when it is damaged
    lsn: int = 0  # of the set, as the manifest says

    def is_broken(self, name: str) -> bool:
        """Whether nothing in this flat file can be trusted. Without a manifest that is so of all."""
        return name in self.damage or MANIFEST in self.damage


def read(data: Path) -> Salvage:
    """The flat files in `data`. Raises OSError."""
    flat, damage = checkpoint.look(data, snapshot.files(), snapshot.OLD_FILES)
    found = Salvage(_new_world(), flat, damage)
    if MANIFEST not in damage and flat:
        found.lsn = checkpoint.lsn_of(data)
    if not damage:
        try:
            snapshot.load(found.world, flat.read())
        except (snapshot.SnapshotError, FileError) as wrong:
            name = str(wrong).removeprefix(f"{data}/").split(",")[0].split(":")[0]
            found.damage[name] = FileError(f"{data}/{str(wrong).removeprefix(f'{data}/')}")
            found.world = _new_world()
    if found.damage:
        _read_lines(found, data)
        if found.lsn:
            found.world.lsn = found.lsn
    return found


def _new_world() -> World:
    world = World(defaults())
    world.store_end = messagefiles.START
    return world


def _read_lines(found: Salvage, data: Path) -> None:
    world = found.world
    for name, file in snapshot.files().items():
        if isinstance(file, FlatFile):
            _read_file(found, name, partial(file.load, world))
        else:
            for full in [full for full in found.flat.paths if full.startswith(name)]:
                _read_file(found, full, file.load(world, full.removeprefix(name)))
        if name == "users.txt":
            _mend_accounts(found, data)
        if name == "mailboxes.txt":
            _drop_strangers(world)


def _read_file(found: Salvage, name: str, load_line: Callable[[str], None]) -> None:
    path = found.flat.paths.get(name)
    if path is None:
        return
    try:
        lines = list(_lines(path))
    except FileNotFoundError:
        found.lost.append(f"{name}: all of it")
        return
    for number, line in lines:
        try:
            if line is None:
                raise ValueError("it is no text")
            load_line(line)
            if name == "mailboxes.txt":
                found.boxes.add(line[2:].partition('"')[0])
        except _UNREADABLE:
            found.lost.append(f"{name}, line {number}: {_shown(line)}")


def _lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """The numbered lines behind the first; None: a line that is cut short, or no text."""
    *lines, rest = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[1:], 2):
        try:
            yield number, line.decode()
        except UnicodeDecodeError:
            yield number, None
    if rest or not lines:
        yield len(lines) + 1, None


def _shown(line: str | None) -> str:
    """Enough of a line for a person; never a verifier."""
    return "bytes that are no text" if line is None else repr(line.split(" SCRAM", 1)[0][:60])


def _mend_accounts(found: Salvage, data: Path) -> None:
    """Accounts as the base of credentials.txt has them, where users.txt is damaged, and the base is as old."""
    if not found.is_broken("users.txt"):
        return
    world, known = found.world, verifiers(data)
    for user in [user for user in world.accounts if not is_name(world.accounts[user].name)]:
        _forget(world, user)
    if known is None:
        found.lost.append("users.txt: nothing else says who has an account: names and verifiers could not be checked")
        return
    for user in [user for user in world.accounts if user not in known]:
        found.lost.append(f'users.txt: "{world.accounts[user].name}", which is no user\'s name')
        _forget(world, user)
    for user, (name, verifier) in known.items():
        account = world.accounts.get(user)
        if account is None:
            world.accounts.load(user, Account(name, folded(name), verifier, 0))
            found.rebuilt.append(user)
        else:
            account.name, account.verifier = name, verifier


def _forget(world: World, user: str) -> None:
    account = world.accounts[user]
    world.forget_departure(account)
    if user in world.online:
        del world.online[user]
    world.further.pop(user, None)
    del world.accounts[user]


def verifiers(data: Path) -> Mapping[str, tuple[str, str]] | None:
    """By folded name, the name and verifier of each account, as credentials.txt was last written by the server; None
    when nothing says so."""
    try:
        base = Base.load(data / "credentials.base").lines
        text = (data.parent / "credentials.txt").read_text(encoding="utf-8-sig", errors="replace")
    except (FileError, OSError):
        return None
    names = {fold(words[0]): words[0] for line in text.split("\n") if (words := line.split(None, 1))}
    return {key: (names.get(key, key), verifier) for key, verifier in base.items() if key != ADMIN and is_name(key)}


def _drop_strangers(world: World) -> None:
    """Streams under names that no stream has: a damaged name of a user, say, is none."""
    for name in [name for name in world.streams if name != "all" and not name.startswith("#")]:
        del world.streams[name]
