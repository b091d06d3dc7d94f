"""A session: the state machine between one connection and the world.

Lines come in, are held up where they must be (too many, a peer that does not read, a barrier), become answers or
commands (:mod:`chatlib.server.requests`); replies go out in the order of the requests. A request that changes who the
session is (login, logout) is a barrier: what follows it in the same packet waits for its reply.

Must not know how a command is carried out, nor when bytes are sent. Legal calls: those of
:class:`chatlib.reactor.connection.Receiver`, ``answered`` once for each submitted request, ``end`` at most once.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chatlib.core.world import Command, Reply
from chatlib.protocol.commands import State
from chatlib.protocol.framing import MAX_LINE, LineBuffer, LineTooLong, dumps, encode, quote
from chatlib.reactor.connection import Connection
from chatlib.reactor.timers import Timer
from chatlib.server import proving, requests

if TYPE_CHECKING:
    from chatlib.server.server import Server

BUDGET = 256  # requests of one connection in one tick; the rest waits for the next
TURN = 0.005  # seconds of long answers to one connection in one tick; then the others have their turn
CATCH_UP = 256  # stored messages handed to one connection in one tick,
CATCH_UP_SIZE = 262_144  # or about so many bytes: far less than would make it a slow consumer
LOGIN_TIME = 180.0  # seconds to log in
_TOO_LONG: Reply = {"status": "TOO_LONG", "text": "A line may have 65,536 bytes at most."}


class Session:
    """One connection's state. `user` (folded) and `login` (its LSN) are set while logged in."""

    __slots__ = (
        "_barrier", "_blocked", "_buffer", "_farewell", "_inbox", "_leaving", "_opening", "_over", "_pending", "_sent",
        "_taken", "_timer", "_tokens", "_tokens_at", "acked", "acknowledges", "address", "born", "client", "connection",
        "cursor", "departed", "exchange", "heard", "last_command", "listening", "login", "mark", "pieces", "push",
        "server", "spent", "state", "up_to_date", "user",
    )  # fmt: skip

    def __init__(self, server: Server, connection: Connection) -> None:
        self.server = server
        self.connection = connection
        self.push = connection.push
        self.address = connection.address
        self.state = State.NEW
        self.client: str | None = None
        self.born = server.loop.ticks  # tells an older connection of the same client from a newer one
        self.user = ""
        self.login = 0
        self.departed = False  # the world has been told, or told us, that this session is over
        self.exchange: proving.Proof | None = None  # a SCRAM conversation under way
        # Fan-out, kept by Delivery.
        self.pieces: list[bytes] | None = None
        self.mark = 0
        self.listening = False
        self.up_to_date = False  # listening, and the kernel has taken all that waited before
        # What was seen.
        self.acknowledges = False  # has said seen or alive; otherwise what the kernel took counts as seen
        self.acked = 0
        self.cursor = 0  # catching up: the last stored seq handed out
        self._taken = 0  # while the connection is behind: up to where the kernel had taken all
        # What holds requests up.
        self._opening: bytes | None = b""  # what came before the first line ended
        self._buffer = LineBuffer()
        self._inbox: list[bytes] | None = None  # lines not yet looked at
        self._pending = 0  # requests submitted and not answered
        self._barrier = False
        self._blocked = False  # the peer does not read
        self._sent = 0  # bytes of its backlog that it had taken when that was last looked at
        self._leaving = False  # the peer will send no more
        self._farewell: tuple[str, str] | None = None  # with what it ends when it leaves
        self._over = False
        self.spent = 0.0  # seconds that answers to this connection took in this turn
        # Time.
        self._tokens = float("inf")  # a full bucket, however large it is
        self._tokens_at = server.loop.now
        self.last_command = self.heard = server.loop.now
        self._timer: Timer = server.loop.call_later(LOGIN_TIME, self._login_time_over)

    # From the connection.

    def received(self, data: bytes) -> None:
        """Bytes: a client says alive by any of them."""
        if self._over or self._leaving:
            return
        self.heard = self.server.loop.now
        if self._opening is not None:
            data = self._first_bytes(data)
        try:
            lines = self._buffer.feed(data)
        except LineTooLong:
            self.read(None, None, lambda: _TOO_LONG)
            self._farewell = ("PROTOCOL_ERROR", "The line was too long.")
            self.connection.pause_reading()
            self.ended()
            return
        if self._inbox:
            self._inbox += lines
        else:
            self._take(lines)

    def _first_bytes(self, data: bytes) -> bytes:
        """The first line tells what the connection speaks: the bytes to go on with, if it is ours."""
        opening = (self._opening or b"") + data
        line, end, rest = opening.partition(b"\n")
        if not end and len(opening) < MAX_LINE:
            self._opening = opening
            return b""
        self._opening = None
        return b"" if end and self.server.transfers.begin(self, line, rest) else opening

    def hand_over(self) -> socket.socket:
        """The connection is another protocol's from now on."""
        self._over = True
        self._timer.cancel()
        self.server.connection_closed(self)
        return self.connection.detach()

    def _take(self, lines: list[bytes]) -> None:
        """Looks at `lines` until something holds them up; the rest waits in the inbox, unread by the kernel's grace."""
        taken, self.spent = 0, 0.0
        rate = self.server.world.parameters["RATE_LIMIT"]
        for line in lines:
            if self._barrier or self._blocked or self._over or taken == BUDGET or (rate and not self._spend(rate)):
                break
            if self.spent > TURN:
                break
            taken += 1
            requests.take(self, line)
        if taken == len(lines):
            self._inbox = None
            self.connection.resume_reading()
            if self._leaving:
                self._finish()
            return
        self._inbox = lines[taken:]
        self.connection.pause_reading()
        if taken == BUDGET or self.spent > TURN:
            self.server.loop.again(self)

    def again(self) -> None:
        """Goes on with what waits in the inbox."""
        if self._inbox and not self._over:
            self._take(self._inbox)
        elif self._leaving:
            self._finish()

    def broken(self) -> None:
        """A fault of ours while reading requests."""
        self.connection.abort()

    def _spend(self, rate: int) -> bool:
        """One token of the bucket; without one, comes back when there is."""
        now = self.server.loop.now
        self._tokens = min(5.0 * rate, self._tokens + (now - self._tokens_at) * rate)
        self._tokens_at = now
        if self._tokens < 1.0:
            self.heard = now  # it is we who do not read
            self.server.loop.call_later((1.0 - self._tokens) / rate, self.again)
            return False
        self._tokens -= 1.0
        return True

    def ended(self) -> None:
        """The peer has said all it had to say: it still gets its replies."""
        self._leaving = True
        self._finish()

    def _finish(self) -> None:
        if not self._inbox and not self._pending:
            if self._farewell:
                self.end(*self._farewell)
                return
            self.depart()
            self.server.close_soon(self)

    def drained(self) -> None:
        """The peer reads again, and has been given everything."""
        self._blocked = False
        self.up_to_date = self.listening
        if not self._inbox:
            self.connection.resume_reading()
        elif not self._barrier:
            self.server.loop.again(self)

    def overflowed(self) -> None:
        """A slow consumer: what it has not acknowledged waits for its next login."""
        self.connection.drop_backlog()
        self.end("SLOW_CONSUMER", "You read too slowly; log in again for what you missed.")

    def disconnected(self) -> None:
        """The connection is gone, for whatever reason."""
        self._timer.cancel()
        self._over = True
        self._inbox = None
        self.depart()
        self.server.connection_closed(self)

    # Requests.

    def read(self, echo: Any, request_id: Any, read: Callable[[], Reply], barrier: bool = False) -> None:
        """Answers a request that changes nothing: now, or behind earlier requests of this connection.

        `barrier`: what follows waits for it, since `read` may yet submit a command.
        """
        if self._pending:
            self._pending += 1
            self._barrier = self._barrier or barrier
            self.server.pipeline.submit_read(self, echo, request_id, read)
            return
        reply = self.server.pipeline.read(read)
        if reply:
            self.reply(echo, request_id, reply)

    def submit(
        self, echo: Any, request_id: Any, command: Command, record: bytes | None = None, barrier: bool = False
    ) -> None:
        """Sends a command on its way; `answered` will be called. `barrier`: what follows waits for it."""
        self._pending += 1
        self._barrier = self._barrier or barrier
        self.server.pipeline.submit(self, echo, request_id, command, record)

    def answered(self, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        """The pipeline has carried out, or answered, what was submitted."""
        self._pending -= 1
        if self._barrier and not self._pending:
            self._barrier = False
            if self._inbox:
                self.server.loop.again(self)
        after = requests.AFTER.get(command["action"]) if command else None
        if after is not None:
            after(self, echo, request_id, command, reply)
        elif reply:
            self.reply(echo, request_id, reply)
        if self._leaving and not self._pending:
            self.server.loop.again(self)

    def reply(self, echo: Any, request_id: Any, reply: Reply) -> None:
        """A reply, to be sent with the next flush."""
        if not self.connection.open:
            return
        if type(request_id) is int:  # nearly always: then no dict has to be built
            head = f'{{"action":{quote(echo) if echo else "null"},"id":{request_id},'
        else:
            head = dumps({"action": echo} if request_id is None else {"action": echo, "id": request_id})[:-1] + ","
        self.server.delivery.to(self, (head + dumps(reply)[1:] + "\n").encode())

    def event(self, event: dict[str, object]) -> None:
        """An event of this connection's own."""
        self.server.delivery.to(self, encode(event))

    # Coming.

    def logged_in(self, user: str, login: int) -> None:
        """The world has let `user` in: hands out what waited, then what comes."""
        server = self.server
        self.user, self.login, self.state = user, login, State.ONLINE
        self.acked = self.cursor = server.world.accounts[user].seen
        self.last_command = self.heard = server.loop.now
        self._tokens, self._tokens_at = server.buckets.pop(user, (self._tokens, self._tokens_at))
        self._timer.cancel()
        self.watch_time()
        server.delivery.sessions[user] = self
        self.catch_up()

    def catch_up(self) -> None:
        """Hands out stored messages; listens to new ones when there are no more. Legal while there is no backlog."""
        server = self.server
        self._taken = self.cursor  # legal only without a backlog: all that was handed out is taken
        size = 0
        for count, (seq, offset) in enumerate(server.world.waiting(self.user, self.cursor)):
            if count == CATCH_UP or size > CATCH_UP_SIZE:
                server.catching_up[self] = None
                return
            self.cursor = seq
            _, event = server.messages.read(offset)
            size += len(event)
            server.delivery.to(self, event[:-2] + b',"offline":true}\n' if seq < self.login else event)
        server.catching_up.pop(self, None)
        server.delivery.listen(self)

    # Going.

    def departure(self) -> Command:
        """The command that tells the world, once, that the session is over."""
        self.departed = True
        return {"action": "depart", "at": self.server.loop.wall, "user": self.user, "session": self.login,
                "seen": self.seen()}  # fmt: skip

    def depart(self) -> None:
        """Tells the world, once, that the session is over; the connection may live a little longer."""
        if self.login and not self.departed:
            self.server.pipeline.submit(None, "", None, self.departure())
        if self.login:
            self._timer.cancel()
            self.server.buckets[self.user] = (self._tokens, self._tokens_at)  # a new login is no new burst
            self.server.delivery.leave(self)
            self.server.transfers.leave(self.user, self.login)
            self.server.catching_up.pop(self, None)
        self.server.seats.leave(self)

    @property
    def over(self) -> bool:
        """Whether bye was said, or the connection is gone."""
        return self._over

    def end(self, status: str, text: str) -> None:
        """Says bye and closes, whoever wants it so."""
        if self._over:
            return
        self.depart()
        self.event({"event": "bye", "status": status, "text": text})
        self._over = True
        self._inbox = None
        self._timer.cancel()
        self.server.close_soon(self, status)

    def seen(self) -> int:
        """Up to which seq the user has seen everything."""
        if self.acknowledges:
            return self.acked
        return self._taken if self._blocked or not self.up_to_date else self.server.delivery.flushed

    def acknowledge(self, seq: int) -> None:
        """The client has shown everything up to `seq`."""
        if not self.acknowledges:
            self.acknowledges = True
            self.watch_time()
        seq = min(seq, self.server.world.lsn)
        if seq > self.acked:
            self.acked = seq
            self.server.acks[self.user] = seq

    def fell_behind(self, flushed: int) -> None:
        """The kernel did not take all of this tick; everything up to `flushed` it had taken before."""
        if not self._blocked:
            self._blocked = True
            if self.up_to_date:
                self._taken = flushed
            self.connection.pause_reading()

    # Time.

    def watch_time(self) -> None:
        """Ends the session when it was silent, or without a command, for too long; looks again when it may be."""
        self._timer.cancel()
        now, parameters = self.server.loop.now, self.server.world.parameters
        idle = self.last_command + parameters["TIME_OUT"]
        lost = self.heard + parameters["HEARTBEAT"] + 5.0 if self.acknowledges else idle
        if now >= idle:
            self.end("TIME_OUT", f"You gave no command for {parameters['TIME_OUT']:g} seconds.")
        elif now >= lost and self._still_reads():
            self.heard = now
            self.watch_time()
        elif now >= lost:
            self.end("HEARTBEAT_LOST", "Nothing was heard from your client.")
        else:
            self._timer = self.server.loop.call_at(min(idle, lost), self.watch_time)

    def _still_reads(self) -> bool:
        """Whether a peer that we do not read, because it reads slowly, has taken anything since this was last asked."""
        before, self._sent = self._sent, self.connection.sent
        return self._blocked and self._sent > before

    def _login_time_over(self) -> None:
        if self.state is not State.WAITING:
            self.end("TIME_OUT", f"You did not log in within {LOGIN_TIME:g} seconds.")

    def start_login_time(self) -> None:
        """Begins anew to count the time to log in: a seat has become free."""
        self._timer.cancel()
        self._timer = self.server.loop.call_later(LOGIN_TIME, self._login_time_over)
