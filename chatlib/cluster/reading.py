"""Reading the log: each of its messages once, in order and whole.

The engine publishes each message again as soon as it is stored; what it says that way may get lost. Gaps, and all that
came before, are asked for, and any of the engine's nodes may answer, also one that lags or whose disk has lost some. So
a message that is skipped or whose CRC is wrong is asked for again, since another node may answer then; only when there
were nothing but bad answers for PATIENCE seconds is the log damaged. That a node ends before it is no bad answer: it
may be cut off from the others. What is read ahead is bounded; what does not fit is asked for later. Must not know whose
batches count.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chatlib.cluster.batch import BatchRead, Damaged, parse
from chatlib.cluster.link import EngineLink
from chatlib.protocol.nats import Message

AHEAD = 8 << 20  # bytes that are read ahead
ASKED, ASKED_BYTES = 256, 1 << 20  # messages, and bytes of them, that are asked for at once
PATIENCE = 30.0  # seconds of bad answers alone
GRACE = 0.05  # seconds in which what is stored must come by itself
AGAIN = 0.1  # seconds between two tries
ANSWERED = 0.5  # seconds for an answer: a node that stands still may be the one that is asked by the others
ANSWERED_AT_MOST = 2.0  # after some silence: those that do answer may be slow
SILENT = 1.0  # seconds without any message after which it is asked whether there are some
_SUSPECT = 1.0  # seconds of bad answers after which the leader is asked what it has


class LogReader:
    """Legal order: ``begin`` once; then ``take`` and ``known`` at any time, ``look`` when it is due.

    `wake` is asked to call ``look`` in so many seconds. `seen` hears what comes for positions that were taken already.
    `failure`: why nothing more can be read.
    """

    def __init__(
        self, link: EngineLink, name: str, clock: Callable[[], float], wake: Callable[[float], None],
        seen: Callable[[int, bytes], None],
    ) -> None:  # fmt: skip
        self._link, self._name, self._clock, self._wake, self._seen = link, name, clock, wake, seen
        self.failure = ""
        self.next = 0  # the position that `take` gives
        self.last = 0  # there are messages up to here, as far as one knows
        self.goal = -1  # the log's last position when the reading began; below 0: not known yet
        self._missing = 0  # the first position that is not there
        self._ahead: dict[int, tuple[bytes, BatchRead]] = {}
        self._size = 0
        self._asks = False
        self._ask_at = 0.0  # not before
        self._answered_in = ANSWERED
        self._heard_at = 0.0
        self.stuck_since: float | None = None  # there is more, and it does not come
        self._bad = ""  # why the last answer was a bad one
        self._bad_at = 0.0  # when,
        self._bad_for = 0.0  # and for how long there have been no others
        self._asks_leader = False
        self._leader_at = 0.0  # not before

    def begin(self, position: int) -> None:
        """What is behind `position` is read from now on."""
        self.next = self._missing = position + 1
        self.last = position
        self._link.subscribe(f"{self._name}.out", self._heard)
        self._link.on_connected.append(self._connected)
        if self._link.connected:
            self._connected()

    @property
    def has_next(self) -> bool:
        """Whether `take` gives something."""
        return self.next in self._ahead

    def take(self) -> tuple[int, bytes, BatchRead] | None:
        """The next message: its position, all of it, and what it says."""
        position = self.next
        found = self._ahead.pop(position, None)
        if found is None:
            return None
        self.next = position + 1
        self._size -= len(found[0])
        if self._missing <= self.last and not self._asks:
            self._wake(0.0)
        return position, *found

    def known(self, position: int) -> None:
        """There is a message at this position."""
        if position > self.last:
            self.last = position
            self._wake(GRACE)

    def look(self) -> None:
        """Asks for what is due."""
        now = self._clock()
        if not self._link.connected or self.failure:
            return
        if self.goal < 0:
            self._ask_leader()
        lacks = self.goal < 0 or self._missing <= self.last
        self.stuck_since = (self.stuck_since or now) if lacks else None
        if self._asks or now < self._ask_at:
            return
        silent = now - self._heard_at >= SILENT
        if (self._missing <= self.last and self._has_room) or silent:
            self._ask()

    @property
    def _has_room(self) -> bool:
        return self._size < AHEAD // 2 or self._missing == self.next

    # What comes.

    def _connected(self) -> None:
        self._ask_at, self._heard_at, self._answered_in = 0.0, self._clock() - SILENT, ANSWERED
        self.look()

    def _heard(self, message: Message) -> None:
        """Live."""
        position = message.headers.get("Nats-Sequence", "")
        if position.isdecimal() and not message.status:
            self._heard_at = self._clock()
            self._put(int(position), message.payload)
            if self._missing <= self.last and not self._asks:
                self.look()

    def _put(self, position: int, payload: bytes) -> None:
        if position < self.next:
            self._seen(position, payload)
            return
        self.last = max(self.last, position)
        if position in self._ahead or (self._size >= AHEAD and position != self.next):
            return
        try:
            batch = parse(payload)
        except Damaged as why:
            if position == self._missing:
                self._was_bad(f"what is at {position} is not what was sent, since {why}")
            return
        self._ahead[position] = payload, batch
        self._size += len(payload)
        if position == self._missing:
            self._bad_for, self.stuck_since = 0.0, None
            while position in self._ahead:
                position += 1
            self._missing = position

    # What is asked for.

    def _ask(self) -> None:
        self._asks, self._heard_at = True, self._clock()
        asked, first = self._missing, True

        def answered(message: Message | None) -> bool:
            nonlocal first
            if message is None or message.status:
                self._asks = False
                self._answered(asked, message)
                return True
            position = int(message.headers.get("Nats-Sequence", 0))
            if first and position > asked:
                self._was_bad(f"there is nothing at {asked}, and something at {position}")
            first = False
            self._put(position, message.payload)
            return False

        wanted = {"seq": asked, "batch": ASKED, "max_bytes": ASKED_BYTES}
        self._link.request(f"$JS.API.DIRECT.GET.{self._name}", json.dumps(wanted).encode(), answered,
                           many=True, patience=self._answered_in)  # fmt: skip

    def _answered(self, asked: int, end: Message | None) -> None:
        """That was all of an answer, or there was none. Perhaps the next thing is asked for."""
        if end is not None:
            last, pending = (_number(end.headers, name) for name in ("Nats-Last-Sequence", "Nats-Num-Pending"))
            self.last = max(self.last, last + pending)
            self._answered_in = ANSWERED
        else:
            self._answered_in = min(1.5 * self._answered_in, ANSWERED_AT_MOST)
            self._heard_at = self._clock() - SILENT  # what was asked is still to be known
        if self._missing > asked:
            self.look()
        elif end is None or self._missing <= self.last:
            self._ask_at = self._clock() + AGAIN
            self._wake(AGAIN)

    def _was_bad(self, what: str) -> None:
        """An answer was. Between two of them there may be none at all for a long time, which says nothing."""
        now = self._clock()
        if self._bad_for:
            self._bad_for += min(now - self._bad_at, 1.0)
        else:
            self._bad_for = 1e-6
        self._bad, self._bad_at = what, now
        if self._bad_for >= PATIENCE:
            self.failure = f"For {PATIENCE:.0f} s no node of the engine had what the log had before: {what}."
        elif self._bad_for >= _SUSPECT:
            self._ask_leader()

    def _ask_leader(self) -> None:
        """Where the log begins and ends."""
        now = self._clock()
        if self._asks_leader or now < self._leader_at:
            return
        self._asks_leader, self._leader_at = True, now + AGAIN

        def answered(message: Message | None) -> None:
            self._asks_leader = False
            state = _state(message)
            if state is None:
                self._wake(AGAIN)
                return
            first, last = state
            if last + 1 < self.next:  # perhaps it has not yet read all of its own disk
                self._was_bad(f"it ends at {last}, and {self.next - 1} was read before")
                self._wake(AGAIN)
                return
            self.goal = max(self.goal, last)
            self.known(last)
            if first > self._missing:
                self.failure = (
                    f"The log begins at {first} by now, and {self._missing} was to be read next. This server was away "
                    "for too long: start it again, and it takes the last snapshot."
                )

        self._link.request(f"$JS.API.STREAM.INFO.{self._name}", b"", answered)


def _number(headers: dict[str, str], name: str) -> int:
    value = headers.get(name, "")
    return int(value) if value.isdecimal() else 0


def _state(message: Message | None) -> tuple[int, int] | None:
    """The first and the last position, of an answer to STREAM.INFO."""
    try:
        state: Any = json.loads(message.payload)["state"] if message else {}
        return int(state["first_seq"]), int(state["last_seq"])
    except (ValueError, KeyError, TypeError):
        return None
