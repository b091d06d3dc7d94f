"""Passwords: what a proof stands for, wrong ones, and the lockouts that they lead to.

The edge checks passwords (SCRAM). The commands here say how that came out. What a proof was checked against is looked
at again when its command is carried out: by then the name may be somebody else's, or have another password.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING

from chatlib.core.accounts import Account
from chatlib.core.feature import Command, FlatFile
from chatlib.core.lockouts import Failures
from chatlib.core.replies import Reply, no_such_user, refusal
from chatlib.protocol.framing import dumps
from chatlib.protocol.scram import fingerprint
from chatlib.protocol.text import ADMIN, fold

if TYPE_CHECKING:
    from chatlib.core.world import World

LOOKED_AT = 20  # wrong passwords that are checked during one lockout, from addresses where the user has logged in


def locked_out(name: str, seconds: float) -> Reply:
    """The refusal for someone who typed too many wrong passwords."""
    whole = ceil(seconds)
    unit = "second" if whole == 1 else "seconds"
    return refusal("LOCKED_OUT", f'"{name}" is locked out: try again in {whole} {unit}.', seconds=whole)


def holder(world: World, user: str) -> Account | None:
    """Whose password is meant by `user`: an account's or, where there is no such user, the administrator's."""
    return world.accounts.get(user) or (world.admin if user == ADMIN else None)


def proof_of(account: Account) -> Command:
    """What a command says of a proof: the account and the verifier that it was checked against."""
    return {"joined": account.joined, "against": fingerprint(account.verifier)}


def proof_refusal(world: World, account: Account, command: Command) -> Reply | None:
    """Why a proof does not hold for `account`, or None: by now the name is somebody else's, or has another password."""
    if "joined" not in command or proof_of(account).items() <= command.items():
        return None
    left = world.lockouts.tries_left(account.user, world.origin(command["address"]), world.parameters["MAX_FAILURES"])
    return refusal("WRONG_PASSWORD", f'"{account.name}" has another password by now.', tries_left=left)


def lockout_refusal(world: World, account: Account, address: str, client: str | None, now: float) -> Reply | None:
    """Why no password is checked now, or None.

    A stranger behind the user's own address cannot lock the user out. A client that has proven the password there may
    always try. A new client there may try until LOOKED_AT passwords were wrong: guessing stays slow.
    """
    origin = world.origin(address)
    seconds = world.lockouts.seconds_left(account.user, origin, now)
    if not seconds or (client is not None and account.knows(address, client)):
        return None
    if account.knows(address) and world.lockouts.looked_at(account.user, origin) < LOOKED_AT:
        return None
    return locked_out(account.name, seconds)


def unproven(world: World, account: Account, command: Command) -> Reply | None:
    """Why the proof that `command` tells of opens nothing: it does not hold, or no password is checked now. Or None."""
    refused = proof_refusal(world, account, command)
    client = command.get("client")
    return refused or lockout_refusal(world, account, command["address"], client, command["at"])


def forget_failures(world: World, account: Account, command: Command) -> None:
    """The password was proven: wrong ones from there count no more. A lockout that goes on is another client's."""
    origin = world.origin(command["address"])
    if not world.lockouts.seconds_left(account.user, origin, command["at"]):
        world.lockouts.clear(account.user, origin)


def wrong_password(world: World, _lsn: int, command: Command) -> Reply:
    """The password was wrong. That counts, across connections and restarts."""
    user = command["user"]
    account = holder(world, user)
    if account is None:
        return no_such_user(user)
    refused = proof_refusal(world, account, command)
    if refused:
        return refused
    origin = world.origin(command["address"])
    seconds = world.lockouts.seconds_left(user, origin, command["at"])
    if seconds:
        if account.knows(command["address"]):
            world.lockouts.looked_at(user, origin, 1)
        return locked_out(account.name, seconds)
    limit, duration = world.parameters["MAX_FAILURES"], world.parameters["BLOCK_TIME"]
    left = world.lockouts.fail(user, origin, command["at"], limit, duration)
    if not left:
        return locked_out(account.name, duration)
    tries = "1 try is" if left == 1 else f"{left} tries are"
    return refusal("WRONG_PASSWORD", f"Wrong password: {tries} left.", tries_left=left)


def password(world: World, _lsn: int, command: Command) -> Reply:
    """The old password was proven: the verifier of the new one replaces it."""
    account = world.accounts[command["by"]]
    refused = proof_refusal(world, account, command)
    if refused:
        return refused
    account.verifier = command["verifier"]
    return {"status": "OK"}


def unlock(world: World, _lsn: int, command: Command) -> Reply:
    """The administrator lifts a lockout, from every address."""
    account = holder(world, fold(command["user"]))
    if account is None:
        return no_such_user(command["user"])
    if not world.lockouts.clear(account.user):
        return refusal("NOT_LOCKED_OUT", f'"{account.name}" is not locked out.')
    return {"status": "OK", "user": account.name}


# At rest.


def _dump_lockouts(world: World) -> Iterator[str]:
    for (user, origin), entry in world.lockouts.entries.items():
        yield f"{user} {origin} {entry.count} {entry.last!r} {entry.until!r}"


def _load_lockout(world: World, line: str) -> None:
    user, origin, count, last, until = line.split(" ")
    world.lockouts.add(user, origin, Failures(int(count), float(last), float(until)))


def _dump_addresses(world: World) -> Iterator[str]:
    for account in world.accounts.values():
        for address, client in account.known:
            yield f"{account.user} {address} {dumps(client)}"


def _load_address(world: World, line: str) -> None:
    user, address, client = line.split(" ", 2)
    account = world.accounts[user]
    account.known += ((address, str(json.loads(client))),)


FILES = {
    "list_block.txt": FlatFile(
        "user, origin, wrong passwords, last one, locked out until", _dump_lockouts, _load_lockout
    ),
    "addresses.txt": FlatFile(
        "user, address from which the password was proven, client", _dump_addresses, _load_address
    ),
}
HANDLERS = {"wrong_password": wrong_password, "password": password, "unlock": unlock}
