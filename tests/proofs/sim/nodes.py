"""Files and folders of the simulated disk, who has them open, and their changes since the last sync."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from typing import Any

FIRST = 1 << 20  # descriptors below this are the real system's
_STATES = 6  # of one file that a power cut may mix


def failed(number: int, path: str = "") -> OSError:
    """What the system says."""
    return OSError(number, os.strerror(number), path)


class File:
    """What a name stands for. `sure`: its durable bytes; `later`: changes since: (at, bytes or None: cut there)."""

    __slots__ = ("data", "firm", "in_doubt", "later", "links", "lock", "number", "sure", "total", "touched",
                 "writers")  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number, self.links, self.touched = number, 1, 0.0
        self.data = bytearray()
        self.sure = b""
        self.later: list[tuple[int, bytes | None]] = []
        self.total = 0  # changes ever
        self.in_doubt = 0  # so many of those a failed sync has lost sight of,
        self.firm = 0  # and those behind them, up to here, are durable
        self.lock: Any = None  # the process, or the open file, that has locked it
        self.writers = 0  # descriptors open for writing

    def states(self) -> list[bytes]:
        """All that it may have been since it was durable, oldest first; a few of many."""
        at, states = bytearray(self.sure), [bytearray(self.sure)]
        kept = {len(self.later) * place // _STATES for place in range(1, _STATES + 1)}
        for count, change in enumerate(self.later, 1):
            apply(at, *change)
            if self.in_doubt < count <= self.firm:
                for state in states:
                    apply(state, *change)
            elif count in kept:
                states.append(bytearray(at))
        return [bytes(state) for state in states]


class Folder(dict[str, Any]):
    """Names, and what they stand for."""

    number = 0
    touched = 0.0


def apply(data: bytearray, at: int, piece: bytes | None) -> None:
    """One change of a file's bytes."""
    if piece is None:
        if at <= len(data):
            del data[at:]
        else:
            data.extend(bytes(at - len(data)))
        return
    if at > len(data):
        data.extend(bytes(at - len(data)))
    data[at : at + len(piece)] = piece


class Open:
    """An open file: what descriptors of one or more processes share."""

    __slots__ = ("at", "flags", "node", "path")

    def __init__(self, node: Any, path: str, flags: int) -> None:
        self.node, self.path, self.flags, self.at = node, path, flags, 0


class Process:
    """Who works: a server, a child of its, a client. `over`: it must do nothing more."""

    def __init__(self, number: int, parent: Process | None = None) -> None:
        self.number, self.parent = number, parent
        self.over = False
        self.open: dict[int, Any] = dict(parent.open) if parent else {}
        self._free: list[int] = list(parent._free) if parent else []
        self._next = parent._next if parent else FIRST
        for one in self.open.values():
            count(one, 1)

    def give(self, one: Any) -> int:
        """The lowest free descriptor, as the system does."""
        if self._free:
            fd = heapq.heappop(self._free)
        else:
            fd, self._next = self._next, self._next + 1
        self.open[fd] = one
        count(one, 1)
        return fd

    def close(self, fd: int) -> None:
        one = self.open.pop(fd, None)
        if one is None:
            raise failed(errno.EBADF)
        heapq.heappush(self._free, fd)
        count(one, -1)
        if isinstance(one, Open) and isinstance(one.node, File) and one.node.lock in (self, one):
            one.node.lock = None  # POSIX: with any descriptor of it that the process closes

    def end(self) -> None:
        """It is over: the system closes everything."""
        self.over = True
        for fd in list(self.open):
            self.close(fd)


def count(one: Any, more: int) -> None:
    """A descriptor more, or less, for an open file."""
    if isinstance(one, Open) and isinstance(one.node, File) and one.flags & 3:
        one.node.writers += more


class Stat:
    """What os.stat says, as far as anybody asks."""

    __slots__ = ("st_dev", "st_gid", "st_ino", "st_mode", "st_mtime", "st_mtime_ns", "st_nlink", "st_size", "st_uid")

    def __init__(self, node: Any) -> None:
        self.st_dev = self.st_uid = self.st_gid = 0
        self.st_mtime = node.touched
        self.st_mtime_ns = int(node.touched * 1e9)
        if isinstance(node, Folder):
            self.st_mode, self.st_size, self.st_ino, self.st_nlink = stat.S_IFDIR | 0o700, 0, id(node), 1
        else:
            self.st_mode, self.st_size = stat.S_IFREG | 0o600, len(node.data)
            self.st_ino, self.st_nlink = node.number, node.links
