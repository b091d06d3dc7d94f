"""Messages, broadcasts and blocks: what people say to each other, who is there to hear it, and to whom they do not want
to listen."""

from __future__ import annotations

import json
from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chatlib.core import quota, refused
from chatlib.core.effects import BROADCAST, ERASE, ERASE_LAST, POST, SENT
from chatlib.core.feature import Command, Feature, FlatFile, Request
from chatlib.core.mailboxes import MAILBOXES, expire
from chatlib.core.replies import Reply, encoded, no_such_user, page_of_names, refusal
from chatlib.core.streams import CHECKSUM, NO_MAIL, Stream
from chatlib.protocol.framing import encode, quote
from chatlib.protocol.text import fold, is_name

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import World


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
    if user not in world.online and (full := quota.refusal_of(world, sender, receiver)):
        return full
    event = (
        f'{{"event":"message","seq":{lsn},"time":{world.at_text},"from":"{account.name}",'
        f'"text":{quote(command["text"])}}}'
    )
    delivered = post(world, lsn, receiver, event, account)
    text = f'{{"status":"OK","seq":{lsn},"delivered":{"true" if delivered else "false"}}}'
    return encoded(text, {"status": "OK", "seq": lsn, "delivered": delivered})


def tell_others(world: World, lsn: int, sender: str, to: str, event: str) -> None:
    """What one of the sender's sessions has sent, the others hear."""
    said = {name: value for name, value in json.loads(event).items() if name not in ("event", "seq", "time", "from")}
    told = {"event": "sent", "seq": lsn, "time": world.at, "to": to, **said}
    world.effects.append((SENT, sender, encode(told)))


def post(world: World, lsn: int, receiver: Account, event: str, sender: Account | None = None) -> bool:
    """An event, as JSON, for one user: now, or at the next login. Whether it is now. `sender` has sent it."""
    # Encoded once, for the wire and for the disk.
    line, offset = f" {receiver.name} {event}\n".encode(), world.store_end
    mail, user = receiver.mail, receiver.user
    if mail is NO_MAIL:
        mail = receiver.mail = Stream()
    is_long = mail.add(lsn, offset)
    world.store_end = offset + CHECKSUM + len(line)
    world.effects.append((POST, user, line))
    if is_long:
        world.seal(mail, receiver.name)
    if sender is not None:
        sent = sender.sent
        if sent is NO_MAIL:
            sent = sender.sent = Stream()
        if sent.add(lsn, offset):
            world.seal(sent, f">{sender.name}")
        if world.further and sender.user in world.further:
            tell_others(world, lsn, sender.user, receiver.name, event)
    return user in world.online


def broadcast(world: World, lsn: int, command: Command) -> Reply:
    """To everyone registered, the sender too, except those who block the sender."""
    account = world.accounts[command["by"]]
    line = (
        f' all {{"event":"broadcast","seq":{lsn},"time":{world.at_text},"from":"{account.name}",'
        f'"text":{quote(command["text"])}}}\n'
    ).encode()
    excluded = account.blocked_by or ()
    world.say_in("all", account.user, line, (BROADCAST, line, excluded))
    undelivered = len(excluded)
    text = f'{{"status":"OK","seq":{lsn},"undelivered":{undelivered}}}'
    return encoded(text, {"status": "OK", "seq": lsn, "undelivered": undelivered})


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
    world.blocked(account, user)
    return {"status": "OK", "user": world.name_of(user)}


def unblock(world: World, lsn: int, command: Command) -> Reply:
    """Undoes block, also of a name that nobody has any more."""
    account, user = world.accounts[command["by"]], fold(command["user"])
    if user in (account.blocks or ()):
        part_block(world, account, user)
        assert account.refused is not None
        refused.end(account.refused, user, lsn, world.said.get(user, 0))
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
        refused.begin(account.refused, user, lsn, world.said.get(user, 0))
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


def seen(world: World, lsn: int, command: Command) -> Reply:
    """What the edge gathered in a second: user → the last seq that user has seen."""
    for user, told in command["seen"].items():
        account, seq = world.accounts.get(user), min(told, lsn)
        if account is not None and seq > account.seen:
            account.seen = seq
            quota.seen(account)
    return {"status": "OK"}


# Questions.

def _after(request: Request) -> str:
    """Behind which name the page begins."""
    return fold(request.get("after", ""))


def whoelse(world: World, user: str, request: Request, _now: float) -> Reply:
    """Who else is online."""
    return page_of_names(world.visible(user, _after(request)), world.name_of)


def list_users(world: World, user: str, request: Request, _now: float) -> Reply:
    """Everyone registered."""
    hidden = world.accounts[user].blocked_by or ()

    def show(other: str) -> dict[str, object]:
        return {"user": world.accounts[other].name, "online": other in world.online and other not in hidden}

    return page_of_names(world.accounts.after(_after(request)), show)


def wholasthr(world: World, user: str, request: Request, now: float) -> Reply:
    """Who else was online lately."""
    minutes = request.get("minutes")
    seconds = world.parameters["LAST_HOUR"] if minutes is None else minutes * 60.0
    return page_of_names(world.seen_lately(user, now - seconds, now, _after(request)), world.name_of)


def blacklist(world: World, user: str, request: Request, _now: float) -> Reply:
    """Whom the user blocks."""
    blocks = world.accounts[user].blocks or []
    places = range(bisect_right(blocks, _after(request)), len(blocks))
    return page_of_names((blocks[place] for place in places), world.name_of)


# At rest.


def _dump_blocks(world: World) -> Iterator[str]:
    for account in world.accounts.values():
        for other in account.blocks or ():
            yield f"{account.user} {other}"


def _load_block(world: World, line: str) -> None:
    blocker, blocked = line.split(" ")
    if not is_name(blocked):
        raise ValueError("a name is expected")
    join_block(world, world.lsn, world.accounts[blocker], blocked)


def forget(world: World, account: Account) -> None:
    """The account's mail goes, and its blocks. Others' blocks are of the name: nobody gets around them by registering
    anew."""
    for other in list(account.blocks or ()):
        part_block(world, account, other)
    if account.blocked_by:
        world.shunned[account.user] = account.blocked_by
    if account.mail is not NO_MAIL:
        mail = account.mail.after(world.floor - 1, world.archive)
        world.effects.append((ERASE, (offset for _, offset in mail), None))
    indexes = [*account.mail.places, *account.sent.places]  # they say where mail stands: it must be gone before them
    if indexes:
        world.effects.append((ERASE_LAST, indexes, None))


FEATURE = Feature(
    "talk",
    handlers={"message": message, "broadcast": broadcast, "block": block, "unblock": unblock, "seen": seen,
              "expire": expire},
    answers={"whoelse": whoelse, "list_users": list_users, "wholasthr": wholasthr, "blacklist": blacklist},
    files={
        "mailboxes.txt": MAILBOXES,
        "block_rep.txt": FlatFile("who blocks whom", _dump_blocks, _load_block),
    },
    forget=forget,
    speaks={"message": "", "broadcast": ""},
)  # fmt: skip
