"""The world: the deterministic state machine that all commands add up to (design, section 1).

``World.execute(command)`` is the only thing that changes it, live and in replay. It must not know sockets, files, the
clock or chance, nor which features there are: time is a command's ``at``, a command's LSN is the last one's and one
more, and the ``seq`` of an event is the LSN of the command that made it. What must follow from a change is said in
:mod:`effects <chatlib.core.effects>`.

A command is a dict: ``action``, ``at`` (seconds since the epoch), ``by`` (the acting user, folded) where there is one,
``key`` perhaps, the request's ``id`` perhaps (which means nothing here), and the action's own fields. `execute` never
raises: a refusal is a reply, and an exception, a fault of ours, is handed out with what the handler had said before it.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, islice, takewhile
from typing import Any, Protocol

from chatlib.core.accounts import Account, Presence
from chatlib.core.byhand import ByHands
from chatlib.core.effects import FORGET, STORE, Effect
from chatlib.core.feature import Command, Handler
from chatlib.core.features import FEATURES, HANDLERS, RECIPES, SPEAKS
from chatlib.core.lockouts import Lockouts
from chatlib.core.ordered import Directory, Ordered
from chatlib.core.replies import INTERNAL, Encoded, Reply, refusal, remembered, text_of
from chatlib.core.rulings import Bans, Rulings, muted
from chatlib.core.streams import CHECKSUM, COUNTED, MORE, Chunks, Position, SharedStream, Stream

_LAST = "\x7f"  # behind every name
_FEW = 2_000  # who left lately are sorted for each page; beyond, all accounts are looked at until the page is full
_NO_FIELDS = frozenset({"action", "id", "key", "by", "at"})  # what may differ when a request is sent again


class Archive(Chunks, Protocol):
    """What is stored, as answers read it."""

    def lines(self, positions: Sequence[Position], user: str) -> Iterator[tuple[str, bytes]]:
        """For whom the lines at these positions were stored ("": not just for one), and their events, for `user`.

        Offsets grow. Never raises: what cannot be read is a notice that says so. Of a line that was erased, with the
        account of the one it was for, nothing is left.
        """

    def appended(self, name: str, offset: int) -> bytes | None:
        """The line that begins at `offset` in a file that only grows. Never raises: None when no whole one does."""


class World:
    """Accounts, who is online, and where everyone's messages stand."""

    archive: Archive  # the edge's, who reads; a handler may count with it for a reply, but nothing more

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = dict(parameters)
        self.effects: list[Effect] = []  # of the command that is being executed
        self.lsn = 0  # of the last command executed
        self.at = 0.0  # the latest time that a command brought: it never goes back
        self.at_text = "0.0"  # the same, in JSON
        self.accounts: Directory[Account] = Directory()
        self.admin: Account | None = None  # the administrator's: not among the others, see core/admin.py
        self.shunned: dict[str, set[str]] = {}  # names without an account → who blocks them
        self.online: Directory[Presence] = Directory()  # the oldest session of each user who is,
        self.further: dict[str, Sequence[Presence]] = {}  # and the others of those who have several
        self.departures: Ordered[tuple[float, str]] = Ordered()  # each account's last one
        self.lockouts, self.bans, self.muted = Lockouts(), Bans(), Rulings()
        self.limited = False  # MAX_USERS and MAIL_QUOTA hold: not yet, while an earlier version's commands are replayed
        self.shared = False  # a cluster's: the clocks of its nodes differ
        self.streams = {"all": SharedStream()}  # by name, which is no user's: the broadcasts, and what else is followed
        self.said: dict[str, int] = {}  # by sender: the seq of the last thing said in a shared stream
        self.by_hand = ByHands()
        self.store_end = 0  # bytes: where the next line of the message store begins
        self.floor = self.floor_offset = 0  # messages earlier than this seq are gone; theirs were the lines before
        self.expiring: tuple[int, int, str] | None = None  # the next floor, and which accounts have nothing below it
        self.state = {feature.name: feature.state() for feature in FEATURES if feature.state}  # by feature

    def execute(self, command: Command) -> tuple[Reply, list[Effect], Exception | None]:
        """Carries out one command.

        Returns the reply to whoever gave it (``status`` and more), what must follow, and what went wrong in us.
        """
        self.lsn = lsn = self.lsn + 1
        effects: list[Effect] = []
        self.effects = effects
        try:
            if command["at"] != self.at:  # all commands of a tick have the same time
                command = self._in_time(command)
            handler = HANDLERS[command["action"]]
            user = command.get("by")
            if user is None:
                return handler(self, lsn, command), effects, None
            if user not in self.online:
                return refusal("NOT_ALLOWED", "You are no longer logged in."), effects, None
            if self.muted and user in self.muted:
                handler = _unless_muted(handler)
            if "key" not in command:
                return handler(self, lsn, command), effects, None
            return self._execute_once(lsn, command, handler, self.accounts[user]), effects, None
        except Exception as fault:
            return INTERNAL, effects, fault

    def _execute_once(self, lsn: int, command: Command, handler: Handler, account: Account) -> Reply:
        """As the first time this key was used, if it was."""
        key, fingerprint = command["key"], _fingerprint(command)
        known = account.replies.get(key) if account.replies else None
        if known is None:
            reply = handler(self, lsn, command)
            text = text_of(reply)
            account.remember(key, fingerprint + text)
            return reply if type(reply) is Encoded else remembered(text, reply)
        if not known.startswith(fingerprint):
            return refusal("KEY_REUSED", f'The key "{key}" was used for another request before.')
        return remembered(known[8:], json.loads(known[8:]))

    def _in_time(self, command: Command) -> Command:
        """Time goes on to that of `command`. Where a cluster's nodes gave it, it is never earlier than the last one's.

        A single server's may be: a clock that was set back ends what was set by it.
        """
        if command["at"] > self.at:
            self.move_to(command["at"])
        elif self.shared:
            return {**command, "at": self.at}
        return command

    def move_to(self, at: float) -> None:
        """It is `at` now."""
        self.at, self.at_text = at, repr(at)

    def add(self, account: Account) -> None:
        """A new account."""
        self.accounts[account.user] = account
        for feature in FEATURES:
            if feature.opened:
                feature.opened(self, account)

    def meet(self) -> None:
        """Each feature hears of the accounts that were there before it was."""
        for feature in FEATURES:
            if feature.opened:
                for account in self.accounts.values():
                    feature.opened(self, account)

    def remove(self, account: Account) -> None:
        """Every trace of an account, which is offline, goes."""
        for feature in FEATURES:
            feature.forget(self, account)
        del self.accounts[account.user]
        self.effects.append((FORGET, account.name, account.party))

    def blocked(self, account: Account, user: str) -> None:
        """`account` blocks the name `user` from now on."""
        for feature in FEATURES:
            feature.blocked(self, account, user)

    def say_in(self, name: str, sender: str, line: bytes, effect: Effect) -> None:
        """`sender` says something to all who follow the shared stream `name`: `line`, which `effect` stores."""
        stream = self.streams.get(name)
        if stream is None:
            stream = self.streams[name] = SharedStream()
        is_long = stream.add_from(sender, self.lsn, self.store_end)
        self.said[sender] = self.lsn
        self.store_end += CHECKSUM + len(line)
        self.effects.append(effect)
        if is_long:
            self.seal(stream, name)

    def seal(self, stream: Stream, name: str) -> None:
        """The tail of `stream` is long: its oldest positions go into the message store."""
        for line in stream.seal(name, self.store_end):
            self.store_end += CHECKSUM + len(line)
            self.effects.append((STORE, line, None))

    # What only reads. Each takes what it needs to know of now; none changes anything.

    @property
    def broadcasts(self) -> SharedStream:
        """What was said to everyone."""
        return self.streams["all"]

    def _followed(self, account: Account, after: int) -> Iterator[tuple[SharedStream, int]]:
        """The shared streams that `account` follows and that have something for it later than `after`: later than what.

        Most of them have nothing: whoever follows hundreds logs in as fast as anybody.
        """
        for name, since in chain((("all", account.joined),), (account.follows or {}).items()):
            stream, least = self.streams.get(name), since if since > after else after
            if stream is not None and stream.seqs and stream.seqs[-1] > least:
                yield stream, least

    def waiting(self, user: str, after: int, most: int = sys.maxsize) -> list[Position]:
        """The positions of what `user` has not been given, later than `after`, oldest first; `most` of them.

        The last one may be MORE: blocks hide much of what was looked at.
        """
        account, chunks = self.accounts[user], self.archive
        after = max(after, self.floor - 1)
        found = list(islice(account.mail.after(after, chunks), most))
        for stream, least in self._followed(account, after):
            kept: Iterable[Position] = stream.kept_after(least, account.refused, chunks)
            if found and (len(found) == most or found[-1][1] == MORE):
                kept = takewhile(found[-1].__ge__, kept)  # nothing later can be among them
            more = list(islice(kept, most))
            if more:
                found += more
                found.sort()  # two runs in order: that costs less than to merge them one by one
                if more[-1][1] == MORE:
                    del found[found.index(more[-1]) + 1 :]
                del found[most:]
        return found

    def unread(self, account: Account, since: int | None = None) -> int:
        """How many messages `account` has not seen, or that came after `since`. Of more than COUNTED, some that a block
        hid count, too."""
        seen = max(account.seen if since is None else since, self.floor - 1)
        refused, chunks = account.refused, self.archive
        count, left = account.mail.count_after(seen, chunks), COUNTED
        for stream, least in self._followed(account, seen):
            later = stream.count_after(least, chunks)
            count += later
            if refused and later and left > 0:
                count -= stream.hidden_after(refused, least, chunks, left)
                left -= later
        return count

    def history(self, user: str, before: int, sent: bool = True) -> Iterable[Position]:
        """The positions of what `user` was sent, and has `sent`, earlier than `before`, newest first; nothing behind a
        MORE counts."""
        account = self.accounts[user]
        streams = [self.between(account, before, sent)]
        for stream, least in self._followed(account, self.floor - 1):
            streams.append(stream.kept_before(before, least + 1, account.refused, self.archive))
        return merge(*streams, reverse=True)

    def between(self, account: Account, before: int, sent: bool = True) -> Iterator[Position]:
        """The same of what went between `account` and one other each."""
        floor, chunks = self.floor, self.archive
        mail = account.mail.before(before, floor, chunks)
        return merge(mail, account.sent.before(before, floor, chunks), reverse=True) if sent else mail

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
        self.further.pop(account.user, None)
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


def _unless_muted(handler: Handler) -> Handler:
    """`handler`, but for what speaks to others."""

    def carry_out(world: World, lsn: int, command: Command) -> Reply:
        spoken = SPEAKS.get(command["action"])
        speaks = spoken is not None and (not spoken or spoken in command)
        return (muted(world, command["by"]) if speaks else None) or handler(world, lsn, command)

    return carry_out


def _fingerprint(command: Command) -> str:
    """Eight characters that tell one request from another. They are kept on disk: they stay what they are."""
    name, recipe, optional, full = RECIPES[command["action"]]
    if optional in command:
        recipe = full
    try:
        words = recipe[0] % recipe[1](command) if recipe else _words(name, command)
    except KeyError:  # an earlier version did not ask for all of these fields
        words = _words(name, command)
    # No word holds a control character: the guards refuse them.
    return f"{zlib.crc32(words.encode()):08x}"


def _words(name: str, command: Command) -> str:
    fields = [part for field in sorted(command.keys() - _NO_FIELDS) for part in (field, str(command[field]))]
    return "\0".join([name, *fields])


__all__ = ["Account", "Archive", "Command", "Presence", "Reply", "World"]
