"""Who is not let in, and who may not speak: bans and mutes, as the administrator rules.

A ban of a name ends all its sessions and keeps its user out, who may still de-register; nobody registers the name anew
while it holds. A ban of a network is for the edge to carry out: the world has no connections. Whoever is muted reads,
and does everything but speak to others: features say what speaks (``Feature.speaks``). Rulings are of names, which
outlive their accounts. When one holds no more is told from the time of the commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from chatlib.core import sessions
from chatlib.core.effects import BAR, END, TELL
from chatlib.core.entry import end_session
from chatlib.core.feature import Command, Feature, FlatFile
from chatlib.core.replies import Reply, no_such_user, refusal
from chatlib.core.rulings import MOST, Ruling, Rulings, banned, muted
from chatlib.protocol.framing import dumps, encode
from chatlib.protocol.network import network
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.world import World


def _ruling(world: World, command: Command) -> Ruling:
    """As it was typed: for so many `seconds`, or for ever."""
    seconds = command.get("seconds", 0.0)
    return Ruling(world.at, world.at + seconds if seconds else 0.0, command.get("reason", ""))


def _too_many(rulings: Rulings, who: str) -> Reply | None:
    if len(rulings) < MOST or who in rulings:
        return None
    return refusal("TOO_MANY_BANS", f"There are {MOST:,} already: take some back first.")


def _known_as(world: World, command: Command) -> tuple[str, Any]:
    """Whom or what a command is about, as it is shown and as it is found."""
    found = network(command["network"]) if "network" in command else None
    if found is not None:
        return found.text, found
    user = fold(command["user"])
    return world.name_of(user), user


def ban(world: World, _lsn: int, command: Command) -> Reply:
    """A user, or all who come from a network, are kept out from now on."""
    shown, found = _known_as(world, command)
    ruling = _ruling(world, command)
    world.bans.expire(world.at)
    if "network" in command:
        full = _too_many(world.bans.networks, shown)
        if full is None:
            world.bans.put(found, ruling)
            world.effects.append((BAR, shown, None))
        return full or {"status": "OK", "who": shown, "lasts": ruling.lasts()}
    if found not in world.accounts and found not in world.bans.names:
        return no_such_user(command["user"])
    full = _too_many(world.bans.names, found)
    if full:
        return full
    world.bans.names.put(found, ruling)
    text = banned(shown, ruling, world.at)["text"]
    for session in sessions.sessions_of(world, found):
        end_session(world, world.accounts[found], session, command["at"])
        world.effects.append((END, found, (session.login, "BANNED", text)))
    return {"status": "OK", "who": shown, "lasts": ruling.lasts()}


def unban(world: World, _lsn: int, command: Command) -> Reply:
    """Undoes ban: of just this name or network."""
    shown, found = _known_as(world, command)
    gone = world.bans.take(found) if "network" in command else world.bans.names.take(found)
    world.bans.expire(world.at)
    if gone is None or not gone.holds(world.at):
        return refusal("NOT_BANNED", f'"{shown}" is not banned.')
    return {"status": "OK", "who": shown}


def mute(world: World, _lsn: int, command: Command) -> Reply:
    """A user may not speak to others from now on."""
    shown, user = _known_as(world, command)
    world.muted.over(world.at)
    if user not in world.accounts and user not in world.muted:
        return no_such_user(command["user"])
    full = _too_many(world.muted, user)
    if full:
        return full
    ruling = _ruling(world, command)
    world.muted.put(user, ruling)
    told = muted(world, user)
    assert told is not None
    _notice(world, user, told["text"])
    return {"status": "OK", "who": shown, "lasts": ruling.lasts()}


def unmute(world: World, _lsn: int, command: Command) -> Reply:
    """Undoes mute."""
    shown, user = _known_as(world, command)
    gone = world.muted.take(user)
    world.muted.over(world.at)
    if gone is None or not gone.holds(world.at):
        return refusal("NOT_MUTED", f'"{shown}" is not muted.')
    _notice(world, user, "You are not muted any more.")
    return {"status": "OK", "who": shown}


def _notice(world: World, user: str, text: str) -> None:
    world.effects.append((TELL, user, encode({"event": "notice", "time": world.at, "text": text})))


# At rest.

_NAME, _NETWORK, _MUTED = "name", "network", "muted"


def _dump(world: World) -> Iterator[str]:
    for kind, rulings in ((_NAME, world.bans.names), (_NETWORK, world.bans.networks), (_MUTED, world.muted)):
        for who, ruling in rulings.items():
            yield dumps([kind, who, ruling.since, ruling.until, ruling.reason])


def _load(world: World, line: str) -> None:
    kind, who, since, until, reason = json.loads(line)
    ruling = Ruling(float(since), float(until), str(reason))
    if kind == _NETWORK:
        found = network(who)
        if found is None:
            raise ValueError("an address is expected")
        world.bans.put(found, ruling)
    elif kind in (_NAME, _MUTED):
        (world.bans.names if kind == _NAME else world.muted).put(str(who), ruling)
    else:
        raise ValueError("a name, a network or who is muted is expected")


def _dump_waiting(world: World) -> Iterator[str]:
    for account in world.accounts.values():
        for sender, groups in (account.waiting or {}).items():
            yield dumps([account.user, sender, groups])


def _load_waiting(world: World, line: str) -> None:
    user, sender, groups = json.loads(line)
    account = world.accounts[user]
    if account.waiting is None:
        account.waiting = {}
    account.waiting[str(sender)] = [[int(seq), int(count)] for seq, count in groups]


FEATURE = Feature(
    "door",
    handlers={"ban": ban, "unban": unban, "mute": mute, "unmute": unmute},
    files={
        "bans.txt": FlatFile("who is banned or muted, since when, until when (0: for ever), why", _dump, _load),
        "waiting.txt": FlatFile("how many messages wait for whom from whom: groups of the last seq and how many",
                                _dump_waiting, _load_waiting),
    },
)  # fmt: skip
