"""Messages, broadcasts and blocks: what people say to each other, and to whom they do not want to listen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatlib.protocol.framing import quote
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import Command, Handler, Reply, World


def refusal(status: str, text: str, **more: Any) -> Reply:
    """A reply that says no, in a sentence for people."""
    return {"status": status, "text": text, **more}


def no_such_user(name: str) -> Reply:
    """The refusal for a name that nobody is registered under."""
    return refusal("NO_SUCH_USER", f'There is no user "{name}".')


def message(world: World, lsn: int, command: Command) -> Reply:
    """To one user, now or at the next login."""
    sender = command["by"]
    receiver = world.accounts.get(fold(command["to"]))
    if receiver is None:
        return no_such_user(command["to"])
    user = receiver.user
    if user == sender:
        return refusal("SELF_MESSAGE", "You cannot send a message to yourself!")
    account = world.accounts[sender]
    if account.blocked_by and user in account.blocked_by:
        return refusal("BLOCKED", f'"{receiver.name}" has blocked you: your message was not delivered.')
    event = (
        f'{{"event":"message","seq":{lsn},"time":{world.at_text},"from":"{account.name}",'
        f'"text":{quote(command["text"])}}}'
    )
    return {"status": "OK", "seq": lsn, "delivered": post(world, lsn, receiver, event)}


def post(world: World, lsn: int, receiver: Account, event: str) -> bool:
    """An event, as JSON, for one user: now, or at the next login. Whether it is now."""
    # Stored as "<receiver> <event>": encoded once, for the wire and for the disk.
    stored = f"{receiver.name} {event}\n".encode()
    receiver.mail.add(lsn, world.store_end)
    world.store_end += len(stored)
    world.audience.store(stored)
    if receiver.user not in world.online:
        return False
    world.audience.deliver(receiver.user, stored[len(receiver.name) + 1 :])
    return True


def broadcast(world: World, lsn: int, command: Command) -> Reply:
    """To everyone registered, the sender too, except those who block the sender."""
    account = world.accounts[command["by"]]
    stored = (
        f'all {{"event":"broadcast","seq":{lsn},"time":{world.at_text},"from":"{account.name}",'
        f'"text":{quote(command["text"])}}}\n'
    ).encode()
    world.broadcasts.add(lsn, world.store_end)
    world.store_end += len(stored)
    world.audience.store(stored)
    excluded = account.blocked_by or ()
    for user in excluded:
        blocker = world.accounts[user]
        if blocker.skipped is None:
            blocker.skipped = set()
        blocker.skipped.add(lsn)
    world.audience.fan_out(stored[4:], excluded)
    return {"status": "OK", "seq": lsn, "undelivered": len(excluded)}


def block(world: World, _lsn: int, command: Command) -> Reply:
    """`by` wants nothing more from `user`."""
    account, other = world.accounts[command["by"]], world.accounts.get(fold(command["user"]))
    if other is None:
        return no_such_user(command["user"])
    if other is account:
        return refusal("SELF_BLOCK", "You cannot block yourself!")
    if other.user in (account.blocks or ()):
        return refusal("ALREADY_BLOCKED", f'You have blocked "{other.name}" already.')
    join_block(account.user, other.user, world)
    return {"status": "OK", "user": other.name}


def unblock(world: World, _lsn: int, command: Command) -> Reply:
    """Undoes block."""
    account, other = world.accounts[command["by"]], world.accounts.get(fold(command["user"]))
    if other is None:
        return no_such_user(command["user"])
    if other is account:
        return refusal("SELF_UNBLOCK", "You cannot unblock yourself: you never block yourself.")
    if other.user not in (account.blocks or ()):
        return refusal("NOT_BLOCKED", f'You have not blocked "{other.name}".')
    part_block(account.user, other.user, world)
    return {"status": "OK", "user": other.name}


def join_block(blocker: str, blocked: str, world: World) -> None:
    """Both sides of a block; also used when a snapshot is read."""
    one, other = world.accounts[blocker], world.accounts[blocked]
    if one.blocks is None:
        one.blocks = set()
    one.blocks.add(blocked)
    if other.blocked_by is None:
        other.blocked_by = set()
    other.blocked_by.add(blocker)


def part_block(blocker: str, blocked: str, world: World) -> None:
    """Undoes join_block. Sets that become empty go, so that a world is equal however it came about."""
    one, other = world.accounts[blocker], world.accounts[blocked]
    assert one.blocks is not None and other.blocked_by is not None
    one.blocks.discard(blocked)
    other.blocked_by.discard(blocker)
    one.blocks = one.blocks or None
    other.blocked_by = other.blocked_by or None


def seen(world: World, _lsn: int, command: Command) -> Reply:
    """What the edge gathered in a second: user → the last seq that user has seen."""
    for user, seq in command["seen"].items():
        account = world.accounts.get(user)
        if account is not None and seq > account.seen:
            account.seen = seq
    return {"status": "OK"}


HANDLERS: dict[str, Handler] = {
    "message": message,
    "broadcast": broadcast,
    "block": block,
    "unblock": unblock,
    "seen": seen,
}
