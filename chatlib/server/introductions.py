"""Introductions: two users are told each other's address, and a key of their own, to talk from machine to machine.

One user asks for another's address. An ask goes through these states::

            ┌── yes, allow, policy open, asked back ──▶ introduced ── either leaves or blocks ──▶ over
    asked ──┼── no ──▶ refused ── ASKING seconds since the question ──▶ forgotten
            └── ASKING seconds, either leaves or blocks, a closed port, policy never ──▶ forgotten

The parameter ADDRESS_POLICY decides whether anybody is asked, and a standing allowance (:mod:`chatlib.core.peers`)
spares the question. All of this belongs to sessions, is in memory only, and ends with either session. A key must not
reach a disk, a log or a third user; it is said to two connections, and to nobody else.

Whoever asked hears the reply first, and then what came of it: so events wait for ``speak``. Legal order: the answers
(``answers``) for sessions that are logged in, ``leave`` when one is over, ``look_again`` and ``policy_changed`` at any
time, ``speak`` once a tick, behind all that was said in it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Any, NamedTuple

from chatlib.core.bank import bank_of
from chatlib.core.peers import allowances, self_address, you_block
from chatlib.core.replies import Reply, no_such_user, page_of_names, refusal
from chatlib.core.world import Account, World
from chatlib.protocol.text import counted, fold
from chatlib.reactor.loop import Loop
from chatlib.reactor.timers import Timer
from chatlib.server.session import Session

ASKING = 60.0  # seconds for an answer
ASKS = 16  # that one user may have made, and that may have been made of one user, in ASKING seconds and without a yes
KNOWN = 256  # users that one user may be introduced to at once
PAGE = 400  # users in one page of a list: with the longest names and addresses it still is one line
_KEY_SIZE = 32  # bytes

Request = dict[str, Any]


@dataclass(slots=True)
class _Ask:
    """A question, and when it is forgotten. `refused`: it was answered with no."""

    until: float
    timer: Timer
    refused: bool = False


@dataclass(slots=True)
class _Person:
    """What is kept of a session. Invariant: each ask and each introduction stands with both of its two users."""

    login: int
    port: int = 0  # where direct connections are taken; 0: nowhere
    asks: dict[str, _Ask] = field(default_factory=dict)  # by whom was asked for
    asked_by: dict[str, _Ask] = field(default_factory=dict)  # by who asks
    keys: dict[str, str] = field(default_factory=dict, repr=False)  # of introductions, by the other user


class Where(NamedTuple):
    """Where a user is: the address and port of the connection, and the port for direct ones or 0."""

    address: str
    port: int
    peer_port: int


class Introductions:
    """Those that stand, and those that are asked for, by user. `sessions`: who is logged in, as it is at any time."""

    def __init__(self, world: World, loop: Loop, sessions: Mapping[str, Session]) -> None:
        self._world, self._loop, self._sessions = world, loop, sessions
        self._people: dict[str, _Person] = {}
        # To be said behind this tick's replies: to whom, about whom, and what.
        self._events: list[tuple[Session, str, dict[str, object]]] = []
        self._policy = world.parameters["ADDRESS_POLICY"]
        self.answers: Mapping[str, Callable[[Session, Request], Reply]] = {
            "listen": self.listen, "getaddress": self.getaddress, "yes": self.yes, "no": self.no,
            "list": self.list_online,
        }  # fmt: skip

    # Requests.

    def listen(self, session: Session, request: Request) -> Reply:
        """Where the user takes direct connections from now on."""
        user, port = session.user, request["port"]
        person = self._person(session)
        person.port = port
        for asker in [] if port else list(person.asked_by):
            self._turn_down(asker, user, "NO_LISTENER", f'"{self._name(user)}" takes no direct connections any more.')
        return {"status": "OK"}

    def getaddress(self, session: Session, request: Request) -> Reply:
        """The user wants to be introduced."""
        asker, other = session.user, self._world.accounts.get(fold(request["user"]))
        if other is None:
            return no_such_user(request["user"])
        refused = self._refusal(self._world.accounts[asker], other)
        if refused:
            return refused
        user, person = other.user, self._person(session)
        if user in person.keys:
            self._say_address(asker, user, person.keys[user])
            return {"status": "OK", "user": other.name}
        asked = person.asked_by.get(user)
        if self._may_know(asker, user) or (asked and not asked.refused):
            return self._introduce(asker, user) or {"status": "OK", "user": other.name}
        return self._ask(person, asker, other)

    def yes(self, session: Session, request: Request) -> Reply:
        """The user lets one who has asked have the address."""
        user, asker = session.user, fold(request["user"])
        ask = self._person(session).asked_by.get(asker)
        if ask is None or ask.refused:
            return self._not_asked(request["user"])
        return self._introduce(asker, user) or {"status": "OK", "user": self._name(asker)}

    def no(self, session: Session, request: Request) -> Reply:
        """The user does not."""
        user, asker = session.user, fold(request["user"])
        ask = self._person(session).asked_by.get(asker)
        if ask is None or ask.refused:
            return self._not_asked(request["user"])
        ask.refused = True  # and kept: nobody is asked by the same user all the time
        self._say_refused(asker, user, "REFUSED", f'"{self._name(user)}" has refused.')
        return {"status": "OK", "user": self._name(asker)}

    def list_online(self, session: Session, request: Request) -> Reply:
        """What the user holds, and who is online, the user too, with the addresses that the user may know."""
        world, user, after = self._world, session.user, fold(request.get("after", ""))
        hidden = world.accounts[user].blocked_by or ()
        users = (other for other in world.online.after(after) if other not in hidden)
        online = len(world.online) - sum(other in world.online for other in hidden)
        balance = bank_of(world).books[user].balance
        return {"balance": balance, "online": online, **page_of_names(users, partial(self._shown, user), PAGE)}

    def _shown(self, user: str, other: str) -> dict[str, object]:
        person, item = self._people.get(other), dict[str, object](user=self._name(other))
        blockers = self._world.accounts[other].blocked_by or ()
        if person is None or not person.port or user in blockers:
            return item
        if user == other or user in person.keys or self._may_know(user, other):
            return {**item, "address": self._sessions[other].address, "port": person.port}
        return item

    # Asking.

    def _refusal(self, account: Account, other: Account) -> Reply | None:
        """Why `account` may not even ask for `other`, or None. A block says no more than it does to a message."""
        name, person = other.name, self._people.get(other.user)
        if other is account:
            return self_address()
        if account.blocked_by and other.user in account.blocked_by:
            return refusal("BLOCKED", f'"{name}" has blocked you: nothing was asked.')
        if other.blocked_by and account.user in other.blocked_by:
            return you_block(name)
        if self._policy == "never":
            return refusal("ADDRESSES_CLOSED", "This server tells nobody's address.")
        if other.user not in self._sessions:
            return refusal("NOT_ONLINE", f'"{name}" is not online.')
        if person is None or not person.port:
            return refusal("NO_LISTENER", f'"{name}" takes no direct connections.')
        return None

    def _may_know(self, asker: str, user: str) -> bool:
        """Whether `user`, whom nothing hides from `asker`, need not be asked."""
        policy = self._policy
        return policy == "open" or (policy == "consent" and allowances(self._world).has(user, asker))

    def _ask(self, person: _Person, asker: str, other: Account) -> Reply:
        user, name, ask = other.user, other.name, person.asks.get(other.user)
        if ask:
            seconds = max(1, ceil(ask.until - self._loop.now))
            what = f'"{name}" has refused' if ask.refused else f'You have asked "{name}" already'
            return refusal("ALREADY_ASKED", f"{what}: ask again in {counted(seconds, 'second')}.", seconds=seconds)
        theirs = self._people[user]
        if len(person.asks) >= ASKS:
            return refusal("TOO_MANY_REQUESTS", f"You have asked {ASKS} users who have not agreed: wait a minute.")
        if len(theirs.asked_by) >= ASKS:
            return refusal("TOO_MANY_REQUESTS", f'"{name}" has been asked by {ASKS} others: wait a minute.')
        until = self._loop.now + ASKING
        ask = _Ask(until, self._loop.call_at(until, partial(self._expire, asker, user)))
        person.asks[user] = theirs.asked_by[asker] = ask
        seconds = round(ASKING)
        self._say(user, asker, {"event": "address_asked", "from": self._name(asker), "seconds": seconds})
        return {"status": "ASKED", "user": name, "seconds": seconds}

    def _expire(self, asker: str, user: str) -> None:
        self._turn_down(asker, user, "NO_ANSWER", f'"{self._name(user)}" has not answered.')

    def _turn_down(self, asker: str, user: str, status: str, text: str) -> None:
        """An ask is forgotten, and the asker told why, who has not been refused already."""
        ask = self._forget(asker, user)
        if ask and not ask.refused:
            self._say_refused(asker, user, status, text)

    def _forget(self, asker: str, user: str) -> _Ask | None:
        """An ask stands no more; which it was, if there was one."""
        person, theirs = self._people.get(asker), self._people.get(user)
        ask = person.asks.pop(user, None) if person else None
        if ask:
            ask.timer.cancel()
            if theirs:
                del theirs.asked_by[asker]
        return ask

    def _not_asked(self, name: str) -> Reply:
        return refusal("NOT_ASKED", f'"{self._world.name_of(fold(name))}" is not waiting for an answer of yours.')

    # Introducing.

    def _introduce(self, asker: str, user: str) -> Reply | None:
        """Both hear of each other; what was asked stands no more. Or why not."""
        one, other = self._people[asker], self._people[user]
        for name, person in ((asker, one), (user, other)):
            if len(person.keys) >= KNOWN:
                return refusal("TOO_MANY_REQUESTS", f'"{self._name(name)}" has been introduced to {KNOWN} users.')
        self._forget(asker, user)
        self._forget(user, asker)
        key = one.keys[user] = other.keys[asker] = secrets.token_hex(_KEY_SIZE)
        self._say_address(asker, user, key)
        self._say_address(user, asker, key)
        return None

    def _part(self, user: str, other: str) -> bool:
        """An introduction stands no more; whether there was one."""
        one, two = self._people.get(user), self._people.get(other)
        found = one is not None and one.keys.pop(other, None) is not None
        if two is not None:
            two.keys.pop(user, None)
        return found

    # What happens meanwhile.

    def leave(self, user: str, login: int) -> None:
        """The session of `user` that began with `login` is over."""
        person = self._people.get(user)
        if person is None or person.login != login:
            return
        for asked in list(person.asks):
            self._forget(user, asked)
        for asker in list(person.asked_by):
            self._turn_down(asker, user, "NOT_ONLINE", f'"{self._name(user)}" has left.')
        for other in list(person.keys):
            self._part(user, other)
            self._say(other, user, {"event": "introduction_over", "user": self._name(user), "status": "LEFT"})
        del self._people[user]

    def look_again(self, user: str, other: str) -> None:
        """`user` has blocked `other`, or allows `other` to have the address."""
        blockers = self._world.accounts[other].blocked_by if other in self._world.accounts else None
        if blockers and user in blockers:
            self._keep_apart(user, other)
            return
        ask = self._people[user].asked_by.get(other) if user in self._people else None
        if ask and not ask.refused and self._may_know(other, user):
            self._introduce(other, user)

    def _keep_apart(self, user: str, other: str) -> None:
        """`user` has blocked `other`: also what was about to be said is not said, but for what came of a question."""
        pair, unsaid = {user, other}, ("address_asked", "address")
        self._events = [each for each in self._events
                        if {each[0].user, each[1]} != pair or each[2]["event"] not in unsaid]  # fmt: skip
        self._turn_down(user, other, "BLOCKED", f'You have blocked "{self._name(other)}".')
        self._turn_down(other, user, "BLOCKED", f'"{self._name(user)}" has blocked you.')
        if self._part(user, other):
            for one, two in ((user, other), (other, user)):
                self._say(one, two, {"event": "introduction_over", "user": self._name(two), "status": "BLOCKED"})

    def policy_changed(self) -> None:
        """A parameter is another one. What was asked is decided by the new policy; introductions that stand go on."""
        policy = self._world.parameters["ADDRESS_POLICY"]
        if policy == self._policy:
            return
        self._policy = policy
        waiting = [(asker, user) for asker, person in self._people.items() for user, ask in person.asks.items()
                   if not ask.refused]  # fmt: skip
        for asker, user in waiting:
            if policy == "never":
                self._turn_down(asker, user, "ADDRESSES_CLOSED", "This server tells nobody's address any more.")
            elif user in self._people[asker].asks and self._may_know(asker, user):
                self._introduce(asker, user)

    def where(self, user: str) -> Where | None:
        """Where `user` is, or None: not online."""
        session, person = self._sessions.get(user), self._people.get(user)
        if session is None:
            return None
        return Where(session.address, session.connection.port, person.port if person else 0)

    # Saying.

    def speak(self) -> None:
        """Says what came of it."""
        if self._events:
            events, self._events = self._events, []
            for session, _, event in events:
                session.event(event)

    def _say(self, user: str, about: str, event: dict[str, object]) -> None:
        session = self._sessions.get(user)
        if session is not None:
            self._events.append((session, about, event))

    def _say_address(self, to: str, user: str, key: str) -> None:
        address, port = self._sessions[user].address, self._people[user].port
        event = {"event": "address", "user": self._name(user), "address": address, "port": port, "key": key}
        self._say(to, user, event)

    def _say_refused(self, asker: str, user: str, status: str, text: str) -> None:
        self._say(asker, user, {"event": "address_refused", "user": self._name(user), "status": status, "text": text})

    def _name(self, user: str) -> str:
        return self._world.name_of(user)

    def _person(self, session: Session) -> _Person:
        """What is kept of a session; from now on, something is."""
        person = self._people.get(session.user)
        if person is None:
            person = self._people[session.user] = _Person(session.login)
        return person
