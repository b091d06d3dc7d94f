"""The commit pipeline: requests that change something go through the journal, in order, a batch a tick.

A read that must wait for an earlier change of its own connection waits in the same queue, without being journaled.
Legal order in a tick: ``submit*`` → ``commit`` → ``execute``. Must not know what a command does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from chatlib.core.replies import INTERNAL
from chatlib.core.world import Command, Reply, World
from chatlib.protocol.framing import dumps
from chatlib.server.effects import Effects
from chatlib.storage.journal import Journal
from chatlib.storage.messages import MessageStore


class Origin(Protocol):
    """Whoever gave a command: a session, or the console."""

    def answered(self, echo: str, request_id: Any, command: Command, reply: Reply) -> None:
        """The command was carried out."""

    def broken(self) -> None:
        """``answered`` has raised: a fault of ours, which costs this origin and nobody else."""


Later = Callable[[], "Reply | None"]  # None: the reply comes later, by another way
Entry = tuple[int, "Origin | None", str, Any, "Command | Later"]


class Pipeline:
    """What is queued, with the LSN that must be on disk first."""

    def __init__(self, world: World, journal: Journal, messages: MessageStore, effects: Effects,
                 on_fault: Callable[[BaseException], None]) -> None:  # fmt: skip
        self.world, self.journal, self.messages, self.effects = world, journal, messages, effects
        self.executed = 0  # commands, since the start
        self._queue: deque[Entry] = deque()
        self._on_fault = on_fault

    def submit(
        self, origin: Origin | None, echo: str, request_id: Any, command: Command, record: bytes | None = None
    ) -> None:
        """Queues a command; `origin` is told the reply, with `echo` and `request_id` as they are given here.

        `record` is the command as JSON, where the caller has it already.
        """
        lsn = self.journal.append(record or dumps(command).encode())
        self._queue.append((lsn, origin, echo, request_id, command))

    def submit_read(self, origin: Origin, echo: str, request_id: Any, read: Later) -> None:
        """Queues a reading request behind everything submitted so far."""
        self._queue.append((self.journal.appended, origin, echo, request_id, read))

    def commit(self) -> None:
        """Begins to write what is queued. Raises CommitFailed."""
        self.journal.commit()

    def execute(self) -> None:
        """Carries out what is on disk, in order: the command, its effects, the answer."""
        queue, committed = self._queue, self.journal.committed
        if not queue or queue[0][0] > committed:
            return
        world_execute, carry_out = self.world.execute, self.effects.carry_out
        while queue and queue[0][0] <= committed:
            lsn, origin, echo, request_id, command = queue.popleft()
            if type(command) is dict:
                self.executed += 1
                done, effects, fault = world_execute(command)
                if fault is not None:
                    self._on_fault(fault)
                if effects:
                    carry_out(lsn, effects)
                reply: Reply | None = done
            else:
                reply, command = self.read(command), {}  # type: ignore[arg-type]
            if origin is None or reply is None:
                continue
            try:
                origin.answered(echo, request_id, command, reply)
            except OSError:  # the disk's fault: fail-stop
                raise
            except Exception as broken:
                self._on_fault(broken)
                origin.broken()
        self.messages.flush()

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
        return not self._queue

    def settle(self) -> None:
        """Commits and executes everything now, waiting for the disk: for the start and the stop."""
        while not self.idle:
            self.commit()
            while self.journal.busy:
                self.journal.synced()
            self.execute()
