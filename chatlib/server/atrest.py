"""From the text files that people edit to a running world, and from the world at a clean stop to all text files.

A node of a cluster begins with what the others did meanwhile, comes up, and ends with the word that it goes. Must not
know connections. Legal order: ``begin`` when the world is recovered, ``finish`` when the loop has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from chatlib.core.world import Command, Reply, World
from chatlib.reactor.loop import Loop
from chatlib.server import edits
from chatlib.server.alone import Alone
from chatlib.server.edits import Changes, EditedFiles
from chatlib.server.effects import Effects
from chatlib.server.membership import LOST, Membership
from chatlib.server.notices import Notices
from chatlib.server.pipeline import Pipeline, Told
from chatlib.server.recovery import checkpoint_now
from chatlib.server.retention import Retention
from chatlib.storage.appendfile import AppendFiles
from chatlib.storage.home import Home
from chatlib.storage.log import Log
from chatlib.storage.messages import MessageStore


class AtRest:
    """The first commands of a run, and the last ones with the files."""

    def __init__(
        self, *, home: Home, edited: EditedFiles, world: World, loop: Loop, journal: Log, messages: MessageStore,
        appended: AppendFiles, effects: Effects, pipeline: Pipeline, retention: Retention, notices: Notices,
        submit: Callable[[Command], None], membership: Membership | Alone,
    ) -> None:  # fmt: skip
        self._home, self._edited, self._world, self._loop, self._journal = home, edited, world, loop, journal
        self._messages, self._appended, self._effects, self._pipeline = messages, appended, effects, pipeline
        self._retention, self._notices, self._submit, self._member = retention, notices, submit, membership

    def begin(self) -> None:
        """Sessions that a crash left open end, and edits by hand are taken in.

        Raises FileError, OSError, CommitFailed.
        """
        world, member = self._world, self._member
        member.catch_up()
        self._edited.recall(world.by_hand.of(member.node))
        taken = self._edited.read(world.parameters["SCRAM_ITERATIONS"], self._notices.say)
        member.come_up(self._edited.written)
        if self._has_taken(taken):
            self._edited.remember(taken)
        with self._home.writer.alone():
            notes = self._edited.write(world)
        for text in filter(None, [*taken.unknown, *notes, edits.warning(edits.samples_in_use(world))]):
            self._notices.tell(text)

    def _has_taken(self, taken: Changes) -> bool:
        """Submits edits, also anew when the others have just gone on without us; whether they are carried out.

        Raises CommitFailed.
        """
        while True:
            lost: list[Command] = []
            for command in taken.commands(self._loop.wall) if taken else ():
                self._pipeline.submit(Told(partial(_note_lost, lost)), "", None, command)
            if not self._member.settle():
                return False
            if not lost:
                return True

    def finish(self, cut_off: bool = False) -> None:
        """Writes all text files, and then empties the journal. Raises OSError, ValueError, CommitFailed.

        `cut_off`: nothing more goes into the log.
        """
        wrong = ""
        if not cut_off:
            if self._member.settle():
                wrong = self._take_in()
                self._expire()
            self._member.go_down()
        self._member.come_to_rest()
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
        if self._has_taken(taken):
            self._edited.remember(taken)
        return ""

    def _expire(self) -> None:
        """Messages that are too old go with the last save."""
        while command := self._retention.due(self._loop.wall):
            self._submit(command)
            if not self._member.settle():
                return


def _note_lost(lost: list[Command], command: Command, reply: Reply) -> None:
    """Which edits were lost on their way into the log."""
    if reply["status"] == LOST["status"]:
        lost.append(command)
