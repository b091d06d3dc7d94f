"""A client's side of the wire, without I/O: bytes in → news for the caller, bytes out. It outlives its connections.

Must not know sockets, screens, files or the clock: time is the parameter `now` (any clock that never goes back),
chance is `token` and `salt`. Legal order: ``connected → received* → disconnected`` for each connection, the last at
most once; what is asked (``login``, ``request``, ...) may be asked at any time and is sent when it can be. After each
call the caller sends :meth:`take_output`, reads :meth:`take_news`, and comes back at :meth:`deadline` with ``tick``.

Invariants: an event is told once, however often it is delivered; a request that changes something is sent again, with
its key, until it is answered; after ``Ended`` nothing happens. Who one is is the business of :mod:`.entrance`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from chatlib.client import news as n
from chatlib.client.clock import ServerClock
from chatlib.client.elsewhere import Elsewhere
from chatlib.client.entering import Entering
from chatlib.client.entrance import Entrance
from chatlib.client.epochs import Epochs
from chatlib.client.failures import NEEDS_TLS, NOT_OURS, stranger
from chatlib.client.greeting import Greeting
from chatlib.client.heartbeat import NEVER, SILENCE, Heartbeat, Promptness
from chatlib.client.news import FINAL, LATER, NOT_HERE, Fields, News, Request, integer_of, status_of, text_of
from chatlib.client.outbox import WINDOW, Memory, NoMemory, Outbox
from chatlib.client.proof import SALT_SIZE, Signature
from chatlib.client.trust import Certificate
from chatlib.protocol.commands import State
from chatlib.protocol.framing import BadLine, LineBuffer, LineTooLong, decode, encode
from chatlib.protocol.scram import ScramError, new_nonce

LEAVING = 3.0  # seconds that a logout may take


class Conversation(Entering):
    """One user's conversation with one server.

    `attended`: by a person, who is not to notice that a server restarts before the login, and after a time-out comes
    back only when there is something to say.
    """

    def __init__(
        self,
        memory: Memory | None = None,
        *,
        reconnect: bool = True,
        attended: bool = False,
        token: Callable[[], str] = new_nonce,
        salt: Callable[[], bytes] = lambda: secrets.token_bytes(SALT_SIZE),
    ) -> None:
        self.outbox = Outbox(memory or NoMemory(), token)
        self.reconnect, self.attended = reconnect, attended
        self.user = ""  # as registered; empty before the first login
        self.state: State | None = None  # None: not connected
        self.wanted = True  # whether there should be a connection
        self.retry_after = 0.0  # seconds that the server asked to wait before the next one
        self.ended: n.Ended | None = None
        self.seen = 0  # the last seq that was shown
        self.spare = False  # whether another server is tried when this connection is gone: whoever connects says so
        self.passed_over = ""  # why this server is of no use, where another is to spare
        self._greeting = Greeting(token())
        self._entrance = Entrance(self, token, salt)
        self._heartbeat, self.promptness = Heartbeat(), Promptness()
        self._epochs = Epochs()
        self._received = 0  # the last seq that was told, shown or not
        self._unread = 0
        self._leave_at = NEVER
        self._elsewhere = Elsewhere(self.outbox)
        self._heard = 0.0
        self._clock = ServerClock()
        self._lines = LineBuffer()
        self._sent: dict[int, tuple[Request, float]] = {}  # unanswered on this connection, and since when
        self._output: list[bytes] = []
        self._news: list[News] = []

    # The caller's side.

    def take_output(self) -> bytes:
        """The bytes to be sent, once."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def take_news(self) -> list[News]:
        """What happened since the last time, once."""
        news, self._news = self._news, []
        return news

    @property
    def has_news(self) -> bool:
        return bool(self._news)

    @property
    def is_calling(self) -> bool:
        """Whether the server has not been heard yet, not even once."""
        return self.state in (None, State.NEW) and not self._epochs.current and not self.ended

    @property
    def signature(self) -> Signature | None:
        """What signs one's cheques: from the first login until the end, also while the server is away."""
        return self._entrance.signature

    @property
    def servers(self) -> object:
        """Who else there is, as a server has said that has proven itself."""
        return self._greeting.servers

    @property
    def committed(self) -> bool:
        """Whether a password was given, which is proven again by itself."""
        return self._entrance.committed

    def server_time(self, now: float) -> float:
        """The time of day by the server's clock, as far as it has said so."""
        return self._clock.time(now)

    @property
    def offers_tls(self) -> bool:
        """Whether the server has said that it does, on a connection without."""
        return self._entrance.offers_tls

    def active(self, now: float) -> None:
        """The person is there: types, or waits for a file. The server is told, now and then."""
        if self.state is State.ONLINE:
            self._heartbeat.active(now)

    def wake(self) -> None:
        """After Idle: comes back."""
        self.wanted = self.wanted or (bool(self.user) and self.ended is None)

    def request(self, action: str, fields: Fields, now: float, key: str | None = None, most: int = 0) -> Request:
        """Asks something of the server → Answered, at once or after the next login. `most`: of a long answer."""
        request = Request(action, fields, key, most=most)
        self.outbox.add(request)
        self.wake()
        if self.state is State.ONLINE:
            self._ask(now)
        return request

    def shown(self, event: Fields, now: float) -> None:
        """`event` has been shown: it is acknowledged soon, and will not be told again."""
        seq = event.get("seq")
        if isinstance(seq, int) and seq > self.seen:
            self.seen = seq
            self.outbox.memory.shown(seq)
            self._heartbeat.shown(now)

    def logout(self, now: float) -> None:
        """Leaves → Ended, after the replies that are still to come."""
        if self._leave_at != NEVER:
            return
        if self.state is State.ONLINE:
            self._ask(now, len(self.outbox.pending))
            self.send(Request("logout", {"seen": self.seen}), now)
            self._leave_at = now + LEAVING
        else:
            self.end("LOGGED_OUT", "")

    def end(self, status: str, text: str) -> None:
        """Ends the conversation now; what is unanswered stays in the memory."""
        if self.ended is None:
            self.ended = n.Ended(status, text)
            self.tell(self.ended)
        self.state, self.wanted = None, False
        self._entrance.forget()

    # The connection's side.

    def connected(self, now: float, certificate: Certificate | None = None, server: str = "") -> None:
        """A connection is there, to `server`, over TLS if there is a `certificate`: greets it."""
        self.state = State.NEW
        self._entrance.certificate = certificate
        self._lines = LineBuffer()
        self._heard = now
        self.retry_after = 0.0
        self.send(self._greeting.hello(server), now)

    def received(self, chunk: bytes, now: float) -> None:
        """Bytes from the server. What it says after its last word is not listened to."""
        self._heard = now
        try:
            for line in self._lines.feed(chunk):
                if self.state is not None:
                    self._hear(decode(line), now)
        except (BadLine, LineTooLong):
            text = "The server does not speak this program's protocol." if not self.is_calling else stranger(chunk)
            self.disconnected(text, now, "PROTOCOL_ERROR")
        except ScramError as error:
            self.end("NOT_TRUSTED", str(error))

    def disconnected(self, text: str, now: float, status: str = "LOST", after: float = 0.0) -> None:
        """The connection is gone, or could not be made: → Lost when it is to be tried again, else Ended."""
        if self.ended:
            return
        asked = bool(self._sent)
        if self.state is State.NEW and self.spare and status not in FINAL - {"PROTOCOL_ERROR"}:
            self.passed_over = text
            self.forsake()
            return
        if status == "LOST" and self.state and self.is_calling:
            text = f"{text} {NOT_OURS}"
        text = NEEDS_TLS if status == "TLS_REQUIRED" else text
        self.forsake()
        if self._leave_at != NEVER:
            self.end("LOGGED_OUT", "")
        elif self.user and self.reconnect and status not in FINAL:
            self._entrance.interrupted()
            self.retry_after = after
            self.wanted = not self.attended or status != "TIME_OUT"
            self.tell(n.Lost(status, text, self.spare) if self.wanted else n.Idle(text))
        elif not self.user and status == "TIME_OUT" and (self.attended or not asked):
            self.wanted = False  # someone thinks about a name or a password: come back when there is something to say
        elif (self.spare or (self.attended and self._epochs.current)) and self.reconnect and status not in FINAL:
            self.tell(n.Lost(status, text, self.spare))
        else:
            self.end(status, text)

    def forsake(self) -> None:
        """Nothing more is said or heard on this connection, and nobody hears of it."""
        self.state = None
        self._sent.clear()
        self.promptness.forget()
        self._output.clear()
        self._heartbeat.stop()

    def deadline(self) -> float:
        """When ``tick`` is wanted; infinity: not at all."""
        if self.state is None:
            return NEVER
        return min(self._heartbeat.deadline(), self._leave_at, self._dead_at())

    def tick(self, now: float) -> None:
        """Sends the heartbeat and acknowledgements that are due; notices a server that is dead."""
        if self.state is None:
            return
        if now >= min(self._dead_at(), self._leave_at):
            text = "The server is silent." if self.is_calling else "The server does not answer any more."
            self.disconnected(text, now)
        elif now >= self._heartbeat.deadline():
            fields: Fields = {"seen": self.seen, "active": True} if self._heartbeat.is_active else {"seen": self.seen}
            self.send(Request("alive", fields), now)
            self._heartbeat.sent(now)

    # Sending.

    def _ask(self, now: float, room: int | None = None) -> None:
        for number, request in self.outbox.due(WINDOW - len(self._sent) if room is None else room):
            self.send(request, now, number)

    def send(self, request: Request, now: float, number: int | None = None) -> None:
        """Asks something on this connection."""
        number = self.outbox.next_id() if number is None else number
        self._sent[number] = request, now
        self.promptness.asked(number, request.action, now)
        self._output.append(encode({**request.message(), "id": number}))

    def _dead_at(self) -> float:
        if not self._sent:
            return NEVER
        if self.is_calling:
            return self._heard + SILENCE
        _, since = next(iter(self._sent.values()))
        return self._heartbeat.dead_at(self._heard, since, spare=self.spare)

    # Hearing.

    def _hear(self, message: Fields, now: float) -> None:
        if "event" in message:
            self._hear_event(message, now)
            return
        number = message.get("id")
        if not isinstance(number, int) or number not in self._sent:
            return  # a refusal of something that was no request; a bye follows
        if status_of(message) in NOT_HERE:
            self.disconnected(text_of(message), now, status_of(message))
            return
        request, _ = self._sent.pop(number)
        self.promptness.answered(number, now)
        if request.action == "hello":
            self._hear_hello(message, now)
        elif request.action in ("login", "deregister", "password", "register", "sht"):
            self._entrance.hear(request, message, now)
            if request.action == "sht" and status_of(message) == "OK":
                self._leave_at = now + LEAVING  # whoever has stopped the server does not wait for it
        elif number in self.outbox.pending:
            answer = self.outbox.answer(number, message)
            if answer is None:
                self.send(request, now, number)
            else:
                self._elsewhere.answered(request, answer)
                self.tell(n.Answered(request, answer))
                self._ask(now)
        elif request.action == "logout":
            self.end("LOGGED_OUT", "")

    def _hear_event(self, event: Fields, now: float) -> None:
        seq = event.get("seq")
        self._clock.heard(event.get("time"), now, anew=False)
        match event["event"]:
            case "bye":
                self.disconnected(text_of(event), now, status_of(event))
            case "waiting" if self.state is State.WAITING:
                self.tell(n.Queued(integer_of(event, "position")))
            case "admitted" if self.state is State.WAITING:
                self._greeted(now)
            case _ if isinstance(seq, int) and seq <= self._received:
                self._unread -= 1
                self._heartbeat.shown(now)
            case _:
                if isinstance(seq, int):
                    self._received = seq
                if event["event"] == "sent" and self._elsewhere.is_own(event):
                    return
                if event.get("offline") is True and self._unread > 0:
                    self.tell(n.Away(self._unread))
                    self._unread = 0
                self.tell(n.Arrived(event))

    def _hear_hello(self, reply: Fields, now: float) -> None:
        status = status_of(reply)
        if status not in ("OK", "WAITING"):
            if plainer := self._greeting.plainer(reply):
                self.send(plainer, now)
            else:
                self.disconnected(text_of(reply), now, status)
            return
        self._greeting.heard(reply)
        self._heartbeat.choose(reply.get("heartbeat"))
        self._entrance.welcomed(reply)
        self._epochs.hear(reply)
        self._clock.heard(reply.get("time"), now, anew=True)
        if status == "WAITING":
            self.state = State.WAITING
            self.tell(n.Queued(integer_of(reply, "position")))
        else:
            self._greeted(now)

    def _greeted(self, now: float) -> None:
        self.state = State.GREETED
        goes_on = self._entrance.greeted(now)
        if not self.user:
            self.tell(n.Greeted(goes_on))

    # What the entrance asks for.

    def tell(self, item: News) -> None:
        """One more for ``take_news``."""
        self._news.append(item)

    def last_seen(self) -> int:
        """The last seq shown, of what the server at hand has given."""
        return self._epochs.seen_here(self.seen)

    def shut_out(self, reply: Fields, now: float) -> None:
        """Coming back is refused: for now, or for good."""
        status, text = status_of(reply), text_of(reply)
        if status in LATER:
            self.disconnected(text, now, status, float(integer_of(reply, "seconds")))
        else:
            self.end(status, text)

    def entered(self, reply: Fields, now: float) -> None:
        """A session begins: what is unanswered goes out, in order, before anything that is asked from now on."""
        again, self.user = bool(self.user), str(reply.get("user"))
        if not again or self._epochs.is_another:
            remembered = self._epochs.open(self.outbox.memory, self.user, self.seen if again else 0)
            self.seen = self._received = remembered.seen
            self.outbox.recall(remembered.outbox)
        since = integer_of(reply, "since")  # what other sessions had seen before this one began is not missed here
        self.seen, self._received = max(self.seen, since), max(self._received, since)
        self._unread = integer_of(reply, "unread")
        self.state = State.ONLINE
        self.tell(n.LoggedIn(self.user, self._unread, again, len(self.outbox.pending), self._greeting.entered()))
        self.outbox.begin()
        self._ask(now)
        self._heartbeat.start(now)
