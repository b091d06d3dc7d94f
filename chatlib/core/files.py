"""Files that wait for their receivers: who sent what to whom. Never the bytes, which lie under a name of the server's.

A file becomes visible by one command, when its bytes are on disk, and is gone by another; so it is there whole or not
at all. Both are told to the other side by an event that waits like a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatlib.core.accounts import Account
from chatlib.core.talk import no_such_user, post, refusal
from chatlib.protocol.framing import dumps
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.world import Command, Handler, Reply, World


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


def file_refusal(
    world: World, sender: str, to: str, name: str, size: int, reserved: int = 0
) -> tuple[Account | None, Reply]:
    """Whom `to` means, and why a file may not be sent there (empty: it may).

    `reserved`: bytes that are on their way to the receiver already.
    """
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
    files = receiver.files or {}
    if (sender, name) in files:
        return receiver, refusal(
            "FILE_EXISTS", f'A file "{name}" from you waits for "{receiver.name}" already: rename yours, or wait.'
        )
    limit, quota = world.parameters["MAX_FILE_SIZE"], world.parameters["FILE_QUOTA"]
    if size > limit:
        return receiver, refusal("FILE_TOO_LARGE", f'"{name}" has {size} bytes; {limit} are allowed.')
    waiting = sum(file.size for file in files.values()) + reserved
    if waiting + size > quota:
        left = max(0, quota - waiting)
        text = f'"{name}" has {size} bytes; "{receiver.name}" has room for {left} until waiting files are fetched.'
        return receiver, refusal("QUOTA_EXCEEDED", text)
    return receiver, {}


def no_such_file(sender: str, name: str) -> Reply:
    """The refusal for a file that does not wait (any more)."""
    return refusal("NO_SUCH_FILE", f'No file "{name}" from "{sender}" waits for you.')


def stored(world: World, lsn: int, command: Command) -> Reply:
    """A file's bytes are on disk: it becomes visible, unless something speaks against it by now."""
    receiver, refused = file_refusal(world, command["user"], command["to"], command["name"], command["size"])
    if refused or receiver is None:
        return refused
    sender = world.accounts[command["user"]].name
    file = File(lsn, command["at"], sender, command["name"], command["size"], command["sha256"], command["blob"])
    if receiver.files is None:
        receiver.files = {}
    receiver.files[command["user"], file.name] = file
    world.audience.adopt(file.blob)
    post(world, lsn, receiver, dumps({"event": "file", **shown(file)}))
    return {"status": "OK", "seq": lsn}


def shown(file: File) -> dict[str, Any]:
    """What people are told of a file."""
    return {"seq": file.number, "time": file.at, "from": file.sender, "name": file.name, "size": file.size,
            "sha256": file.sha256}  # fmt: skip


def _remove(world: World, lsn: int, receiver: Account, key: tuple[str, str], outcome: str) -> None:
    assert receiver.files is not None
    file = receiver.files.pop(key)
    receiver.files = receiver.files or None
    world.audience.unlink(file.blob)
    sender = world.accounts.get(key[0])
    if sender is not None and sender.joined < file.number:  # not somebody new under that name
        event = {"event": "file_gone", "seq": lsn, "time": world.at, "to": receiver.name, "name": file.name,
                 "outcome": outcome}  # fmt: skip
        post(world, lsn, sender, dumps(event))


def _take_out(world: World, lsn: int, command: Command, outcome: str) -> Reply:
    receiver = world.accounts[command["by"]]
    key = (fold(command["from"]), command["name"])
    file = (receiver.files or {}).get(key)
    if file is None or command.get("sha256", file.sha256) != file.sha256:
        return no_such_file(command["from"], command["name"])
    _remove(world, lsn, receiver, key, outcome)
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
        for key, file in (receiver.files or {}).items():
            if file.number == command["number"]:
                _remove(world, lsn, receiver, key, "dropped")
                return {"status": "OK", "user": receiver.name, "file": file.name}
    return refusal("NO_SUCH_FILE", f"No file has the number {command['number']}.")


HANDLERS: dict[str, Handler] = {
    "file_stored": stored,
    "received": received,
    "filedecline": decline,
    "drop": drop,
}
