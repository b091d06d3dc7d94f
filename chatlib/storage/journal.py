"""The journal: the log of one server, ``LSN CRC json`` a line, on disk before anything is answered.

Records are appended now and committed later, in order, a whole batch with one write and one sync (group commit); a
record's ticket is its LSN. One batch is under way at a time: what comes meanwhile makes the next one larger.

Segments are files: ``journal.txt`` is the current one, ``journal.<last LSN>.txt`` are older ones, while a checkpoint is
under way. Each batch begins with a mark of what was durable when it was written; a second after the last batch there is
one more. So a start tells a torn tail from damage (``replay``). With FSYNC ``second``, LSNs are given away before they
are durable: the marks reserve them ahead, and no start gives one of them again.

Must not know what a record means.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from chatlib.storage import records, replay
from chatlib.storage.log import Batch, CommitFailed
from chatlib.storage.records import HEADER, pack
from chatlib.storage.syncer import Syncer
from chatlib.storage.textfile import REMEDY, FileError, sync_folder, write_again

RESERVE = 100_000  # LSNs that FSYNC "second" may give away before the next sync is done


class Journal:
    """A :class:`.log.Log`; `ready` is legal when the syncer is readable, or while it is `busy`.

    With FSYNC ``always`` what is durable is committed; with ``second``, what is written and reserved.
    """

    shared = False

    def __init__(self, folder: Path, syncer: Syncer) -> None:
        self.path = folder / "journal.txt"
        self._folder = folder
        self._syncer = syncer
        self._fd = self._folder_fd = -1
        self._found = replay.Found(0)
        self._batch: list[bytes] = []
        self._written = 0  # LSN of the last record written, perhaps not yet synced
        self._syncing = (0, 0)  # what will be durable, and reserved, when the sync under way is done
        self._reserved = 0  # up to this LSN FSYNC "second" may give them away; durable
        self._marked = 0  # the LSN that the last mark names
        self._bare = True  # the current segment has no record yet
        self._new_segment = False  # its name is not durable yet
        self._committed = 0  # the LSN up to which everything may be executed
        self.lsn = 0  # of the last record handed out for that
        self.given = 0
        self.durable = 0
        self.size = 0  # of the current segment
        self._under_way = 0  # bytes that were written last
        self._before = 0  # LSN: what is later is in the current segment
        self.busy = False  # a sync is under way
        self.sync_always = True

    # Recovery.

    def prove(self, after: int, begun: bool) -> bool:
        """Reads all that is later than LSN `after`, and changes nothing; whether anything was ever committed.

        Raises FileError for what is damaged, and when a home that has `begun` has no journal.
        """
        self._found = replay.prove(self._folder, after)
        self._before = after
        if begun and not replay.segments(self._folder):
            raise FileError(f"{self.path} is missing: the server does not start without it. {REMEDY}")
        return not self._found.is_new

    def mend(self) -> str:
        """Cuts a torn tail off, and makes the rest durable: a start must not show what a power cut may still take.

        It is written once more, as far as no mark says that it was durable: the last server may have ended over a sync
        that failed, and the disk tells of that only once.
        """
        found, note = self._found, ""
        if found.torn:
            torn = replay.keep_and_cut(*found.torn)
            note = (
                "The journal's last record was cut short, as a power cut may leave it; the rest is whole. What is lost "
                f"was not acknowledged, or with FSYNC second in its last moment. Its bytes: {torn}"
            )
        if self.path.exists():
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                write_again(fd, found.durable_to, os.fstat(fd).st_size)
                os.fsync(fd)
            finally:
                os.close(fd)
        self.given = self._written = self._committed = self.lsn = self.durable = max(found.lsn, found.given)
        return note

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        """The records later than LSN `after`."""
        return replay.records(self._found, after)

    # Life.

    def open(self) -> None:
        """Opens the current segment for appending; a new one when there is none, or one of an older format."""
        found = self._found
        self._folder_fd = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)  # now: later there may be none to be had
        if found.is_old and found.is_bare:
            os.truncate(self.path, 0)
        elif found.is_old:
            os.rename(self.path, self._folder / f"journal.{found.lsn}.txt")
            sync_folder(self._folder)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._fd).st_size
        self._bare = found.is_bare or found.is_old
        if not self.size:
            self._write(HEADER)
        if found.ends_at < self.given:
            self._write(records.skip(found.ends_at + 1, self.given))
            self._bare = False
        self._write_mark()
        os.fsync(self._fd)
        sync_folder(self._folder)

    def fileno(self) -> int:
        """The syncer's: readable when a sync is done."""
        return self._syncer.fileno()

    def append(self, record: bytes) -> int:
        """Adds a command, as JSON without a line end, to the batch that the next commit writes; returns its ticket."""
        self.given = lsn = self.given + 1
        self._batch.append(record)
        return lsn

    def barrier(self) -> int:
        """Nothing is to be waited for: all that was acknowledged went through here."""
        return 0

    def committed(self) -> Iterable[Batch]:
        """What may be executed now."""
        before, upto = self.lsn, self._committed
        if before == upto:
            return ()
        self.lsn = upto
        return (range(before + 1, upto + 1),)

    def commit(self) -> None:
        """Begins to commit what was appended, unless a commit is under way. Raises CommitFailed."""
        if not self._batch or (self.busy and self.sync_always):
            return
        try:
            lines = pack(self._written + 1, self._batch)
            if self.durable > self._marked:
                lines.insert(0, self._mark())
            self._batch.clear()
            before = self.size
            self._write(b"".join(lines))
            self._under_way = self.size - before
            self._written, self._bare = self.given, False
            if self.sync_always:
                self._sync()
            else:
                self._committed = max(self._committed, min(self._written, self._reserved))
                if self._written + RESERVE // 2 > self._reserved and not self.busy:
                    self._sync()
        except OSError as error:
            raise self._failed(error) from error

    def _sync(self) -> None:
        """Begins to make durable what is written; perhaps it is done at once."""
        self.busy = True
        self._syncing = (self._written, 0)
        if not self.sync_always:
            self._syncing = (self._written, self._written + RESERVE)
            self._write_mark(self._syncing[1])
        done = self._syncer.start(*([self._folder_fd] if self._new_segment else []), self._fd)
        if done:
            self._done()

    def _done(self) -> None:
        self.busy = self._new_segment = False
        self.durable, self._reserved = self._syncing
        self._committed = max(self._committed, self.durable)
        if not self.sync_always:
            self._committed = max(self._committed, min(self._written, self._reserved))

    def ready(self) -> None:
        """Hears of a sync that is done, and waits for it if none is. Raises CommitFailed."""
        try:
            self._syncer.ready()
            self._done()
            if self._written > self._committed:  # FSYNC "second" has written more than was reserved
                self._sync()
        except OSError as error:
            raise self._failed(error) from error

    def every_second(self) -> None:
        """With FSYNC ``second``, begins to sync what was written; and marks what is durable, which costs no sync."""
        try:
            if self._written > self.durable and not self.busy:
                self._sync()
            if self.durable > self._marked and not self._batch and not self.busy:
                self._write_mark()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> CommitFailed:
        return CommitFailed(f"{self.path}: {error.strerror or error}")

    def _mark(self, reserved: int = 0) -> bytes:
        self._marked = self.durable
        return records.durable(self.durable, max(reserved, self._reserved))

    def _write_mark(self, reserved: int = 0) -> None:
        self._write(self._mark(reserved))

    def _write(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        self.size += written
        while written < len(data):
            data = data[written:]
            written = os.write(self._fd, data)
            self.size += written

    @property
    def records(self) -> int:
        """How many are written since the last cut, or since the checkpoint that the start found."""
        return self._written - self._before

    @property
    def waiting(self) -> int:
        """Bytes of what was appended or written, and is not committed."""
        return (self._under_way if self.busy else 0) + sum(map(len, self._batch))

    @property
    def at_rest(self) -> bool:
        """Whether everything written is committed; what was only appended may wait."""
        return not self.busy and self._written == self._committed

    def cut(self) -> None:
        """Goes on in a new segment, with what is appended and not written yet; legal `at_rest`. Raises OSError."""
        assert self.at_rest
        self.settle()
        if self._bare:
            return  # no record yet; and an older segment, if a checkpoint failed, has the name that this one would get
        os.close(self._fd)
        os.rename(self.path, self._folder / f"journal.{self._committed}.txt")
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size, self._before = 0, self._committed
        self._bare = self._new_segment = True  # its name must be durable before its first record counts
        self._write(HEADER)
        self._write_mark()
        if self._reserved:
            self._settle_segment()

    def settle(self) -> None:
        """Makes everything that was written durable, and waits for it; legal `at_rest`. Raises OSError."""
        if self._written > self.durable:
            os.fsync(self._fd)
            self.durable = self._written

    def _settle_segment(self) -> None:
        os.fsync(self._fd)
        sync_folder(self._folder)
        self._new_segment = False

    def truncate(self) -> None:
        """Removes all segments but the current one: a checkpoint holds them. Torn tails go, too: nobody asked for them,
        and they may hold what a user has erased since."""
        older = [path for path in replay.segments(self._folder) if path != self.path]
        if older and self._new_segment:
            self._settle_segment()
        for path in [*older, *self._folder.glob("torn.*.txt")]:
            path.unlink()

    def clear(self) -> None:
        """Removes every record: the flat files hold all. The end of a clean stop."""
        self.truncate()
        self.durable, self._reserved = self._written, 0
        os.ftruncate(self._fd, len(HEADER))
        self.size, self._before, self._bare = len(HEADER), self._written, True
        self._write_mark()
        os.fsync(self._fd)

    def close(self) -> None:
        """Gives the descriptors back."""
        os.close(self._fd)
        os.close(self._folder_fd)
