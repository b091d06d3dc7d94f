"""Sending to the log: what is appended goes out in batches, one at a time, until it has come back.

A batch that is not acknowledged is sent again, the very same bytes: everybody carries it out once, since its number is
the next only once, and however late a copy is. A batch is over when it was read from the log, not when the engine
acknowledged it. Must not know whose batches count, nor what a command means.

States: *down* (incarnation 0: what is appended waits), *up*. Legal: ``come_up`` when down; ``begin`` when up or down;
``came_back`` with the one in flight; ``lost`` at any time, which makes it down.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from chatlib.cluster import batch
from chatlib.cluster.link import EngineLink
from chatlib.protocol.nats import Message
from chatlib.storage.log import CommitFailed

PATIENCE = 1.0  # seconds without an acknowledgement
AGAIN = 0.25  # seconds between two tries, where the engine refuses
BEAT = 0.9  # seconds after which a batch is sent that says nothing
_SPARE = 1_024  # bytes of a message that are headers
_UNDER_WAY = 10158  # the engine's number for: a copy of this is being stored


@dataclass(slots=True)
class InFlight:
    """The batch that is on its way. `tickets`: of its records and barriers, in their order."""

    number: int
    payload: bytes
    tickets: list[int]
    since: float
    sent_at: float = 0.0
    asks: bool = False  # an acknowledgement may come
    position: int = 0  # where it is in the log; 0: not acknowledged


@dataclass(slots=True)
class _Waiting:
    """What was appended: a record, or nothing, which is a barrier."""

    tickets: deque[int] = field(default_factory=deque)
    records: deque[bytes] = field(default_factory=deque)


class BatchSender:
    """What this node sends. `wake` is asked to call ``look`` in so many seconds; `known` hears where a batch is."""

    def __init__(
        self, link: EngineLink, name: str, node: str, clock: Callable[[], float], wall_clock: Callable[[], float],
        wake: Callable[[float], None], known: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._link, self._name, self._node = link, name, node
        self._clock, self._wall_clock, self._wake, self._known = clock, wall_clock, wake, known
        self.incarnation = 0
        self.number = 0  # of the last batch
        self.flight: InFlight | None = None
        self.barriers: set[int] = set()  # tickets that have no record
        self.trouble = ""  # the engine's words, when it refuses
        self._ticket = 0
        self._waiting = _Waiting()
        self._begun_at = 0.0
        link.on_connected.append(self._connected)

    def append(self, record: bytes) -> int:
        """A command; its ticket. Raises CommitFailed for one that no batch can hold."""
        if len(record) > self._link.max_payload - batch.HEADER - _SPARE:
            raise CommitFailed(f"A command has {len(record)} bytes; the engine takes {self._link.max_payload}.")
        self._ticket = ticket = self._ticket + 1
        waiting = self._waiting
        waiting.tickets.append(ticket)
        waiting.records.append(record)
        return ticket

    def barrier(self) -> int:
        """A ticket that has no record."""
        ticket = self.append(b"")
        self.barriers.add(ticket)
        return ticket

    @property
    def can_begin(self) -> bool:
        """Whether ``begin`` would send something that waits."""
        return self.flight is None and self.incarnation > 0 and bool(self._waiting.tickets)

    @property
    def waits(self) -> bool:
        """Whether anything has not come back."""
        return self.flight is not None or bool(self._waiting.tickets)

    @property
    def size(self) -> int:
        """Bytes of what has not come back."""
        return (len(self.flight.payload) if self.flight else 0) + sum(map(len, self._waiting.records))

    def come_up(self, incarnation: int) -> None:
        """From now on this is the current one. What waits goes with it, the first record in a batch of its own."""
        assert self.flight is None and incarnation > 0
        self.incarnation, self.number = incarnation, 0

    def lost(self) -> list[int]:
        """This incarnation is over: nothing of what waits will ever be in the log. The tickets of all that."""
        tickets = [*(self.flight.tickets if self.flight else ()), *self._waiting.tickets]
        self.flight, self._waiting, self.incarnation = None, _Waiting(), 0
        self.barriers.clear()
        return tickets

    def begin(self, place: tuple[int, int], beat: bool = False) -> None:
        """Sends what waits, unless a batch is in flight. `beat`: also nothing, when there was nothing for a while."""
        if self.flight is not None or not self.incarnation:
            return
        now = self._clock()
        if not self._waiting.tickets and not (beat and now - self._begun_at >= BEAT):
            return
        tickets, records = self._taken()
        self.number += 1
        at = round(self._wall_clock(), 3)
        payload = batch.pack(self._node, self.incarnation, self.number, at, place, records)
        self.flight = InFlight(self.number, payload, tickets, now)
        self._begun_at = now
        self._send()

    def _taken(self) -> tuple[list[int], list[bytes]]:
        """What goes with the next batch; with the first of an incarnation, its first record alone."""
        waiting, tickets, records, size = self._waiting, list[int](), list[bytes](), batch.HEADER
        while waiting.tickets:
            record = waiting.records[0]
            size += len(record) + 1
            if records and (size > batch.LARGEST or not self.number):
                break
            waiting.records.popleft()
            tickets.append(waiting.tickets.popleft())
            if record:
                records.append(record)
        return tickets, records

    def came_back(self) -> list[int]:
        """The batch in flight was read from the log, and counts: its tickets."""
        flight = self.flight
        assert flight is not None
        self.flight = None
        self.trouble = ""
        return flight.tickets

    # Until it is acknowledged.

    def look(self) -> None:
        """Sends again what is due."""
        flight = self.flight
        if flight is not None and not flight.position and not flight.asks:
            left = flight.sent_at + AGAIN - self._clock()
            if left <= 0.0:
                self._send()
            else:
                self._wake(left)

    def _connected(self) -> None:
        if self.flight is not None and not self.flight.position:
            self._send()

    def _send(self) -> None:
        flight = self.flight
        assert flight is not None
        if not self._link.connected:
            return
        flight.sent_at, flight.asks = self._clock(), True

        def answered(message: Message | None) -> None:
            flight.asks = False
            if self.flight is not flight:
                return
            flight.position, error = _acknowledged(message)
            if flight.position:
                self._known(flight.position)
            else:
                self.trouble = error
                self.look()

        # Two servers that have the same name by mistake must not have the same identity: one would never hear of it.
        identity = f"{self._node}-{self.incarnation}-{flight.number}-{_crc(flight.payload)}"
        try:
            self._link.request(f"{self._name}.log", flight.payload, answered, headers={"Nats-Msg-Id": identity},
                               patience=PATIENCE)  # fmt: skip
        except ValueError as error:
            flight.asks = False
            self.trouble = str(error)


def _crc(payload: bytes) -> str:
    return payload.split(b" ", 5)[4].decode()


def _acknowledged(message: Message | None) -> tuple[int, str]:
    """Where the engine has it; or 0, and the words with which it refuses."""
    if message is None:
        return 0, ""
    try:
        answer = json.loads(message.payload)
        if error := answer.get("error"):
            return 0, "" if error.get("err_code") == _UNDER_WAY else str(error.get("description", error))
        return int(answer["seq"]), ""
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0, "the engine's acknowledgement cannot be read"
