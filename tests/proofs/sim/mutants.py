"""Servers and clients with one thing wrong each: the simulation must find every one of them, or it proves nothing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from chatlib.client.news import Fields, Request
from chatlib.client.outbox import Outbox
from chatlib.core.world import World
from chatlib.server.checks import Checks
from chatlib.server.reader import Reader
from chatlib.storage import appendfile, checkpoint, journal, messages, records, replay, textfile
from chatlib.storage.journal import Journal

Change = tuple[Any, str, Any]


def _answers_before_the_sync() -> list[Change]:
    sync = Journal._sync

    def changed(self: Journal) -> None:
        sync(self)
        self._committed = self._written

    return [(Journal, "_sync", changed)]


def _skips_every_sync_of_the_journal() -> list[Change]:
    def changed(self: Journal) -> None:
        self._syncing = (self._written, self._written + 100_000)
        self._done()

    return [(Journal, "_sync", changed)]


def _never_syncs_the_name_of_a_segment() -> list[Change]:
    cut = Journal.cut

    def changed(self: Journal) -> None:
        cut(self)
        self._new_segment = False

    return [(Journal, "cut", changed)]


def _drops_the_journal_before_the_files_hold() -> list[Change]:
    cut = Journal.cut

    def changed(self: Journal) -> None:
        cut(self)
        self.truncate()

    return [(Journal, "cut", changed)]


def _gives_a_number_twice() -> list[Change]:
    durable = records.durable
    return [(records, "durable", lambda upto, given: durable(upto, upto))]


def _forgets_keys() -> list[Change]:
    return [(World, "_execute_once", lambda self, lsn, command, handler, account: handler(self, lsn, command))]


def _renames_files_before_their_sync() -> list[Change]:
    write_new = textfile.write_new
    return [(textfile, "sync_file", lambda path: None),
            (checkpoint, "write_new", lambda path, pieces, sync=True: write_new(path, pieces, False))]  # fmt: skip


def _syncs_no_folder_of_a_checkpoint() -> list[Change]:
    return [(checkpoint, "sync_folder", lambda folder: None)]


def _saves_without_a_sync_of_messages() -> list[Change]:
    return [(messages.MessageStore, "sync", messages.MessageStore.flush)]


def _saves_without_a_sync_of_the_ledger() -> list[Change]:
    return [(appendfile.AppendFile, "sync", appendfile.AppendFile.flush)]


def _trusts_what_a_failed_sync_left() -> list[Change]:
    return [(journal, "write_again", lambda fd, start, end: None)]


def _leaves_a_torn_tail() -> list[Change]:
    return [(replay, "keep_and_cut", lambda path, at: path)]


def _syncs_files_and_not_their_names() -> list[Change]:
    return [(Checks, "_hand_over", lambda self, fd, task: self._checker.start(fd, task))]


def _takes_for_seen_what_the_kernel_took() -> list[Change]:
    return [(Reader, "seen", lambda self, flushed: flushed)]


def _client_asks_only_once() -> list[Change]:
    return [(Outbox, "begin", lambda self: None)]


def _client_asks_again_with_another_key() -> list[Change]:
    message, count = Request.message, itertools.count()

    def changed(self: Request) -> Fields:
        fields = message(self)
        return {**fields, "key": f"{self.key}{next(count)}"} if self.key else fields

    return [(Request, "message", changed)]


MUTANTS: dict[str, Callable[[], list[Change]]] = {
    name.replace("_", " ").strip(): made for name, made in list(globals().items())
    if name.startswith("_") and getattr(made, "__module__", "") == __name__
}  # fmt: skip


@contextlib.contextmanager
def mutated(name: str) -> Iterator[None]:
    """While this lasts, that is wrong."""
    undo = []
    for holder, attribute, value in MUTANTS[name]() if name else ():
        undo.append((holder, attribute, getattr(holder, attribute)))
        setattr(holder, attribute, value)
    try:
        yield
    finally:
        for change in undo:
            setattr(*change)
