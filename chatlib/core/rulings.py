"""What the administrator has ruled: who is banned, who is muted, until when and why. Plain state, no rules of entry.

A ban is of a name or of a network; an address is a network of one. A ruling may expire. One that is over holds no more;
it is forgotten a little later, since each change looks at a few of the oldest. Whether an address is banned is one
look-up for each length of prefix that any ban has, however many bans there are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any

from chatlib.core.replies import Reply, refusal
from chatlib.protocol.network import Network, network, parsed
from chatlib.protocol.text import counted

if TYPE_CHECKING:
    from chatlib.core.world import World

MOST = 100_000  # bans, and as many who are muted: a script may rule, too
_SWEEP = 2  # old ones that are looked at with each change
ASK = "Ask the administrator."
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class Ruling:
    """`until`: seconds since the epoch, 0 for ever."""

    since: float
    until: float
    reason: str

    def holds(self, now: float) -> bool:
        """Whether it is not over."""
        return not self.until or now < self.until

    def words(self, now: float) -> str:
        """For how much longer, and why, as it was typed: `` for another 3 hours (spam)``."""
        left = f" for another {roughly(self.until - now)}" if self.until else ""
        return f"{left} ({self.reason})" if self.reason else left

    def lasts(self) -> str:
        """How long it was made for, and why: `` for 3 hours (spam)``."""
        time = f"for {roughly(self.until - self.since)}" if self.until else "for ever"
        return f" {time} ({self.reason})" if self.reason else f" {time}"

    def fields(self) -> dict[str, Any]:
        """The same for programs."""
        until = {"until": self.until} if self.until else {}
        return {**until, "reason": self.reason} if self.reason else until


def roughly(seconds: float) -> str:
    """A time in the largest unit of which it has about two, rounded up: ``3 hours``, ``90 minutes``."""
    for length, noun in _UNITS:
        if seconds > 1.9 * length:
            return counted(ceil(seconds / length), noun)
    return counted(max(1, ceil(seconds)), "second")


class Rulings:
    """By whom each is about, the oldest first."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: OrderedDict[str, Ruling] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, who: str) -> bool:
        return who in self._all

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rulings) and self._all == other._all

    __hash__ = None  # type: ignore[assignment]

    def items(self) -> Iterator[tuple[str, Ruling]]:
        """All of them, some perhaps over."""
        return iter(self._all.items())

    def of(self, who: str, now: float) -> Ruling | None:
        """The one that holds for `who`, or None."""
        found = self._all.get(who)
        return found if found and found.holds(now) else None

    def put(self, who: str, ruling: Ruling) -> None:
        """Rules, in place of what was ruled before."""
        self._all[who] = ruling
        self._all.move_to_end(who)

    def take(self, who: str) -> Ruling | None:
        """Takes a ruling back."""
        return self._all.pop(who, None)

    def over(self, now: float, most: int = _SWEEP) -> list[str]:
        """Forgets those that are over among the oldest `most`, and returns whose they were. The others wait for their
        next turn behind all the rest."""
        gone = []
        for who in list(islice(self._all, most)):
            if self._all[who].holds(now):
                self._all.move_to_end(who)
            else:
                del self._all[who]
                gone.append(who)
        return gone


class Bans:
    """Those of names, and those of networks, which are found by what an address begins with."""

    __slots__ = ("_by_prefix", "names", "networks")

    def __init__(self) -> None:
        self.names, self.networks = Rulings(), Rulings()  # by folded name, by a network's text
        self._by_prefix: dict[tuple[int, int], dict[int, Ruling]] = {}  # by version and bits, by what these say

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bans) and self.names == other.names and self.networks == other.networks

    __hash__ = None  # type: ignore[assignment]

    def put(self, found: Network, ruling: Ruling) -> None:
        """Bans a network."""
        self.networks.put(found.text, ruling)
        self._by_prefix.setdefault(found[:2], {})[found.first] = ruling

    def take(self, found: Network) -> Ruling | None:
        """Undoes ``put``."""
        self._forget(found)
        return self.networks.take(found.text)

    def _forget(self, found: Network) -> None:
        same = self._by_prefix.get(found[:2], {})
        same.pop(found.first, None)
        if not same:
            self._by_prefix.pop(found[:2], None)

    def of_address(self, address: str, now: float) -> Ruling | None:
        """The one that holds for `address`, or None; of several, the one that holds the longest."""
        if not self._by_prefix:
            return None
        one, found = parsed(address), None
        if one is None:
            return None
        for (version, bits), same in self._by_prefix.items():
            ruling = same.get(one.within(bits)) if version == one.version else None
            if ruling and ruling.holds(now) and (found is None or found.until and not 0 < ruling.until <= found.until):
                found = ruling
        return found

    def expire(self, now: float, most: int = _SWEEP) -> None:
        """Forgets what is over, among so many of each kind."""
        self.names.over(now, most)
        for text in self.networks.over(now, most):
            gone = network(text)
            assert gone is not None
            self._forget(gone)


def typed(fields: dict[str, Any]) -> dict[str, Any]:
    """What an administrator typed, as fields of a command. "@" tells a user who is called as an address is."""
    who = fields.get("who", "")
    found = network(who)
    about = {"network": found.text} if found else {"user": who.removeprefix("@") or fields.get("user")}
    lasts = {"seconds": fields["for"]} if "for" in fields else {}
    return {**about, **lasts, **({"reason": fields["why"]} if "why" in fields else {})}


def banned(name: str, ruling: Ruling, now: float) -> Reply:
    """The refusal for a user whose name is banned."""
    text = f'"{name}" is banned{ruling.words(now)}. Ask the administrator.'
    return refusal("BANNED", text, **ruling.fields())


def muted(world: World, user: str, now: float | None = None) -> Reply | None:
    """Why `user` may say nothing to others `now`, or None. Without it, for a command: at the command's time."""
    at = world.at if now is None else now
    ruling = world.muted.of(user, at) if world.muted else None
    if ruling is None:
        return None
    text = f"You are muted{ruling.words(at)}. You may read on. {ASK}"
    return refusal("MUTED", text, **ruling.fields())
