"""The message store, ``data/message_rep.txt``: every message, one a line (``<receiver> <event>``), in LSN order.

Written without syncing: what a crash takes from its end, the journal brings back (recovery cuts the file to the length
that the flat files name, and replays). Must not know what a line says. Legal order: ``append* → flush`` each tick;
``read`` at any time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from chatlib.storage.textfile import FORMAT, FileError

HEADER = f"# message_rep.txt {FORMAT}: receiver (or all), and the event as it is sent\n".encode()
START = len(HEADER)  # the offset of the first line
_GUESS = 1_024  # bytes read for a line at first; most are shorter


class MessageStore:
    """The open file. Offsets are bytes from its beginning."""

    def __init__(self, path: Path, length: int) -> None:
        """Opens the store and cuts it to `length`. Raises FileError when it is shorter or of another format."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._pending: list[bytes] = []
        self._erased: list[int] = []
        size = os.fstat(self._fd).st_size
        begins = os.pread(self._fd, START, 0)
        if length == START and size < START and HEADER.startswith(begins):  # new, or a crash cut its first line short
            os.pwrite(self._fd, HEADER, 0)
        elif begins != HEADER:
            raise FileError(f"{path}, line 1: a file of format {FORMAT} begins with {HEADER.decode()!r}")
        elif size < length:
            raise FileError(f"{path}: {length} bytes are expected, {size} are there: messages are missing")
        os.ftruncate(self._fd, length)
        self._end = length

    def append(self, line: bytes) -> None:
        """Adds `line`, with its end, to what the next flush writes."""
        self._pending.append(line)

    def flush(self) -> None:
        """Writes what was appended, then erases. Raises OSError."""
        if self._pending:
            self._write()
        if self._erased:
            self._overwrite()

    def _write(self) -> None:
        piece = memoryview(b"".join(self._pending))
        self._pending.clear()
        while piece:
            written = os.pwrite(self._fd, piece, self._end)
            self._end += written
            piece = piece[written:]

    def read(self, offset: int) -> tuple[bytes, bytes]:
        """The receiver and the event (with its end) of the line at `offset`. Raises FileError where no line is."""
        self.flush()
        line, end, _ = os.pread(self._fd, _GUESS, offset).partition(b"\n")
        while not end:
            more, end, _ = os.pread(self._fd, 16 * _GUESS, offset + len(line)).partition(b"\n")
            if not more and not end:
                raise FileError(f"message_rep.txt: no line at byte {offset}")
            line += more
        receiver, _, event = line.partition(b" ")
        return receiver, event + b"\n"

    def erase(self, offsets: Iterable[int]) -> None:
        """The next flush overwrites these lines with blanks, so that what a user was sent goes with the user."""
        self._erased.extend(offsets)

    def _overwrite(self) -> None:
        offsets, self._erased = self._erased, []
        for offset in offsets:
            receiver, event = self.read(offset)
            os.pwrite(self._fd, b" " * (len(receiver) + len(event)), offset)

    def sync(self) -> None:
        """Makes all of it durable."""
        self.flush()
        os.fsync(self._fd)

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self._fd)
