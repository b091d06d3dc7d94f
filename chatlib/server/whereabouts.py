"""Where users are, as far as it is told: at this server, or at another one of the same world."""

from __future__ import annotations

from typing import NamedTuple

from chatlib.core.accounts import Account
from chatlib.core.replies import Reply, refusal
from chatlib.core.world import World


class Where(NamedTuple):
    """Where a user is: the address and port of the connection, and the port for direct ones or 0."""

    address: str
    port: int
    peer_port: int


def elsewhere(world: World, user: str) -> Where | None:
    """Where a user is whom no session here belongs to: another server knows the ports. None: nowhere."""
    presence = world.online.get(user)
    return Where(presence.address, 0, 0) if presence is not None and presence.node else None


def out_of_reach(world: World, other: Account) -> Reply:
    """The refusal for an introduction to somebody who has no session here: keys are known to one server alone."""
    if elsewhere(world, other.user) is None:
        return refusal("NOT_ONLINE", f'"{other.name}" is not online.')
    text = f'"{other.name}" has come in at another server: addresses are told only to users of the same one.'
    return refusal("OTHER_SERVER", text)
