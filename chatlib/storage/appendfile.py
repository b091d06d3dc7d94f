"""A file that only grows: lines of a feature, each behind a checksum. No save writes it anew.

Written without syncing, as the message store is: what a crash takes from its end, the journal brings back. Recovery
cuts it to the length that the flat files name, and replays. The checksum, CRC-32 of the rest of the line, is looked at
when a line is read; at a start that is the last one. Must not know what a line says. Legal order: ``prove`` → open;
``append* → flush`` each tick; ``read`` at any time; ``sync`` before a save.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from chatlib.storage.textfile import REMEDY, FileError, is_whole, put, sync_folder, with_checksums, write_again

_GUESS = 512  # bytes read for a line at first
_LONGEST = 65_536
_AT_ONCE = 1 << 20


def prove(path: Path, first_line: bytes, length: int, fits: Callable[[bytes, int], bool]) -> None:
    """Raises FileError when the file is missing, too short, or its first or last line is wrong. Changes nothing.

    `fits` says whether a line is the last, with the offset at which it stands. A file without lines need not be there.
    """
    if length == len(first_line):
        return
    try:
        with open(path, "rb") as file:
            held, size = file.read(len(first_line)), os.fstat(file.fileno()).st_size
            start = max(len(first_line) - 1, length - _LONGEST)
            file.seek(start)
            tail = file.read(length - start)
    except FileNotFoundError:
        raise FileError(f"{path} is missing: the server does not start without it. {REMEDY}") from None
    if held != first_line:
        raise FileError(f"{path}, line 1: a file of this format begins with {first_line.decode()!r}. {REMEDY}")
    if size < length:
        raise FileError(f"{path}: {length} bytes are expected, {size} are there: its end is missing. {REMEDY}")
    begin = tail.rfind(b"\n", 0, len(tail) - 1) + 1
    line = tail[begin:]
    place = f"{path}: the last line, at byte {start + begin},"
    if not begin or not is_whole(line):
        raise FileError(f"{place} is damaged (its checksum does not fit). {REMEDY}")
    try:
        fitting = fits(line[8:], start + begin)
    except ValueError:
        fitting = False
    if not fitting:
        raise FileError(f"{place} is not the one that the other files know. {REMEDY}")


def lines(path: Path, start: int, end: int) -> Iterator[tuple[int, list[bytes]]]:
    """What stands from `start` to `end`, in order: portions of lines with checksums and ends, each with its offset.

    The last line of all is without its end when the file ends too early. Raises OSError.
    """
    with open(path, "rb") as file:
        file.seek(start)
        rest = b""
        while start < end:
            piece = file.read(min(_AT_ONCE, end - start - len(rest)))
            data = rest + piece
            cut = data.rfind(b"\n") + 1 if piece else len(data)
            if cut:
                yield start, data[:cut].splitlines(keepends=True)
            start, rest = start + cut, data[cut:]
            if not piece:
                return


class AppendFile:
    """The open file."""

    def __init__(self, path: Path, first_line: bytes, length: int) -> None:
        """Opens a file that was proven or is new, and cuts it to `length`. Raises OSError."""
        self.path, self._first_line = path, first_line
        self.pending: list[bytes] = []
        self._unwritten = b""
        is_new = not path.exists()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._fd, length)
        if length == len(first_line):  # a crash may have left anything there
            put(self._fd, first_line, 0)
        if is_new:
            sync_folder(path.parent)
        self.end = self._unsure = length
        self.in_doubt = False  # a sync may have failed: the next one writes again all that is new since the opening

    def flush(self) -> None:
        """Writes what is pending. Raises OSError: then nothing is lost, and the next flush writes it all again."""
        if self.pending:
            pending, self.pending = self.pending, []
            self._unwritten += with_checksums(pending)
        if self._unwritten:
            put(self._fd, self._unwritten, self.end)
            self.end += len(self._unwritten)
            self._unwritten = b""

    def sync(self) -> None:
        """Makes all of it durable."""
        self.flush()
        if self.in_doubt:
            write_again(self._fd, 0 if self._unsure == len(self._first_line) else self._unsure, self.end)
        os.fsync(self._fd)

    def read(self, offset: int) -> bytes | None:
        """The line that begins at `offset`, without its checksum; None when no whole one does. Raises OSError."""
        self.flush()
        if not len(self._first_line) <= offset < self.end:
            return None
        found = os.pread(self._fd, _GUESS, offset - 1)
        if b"\n" not in found[1:]:
            found = os.pread(self._fd, _LONGEST, offset - 1)
        line = found[1 : found.find(b"\n", 1) + 1]
        return line[8:] if found[:1] == b"\n" and is_whole(line) else None

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self._fd)


class AppendFiles:
    """All of them, by name."""

    def __init__(self, files: Mapping[str, AppendFile]) -> None:
        self.by_name = files
        self._dirty: set[AppendFile] = set()

    def append(self, name: str, line: bytes) -> None:
        """Adds a line, which begins with a blank, to what the next flush writes behind its checksum."""
        file = self.by_name[name]
        file.pending.append(line)
        self._dirty.add(file)

    def flush(self) -> None:
        """Writes what was appended. Raises OSError."""
        if self._dirty:
            for file in self._dirty:
                file.flush()
            self._dirty.clear()

    def sync(self) -> None:
        """Makes all of it durable. Raises OSError."""
        for file in self.by_name.values():
            file.sync()

    def doubt(self, whether: bool) -> None:
        """A sync of one of them may have failed: the disk says so once, and then forgets what it has lost."""
        for file in self.by_name.values():
            file.in_doubt = whether

    def read(self, name: str, offset: int) -> bytes | None:
        """As of the file."""
        return self.by_name[name].read(offset)

    def close(self) -> None:
        """Gives the descriptors back."""
        for file in self.by_name.values():
            file.close()
