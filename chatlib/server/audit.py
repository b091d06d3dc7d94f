"""The console's audit: a forked child reads the whole ledger, and compares it with the world as it was at the fork.

Legal: ``begin`` at any time, one at a time; ``end`` kills the child. Must not know what a line says.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chatlib.core.audit import Audit
from chatlib.core.ledger import NAME, START
from chatlib.core.world import World
from chatlib.protocol.text import counted
from chatlib.reactor.jobs import Job
from chatlib.reactor.loop import Loop
from chatlib.storage import appendfile
from chatlib.storage.appendfile import AppendFiles

Tell = Callable[[str], None]


class Auditor:
    """The audits of one server. `note`: the server log."""

    def __init__(self, loop: Loop, world: World, appended: AppendFiles, note: Tell) -> None:
        self._loop, self._world, self._appended, self._note = loop, world, appended, note
        self._job: Job | None = None
        self._tell: Tell = note

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return self._job is not None

    def begin(self, tell: Tell) -> None:
        """`tell` hears what came of it."""
        if self._job is not None:
            tell("Error! An audit is under way already.")
            return
        bank = self._world.state["bank"]
        path = self._appended.by_name[NAME].path

        def work() -> bytes:
            begun, audit = time.monotonic(), Audit()
            for _, lines in appendfile.lines(path, START, bank.end):
                audit.read(lines)
            audit.compare(bank)
            seconds = time.monotonic() - begun
            return (
                f"The books are right: {counted(audit.entries, 'line')} and "
                f"{counted(len(bank.books) - 1, 'account')} agree, and all add up to 0 ({seconds:.1f} s)."
            ).encode()

        def done(answer: bytes, failure: str) -> None:
            self._job = None
            said = f"The books are wrong: {failure}." if failure else answer.decode()
            self._note(f"audit: {said}")
            tell(said)

        self._appended.flush()
        try:
            self._job, self._tell = Job(self._loop, work, done), tell
        except OSError as error:
            tell(f"Not now: {error.strerror}.")

    def end(self) -> None:
        """The server stops: an audit changes nothing, so nothing is lost with it."""
        if self._job is not None:
            self._job.end()
            self._job = None
            self._tell("The audit ends here: the server stops.")
