"""The commit pipeline: requests that change something go through the log, in order, a batch a tick.

Each command waits under the ticket that the log gave for it. A record without a ticket of ours comes from another
server: it is executed in its turn, and nobody here waits for the reply. A read that must come after an earlier change
of its own connection waits for the last ticket given; it is not logged. A *fresh* read waits for a barrier of the log:
it knows all that anybody was told before it came, at any server. Legal order in a tick: ``submit*`` → ``commit`` →
``execute``. Must not know what a command does, nor what is behind the log.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from chatlib.core.replies import INTERNAL
from chatlib.core.world import Command, Reply, World
from chatlib.protocol.framing import dumps
from chatlib.server.effects import Effects
from chatlib.storage.appendfile import AppendFiles
from chatlib.storage.log import Log
from chatlib.storage.messages import MessageStore


class Origin(Protocol):
    """Whoever gave a command: a session, or the console."""

    def answered(self, echo: str, request_id: Any, command: Command, reply: Reply) -> None:
        """The command was carried out."""

    def broken(self) -> None:
        """``answered`` has raised: a fault of ours. It costs this origin and nobody else."""


class Told:
    """The origin of a command of the server's own: `told` hears the command and the reply."""

    def __init__(self, told: Callable[[Command, Reply], object]) -> None:
        self._told = told

    def answered(self, _echo: str, _request_id: Any, command: Command, reply: Reply) -> None:
        """It was carried out, or never will be."""
        self._told(command, reply)

    def broken(self) -> None:
        """There is nobody to send away."""


FEW, MOST = 64, 4_096  # requests that may wait for the log whatever their size; that may wait at all, about
BYTES = 16 << 20  # of commands that may wait for it, about

Later = Callable[[], "Reply | None"]  # None: the reply comes later, by another way


class Pipeline:
    """What waits to be committed, and who waits for it."""

    def __init__(self, world: World, journal: Log, messages: MessageStore, appended: AppendFiles, effects: Effects,
                 on_fault: Callable[[BaseException], None]) -> None:  # fmt: skip
        self.world, self.journal, self.effects = world, journal, effects
        self.messages, self.appended = messages, appended
        self.executed = 0  # commands, since the start
        self._waiting: dict[int, tuple[Origin | None, str, Any, Command]] = {}  # by ticket
        self._reads: deque[tuple[int, Origin, str, Any, Later]] = deque()  # each behind a ticket
        self._barriers: set[int] = set()  # tickets that nothing but reads wait for
        self.submitted = self.done = 0  # tickets: the last one that was given, and the last whose turn has come
        self._on_fault = on_fault

    def submit(
        self, origin: Origin | None, echo: str, request_id: Any, command: Command, record: bytes | None = None
    ) -> None:
        """Queues a command; `origin` is told the reply, with `echo` and `request_id` as they are given here.

        `record` is the command as JSON, where the caller has it already.
        """
        self.submitted = ticket = self.journal.append(record or dumps(command).encode())
        self._waiting[ticket] = (origin, echo, request_id, command)

    def submit_read(self, origin: Origin, echo: str, request_id: Any, read: Later, fresh: bool = False) -> None:
        """Queues a reading request behind everything submitted so far; `fresh`: and behind what others were told."""
        if fresh and (barrier := self.journal.barrier()):
            self._barriers.add(barrier)
            self.submitted = barrier
        self._reads.append((self.submitted, origin, echo, request_id, read))

    def commit(self) -> None:
        """Begins to commit what is queued. Raises CommitFailed."""
        self.journal.commit()

    def execute(self) -> None:
        """Carries out what is committed, in order: each command, its effects, the answer, then the reads behind it."""
        world, waiting, reads, carry_out = self.world, self._waiting, self._reads, self.effects.carry_out
        for batch in self.journal.committed():
            self.executed += len(batch)
            for entry in batch:
                if isinstance(entry, int):
                    try:
                        origin, echo, request_id, command = waiting.pop(entry)
                    except KeyError:
                        self._pass(entry)
                        continue
                    self.done = entry
                else:
                    origin, echo, request_id, command = None, "", None, json.loads(entry)
                reply, effects, fault = world.execute(command)
                if fault is not None:
                    self._on_fault(fault)
                if effects:
                    carry_out(effects, origin)
                if origin is not None:
                    try:
                        origin.answered(echo, request_id, command, reply)
                    except Exception as broken:
                        self._broken(origin, broken)
                if reads and reads[0][0] <= self.done:
                    self._answer_reads()
        assert world.lsn == self.journal.lsn, "the log and the world count differently"
        if reads:
            self._answer_reads()
        self.messages.flush()
        self.appended.flush()

    def _pass(self, barrier: int) -> None:
        """A barrier's turn has come: it is no command."""
        self._barriers.remove(barrier)
        self.executed -= 1
        self.done = barrier
        self._answer_reads()

    def lose(self, reply: Reply, first: Callable[[], object] = lambda: None) -> None:
        """What waits will never be carried out: everybody who waits is told `reply`, in order.

        `first` is called before anybody is told, and may submit what must come before all that they submit then.
        """
        lost: list[tuple[int, Origin | None, str, Any, Command]]
        lost = [(ticket, *waiting) for ticket, waiting in self._waiting.items()]
        lost += [(*read[:4], {}) for read in self._reads]
        self._waiting.clear()
        self._barriers.clear()
        self._reads.clear()
        self.done = self.submitted
        first()
        lost.sort(key=lambda one: one[0])  # a read is behind the command of its ticket
        for _, origin, echo, request_id, command in lost:
            if origin is not None:
                self._answer(origin, echo, request_id, command, reply)

    def _answer(self, origin: Origin, echo: str, request_id: Any, command: Command, reply: Reply) -> None:
        try:
            origin.answered(echo, request_id, command, reply)
        except Exception as broken:
            self._broken(origin, broken)

    def _answer_reads(self) -> None:
        reads = self._reads
        while reads and reads[0][0] <= self.done:
            _, origin, echo, request_id, read = reads.popleft()
            reply = self.read(read)
            if reply is not None:
                self._answer(origin, echo, request_id, {}, reply)

    def _broken(self, origin: Origin, fault: Exception) -> None:
        if isinstance(fault, OSError):  # the disk's fault: fail-stop
            raise fault
        self._on_fault(fault)
        origin.broken()

    def read(self, read: Later) -> Reply | None:
        """Answers a reading request now; a fault of ours becomes INTERNAL."""
        try:
            return read()
        except Exception as fault:
            self._on_fault(fault)
            return INTERNAL

    @property
    def idle(self) -> bool:
        """Whether everything submitted has been carried out."""
        return not self._waiting and not self._reads

    @property
    def full(self) -> bool:
        """Whether so much waits for the log that nothing more is to be read from anyone."""
        count = len(self._waiting) + len(self._reads)
        return count > FEW and (count > MOST or self.journal.waiting > BYTES)

    def settle(self) -> None:
        """Commits and executes everything now, waiting for the log: for the start and the stop."""
        while not self.idle:
            self.commit()
            while self.journal.busy:
                self.journal.ready()
            self.execute()
