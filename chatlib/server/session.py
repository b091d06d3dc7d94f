"""A session: who one connection is, from its first byte to its last.

Its parts are the *wire* (:class:`chatlib.protocol.framing.Dialect`: bytes ↔ messages), the *intake*
(:mod:`chatlib.server.intake`: what holds requests up) and the *reader* (:mod:`chatlib.server.reader`: what this user
was given and has seen). The rest is who it is, and time. Its states (:class:`chatlib.protocol.commands.State`)::

    NEW ──hello──▶ GREETED ──login──▶ ONLINE
     │               └────admin──▶ CONSOLE
     └───hello──▶ WAITING ──admitted──▶ GREETED

`over` comes after any of them: bye was said, or the connection is gone. Nothing is said after bye.

Must not know the world, how a command is carried out, nor when bytes are sent. Legal calls: those of
:class:`chatlib.reactor.connection.Receiver` and :class:`chatlib.server.owner.Owner`; ``end`` at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from chatlib.core.replies import Encoded
from chatlib.core.world import Command, Reply
from chatlib.protocol.commands import ACTIONS, IN_STATE, State
from chatlib.protocol.framing import Dialect, dumps, encode
from chatlib.protocol.text import duration
from chatlib.reactor.bulk import Bulk, detached
from chatlib.reactor.connection import Connection
from chatlib.reactor.loop import Loop
from chatlib.reactor.timers import Timer
from chatlib.reactor.tls import TlsConnection
from chatlib.server.intake import Intake
from chatlib.server.limits import Budgets
from chatlib.server.pipeline import Pipeline
from chatlib.server.proof import ProofUnderWay
from chatlib.server.reader import Reader

LOGIN_TIME = 180.0  # seconds to log in
GRACE = 5.0  # seconds that a heartbeat may be late
MISTAKES = 20  # refused messages until a stranger is sent away
_TOO_LONG: Reply = {"status": "TOO_LONG", "text": "A line may have 65,536 bytes at most, 4,096 before login."}


class Desk(Protocol):
    """Who understands what sessions ask for. One for all of them."""

    def begin(self, session: Session, data: bytes) -> None:
        """A connection's first bytes: what does it speak?"""

    def handle(self, session: Session, message: bytes) -> None:
        """A message, whose turn has come."""

    def carried_out(self, session: Session, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        """A request was carried out."""

    def refused(self, session: Session, echo: Any, request_id: Any, status: str) -> None:
        """A request was answered with something else than OK."""


class Keeper(Protocol):
    """Who must know that sessions come to their ends. One for all of them."""

    def mistaken(self, session: Session) -> None:
        """A stranger has said what means nothing."""

    def drained(self, session: Session) -> None:
        """The peer has been given everything that was said; perhaps it is to be given more."""

    def leaves(self, session: Session) -> None:
        """`session` is nobody's from now on: the world is told, and everyone who has something for it."""

    def said_bye(self, session: Session, status: str) -> None:
        """Nothing more is said: the connection is closed when this tick's words are on their way."""

    def closed(self, session: Session) -> None:
        """The connection is gone."""


class Voice(Protocol):
    """How something is said to one connection: with the next flush, after all that was said to it before."""

    def __call__(self, session: Session, line: bytes, /) -> None: ...


class Session:
    """One connection's state. `user` (folded) and `login` (its LSN) are set while logged in."""

    __slots__ = (
        "_desk", "_farewell", "_keeper", "_loop", "_mistakes", "_parameters", "_sent", "_timer", "_voice", "actions",
        "address", "binding", "born", "catching_up", "client", "connection", "departed", "ended", "heartbeat", "intake",
        "idle_limit", "last_command", "listening", "login", "mark", "ordinal", "over", "pieces", "position", "proof",
        "push", "reader", "received", "stamp", "state", "translate", "user", "wire",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, *, loop: Loop, pipeline: Pipeline, budgets: Budgets,
        parameters: Mapping[str, Any], desk: Desk, keeper: Keeper, voice: Voice,
    ) -> None:  # fmt: skip
        self.address = connection.address
        self.connection: Connection | TlsConnection = connection
        self.push = connection.push
        self.binding = b""  # over TLS: what proofs of passwords must be bound to
        self._loop, self._parameters, self._desk, self._keeper, self._voice = loop, parameters, desk, keeper, voice
        self.state, self.actions = State.NEW, IN_STATE[State.NEW]
        self.client: str | None = None
        self.ordinal = 0  # which connection of its client's it is; 0: that does not say
        self.born = loop.ticks  # tells an older connection of the same client from a newer one
        self.user = ""
        self.login = 0
        self.stamp = b""  # with what the record of a command of this user's begins
        self.departed = False  # the world has been told, or told us, that this session is over
        self.over = False
        self.proof: ProofUnderWay | None = None  # a SCRAM conversation under way
        self.position = 0  # in the queue for a seat, as it was last told
        self.wire: Dialect | None = None  # until it shows what the peer speaks
        self.intake = Intake(self, partial(desk.handle, self), connection, loop, pipeline, budgets, parameters)
        self.received, self.ended = self.intake.received, self.intake.ended
        self.reader = Reader()
        # Fan-out, kept by Delivery.
        self.pieces: list[bytes] | None = None
        self.mark = 0
        self.listening = False
        self.translate: Callable[[bytes], bytes] | None = None  # how its wire says an event; None: as it is
        self.catching_up = False  # its turn to be handed stored messages is coming
        # Time.
        self.heartbeat: float = parameters["HEARTBEAT"]  # as hello promised it
        self.last_command = loop.now
        self.idle_limit: float | None = None  # seconds without a command; None: TIME_OUT
        self._sent = 0  # bytes of its backlog that the peer had taken when that was last looked at
        self._timer: Timer = loop.call_later(LOGIN_TIME, self._login_time_over)
        self._mistakes = 0
        self._farewell: tuple[str, str] | None = None  # with what it ends when the peer has said all

    # From the connection; bytes and their end go to the intake.

    def drained(self) -> None:
        """The peer reads again, and has been given everything."""
        self.reader.drained(self.listening)
        self.intake.unblock()
        self._keeper.drained(self)

    def overflowed(self) -> None:
        """A slow consumer: what it has not acknowledged waits for its next login."""
        if self.translate is None:  # else nobody can tell where the message ends of which the kernel has taken a part
            self.connection.drop_backlog()
        self.end("SLOW_CONSUMER", "You read too slowly; log in again for what you missed.")

    def disconnected(self) -> None:
        """The connection is gone, for whatever reason."""
        self._stop()
        self.depart()
        self._keeper.closed(self)
        self.intake.let_go()

    # From the intake.

    def begin(self, data: bytes) -> None:
        """The first bytes."""
        self._desk.begin(self, data)

    def speak(self, wire: Dialect) -> None:
        """What the peer speaks."""
        self.wire, self.translate = wire, wire.translate
        self.intake.speak(wire)

    def handle(self, message: bytes) -> None:
        """A message, whose turn has come."""
        self._desk.handle(self, message)

    def carried_out(self, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        """A request was carried out."""
        self._desk.carried_out(self, echo, request_id, command, reply)

    def broken(self) -> None:
        """A fault of ours while reading requests."""
        self.connection.abort()

    def goes_on_inside(self, tls: TlsConnection, binding: bytes) -> None:
        """The first bytes were TLS: what is inside is this session's from now on."""
        self.connection, self.push, self.binding = tls, tls.push, binding
        self.intake.connection = tls

    def hand_over(self) -> tuple[Bulk, bytes]:
        """The connection is another protocol's from now on: its socket, and every byte that it has said."""
        said = self.intake.rest()
        self._stop()
        self._keeper.closed(self)
        self.intake.let_go()
        return detached(self.connection), said

    # Saying something.

    def say(self, line: bytes) -> None:
        """A line of this connection's own, with the next flush."""
        if not self.over:
            self._voice(self, line)

    def reply(self, echo: Any, request_id: Any, reply: Reply) -> None:
        """A reply."""
        if self.over:
            return
        if type(reply) is Encoded:
            text = reply.text
        else:
            text = dumps(reply)
            if reply["status"] != "OK":
                self._desk.refused(self, echo, request_id, reply["status"])
        if type(request_id) is int and echo in ACTIONS:  # nearly always: then no dict has to be built
            line = f'{{"action":"{echo}","id":{request_id},{text[1:]}\n'
        else:
            head = dumps({"action": echo} if request_id is None else {"action": echo, "id": request_id})
            line = f"{head[:-1]},{text[1:]}\n"
        self._voice(self, line.encode())

    def event(self, event: dict[str, object]) -> None:
        """An event of this connection's own."""
        if not self.over:
            self._voice(self, encode(event))

    def is_at_work(self) -> None:
        """A request waits for long, and so does what is behind it, also the answers to heartbeats: a blank in front of
        the next line says that the server is there."""
        if self.intake.pending and self.translate is None:
            self.say(b" ")

    def mistaken(self) -> None:
        """A message was refused. A stranger may be mistaken a few times, and not more."""
        if not self.login and self.state is not State.CONSOLE:
            self._mistakes += 1
            if self._mistakes == MISTAKES:
                self._end_behind_replies("PROTOCOL_ERROR", "Too many lines that are not requests.")
            else:
                self._keeper.mistaken(self)

    def too_long(self) -> None:
        """A message is longer than allowed."""
        self.intake.read(None, None, lambda: _TOO_LONG)
        self._end_behind_replies("PROTOCOL_ERROR", "The line was too long.")

    # Coming.

    def become(self, state: State) -> None:
        """Where it stands from now on, and so what may be asked for."""
        self.state, self.actions = state, IN_STATE[state]

    def is_users(self, user: str, login: int) -> None:
        """The world has let `user` in."""
        self.user, self.login = user, login
        self.stamp = b'{"by":"%b","at":' % user.encode()
        self.become(State.ONLINE)
        self.last_command = self.intake.heard = self._loop.now
        self.watch_time()

    def is_administrators(self, idle_limit: float) -> None:
        """The administrator's password was proven: it is a console, and no user's."""
        self.idle_limit = idle_limit
        self.become(State.CONSOLE)
        self.intake.admit(None)
        self.reader.acknowledges = True  # whoever is here sends heartbeats
        self.last_command = self.intake.heard = self._loop.now
        self.watch_time()

    # Going.

    def _end_behind_replies(self, status: str, text: str) -> None:
        """Handles nothing more, and ends when what is under way is answered."""
        self._farewell = (status, text)
        self.intake.rest()
        self.intake.ended()

    def said_all(self) -> None:
        """The peer will send no more, and all it sent is answered."""
        if self._farewell:
            self.end(*self._farewell)
            return
        self.depart()
        self.end_without_bye()

    def depart(self) -> None:
        """Nobody's any more; the connection may live a little longer."""
        if self.login:
            self._timer.cancel()
        self._keeper.leaves(self)

    def end(self, status: str, text: str) -> None:
        """Says bye and closes, whoever wants it so."""
        if self.over:
            return
        self.depart()
        self.event({"event": "bye", "status": status, "text": text})
        self._stop()
        self._keeper.said_bye(self, status)

    def end_without_bye(self) -> None:
        """Closes; what was said last was the last word."""
        self._stop()
        self._keeper.said_bye(self, "")

    def _stop(self) -> None:
        self.over = True
        self.intake.stop()
        self._timer.cancel()

    # Time.

    def watch_time(self) -> None:
        """Ends the session when it was silent, or without a command, for too long; looks again when it may be."""
        self._timer.cancel()
        now, time_out = self._loop.now, self._parameters["TIME_OUT"] if self.idle_limit is None else self.idle_limit
        idle = self.last_command + time_out
        lost = self.intake.heard + self.heartbeat + GRACE if self.reader.acknowledges else idle
        if now >= idle:
            self.end("TIME_OUT", f"You were idle for {duration(time_out)}.")
        elif now >= lost and (self.intake.unheard or self._still_reads()):
            self.intake.heard = now
            self.watch_time()
        elif now >= lost:
            self.end("HEARTBEAT_LOST", "Nothing was heard from your client.")
        else:
            self._timer = self._loop.call_at(min(idle, lost), self.watch_time)

    def _still_reads(self) -> bool:
        """Whether a peer that we do not read, because it reads slowly, has taken anything since this was last asked."""
        before, self._sent = self._sent, self.connection.sent
        return self.connection.backlog_size > 0 and self._sent > before

    def _login_time_over(self) -> None:
        if self.state is not State.WAITING:
            self.end("TIME_OUT", f"You did not log in within {LOGIN_TIME:g} seconds.")

    def wait(self) -> None:
        """Its turn to be heard has not come: nothing is read."""
        self.intake.block()

    def wait_no_longer(self) -> None:
        """It has."""
        self.start_login_time()
        self.intake.unblock()

    def start_login_time(self) -> None:
        """Begins anew to count the time to log in: a seat has become free, or its turn has come."""
        self._timer.cancel()
        self._timer = self._loop.call_later(LOGIN_TIME, self._login_time_over)
