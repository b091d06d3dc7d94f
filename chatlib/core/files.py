"""Files that wait for their receivers: who sent what to whom. Never the bytes, which lie under a name of the server's.

A file becomes visible by one command, when its bytes are on disk, and is gone by another; so it is there whole or not
at all. Both are told to the other side by an event that waits like a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from chatlib.core.accounts import Account
from chatlib.core.talk import no_such_user, post, refusal
from chatlib.protocol.framing import dumps
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.world import Command, Handler, Reply, World

FOR_ONE = 2_000  # files that may wait for one user,
FROM_ONE = 500  # and of these from one sender; the empty ones, too


@dataclass(frozen=True, slots=True)
class File:
    """A waiting file. `number` is the LSN of the command that made it visible."""

    number: int
    at: float
    sender: str  # as registered: it stays when the account goes
    name: str
    size: int
    sha256: str
    blob: str  # the name of its bytes on disk


@dataclass(slots=True)
class Waiting:
    """The files that wait for one user, and their sums: what a question costs does not grow with their number.

    Of one sender's files with one name there are several only when that name was registered anew: the newest is meant.
    """

    count: int = 0
    size: int = 0  # bytes
    from_sender: dict[str, int] = field(default_factory=dict)  # how many
    _files: dict[tuple[str, str], list[File]] = field(default_factory=dict)  # by sender and name, the newest last

    def add(self, sender: str, file: File) -> None:
        """One more, from `sender` (folded), with a higher number than those before."""
        self._files.setdefault((sender, file.name), []).append(file)
        self.count += 1
        self.size += file.size
        self.from_sender[sender] = self.from_sender.get(sender, 0) + 1

    def find(self, sender: str, name: str, sha256: str | None = None) -> File | None:
        """The newest of that sender and name, and with that digest if one is given."""
        found = (file for file in reversed(self._files.get((sender, name), ())) if sha256 in (None, file.sha256))
        return next(found, None)

    def remove(self, sender: str, file: File) -> None:
        """It waits no longer."""
        same = self._files[sender, file.name]
        same.remove(file)
        if not same:
            del self._files[sender, file.name]
        self.count -= 1
        self.size -= file.size
        self.from_sender[sender] -= 1
        if not self.from_sender[sender]:
            del self.from_sender[sender]

    def __iter__(self) -> Iterator[tuple[str, File]]:
        """Each with its sender, folded, in the order in which they came."""
        every = ((sender, file) for (sender, _), files in self._files.items() for file in files)
        return iter(sorted(every, key=lambda pair: pair[1].number))


class Coming(NamedTuple):
    """What is on its way to a receiver already: how many files from this sender, how many in all, how many bytes."""

    from_sender: int
    files: int
    size: int


_NOTHING_COMING = Coming(0, 0, 0)


def file_refusal(
    world: World, sender: str, to: str, name: str, size: int, coming: Coming = _NOTHING_COMING
) -> tuple[Account | None, Reply]:
    """Whom `to` means, and why a file may not be sent there (empty: it may)."""
    receiver = world.accounts.get(fold(to))
    if receiver is None:
        return None, no_such_user(to)
    if receiver.user == sender:
        return receiver, refusal("SELF_FILE", "You cannot send a file to yourself!")
    account = world.accounts.get(sender)
    if account is None:
        return receiver, no_such_user(sender)
    if account.blocked_by and receiver.user in account.blocked_by:
        return receiver, refusal("BLOCKED", f'"{receiver.name}" has blocked you: your file was not taken.')
    waiting = receiver.files or _NOTHING
    same = waiting.find(sender, name)
    if same is not None and same.number > account.joined:  # not an earlier user's of that name
        return receiver, refusal(
            "FILE_EXISTS", f'A file "{name}" from you waits for "{receiver.name}" already: rename yours, or wait.'
        )
    return receiver, _beyond_limits(world, waiting, receiver.name, sender, (name, size), coming)


def _beyond_limits(
    world: World, waiting: Waiting, receiver: str, sender: str, file: tuple[str, int], coming: Coming
) -> Reply:
    (name, size), quota = file, world.parameters["FILE_QUOTA"]
    if size > world.parameters["MAX_FILE_SIZE"]:
        limit = world.parameters["MAX_FILE_SIZE"]
        return refusal("FILE_TOO_LARGE", f'"{name}" has {size} bytes; {limit} are allowed.')
    if waiting.from_sender.get(sender, 0) + coming.from_sender >= FROM_ONE:
        text = f'{FROM_ONE} files from you wait for "{receiver}": wait until some are fetched.'
        return refusal("TOO_MANY_FILES", text)
    if waiting.count + coming.files >= FOR_ONE:
        return refusal("TOO_MANY_FILES", f'{FOR_ONE} files wait for "{receiver}": wait until some are fetched.')
    taken = waiting.size + coming.size
    if taken + size > quota:
        left = max(0, quota - taken)
        text = f'"{name}" has {size} bytes; "{receiver}" has room for {left} until waiting files are fetched.'
        return refusal("QUOTA_EXCEEDED", text)
    return {}


def no_such_file(sender: str, name: str) -> Reply:
    """The refusal for a file that does not wait (any more)."""
    return refusal("NO_SUCH_FILE", f'No file "{name}" from "{sender}" waits for you.')


def stored(world: World, lsn: int, command: Command) -> Reply:
    """A file's bytes are on disk: it becomes visible, unless something speaks against it by now."""
    receiver, refused = file_refusal(world, command["user"], command["to"], command["name"], command["size"])
    if refused or receiver is None:
        return refused
    sender = world.accounts[command["user"]]
    # A name may have gone to somebody else since the upload began. (A journal of an earlier version does not say.)
    for account, joined in ((sender, "joined"), (receiver, "to_joined")):
        if command.get(joined, account.joined) != account.joined:
            return refusal("NO_SUCH_USER", f'The user "{account.name}" of when the upload began has been removed.')
    file = File(lsn, command["at"], sender.name, command["name"], command["size"], command["sha256"], command["blob"])
    if receiver.files is None:
        receiver.files = Waiting()
    receiver.files.add(sender.user, file)
    world.audience.adopt(file.blob)
    post(world, lsn, receiver, dumps({"event": "file", **shown(file)}))
    return {"status": "OK", "seq": lsn}


