"""The door: what a stranger's address may do, and who is turned away before anything is read.

What is banned is the world's (:mod:`chatlib.core.door`). What is counted by address is kept here, in memory: logins
that were tried and registrations, by *place* (:func:`chatlib.protocol.network.place`). This machine's own address
stands for many people: it may do MANY times as much. Places are forgotten when nothing counts any more; there are MOST.

A place that tries more logins than LOGINS is slowed down: a connection's next try waits for its turn, and the
connection is not read meanwhile. Nobody sleeps, nobody is refused, and the same user elsewhere notices nothing.

Legal order: ``turns_away`` for each accepted socket, before a session is made of it; ``gone`` for each session that
was; for a login ``may_try``, else ``wait``, and ``proven`` when it was right; ``registers``, and ``not_registered``
when nothing came of it. Every operation costs the same, however many connections, places and bans there are.
"""

from __future__ import annotations

import contextlib
import socket
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Any

from chatlib.core.replies import Reply, refusal
from chatlib.core.rulings import ASK, Ruling, roughly
from chatlib.core.world import World
from chatlib.protocol.framing import encode
from chatlib.protocol.network import Network, is_this_machine, network, place
from chatlib.reactor.connection import Connection
from chatlib.reactor.loop import Loop
from chatlib.reactor.timers import Timer
from chatlib.server.session import Session
from chatlib.server.strangers import Strangers

MANY = 8  # times as much as another address, this machine's own may do
MOST = 20_000  # places that something is counted of
LINGERING = 64  # connections turned away that are closed with care; a flood's others are closed at once
MINUTE, HOUR = 60.0, 3_600.0
JUNK, LONGEST = 2.0, 10.0  # seconds' worth of lines that mean nothing, at once; seconds of a pause at most
LOOKED_AT, ENDED = 1_000, 50  # sessions in a tick, when a network is banned
_SWEEP = 2
_LAST_WORD = 4_096  # bytes, at most
_CROWDED = "Too many connections that have not logged in; try again later."

Waits = tuple[Callable[[], Reply], Callable[[Reply], None]]  # what is to be done, and who is told the outcome


@dataclass(slots=True)
class _Visits:
    """What a place has done lately."""

    tokens: float  # logins that may be tried at once; they come back with time
    at: float  # when that was looked at
    spare: float = 0.0  # lines that may mean nothing without a pause; they come back, too
    spare_at: float = -HOUR
    waiting: OrderedDict[Session, Waits] = field(default_factory=OrderedDict)
    timer: Timer | None = None  # lets the first of these go on
    registered: int = 0  # accounts since `since`
    since: float = 0.0

    def fill(self, limit: int, now: float) -> None:
        """With time, tokens come back."""
        self.tokens = min(float(limit), self.tokens + (now - self.at) * limit / MINUTE)
        self.at = now

    def mistaken(self, rate: float, now: float) -> float:
        """One more line that meant nothing: the seconds until more is to be heard."""
        self.spare = min(JUNK * rate, self.spare + (now - self.spare_at) * rate) - 1.0
        self.spare_at = now
        return min(LONGEST, max(0.0, -self.spare / rate))

    def counts(self, now: float) -> bool:
        """Whether anything of it matters still."""
        lately = now < max(self.at, self.spare_at) + MINUTE or (self.registered > 0 and now < self.since + HOUR)
        return lately or bool(self.waiting)


