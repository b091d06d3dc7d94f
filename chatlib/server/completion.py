"""What a half-typed line at the console may become: commands, parameters, users, files' numbers.

Only reads the world. A result is the whole line up to the cursor; what cannot be completed has none.
"""

from __future__ import annotations

from collections.abc import Iterable

from chatlib.core.world import World
from chatlib.protocol.commands import Role, find, typed_by
from chatlib.storage import parameters
from chatlib.storage.parameters import PARAMETERS


def complete(before: str, world: World, now: float) -> list[str]:
    """The likeliest first. `now`: seconds since the epoch, for lockouts that are over."""
    found = find(before, Role.ADMIN)
    if found is None or not (found[2] or before.endswith(" ")):
        return _starting(before, [*_commands(), *PARAMETERS])
    command, _, rest = found
    head = before[: len(before) - len(rest)]
    return _starting(before, [head + each for each in _arguments(command.name, rest, world, now)])


def _commands() -> list[str]:
    return [command.name + (" " if command.typed else "") for command in typed_by(Role.ADMIN)]


def _starting(before: str, candidates: Iterable[str]) -> list[str]:
    return [each for each in candidates if each.lower().startswith(before.lower()) and each != before]


def _arguments(name: str, rest: str, world: World, now: float) -> list[str]:
    match name:
        case "help":
            return [command.name for command in typed_by(Role.ADMIN)]
        case "kick":
            return sorted(world.accounts[user].name for user in world.online)
        case "unlock":
            entries = world.lockouts.entries.items()
            return sorted({world.accounts[user].name for (user, _), entry in entries if entry.seconds_left(now)})
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
