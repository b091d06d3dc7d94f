"""The intake: what one connection asks for, and what holds it up (design, section 2).

Messages wait in the wire, and are cut off when their turn has come. What may hold the next one up is one set of flags,
`held`:

- BARRIER: an earlier request must be answered first, since it may change who this is;
- LATE: a dear answer waits for the next ticks' budget; what is answered behind it waits with it, in order;
- BLOCKED: the peer does not read what it was told, or its turn to be heard has not come;
- THROTTLED: the rate limit; a timer lifts it;
- QUEUED: this tick's budget of messages is used up; the next ticks' have a queue;
- ENDED: the peer will send no more; what it had sent is still handled;
- OVER: nothing is handled any more;
- GONE: nor is anything said: the connection is closed.

Of these only ENDED lets messages through. While one of the others is set and something waits, the socket is not read:
the peer's own buffers hold it back.

Must not know what a message means, nor how it is told from the next one: the wire does. Legal order: ``received*`` →
``ended`` at most once; ``submit`` and ``read`` from within the owner's `begin` and `handle`; ``answered`` once for each
request submitted; ``stop`` at any time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

from chatlib.core.replies import encoded, text_of
from chatlib.core.world import Command, Reply
from chatlib.protocol.framing import MAX_LINE, Dialect
from chatlib.reactor.connection import RECEIVE, Connection
from chatlib.reactor.loop import Loop
from chatlib.reactor.timers import Timer
from chatlib.reactor.tls import TlsConnection
from chatlib.server.limits import PER_CONNECTION, STRANGERS_LINE, STRANGERS_TURN, Bucket, Budgets
from chatlib.server.owner import NOBODY, Owner
from chatlib.server.pipeline import Later, Pipeline

BARRIER, LATE, BLOCKED, THROTTLED, QUEUED, ENDED, OVER, GONE = 1, 2, 4, 8, 16, 32, 64, 128
_HOLDS = BARRIER | LATE | BLOCKED | THROTTLED | QUEUED | OVER

Answer = tuple[Any, Any, Command | None, Any]  # echo, id, command and its reply; for a read: None, and the reading


class Intake:
    """One connection's. `heard`: when it last said anything; `pending`: requests submitted and not answered.

    Another `connection` may take its place in the owner's `begin`, behind ``rest``: the first bytes were TLS.

    A command that asks for more than its reply must be submitted as a barrier.
    """

    __slots__ = (
        "_budget", "_budgets", "_handle", "_late", "_longest", "_loop", "_opening", "_owner", "_parameters", "_paused",
        "_pipeline", "_reply", "_timer", "_turn", "_wire", "bucket", "connection", "heard", "held", "pending",
    )  # fmt: skip

    def __init__(
        self, owner: Owner, handle: Callable[[bytes], None], connection: Connection, loop: Loop, pipeline: Pipeline,
        budgets: Budgets, parameters: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """`handle` is the owner's, found once."""
        self._owner: Owner = owner
        self._handle = handle
        self.connection: Connection | TlsConnection = connection
        self._loop, self._pipeline, self._parameters = loop, pipeline, parameters
        self._budgets, self._budget, self._turn = budgets, budgets.strangers, STRANGERS_TURN
        self._opening = b""  # the first bytes, until it shows what the peer speaks;
        self._wire: Dialect | None = None  # then this
        self._longest = connection.receive = STRANGERS_LINE
        self._timer: Timer | None = None  # lifts THROTTLED
        self.bucket = Bucket(loop.now)
        self.heard = loop.now
        self._late: deque[Answer] = deque()  # empty unless LATE
        self.held = 0
        self.pending = 0
        self._paused = False  # nothing more is read
        self._reply = owner.reply

    def speak(self, wire: Dialect) -> None:
        """What the peer speaks, from its first byte on. Legal once, from within the owner's `begin`."""
        self._wire = wire
        opening, self._opening = self._opening, b""
        wire.feed(opening)

    def admit(self, bucket: Bucket | None) -> None:
        """The peer has logged in: longer messages, the users' budget, and what was left of its bucket."""
        self._budget, self._turn = self._budgets.lines, PER_CONNECTION
        self._longest = MAX_LINE
        self.connection.receive = RECEIVE
        self.bucket = bucket or self.bucket

    # Bytes.

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        held = self.held
        if held & (ENDED | OVER):
            return
        self.heard = self._loop.now
        wire = self._wire
        if wire is None:
            self._opening += data
        elif not held and (message := wire.only(data)) is not None:  # nearly always: one message, and nothing waits
            if len(message) < self._longest and self._allow(1):
                self._handle(message)
            else:
                wire.feed(data)
                self.again()
            return
        else:
            wire.feed(data)
        if held & _HOLDS:
            self._pause()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Handles messages until something holds them up. Legal while nothing does."""
        wire = self._wire or self._open()
        if wire is not None and wire.waiting:
            self._handle_messages(wire)
        held = self.held
        if held & OVER:
            return
        if wire is not None and wire.waiting:
            self._pause()
        elif held & _HOLDS:
            return  # whatever arrives meanwhile is kept, and nothing more is read
        elif (wire.unfinished() if wire is not None else len(self._opening)) >= self._longest:
            self.rest()
            self._owner.too_long()
        elif held & ENDED:
            self._finish()
        elif self._paused:
            self._paused = False
            self.connection.resume_reading()

    def _open(self) -> Dialect | None:
        """What the peer speaks, if it shows by now."""
        if self._opening:
            if self._budget.grant(1):
                self._owner.begin(self._opening)
                if self._wire is not None:
                    self._budget.grant(-1)  # its messages are counted themselves
            else:
                self._queue_up()
        return self._wire

    def _handle_messages(self, wire: Dialect) -> None:
        allowed = self._allow(wire.waiting)
        if not allowed:
            return
        messages = wire.cut(allowed)
        longest, handle = self._longest, self._handle
        for handled, message in enumerate(messages, 1):
            if len(message) >= longest:
                self.rest()
                self._owner.too_long()
                return
            handle(message)
            if self.held & _HOLDS:
                if handled < allowed and not self.held & OVER:
                    wire.put_back(messages[handled:])
                    self._allow(handled - allowed)
                return
        if wire.waiting:
            self._queue_up()

    def _allow(self, wanted: int) -> int:
        """How many of the messages that are `wanted` it may handle now; below 0: so many are given back.

        Without a token it comes back when there is one; without a share of this tick's budget, in the next.
        """
        rate = self._parameters["RATE_LIMIT"]
        if rate:
            tokens = self.bucket.fill(rate, self._loop.now)
            if not tokens and wanted > 0:
                self.heard = self._loop.now  # it is we who do not read
                self.held |= THROTTLED
                self._timer = self._loop.call_later(self.bucket.wait(rate), partial(self._lift, THROTTLED))
                return 0
            wanted = min(wanted, tokens)
        granted = self._budget.grant(wanted if wanted < self._turn else self._turn)
        if rate:
            self.bucket.spend(granted)
        if not granted:
            self._queue_up()
        return granted

    def _queue_up(self) -> None:
        self.held |= QUEUED
        self._budget.wait(partial(self._lift, QUEUED))

    def _pause(self) -> None:
        self._paused = True
        self.connection.pause_reading()

    def _lift(self, flag: int) -> None:
        self.held &= ~flag
        try:
            self.again()
        except Exception:  # a timer or a budget calls, which knows nobody to blame
            self._owner.broken()
            raise

    def again(self) -> None:
        """Goes on with what waits, or with the end."""
        if not self.held & _HOLDS:
            self._go_on()
        elif self.held & ENDED:
            self._finish()

    def broken(self) -> None:
        """A fault of ours in handling a message."""
        self._owner.broken()

    def rest(self) -> bytes:
        """Hands out every byte that was not handled; forgets them."""
        rest, self._opening = self._opening, b""
        return rest if self._wire is None else self._wire.rest()

    # Requests.

    def submit(self, echo: Any, request_id: Any, command: Command, record: bytes | None, barrier: bool = False) -> None:
        """Sends a command on its way. `barrier`: what follows waits for it. `record`: the command as JSON."""
        self.pending += 1
        if barrier:
            self.held |= BARRIER
        self._pipeline.submit(self, echo, request_id, command, record)

    def read(
        self, echo: Any, request_id: Any, read: Later, barrier: bool = False, later: bool = False, fresh: bool = False
    ) -> None:
        """Answers a request that changes nothing: now, or behind earlier requests of this connection.

        `barrier`: what follows waits for it, since `read` may yet submit a command. An empty reply: it has.
        `later`: `read` says None, and ``answered`` follows in another tick. `fresh`: it must know all that anybody was
        told before, at any server.
        """
        if self.pending or later or (fresh and self._pipeline.journal.shared):
            self.pending += 1
            if barrier:
                self.held |= BARRIER
            self._pipeline.submit_read(self, echo, request_id, read, fresh)
            return
        reply = self._pipeline.read(read)
        if reply:
            self._owner.reply(echo, request_id, reply)

    def read_dearly(self, echo: Any, request_id: Any, read: Later) -> None:
        """As read, for what may take long: all such answers have one budget in a tick, and more come later."""
        in_turn = partial(self._in_turn, echo, request_id, read)
        if self.pending:
            self.pending += 1
            self._pipeline.submit_read(self, echo, request_id, in_turn)
            return
        reply = in_turn()
        if reply is None:
            self.pending += 1
        elif reply:
            self._owner.reply(echo, request_id, reply)

    def _in_turn(self, echo: Any, request_id: Any, read: Later) -> Reply | None:
        """The reply, or None: it comes in a later tick."""
        if not self._late:
            if self._budgets.answers.free():
                return self._measured(read)
            self.held |= LATE
            self._budgets.answers.wait(self._answer_late)
        self._late.append((echo, request_id, None, read))
        return None

    def _answer_late(self) -> None:
        """It is this connection's turn: answers what the budget allows, in order."""
        late, self._late = self._late, deque()
        try:
            while late:
                echo, request_id, command, answer = late.popleft()
                if command is None:
                    answer = self._measured(answer)
                self.answered(echo, request_id, command or {}, answer)
                if late and late[0][2] is None and not self._budgets.answers.free():
                    self._late = late
                    self._budgets.answers.wait(self._answer_late)
                    return
        except Exception:
            self._owner.broken()
            raise
        self.held &= ~LATE
        self._loop.again(self)

    def _measured(self, read: Later) -> Reply | None:
        begun = perf_counter()
        reply = self._pipeline.read(read)
        reply = reply and encoded(text_of(reply), reply)  # to make JSON of it takes as long again, and counts
        seconds = perf_counter() - begun
        self._budgets.answers.spend(seconds)
        rate = self._parameters["RATE_LIMIT"]
        if rate:
            self.bucket.charge(seconds, rate)
        return reply

    def answered(self, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        """The pipeline has carried out, or answered, what was submitted."""
        if self._late:
            self._late.append((echo, request_id, command, reply))
            return
        self.pending -= 1
        if not self.held:  # nearly always: nothing but the reply follows
            self._reply(echo, request_id, reply)
            return
        if not self.pending and self.held & (BARRIER | ENDED):
            self.held &= ~BARRIER
            self._loop.again(self)
        self._owner.carried_out(echo, request_id, command, reply)
        if self.held & GONE:
            self.let_go()

    @property
    def unheard(self) -> bool:
        """Whether it is we who do not read: its turn does not come, since too much waits for the log."""
        return bool(self.held & QUEUED) and self._budget.closed

    # What holds up, from outside.

    def block(self) -> None:
        """The peer does not read."""
        self.held |= BLOCKED
        self._pause()

    def unblock(self) -> None:
        """The peer has read everything."""
        self.held &= ~BLOCKED
        self._loop.again(self)

    def ended(self) -> None:
        """The peer has said all it had to say: it still gets its replies."""
        self.held |= ENDED
        self._finish()

    def _finish(self) -> None:
        waits = self._wire.waiting if self._wire is not None else self._opening and self.held & QUEUED
        if not waits and not self.pending and not self.held & OVER:
            self._owner.said_all()

    def stop(self) -> None:
        """Nothing is taken any more."""
        self.held |= OVER
        self.rest()
        if self._timer is not None:
            self._timer.cancel()

    def let_go(self) -> None:
        """The connection is closed. Nobody is told of anything, once all that was submitted is carried out.

        So the last reference to a session goes with its connection: a server that hundreds come to and leave each
        second makes no garbage that has to be searched for, which takes longer than a tick may.
        """
        self.held |= GONE
        if not self.pending:
            self._owner, self._reply, self._handle = NOBODY, NOBODY.reply, NOBODY.handle
