"""Hashes files while they grow, and syncs them at their ends, in a small forked child: a loop that did so itself would
move bytes half as fast, and would stand still for a slow disk.

The child keeps the digest of each file under a number, and gets tasks with the file's descriptor over a socket pair. It
answers each, in order. Must not know whose files they are.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import struct
import time
from functools import partial
from typing import Any, NamedTuple

from chatlib.storage.child import Child
from chatlib.storage.syncer import datasync

_TASK = struct.Struct("=QQQ?Q")
_ANSWER = struct.Struct("=i?32s")
AT_ONCE = 32  # tasks in the pipe at most, so that it never blocks
_PIECE = 256 << 10  # bytes read at once


class Task(NamedTuple):
    """The next `length` bytes of the file known as `number` are to be hashed, from `offset` on, where the last task for
    it ended (0: it is new). `last`: then the file is to be synced."""

    number: int
    offset: int
    length: int
    last: bool
    forgotten: int = 0  # another number, whose digest nobody needs any more


class Checked(NamedTuple):
    """The answer. `error`: 0, or why the file could not be read or (`at_sync`) not be synced."""

    error: int
    at_sync: bool  # it came as far as that
    digest: bytes  # of all that is hashed

    @property
    def synced(self) -> bool:
        """Nothing is left to do."""
        return self.at_sync and not self.error


def carry_out(hashers: dict[int, Any], fd: int, task: Task, folder: int = -1) -> Checked:
    """What the child does."""
    hashers.pop(task.forgotten, None)
    hasher = hashers.pop(task.number, None) if task.offset else hashlib.sha256()
    if hasher is None:
        return Checked(errno.ESTALE, False, b"")
    position, end = task.offset, task.offset + task.length
    try:
        while position < end:
            piece = os.pread(fd, min(_PIECE, end - position), position)
            if not piece:
                return Checked(errno.EIO, False, b"")  # somebody else has shortened it
            hasher.update(piece)
            position += len(piece)
    except OSError as error:
        return Checked(error.errno or errno.EIO, False, b"")
    hashers[task.number] = hasher
    return Checked(_sync(fd, folder) if task.last else 0, task.last, hasher.digest())


def _sync(fd: int, folder: int) -> int:
    try:
        datasync(fd)
        if folder >= 0:
            os.fsync(folder)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


class Checker(Child):
    """Legal order: (``start``, and ``ready`` each time that `fileno` is readable)*; ``close`` at the end.

    At most AT_ONCE tasks may be under way.
    """

    def __init__(self, slow: float = 0.0) -> None:
        """`slow`: seconds that each sync takes longer, for tests with a disk that is not there."""
        super().__init__("checking", partial(_serve, slow))

    def start(self, fd: int, task: Task, folder: int = -1) -> None:
        """`folder`: in which the file's name is to be durable, too, behind the last task. Both descriptors may be
        closed at once. Raises OSError; ChildDied."""
        self._send(_TASK.pack(*task), (fd,) if folder < 0 else (fd, folder))

    def ready(self) -> Checked:
        """The answer to the oldest task under way; waits for it where none has come. Raises ChildDied."""
        return Checked(*_ANSWER.unpack(self._receive(_ANSWER.size)))


def _serve(slow: float, pipe: socket.socket) -> None:
    hashers: dict[int, Any] = {}
    os.nice(19)  # whatever the loop has to do comes first
    while True:
        record, fds, _, _ = socket.recv_fds(pipe, _TASK.size, 2)
        if not fds:
            return
        task = Task(*_TASK.unpack(record))
        fd, *folder = fds
        answer = carry_out(hashers, fd, task, *folder)
        for each in fds:
            os.close(each)
        if slow and task.last:
            time.sleep(slow)
        pipe.sendall(_ANSWER.pack(*answer))
