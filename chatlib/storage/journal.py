"""The journal: the ordered list of all commands, ``LSN CRC json`` a line, on disk before anything is answered.

Asynchronous: records are appended now and committed later, in order, a whole batch with one write and one sync (group
commit). Segments are files ``journal.txt`` (the current one) and ``journal.<last LSN>.txt`` (older ones, while a
checkpoint is under way). Each batch begins with a mark of what was durable when it was written; a second after the last
batch there is one more (`mark`). So a start tells a torn tail from damage (``replay``). With FSYNC ``second``, LSNs are
given away before they are durable: the marks reserve them ahead, and no start gives one of them again.

Must not know what a record means. The same interface (append, commit, committed) can stand before a shared, replicated
log.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from chatlib.storage import records, replay
from chatlib.storage.records import HEADER, pack
from chatlib.storage.syncer import Syncer
from chatlib.storage.textfile import sync_folder

RESERVE = 100_000  # LSNs that FSYNC "second" may give away before the next sync is done


class CommitFailed(Exception):
    """The disk did not take a batch. Nothing of it may be answered, and nothing more be appended."""


class Journal:
    """Legal order: ``prove`` → ``mend`` → ``replay`` → ``open``, once each; then
    (``append*`` → ``commit``, ``synced`` when the syncer is readable)*.

    `committed` is the LSN up to which everything may be answered: with FSYNC ``always`` it is `durable`, the LSN up to
    which everything is on disk for good. `size` counts the bytes of the current segment.
    """

    def __init__(self, folder: Path, syncer: Syncer) -> None:
        self.path = folder / "journal.txt"
        self._folder = folder
        self._syncer = syncer
        self._fd = self._folder_fd = -1
        self._proof = replay.Proof(0)
        self._batch: list[bytes] = []
        self._written = 0  # LSN of the last record written, perhaps not yet synced
        self._syncing = (0, 0)  # what will be durable, and reserved, when the sync under way is done
        self._reserved = 0  # up to this LSN FSYNC "second" may give them away; durable
        self._marked = 0  # the LSN that the last mark names
        self._bare = True  # the current segment has no record yet
        self._new_segment = False  # its name is not durable yet
        self.appended = 0  # LSN of the last record appended
        self.committed = 0
        self.durable = 0
        self.size = 0
        self.busy = False  # a sync is under way
        self.sync_always = True
        self.torn: Path | None = None  # where mend put a torn tail

    # Recovery.

    def prove(self, after: int) -> replay.Proof:
        """Reads all that is later than LSN `after`, and changes nothing. Raises FileError for what is damaged."""
        self._proof = replay.prove(self._folder, after)
        return self._proof

    def mend(self) -> None:
        """Cuts a torn tail off, and makes the rest durable: a start must not show what a power cut may still take."""
        proof = self._proof
        if proof.torn:
            self.torn = replay.keep_and_cut(*proof.torn)
        if self.path.exists():
            with open(self.path, "rb") as file:
                os.fsync(file.fileno())
        self.appended = self._written = self.committed = self.durable = max(proof.lsn, proof.given)

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        """The records later than LSN `after`."""
        return replay.records(self._proof, after)

    # Life.

    def open(self) -> None:
        """Opens the current segment for appending; a new one when there is none, or one of an older format."""
        proof = self._proof
        self._folder_fd = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)  # now: later there may be none to be had
        if proof.is_old and proof.is_bare:
            os.truncate(self.path, 0)
        elif proof.is_old:
            os.rename(self.path, self._folder / f"journal.{proof.lsn}.txt")
            sync_folder(self._folder)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._fd).st_size
        self._bare = proof.is_bare or proof.is_old
        if not self.size:
            self._write(HEADER)
        if proof.ends_at < self.appended:
            self._write(records.skip(proof.ends_at + 1, self.appended))
            self._bare = False
        self._write_mark()
        os.fsync(self._fd)
        sync_folder(self._folder)

    def append(self, command: bytes) -> int:
        """Adds a command, as JSON without a line end, to the batch that the next commit writes; returns its LSN."""
        self.appended = lsn = self.appended + 1
        self._batch.append(pack(lsn, command))
        return lsn

    def commit(self) -> None:
        """Begins to commit what was appended, unless a commit is under way. Raises CommitFailed."""
        if not self._batch or (self.busy and self.sync_always):
            return
        with self._fail_stop():
            if self.durable > self._marked:
                self._batch.insert(0, self._mark())
            batch = b"".join(self._batch)
            self._batch.clear()
            self._write(batch)
            self._written, self._bare = self.appended, False
            if self.sync_always:
                self._sync()
            else:
                self.committed = max(self.committed, min(self._written, self._reserved))
                if self._written + RESERVE // 2 > self._reserved and not self.busy:
                    self._sync()

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
        self.committed = max(self.committed, self.durable)
        if not self.sync_always:
            self.committed = max(self.committed, min(self._written, self._reserved))

    def synced(self) -> None:
        """The syncer is readable. Raises CommitFailed."""
        with self._fail_stop():
            self._syncer.ready()
            self._done()
            if self._written > self.committed:  # FSYNC "second" has written more than was reserved
                self._sync()

    def sync_later(self) -> None:
        """For FSYNC ``second``: syncs what was written, without anyone waiting for it. Raises CommitFailed."""
        if self._written > self.durable and not self.busy:
            with self._fail_stop():
                self._sync()

    def mark(self) -> None:
        """Says behind the last batch that it is durable; costs no sync. For once a second. Raises CommitFailed."""
        if self.durable > self._marked and not self._batch and not self.busy:
            with self._fail_stop():
                self._write_mark()

    @contextlib.contextmanager
    def _fail_stop(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CommitFailed(f"{self.path}: {error.strerror or error}") from error

    def _mark(self, reserved: int = 0) -> bytes:
        self._marked = self.durable
        return records.durable(self.durable, max(reserved, self._reserved))

    def _write_mark(self, reserved: int = 0) -> None:
        self._write(self._mark(reserved))

    def _write(self, data: bytes) -> None:
        piece = memoryview(data)
        while piece:
            piece = piece[os.write(self._fd, piece) :]
        self.size += len(data)

    @property
    def at_rest(self) -> bool:
        """Whether everything written is committed; what was only appended may wait."""
        return not self.busy and self._written == self.committed

    def cut_segment(self) -> None:
        """Goes on in a new segment, with what is appended and not written yet; legal `at_rest`. Raises OSError."""
        assert self.at_rest
        self.sync_now()
        if self._bare:
            return  # no record yet; and an older segment, if a checkpoint failed, has the name that this one would get
        os.close(self._fd)
        os.rename(self.path, self._folder / f"journal.{self.committed}.txt")
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = 0
        self._bare = self._new_segment = True  # its name must be durable before its first record counts
        self._write(HEADER)
        self._write_mark()
        if self._reserved:
            self._settle_segment()

    def sync_now(self) -> None:
        """Makes everything that was written durable, and waits for it; legal `at_rest`. Raises OSError."""
        if self._written > self.durable:
            os.fsync(self._fd)
            self.durable = self._written

    def _settle_segment(self) -> None:
        os.fsync(self._fd)
        sync_folder(self._folder)
        self._new_segment = False

    def drop_older(self) -> None:
        """Removes all segments but the current one: a checkpoint holds them."""
        older = [path for path in replay.segments(self._folder) if path != self.path]
        if older and self._new_segment:
            self._settle_segment()
        for path in older:
            path.unlink()

    def empty(self) -> None:
        """Removes every record: the flat files hold all. The end of a clean stop."""
        self.drop_older()
        self.durable, self._reserved = self._written, 0
        os.ftruncate(self._fd, len(HEADER))
        self.size, self._bare = len(HEADER), True
        self._write_mark()
        os.fsync(self._fd)

    def close(self) -> None:
        """Gives the descriptors back."""
        os.close(self._fd)
        os.close(self._folder_fd)
