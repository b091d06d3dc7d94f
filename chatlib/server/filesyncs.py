"""Syncs of files that have arrived: any number under way, through a syncer of their own, so that a large file's sync
never stands before the journal's.

Must not know what is in the files, nor what follows. Legal order: built → ``start*`` → ``close``; whoever starts a sync
hears ``synced`` once, in the order of the starts. Invariant: what is being synced stays open, whoever closes it
meanwhile.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Protocol

from chatlib.reactor.loop import READ, Loop
from chatlib.storage.syncer import ChildDied, Syncer


class Syncing(Protocol):
    """Whose file is being synced."""

    def synced(self, error: OSError | None) -> None:
        """It is durable; or `error` is what the disk said (ChildDied: the disk was not asked)."""

    def broken(self) -> None:
        """``synced`` has raised: a fault of ours, which costs this one and nobody else."""


class FileSyncs:
    """One channel of the loop."""

    def __init__(self, loop: Loop, syncer: Syncer, tell: Callable[[str], None]) -> None:
        self._loop, self._syncer, self._tell = loop, syncer, tell
        self._under_way: deque[tuple[int, Syncing]] = deque()  # descriptors of ours, and who waits; the oldest first
        self._dead = False
        loop.watch(syncer.fileno(), READ, self)

    def start(self, fd: int, whose: Syncing) -> None:
        """Makes what `fd` has durable. Raises OSError when there is no descriptor to be had."""
        ours = os.dup(fd)
        if self._dead:
            self._answer(ours, whose, ChildDied("the child that syncs files has died"))
            return
        try:
            in_place = self._syncer.start(ours)
        except ConnectionError:
            self._under_way.append((ours, whose))
            self._die()
        except OSError as error:
            self._answer(ours, whose, error)
        else:
            if in_place:
                self._answer(ours, whose, None)
            else:
                self._under_way.append((ours, whose))

    def _answer(self, ours: int, whose: Syncing, error: OSError | None) -> None:
        os.close(ours)
        try:
            whose.synced(error)
        except Exception:
            whose.broken()
            raise

    def readable(self) -> None:
        error: OSError | None = None
        try:
            self._syncer.ready()
        except ChildDied:
            self._die()
            return
        except OSError as said:
            error = said
        self._answer(*self._under_way.popleft(), error)

    def _die(self) -> None:
        """No more answers will come. The chat goes on."""
        self._dead = True
        self._loop.forget(self._syncer.fileno(), self)
        self._tell("The child that syncs files has died: until the server is started again, it takes no more files.")
        while self._under_way:
            self._answer(*self._under_way.popleft(), ChildDied("the child that syncs files has died"))

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...

    def close(self) -> None:
        """Nobody hears of what is under way."""
        self._loop.forget(self._syncer.fileno(), self)
        while self._under_way:
            os.close(self._under_way.popleft()[0])
