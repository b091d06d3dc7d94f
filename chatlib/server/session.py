"""A session: who one connection is, from its first byte to its last.

Its parts are the :mod:`intake <chatlib.server.intake>` (what holds requests up) and the
:mod:`reader <chatlib.server.reader>` (what this user was given and has seen); the rest is coming, going and time.

The states of `state`: NEW → GREETED, or WAITING and then GREETED → ONLINE. `over` comes after any of them: bye was
said, or the connection is gone. Nothing is said after bye.

Must not know how a command is carried out, nor when bytes are sent. Legal calls: those of
:class:`chatlib.reactor.connection.Receiver` and :class:`chatlib.server.intake.Owner`, ``end`` at any time.
"""

from __future__ import annotations

import re
import socket
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from chatlib.core.world import Command, Reply
from chatlib.protocol.commands import ACTIONS, IN_STATE, State
from chatlib.protocol.framing import dumps, encode
from chatlib.protocol.text import duration
from chatlib.reactor.connection import Connection
from chatlib.reactor.timers import Timer
from chatlib.server import proving, requests
from chatlib.server.intake import Intake
from chatlib.server.reader import Reader
from chatlib.storage.textfile import FileError

if TYPE_CHECKING:
    from chatlib.server.server import Server

CATCH_UP = 256  # stored messages handed to one connection in one tick,
CATCH_UP_SIZE = 262_144  # or about so many bytes: far less than would make it a slow consumer
LOGIN_TIME = 180.0  # seconds to log in
GRACE = 5.0  # seconds that a heartbeat may be late
MISTAKES = 20  # refused lines until a stranger is sent away
_TOO_LONG: Reply = {"status": "TOO_LONG", "text": "A line may have 65,536 bytes at most, 4,096 before login."}
_HTTP = re.compile(rb"[A-Z]+ \S.* HTTP/[0-9.]+\r?")
_NOT_A_WEB_SERVER = b"This is a chat server, and no web server: use client.py to talk to it.\n"


