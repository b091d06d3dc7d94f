"""The log: the ordered list of all commands, as the world's feeder sees it.

Behind it is one server's own disk (``journal``), or many servers that agree on one order. Therefore a commit is
asynchronous, and records of other servers may come between ours. Every log promises this:

* Whoever executes all that `replay` and then `committed` hand out, in that order, gets the same world as anybody else
  who does so. A command's LSN is the world's last LSN plus one when it is executed.
* Our own records are committed in the order in which they were appended, each of them once. If that cannot be, the log
  raises CommitFailed.

Must not know what a record means, nor who waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

# What was committed together. A record of ours is there as its ticket, another server's as the record itself. A
# barrier's ticket stands in its place, too: there is nothing to execute for it.
Batch = Sequence["int | bytes"]


class CommitFailed(Exception):
    """The log cannot go on. Nothing that still waits in it may be answered, and nothing more be appended."""


class Log(Protocol):
    """Legal order: ``prove`` → ``mend`` → ``replay`` → ``open``, once each; then, any number of times,
    ``append``* → ``commit`` → ``committed``, and ``ready`` before them when `fileno` is readable.

    A checkpoint: ``cut`` when the log is `at_rest` and all that was handed out is executed; the world is written as it
    is then; ``truncate``, when all of that is durable. A stop: ``settle``, the world is written, ``clear``, ``close``.
    """

    sync_always: bool  # a record must be on a disk for good before it is handed out; a shared log knows no other way

    @property
    def shared(self) -> bool:
        """Whether other servers append to it, too. Then there may be records that nobody here has heard of."""

    @property
    def given(self) -> int:
        """The last LSN that anybody may have been told of, also if a crash took its record."""

    @property
    def lsn(self) -> int:
        """The LSN of the last record that was handed out: the world's, once all of them are executed."""

    @property
    def durable(self) -> int:
        """The LSN up to which everything is on disk for good, so that what cannot be undone may be done."""

    @property
    def busy(self) -> bool:
        """Whether a commit is under way, of which `ready` will hear."""

    @property
    def at_rest(self) -> bool:
        """Whether everything that was committed has been handed out, and the log can be cut there."""

    @property
    def waiting(self) -> int:
        """Bytes of ours that were appended and have not been handed out, about."""

    @property
    def records(self) -> int:
        """Records since it was cut."""

    @property
    def size(self) -> int:
        """Bytes since it was cut."""

    # A start.

    def prove(self, after: int, begun: bool) -> bool:
        """Reads all that is later than LSN `after`, and changes nothing; whether anything was ever committed.

        `begun`: the home is not a new one, so the log must be there. Raises FileError for what is damaged or missing.
        """

    def mend(self) -> str:
        """Makes durable what was proven, and puts aside what was never acknowledged. Returns what people must know."""

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        """The records later than LSN `after`, each with its LSN."""

    def open(self) -> None:
        """From now on records can be appended; their LSNs are later than `given`. Raises OSError."""

    # Life.

    def fileno(self) -> int:
        """For the selector: readable when `ready` has something to hear."""

    def append(self, record: bytes) -> int:
        """Adds a command of ours, as JSON without a line end; returns its ticket. Tickets are above 0, and grow."""

    def barrier(self) -> int:
        """A ticket whose turn comes when all has been handed out that anybody was told of before this call.

        Tickets of records and of barriers are of one order. 0: nothing to wait for, since nobody else appends.
        """

    def commit(self) -> None:
        """Begins to commit what was appended, unless a commit is under way. Raises CommitFailed.

        It waits for no network, and for no slow disk.
        """

    def ready(self) -> None:
        """Hears how far commits have come; waits if there is nothing to hear yet. Raises CommitFailed."""

    def committed(self) -> Iterable[Batch]:
        """Hands out what has been committed since the last call, in order."""

    def every_second(self) -> None:
        """A second is over. Raises CommitFailed."""

    # Checkpoints and the end.

    def cut(self) -> None:
        """Makes durable what was handed out so far, and keeps it apart from all that comes later. Raises OSError."""

    def truncate(self) -> None:
        """Drops what came before the cut: the flat files hold it. Raises OSError.

        It may take long. So a forked child that has written the flat files calls it first, then its parent does.
        """

    def settle(self) -> None:
        """Makes everything durable that was handed out, and waits for it; legal `at_rest`. Raises OSError."""

    def clear(self) -> None:
        """Drops all that was handed out: the flat files hold it. Raises OSError."""

    def close(self) -> None:
        """Gives back what it holds."""
