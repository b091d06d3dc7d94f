"""Saving and reloading while the server goes on: what would hold up the loop is done in a forked child.

``save``, and a journal grown past JOURNAL_LIMIT: first take in what was changed by hand, then, when the journal stands
still for a moment, go on in a new segment and fork; the child writes the world as it was then; when it is done the old
segments go. ``reload`` is the first half. Legal: any call at any time; one job runs at a time, a second wish waits.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chatlib.core.world import Command, Reply
from chatlib.reactor.jobs import Job
from chatlib.server.edits import Taken
from chatlib.server.recovery import checkpoint_now
from chatlib.storage.edited import Line
from chatlib.storage.parameters import PARAMETERS

if TYPE_CHECKING:
    from chatlib.server.server import Server

Tell = Callable[[str], None]


class Saver:
    """The jobs of one server. `tell` of each wish hears how it went."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._job: Job | None = None
        self._wishes: list[tuple[bool, Tell]] = []  # (write the files too?, whom to tell)
        self._write: Tell | None = None  # the world is to be written as soon as the journal stands still
        self._limit_from = 0  # a failed checkpoint is tried again when the journal has grown by this much more

    def reload(self, tell: Tell) -> None:
        """Takes in what was changed by hand, and writes verifiers for plain passwords."""
        self._wishes.append((False, tell))

    def save(self, tell: Tell) -> None:
        """Takes in what was changed by hand, then writes all text files."""
        self._wishes.append((True, tell))

    @property
    def busy(self) -> bool:
        """Whether a child is at work, or a wish waits."""
        return self._job is not None or self._write is not None or bool(self._wishes)

    def step(self) -> None:
        """A phase of the tick: before a commit, when everything committed has been carried out."""
        server = self._server
        if self._job is not None:
            return
        if self._write is not None:
            if server.journal.at_rest:  # and what is committed is carried out: this is that LSN's world
                tell, self._write = self._write, None
                self._start_writing(tell)
            return
        limit = server.world.parameters["JOURNAL_LIMIT"]
        if not self._wishes and server.journal.size > limit + self._limit_from and not server.stopping:
            server.log.write("checkpoint: the journal has reached its limit")
            self.save(server.log.write)
        if self._wishes:
            self._start_reading(*self._wishes.pop(0))

    # Reading what was changed by hand.

    def _start_reading(self, write: bool, tell: Tell) -> None:
        server, iterations = self._server, self._server.world.parameters["SCRAM_ITERATIONS"]

        def work() -> bytes:
            taken = server.edited.read(iterations)
            lines = [{k: v and (v.number, v.name, v.value) for k, v in one.items()} for one in taken.lines]
            return json.dumps([taken.parameters, taken.accounts, lines]).encode()

        def done(answer: bytes, failure: str) -> None:
            self._job = None
            if failure:
                tell(f"Nothing was changed: {failure}")
                if write:  # lines with an edit are left alone
                    self._write = tell
                return
            parameters, accounts, lines = json.loads(answer)
            known = [{k: v and Line(*v) for k, v in one.items()} for one in lines]
            self._take(Taken(parameters, accounts, known), write, tell)

        self._fork(work, done, tell)

    def _take(self, taken: Taken, write: bool, tell: Tell) -> None:
        if not taken:
            if write:
                self._write = tell
            else:
                tell("Nothing was changed by hand.")
            return
        server = self._server

        def carried_out(reply: Reply) -> None:
            server.edited.take(taken)
            server.parameters_changed()
            shown = [f"{name} is {PARAMETERS[name].show(value)}" for name, value in taken.parameters.items()]
            for name, value in taken.accounts.items():
                shown.append(f"{name} was {'removed' if value is None else 'taken in'}")
            tell("Read: " + ", ".join(shown) + ".")
            # Written at once, so that no plain password stays in the file.
            self._write = tell if write else lambda text: None

        server.pipeline.submit(_Once(carried_out), "", None, taken.command(server.loop.wall))

    # Writing.

    def _start_writing(self, tell: Tell) -> None:
        server = self._server
        server.journal.cut_segment()
        parent = os.getpid()

        def work() -> bytes:
            checkpoint_now(server.home, server.world, server.messages, server.edited, lambda: os.getppid() == parent)
            return b""

        def done(_answer: bytes, failure: str) -> None:
            self._job = None
            server.edited.refresh()
            if failure:
                self._limit_from = server.journal.size + server.world.parameters["JOURNAL_LIMIT"]
                tell(f"The text files could not be written: {failure}. The journal keeps everything.")
                return
            self._limit_from = 0
            server.journal.drop_older()
            tell("Saved.")

        self._fork(work, done, tell)

    def _fork(self, work: Callable[[], bytes], done: Callable[[bytes, str], None], tell: Tell) -> None:
        try:
            self._job = Job(self._server.loop, work, done)
        except OSError as error:
            self._limit_from = self._server.journal.size  # by itself only when it has grown by as much again
            tell(f"Not now: {error.strerror}.")


class _Once:
    """The origin of a command of the server's own."""

    def __init__(self, done: Callable[[Reply], None]) -> None:
        self._done = done

    def answered(self, _echo: str, _request_id: Any, _command: Command, reply: Reply) -> None:
        self._done(reply)

    def broken(self) -> None: ...