class Session:
    """One connection's state. `user` (folded) and `login` (its LSN) are set while logged in."""

    __slots__ = (
        "_farewell", "_mistakes", "_queued", "_sent", "_timer", "actions", "address", "born", "client", "connection",
        "departed", "ended", "exchange", "heartbeat", "intake", "last_command", "listening", "login", "mark", "over",
        "pieces", "position", "push", "reader", "received", "server", "state", "user",
    )  # fmt: skip

    def __init__(self, server: Server, connection: Connection) -> None:
        self.server = server
        self.connection = connection
        self.push = connection.push
        self.address = connection.address
        self.state, self.actions = State.NEW, IN_STATE[State.NEW]
        self.client: str | None = None
        self.born = server.loop.ticks  # tells an older connection of the same client from a newer one
        self.user = ""
        self.login = 0
        self.departed = False  # the world has been told, or told us, that this session is over
        self.over = False
        self.exchange: proving.Proof | None = None  # a SCRAM conversation under way
        self.position = 0  # in the queue for a seat, as it was last told
        self.intake = Intake(
            self, partial(requests.take, self), connection, server.loop, server.pipeline, server.budgets,
            server.world.parameters,
        )  # fmt: skip
        self.received, self.ended = self.intake.received, self.intake.ended
        self.reader = Reader()
        # Fan-out, kept by Delivery.
        self.pieces: list[bytes] | None = None
        self.mark = 0
        self.listening = False
        self._queued = False  # its turn to catch up is coming
        # Time.
        self.heartbeat: float = server.world.parameters["HEARTBEAT"]  # as hello promised it
        self.last_command = server.loop.now
        self._sent = 0  # bytes of its backlog that the peer had taken when that was last looked at
        self._timer: Timer = server.loop.call_later(LOGIN_TIME, self._login_time_over)
        self._mistakes = 0
        self._farewell: tuple[str, str] | None = None  # with what it ends when the peer has said all

    # From the connection; bytes and their end go to the intake.

    def drained(self) -> None:
        """The peer reads again, and has been given everything."""
        self.reader.drained(self.listening)
        self.intake.unblock()
        if self.login and not self.listening and not self.over:
            self._go_on_catching_up()

    def overflowed(self) -> None:
        """A slow consumer: what it has not acknowledged waits for its next login."""
        self.connection.drop_backlog()
        self.end("SLOW_CONSUMER", "You read too slowly; log in again for what you missed.")

    def disconnected(self) -> None:
        """The connection is gone, for whatever reason."""
        self._stop()
        self.depart()
        self.server.connection_closed(self)
        self.intake.let_go()

    # The first line.

    def begin(self, line: bytes) -> None:
        """A connection's first line tells what it speaks."""
        if _HTTP.fullmatch(line):
            self._turn_a_browser_away()
        elif not self.server.transfers.begin(self, line):
            requests.take(self, line)

    def _turn_a_browser_away(self) -> None:
        """A web page can make a browser say anything to this port, but not before its own first line."""
        head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: "
        self.server.delivery.to(self, f"{head}{len(_NOT_A_WEB_SERVER)}\r\n\r\n".encode() + _NOT_A_WEB_SERVER)
        self._stop()
        self.server.close_soon(self)

    def hand_over(self) -> tuple[socket.socket, bytes]:
        """The connection is another protocol's from now on: its socket, and what came behind the first line."""
        rest = self.intake.rest()
        self._stop()
        self.server.connection_closed(self)
        self.intake.let_go()
        return self.connection.detach(), rest

    # From the intake.

    def carried_out(self, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        """A request was carried out."""
        after = requests.AFTER.get(command["action"]) if command else None
        if after is not None:
            after(self, echo, request_id, command, reply)
        elif reply:
            self.reply(echo, request_id, reply)

    def reply(self, echo: Any, request_id: Any, reply: Reply) -> None:
        """A reply, to be sent with the next flush."""
        if self.over or not self.connection.open:
            return
        if type(request_id) is int and echo in ACTIONS:  # nearly always: then no dict has to be built
            head = f'{{"action":"{echo}","id":{request_id},'
        else:
            head = dumps({"action": echo} if request_id is None else {"action": echo, "id": request_id})[:-1] + ","
        self.server.delivery.to(self, (head + dumps(reply)[1:] + "\n").encode())

    def event(self, event: dict[str, object]) -> None:
        """An event of this connection's own."""
        if not self.over:
            self.server.delivery.to(self, encode(event))

    def mistaken(self) -> None:
        """A line was refused. A stranger may be mistaken a few times, and not more."""
        if not self.login:
            self._mistakes += 1
            if self._mistakes == MISTAKES:
                self._end_behind_replies("PROTOCOL_ERROR", "Too many lines that are not requests.")

    def too_long(self) -> None:
        """A line is longer than allowed."""
        self.intake.read(None, None, lambda: _TOO_LONG)
        self._end_behind_replies("PROTOCOL_ERROR", "The line was too long.")

    def _end_behind_replies(self, status: str, text: str) -> None:
        """Takes nothing more, and ends when what is under way is answered."""
        self._farewell = (status, text)
        self.intake.rest()
        self.intake.ended()

    def said_all(self) -> None:
        """The peer will send no more, and all it sent is answered."""
        if self._farewell:
            self.end(*self._farewell)
            return
        self.depart()
        self.server.close_soon(self)

    def broken(self) -> None:
        """A fault of ours while reading requests."""
        self.connection.abort()

    # Coming.

    def become(self, state: State) -> None:
        """Where it stands from now on, and so what may be asked for."""
        self.state, self.actions = state, IN_STATE[state]

    def logged_in(self, user: str, login: int) -> None:
        """The world has let `user` in: hands out what waited, then what comes."""
        server = self.server
        self.user, self.login = user, login
        self.become(State.ONLINE)
        self.reader.begin(server.world.accounts[user].seen)
        self.last_command = self.intake.heard = server.loop.now
        self.intake.admit(server.buckets.take(user))
        server.strangers.leave(self)
        self.watch_time()
        server.delivery.come(self)
        if next(iter(server.world.waiting(user, self.reader.cursor)), None) is None:
            server.delivery.listen(self)
        else:
            self._go_on_catching_up()

    def _go_on_catching_up(self) -> None:
        if not self._queued:  # twice in one tick, and what was never pushed would count as taken
            self._queued = True
            self.server.budgets.catching_up.wait(self.catch_up)

    def catch_up(self) -> None:
        """Hands out stored messages; listens to new ones when there are no more. At most once in a tick."""
        self._queued = False
        if self.over or self.departed or self.listening:
            return
        if self.connection.backlog_size:
            return  # goes on when it is drained
        begun = perf_counter()
        catching_up = self.server.budgets.catching_up
        self.reader.took_all()
        if self._hand_out():
            self._go_on_catching_up()
        else:
            self.server.delivery.listen(self)
        catching_up.spend(perf_counter() - begun)

    def _hand_out(self) -> bool:
        """The next stored messages; whether there are more."""
        server, reader = self.server, self.reader
        size = 0
        for count, (seq, offset) in enumerate(server.world.waiting(self.user, reader.cursor)):
            if count == CATCH_UP or size > CATCH_UP_SIZE:
                return True
            reader.cursor = seq
            event = self.stored(seq, offset)
            size += len(event)
            server.delivery.to(self, event[:-2] + b',"offline":true}\n' if seq < self.login else event)
        return False

    def stored(self, seq: int, offset: int) -> bytes:
        """The event line of a stored message; a notice in the place of one that the disk has lost."""
        try:
            return self.server.messages.read(offset)[1]
        except (OSError, FileError) as error:  # it concerns this user, and nobody else
            self.server.tell(f"Message {seq} for {self.user} cannot be read: {error}")
        text = f"Message {seq} cannot be read: the server's disk has lost it. Its administrator was told."
        return encode({"event": "notice", "seq": seq, "time": self.server.loop.wall, "text": text})

    # Going.

    def departure(self) -> Command:
        """The command that tells the world, once, that the session is over."""
        self.departed = True
        return {"action": "depart", "at": self.server.loop.wall, "user": self.user, "session": self.login,
                "seen": self.seen()}  # fmt: skip

    def depart(self) -> None:
        """Tells the world, once, that the session is over; the connection may live a little longer."""
        server = self.server
        if self.login and not self.departed:
            server.pipeline.submit(None, "", None, self.departure())
        if self.login:
            self._timer.cancel()
            server.buckets.keep(self.user, self.intake.bucket, server.loop.now)
            server.delivery.leave(self)
            server.transfers.leave(self.user, self.login)
        server.seats.leave(self)

    def end(self, status: str, text: str) -> None:
        """Says bye and closes, whoever wants it so."""
        if self.over:
            return
        self.depart()
        self.event({"event": "bye", "status": status, "text": text})
        self._stop()
        self.server.close_soon(self, status)

    def _stop(self) -> None:
        self.over = True
        self.intake.stop()
        self._timer.cancel()
        self.server.strangers.leave(self)

    def seen(self) -> int:
        """Up to which seq the user has seen everything."""
        return self.reader.seen(self.server.delivery.flushed)

    def acknowledge(self, seq: int) -> None:
        """The client has shown everything up to `seq`."""
        if not self.reader.acknowledges:
            self.reader.acknowledges = True
            self.server.delivery.silent.pop(self, None)
            self.watch_time()
        if self.reader.acknowledge(min(seq, self.server.world.lsn)):
            self.server.acks[self.user] = self.reader.acked

    def fell_behind(self, flushed: int) -> None:
        """The kernel did not take all of this tick; everything up to `flushed` it had taken before."""
        self.reader.fell_behind(flushed)
        self.intake.block()

    # Time.

    def watch_time(self) -> None:
        """Ends the session when it was silent, or without a command, for too long; looks again when it may be."""
        self._timer.cancel()
        now, time_out = self.server.loop.now, self.server.world.parameters["TIME_OUT"]
        idle = self.last_command + time_out
        lost = self.intake.heard + self.heartbeat + GRACE if self.reader.acknowledges else idle
        if now >= idle:
            self.end("TIME_OUT", f"You were idle for {duration(time_out)}.")
        elif now >= lost and self._still_reads():
            self.intake.heard = now
            self.watch_time()
        elif now >= lost:
            self.end("HEARTBEAT_LOST", "Nothing was heard from your client.")
        else:
            self._timer = self.server.loop.call_at(min(idle, lost), self.watch_time)

    def _still_reads(self) -> bool:
        """Whether a peer that we do not read, because it reads slowly, has taken anything since this was last asked."""
        before, self._sent = self._sent, self.connection.sent
        return self.connection.backlog_size > 0 and self._sent > before

    def _login_time_over(self) -> None:
        if self.state is not State.WAITING:
            self.end("TIME_OUT", f"You did not log in within {LOGIN_TIME:g} seconds.")

    def start_login_time(self) -> None:
        """Begins anew to count the time to log in: a seat has become free."""
        self._timer.cancel()
        self._timer = self.server.loop.call_later(LOGIN_TIME, self._login_time_over)
