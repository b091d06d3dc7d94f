"""Files that wait for their receivers: who sent what to whom. The bytes are not here; they lie under names that the
server chose.

One command makes a file visible, when its bytes are on disk; another removes it. So it is there whole or not at all.
Each time an event, which waits like a message, tells the other side.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

from chatlib.core.accounts import Account
from chatlib.core.effects import ADOPT, UNLINK
from chatlib.core.feature import Coming, Command, DownloadGrant, Feature, FlatFile, Pools, Request, UploadGrant
from chatlib.core.replies import Reply, no_such_user, page, refusal
from chatlib.core.rulings import muted
from chatlib.core.talk import post
from chatlib.protocol.framing import dumps
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.world import World

FOR_ONE = 2_000  # files that may wait for one user,
FROM_ONE = 500  # and of these from one sender; empty files count
PAGE = 80  # files in one page of the list: with the longest names it still is one line


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file for one receiver. `number` is the LSN of the command that made it visible."""

    number: int
    at: float
    sender: str  # as registered: it stays when the account goes
    name: str
    size: int
    sha256: str
    blob: str  # the name of its bytes on disk


@dataclass(slots=True)
class WaitingFiles:
    """The files that wait for one user, and their sums, so that no check costs more when many wait.

    One sender may have several files of one name here only if the sender's name was registered anew. The newest counts.
    """

    count: int = 0
    size: int = 0  # bytes
    from_sender: dict[str, int] = field(default_factory=dict)  # how many
    _files: dict[tuple[str, str], list[WaitingFile]] = field(default_factory=dict)  # by sender and name; newest last

    def add(self, sender: str, file: WaitingFile) -> None:
        """One more, from `sender` (folded); its number is the highest."""
        self._files.setdefault((sender, file.name), []).append(file)
        self.count += 1
        self.size += file.size
        self.from_sender[sender] = self.from_sender.get(sender, 0) + 1

    def find(self, sender: str, name: str, sha256: str | None = None) -> WaitingFile | None:
        """The newest of that sender and name; if a digest is given, the newest with it."""
        found = (file for file in reversed(self._files.get((sender, name), ())) if sha256 in (None, file.sha256))
        return next(found, None)

    def remove(self, sender: str, file: WaitingFile) -> None:
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

    def __iter__(self) -> Iterator[tuple[str, WaitingFile]]:
        """Each with its sender, folded, in the order in which they came."""
        every = ((sender, file) for (sender, _), files in self._files.items() for file in files)
        return iter(sorted(every, key=lambda pair: pair[1].number))


_NOTHING_COMING = Coming(0, 0, 0)


def file_refusal(
    world: World, sender: str, to: str, name: str, size: int, coming: Coming = _NOTHING_COMING
) -> tuple[Account | None, Reply]:
    """The receiver, if there is one, and why the file may not be sent (empty: it may)."""
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
    if same is not None and same.number > account.joined:  # not from an earlier user of that name
        return receiver, refusal(
            "FILE_EXISTS", f'A file "{name}" from you waits for "{receiver.name}" already: rename yours, or wait.',
            sha256=same.sha256,
        )
    return receiver, _beyond_limits(world, waiting, receiver.name, sender, (name, size), coming)


def _beyond_limits(
    world: World, waiting: WaitingFiles, receiver: str, sender: str, file: tuple[str, int], coming: Coming
) -> Reply:
    (name, size), quota = file, world.parameters["FILE_QUOTA"]
    if size > world.parameters["MAX_FILE_SIZE"]:
        limit = world.parameters["MAX_FILE_SIZE"]
        return refusal("FILE_TOO_LARGE", f'"{name}" has {size:,} bytes; {limit:,} are allowed.')
    if waiting.from_sender.get(sender, 0) + coming.from_sender >= FROM_ONE:
        text = f'{FROM_ONE} files from you wait for "{receiver}": wait until some are fetched.'
        return refusal("TOO_MANY_FILES", text)
    if waiting.count + coming.files >= FOR_ONE:
        return refusal("TOO_MANY_FILES", f'{FOR_ONE} files wait for "{receiver}": wait until some are fetched.')
    used = waiting.size + coming.size
    if used + size > quota:
        left = max(0, quota - used)
        text = f'"{name}" has {size:,} bytes; "{receiver}" has room for {left:,} until waiting files are fetched.'
        return refusal("QUOTA_EXCEEDED", text)
    return {}


def no_such_file(sender: str, name: str) -> Reply:
    """The refusal for a file that does not wait (any more)."""
    return refusal("NO_SUCH_FILE", f'No file "{name}" from "{sender}" waits for you.')


def stored(world: World, lsn: int, command: Command) -> Reply:
    """A file's bytes are on disk: it becomes visible, unless a rule refuses it by now."""
    receiver, refused = file_refusal(world, command["user"], command["to"], command["name"], command["size"])
    refused = refused or muted(world, command["user"]) or {}
    if refused or receiver is None:
        return refused
    sender = world.accounts[command["user"]]
    # A name may have gone to somebody else since the upload began. (A journal of an earlier version does not say.)
    for account, joined in ((sender, "joined"), (receiver, "to_joined")):
        if command.get(joined, account.joined) != account.joined:
            return refusal("NO_SUCH_USER", f'The user "{account.name}" of when the upload began has been removed.')
    file = WaitingFile(
        lsn, world.at, sender.name, command["name"], command["size"], command["sha256"], command["blob"]
    )
    if receiver.files is None:
        receiver.files = WaitingFiles()
    receiver.files.add(sender.user, file)
    world.effects.append((ADOPT, file.blob, None))
    post(world, lsn, receiver, dumps({"event": "file", **shown(file)}), sender)
    return {"status": "OK", "seq": lsn}


