"""The administrator's account: whose password stops the server from afar, and opens its console.

It is no user. It stands in ``world.admin`` and not among the accounts, so nobody can log in as it, write to it, list it
or remove it; its name is reserved. What only proves a password is the same for it as for a user, wrong ones count to
lockouts likewise (:mod:`.proofs`). The password is given by hand alone, in credentials.txt. In a home of an earlier
version ``admin`` may be a user: that user stays one, and while there is one, there is no administrator's password.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chatlib.core.accounts import Account
from chatlib.core.feature import Command, Feature, FlatFile
from chatlib.core.proofs import forget_failures, unproven
from chatlib.core.replies import Reply, refusal
from chatlib.protocol.framing import dumps
from chatlib.protocol.text import ADMIN

if TYPE_CHECKING:
    from chatlib.core.world import World


def no_password(world: World) -> Reply:
    """The refusal where no administrator's password is set; it says how to set one."""
    if ADMIN in world.accounts:
        text = f'Here "{ADMIN}" is an ordinary user. Remove that user, then set an administrator\'s password.'
        return refusal("NO_ADMIN", text)
    text = "No administrator's password is set. Where the server runs: python3 server.py --set-admin-password"
    return refusal("NO_ADMIN", text)


def proven(world: World, _lsn: int, command: Command) -> Reply:
    """The administrator's password was proven."""
    account = world.admin
    if account is None:
        return no_password(world)
    refused = unproven(world, account, command)
    if refused:
        return refused
    if command["action"] == "admin":
        account.came_from(command["address"], command.get("client"))
    forget_failures(world, account, command)
    return {"status": "OK"}


def _dump(world: World) -> Iterator[str]:
    if world.admin:
        yield f"{world.admin.name} {world.admin.verifier} {world.admin.joined} {dumps(world.admin.known)}"


def _load(world: World, line: str) -> None:
    name, verifier, joined, known = line.split(" ", 3)
    places = tuple((str(address), str(client)) for address, client in json.loads(known))
    world.admin = Account(name, ADMIN, verifier, int(joined), known=places)


FEATURE = Feature(
    "admin",
    handlers={"sht": proven, "admin": proven},
    files={"admin.txt": FlatFile("the administrator's verifier, since when, addresses", _dump, _load)},
)
