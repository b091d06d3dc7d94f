"""Accounts, their sessions, and the replies remembered for keys. Plain state, no rules of conversation.

Accounts are found by their folded name (:func:`chatlib.protocol.text.fold`), called `user` throughout the core.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatlib.core.streams import NO_MAIL, Stream
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from array import array

    from chatlib.core.files import WaitingFiles

MAX_KEYS = 1_000  # replies remembered for each user
MAX_KNOWN = 8  # addresses remembered for each user


@dataclass(slots=True)
class Presence:
    """An open session. `login` is the LSN of its login, and tells this session from the user's others."""

    login: int
    since: float  # seconds since the epoch
    address: str
    client: str | None  # the name that the client program keeps while it runs
    away_from: int  # the last seq seen at login: what came while away lies between it and `login`
    number: int = 1  # what its user calls it
    node: str = ""  # the node that has the connection; "": a single server
    connection: int = 0  # which connection of its client's this is, counted from 1; 0: nobody said


def folded(name: str) -> str:
    """As fold, but without a second string for a name that is folded already: there are many."""
    user = fold(name)
    return name if name == user else user


@dataclass(slots=True)
class Account:
    """A registered user."""

    name: str  # as registered
    user: str  # folded
    verifier: str
    joined: int  # the LSN of the registration: earlier broadcasts are not for this account
    seen: int = 0  # every event up to this seq has been seen
    left: float = 0.0  # when the last session ended; 0: never
    mail: Stream = NO_MAIL
    sent: Stream = NO_MAIL  # where the lines stand that this user sent to one other: the very same lines
    known: tuple[tuple[str, str], ...] = ()  # addresses of logins, with the client that was there last; newest first
    # These seven are None until there is something in them: most users never need them, and there may be many.
    refused: dict[str, array[int]] | None = None  # by sender: when a block of that name began, ended, began, ...
    follows: dict[str, int] | None = None  # shared streams besides the broadcasts: by name, since which LSN
    blocks: list[str] | None = None  # whom this user blocks, in order: names, which outlive their accounts
    blocked_by: set[str] | None = None
    files: WaitingFiles | None = None  # waiting for this user
    waiting: dict[str, list[list[int]]] | None = None  # by sender: what came while this user was away, see quota.py
    replies: OrderedDict[str, str] | None = None  # key → fingerprint of the request + reply, oldest first

    @property
    def party(self) -> str:
        """This account, and nobody who has its name later."""
        return f"{self.user} {self.joined}"

    def knows(self, address: str, client: str | None = None) -> bool:
        """Whether the password was proven from `address` before; if `client` is given, by that client."""
        return any(address == known and client in (None, there) for known, there in self.known)

    def came_from(self, address: str, client: str | None) -> None:
        """Remembers that the password was proven there."""
        place = (address, client or "")
        if self.known[:1] != (place,):
            self.known = (place, *(known for known in self.known if known[0] != address))[:MAX_KNOWN]

    def remember(self, key: str, reply: str) -> None:
        """Keeps what was answered to the request with this `key`; forgets the oldest beyond MAX_KEYS."""
        if self.replies is None:
            self.replies = OrderedDict()
        self.replies[key] = reply
        if len(self.replies) > MAX_KEYS:
            self.replies.popitem(last=False)
