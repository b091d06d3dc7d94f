"""The log, as whoever feeds a world from it sees it: the ordered list of all commands.

One server's own disk is behind it (``journal``), or many servers that agree on one order. So records of others may
come between ours, and what is committed is told later, not by whoever asked for it. What holds for every log:

* Who executes all that `committed` and before it `replay` hand out, in their order, has the same world as everyone else
  who does. A command's LSN is the world's last plus one when it is executed; the log hands out exactly as many.
* Ours are committed in the order in which they were appended, each once, or `CommitFailed` is raised: then nothing that
  was appended and not handed out may be answered, and nothing more be appended.

Must not know what a record means, nor who waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

# What was committed together: for a record of ours the ticket that `append` gave for it, for another's the record.
Batch = Sequence["int | bytes"]


class CommitFailed(Exception):
    """A log that can no longer be written. Nothing that waits in it may be answered, and nothing more be appended."""


class Log(Protocol):
    """Legal order: ``prove`` → ``mend`` → ``replay`` → ``open``, once each; then, any number of times,
    ``append``* → ``commit`` → ``committed``, and ``ready`` before them when `fileno` is readable.

    A checkpoint: ``cut`` when the log is `at_rest` and all that was handed out is executed; the world is written as it
    is then; ``truncate``, when all of that is durable. A stop: ``settle``, the world is written, ``clear``, ``close``.
    """

    @property
    def given(self) -> int:
        """The last LSN of all, or the last that may have been given away by a run that a crash has ended."""

    @property
    def lsn(self) -> int:
        """Of the last record that was handed out: the world's, when all of them are executed."""

    @property
    def durable(self) -> int:
        """The LSN up to which everything is on disk for good: what follows from it may be irreversible."""

    @property
    def busy(self) -> bool:
        """Whether a commit is under way: `ready` will be wanted."""

    @property
    def at_rest(self) -> bool:
        """Whether everything that was committed has been handed out, and the log can be cut there."""

    @property
    def size(self) -> int:
        """Bytes since it was cut."""

    # A start.

    def prove(self, after: int, begun: bool) -> bool:
        """Reads all that is later than LSN `after`, and changes nothing; whether anything was ever committed.

        `begun`: the home is not a new one, so the log must be there. Raises FileError for what is damaged or missing.
        """

    def mend(self) -> str:
        """Makes durable what was proven, and puts aside what was not acknowledged; what people must know of that."""

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        """The records later than LSN `after`, each with its own."""

    def open(self) -> None:
        """From now on records can be appended; the first one's LSN is behind `given`. Raises OSError."""

    # Life.

    def fileno(self) -> int:
        """For the selector: readable when `ready` has something to hear."""

    def append(self, record: bytes) -> int:
        """Adds a command of ours, as JSON without a line end; returns its ticket. Tickets are above 0, and grow."""

    def commit(self) -> None:
        """Begins to commit what was appended, unless a commit is under way. Never waits. Raises CommitFailed."""

    def ready(self) -> None:
        """Hears how far commits have come, and waits for that if nothing has been heard. Raises CommitFailed."""

    def committed(self) -> Iterable[Batch]:
        """What has been committed, and was not handed out yet, in order."""

    def every_second(self) -> None:
        """A second is over. Raises CommitFailed."""

    # Checkpoints and the end.

    def cut(self) -> None:
        """What comes later is kept apart from what was handed out so far, which is durable then. Raises OSError."""

    def truncate(self) -> None:
        """What came before the cut may go: the flat files hold it. Raises OSError."""

    def settle(self) -> None:
        """Makes everything durable that was handed out, and waits for it; legal `at_rest`. Raises OSError."""

    def clear(self) -> None:
        """All that was handed out may go: the flat files hold it. Raises OSError."""

    def close(self) -> None:
        """Gives back what it holds."""