def shown(file: WaitingFile) -> dict[str, Any]:
    """What people see of a file."""
    return {"seq": file.number, "time": file.at, "from": file.sender, "name": file.name, "size": file.size,
            "sha256": file.sha256}  # fmt: skip


def _remove(world: World, lsn: int, receiver: Account, sender: str, file: WaitingFile, outcome: str) -> None:
    assert receiver.files is not None
    receiver.files.remove(sender, file)
    receiver.files = receiver.files if receiver.files.count else None
    world.effects.append((UNLINK, file.blob, None))
    account = world.accounts.get(sender)
    if account is not None and account.joined < file.number:  # not somebody new under that name
        event = {"event": "file_gone", "seq": lsn, "time": world.at, "to": receiver.name, "name": file.name,
                 "outcome": outcome}  # fmt: skip
        post(world, lsn, account, dumps(event))


def _wait_no_longer(world: World, lsn: int, command: Command, outcome: str) -> Reply:
    receiver, sender = world.accounts[command["by"]], fold(command["from"])
    file = (receiver.files or _NOTHING).find(sender, command["name"], command.get("sha256"))
    if file is None:
        return no_such_file(command["from"], command["name"])
    _remove(world, lsn, receiver, sender, file, outcome)
    return {"status": "OK"}


def received(world: World, lsn: int, command: Command) -> Reply:
    """The receiver has the file, and has verified it."""
    return _wait_no_longer(world, lsn, command, "fetched")


def decline(world: World, lsn: int, command: Command) -> Reply:
    """The receiver does not want the file."""
    return _wait_no_longer(world, lsn, command, "declined")


def drop(world: World, lsn: int, command: Command) -> Reply:
    """The administrator removes a file."""
    for receiver in world.accounts.values():
        for sender, file in receiver.files or ():
            if file.number == command["number"]:
                _remove(world, lsn, receiver, sender, file, "dropped")
                return {"status": "OK", "user": receiver.name, "file": file.name}
    return refusal("NO_SUCH_FILE", f"No file has the number {command['number']}.")


def upload(world: World, user: str, request: Request, coming: Pools) -> UploadGrant | Reply:
    """May the user send this file? Its bytes become visible by ``file_stored``, which checks again."""
    to, name, size, sha256 = request["to"], request["name"], request["size"], request["sha256"]
    pool = f"files {fold(to)}"
    receiver, refused = file_refusal(world, user, to, name, size, coming(pool))
    if refused or receiver is None:
        return refused
    sender = world.accounts[user]
    command = {"action": "file_stored", "user": user, "joined": sender.joined, "to": to, "name": name, "size": size,
               "sha256": sha256, "to_joined": receiver.joined}  # fmt: skip
    # A name may go to somebody else, so whoever is meant is part of the identity.
    identity = (sender.party, receiver.party, name, str(size), sha256)
    return UploadGrant(identity, pool, name, size, sha256, command, tells=receiver.user)


def download(world: World, user: str, request: Request, _coming: Pools) -> DownloadGrant | Reply:
    """The newest file of that sender and name, if one waits. Without either the request asks what waits."""
    if "name" not in request and "from" not in request:
        return {}
    if "name" not in request or "from" not in request:
        return refusal("BAD_REQUEST", 'Fields "from" and "name" go together.')
    file = (world.accounts[user].files or _NOTHING).find(fold(request["from"]), request["name"])
    if file is None:
        return no_such_file(request["from"], request["name"])
    return DownloadGrant(file.blob, file.size, file.sha256)


def fileget(world: World, user: str, request: Request, _now: float) -> Reply:
    """What waits for the user, the newest first."""
    before = request.get("before", world.lsn + 1)
    files = [file for _, file in world.accounts[user].files or () if file.number < before]
    first = files[: -PAGE - 1 : -1]
    return page([shown(file) for file in first], first[-1].number if len(files) > PAGE else None)


# At rest.


def _dump_files(world: World) -> Iterator[str]:
    for account in world.accounts.values():
        for sender, file in account.files or ():
            yield f"{account.user} {sender} {dumps(astuple(file))}"


def _load_file(world: World, line: str) -> None:
    receiver, sender, fields = line.split(" ", 2)
    file = WaitingFile(*json.loads(fields))
    account = world.accounts[receiver]
    if account.files is None:
        account.files = WaitingFiles()
    account.files.add(sender, file)


def blobs(world: World) -> Iterator[str]:
    """The bytes of all waiting files."""
    return (file.blob for account in world.accounts.values() for _, file in account.files or ())


def forget(world: World, account: Account) -> None:
    """Files that wait for the account go; files that it sent stay."""
    for _, file in account.files or ():
        world.effects.append((UNLINK, file.blob, None))


_NOTHING = WaitingFiles()

FEATURE = Feature(
    "files",
    handlers={"file_stored": stored, "received": received, "filedecline": decline, "drop": drop},
    answers={"fileget": fileget},
    uploads={"file": upload},
    downloads={"fileget": download},
    files={
        "file_rep.txt": FlatFile(
            "receiver, sender, waiting file: number, time, from, name, size, SHA-256, bytes", _dump_files, _load_file
        ),
    },
    blobs=blobs,
    forget=forget,
    parties=lambda world: (account.party for account in world.accounts.values()),
    kept_as={"filedecline": "decline"},
    speaks={"file": ""},
)
