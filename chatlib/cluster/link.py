"""The link: one logical connection to whichever of an engine's nodes answers.

When a node fails, the next is called at once, in the order in which they were given; when all have failed, after a
moment anew. Names are looked up at the start, and when all have failed (``lookup``); what a node says of others is not
used, since it need not hold for us. A node that says nothing for a second is asked whether it is there. Subscriptions
outlive connections, requests do not: whoever asked is told that there is no answer. Must not know what is said.

A link is a channel of the server's loop. ``wait`` pumps this link alone, before the loop runs, after it, or in a forked
child with a link of its own (its loop is None: the parent's selector is the parent's). Nothing calls back from within
``publish``, ``request`` or ``close``; a callback must not ``wait``. Order: on_connected → what is heard → on_lost →
None for each open request. A callback that raises costs the connection: the rest of what was read is lost with it.

Invariants: what is not read waits in the kernel and at the engine; what the engine does not take is bounded by OUTPUT
and one message; each call and each silence has a deadline.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial

from chatlib.cluster.deadlines import Deadlines, all_of
from chatlib.cluster.lookup import Lookup, Where
from chatlib.cluster.places import EnginePlaces
from chatlib.cluster.questions import Answered, OpenQuestions
from chatlib.cluster.wire import EngineWire
from chatlib.protocol import nats
from chatlib.protocol.nats import Beat, Engine, Fault, Info, Message
from chatlib.reactor.loop import READ, WRITE, Loop
from chatlib.reactor.timers import Timer

PATIENCE = 1.0  # seconds from calling a node until it has let us in; more where all were too slow
MOST_PATIENCE = 3.0
SILENT = 1.0  # seconds without a word until a node is asked whether it is there,
GONE = 2.0  # and seconds until it is gone
STEADY = 1.0  # seconds that a connection lasts before it counts as one: until then its end is one more failed call
REST, MOST_REST, REFUSED_REST = 0.1, 1.0, 3.0  # seconds between two rounds
LOOKUP, LOOKUPS = 5.0, 2.0  # seconds that looking names up may take, and between two times
PROGRESS = 4_096  # bytes that are a sign of life though they complete nothing: less is a line that never ends
OUTPUT = 8 << 20  # bytes that the engine has not taken


class LinkState(Enum):
    """Where a link is."""

    RESTING = "no node answers, and the next call is put off"
    CALLING = "the network makes a connection"
    GREETING = "the node says what it is, and hears who we are"
    CONNECTED = "we were let in"
    CLOSED = "over"


class EngineLink:
    """See the module. `say` is given sentences for people. `clock` must be the loop's."""

    def __init__(
        self,
        loop: Loop | None,
        engine: Engine,
        say: Callable[[str], object] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connected = False
        self.max_payload = 1 << 20
        self.info: Info | None = None  # what the node that let us in says of itself
        self.failure = ""  # what cannot mend itself: who answers refuses us, or forbids a subject
        self.trouble = ""  # why there is no connection, as far as one knows
        self.on_connected: list[Callable[[], None]] = []
        self.on_lost: list[Callable[[], None]] = []
        self._loop, self._engine, self._say, self._clock = loop, engine, say, clock
        self._state = LinkState.RESTING
        self._deadlines = Deadlines(loop, clock)
        self._deadline: Timer | None = None  # of a call, a rest, or a silence
        self._wire: EngineWire | None = None
        self._client = nats.NatsClient()
        self._reads = True
        self._heard: list[tuple[str, Callable[[Message], None]]] = []
        self._questions = OpenQuestions(self._deadlines.at, clock)
        self._heard.append((self._questions.subject, self._questions.heard))
        self._places = EnginePlaces(engine.addresses)
        self._lookup: Lookup | None = None
        self._next_lookup = 0.0
        self._rests = self._slow_rounds = 0
        self._slow = False  # a call of this round took too long
        self._told = ""  # what was said last of an outage
        self._heard_at = self._connected_at = 0.0
        self._unheard = 0  # bytes that have come since, and completed nothing
        self._pinged_at: float | None = None
        self._expect(0.0, self._begin)
        self._look_up()

    # What is said.

    def subscribe(self, subject: str, heard: Callable[[Message], None]) -> None:
        """Calls `heard` for all that is published there from now on, and again after each new connection."""
        order = nats.subscribe(subject, len(self._heard) + 1)
        self._heard.append((subject, heard))
        if self.connected:
            self._send(order)

    def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None, reply: str = "") -> bool:
        """Says it once. False: not connected, or the engine takes nothing now; nothing was said.

        True does not mean that anybody has heard it. Raises ValueError for what is larger than `max_payload`.
        """
        if not self.connected or self.backlog_size > OUTPUT:
            return False
        pieces = nats.publish(subject, payload, headers, reply)
        size = len(payload) + len(pieces[0]) - pieces[0].index(b"\n") - 1
        if size > self.max_payload:
            raise ValueError(f"{size} bytes for {subject}: this engine takes {self.max_payload} in a message")
        return self._send(*pieces)

    def request(
        self,
        subject: str,
        payload: bytes,
        answered: Answered,
        *,
        headers: Mapping[str, str] | None = None,
        patience: float = 2.0,
        many: bool = False,
    ) -> None:
        """Asks, and calls `answered` with the answer; later, and with None once there will be none.

        `many`: for each answer, until `answered` returns True; `patience` then counts from the last one.
        """
        if self.connected and self.backlog_size <= OUTPUT:
            reply = self._questions.add(answered, patience, many)
            try:
                self.publish(subject, payload, headers, reply)
            except ValueError:
                self._questions.end(reply)
                raise
        else:
            self._questions.add(answered, min(patience, REST), False)

    def read(self, wanted: bool) -> None:
        """Whether anything is read while connected: what is not waits in the kernel, then at the engine."""
        self._reads = wanted
        self._heard_at, self._pinged_at = self._clock(), None
        if self._wire is not None and self.connected:
            self._wire.read(wanted)

    def leave(self, why: str) -> None:
        """Goes to another node, where there is one. A node answers from its own replica what is asked of a stream
        directly, so whoever got a bad answer must ask elsewhere."""
        if self.connected:
            self._end_soon(why)

    @property
    def backlog_size(self) -> int:
        """Bytes that the kernel has not taken."""
        return self._wire.backlog_size if self._wire is not None else 0

    # Being pumped alone.

    def wait(self, until: Callable[[], bool], patience: float) -> bool:
        """Pumps this link, and nothing else, until `until` holds (True) or so many seconds are over."""
        end = self._clock() + patience
        while not until():
            left = end - self._clock()
            if left <= 0.0 or self._state is LinkState.CLOSED:
                return False
            first = self._deadlines.next()
            self._pump(left if first is None else min(left, max(0.0, first - self._clock())))
        return True

    def _pump(self, patience: float) -> None:
        channels: dict[int, EngineWire | Lookup] = {}
        poll = select.poll()
        for channel in (self._wire, self._lookup):
            if channel is not None and channel.events:
                channels[channel.fileno()] = channel
                wanted = channel.events
                poll.register(channel, (wanted & READ and select.POLLIN) | (wanted & WRITE and select.POLLOUT))
        for fd, events in poll.poll(patience * 1000.0):
            channel = channels[fd]
            try:
                if events & ~select.POLLIN:
                    channel.writable()
                if events & ~select.POLLOUT:
                    channel.readable()
            except Exception:
                channel.broken()
                raise
        self._deadlines.ring()

    def _expect(self, seconds: float, otherwise: Callable[[], object]) -> None:
        """In place of whatever was expected before."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._deadlines.at(self._clock() + seconds, otherwise)

    # Calling.

    def _begin(self) -> None:
        """A round through all places."""
        self._deadline = None
        self._places.begin()
        self._slow = False
        self._go_on()

    def _go_on(self) -> None:
        """Calls the next one; when there is none, the round is over."""
        while (where := self._places.next()) is not None:
            if self._call(where):
                return
        if self._lookup is not None and not self._places.trouble:
            return  # where they are is not known yet
        self.failure, self.trouble = self._places.failure, self._places.trouble
        kind = self.failure or "nobody answers"
        if self._told != kind:  # not each time that one of them says it in other words
            self._told = kind
            self._say(f"No node of the engine lets us in; it is tried on and on. {self.trouble}.")
        self._slow_rounds += self._slow
        self._rests += 1
        rest = REFUSED_REST if self.failure else min(MOST_REST, REST * 2 ** min(10, self._rests - 1))
        self._expect(rest, self._begin)
        self._look_up()

    def _call(self, where: Where) -> bool:
        """False: one knows at once that nobody is there."""
        try:
            self._wire = EngineWire(self._loop, where, self._opened, self._received, self._end)
        except OSError as error:
            self._places.failed(error.strerror or str(error), False)
            return False
        self._state = LinkState.CALLING
        self._client = nats.NatsClient()
        self._expect(min(MOST_PATIENCE, PATIENCE + self._slow_rounds), self._too_slow)
        return True

    def _opened(self) -> None:
        self._state = LinkState.GREETING

    def _too_slow(self) -> None:
        self._slow = True
        what = "makes no connection" if self._state is LinkState.CALLING else "takes a call, and says nothing"
        self._end(f"{what} in time")

    def _look_up(self) -> None:
        """Asks anew where the names are, unless somebody does, or did a moment ago."""
        names, now = self._places.names, self._clock()
        if not names or self._lookup is not None or now < self._next_lookup:
            return
        self._next_lookup = now + LOOKUPS
        try:
            lookup = self._lookup = Lookup(self._loop, names, self._learned)
        except OSError as error:
            self._places.learn([f"nobody can look it up: {error.strerror}"] * len(names))
        else:
            self._deadlines.at(now + LOOKUP, lambda: lookup.expire() if lookup is self._lookup else None)

    def _learned(self, found: list[list[Where] | str]) -> None:
        self._lookup = None
        waits = self._state is LinkState.RESTING and self._deadline is None
        if self._places.learn(found) and self._state is LinkState.RESTING or waits:
            self._go_on()

    # A connection's life.

    def _received(self, data: bytes) -> None:
        client = self._client
        events = client.feed(data)
        self._unheard += len(data)
        if events or self._unheard >= PROGRESS:
            self._heard_at, self._unheard = self._clock(), 0
            if self._pinged_at is not None:
                self._pinged_at = None
                self._expect(SILENT, self._watch_silence)
        heard = self._heard
        for event in events:
            if type(event) is Message:
                if 0 < event.sid <= len(heard) and self.connected:
                    heard[event.sid - 1][1](event)
            else:
                self._told_of_itself(event)
            if client is not self._client:
                return  # that was the end of this connection

    def _told_of_itself(self, event: nats.Event) -> None:
        """Something that is no message."""
        greeting = self._state is LinkState.GREETING
        if event is Beat.PING:
            self._send(nats.PONG)
        elif event is Beat.PONG:
            if greeting and self.info is not None:
                self._let_in()
        elif isinstance(event, Info):
            self._informed(event, greeting)
        elif isinstance(event, Fault):
            if event.ends or greeting:
                self._end(event.text, event.final)
            elif event.final:
                self.failure = f"{self._places.label}: {event.text}"
                self._say(f"The engine refuses something. {self.failure}.")

    def _informed(self, info: Info, greeting: bool) -> None:
        first, self.info, self.max_payload = self.info is None, info, info.max_payload
        if greeting and info.tls_required:
            self._end("it wants TLS, which is not spoken to engines", final=True)
        elif greeting and not info.headers:
            self._end("it knows no headers", final=True)
        elif info.leaving:
            self._end("it is about to stop")
        elif greeting and first:
            self._send(nats.connect(self._engine), nats.PING)

    def _let_in(self) -> None:
        now = self._clock()
        assert self._wire is not None and self.info is not None
        self._state, self.connected = LinkState.CONNECTED, True
        self._connected_at = self._heard_at = now
        self.failure = self.trouble = self._told = ""
        self._expect(SILENT, self._watch_silence)
        self._send(b"".join(nats.subscribe(subject, number) for number, (subject, _) in enumerate(self._heard, 1)))
        if not self._reads:
            self._wire.read(False)
        self._say(f"Connected to the engine's node {self.info.name} at {self._places.label}.")
        all_of(list(self.on_connected))

    def _watch_silence(self) -> None:
        """What is in the kernel already counts: this process may have stood still itself."""
        wire = self._wire
        assert wire is not None
        wire.readable()
        if wire is not self._wire:
            return
        now = self._clock()
        due = (self._heard_at if self._reads else now) + SILENT
        if self._pinged_at is not None:
            due = self._pinged_at + GONE
            if now >= due:
                self._end("it says nothing any more")
                return
        elif now >= due:
            self._pinged_at, due = now, now + GONE
            self._send(nats.PING)
        self._expect(due - now, self._watch_silence)

    def _end(self, reason: str, final: bool = False) -> None:
        """This connection, or call, is over; the next one."""
        was, self.connected = self.connected, False
        self._drop()
        if was:
            self._say(f"The connection to the engine is lost. {self._places.label}: {reason}.")
            if self._clock() - self._connected_at >= STEADY:
                self._rests = self._slow_rounds = 0
                self._places.begin()
        self._places.failed(reason, final)
        self._go_on()
        if was:
            unanswered = self._questions.forget()
            all_of([*self.on_lost, *(partial(answered, None) for answered in unanswered)])

    def _drop(self) -> None:
        """No connection, and nothing of what it had."""
        self._state, self.info = LinkState.RESTING, None
        self._pinged_at, self._unheard = None, 0
        self._client = nats.NatsClient()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _send(self, *pieces: bytes) -> bool:
        """False: the connection is over; who must hear that hears it later."""
        wire = self._wire
        if wire is None or wire.doomed:
            return False
        if wire.send(*pieces):
            return True
        self._end_soon(wire.doomed)
        return False

    def _end_soon(self, reason: str) -> None:
        """As ``_end``, where nobody may be called back."""
        wire = self._wire
        self._deadlines.at(self._clock(), lambda: self._end(reason) if wire is self._wire else None)

    def close(self) -> None:
        """Nobody is called any more."""
        self.connected = False
        self._drop()
        self._state = LinkState.CLOSED
        self._questions.forget()
        if self._lookup is not None:
            self._lookup.cancel()
            self._lookup = None
        self._deadlines.close()
