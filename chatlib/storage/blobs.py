"""Bytes of waiting files, ``data/files/``, under names the server chose.

A part (``KEY.part``) grows while it is uploaded, and outlives crashes, so that an upload can go on; when it is whole,
right and synced, `adopt` gives it its final name (``KEY.XXXX``, never used twice). All parts are known in memory, so
that no request looks at the disk for them. A part is *held* while an upload may go on with it, otherwise *idle*: idle
ones go after PART_LIFE, and the longest idle of an owner as soon as that owner has too many. Time is the loop's, not
the calendar's. What is not needed is only put aside at once; `tidy` removes it, a little in each tick.

Must not know whose file it is: the first half of a key stands for the owner. Legal order: built → ``take_stock`` →
everything else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from time import perf_counter

PART_LIFE = 86_400.0  # seconds that a part waits for its upload to go on
GRACE = 3_600.0  # of these at least after each start, whatever the calendar says: it may have been set
IDLE_PARTS = 100  # of one owner
RESERVE = 64 << 20  # bytes of disk that files leave for everything else
_OWNER = 16  # characters of a key
_BURST = 32  # parts of one owner put aside at once; the next time, more
_TIDY = 0.001  # seconds of removing in one tick, about
_SLICE = 4 << 20  # bytes that a file loses at a time: a disk takes long to remove a large one
_ADOPTED = re.compile("[0-9a-f]{48}[.][0-9a-f]{8}")


def part_key(owner: str, *identity: str) -> str:
    """The name of the part for an upload of `owner`'s with that identity (receiver, name, size, digest)."""
    return _digest(owner)[:_OWNER] + _digest(owner, *identity)[:32]


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


class _Idle:
    """Idle parts of one owner, the longest idle first, and their bytes."""

    __slots__ = ("keys", "size")

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}
        self.size = 0


