"""From the text files that people edit to a running world, and from the world at a clean stop to all text files.

Must not know connections. Legal order: ``begin`` when the world is recovered, ``finish`` when the loop has ended.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.core.world import Command, World
from chatlib.reactor.loop import Loop
from chatlib.server import edits
from chatlib.server.edits import EditedFiles
from chatlib.server.effects import Effects
from chatlib.server.notices import Notices
from chatlib.server.pipeline import Pipeline
from chatlib.server.recovery import checkpoint_now
from chatlib.server.retention import Retention
from chatlib.storage.appendfile import AppendFiles
from chatlib.storage.home import Home
from chatlib.storage.journal import Journal
from chatlib.storage.messages import MessageStore


class AtRest:
    """The first commands of a run, and the last ones with the files."""

    def __init__(
        self, *, home: Home, edited: EditedFiles, world: World, loop: Loop, journal: Journal, messages: MessageStore,
        appended: AppendFiles, effects: Effects, pipeline: Pipeline, retention: Retention, notices: Notices,
        submit: Callable[[Command], None],
    ) -> None:  # fmt: skip
        self._home, self._edited, self._world, self._loop, self._journal = home, edited, world, loop, journal
        self._messages, self._appended, self._effects, self._pipeline = messages, appended, effects, pipeline
        self._retention, self._notices, self._submit = retention, notices, submit

    def begin(self) -> None:
        """Sessions that a crash left open end, and edits by hand are taken in. Raises FileError, OSError."""
        world, at = self._world, self._loop.wall
        self._edited.recall(world.by_hand.of(""))
        taken = self._edited.read(world.parameters["SCRAM_ITERATIONS"], self._notices.say)
        self._submit({"action": "start", "at": at, "left": min(world.at, at), "written": self._edited.written,
                      "limited": True})  # fmt: skip
        if taken:
            self._submit(taken.command(at))
        self._pipeline.settle()
        self._edited.remember(taken)
        with self._home.writer.alone():
            notes = self._edited.write(world)
        for text in filter(None, [*taken.unknown, *notes, edits.warning(edits.samples_in_use(world))]):
            self._notices.tell(text)

    def finish(self) -> None:
        """Writes all text files, and then empties the journal. Raises OSError, ValueError, CommitFailed."""
        wrong = self._take_in()
        self._expire()
        self._journal.settle()
        self._effects.finish()
        with self._home.writer.alone():
            notes = checkpoint_now(self._home, self._world, self._messages, self._appended, self._edited)
        for note in notes:
            if note != wrong:
                self._notices.tell(f"Left as it is: {note}")
        self._journal.clear()

    def _take_in(self) -> str:
        """Returns what kept edits from being taken in, or ""."""
        try:
            taken = self._edited.read(self._world.parameters["SCRAM_ITERATIONS"], self._notices.tell)
        except ValueError as wrong:  # the line is left as it is; the next start names it again
            self._notices.tell(f"Not taken in: {wrong}")
            return str(wrong)
        if taken:
            self._submit(taken.command(self._loop.wall))
            self._pipeline.settle()
            self._edited.remember(taken)
        return ""

    def _expire(self) -> None:
        """Messages that are too old go with the last save."""
        while command := self._retention.due(self._loop.wall):
            self._submit(command)
            self._pipeline.settle()
