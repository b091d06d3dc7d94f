"""The world: the deterministic state machine that all commands add up to (design, section 1).

``World.execute(lsn, command)`` is the only thing that changes it, live and in replay. It must not know sockets, files,
the clock or chance: time is a command's ``at``, and the ``seq`` of an event is the LSN of the command that made it.
What a change says to people leaves through one :class:`Audience`.

A command is a dict: ``action``, ``at`` (seconds since the epoch), ``by`` (the acting user, folded) where there is one,
``key`` perhaps, the request's ``id`` perhaps (which means nothing here), and the action's own fields. `execute` never
refuses by raising: a refusal is a reply. An exception is a fault of ours.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from heapq import merge
from typing import Any, Protocol

from chatlib.core import entry, files, talk
from chatlib.core.accounts import Account, Presence
from chatlib.core.byhand import ByHand
from chatlib.core.lockouts import Lockouts
from chatlib.core.mail import Broadcasts
from chatlib.core.ordered import Directory, Ordered
from chatlib.protocol.commands import ACTIONS
from chatlib.protocol.framing import dumps

Command = dict[str, Any]
Reply = dict[str, Any]
Handler = Callable[["World", int, Command], Reply]


class Audience(Protocol):
    """Where the world's words go. Called only from within ``execute``."""

    def deliver(self, user: str, line: bytes) -> None:
        """An event for one user who is online."""

    def fan_out(self, line: bytes, excluded: Collection[str]) -> None:
        """An event for everyone online but `excluded`."""

    def announce(self, user: str) -> None:
        """`user` has come or gone: the others may be told."""

    def end(self, user: str, login: int, status: str, text: str) -> None:
        """The session of `user` that began with `login` is over; its connection is told why and closed."""

    def store(self, line: bytes) -> None:
        """A line for the end of the message store; the world has counted its length, and its checksum's, already."""

    def erase(self, offsets: Iterable[int]) -> None:
        """The lines at these offsets of the message store are to be made unreadable, in place."""

    def adopt(self, blob: str) -> None:
        """These bytes are a waiting file now."""

    def unlink(self, blob: str) -> None:
        """Nobody needs the bytes of this file any more."""


HANDLERS: dict[str, Handler] = {**entry.HANDLERS, **talk.HANDLERS, **files.HANDLERS}
for _alias, _command in ACTIONS.items():  # a request keeps the name it came with
    if _command.name in HANDLERS:
        HANDLERS[_alias] = HANDLERS[_command.name]

# A request's fingerprint begins with the command's name, whatever alias it came by. Fingerprints are kept on disk,
# so a command that is renamed is listed here with the name that it had.
_KEPT_AS = {"filedecline": "decline"}
_FINGERPRINT: dict[str, str] = {
    name: _KEPT_AS.get(command, command)
    for name in HANDLERS
    for command in (ACTIONS[name].name if name in ACTIONS else name,)
}

_LAST = "\x7f"  # behind every name
_FEW = 2_000  # who left lately are sorted for each page; beyond, all accounts are looked at until the page is full
_NO_FIELDS = frozenset({"action", "id", "key", "by", "at"})  # what may differ when a request is sent again