class Blobs:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sizes: dict[str, int] = {}  # of all parts, by key
        self._idle: dict[str, float] = {}  # since when, the longest idle first
        self._owners: dict[str, _Idle] = {}  # who has idle parts
        self.part_gone: Callable[[str], None] = lambda key: None  # told whoever remembers something of that part
        self._readers: dict[str, int] = {}  # of blobs that are being read
        self._ended: set[str] = set()  # those of them that nobody needs afterwards
        self.aside: deque[str] = deque()  # names of what `tidy` removes
        folder.mkdir(mode=0o700, exist_ok=True)

    def take_stock(self, wanted: Collection[str], now: float, wall: float, undo: bool = False) -> None:
        """At start: adopts what a crash left, and puts aside what no waiting file needs. `wanted`: their blobs.

        `undo`: what no waiting file needs was perhaps adopted by a command that a crash took: it is a part again.
        """
        if undo:
            self._undo_adoptions(wanted)
        missing = set(wanted)
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name in wanted:
                    missing.discard(entry.name)
                elif entry.name.endswith(".part"):
                    known = entry.stat(follow_symlinks=False)
                    found.append((known.st_mtime, entry.name.removesuffix(".part"), known.st_size))
                elif entry.is_file(follow_symlinks=False):
                    self.aside.append(entry.name)
        for touched, key, size in sorted(found):
            self._sizes[key] = size
            age = min(max(0.0, wall - touched), PART_LIFE - GRACE)
            self._now_idle(key, now - age)
        for blob in missing:
            self.adopt(blob)

    def _undo_adoptions(self, wanted: Collection[str]) -> None:
        for name in os.listdir(self.folder):
            key = name.partition(".")[0]
            if _ADOPTED.fullmatch(name) and name not in wanted and not self.part(key).exists():
                os.rename(self.folder / name, self.part(key))

    # Parts.

    def part(self, key: str) -> Path:
        """Where an upload's bytes go."""
        return self.folder / f"{key}.part"

    def part_size(self, key: str) -> int:
        """How much of it is there already."""
        return self._sizes.get(key, 0)

    def hold(self, key: str) -> None:
        """An upload may go on with this part: it stays, whatever happens."""
        self._not_idle(key)

    def let_go(self, key: str, now: float, quota: int) -> None:
        """None does at the moment. Of its owner's idle parts, the oldest beyond `quota` bytes go."""
        if key not in self._sizes or key in self._idle:
            return
        self._now_idle(key, now)
        idle = self._owners[key[:_OWNER]]
        for _ in range(_BURST):
            if len(idle.keys) <= IDLE_PARTS and idle.size <= quota:
                return
            self.drop_part(next(iter(idle.keys)))

    def open_part(self, key: str) -> int:
        """A descriptor to append to a held part, and to read it. Raises OSError: also when it is not what it was."""
        fd = os.open(self.part(key), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(fd).st_size
        if size != self._sizes.setdefault(key, 0):
            os.close(fd)
            self.drop_part(key)
            raise OSError(0, f"the part has {size} bytes")
        return fd

    def grew(self, key: str, count: int) -> None:
        """So many bytes were appended."""
        self._sizes[key] += count

    def drop_part(self, key: str) -> None:
        """It is of no use."""
        if key in self._sizes:
            self.part_gone(key)
            self._not_idle(key)
            del self._sizes[key]
            aside = f"{key}.{secrets.token_hex(4)}.gone"  # its name is free for another try
            with contextlib.suppress(OSError):
                self.part(key).rename(self.folder / aside)
                self.aside.append(aside)

    def _now_idle(self, key: str, since: float) -> None:
        self._idle[key] = since
        idle = self._owners.setdefault(key[:_OWNER], _Idle())
        idle.keys[key] = None
        idle.size += self._sizes[key]

    def _not_idle(self, key: str) -> None:
        if self._idle.pop(key, None) is not None:
            idle = self._owners[key[:_OWNER]]
            del idle.keys[key]
            idle.size -= self._sizes[key]
            if not idle.keys:
                del self._owners[key[:_OWNER]]

    # From part to waiting file.

    def room(self) -> int:
        """Bytes that a new file may have."""
        return max(0, shutil.disk_usage(self.folder).free - RESERVE)

    def new_name(self, key: str) -> str:
        """The name that `adopt` is to give a part, once it is right and synced."""
        return f"{key}.{secrets.token_hex(4)}"

    def adopt(self, blob: str) -> None:
        """The part has become a waiting file, by a command on disk. A rename that fails is made good by `open`, or by
        the next start; whoever is told of the file need not care."""
        key = blob.partition(".")[0]
        self._not_idle(key)
        if self._sizes.pop(key, None) is not None:
            self.part_gone(key)
        with contextlib.suppress(OSError):
            self.part(key).rename(self.folder / blob)

    # Waiting files.

    def open(self, blob: str) -> int:
        """A descriptor to read it from, for `close`. Raises OSError."""
        try:
            fd = os.open(self.folder / blob, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.adopt(blob)
            fd = os.open(self.folder / blob, os.O_RDONLY | os.O_CLOEXEC)
        self._readers[blob] = self._readers.get(blob, 0) + 1
        return fd

    def close(self, blob: str, fd: int) -> None:
        """The reader has ended."""
        os.close(fd)
        self._readers[blob] -= 1
        if not self._readers[blob]:
            del self._readers[blob]
            if blob in self._ended:
                self._ended.discard(blob)
                self.aside.append(blob)

    def unlink(self, blob: str) -> None:
        """Nobody needs it; a reader that has it open reads on."""
        if blob in self._readers:
            self._ended.add(blob)
        else:
            self.aside.append(blob)

    # Removing.

    def tidy(self, now: float) -> bool:
        """Removes a little of what is not needed; whether there is more."""
        until = perf_counter() + _TIDY
        while True:
            if self.aside:
                if _removed(self.folder / self.aside[0]):
                    self.aside.popleft()
            elif not self._expire(now):
                return False
            if perf_counter() >= until:
                return True

    def _expire(self, now: float) -> bool:
        """Puts the longest idle part aside if it is too old; whether it was."""
        key = next(iter(self._idle), None)
        if key is None or self._idle[key] > now - PART_LIFE:
            return False
        self.drop_part(key)
        return True


def _removed(path: Path) -> bool:
    """Takes a slice from the end of a file, or what is left of it; whether no more can be done."""
    with contextlib.suppress(OSError):
        size = path.stat().st_size
        if size > _SLICE:
            os.truncate(path, size - _SLICE)
            return False
        path.unlink()
    return True
