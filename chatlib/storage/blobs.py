"""Bytes of waiting files, ``data/files/``, under names the server chose.

A part (``KEY.part``) grows while it is uploaded, and outlives crashes, so that an upload can go on; when it is whole,
right and synced, `adopt` gives it its final name (``KEY.XXXX``, never used twice). All parts are known in memory, so
that no request looks at the disk for them. A part is *held* while an upload may go on with it, otherwise *idle*: idle
ones go after PART_LIFE, and the longest idle of an owner as soon as that owner has too many. Time is the loop's, not
the calendar's. What is not needed is only put aside at once; `tidy` removes it, a little in each tick.

Must not know whose file it is: the first third of a key stands for the owner, the second for whom it is. When either of
them is gone, the part goes, too (`parts_of`, `give_up`). Legal order: built → ``take_stock`` → everything else.

Several servers may share one world (`shared`). Then a command may make a file visible whose bytes came to another one.
Only a part that this server has named becomes that file, since another with its key may be half of it. What is not here
is fetched when it is wanted (``coming``, ``came``). There, ``adopt`` and ``unlink`` may come before ``take_stock``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from time import perf_counter

PART_LIFE = 86_400.0  # seconds that a part waits for its upload to go on
GRACE = 3_600.0  # of these at least after each start, whatever the calendar says: it may have been set
IDLE_PARTS = 100  # of one owner
RESERVE = 64 << 20  # bytes of disk that files leave for everything else
_THIRD = 16  # characters of a key: of its owner, of whom it is for, and of all that tells it from others
_BURST = 32  # parts of one owner put aside at once; the next time, more
_TIDY = 0.001  # seconds of removing in one tick, about
_SLICE = 4 << 20  # bytes that a file loses at a time: a disk takes long to remove a large one
_ADOPTED = re.compile("[0-9a-f]{48}[.][0-9a-f]{8}")


def part_key(owner: str, *identity: str) -> str:
    """The name of the part for an upload of `owner`'s with that identity (receiver, name, size, digest)."""
    return _third(owner) + _third(*identity[:1]) + _third(owner, *identity)


def _third(*words: str) -> str:
    return _digest(*words)[:_THIRD]


def _thirds(key: str) -> tuple[str, str]:
    """The owner's, and that of whom it is for."""
    return key[:_THIRD], key[_THIRD : 2 * _THIRD]


def is_adopted(name: str) -> bool:
    """Whether this is the name of the bytes of a waiting file."""
    return _ADOPTED.fullmatch(name) is not None