def shown(file: File) -> dict[str, Any]:
    """What people are told of a file."""
    return {"seq": file.number, "time": file.at, "from": file.sender, "name": file.name, "size": file.size,
            "sha256": file.sha256}  # fmt: skip


def _remove(world: World, lsn: int, receiver: Account, sender: str, file: File, outcome: str) -> None:
    assert receiver.files is not None
    receiver.files.remove(sender, file)
    receiver.files = receiver.files if receiver.files.count else None
    world.audience.unlink(file.blob)
    account = world.accounts.get(sender)
    if account is not None and account.joined < file.number:  # not somebody new under that name
        event = {"event": "file_gone", "seq": lsn, "time": world.at, "to": receiver.name, "name": file.name,
                 "outcome": outcome}  # fmt: skip
        post(world, lsn, account, dumps(event))


def _take_out(world: World, lsn: int, command: Command, outcome: str) -> Reply:
    receiver, sender = world.accounts[command["by"]], fold(command["from"])
    file = (receiver.files or _NOTHING).find(sender, command["name"], command.get("sha256"))
    if file is None:
        return no_such_file(command["from"], command["name"])
    _remove(world, lsn, receiver, sender, file, outcome)
    return {"status": "OK"}


def received(world: World, lsn: int, command: Command) -> Reply:
    """The receiver has it, verified."""
    return _take_out(world, lsn, command, "fetched")


def decline(world: World, lsn: int, command: Command) -> Reply:
    """The receiver does not want it."""
    return _take_out(world, lsn, command, "declined")


def drop(world: World, lsn: int, command: Command) -> Reply:
    """The administrator removes one."""
    for receiver in world.accounts.values():
        for sender, file in receiver.files or ():
            if file.number == command["number"]:
                _remove(world, lsn, receiver, sender, file, "dropped")
                return {"status": "OK", "user": receiver.name, "file": file.name}
    return refusal("NO_SUCH_FILE", f"No file has the number {command['number']}.")


_NOTHING = Waiting()

HANDLERS: dict[str, Handler] = {
    "file_stored": stored,
    "received": received,
    "filedecline": decline,
    "drop": drop,
}
