"""The journal: the ordered list of all commands, ``LSN CRC json`` a line, on disk before anything is answered.

Asynchronous: records are appended now and committed later, in order, a whole batch with one write and one sync (group
commit). Segments are files ``journal.txt`` (the current one) and ``journal.<last LSN>.txt`` (older ones, while a
checkpoint is under way). Recovery reads them all: a record cut short at the very end is a torn tail, anything else
that is wrong is corruption. Must not know what a record means.

The same interface (append, commit, committed) can stand before a shared, replicated log.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from chatlib.storage.syncer import Syncer
from chatlib.storage.textfile import FORMAT, FileError, sync_folder

_HEADER = f"# journal.txt {FORMAT}: LSN, CRC-32 of LSN and command, command\n".encode()


class CommitFailed(Exception):
    """The disk did not take a batch. Nothing of it may be answered, and nothing more be appended."""


def pack(lsn: int, command: bytes) -> bytes:
    """A record's line. The CRC starts from the LSN, so that a record in the wrong place is wrong."""
    return b"%d %08x %b\n" % (lsn, zlib.crc32(command, lsn & 0xFFFFFFFF), command)


def unpack(line: bytes) -> tuple[int, bytes] | None:
    """(LSN, command) of a line without its end, or None when it is no record."""
    parts = line.split(b" ", 2)
    if len(parts) != 3 or not parts[0].isdigit() or len(parts[1]) != 8:
        return None
    lsn = int(parts[0])
    return (lsn, parts[2]) if b"%08x" % zlib.crc32(parts[2], lsn & 0xFFFFFFFF) == parts[1] else None


class Journal:
    """Legal order: ``replay`` once → ``open`` → (``append*`` → ``commit``, ``synced`` when the syncer is readable)*.

    `committed` is the LSN up to which everything is on disk; `size` counts the bytes of the current segment.
    """

    def __init__(self, folder: Path, syncer: Syncer) -> None:
        self.path = folder / "journal.txt"
        self._folder = folder
        self._syncer = syncer
        self._fd = self._folder_fd = -1
        self._batch: list[bytes] = []
        self._written = 0  # LSN of the last record written, perhaps not yet synced
        self._new_segment = False
        self._unsynced = False  # FSYNC "second" has committed what no sync was asked for yet
        self.appended = 0  # LSN of the last record appended
        self.committed = 0
        self.size = 0
        self.busy = False  # a sync is under way
        self.sync_always = True
        self.torn: Path | None = None  # where replay put a torn tail

    # Recovery.

    def segments(self) -> list[Path]:
        """The files in order; the current one last."""
        older = [path for path in self._folder.glob("journal.*.txt") if path.name.split(".")[1].isdigit()]
        older.sort(key=lambda path: int(path.name.split(".")[1]))
        return [*older, *([self.path] if self.path.exists() else [])]

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        """The records later than LSN `after`. Cuts a torn tail; raises FileError, naming the place, for corruption."""
        lsn = 0
        segments = self.segments()
        for path in segments:
            with open(path, "rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        if path is not segments[-1]:
                            raise FileError(f"{path}, line {number}: the record is cut short, but others follow it")
                        self._cut(path, file.tell() - len(line), line)
                        break
                    if number == 1:
                        if line != _HEADER:
                            raise FileError(f"{path}, line 1: a journal begins with {_HEADER.decode()!r}")
                        continue
                    record = unpack(line[:-1])
                    if record is None:
                        raise FileError(f"{path}, line {number}: the record is corrupt (its checksum does not fit)")
                    if (lsn and record[0] != lsn + 1) or (not lsn and record[0] > after + 1):
                        raise FileError(
                            f"{path}, line {number}: LSN {(lsn or after) + 1} is expected, {record[0]} is there"
                        )
                    lsn = record[0]
                    if lsn > after:
                        yield record
        self.appended = self._written = self.committed = max(lsn, after)

    def _cut(self, path: Path, at: int, tail: bytes) -> None:
        self.torn = path.with_name(f"torn.{at}.txt")
        self.torn.write_bytes(tail)
        self.torn.chmod(0o600)
        os.truncate(path, at)

    # Life.

    def open(self) -> None:
        """Opens the current segment for appending, a new one when there is none (or when its first line was torn)."""
        self._folder_fd = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)  # now: later there may be none to be had
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._fd).st_size
        if self.size == 0:
            self._write(_HEADER)
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
        batch = b"".join(self._batch)
        self._batch.clear()
        try:
            self._write(batch)
            self._written = self.appended
            self._unsynced = not self.sync_always
            if not self.sync_always or self._sync():
                self.committed = self._written
        except OSError as error:
            raise CommitFailed(f"{self.path}: {error.strerror or error}") from error

    def _sync(self) -> bool:
        """True when done in place; otherwise `synced` is told."""
        self._unsynced = False
        if not self._new_segment:
            done = self._syncer.start(self._fd)
        else:
            done = self._syncer.start(self._folder_fd, self._fd)
            self._new_segment = False
        self.busy = not done
        return done

    def synced(self) -> None:
        """The syncer is readable. Raises CommitFailed."""
        try:
            done = self._syncer.ready()
        except OSError as error:
            raise CommitFailed(f"{self.path}: {error.strerror or error}") from error
        if done:
            self.busy = False
            self.committed = self._written

    def sync_later(self) -> None:
        """For FSYNC ``second``: syncs what was written, without anyone waiting for it. Raises CommitFailed."""
        if self._unsynced and not self.busy:
            try:
                self._sync()
            except OSError as error:
                raise CommitFailed(f"{self.path}: {error.strerror or error}") from error

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
        if self.size == len(_HEADER):
            return  # no record yet; and an older segment, if a checkpoint failed, has the name that this one would get
        if self._unsynced:
            os.fsync(self._fd)  # a segment that others follow must not be torn
            self._unsynced = False
        os.close(self._fd)
        os.rename(self.path, self._folder / f"journal.{self.committed}.txt")
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = 0
        self._write(_HEADER)
        self._new_segment = True  # its name must be durable before its first record counts

    def drop_older(self) -> None:
        """Removes all segments but the current one: a checkpoint holds them."""
        for path in self.segments():
            if path != self.path:
                path.unlink()

    def empty(self) -> None:
        """Removes every record: the flat files hold all. The end of a clean stop."""
        self.drop_older()
        os.ftruncate(self._fd, len(_HEADER))
        os.fsync(self._fd)
        self.size = len(_HEADER)

    def close(self) -> None:
        """Gives the descriptors back."""
        os.close(self._fd)
        os.close(self._folder_fd)