def part_of(folder: Path, blob: str) -> Path:
    """What `blob` was before it was adopted."""
    return folder / f"{blob.partition('.')[0]}.part"


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
        self._of: dict[str, dict[str, None]] = {}  # parts by their owner, and by whom they are for
        self._given_up: set[str] = set()  # held parts whose owner, or whom they were for, is gone
        self.part_gone: Callable[[str], None] = lambda key: None  # told whoever remembers something of that part
        self._readers: dict[str, int] = {}  # of blobs that are being read
        self._ended: set[str] = set()  # those of them that nobody needs afterwards
        self.aside: deque[str] = deque()  # names of what `tidy` removes
        self.shared = False
        self._named: dict[str, str] = {}  # by part: the name that it is to get
        folder.mkdir(mode=0o700, exist_ok=True)

    def take_stock(
        self, wanted: Collection[str], now: float, wall: float, undo: bool = False,
        parties: Callable[[], Iterable[str]] | None = None,
    ) -> None:  # fmt: skip
        """At start: adopts what a crash left, and puts aside what no waiting file needs. `wanted`: their blobs.

        `parties`: of whom and for whom there may be parts; None: all stay.
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
        there = {_third(party) for party in parties()} if found and parties else None
        for touched, key, size in sorted(found):
            if there is not None and not there.issuperset(_thirds(key)):
                self.aside.append(f"{key}.part")
                continue
            self._comes(key, size)
            age = min(max(0.0, wall - touched), PART_LIFE - GRACE)
            self._now_idle(key, now - age)
        parts = {key for _, key, _ in found} if not self.shared else ()
        for blob in missing:
            if blob.partition(".")[0] in parts:
                self._rename(blob)

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
        if key in self._given_up:
            self.drop_part(key)
            return
        idle = self._owners[key[:_THIRD]]
        for _ in range(_BURST):
            if len(idle.keys) <= IDLE_PARTS and idle.size <= quota:
                return
            self.drop_part(next(iter(idle.keys)))

    def open_part(self, key: str) -> int:
        """A descriptor to append to a held part, and to read it. Raises OSError: also when it is not what it was."""
        fd = os.open(self.part(key), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(fd).st_size
        if key not in self._sizes:
            self._comes(key, 0)
        if size != self._sizes[key]:
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
            self._goes(key)
            self._named.pop(key, None)
            aside = f"{key}.{secrets.token_hex(4)}.gone"  # its name is free for another try
            with contextlib.suppress(OSError):
                self.part(key).rename(self.folder / aside)
                self.aside.append(aside)

    def parts_of(self, party: str) -> list[str]:
        """The keys of all parts of `party`'s, or for it."""
        return list(self._of.get(_third(party), ()))

    def give_up(self, key: str) -> None:
        """Its owner, or whom it was for, is gone; a held part goes when it is let go."""
        if key in self._idle:
            self.drop_part(key)
        elif key in self._sizes:
            self._given_up.add(key)

    def _comes(self, key: str, size: int) -> None:
        self._sizes[key] = size
        for third in _thirds(key):
            self._of.setdefault(third, {})[key] = None

    def _goes(self, key: str) -> None:
        del self._sizes[key]
        self._given_up.discard(key)
        for third in {*_thirds(key)}:
            del self._of[third][key]
            if not self._of[third]:
                del self._of[third]

    def _now_idle(self, key: str, since: float) -> None:
        self._idle[key] = since
        idle = self._owners.setdefault(key[:_THIRD], _Idle())
        idle.keys[key] = None
        idle.size += self._sizes[key]

    def _not_idle(self, key: str) -> None:
        if self._idle.pop(key, None) is not None:
            idle = self._owners[key[:_THIRD]]
            del idle.keys[key]
            idle.size -= self._sizes[key]
            if not idle.keys:
                del self._owners[key[:_THIRD]]

    # From part to waiting file.

    def room(self) -> int:
        """Bytes that a new file may have."""
        return max(0, shutil.disk_usage(self.folder).free - RESERVE)

    def new_name(self, key: str) -> str:
        """The name that `adopt` is to give a part, once it is right and synced."""
        name = self._named[key] = f"{key}.{secrets.token_hex(4)}"
        return name

    def adopt(self, blob: str) -> None:
        """The part has become a waiting file, by a command on disk. A rename that fails is made good by `open`, or by
        the next start; whoever is told of the file need not care."""
        key = blob.partition(".")[0]
        if self._named.get(key) == blob:
            del self._named[key]
        elif self.shared:
            return
        self._rename(blob)

    def _rename(self, blob: str) -> None:
        key = blob.partition(".")[0]
        self._not_idle(key)
        if key in self._sizes:
            self._goes(key)
            self.part_gone(key)
        with contextlib.suppress(OSError):
            self.part(key).rename(self.folder / blob)

    # Waiting files.

    def open(self, blob: str) -> int:
        """A descriptor to read it from, for `close`. Raises OSError."""
        try:
            fd = os.open(self.folder / blob, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self.shared:
                raise
            self._rename(blob)
            fd = os.open(self.folder / blob, os.O_RDONLY | os.O_CLOEXEC)
        self._readers[blob] = self._readers.get(blob, 0) + 1
        return fd

    def close(self, blob: str, fd: int) -> None:
        """The reader has ended."""
        os.close(fd)
        self.done_with(blob)

    def coming(self, blob: str) -> int:
        """A descriptor to write the bytes of a waiting file to, which are not here yet. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.open(self.folder / f"{blob}.coming", flags, 0o600)
        self._readers[blob] = self._readers.get(blob, 0) + 1  # perhaps nobody needs it when it is here
        return fd

    def came(self, blob: str, whole: bool) -> None:
        """The bytes are here, right and synced; or they will not come. Whoever waits for them opens them before
        ``done_with``. Raises OSError."""
        name = blob if whole else f"{blob}.{secrets.token_hex(4)}.gone"
        os.rename(self.folder / f"{blob}.coming", self.folder / name)
        if not whole:
            self.aside.append(name)

    def done_with(self, blob: str) -> None:
        """One who read it, or brought it, has ended."""
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

    def clear_away(self) -> None:
        """Removes at once what is put aside: in a child, or at the end."""
        for name in self.aside:
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()

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
