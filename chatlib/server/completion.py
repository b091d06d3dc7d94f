"""Which words may follow at the console: parameters, users, files' numbers. Only reads the world."""

from __future__ import annotations

from itertools import chain

from chatlib.core.threads import forum_of
from chatlib.core.world import World
from chatlib.protocol.commands import Role, find, typed_by
from chatlib.storage import parameters
from chatlib.storage.parameters import PARAMETERS
from chatlib.terminal import completion
from chatlib.terminal.completion import starting


def complete(before: str, world: World, now: float) -> list[str]:
    """The likeliest first. `now`: seconds since the epoch, for lockouts that are over."""
    commands = [row.name + (" " if row.typed else "") for row in typed_by(Role.ADMIN)]
    found = find(before, Role.ADMIN)
    return completion.complete(
        before,
        [*commands, *PARAMETERS],
        (found[0].name, found[2]) if found else None,
        lambda command, rest: starting(rest, _words(command, rest, world, now)),
    )


def _words(command: str, rest: str, world: World, now: float) -> list[str]:
    match command:
        case "help":
            return [command.name for command in typed_by(Role.ADMIN)]
        case "kick" | "ban" | "mute":
            return sorted(world.accounts[user].name for user in world.online)
        case "unban":
            return [who for who, _ in chain(world.bans.networks.items(), world.bans.names.items())]
        case "unmute":
            return [who for who, _ in world.muted.items()]
        case "unlock":
            entries = world.lockouts.entries.items()
            return sorted({world.name_of(user) for (user, _), entry in entries if entry.seconds_left(now)})
        case "stats":
            return ["--json"]
        case "remove thread":
            return sorted(thread.title for thread in forum_of(world).values())
        case "drop":
            numbers = sorted(file.number for account in world.accounts.values() for _, file in account.files or ())
            return list(map(str, numbers))
        case "change":
            word, blank, _ = rest.partition(" ")
            parameter = parameters.find(word) if blank else None
            if parameter is None:
                return [each + " " for each in PARAMETERS]
            values = parameter.choices or (parameter.show(world.parameters[parameter.name]),)
            return [f"{parameter.name} {value}" for value in values]
    return []
