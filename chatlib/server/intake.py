"""The intake: what one connection asks for, and what holds it up (design, section 2).

Bytes wait as they came; a line is cut off when its turn has come, so what waits costs its bytes and no more. What may
hold the next line up is one set of flags, `held`:

- BARRIER: an earlier request must be answered first, since it may change who this is;
- LATE: a dear answer waits for the next ticks' budget; what is answered behind it waits with it, in order;
- BLOCKED: the peer does not read what it was told;
- THROTTLED: the rate limit; a timer lifts it;
- QUEUED: this tick's budget of lines is used up; the next ticks' have a queue;
- ENDED: the peer will send no more; what it had sent is still taken;
- OVER: nothing is taken any more;
- GONE: nor is anything said: the connection is closed.

Of these only ENDED lets lines through. While one of the others is set and something waits, the socket is not read: the
peer's own buffers hold it back.

Must not know what a line means. Legal order: ``received*`` → ``ended`` at most once; ``submit`` and ``read`` from
within the owner's `begin` and `take`; ``answered`` once for each request submitted; ``stop`` at any time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any, Protocol

from chatlib.core.world import Command, Reply
from chatlib.protocol.framing import MAX_LINE
from chatlib.reactor.connection import RECEIVE, Connection
from chatlib.reactor.loop import Loop
from chatlib.reactor.timers import Timer
from chatlib.server.limits import PER_CONNECTION, STRANGERS_LINE, Bucket, Budgets
from chatlib.server.pipeline import Pipeline

BARRIER, LATE, BLOCKED, THROTTLED, QUEUED, ENDED, OVER, GONE = 1, 2, 4, 8, 16, 32, 64, 128
_HOLDS = BARRIER | LATE | BLOCKED | THROTTLED | QUEUED | OVER

Later = Callable[[], Reply]
Answer = tuple[Any, Any, Command | None, Any]  # echo, id, command and its reply; for a read: None, and the reading


class Owner(Protocol):
    """Whose intake it is: a session."""

    def begin(self, line: bytes) -> None:
        """The first line, without its end: what does the peer speak?"""

    def carried_out(self, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        """A request was carried out, perhaps one that others waited for; for a read `command` is empty."""

    def reply(self, echo: Any, request_id: Any, reply: Reply) -> None:
        """An answer that waited for nothing."""

    def too_long(self) -> None:
        """A line is longer than allowed: nothing that follows can be understood."""

    def said_all(self) -> None:
        """The peer will send no more, and all it sent is answered."""

    def broken(self) -> None:
        """A fault of ours."""


class _Nobody:
    """The owner of an intake whose connection is gone."""

    def begin(self, line: bytes) -> None: ...

    def carried_out(self, echo: Any, request_id: Any, command: Command, reply: Reply) -> None: ...

    def reply(self, echo: Any, request_id: Any, reply: Reply) -> None: ...

    def too_long(self) -> None: ...

    def said_all(self) -> None: ...

    def broken(self) -> None: ...


_NOBODY = _Nobody()


class Intake:
    """One connection's. `heard`: when it last said anything; `pending`: requests submitted and not answered.

    A command that asks for more than its reply must be submitted as a barrier.
    """

    __slots__ = (
        "_budget", "_budgets", "_connection", "_late", "_longest", "_loop", "_opening", "_owner", "_parameters",
        "_part", "_paused", "_pipeline", "_raw", "_reply", "_take", "_timer", "bucket", "heard", "held",
        "pending",
    )  # fmt: skip

    def __init__(
        self,
        owner: Owner,
        take: Callable[[bytes], None],
        connection: Connection,
        loop: Loop,
        pipeline: Pipeline,
        budgets: Budgets,
        parameters: Mapping[str, Any],
    ) -> None:
        self._owner: Owner = owner
        self._take = take  # a line, without its end
        self._connection = connection
        self._loop, self._pipeline, self._parameters = loop, pipeline, parameters
        self._budgets, self._budget = budgets, budgets.strangers
        self._raw = b""  # whole lines, not yet taken
        self._part: bytearray | None = None  # the beginning of the line after them
        self._longest = connection.receive = STRANGERS_LINE
        self._timer: Timer | None = None  # lifts THROTTLED
        self.bucket = Bucket(loop.now)
        self.heard = loop.now
        self._late: deque[Answer] = deque()  # empty unless LATE
        self.held = 0
        self.pending = 0
        self._opening = True  # no line has been taken yet
        self._paused = False  # nothing more is read
        self._reply = owner.reply

    def admit(self, bucket: Bucket | None) -> None:
        """The peer has logged in: longer lines, the users' budget, and what the rate limit had left of its bucket."""
        self._budget = self._budgets.lines
        self._longest = MAX_LINE
        self._connection.receive = RECEIVE
        self.bucket = bucket or self.bucket

    # Bytes.

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        held = self.held
        if held & (ENDED | OVER):
            return
        self.heard = self._loop.now
        if self._part is None and data.endswith(b"\n"):
            self._raw = self._raw + data if self._raw else data
        else:
            self._keep(data)
        if held & _HOLDS:
            self._pause()
        else:
            self._go_on()

    def _keep(self, data: bytes) -> None:
        """Bytes that end, or begin, in the middle of a line."""
        end = data.rfind(b"\n") + 1
        if end:
            self._raw += bytes(self._part or b"") + data[:end]
            self._part = bytearray(data[end:]) if end != len(data) else None
        elif self._part is None:
            self._part = bytearray(data)
        else:
            self._part += data

    def _go_on(self) -> None:
        """Takes lines until something holds them up. Legal while nothing does."""
        if self._raw:
            self._take_lines()
        held = self.held
        if held & OVER:
            return
        if self._raw:
            self._pause()
        elif held & _HOLDS:
            return  # whatever arrives meanwhile is kept, and nothing more is read
        elif self._part is not None and len(self._part) >= self._longest:
            self._part = None
            self._owner.too_long()
        elif held & ENDED:
            self._finish()
        elif self._paused:
            self._paused = False
            self._connection.resume_reading()

    def _take_lines(self) -> None:
        if self._opening:  # this line may make the connection another protocol's, with all that follows it
            if not self._budget.take(1):
                self._queue_up()
                return
            self._opening = False
            line, _, self._raw = self._raw.partition(b"\n")
            self._owner.begin(line)
            if self.held & _HOLDS or not self._raw:
                return
        raw = self._raw
        allowed = self._allow(raw.count(b"\n"))
        if not allowed:
            return
        lines = raw.split(b"\n", allowed)
        self._raw = lines.pop()
        longest, take = self._longest, self._take
        for taken, line in enumerate(lines, 1):
            if len(line) >= longest:
                self.rest()
                self._owner.too_long()
                return
            take(line)
            if self.held & _HOLDS:
                if taken < allowed and not self.held & OVER:
                    self._raw = b"\n".join(lines[taken:]) + b"\n" + self._raw
                    self._allow(taken - allowed)
                return
        if self._raw:
            self._queue_up()

    def _allow(self, wanted: int) -> int:
        """How many of the lines that are `wanted` it may take now; below 0: so many are given back.

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
        granted = self._budget.take(min(wanted, PER_CONNECTION))
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
        self._connection.pause_reading()

    def _lift(self, flag: int) -> None:
        self.held &= ~flag
        self.again()

    def again(self) -> None:
        """Goes on with what waits, or with the end."""
        if not self.held & _HOLDS:
            self._go_on()
        elif self.held & ENDED:
            self._finish()

    def broken(self) -> None:
        """A fault of ours in taking a line."""
        self._owner.broken()

    def rest(self) -> bytes:
        """Hands out everything that was not taken; forgets it."""
        rest = self._raw + bytes(self._part or b"")
        self._raw, self._part = b"", None
        return rest

    # Requests.

    def submit(self, echo: Any, request_id: Any, command: Command, record: bytes | None, barrier: bool = False) -> None:
        """Sends a command on its way. `barrier`: what follows waits for it. `record`: the command as JSON."""
        self.pending += 1
        if barrier:
            self.held |= BARRIER
        self._pipeline.submit(self, echo, request_id, command, record)

    def read(self, echo: Any, request_id: Any, read: Later, barrier: bool = False) -> None:
        """Answers a request that changes nothing: now, or behind earlier requests of this connection.

        `barrier`: what follows waits for it, since `read` may yet submit a command. An empty reply: it has.
        """
        if self.pending:
            self.pending += 1
            if barrier:
                self.held |= BARRIER
            self._pipeline.submit_read(self, echo, request_id, read)
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
        if not self._raw and not self.pending and not self.held & OVER:
            self._owner.said_all()

    def stop(self) -> None:
        """Nothing is taken any more."""
        self.held |= OVER
        self._raw, self._part = b"", None
        if self._timer is not None:
            self._timer.cancel()

    def let_go(self) -> None:
        """The connection is closed. Nobody is told of anything, once all that was submitted is carried out.

        So the last reference to a session goes with its connection: a server that hundreds come to and leave each
        second makes no garbage that has to be searched for, which takes longer than a tick may.
        """
        self.held |= GONE
        if not self.pending:
            self._owner, self._reply, self._take = _NOBODY, _NOBODY.reply, _NOBODY.begin
