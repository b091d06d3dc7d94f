"""Introductions: two users are told each other's address, and a key of their own, to talk from machine to machine.

One user asks for another's address. An ask goes through these states::

            ┌── yes, allow, policy open, asked back ──▶ introduced ── either leaves or blocks ──▶ over
    asked ──┼── no ──▶ refused ── ASKING seconds since the question ──▶ forgotten
            └── ASKING seconds, either leaves or blocks, a closed port, policy never ──▶ forgotten

The parameter ADDRESS_POLICY decides whether anybody is asked, and a standing allowance (:mod:`chatlib.core.peers`)
spares the question. All of this belongs to sessions, is in memory only, and ends with either session. A key must not
reach a disk, a log or a third user; it is said to two connections, and to nobody else. So nobody is introduced to a
user of another server of the same world.

Of a user with several sessions, the one that asks is introduced, and of the other user the one that says yes if it
listens, else the one that began to listen last. All sessions of a user hear the question. Where another session of the
same user asks for the same one, the introduction is made anew for that session.

Whoever asked hears the reply first, and then what came of it: so events wait for ``speak``. Legal order: the answers
(``answers``) for sessions that are logged in, ``leave`` when one is over, ``look_again`` and ``policy_changed`` at any
time, ``speak`` once a tick, behind all that was said in it.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Any

from chatlib.core.bank import bank_of
from chatlib.core.peers import allowances, self_address, you_block
from chatlib.core.replies import Reply, no_such_user, page_of_names, refusal
from chatlib.core.rulings import muted
from chatlib.core.world import Account, World
from chatlib.protocol.text import counted, fold
from chatlib.reactor.loop import Loop
from chatlib.reactor.timers import Timer
from chatlib.server.delivery import Delivery
from chatlib.server.session import Session
from chatlib.server.whereabouts import Where, elsewhere, out_of_reach

ASKING = 60.0  # seconds for an answer
ASKS = 16  # that one user may have made, and that may have been made of one user, in ASKING seconds and without a yes
KNOWN = 256  # users that one user may be introduced to at once
SAID = 64  # events in a tick, of all users; the others follow in the next ones
PAGE = 400  # users in one page of a list: with the longest names and addresses it still is one line
_KEY_SIZE = 32  # bytes

Request = dict[str, Any]


@dataclass(slots=True)
class _Ask:
    """A question of the session with this `login`, and when it is forgotten. `refused`: it was answered with no."""

    login: int
    until: float
    timer: Timer
    refused: bool = False


@dataclass(slots=True)
class _Person:
    """What is kept of a user's sessions. Invariants: each ask and each introduction stands with both of its two users;
    `keys` and `at` are of the same users."""

    # Of each session that takes direct connections, by the LSN of its login: where. The last to begin stands last.
    ports: dict[int, int] = field(default_factory=dict)
    asks: dict[str, _Ask] = field(default_factory=dict)  # by whom was asked for
    asked_by: dict[str, _Ask] = field(default_factory=dict)  # by who asks
    keys: dict[str, str] = field(default_factory=dict, repr=False)  # of introductions, by the other user;
    at: dict[str, int] = field(default_factory=dict)  # the session that each was made for, by its login

    @property
    def listener(self) -> int:
        """The session that takes direct connections; 0: none does."""
        return next(reversed(self.ports), 0)


class Introductions:
    """Those that stand, and those that are asked for, by user."""

    def __init__(self, world: World, loop: Loop, delivery: Delivery) -> None:
        self._world, self._loop, self._delivery = world, loop, delivery
        self._people: dict[str, _Person] = {}
        # To be said behind this tick's replies: to whom, about whom, and what.
        self._events: deque[tuple[Session, str, dict[str, object]]] = deque()
        self._policy = world.parameters["ADDRESS_POLICY"]
        self._undecided: deque[tuple[str, str, _Ask]] = deque()  # what was open when that changed
        self.answers: Mapping[str, Callable[[Session, Request], Reply]] = {
            "listen": self.listen, "getaddress": self.getaddress, "yes": self.yes, "no": self.no,
            "list": self.list_online,
        }  # fmt: skip

    # Requests.

    def listen(self, session: Session, request: Request) -> Reply:
        """Where the user takes direct connections from now on."""
        user, port = session.user, request["port"]
        person = self._person(session)
        person.ports.pop(session.login, None)
        if port:
            person.ports[session.login] = port
        self._look_for_listener(user, person)
        return {"status": "OK"}

    def _look_for_listener(self, user: str, person: _Person) -> None:
        for asker in [] if person.ports else list(person.asked_by):
            self._turn_down(asker, user, "NO_LISTENER", f'"{self._name(user)}" takes no direct connections any more.')

    def getaddress(self, session: Session, request: Request) -> Reply:
        """The user wants to be introduced."""
        asker, other = session.user, self._world.accounts.get(fold(request["user"]))
        if other is None:
            return no_such_user(request["user"])
        refused = self._refusal(self._world.accounts[asker], other)
        if refused:
            return refused
        user, person, login = other.user, self._person(session), session.login
        if person.at.get(user) == login:
            self._say_address(asker, user, person.keys[user])
            return {"status": "OK", "user": other.name}
        asked, theirs = person.asked_by.get(user), self._people[user]
        if asked and not asked.refused:
            return self._introduce(asker, user, login, asked.login) or {"status": "OK", "user": other.name}
        if user in person.keys or self._may_know(asker, user):
            there = theirs.at.get(asker) or theirs.listener
            return self._introduce(asker, user, login, there) or {"status": "OK", "user": other.name}
        return self._ask(person, asker, other, login)

    def yes(self, session: Session, request: Request) -> Reply:
        """The user lets one who has asked have the address."""
        user, asker = session.user, fold(request["user"])
        person = self._person(session)
        ask, login = person.asked_by.get(asker), session.login
        if ask is None or ask.refused:
            return self._not_asked(request["user"])
        here = login if login in person.ports else person.listener
        return self._introduce(asker, user, ask.login, here) or {"status": "OK", "user": self._name(asker)}

    def no(self, session: Session, request: Request) -> Reply:
        """The user does not."""
        user, asker = session.user, fold(request["user"])
        ask = self._person(session).asked_by.get(asker)
        if ask is None or ask.refused:
            return self._not_asked(request["user"])
        ask.refused = True  # and kept: nobody is asked by the same user all the time
        self._say_refused(asker, user, ask, "REFUSED", f'"{self._name(user)}" has refused.')
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
        login = person.at.get(user) or person.listener if person else 0
        session = self._delivery.that_began(other, login)
        if person is None or session is None or login not in person.ports or user in blockers:
            return item
        if user == other or user in person.keys or self._may_know(user, other):
            return {**item, "address": session.address, "port": person.ports[login]}
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
        if other.user not in self._delivery.sessions:
            return out_of_reach(self._world, other)
        if person is None or not person.ports:
            return refusal("NO_LISTENER", f'"{name}" takes no direct connections.')
        return self._silenced(account.user, other.user)

    def _silenced(self, user: str, other: str) -> Reply | None:
        """Why `user` may not be introduced to `other` where one of them is muted, or None."""
        there = muted(self._world, other, self._loop.wall) and refusal("MUTED", f'"{self._name(other)}" is muted.')
        return muted(self._world, user, self._loop.wall) or there

    def _may_know(self, asker: str, user: str) -> bool:
        """Whether `user`, whom nothing hides from `asker`, need not be asked."""
        policy = self._policy
        return policy == "open" or (policy == "consent" and allowances(self._world).has(user, asker))

    def _ask(self, person: _Person, asker: str, other: Account, login: int) -> Reply:
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
        ask = _Ask(login, until, self._loop.call_at(until, partial(self._expire, asker, user)))
        person.asks[user] = theirs.asked_by[asker] = ask
        seconds = round(ASKING)
        event = {"event": "address_asked", "from": self._name(asker), "seconds": seconds}
        self._events += [(session, asker, event) for session in self._delivery.of(user)]
        return {"status": "ASKED", "user": name, "seconds": seconds}

    def _expire(self, asker: str, user: str) -> None:
        self._turn_down(asker, user, "NO_ANSWER", f'"{self._name(user)}" has not answered.')

    def _turn_down(self, asker: str, user: str, status: str, text: str) -> None:
        """An ask is forgotten, and the asker told why, who has not been refused already."""
        ask = self._forget(asker, user)
        if ask and not ask.refused:
            self._say_refused(asker, user, ask, status, text)

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

    def _introduce(self, asker: str, user: str, mine: int, theirs: int) -> Reply | None:
        """Both hear of each other, in the sessions with these logins; what was asked stands no more. Or why not."""
        if silenced := self._silenced(user, asker):
            return silenced
        one, other = self._people[asker], self._people[user]
        for name, person in ((asker, one), (user, other)):
            if len(person.keys) >= KNOWN and user not in one.keys:
                return refusal("TOO_MANY_REQUESTS", f'"{self._name(name)}" has been introduced to {KNOWN} users.')
        self._forget(asker, user)
        self._forget(user, asker)
        for name, about, person, login in ((asker, user, one, mine), (user, asker, other, theirs)):
            if person.at.get(about, login) != login:
                self._say_over(name, about, "LEFT")  # to the session that it was made for before
            person.at[about] = login
        key = one.keys[user] = other.keys[asker] = secrets.token_hex(_KEY_SIZE)
        self._say_address(asker, user, key)
        self._say_address(user, asker, key)
        return None

    def _part(self, user: str, other: str, status: str) -> None:
        """An introduction, if there is one, stands no more; `user` is gone, or both are told."""
        one, two = self._people.get(user), self._people.get(other)
        if one is None or two is None or other not in one.keys:
            return
        self._say_over(other, user, status)
        self._say_over(user, other, status)
        for person, about in ((one, other), (two, user)):
            del person.keys[about], person.at[about]

    # What happens meanwhile.

    def leave(self, user: str, login: int) -> None:
        """The session of `user` that began with `login` is over."""
        person = self._people.get(user)
        if person is None:
            return
        person.ports.pop(login, None)
        for asked in [asked for asked, ask in person.asks.items() if ask.login == login]:
            self._forget(user, asked)
        for other in [other for other, at in person.at.items() if at == login]:
            self._part(user, other, "LEFT")
        if user in self._delivery.sessions:
            self._look_for_listener(user, person)
            return
        for asker in list(person.asked_by):
            self._turn_down(asker, user, "NOT_ONLINE", f'"{self._name(user)}" has left.')
        del self._people[user]

    def look_again(self, user: str, other: str) -> None:
        """`user` has blocked `other`, or allows `other` to have the address."""
        blockers = self._world.accounts[other].blocked_by if other in self._world.accounts else None
        if blockers and user in blockers:
            self._keep_apart(user, other)
            return
        person = self._people.get(user)
        ask = person.asked_by.get(other) if person else None
        if person and ask and not ask.refused and self._may_know(other, user):
            self._introduce(other, user, ask.login, person.listener)

    def _keep_apart(self, user: str, other: str) -> None:
        """`user` has blocked `other`: also what was about to be said is not said, but for what came of a question."""
        pair, unsaid = {user, other}, ("address_asked", "address")
        self._events = deque(each for each in self._events
                             if {each[0].user, each[1]} != pair or each[2]["event"] not in unsaid)  # fmt: skip
        self._turn_down(user, other, "BLOCKED", f'You have blocked "{self._name(other)}".')
        self._turn_down(other, user, "BLOCKED", f'"{self._name(user)}" has blocked you.')
        self._part(user, other, "BLOCKED")

    def policy_changed(self) -> None:
        """A parameter is another one. What was asked is decided by the new policy; introductions that stand go on."""
        policy = self._world.parameters["ADDRESS_POLICY"]
        if policy == self._policy:
            return
        self._policy = policy
        self._undecided = deque(
            (asker, user, ask) for asker, person in self._people.items() for user, ask in person.asks.items()
        )

    def _decide(self) -> None:
        """Some of what was asked when the policy changed, and is still open."""
        for _ in range(min(SAID, len(self._undecided))):
            asker, user, ask = self._undecided.popleft()
            person = self._people.get(asker)
            if ask.refused or person is None or person.asks.get(user) is not ask:
                continue
            if self._policy == "never":
                self._turn_down(asker, user, "ADDRESSES_CLOSED", "This server tells nobody's address any more.")
            elif self._may_know(asker, user):
                self._introduce(asker, user, ask.login, self._people[user].listener)

    def where(self, user: str) -> Where | None:
        """Where `user` is, or None: not online."""
        person, delivery = self._people.get(user), self._delivery
        login = person.listener if person else 0
        session = delivery.that_began(user, login) or delivery.sessions.get(user)
        if session is None:
            return elsewhere(self._world, user)
        return Where(session.address, session.connection.port, person.ports.get(login, 0) if person else 0)

    # Saying.

    def speak(self) -> None:
        """Says what came of it, as far as the budget goes."""
        if self._undecided:
            self._decide()
        for _ in range(min(SAID, len(self._events))):
            session, _, event = self._events.popleft()
            session.event(event)
        if self._events or self._undecided:
            self._loop.again(self)

    def again(self) -> None:
        """The next tick has come, and will let it ``speak``."""

    def broken(self) -> None:
        """That has failed: what was not said yet is said in the next tick."""
        self._loop.again(self)

    def _say(self, user: str, about: str, login: int, event: dict[str, object]) -> None:
        session = self._delivery.that_began(user, login)
        if session is not None:
            self._events.append((session, about, event))

    def _say_address(self, to: str, user: str, key: str) -> None:
        person, login = self._people[user], self._people[user].at[to]
        session = self._delivery.that_began(user, login)
        event = {"event": "address", "user": self._name(user), "address": session.address if session else "",
                 "port": person.ports.get(login, 0), "key": key}  # fmt: skip
        self._say(to, user, self._people[to].at[user], event)

    def _say_over(self, to: str, user: str, status: str) -> None:
        event: dict[str, object] = {"event": "introduction_over", "user": self._name(user), "status": status}
        self._say(to, user, self._people[to].at[user], event)

    def _say_refused(self, asker: str, user: str, ask: _Ask, status: str, text: str) -> None:
        name = self._name(user)
        event: dict[str, object] = {"event": "address_refused", "user": name, "status": status, "text": text}
        self._say(asker, user, ask.login, event)

    def _name(self, user: str) -> str:
        return self._world.name_of(user)

    def _person(self, session: Session) -> _Person:
        """What is kept of a session; from now on, something is."""
        person = self._people.get(session.user)
        if person is None:
            person = self._people[session.user] = _Person()
        return person
