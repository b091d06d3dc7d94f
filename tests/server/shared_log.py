"""A log that many servers share, in memory: commands of others come in between ours, and all are committed late.

What the servers propose is put in one order when the test says that they agree; each hears of it through a descriptor.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from chatlib.protocol.framing import dumps
from chatlib.storage.log import Batch, CommitFailed


class Agreement:
    """The order that all agree on. The LSN of a record is its place in it."""

    def __init__(self, chance: Any) -> None:
        self.records: list[tuple[Seat | None, int, bytes]] = []  # whose it is, its ticket there, the record
        self.seats: list[Seat] = []
        self.late = False  # nothing is agreed on before the test says so
        self._chance = chance
        self._others: deque[bytes] = deque()  # proposed by servers that are not in this test

    def others(self, *commands: dict[str, Any]) -> None:
        """Commands of servers that are elsewhere."""
        self._others.extend(dumps({"at": 1_700_000_000.0, **command}).encode() for command in commands)

    def agree(self) -> None:
        """All that was proposed is put in an order: any in which each server's own commands stay in theirs."""
        proposals = [(seat, seat.proposed) for seat in self.seats]
        while waiting := [(seat, proposed) for seat, proposed in [*proposals, (None, self._others)] if proposed]:
            seat, proposed = self._chance.choice(waiting)
            if seat is None:
                self.records.append((None, 0, proposed.popleft()))
            else:
                ticket, record = proposed.popleft()
                if record:
                    self.records.append((seat, ticket, record))
                else:
                    seat.barriers.append((len(self.records), ticket))
        for seat in self.seats:
            seat.tell()


class Seat:
    """One server's end of it: a :class:`chatlib.storage.log.Log`."""

    shared = True

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        agreement.seats.append(self)
        self.proposed: deque[tuple[int, bytes]] = deque()  # no record: a barrier
        self.barriers: deque[tuple[int, int]] = deque()  # agreed on: how many records are before it, and its ticket
        self.given = self.durable = self.size = self.records = 0
        self.sync_always = True
        self.failure = ""
        self.cuts: list[int] = []  # the LSNs where a checkpoint began
        self.truncated = 0
        self._appended: list[tuple[int, bytes]] = []
        self._ticket = 0
        self._heard = 0  # of the agreement's records, how many are known here
        self._here, self._there = socket.socketpair()

    def tell(self) -> None:
        if self._heard < len(self._agreement.records) or self.barriers:
            self._there.send(b".")

    # A start.

    def prove(self, after: int, begun: bool) -> bool:
        assert after >= self.truncated
        return begun  # a home that joins later has committed nothing yet

    def mend(self) -> str:
        self.given = self.durable = self._heard = len(self._agreement.records)
        return ""

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        return ((lsn, record) for lsn, (_, _, record) in enumerate(self._agreement.records, 1) if lsn > after)

    def open(self) -> None: ...

    # Life.

    def fileno(self) -> int:
        return self._here.fileno()

    def append(self, record: bytes) -> int:
        self._ticket += 7  # tickets are nothing but tickets
        self._appended.append((self._ticket, record))
        self.size += len(record)
        return self._ticket

    def barrier(self) -> int:
        return self.append(b"")

    @property
    def lsn(self) -> int:
        return self.durable

    @property
    def waiting(self) -> int:
        return sum(len(record) for _, record in (*self._appended, *self.proposed))

    @property
    def busy(self) -> bool:
        return bool(self.proposed) or self._heard < len(self._agreement.records)

    def commit(self) -> None:
        if self.failure:
            raise CommitFailed(self.failure)
        self.proposed.extend(self._appended)
        self._appended.clear()
        if not self._agreement.late:
            self._agreement.agree()

    def ready(self) -> None:
        if self._heard == len(self._agreement.records) and not self.barriers:
            self._agreement.agree()  # whoever waits lets time pass
        self._here.recv(1_000)
        self._heard = len(self._agreement.records)

    def committed(self) -> Iterable[Batch]:
        batch: list[int | bytes] = []
        for lsn in range(self.durable, self._heard + 1):
            while self.barriers and self.barriers[0][0] == lsn:
                batch.append(self.barriers.popleft()[1])
            if lsn < self._heard:
                seat, ticket, record = self._agreement.records[lsn]
                batch.append(ticket if seat is self else record)
        self.durable = self._heard
        return [batch[:1], batch[1:]] if batch else []

    def every_second(self) -> None: ...

    # Checkpoints and the end.

    @property
    def at_rest(self) -> bool:
        return True

    def cut(self) -> None:
        self.cuts.append(self.durable)
        self.size = 0

    def truncate(self) -> None:
        self.truncated = self.cuts[-1]

    def settle(self) -> None: ...

    def clear(self) -> None:
        self.truncated = self.durable

    def close(self) -> None:
        self._agreement.seats.remove(self)
        self._here.close()
        self._there.close()