class World:
    """Accounts, who is online, and where everyone's messages stand."""

    def __init__(self, parameters: Mapping[str, Any], audience: Audience) -> None:
        self.parameters = dict(parameters)
        self.audience = audience
        self.archive: Any = None  # stored lines
        self.lsn = 0  # of the last command executed
        self.at = 0.0  # its time
        self.at_text = "0.0"  # the same, in JSON
        self.accounts: Directory[Account] = Directory()
        self.shunned: dict[str, set[str]] = {}  # names without an account → who blocks them
        self.online: Directory[Presence] = Directory()
        self.departures: Ordered[tuple[float, str]] = Ordered()  # each account's last one
        self.lockouts = Lockouts()
        self.broadcasts = Broadcasts()
        self.by_hand = ByHand()
        self.store_end = 0  # bytes: where the next line of the message store begins

    def execute(self, lsn: int, command: Command) -> Reply:
        """Carries out one command; returns the reply to whoever gave it (``status`` and more)."""
        self.lsn = lsn
        at = command["at"]
        if at is not self.at:  # all commands of a tick have the same time
            self.at, self.at_text = at, repr(at)
        handler = HANDLERS[command["action"]]
        user = command.get("by")
        if user is None:
            return handler(self, lsn, command)
        if user not in self.online:
            return talk.refusal("NOT_ALLOWED", "You are no longer logged in.")
        if "key" not in command:
            return handler(self, lsn, command)
        return self._execute_once(lsn, command, handler, self.accounts[user])

    def _execute_once(self, lsn: int, command: Command, handler: Handler, account: Account) -> Reply:
        """As the first time this key was used, if it was."""
        key = command["key"]
        words = [_FINGERPRINT[command["action"]]]
        for name in sorted(command):
            if name not in _NO_FIELDS:
                words += (name, str(command[name]))
        # No word holds a control character: the guards refuse them.
        fingerprint = f"{zlib.crc32(chr(0).join(words).encode()):08x}"
        known = account.replies.get(key) if account.replies else None
        if known is None:
            reply = handler(self, lsn, command)
            account.remember(key, fingerprint + dumps(reply))
            return reply
        if not known.startswith(fingerprint):
            return talk.refusal("KEY_REUSED", f'The key "{key}" was used for another request before.')
        first: Reply = json.loads(known[8:])
        return first

    # What only reads. Each takes what it needs to know of now; none changes anything.

    def waiting(self, user: str, after: int) -> Iterable[tuple[int, int]]:
        """The positions of what `user` has not been given, later than `after`, oldest first."""
        account = self.accounts[user]
        return self.broadcasts.merged_after(account.mail, account.refused, max(after, account.joined))

    def unread(self, account: Account) -> int:
        """How many messages `account` has not seen."""
        after = max(account.seen, account.joined)
        hidden = self.broadcasts.hidden_after(account.refused, after) if account.refused else 0
        return account.mail.count_after(after) + self.broadcasts.count_after(after) - hidden

    def history(self, user: str, before: int) -> Iterable[tuple[int, int]]:
        """The positions of what `user` was sent, earlier than `before`, newest first."""
        account = self.accounts[user]
        for position in self.broadcasts.merged_before(account.mail, account.refused, before):
            if position[0] <= account.joined:
                return
            yield position

    def visible(self, asker: str, after: str = "") -> Iterator[str]:
        """The users online besides `asker`, without those who block the asker, in order, from behind `after`."""
        hidden = self.accounts[asker].blocked_by or ()
        return (user for user in self.online.after(after) if user != asker and user not in hidden)

    def seen_lately(self, asker: str, since: float, now: float, after: str = "") -> Iterator[str]:
        """As visible, and those who left after `since`; not those of whom a clock set back says that they will."""
        hidden, online = self.accounts[asker].blocked_by or (), self.online
        count, departures = self.departures.between((since, _LAST), (now, _LAST))
        if count > _FEW:
            users = (user for user in self.accounts.after(after)
                     if user in online or since < self.accounts[user].left <= now)  # fmt: skip
        else:
            left = sorted(user for _, user in departures if user > after and user not in online)
            users = merge(left, online.after(after))
        return (user for user in users if user != asker and user not in hidden)

    def name_of(self, user: str) -> str:
        """How `user` is written: as registered, while there is an account."""
        account = self.accounts.get(user)
        return account.name if account else user

    def leave(self, account: Account, at: float) -> None:
        """`account` is not online any more."""
        del self.online[account.user]
        self.forget_departure(account)
        account.left = at
        if at:
            self.departures.add((at, account.user))

    def forget_departure(self, account: Account) -> None:
        """As if `account` had never been online."""
        if account.left:
            self.departures.remove((account.left, account.user))
            account.left = 0.0

    def origin(self, address: str) -> str:
        """Under what wrong passwords from `address` are counted."""
        return address if self.parameters["BLOCK_SCOPE"] == "user_ip" else "*"

    def seats_left(self) -> int:
        """How many more users may log in."""
        limit: int = self.parameters["MaxCon"]
        return max(0, limit - len(self.online))


__all__ = ["Account", "Audience", "Command", "Presence", "Reply", "World"]
