"""Saving and reloading while the server goes on. A forked child does whatever would hold up the loop.

A save (the console's, or one that a journal past JOURNAL_LIMIT asks for) takes in what was changed by hand, lets
messages go that are too old, waits until the log is at rest, cuts it, and forks. The child writes the world as it is at
that moment; when it is done, the log is truncated. A reload takes in what was changed by hand, and writes only the two
files that people edit; `rewrite` only writes them. Legal: any call at any time. One job runs at a time, and a second
wish waits. `end` comes last: it kills the child, and leaves the child's work to the stop.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from chatlib.core.nodes import nodes_of
from chatlib.core.world import Command, Reply, World
from chatlib.protocol.text import fold
from chatlib.reactor.jobs import Job
from chatlib.reactor.loop import Loop
from chatlib.server.edits import Changes, EditedFiles, reloaded
from chatlib.server.effects import Effects
from chatlib.server.erasure import Erasure
from chatlib.server.pipeline import Pipeline, Told
from chatlib.server.recovery import checkpoint_now
from chatlib.server.retention import Retention
from chatlib.storage import checkpoint, textfile
from chatlib.storage.appendfile import AppendFiles
from chatlib.storage.edited import Line
from chatlib.storage.home import Home
from chatlib.storage.log import Log
from chatlib.storage.messages import MessageStore

Tell = Callable[[str], None]
PATIENCE = 2.0  # seconds of reading without a word
# For tests: the seconds by which each change of a name on a child's disk takes longer.
_SLOW = min(5.0, float(os.environ.get("CHAT_SLOW_CHECKPOINT", "0")))


class What(Enum):
    """What is wished for."""

    RELOAD = "take in edits by hand, then write the two edited files if there were any"
    REWRITE = "write the two edited files"
    SAVE = "take in edits by hand, then write all text files"


class Saved(NamedTuple):
    """All text files were written: when (0: never), and how long it took (None: before the start)."""

    at: float
    seconds: float | None


@dataclass(slots=True)
class Wish:
    """`tell` hears how it went, `warn` what went wrong."""

    what: What
    tell: Tell
    warn: Tell
    warned: str = ""  # said already
    lsn: int = 0  # of the last change that it is about


class Saver:
    """The jobs of one server."""

    def __init__(
        self, *, home: Home, edited: EditedFiles, loop: Loop, world: World, journal: Log, messages: MessageStore,
        appended: AppendFiles, effects: Effects, pipeline: Pipeline, retention: Retention, erasure: Erasure,
        tell: Tell, note: Tell,
    ) -> None:  # fmt: skip
        """`tell`: the administrator is told; `note`: the server log."""
        self._home, self._edited, self._loop, self._world = home, edited, loop, world
        self._journal, self._messages, self._appended = journal, messages, appended
        self._effects, self._pipeline = effects, pipeline
        self._retention, self._erasure, self._tell, self._note = retention, erasure, tell, note
        # Hears that all text files were written, and up to which position they hold the log of a cluster.
        self.saved: Callable[[int], None] = lambda position: None
        self._job: Job | None = None
        self._wishes: deque[Wish] = deque()
        self._taking = False  # edits, or what lets old messages go, are on their way into the world
        self._write: Wish | None = None  # its files are to be written, as soon as they may be
        self._ended = False
        self.latest = Saved(checkpoint.written_at(home.data), None)
        self._limit_from = 0  # a failed checkpoint is tried again when the journal has grown by this much more

    def reload(self, tell: Tell, warn: Tell | None = None) -> None:
        """Takes in what was changed by hand, and writes verifiers for plain passwords."""
        self._wishes.append(Wish(What.RELOAD, tell, warn or tell))

    def save(self, tell: Tell) -> None:
        """Takes in what was changed by hand, then writes all text files."""
        self._wishes.append(Wish(What.SAVE, tell, tell))

    def rewrite(self) -> None:
        """A parameter was changed at the console: para.txt says so, too."""
        wishes = [wish for wish in self._wishes if wish.what is What.REWRITE]
        if not wishes:
            wishes.append(Wish(What.REWRITE, lambda text: None, self._tell))
            self._wishes += wishes
        wishes[0].lsn = self._world.lsn

    @property
    def busy(self) -> bool:
        """Whether a child is at work, or a wish waits."""
        return not self._ended and bool(self._job or self._taking or self._write or self._wishes)

    def end(self) -> None:
        """The server stops: no more wishes. A child at work is killed, since it may be stopped or slow."""
        self._ended = True
        if self._job is not None:
            self._job.end()
            self._job = None
            self._tidy(self._tell)

    def step(self) -> None:
        """A phase of the tick: before the commit, when everything committed has been carried out."""
        if self._job is not None or self._taking or self._ended:
            return
        if self._write is not None:
            # At rest, and with everything committed carried out, the world is the one to be written at the cut. The
            # files that people edit wait until the edit is durable: else a power cut could take it out of both.
            save, journal = self._write.what is What.SAVE, self._journal
            if save and self._expire():
                return
            if journal.at_rest if save else journal.durable >= self._write.lsn:
                wish, self._write = self._write, None
                self._start_writing(wish)
            return
        limit = self._world.parameters["JOURNAL_LIMIT"]
        if not self._wishes and self._journal.size > limit + self._limit_from:
            self._note("checkpoint: the journal has reached its limit")
            self._wishes.append(Wish(What.SAVE, self._note, self._tell))
        if self._wishes:
            wish = self._wishes.popleft()
            if wish.what is What.REWRITE:
                self._write = wish
            else:
                self._start_reading(wish)

    # Reading what was changed by hand.

    def _start_reading(self, wish: Wish) -> None:
        iterations = self._world.parameters["SCRAM_ITERATIONS"]

        def work() -> bytes:
            found = self._edited.read(iterations, wanted=self._home.writer.wanted)
            lines = [{k: v and (v.number, v.name, v.value) for k, v in one.items()} for one in found.lines]
            return json.dumps([found.parameters, found.accounts, lines, found.written, found.unknown]).encode()

        def done(answer: bytes, failure: str) -> None:
            self._job = None
            if failure:
                wish.warned = failure
                wish.warn(f"Nothing was changed: {failure}")
                if wish.what is What.SAVE:  # lines with an edit are left alone
                    self._write = wish
                return
            parameters, accounts, lines, written, unknown = json.loads(answer)
            known = [{k: v and Line(*v) for k, v in one.items()} for one in lines]
            for sentence in unknown:
                wish.tell(sentence)
            self._take_in(Changes(parameters, accounts, known, written, node=self._edited.node), wish)

        self._fork(work, done, wish)
        job = self._job
        self._loop.call_later(PATIENCE, lambda: self._goes_on(job, wish))

    def _goes_on(self, job: Job | None, wish: Wish) -> None:
        if job is not None and self._job is job:
            wish.tell("New passwords are being turned into verifiers: each takes a moment ...")

    def _take_in(self, changes: Changes, wish: Wish) -> None:
        if not changes:
            if wish.what is What.SAVE:
                self._write = wish
            else:
                wish.tell("Nothing was changed by hand.")
            return

        names = {key: account.name for key in changes.accounts if (account := self._world.accounts.get(fold(key)))}

        def carried_out(_command: Command, reply: Reply) -> None:
            self._taking = False
            if reply["status"] == "OK":
                self._edited.remember(changes)
                wish.tell(reloaded(changes, names))
            else:
                wish.warn(f"Not taken in: {reply['text']}")
            self._write, wish.lsn = wish, self._world.lsn  # at once, so that no plain password stays in the file

        self._taking = True
        *commands, last = changes.commands(self._loop.wall)
        for command in commands:
            self._pipeline.submit(None, "", None, command)
        self._pipeline.submit(Told(carried_out), "", None, last)

    # Writing.

    def _expire(self) -> bool:
        """Before a save: messages that are too old leave the world. Whether the command for it is on its way."""
        command = self._retention.due(self._loop.wall)
        if command is None:
            return False

        def carried_out(_command: Command, _reply: Reply) -> None:
            self._taking = False

        self._taking = True
        self._pipeline.submit(Told(carried_out), "", None, command)
        return True

    def _start_writing(self, wish: Wish) -> None:
        everything = wish.what is What.SAVE
        floor, erasing, begun = self._world.floor_offset, self._messages.erasing_last, self._loop.now
        position, _ = nodes_of(self._world).place
        if everything:
            self._journal.cut()
            self._erasure.begin(self._loop.wall)

        def work() -> bytes:
            textfile.slow = _SLOW
            home, edited = self._home, self._edited
            with home.writer.held():
                if everything:
                    self._effects.finish()  # everything is durable: the journal was cut
                    self._erasure.note_down()
                    notes = checkpoint_now(
                        home, self._world, self._messages, self._appended, edited, home.writer.wanted
                    )
                    with contextlib.suppress(OSError):  # what stays now goes with the next save
                        self._journal.truncate()  # here, since a disk takes long over a large file
                        self._erasure.carry_out()
                else:
                    notes = edited.write(self._world)
            return json.dumps(notes).encode()

        def done(answer: bytes, failure: str) -> None:
            self._job = None
            if failure:
                self._tidy(wish.warn)
                self._failed(wish, failure)
                return
            notes = json.loads(answer)
            try:
                self._edited.refresh()
            except (OSError, ValueError) as error:
                notes.append(str(error))
            for note in notes:
                if note not in wish.warned:
                    wish.warn(f"Left as it is: {note}")
            if everything:
                self.latest = Saved(self._loop.wall, self._loop.now - begun)
                self._messages.forget(floor)
                self._messages.erased_last(erasing)
                self._all_saved(wish, position)

        self._fork(work, done, wish)

    def _all_saved(self, wish: Wish, position: int) -> None:
        self._limit_from = 0
        self._doubt(False)
        self._journal.truncate()
        self._erasure.end()
        wish.tell("Saved.")
        self.saved(position)

    def _doubt(self, whether: bool) -> None:
        """A save has failed, perhaps over a sync."""
        self._messages.doubt(whether)
        self._appended.doubt(whether)

    def _failed(self, wish: Wish, failure: str) -> None:
        if wish.what is What.SAVE:
            self._doubt(True)
            self._limit_from = self._journal.size + self._world.parameters["JOURNAL_LIMIT"]
            wish.warn(f"The text files could not be written: {failure}. The journal keeps everything.")
        else:
            wish.warn(f"para.txt and credentials.txt could not be written: {failure}. The journal keeps everything.")

    def _tidy(self, warn: Tell) -> None:
        """Clears up after a child that was to write and is gone, perhaps in the middle of it."""
        try:
            for note in self._home.tidy():
                warn(note)
            self._edited.refresh()
        except (OSError, ValueError) as error:  # whatever is left over, the next start finds it
            warn(f"What a child left over stays until the next start: {error}")

    def _fork(self, work: Callable[[], bytes], done: Callable[[bytes, str], None], wish: Wish) -> None:
        try:
            self._job = Job(self._loop, work, done)
        except OSError as error:
            self._limit_from = self._journal.size  # by itself only when it has grown by as much again
            wish.warn(f"Not now: {error.strerror}.")
