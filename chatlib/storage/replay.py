"""How a start reads the journal: it proves all of it, which changes nothing, and then reads the records.

Behind the first damage it looks for marks. If one says that a later record was durable, then acknowledged data is
damaged: the journal is refused, and left as it is. Otherwise nothing from the damage on was ever acknowledged: it is a
torn tail, and a power cut may leave its sectors in any state. Segments of format 1 have no marks: there, only a last
line that is cut short is a torn tail.

Must not know what a command means. Legal order: ``prove`` → ``keep_and_cut`` where there is a torn tail → ``records``.
"""

from __future__ import annotations

import mmap
import os
import re
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from chatlib.storage.records import HEADER, OLD_HEADER, marks_in, read_mark, unpack
from chatlib.storage.textfile import REMEDY, FileError, sync_folder

_OTHER_FORMAT = re.compile(rb"# journal\.txt (\d+): .*\n")


@dataclass
class Found:
    """What was found: `lsn` is the last one, `given` the last that may have been given away."""

    lsn: int
    given: int = 0
    ends_at: int = 0  # the LSN behind which a record can follow without a mark
    is_new: bool = True  # nothing was ever committed
    is_bare: bool = True  # the current segment has no record
    parts: list[tuple[Path, int]] = field(default_factory=list)  # segments, and how many bytes of each are good
    torn: tuple[Path, int] | None = None  # where the torn tail begins
    is_old: bool = False  # the current segment is of format 1
    durable_to: int = 0  # bytes of the current segment that a later mark says were on disk


class _Damage(NamedTuple):
    at: int  # bytes
    line: int
    what: str


def segments(folder: Path) -> list[Path]:
    """The files in order; the current one last."""
    older = [path for path in folder.glob("journal.*.txt") if path.name.split(".")[1].isdigit()]
    older.sort(key=_last_of)
    current = folder / "journal.txt"
    return [*older, *([current] if current.exists() else [])]


def _last_of(older: Path) -> int:
    return int(older.name.split(".")[1])


def prove(folder: Path, after: int) -> Found:
    """Reads and checks every segment that has records later than LSN `after`. Raises FileError, naming the place."""
    reader = _Reader(after)
    for path in segments(folder):
        older = path.name != "journal.txt"
        if older and _last_of(path) <= after:
            continue  # the flat files hold all of it
        before = reader.chain
        damage = reader.read(path)
        reader.found.is_bare = not older and reader.chain == before
        if older:
            reader.end_older(path, damage)
        elif damage:
            reader.end_torn(path, damage)
        reader.found.parts.append((path, damage.at if damage else reader.end))
    found = reader.found
    found.is_new = reader.chain is None and not found.given
    found.lsn, found.ends_at = reader.lsn, after if reader.chain is None else reader.chain
    found.given = max(found.given, found.lsn)
    return found


