"""What the flat files of a home say, also where some of them are damaged: line by line, as far as they can be read.

Of a damaged file no single line can be proven. So whatever another file proves is taken from there: who has an account
from accounts.txt, and the verifiers from the base of credentials.txt, which has a checksum of its own. Lines that
cannot be read are told. Changes nothing on the disk. Must not know the journal, the message store and the ledger.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from chatlib.core import snapshot
from chatlib.core.accounts import Account, folded
from chatlib.core.feature import FlatFile
from chatlib.core.ledger import BANK
from chatlib.core.world import World
from chatlib.protocol.scram import MIN_ITERATIONS, ScramError, make_verifier, parse_verifier
from chatlib.protocol.text import ADMIN, fold, is_name
from chatlib.storage import checkpoint, messagefiles
from chatlib.storage.checkpoint import MANIFEST, Flat
from chatlib.storage.edited import Base
from chatlib.storage.parameters import defaults
from chatlib.storage.textfile import FileError

Begin = Callable[[Iterable[str]], str]
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
    if MANIFEST not in damage and checkpoint.where(data, MANIFEST).exists():
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
                inner = full.removeprefix(name)
                begin = partial(file.begin, world, inner) if file.begin else None
                _read_file(found, full, file.load(world, inner), begin)
        if name == "users.txt":
            _mend_accounts(found, data)
        if name == "admin.txt":
            _mend_admin(found, data)
        if name == "mailboxes.txt":
            _drop_strangers(world)


def _read_file(found: Salvage, name: str, load_line: Callable[[str], None], begin: Begin | None = None) -> None:
    """`begin` makes a first line again on which all others stand."""
    try:
        lines = list(_lines(found.flat.paths[name]))
    except (FileNotFoundError, KeyError):
        if name in found.damage:
            found.lost.append(f"{name}: all of it")
        return
    if begin and lines and not _loads(load_line, lines[0][1]):
        found.lost.append(f"{name}, line {lines[0][0]}: {_shown(lines[0][1])}")
        try:
            load_line(begin([line for _, line in lines if line is not None]))
        except _UNREADABLE:
            found.lost.append(f"{name}: all of it")
            return
        _loads(load_line, lines[0][1])  # if the line before it is what was lost
    for number, line in lines[1:] if begin else lines:
        if not _loads(load_line, line):
            found.lost.append(f"{name}, line {number}: {_shown(line)}")
        elif name == "mailboxes.txt" and line:
            stream = line[2:].partition('"')[0]
            (found.boxes.discard if stream in found.boxes else found.boxes.add)(stream)  # two cannot be


def _loads(load_line: Callable[[str], None], line: str | None) -> bool:
    """Whether a line can be read."""
    try:
        if line is not None:
            load_line(line)
    except _UNREADABLE:
        return False
    return line is not None


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
    """Where users.txt is damaged: accounts.txt says who has an account, the base of credentials.txt the verifiers."""
    if not found.is_broken("users.txt"):
        return
    world, (written, proven) = found.world, verifiers(data)
    known = _holders(found)
    if known is None and proven and written == found.lsn:
        known = set(proven)
    if known is None:
        found.lost.append("users.txt: no other file says who has an account: the names could not be checked")
        known = {*world.accounts, *(proven if any(lost.startswith("users.txt") for lost in found.lost[:-1]) else ())}
    for user in [user for user in world.accounts if user not in known]:
        found.lost.append(f'users.txt: "{world.accounts[user].name}", who has no account')
        _forget(world, user)
    for user in sorted(known):
        account = world.accounts.get(user)
        name, verifier = proven.get(user, (user, ""))
        if account is None:
            account = Account(name, folded(name), verifier, 0)
            world.accounts.load(user, account)
            found.rebuilt.append(user)
        elif verifier:
            account.name, account.verifier = name, verifier
        if not _is_verifier(account.verifier):
            account.verifier = str(make_verifier(secrets.token_hex(16), MIN_ITERATIONS))
            found.lost.append(f"users.txt: the password of {account.name}: give another one in credentials.txt")


def _mend_admin(found: Salvage, data: Path) -> None:
    """The administrator's verifier stands in the base of credentials.txt, too."""
    world = found.world
    if not found.is_broken("admin.txt") or ADMIN in world.accounts:
        return
    try:
        verifier = Base.load(data / "credentials.base").lines.get(ADMIN, "")
    except FileError:
        verifier = world.admin.verifier if world.admin else ""
    if _is_verifier(verifier):
        world.admin = world.admin or Account(ADMIN, ADMIN, verifier, found.lsn)
        world.admin.verifier = verifier
    elif world.admin:
        world.admin = None
        found.lost.append("admin.txt: the administrator's password: give another one with --set-admin-password")


def _is_verifier(text: str) -> bool:
    try:
        parse_verifier(text)
    except ScramError:
        return False
    return True


def _holders(found: Salvage) -> set[str] | None:
    """Who holds credits, which everybody does, even none; None: that cannot be trusted."""
    path = found.flat.paths.get("accounts.txt")
    if path is None or found.is_broken("accounts.txt"):
        return None
    return {user for _, line in _lines(path) if line and (user := line.partition(" ")[0]) != BANK}


def _forget(world: World, user: str) -> None:
    account = world.accounts[user]
    world.forget_departure(account)
    if user in world.online:
        del world.online[user]
    world.further.pop(user, None)
    del world.accounts[user]


def verifiers(data: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    """By folded name, the name and verifier of each account, as credentials.txt was last written by the server; and
    the last command by then. Where nothing says that, what is in credentials.txt, and -1."""
    try:
        text = (data.parent / "credentials.txt").read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        text = ""
    lines = [line.split() for line in text.split("\n") if line.strip()]
    try:
        base = Base.load(data / "credentials.base")
        written, held = (base.lsn, base.lines) if base.lines else (-1, {})
    except FileError:
        written, held = -1, {}
    if not held:
        held = {fold(words[0]): words[1] for words in lines if len(words) == 2 and _is_verifier(words[1])}
    names = {fold(words[0]): words[0] for words in lines}
    known = {key: (names.get(key, key), value) for key, value in held.items() if key != ADMIN and is_name(key)}
    return written, known


def _drop_strangers(world: World) -> None:
    """Streams under names that no stream has: a damaged name of a user, say, is none."""
    for name in [name for name in world.streams if name != "all" and not name.startswith("#")]:
        del world.streams[name]
