"""The message store, ``data/message_rep.txt``: each message a line (``<checksum> <receiver> <event>``), in LSN order.

Written without syncing: what a crash takes from its end, the journal brings back (recovery cuts the file to the length
that the flat files name, and replays). The checksum, CRC-32 of the rest of the line, is looked at when a line is read:
a start with many messages must not take long. Must not know what an event says. Legal order: ``prove`` → open;
``append* → flush`` each tick; ``read`` at any time.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

from chatlib.storage.textfile import FORMAT, OLD_FORMAT, REMEDY, FileError, sync_folder

ABOUT = "a checksum of the rest, receiver (or all), and the event as it is sent"
HEADER = f"# message_rep.txt {FORMAT}: {ABOUT}\n".encode()
OLD_HEADER = f"# message_rep.txt {OLD_FORMAT}: receiver (or all), and the event as it is sent\n".encode()
START = len(HEADER)  # the offset of the first line
_GUESS = 1_024  # bytes read for a line at first; most are shorter
_BEGINS = re.compile(rb"(?=[0-9a-f]{8} )")


def at_rest(line: bytes) -> bytes:
    """``" <receiver> <event>"``, with its end, as it stands in the store."""
    return b"%08x" % zlib.crc32(line) + line


def prove(path: Path, length: int, header: bytes = HEADER) -> None:
    """Raises FileError when a store is missing, shorter than `length`, or of another format. Changes nothing."""
    try:
        with open(path, "rb") as file:
            begins, size = file.read(len(header)), os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise FileError(f"{path} is missing: the server does not start without it. {REMEDY}") from None
    if begins != header:
        raise FileError(f"{path}, line 1: a file of this format begins with {header.decode()!r}. {REMEDY}")
    if size < length:
        raise FileError(f"{path}: {length} bytes are expected, {size} are there: messages are missing. {REMEDY}")


class MessageStore:
    """The open file. Offsets are bytes from its beginning."""

    def __init__(self, path: Path, length: int) -> None:
        """Opens the store, which was proven or is new, and cuts it to `length`. Raises OSError."""
        is_new = not path.exists()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._pending: list[bytes] = []
        os.ftruncate(self._fd, length)
        if length == START:  # a crash may have left anything there
            os.pwrite(self._fd, HEADER, 0)
        if is_new:
            sync_folder(path.parent)
        self._end = length

    def append(self, line: bytes) -> None:
        """Adds ``" <receiver> <event>"``, with its end, to what the next flush writes behind its checksum."""
        self._pending.append(line)

    def flush(self) -> None:
        """Writes what was appended. Raises OSError."""
        if self._pending:
            self._write()

    def _write(self) -> None:
        lines, self._pending = self._pending, []
        # All checksums at once: that costs less than one by one.
        sums = struct.pack(f">{len(lines)}I", *map(zlib.crc32, lines)).hex().encode()
        places = range(0, len(sums), 8)
        piece = memoryview(b"".join([part for at, line in zip(places, lines, strict=True)
                                     for part in (sums[at : at + 8], line)]))  # fmt: skip
        while piece:
            written = os.pwrite(self._fd, piece, self._end)
            self._end += written
            piece = piece[written:]

    def read(self, offset: int) -> tuple[bytes, bytes]:
        """The receiver and the event (with its end) of the line at `offset`.

        Raises FileError when the line is damaged, or none is there.
        """
        line = self._line(offset)
        if not _is_whole(line):
            raise FileError(f"message_rep.txt: the line at byte {offset} is damaged (its checksum does not fit)")
        _, receiver, event = line.split(b" ", 2)
        return receiver, event

    def _line(self, offset: int) -> bytes:
        """What stands from `offset` to the next line's end, with it."""
        self.flush()
        line, end, _ = os.pread(self._fd, _GUESS, offset).partition(b"\n")
        while not end:
            more, end, _ = os.pread(self._fd, 16 * _GUESS, offset + len(line)).partition(b"\n")
            if not more and not end:
                raise FileError(f"message_rep.txt: no line at byte {offset}")
            line += more
        return line + b"\n"

    def erase(self, offsets: Iterable[int]) -> None:
        """Overwrites these lines with blanks, so that what a user was sent goes with the user. Cannot be undone."""
        for offset in offsets:
            line = self._line(offset)
            os.pwrite(self._fd, b" " * (_length(line) - 1), offset)

    def sync(self) -> None:
        """Makes all of it durable."""
        self.flush()
        os.fsync(self._fd)

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self._fd)


def _is_whole(line: bytes) -> bool:
    return line[:8] == b"%08x" % zlib.crc32(line[8:])


def _length(line: bytes) -> int:
    """Of a line to be erased. Where its own end is damaged, the next line's beginning is looked for: that one stays."""
    if not _is_whole(line):
        for found in _BEGINS.finditer(line, 1):
            if _is_whole(line[found.start() :]):
                return found.start()
    return len(line)
