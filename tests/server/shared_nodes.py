"""A cluster in memory: houses that are nodes of one world, and a log between them that answers when the test lets it.

A batch is judged as :mod:`chatlib.cluster.stream` does it; what is on the wire is not there. Each house has a clock of
its own, and all move together unless one is changed.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from chatlib.cluster.vault import OwnDisk
from chatlib.core.nodes import Nodes
from chatlib.reactor.loop import Loop
from chatlib.server.server import Server
from chatlib.storage import nodefile
from chatlib.storage.home import Home
from chatlib.storage.log import Batch, CommitFailed
from tests.server.house import House

NAME = "world"


class Sent(NamedTuple):
    """A batch in the log."""

    node: str
    incarnation: int
    number: int
    at: float
    entries: list[tuple[int, bytes]]  # a ticket, and a record, or none for a barrier


class SharedLog:
    """The log, which all seats read."""

    def __init__(self) -> None:
        self.batches: list[Sent] = []
        self.proposed: deque[Sent] = deque()
        self.answers = True  # else nothing that is proposed gets in
        self.while_waiting: Callable[[str], None] = lambda node: None  # a start or a stop of this node waits

    def agree(self) -> None:
        if self.answers:
            self.batches.extend(self.proposed)
            self.proposed.clear()


class NodeSeat:
    """One node's end of it: what the server uses of :class:`chatlib.cluster.stream.ClusterLog`."""

    shared = sync_always = True
    trouble = failure = ""

    def __init__(self, log: SharedLog, node: str, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._log, self.node, self._clock, self._wall = log, node, clock, wall
        self.standing = Nodes()
        self.heard: Callable[[str, float], None] = lambda node, at: None
        self.on_over: Callable[[], None] = lambda: None
        self.lsn = self.size = self.records = 0
        self.parted = False  # from the log
        self._pending: list[tuple[int, bytes]] = []
        self._flight: Sent | None = None
        self._since = 0.0
        self._incarnation = self._number = self._ticket = 0
        self._asked = 0  # how often a start has waited
        self.most = 1_000_000  # commands that are handed out at once
        self._entries: list[int | bytes] = []  # of a batch that was handed out in part
        self._reads = True
        self._barriers: set[int] = set()

    # A start.

    def prove(self, after: int, begun: bool) -> bool:
        self.lsn = after
        return begun

    def mend(self) -> str:
        return ""

    def replay(self, _after: int) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def open(self) -> None: ...

    # What one knows of it.

    @property
    def given(self) -> int:
        return self.lsn

    durable = given

    @property
    def connected(self) -> bool:
        return not self.parted

    @property
    def behind(self) -> bool:
        return self.parted or self.unread > 0

    @property
    def unread(self) -> int:
        return len(self._log.batches) - self.standing.place[0]

    @property
    def busy(self) -> bool:
        return self._flight is not None

    @property
    def at_rest(self) -> bool:
        return not self._entries

    @property
    def waiting(self) -> int:
        return sum(len(record) for _, record in self._pending)

    @property
    def waits(self) -> float:
        return self._clock() - self._since if self._flight else 0.0

    # Our own.

    def come_up(self, incarnation: int) -> None:
        assert not self._pending and not self._flight
        self._incarnation, self._number = incarnation, 0

    def lost(self) -> list[int]:
        waited = [*(self._flight.entries if self._flight else ()), *self._pending]
        if self._flight in self._log.proposed:
            self._log.proposed.remove(self._flight)
        self._pending, self._flight = [], None
        self._incarnation = 0
        return [ticket for ticket, _ in waited]

    def append(self, record: bytes) -> int:
        self._ticket += 3
        self._pending.append((self._ticket, record))
        return self._ticket

    def barrier(self) -> int:
        ticket = self.append(b"")
        self._barriers.add(ticket)
        return ticket

    def commit(self) -> None:
        if self.failure:
            raise CommitFailed(self.failure)
        if self._pending:
            self._send()

    def every_second(self) -> None:
        self._send()

    def _send(self) -> None:
        if self._flight is None and self._incarnation:
            self._number += 1
            count = 1 if self._number == 1 else len(self._pending)
            entries, self._pending = self._pending[:count], self._pending[count:]
            self._flight = Sent(self.node, self._incarnation, self._number, self._wall(), entries)
            self._since = self._clock()
        self._propose()

    def _propose(self) -> None:
        if self.parted:
            return
        if self._flight and self._flight not in self._log.proposed and self._flight not in self._log.batches:
            self._log.proposed.append(self._flight)
        self._log.agree()

    def ready(self) -> None:
        """A start or a stop waits: others go on, or time does."""
        self._asked += 1
        assert self._asked < 1_000, "it waits for ever"
        self._propose()
        self._log.while_waiting(self.node)

    def committed(self) -> Iterable[Batch]:
        return self._hand_out() if self._entries or not self.parted else ()

    def _hand_out(self) -> Iterator[Batch]:
        left = self.most
        while left > 0 and (self._entries or self._read()):
            part, self._entries = self._entries[:left], self._entries[left:]
            left -= max(1, len(part))
            self.lsn += len(part) - len(self._barriers.intersection(part))
            yield part
            if not self._entries:
                self.standing.place = self.standing.place[0] + 1, 0

    def _read(self) -> bool:
        if not self.unread or not self._reads:
            return False
        batch = self._log.batches[self.standing.place[0]]
        is_ours = batch is self._flight
        if self.standing.accepts(batch.node, batch.incarnation, batch.number):
            self.standing.took(batch.node, batch.incarnation, batch.number)
            self.heard(batch.node, batch.at)
            if is_ours:
                self._flight = None
            self._entries = [ticket if is_ours else record for ticket, record in batch.entries if is_ours or record]
        elif is_ours:
            self.on_over()
        return True

    def read_no_more(self) -> None:
        self._reads = False

    # Checkpoints and the end.

    def cut(self) -> None: ...

    def truncate(self) -> None: ...

    def settle(self) -> None: ...

    def clear(self) -> None: ...

    def close(self) -> None: ...


class InMemory:
    """What :class:`chatlib.server.clustering.Cluster` is to a server."""

    def __init__(self, shared: SharedLog, node: str, advertise: str) -> None:
        self._shared, self.node, self.advertise, self.name = shared, node, advertise, NAME
        self.engine = None
        self.parted = False
        self.log: Any = None

    @property
    def link(self) -> Any:
        return self.log

    def open(
        self, _loop: Loop, _say: object, _inform: object, clock: Callable[[], float], wall: Callable[[], float]
    ) -> NodeSeat:
        self.log = NodeSeat(self._shared, self.node, clock, wall)
        self.log.parted = self.parted
        return self.log

    def vault(self, *_: object) -> OwnDisk:
        return OwnDisk()

    def snapshots(self, *_: object) -> NoSnapshots:
        return NoSnapshots()

    def close(self) -> None: ...


class NoSnapshots:
    """The log is never too long."""

    def saved(self, _position: int) -> None: ...

    def heard(self, _what: str, _fields: object) -> None: ...

    def end(self) -> None: ...


class NodeHouse(House):
    """A house that is a node."""

    def __init__(self, folder: Path, shared: SharedLog, node: str, began: Callable[[NodeHouse], None]) -> None:
        """`began`: hears of it before it has started."""
        self._shared, self.node, self._began = shared, node, began
        super().__init__(folder)

    def start(self) -> None:
        self._began(self)
        super().start()

    def build(self, home: Home) -> Server:
        nodefile.write(home.data, self.node, NAME)
        self.cluster = InMemory(self._shared, self.node, f"{self.node}.example:1234")
        return Server(
            home, self.disk, self.files_disk, self._print, self.clock.monotonic, self.clock.wall,  # type: ignore[arg-type]
            cluster=self.cluster,  # type: ignore[arg-type]
        )  # fmt: skip

    @property
    def seat(self) -> NodeSeat:
        seat: NodeSeat = self.cluster.log
        return seat


class Town:
    """Several of them, whose time goes on together."""

    def __init__(self, folder: Path, *nodes: str) -> None:
        self.log, self._folder = SharedLog(), folder
        self.log.while_waiting = self._others_go_on
        self.nodes: dict[str, NodeHouse] = {}
        (folder / "founder").mkdir()
        founder = House(folder / "founder")
        assert founder.stop() == ""
        for node in nodes:
            self.add(node)
        self.settle()

    def add(self, node: str, folder: str = "") -> NodeHouse:
        """One more, whose home is as it was founded."""
        home = self._folder / (folder or node)
        shutil.copytree(self._folder / "founder", home)
        name = folder or node
        try:  # its clock goes on with the others' while it starts
            return NodeHouse(home, self.log, node, lambda house: self.nodes.update({name: house}))
        except CommitFailed:
            del self.nodes[name]
            raise

    def __getitem__(self, node: str) -> NodeHouse:
        return self.nodes[node]

    @property
    def running(self) -> list[NodeHouse]:
        return [house for house in self.nodes.values() if house.running]

    def settle(self) -> None:
        """Until everybody has heard everything."""
        for _ in range(4):
            for house in self.running:
                house.settle()

    def pass_time(self, seconds: float, step: float = 0.5, stopped: Iterable[str] = ()) -> None:
        """All clocks go on; who is `stopped` does nothing meanwhile."""
        left = seconds
        while left > 0.0:
            for house in self.running:
                house.clock.now += min(step, left)
            for house in self.running:
                if house.node not in stopped:
                    house.settle()
            left -= step
        for house in self.running:
            if house.node not in stopped:
                house.settle()

    def _others_go_on(self, waits: str) -> None:
        for house in self.nodes.values():
            house.clock.now += 0.1
        for house in self.running:
            if house.node != waits:
                house.settle()

    def close(self) -> None:
        for house in self.nodes.values():
            house.close()


def commands(log: SharedLog) -> list[dict[str, Any]]:
    """All that is in the log."""
    return [json.loads(record) for batch in log.batches for _, record in batch.entries if record]
