"""Standing allowances: who may have whose address without a question. They are kept; introductions themselves are not.

An allowance is of an account: it goes with either of the two, and whoever registers the name anew has none. A block
ends it for good. Invariant: nobody allows a user whom they block.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatlib.core.effects import BETWEEN
from chatlib.core.feature import Command, Feature, FlatFile, Request
from chatlib.core.replies import Reply, no_such_user, page_of_names, refusal
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import World

ALLOWED = 1_000  # users that one user may allow


@dataclass(slots=True)
class Allowances:
    """All of them, from both sides. What becomes empty goes, so that a world is equal however it came about."""

    given: dict[str, list[str]] = field(default_factory=dict)  # by user: whom they allow, in order
    held: dict[str, set[str]] = field(default_factory=dict)  # by user: who allows them

    def has(self, user: str, other: str) -> bool:
        """Whether `user` allows `other`."""
        return user in self.held.get(other, ())

    def add(self, user: str, other: str) -> None:
        """`user`, who does not yet, allows `other`."""
        insort(self.given.setdefault(user, []), other)
        self.held.setdefault(other, set()).add(user)

    def remove(self, user: str, other: str) -> None:
        """Undoes ``add``; nothing where there is nothing to undo."""
        if not self.has(user, other):
            return
        given, held = self.given[user], self.held[other]
        given.remove(other)
        held.remove(user)
        if not given:
            del self.given[user]
        if not held:
            del self.held[other]


def allowances(world: World) -> Allowances:
    """Those of the world."""
    found: Allowances = world.state["peers"]
    return found


def self_address() -> Reply:
    """The refusal for whoever means themselves."""
    return refusal("SELF_ADDRESS", "You know your own address!")


def you_block(name: str) -> Reply:
    """The refusal for an introduction to someone whom one blocks."""
    return refusal("YOU_BLOCK", f'You have blocked "{name}": unblock that user first.')


def allow(world: World, _lsn: int, command: Command) -> Reply:
    """`by` need not be asked by `user` any more. Whoever is allowed already stays so."""
    user, other = command["by"], world.accounts.get(fold(command["user"]))
    if other is None:
        return no_such_user(command["user"])
    if other.user == user:
        return self_address()
    if other.blocked_by and user in other.blocked_by:
        return you_block(other.name)
    all_of_them = allowances(world)
    if not all_of_them.has(user, other.user):
        if len(all_of_them.given.get(user, ())) >= ALLOWED:
            return refusal("TOO_MANY_ALLOWED", f"You allow {ALLOWED:,} users: disallow one first.")
        all_of_them.add(user, other.user)
    world.effects.append((BETWEEN, user, other.user))
    return {"status": "OK", "user": other.name}


def disallow(world: World, _lsn: int, command: Command) -> Reply:
    """`by` wants to be asked by `user`, also when that was so already."""
    other = world.accounts.get(fold(command["user"]))
    if other is None:
        return no_such_user(command["user"])
    allowances(world).remove(command["by"], other.user)
    return {"status": "OK", "user": other.name}


def blocked(world: World, account: Account, user: str) -> None:
    """A block ends what stands between the two."""
    allowances(world).remove(account.user, user)
    world.effects.append((BETWEEN, account.user, user))


def forget(world: World, account: Account) -> None:
    """The account's allowances go, and the others' of this account."""
    all_of_them, user = allowances(world), account.user
    for other in list(all_of_them.given.get(user, ())):
        all_of_them.remove(user, other)
    for other in sorted(all_of_them.held.get(user, ())):
        all_of_them.remove(other, user)


def allowed(world: World, user: str, request: Request, _now: float) -> Reply:
    """Whom the user allows."""
    given = allowances(world).given.get(user, [])
    places = range(bisect_right(given, fold(request.get("after", ""))), len(given))
    return page_of_names((given[place] for place in places), world.name_of)


# At rest.


def _dump(world: World) -> Iterator[str]:
    for user, given in allowances(world).given.items():
        for other in given:
            yield f"{user} {other}"


def _load(world: World, line: str) -> None:
    user, other = (world.accounts[word].user for word in line.split(" "))
    if user == other or allowances(world).has(user, other):
        raise ValueError("two users are expected, and each pair once")
    allowances(world).add(user, other)


FEATURE = Feature(
    "peers",
    handlers={"allow": allow, "disallow": disallow},
    answers={"allowed": allowed},
    files={"allow_rep.txt": FlatFile("who allows whom to have their address", _dump, _load)},
    forget=forget,
    blocked=blocked,
    state=Allowances,
)
