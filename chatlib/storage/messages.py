"""The message store, ``data/message_rep.txt`` and its later segments: each message a line, in LSN order.

A line is ``<checksum> <receiver> <event>``. Written without syncing: what a crash takes from its end, the journal
brings back (recovery cuts the store to the length that the flat files name, and replays). The checksum, CRC-32 of the
rest of the line, is looked at when a line is read: a start with many messages must not take long. Must not know what
an event says. Legal order: ``messagefiles.prove`` → open; ``append* → flush`` each tick; ``read`` at any time.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from chatlib.storage import messagefiles
from chatlib.storage.messagefiles import HEADER, START, Segment
from chatlib.storage.textfile import FileError, is_whole, put, sync_folder, with_checksums, write_again

SEGMENT = 64 << 20  # bytes at which the next segment begins
NEAR = 4_096  # bytes between two lines that are read at once
AT_ONCE = 262_144  # bytes read at once
AHEAD = 1 << 20  # bytes that the disk is told to read
_OPEN = 8  # descriptors of segments at rest
_GUESS = 2_048  # bytes read for a line at first; even one that says where 64 messages stand is shorter
_MOST = 1_024  # the same of lines with messages
Line = tuple[bytes, bytes]  # receiver, and event with its end
_BEGINS = re.compile(rb"(?=[0-9a-f]{8} )")


class Erased(FileError):
    """The line was erased: it is blank."""


def at_rest(line: bytes) -> bytes:
    """``" <receiver> <event>"``, with its end, as it stands in the store."""
    return b"%08x" % zlib.crc32(line) + line


class MessageStore:
    """The open files. Offsets are logical: see :mod:`chatlib.storage.messagefiles`."""

    def __init__(self, path: Path, length: int, floor: int = 0, segment: int = 0) -> None:
        """Opens the store, which was proven or is new, and cuts it to `length`. Raises OSError."""
        self._first, self._limit = path, segment or SEGMENT
        self._segments = messagefiles.cut(path, floor, length)
        self._bases = [one.base for one in self._segments]
        self._fds: dict[int, int] = {}  # by base; the current segment's is not among them
        self._dirty: set[int] = set()  # bases of the segments written since the store was opened
        self._unsure = length  # what stands before it was durable when the store was opened
        self._in_doubt = False
        self._begun = False  # a segment is new since then
        self._pending: list[bytes] = []
        self._last: list[int] = []  # lines to be erased with the next sync
        self._unwritten = b""  # with checksums; usually all of it is written at once
        current = self._segments[-1]
        is_new = not current.path.exists()
        self._fd = os.open(current.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._fd, length - current.base + current.head)
        if length == START:  # a crash may have left anything there
            put(self._fd, HEADER, 0)
        if is_new:
            sync_folder(path.parent)
        self._dirty.add(current.base)
        self._end = length

    # Writing.

    def append(self, line: bytes) -> None:
        """Adds ``" <receiver> <event>"``, with its end, to what the next flush writes behind its checksum."""
        self._pending.append(line)

    def flush(self) -> None:
        """Writes what was appended. Raises OSError: then nothing is lost, and the next flush writes it all again."""
        if self._pending:
            lines, self._pending = self._pending, []
            self._unwritten += with_checksums(lines)
        while self._unwritten:
            self._write()

    def _write(self) -> None:
        """Writes what the segment has room for. It ends behind the line that fills it, however many there are."""
        room = self._bases[-1] + self._limit - self._end
        if room <= 0:
            self._begin_segment()
            return
        piece = self._unwritten
        if len(piece) > room:
            piece = piece[: piece.index(b"\n", room - 1) + 1]
        current = self._segments[-1]
        put(self._fd, piece, self._end - current.base + current.head)
        self._end += len(piece)
        self._unwritten = self._unwritten[len(piece) :]

    def _begin_segment(self) -> None:
        new = messagefiles.segment(self._first, self._end)
        fd = os.open(new.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            put(fd, messagefiles.header(new.base), 0)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd = fd
        self._segments.append(new)
        self._bases.append(new.base)
        self._dirty.add(new.base)
        self._begun = True

    def erase(self, offsets: Iterable[int]) -> None:
        """Overwrites these lines with blanks, so that what a user was sent goes with the user. Cannot be undone."""
        for offset in offsets:
            if offset < self._bases[0]:
                continue  # it has gone already, with its segment
            line = self._line(offset)
            fd, shift = self._opened(offset)
            os.pwrite(fd, b" " * (own_length(line) - 1), offset + shift)
            self._unsure = min(self._unsure, offset)
            self._dirty.add(self._segment_of(offset).base)

    def erase_last(self, offsets: Iterable[int]) -> None:
        """As erase, by each `sync` until they are `erased_last`: when all that was erased before is durable."""
        self._last += offsets

    @property
    def erasing_last(self) -> int:
        """How many lines the next sync erases."""
        return len(self._last)

    def erased_last(self, count: int) -> None:
        """The first so many are erased, and that is durable."""
        del self._last[:count]

    def sync(self) -> None:
        """Makes all of it durable. Raises OSError."""
        self._sync()
        if self._last:
            for offset in self._last:
                with contextlib.suppress(FileError):  # it is damaged, and the administrator has heard of it
                    self.erase([offset])
            self._sync()

    def doubt(self, whether: bool) -> None:
        """A sync may have failed. The disk says so once, and then forgets what it has lost, though it is still read:
        so the next sync writes again all that was written since the store was opened."""
        self._in_doubt = whether

    def _write_again(self) -> None:
        for one in self._segments:
            end = self._end_of(one.base)
            if end > self._unsure or one is self._segments[-1]:
                fd, shift = self._opened(one.base)
                write_again(fd, 0 if one.base >= self._unsure else self._unsure + shift, end + shift)

    def _sync(self) -> None:
        self.flush()
        if self._in_doubt:
            self._write_again()
        for one in self._segments:
            if one.base in self._dirty:
                with contextlib.suppress(FileNotFoundError):  # gone with a save whose end nobody saw
                    os.fsync(self._opened(one.base)[0])
        if self._begun:
            sync_folder(self._first.parent)

    def forget(self, floor: int) -> None:
        """Removes the segments all of whose lines are before `floor`: a checkpoint that does not need them holds."""
        while len(self._segments) > 1 and self._bases[1] <= floor:
            gone = self._segments.pop(0)
            del self._bases[0]
            self._dirty.discard(gone.base)
            if gone.base in self._fds:
                os.close(self._fds.pop(gone.base))
            gone.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Gives the descriptors back."""
        for fd in (self._fd, *self._fds.values()):
            os.close(fd)
        self._fds.clear()

    # Reading.

    @property
    def begins(self) -> Sequence[int]:
        """Where each segment's first line stands."""
        return self._bases

    def read(self, offset: int) -> Line:
        """The receiver and the event (with its end) of the line at `offset`.

        Raises FileError when the line is damaged or Erased, or none is there.
        """
        line = self._line(offset)
        if not is_whole(line):
            where = f"{self._segment_of(offset).path.name}: the line at byte {offset}"
            if line.isspace() and len(line) > len(b"01234567 all {}\n"):
                raise Erased(f"{where} was erased")
            raise FileError(f"{where} is damaged (its checksum does not fit)")
        _, receiver, event = line.split(b" ", 2)
        return receiver, event

    def read_many(self, offsets: Sequence[int]) -> Iterator[Line | FileError | OSError]:
        """As ``read``, of each of these offsets, which grow; instead of a line that cannot be read, why not.

        Lines that stand near each other are read at once. Raises OSError when what is new cannot be written.
        """
        self.flush()
        start, end, count = 0, 0, len(offsets)  # end: the segment's
        pread, crc32 = os.pread, zlib.crc32
        while start < count:
            first = offsets[start]
            if first >= end:
                end = self._end_of(first)
                fd, shift = self._opened(first)
            stop = start + 1
            if stop < count and offsets[stop] - first <= NEAR:
                stop = _run(offsets, start, end)
            try:
                piece = pread(fd, offsets[stop - 1] - first + _MOST, first + shift)
            except OSError:  # perhaps of one line only
                piece = b""
            for offset in offsets[start:stop]:
                at = offset - first
                line = piece[at : piece.find(b"\n", at) + 1]
                if line[:8] == b"%08x" % crc32(line[8:]):
                    _, receiver, event = line.split(b" ", 2)
                    yield receiver, event
                else:
                    yield self._alone(offset)
            start = stop

    def _alone(self, offset: int) -> Line | FileError | OSError:
        """A line that is longer than was guessed, or damaged, or cannot be read."""
        try:
            return self.read(offset)
        except (FileError, OSError) as error:
            return error

    def lines_from(self, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
        """The offset and the event of each whole line that begins within `size` bytes from `offset`, in order."""
        self.flush()
        end = min(offset + size, self._end)
        while offset < end:
            try:
                line = self._line(offset)
            except FileError:  # the end of this segment
                offset = self._end_of(offset)
                continue
            if is_whole(line):
                yield offset, line.split(b" ", 2)[2]
            offset += len(line)

    def lines_before(self, end: int, size: int, wait: bool = True) -> tuple[int, bytes] | None:
        """About `size` bytes of whole lines that stand right before the offset `end`, as they are at rest, and the
        offset of the first. No bytes: there are none. None: not to `wait` for the disk, which reads them meanwhile."""
        self.flush()
        end = min(end, self._end)
        if end <= self._bases[0]:
            return end, b""
        base, (fd, shift) = self._segment_of(end - 1).base, self._opened(end - 1)
        while True:
            start = max(base, end - size)
            lines = os.pread(fd, end - start, start + shift) if wait else _at_hand(fd, end - start, start + shift)
            if lines is None:
                return None
            first = 0 if start == base else lines.find(b"\n") + 1
            if start == base or 0 < first < len(lines):
                return start + first, lines[first:]
            size *= 2

    def _segment_of(self, offset: int) -> Segment:
        return self._segments[max(0, bisect_right(self._bases, offset) - 1)]

    def _end_of(self, offset: int) -> int:
        """Where the segment of `offset` ends."""
        number = bisect_right(self._bases, offset)
        return self._bases[number] if number < len(self._bases) else self._end

    def _opened(self, offset: int) -> tuple[int, int]:
        """The descriptor by which `offset` is found, and how far behind it in the file."""
        one = self._segment_of(offset)
        shift = one.head - one.base
        if one is self._segments[-1]:
            return self._fd, shift
        fd = self._fds.pop(one.base, None)
        if fd is None:
            if len(self._fds) >= _OPEN:
                os.close(self._fds.pop(next(iter(self._fds))))
            fd = os.open(one.path, os.O_RDWR | os.O_CLOEXEC)
        self._fds[one.base] = fd  # the latest used is the last to go
        return fd, shift

    def _line(self, offset: int) -> bytes:
        """What stands from `offset` to the next line's end, with it."""
        self.flush()
        fd, shift = self._opened(offset)
        at = offset + shift
        if at < 0:
            raise FileError(f"message_rep.txt: the line at byte {offset} is gone")
        line, end, _ = os.pread(fd, _GUESS, at).partition(b"\n")
        while not end:
            more, end, _ = os.pread(fd, 16 * _GUESS, at + len(line)).partition(b"\n")
            if not more and not end:
                raise FileError(f"{self._segment_of(offset).path.name}: no line at byte {offset}")
            line += more
        return line + b"\n"


def _at_hand(fd: int, size: int, at: int) -> bytes | None:
    """So many bytes, if they are in memory; None: they are not, and the disk was told to read them."""
    if sys.platform != "linux":
        return os.pread(fd, size, at)
    found = bytearray(size)
    try:
        if os.preadv(fd, [found], at, os.RWF_NOWAIT) == size:
            return bytes(found)
    except BlockingIOError:
        pass
    except OSError:  # a file system that cannot tell, or a fault, which the reader hears of
        return os.pread(fd, size, at)
    os.posix_fadvise(fd, max(0, at + size - AHEAD), AHEAD, os.POSIX_FADV_WILLNEED)
    return None


def _run(offsets: Sequence[int], start: int, end: int) -> int:
    """Behind the last of the offsets that are near each other, from place `start`; at most up to the offset `end`."""
    last, stop = offsets[start], start + 1
    end = min(end, last + AT_ONCE)
    while stop < len(offsets) and offsets[stop] - last <= NEAR and offsets[stop] < end:
        last = offsets[stop]
        stop += 1
    return stop


def own_length(line: bytes) -> int:
    """Of a line to be erased. Where its own end is damaged, the next line's beginning is looked for: that one stays."""
    if not is_whole(line):
        for found in _BEGINS.finditer(line, 1):
            if is_whole(line[found.start() :]):
                return found.start()
    return len(line)
