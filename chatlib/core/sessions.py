"""The open sessions of each user: nearly always one, several where DUPLICATE_LOGIN is ``share``.

A user who is online has an oldest session, which stands in ``world.online``; the younger ones of the few who have
several stand in ``world.further``. So nobody pays for what only a few use. A session's number is what its user calls
it: it stays while the session is open, and a client that takes its own session over keeps it.

Invariants: whoever is in ``further`` is in ``online``; no two sessions of a user have one number, nor one login.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from chatlib.core.accounts import Account, Presence
from chatlib.protocol.framing import decode, encode
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.world import World

SENT = 256  # messages that a client that comes back is told of, of what its user sent elsewhere


def sessions_of(world: World, user: str) -> list[Presence]:
    """Those that are open, the oldest first."""
    oldest = world.online.get(user)
    return [] if oldest is None else [oldest, *world.further.get(user, ())]


def that_began(world: World, user: str, login: int) -> Presence | None:
    """The session that began with `login`, while it is open."""
    return next((each for each in sessions_of(world, user) if each.login == login), None)


def of_client(sessions: Sequence[Presence], client: str | None) -> Presence | None:
    """The one of a client program, which has said how it calls itself."""
    return next((each for each in sessions if client is not None and each.client == client), None)


def keep(world: World, user: str, sessions: Sequence[Presence]) -> None:
    """`user`, who is online, has these sessions from now on; one at least."""
    world.online[user] = sessions[0]
    if len(sessions) > 1:
        world.further[user] = sessions[1:]
    else:
        world.further.pop(user, None)


def begin(world: World, user: str, session: Presence, ending: Collection[Presence]) -> None:
    """One more, in the place of the first of those that end with it."""
    kept: list[Presence] = []
    begun = False
    for each in sessions_of(world, user):
        if each not in ending:
            kept.append(each)
        elif not begun:
            begun, session.number = True, each.number
            kept.append(session)
    if not begun:
        session.number = 1 + max((each.number for each in kept), default=0)
        kept.append(session)
    keep(world, user, kept)


def end(world: World, account: Account, session: Presence, at: float) -> bool:
    """It is over; whether that was the last, and `account` is offline now."""
    left = [each for each in sessions_of(world, account.user) if each is not session]
    if left:
        keep(world, account.user, left)
    else:
        world.leave(account, at)
    return not left


def sent_meanwhile(world: World, user: str, since: int, before: int) -> list[tuple[int, bytes]]:
    """The messages that the user sent between these seqs, as other sessions are told of them, with theirs; the latest.

    Of a line whose receiver is gone nothing is told.
    """
    stream, least = world.accounts[user].sent, max(since + 1, world.floor)
    positions = list(islice(stream.before(before, least, world.archive), SENT))[::-1]
    found = []
    for (seq, _), (to, line) in zip(positions, world.archive.lines(positions, user), strict=True):
        receiver = world.accounts.get(fold(to))
        event = decode(line[:-1]) if line and receiver and receiver.joined < seq else {}
        if event.get("event") == "message":
            told = {"event": "sent", "seq": seq, "time": event["time"], "to": to, "text": event["text"]}
            found.append((seq, encode(told)))
    return found


# At rest.


def dumped(world: World, user: str) -> list[Any] | None:
    """What is kept of a user's sessions. One alone is kept as in earlier versions, which knew no others."""
    fields = [_fields(each) for each in sessions_of(world, user)]
    return (fields[0] if len(fields) == 1 else fields) if fields else None


def _fields(session: Presence) -> list[Any]:
    fields = [session.login, session.since, session.address, session.client, session.away_from]
    if session.node or session.connection:
        return [*fields, session.number, session.node, session.connection]
    return fields if session.number == 1 else [*fields, session.number]


def load(world: World, user: str, fields: list[Any] | None) -> None:
    """Undoes ``dumped``."""
    if fields:
        several = fields if isinstance(fields[0], list) else [fields]
        keep(world, user, [Presence(*each) for each in several])
