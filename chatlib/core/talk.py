"""Messages, broadcasts and blocks: what people say to each other, and to whom they do not want to listen."""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any

from chatlib.core.mail import CHECKSUM, NO_MAIL, Mailbox
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
    # Encoded once, for the wire and for the disk.
    line = f" {receiver.name} {event}\n".encode()
    if receiver.mail is NO_MAIL:
        receiver.mail = Mailbox()
    receiver.mail.add(lsn, world.store_end)
    world.store_end += CHECKSUM + len(line)
    world.audience.store(line)
    if receiver.user not in world.online:
        return False
    world.audience.deliver(receiver.user, line[len(receiver.name) + 2 :])
    return True


def broadcast(world: World, lsn: int, command: Command) -> Reply:
    """To everyone registered, the sender too, except those who block the sender."""
    account = world.accounts[command["by"]]
    line = (
        f' all {{"event":"broadcast","seq":{lsn},"time":{world.at_text},"from":"{account.name}",'
        f'"text":{quote(command["text"])}}}\n'
    ).encode()
    world.broadcasts.add_from(account.user, lsn, world.store_end)
    world.store_end += CHECKSUM + len(line)
    world.audience.store(line)
    excluded = account.blocked_by or ()
    world.audience.fan_out(line[5:], excluded)
    return {"status": "OK", "seq": lsn, "undelivered": len(excluded)}


def block(world: World, lsn: int, command: Command) -> Reply:
    """`by` wants nothing more from `user`."""
    account, user = world.accounts[command["by"]], fold(command["user"])
    if user in (account.blocks or ()):
        return refusal("ALREADY_BLOCKED", f'You have blocked "{world.name_of(user)}" already.')
    if user not in world.accounts:
        return no_such_user(command["user"])
    if user == account.user:
        return refusal("SELF_BLOCK", "You cannot block yourself!")
    join_block(world, lsn, account, user)
    return {"status": "OK", "user": world.name_of(user)}


def unblock(world: World, lsn: int, command: Command) -> Reply:
    """Undoes block, also of a name that nobody has any more."""
    account, user = world.accounts[command["by"]], fold(command["user"])
    if user in (account.blocks or ()):
        part_block(world, account, user)
        assert account.refused is not None
        world.broadcasts.end(account.refused, user, lsn)
        account.refused = account.refused or None
        return {"status": "OK", "user": world.name_of(user)}
    if user not in world.accounts:
        return no_such_user(command["user"])
    if user == account.user:
        return refusal("SELF_UNBLOCK", "You cannot unblock yourself: you never block yourself.")
    return refusal("NOT_BLOCKED", f'You have not blocked "{world.name_of(user)}".')


def join_block(world: World, lsn: int, account: Account, user: str) -> None:
    """Both sides of a block of the name `user`; also used when a snapshot is read."""
    if account.blocks is None:
        account.blocks = []
    insort(account.blocks, user)
    if account.refused is None:
        account.refused = {}
    if len(account.refused.get(user, ())) % 2 == 0:  # a snapshot has said when it began
        world.broadcasts.begin(account.refused, user, lsn)
    other = world.accounts.get(user)
    if other is None:
        world.shunned.setdefault(user, set()).add(account.user)
        return
    if other.blocked_by is None:
        other.blocked_by = set()
    other.blocked_by.add(account.user)


def part_block(world: World, account: Account, user: str) -> None:
    """Undoes join_block. What becomes empty goes, so that a world is equal however it came about."""
    assert account.blocks is not None
    account.blocks.remove(user)
    account.blocks = account.blocks or None
    other = world.accounts.get(user)
    if other is None:
        blockers = world.shunned[user]
        blockers.discard(account.user)
        if not blockers:
            del world.shunned[user]
        return
    assert other.blocked_by is not None
    other.blocked_by.discard(account.user)
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