class Door:
    """One server's. `count`: a figure by its name; `on_fault`: a mistake of ours."""

    def __init__(
        self, *, world: World, loop: Loop, sessions: Callable[[], Iterable[Session]], count: Callable[[str], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:  # fmt: skip
        """`sessions`: all of them, as it is when it is called."""
        self._world, self._loop, self._sessions, self._count, self._on_fault = world, loop, sessions, count, on_fault
        self.strangers = Strangers(partial(self._limit, "STRANGERS_PER_ADDRESS"), lambda: loop.now)
        self._places: OrderedDict[str, _Visits] = OrderedDict()  # the latest at the end
        self._lingering = 0
        # With which status and sentence whoever comes now is sent away, whoever it is; None: anybody may come.
        self.closed: Callable[[], tuple[str, str] | None] = lambda: None
        self._barring: deque[tuple[Network, Iterator[Session]]] = deque()

    def _limit(self, parameter: str, where: str) -> int:
        limit: int = self._world.parameters[parameter]
        return limit * MANY if is_this_machine(where) else limit

    def _visits(self, where: str) -> _Visits:
        now, places = self._loop.now, self._places
        found = places.get(where)
        if found is None:
            found = places[where] = _Visits(float(self._limit("LOGINS", where)), now)
            for _ in range(_SWEEP):
                oldest, visits = next(iter(places.items()))
                if visits.counts(now) and (len(places) <= MOST or visits.waiting):
                    break
                del places[oldest]
            places[where] = found
        places.move_to_end(where)
        return found

    # At the accept.

    def turns_away(self, sock: socket.socket, address: str) -> bool:
        """Whether nobody from this address is let in now: then it is told why, and the socket is closed."""
        ruling, closed = self._world.bans.of_address(address, self._loop.wall), self.closed()
        if closed is not None:
            self.send_away(sock, address, *closed)
        elif ruling is not None:
            self._count("door: banned turned away")
            self.send_away(sock, address, "BANNED", self._why(ruling), **ruling.fields())
        elif not self.strangers.room(address, self._world.parameters["STRANGERS"]):
            self.crowded(lambda status, text: self.send_away(sock, address, status, text))
        else:
            return False
        return True

    def crowded(self, end: Callable[[str, str], None]) -> None:
        """There are too many strangers, and this one goes."""
        self._count("door: strangers turned away")
        end("SERVER_FULL", _CROWDED)

    def _why(self, ruling: Ruling) -> str:
        return f"You are banned from this server{ruling.words(self._loop.wall)}. {ASK}"

    def send_away(self, sock: socket.socket, address: str, status: str, text: str, **more: Any) -> None:
        """Whoever has come is told why nobody from there is let in now, and the socket is closed."""
        line = encode({"event": "bye", "status": status, "text": text, **more})
        if self._lingering >= LINGERING:
            with contextlib.suppress(OSError):
                sock.setblocking(False)
                sock.send(line)
            sock.close()
            return
        self._lingering += 1
        connection = Connection(self._loop, sock, address, _LAST_WORD)
        connection.attach(_TurnedAway(self._let_go))
        connection.push(line)
        connection.close()

    def _let_go(self) -> None:
        self._lingering -= 1

    # A network is banned.

    def bar(self, text: str, _: None = None) -> None:
        """Whoever is connected from there is told, and let go; some in each tick."""
        found = network(text)
        if found is not None:
            self._barring.append((found, iter(self._sessions())))
            self._loop.again(self)

    def again(self) -> None:
        """The next tick has come."""
        looked_at = ended = 0
        while self._barring and looked_at < LOOKED_AT and ended < ENDED:
            found, sessions = self._barring[0]
            session = next(sessions, None)
            if session is None:
                self._barring.popleft()
                continue
            looked_at += 1
            if not session.over and found.holds(session.address):
                ruling = self._world.bans.of_address(session.address, self._loop.wall)
                if ruling is not None:  # it may have been taken back
                    ended += 1
                    session.end("BANNED", self._why(ruling))
        if self._barring:
            self._loop.again(self)

    def broken(self) -> None:
        """That has failed: what is left goes on."""
        self._loop.again(self)

    # Logins.

    def may_try(self, session: Session) -> bool:
        """Whether a stranger may try to log in now; then that counts. Else ``wait`` is to follow."""
        where = place(session.address)
        limit = self._limit("LOGINS", where)
        if not limit:
            return True
        visits = self._visits(where)
        visits.fill(limit, self._loop.now)
        if visits.waiting or visits.tokens < 1.0:
            self._count("door: logins slowed down")
            return False
        visits.tokens -= 1.0
        return True

    def wait(self, session: Session, step: Callable[[], Reply], answer: Callable[[Reply], None]) -> None:
        """`step` is taken when it is this session's turn, and `answer` told what came of it."""
        where = place(session.address)
        visits = self._visits(where)
        visits.waiting[session] = (step, answer)
        self._go_on(where, visits)

    def _go_on(self, where: str, visits: _Visits) -> None:
        """Takes those whose turn it is, and sets the timer for the next."""
        if visits.timer is not None:
            visits.timer.cancel()
            visits.timer = None
        limit = self._limit("LOGINS", where)
        visits.fill(limit, self._loop.now)
        while visits.waiting and (visits.tokens >= 1.0 or not limit):
            session, (step, answer) = visits.waiting.popitem(last=False)
            visits.tokens -= not session.over
            self._take(session, step, answer)
        if visits.waiting:
            seconds = (1.0 - visits.tokens) * MINUTE / limit
            visits.timer = self._loop.call_later(seconds, partial(self._go_on, where, visits))

    def _take(self, session: Session, step: Callable[[], Reply], answer: Callable[[Reply], None]) -> None:
        try:
            answer(_OVER if session.over else step())
        except Exception as fault:  # ours: it costs this session
            self._on_fault(fault)
            session.broken()

    def proven(self, session: Session) -> None:
        """The password was right: it does not count."""
        where = place(session.address)
        visits = self._places.get(where)
        if visits is not None:
            visits.tokens += 1.0
            self._go_on(where, visits)

    def gone(self, session: Session) -> None:
        """The connection is closed: it waits for nothing."""
        visits = self._places.get(place(session.address))
        waits = visits.waiting.pop(session, None) if visits else None
        if waits is not None:
            waits[1](_OVER)

    # Junk.

    def mistaken(self, session: Session) -> None:
        """A stranger has said what means nothing. A place may say as much of it as a user may ask (RATE_LIMIT); then
        whoever of it says more is not read for a while."""
        where = place(session.address)
        rate = self._limit("RATE_LIMIT", where)
        seconds = self._visits(where).mistaken(rate, self._loop.now) if rate else 0.0
        if seconds:
            self._count("door: junk slowed down")
            session.intake.block()
            self._loop.call_later(seconds, session.intake.unblock)

    # Registrations.

    def registration(self, session: Session, _request: object = None) -> Reply:
        """Why nobody may register from there now; empty: somebody may."""
        where = place(session.address)
        limit, visits, now = self._limit("REGISTRATIONS", where), self._places.get(where), self._loop.now
        if not limit or visits is None or visits.registered < limit or now >= visits.since + HOUR:
            return {}
        self._count("door: registrations refused")
        seconds = ceil(visits.since + HOUR - now)
        text = f"From your address {limit:,} users have registered within an hour: try again in {roughly(seconds)}."
        return refusal("TOO_MANY_REGISTRATIONS", text, seconds=seconds)

    def registers(self, session: Session) -> None:
        """One is on its way: it counts, in the hour that begins with the first."""
        visits, now = self._visits(place(session.address)), self._loop.now
        if now >= visits.since + HOUR or not visits.registered:
            visits.registered, visits.since = 0, now
        visits.registered += 1

    def not_registered(self, session: Session) -> None:
        """Nothing came of it."""
        visits = self._places.get(place(session.address))
        if visits is not None and visits.registered:
            visits.registered -= 1

    # What the rest of the server tells.

    def parameters_changed(self) -> None:
        """More may go on, perhaps."""
        self.strangers.look_again()
        for where, visits in list(self._places.items()):
            if visits.waiting:
                self._go_on(where, visits)


_OVER = refusal("NOT_ALLOWED", "You are no longer connected.")


class _TurnedAway:
    """Above a connection that has heard its last word."""

    def __init__(self, gone: Callable[[], None]) -> None:
        self.disconnected = gone

    def received(self, data: bytes) -> None: ...

    def ended(self) -> None: ...

    def drained(self) -> None: ...

    def overflowed(self) -> None: ...