class _Reader:
    """Reads segment after segment. `chain` is the last LSN read: the next must follow it."""

    def __init__(self, after: int) -> None:
        self.found = Found(after)
        self.chain: int | None = None
        self.end = 0  # bytes of the segment that were read last: a server that runs may write more
        self._after = after
        self._old = False  # whether the segment is of format 1
        self._chain_before: int | None = None  # when it began
        self._marks: deque[tuple[int, int]] = deque()  # in it: the last LSN before each, and where it stands

    @property
    def lsn(self) -> int:
        """The last LSN that is read, or held by the flat files."""
        return max(self.chain or 0, self._after)

    def read(self, path: Path) -> _Damage | None:
        """One segment, up to its end or its first damage."""
        self._old, self.found.durable_to = False, 0
        self._chain_before = self.chain
        self._marks.clear()
        with open(path, "rb") as file:
            first = file.readline()
            self._old = first == OLD_HEADER
            self.found.is_old = self._old and path.name == "journal.txt"
            if first and not self._old and first != HEADER:
                other = _OTHER_FORMAT.fullmatch(first)
                if other and int(other[1]) > 2:
                    raise FileError(f"{path}, line 1: a later version wrote it, or it is damaged. {REMEDY}")
                return _Damage(0, 1, f"a journal begins with {HEADER.decode()!r}")
            return self._lines(path, file, len(first))

    def _lines(self, path: Path, file: BinaryIO, at: int) -> _Damage | None:
        crc32, chain = zlib.crc32, self.chain
        for number, line in enumerate(file, 2):
            parts = line.split(b" ", 2)
            # Nearly always this is the next record. Whatever else it may be takes a closer look.
            if (
                chain is not None
                and len(parts) == 3
                and parts[0] == b"%d" % (chain + 1)
                and line[-1] == 10
                and b"%08x" % crc32(parts[2][:-1], (chain + 1) & 0xFFFFFFFF) == parts[1]
            ):
                chain += 1
            else:
                self.chain = chain
                if not self._unusual(line, f"{path}, line {number}", at):
                    whole = line.endswith(b"\n")
                    what = "the record is corrupt (its checksum does not fit)" if whole else "the record is cut short"
                    return _Damage(at, number, what)
                chain = self.chain
            at += len(line)
        self.chain, self.end = chain, at
        return None

    def _unusual(self, line: bytes, place: str, at: int) -> bool:
        """A first record, a mark, or a record out of order; False when it is none of these."""
        mark = None if self._old else read_mark(line)
        if mark and mark.says == b"durable":
            self.found.given = mark.last
            if mark.first > self.lsn:
                raise FileError(
                    f"{place}: commands up to LSN {mark.first} were on disk, but those after {self.lsn} are missing. "
                    f"{REMEDY}"
                )
            if self.chain != self._chain_before:  # of the first bytes of a segment, none is known to be durable yet
                self._marks.append((self.lsn, at))
            while self._marks and self._marks[0][0] <= mark.first:
                self.found.durable_to = self._marks.popleft()[1]
            return True
        record = unpack(line[:-1]) if line.endswith(b"\n") else None
        if not mark and not record:
            return False
        first, last = (mark.first, mark.last) if mark else (record[0], record[0])  # type: ignore[index]
        if first != self.chain + 1 if self.chain is not None else first > self._after + 1:
            expected = (self._after if self.chain is None else self.chain) + 1
            raise FileError(f"{place}: LSN {expected} is expected, {first} is there. {REMEDY}")
        self.chain = last
        return True

    def end_older(self, path: Path, damage: _Damage | None) -> None:
        """An older segment's name says which record is its last. What stands behind that record means nothing."""
        if self.lsn < _last_of(path):
            place, what = (f"{path}, line {damage.line}", damage.what) if damage else (str(path), "its end is missing")
            raise FileError(f"{place}: {what}; LSN {_last_of(path)} is its last. {REMEDY}")

    def end_torn(self, path: Path, damage: _Damage) -> None:
        """Damage in the current segment is a torn tail, or the journal is refused."""
        place = f"{path}, line {damage.line}: {damage.what}"
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as everything:
            if self._old:
                if everything.find(b"\n", damage.at) >= 0:
                    raise FileError(f"{place}. {REMEDY}")
            else:
                everything.seek(damage.at)
                for mark in marks_in(everything.read()):
                    if mark.says == b"durable":
                        self.found.given = mark.last
                        if mark.first > self.lsn:
                            raise FileError(f"{place}, though it was on disk already: LSN {self.lsn + 1}. {REMEDY}")
        self.found.torn = (path, damage.at)


def keep_and_cut(path: Path, at: int) -> Path:
    """Puts a torn tail into a file of its own, then cuts it off. Returns where it is."""
    tail = path.read_bytes()[at:]
    count, beside = 1, path.with_name(f"torn.{at}.txt")
    while beside.exists():
        count += 1
        beside = path.with_name(f"torn.{at}.{count}.txt")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(tail)
        file.flush()
        os.fsync(fd)
    sync_folder(path.parent)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(fd, at)
        os.fsync(fd)
    finally:
        os.close(fd)
    return beside


def records(found: Found, after: int) -> Iterator[tuple[int, bytes]]:
    """The proven records later than LSN `after`."""
    for path, end in found.parts:
        with open(path, "rb") as file:
            at = 0
            for line in file:
                at += len(line)
                if at > end:
                    break
                if line[0] == 35:  # "#": the header, or a mark
                    continue
                lsn, _, body = line.split(b" ", 2)
                if int(lsn) > after:
                    yield int(lsn), body[:-1]
