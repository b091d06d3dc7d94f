"""Lines that are kept in a file (mode 0600) until they are done with. Each comes and goes with one write.

Must not know what a line means. A line that is done with is overwritten with blanks, and the file is emptied when none
is left; so a program may be killed at any moment, and what is torn is dropped. Not synced. Without a path, or after a
fault (no space, say), which is told once, lines are kept in memory alone. Nobody else may have the file open.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

MAX_SIZE = 1 << 20  # bytes after which blanks are squeezed out

Id = TypeVar("Id")


class KeptLines(Generic[Id]):
    """Lines by an id. Legal order: ``open`` (again for another path), the others, ``close``. `fault` is told once why
    there is no file any more."""

    def __init__(self, fault: Callable[[OSError], None]) -> None:
        self.path: Path | None = None
        self._fault = fault
        self._fd = -1
        self._size = 0
        self._places: dict[Id, tuple[int, bytes]] = {}  # where a line stands in the file, and the line

    def open(self, path: Path | None, name: Callable[[bytes], Id | None]) -> list[bytes]:
        """The lines in the file, if there is one; `name` says the id of one, None: it is dropped."""
        self.close()
        self.path = path
        try:
            if path is not None and path.is_fifo():  # to open one waits for a reader
                raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
            held = path.read_bytes() if path is not None and path.exists() else b""
            lines = held.split(b"\n")[:-1]
            self._places = {id: (0, line + b"\n") for line in lines if (id := name(line)) is not None}
            if held:  # also when it is only a torn line
                self._squeeze()
        except OSError as error:
            self._fail(error)
            return []
        return [line[:-1] for _, line in self._places.values()]

    def __contains__(self, id: Id) -> bool:
        return id in self._places

    def add(self, id: Id, line: bytes) -> None:
        """Keeps `line`, without its end; one of that id must not be there."""
        if self.path is not None:
            self._guard(lambda: self._append(id, line + b"\n"))
        if self._size > MAX_SIZE:
            self._guard(self._squeeze)

    def remove(self, id: Id) -> None:
        """The line is done with, if it is there."""
        place = self._places.pop(id, None)
        if place is None:
            return
        if self._places:
            self._guard(lambda: os.pwrite(self._fd, b" " * (len(place[1]) - 1), place[0]))
        else:
            self._size = 0
            self._guard(lambda: os.ftruncate(self._fd, 0))

    def close(self) -> None:
        """Lets go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self.path = -1, 0, None
        self._places = {}

    # Inside.

    def _append(self, id: Id, line: bytes) -> None:
        assert self.path is not None
        if self._fd < 0:
            self._fd = _file(self.path, 0)
        written = os.pwrite(self._fd, line, self._size)
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._places[id] = self._size, line
        self._size += written

    def _squeeze(self) -> None:
        """Writes the file anew, beside and then in place of the old one."""
        assert self.path is not None
        beside = self.path.with_name(self.path.name + ".new")
        fd = _file(beside, os.O_TRUNC)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = fd, 0
        for id, (_, line) in list(self._places.items()):
            self._append(id, line)
        beside.replace(self.path)

    def _guard(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        error.filename = error.filename or str(self.path)
        self.close()
        self._fault(error)


def _file(path: Path, flags: int) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    os.fchmod(fd, 0o600)  # one that was there may be open to others
    return fd
