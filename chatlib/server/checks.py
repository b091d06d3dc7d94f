"""Checks of uploads: a child hashes their bytes as they come, and syncs them when all are there.

Must not know what the files are for, nor what follows. Legal order for a part: ``digest`` → ``start`` → the owner hears
``checked`` → ``start`` again or not → ``keep`` or ``forget``, at any time. Invariant: one task of a digest is under way
at a time; its answer is for whoever owns the digest when it comes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Protocol

from chatlib.reactor.loop import READ, Loop
from chatlib.storage.checker import AT_ONCE, Checked, Checker, Task
from chatlib.storage.child import ChildDied

BEHIND = 1 << 20  # bytes that the digest is behind until it is worth a task
KEPT = 1_000  # digests of parts whose uploads were cut; beyond, the oldest goes, and its part is read again
MOST = 4 << 20  # bytes of one task: nobody else's small file waits for longer
_GO_ON = Checked(0, False, b"")  # what somebody else started is done


class PartDigest:
    """How far a part is hashed: its first `upto` bytes have the digest `sha256`."""

    __slots__ = ("busy", "number", "owner", "sha256", "upto")

    def __init__(self, number: int) -> None:
        self.number = number  # under which the child knows it
        self.upto = 0
        self.sha256 = ""
        self.busy = False  # a task is under way
        self.owner: Checking | None = None  # who is told


class Checking(Protocol):
    """Whose file is being checked."""

    def checked(self, answer: Checked | None) -> None:
        """A task is done; None: it never will be."""

    def broken(self) -> None:
        """``checked`` has raised: a fault of ours, which costs this one and nobody else."""


class Checks:
    """One channel of the loop."""

    def __init__(
        self, loop: Loop, checker: Checker, tell: Callable[[str], None], folder: Path | None = None
    ) -> None:
        """`folder`: of the parts, whose names become durable with their bytes."""
        self._loop, self._checker, self._tell, self._folder = loop, checker, tell, folder
        self._under_way: deque[tuple[PartDigest, Task, Checking]] = deque()  # and who started it
        self._waiting: dict[PartDigest, None] = {}  # for their turn to have a task,
        self._next: PartDigest | None = None  # which this one has now
        self._kept: dict[str, PartDigest] = {}  # by part; those used last come last
        self._forgotten: deque[int] = deque()  # what the child may forget
        self._numbers = count(1)
        self._dead = False
        loop.watch(checker.fileno(), READ, self)

    # Between two uploads of one part.

    def digest(self, key: str, owner: Checking) -> PartDigest:
        """Of the part `key`: what is known of it in this run, or a new one."""
        digest = self._kept.pop(key, None) or PartDigest(next(self._numbers))
        digest.owner = owner
        return digest

    def keep(self, key: str, digest: PartDigest) -> None:
        """For when its upload goes on."""
        self._disown(digest)
        self._kept[key] = digest
        if len(self._kept) > KEPT:
            self.drop(next(iter(self._kept)))

    def drop(self, key: str) -> None:
        """The part is gone."""
        if key in self._kept:
            self.forget(self._kept.pop(key))

    def forget(self, digest: PartDigest) -> None:
        """Nobody will go on with it."""
        self._disown(digest)
        if digest.upto or digest.busy:
            self._forgotten.append(digest.number)

    def _disown(self, digest: PartDigest) -> None:
        digest.owner = None
        self._waiting.pop(digest, None)

    # A part that grows.

    def start(self, digest: PartDigest, fd: int, size: int, whole: bool, owner: Checking) -> None:
        """Goes on, towards `size` bytes; if that is all (`whole`), the last task syncs them too. Raises OSError.

        When the child has enough to do, the owner hears ``checked`` in its turn, and may start then.
        """
        if self._dead:
            owner.checked(None)
            return
        if len(self._under_way) == AT_ONCE or (self._waiting and digest is not self._next):
            self._waiting[digest] = None
            return
        length = min(size - digest.upto, MOST)
        forgotten = self._forgotten[0] if self._forgotten else 0
        task = Task(digest.number, digest.upto, length, whole and digest.upto + length == size, forgotten)
        try:
            self._hand_over(fd, task)
        except ChildDied:
            self._die()
            owner.checked(None)
            return
        if forgotten:
            self._forgotten.popleft()
        digest.busy = True
        self._under_way.append((digest, task, owner))

    def _hand_over(self, fd: int, task: Task) -> None:
        if not task.last or self._folder is None:
            self._checker.start(fd, task)
            return
        folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._checker.start(fd, task, folder)
        finally:
            os.close(folder)

    def readable(self) -> None:
        try:
            answer = self._checker.ready()
        except ChildDied:
            self._die()
            return
        try:
            self._answer(answer)
        finally:
            self._serve_waiting()

    def _answer(self, answer: Checked | None) -> None:
        digest, task, starter = self._under_way.popleft()
        digest.busy = False
        if answer is not None and (answer.at_sync or not answer.error):
            digest.upto, digest.sha256 = task.offset + task.length, answer.digest.hex()
        else:  # the child has nothing of it any more
            digest.number, digest.upto = next(self._numbers), 0
        _tell(digest, answer if answer is None or digest.owner is starter else _GO_ON)

    def _serve_waiting(self) -> None:
        while self._waiting and len(self._under_way) < AT_ONCE and not self._dead:
            digest = self._next = next(iter(self._waiting))
            del self._waiting[digest]
            try:
                _tell(digest, _GO_ON)
            finally:
                self._next = None

    def _die(self) -> None:
        """No more answers will come. The chat goes on."""
        self._dead = True
        self._loop.forget(self._checker.fileno(), self)
        self._tell("The child that checks files has died: until the server is started again, it takes no more files.")
        while self._under_way:
            self._answer(None)
        for digest in list(self._waiting):
            _tell(digest, None)

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...


def _tell(digest: PartDigest, answer: Checked | None) -> None:
    owner = digest.owner
    if owner is None:
        return
    try:
        owner.checked(answer)
    except Exception:
        owner.broken()
        raise
