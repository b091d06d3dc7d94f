"""Syncs files in a child, a job at a time; each is answered with the error number and the seconds that it took.

Must not know what is in the files.

A job may also be done in place, by this process. That saves waking the child and being woken by it, which costs as much
as a sync of a fast disk. It is done while the disk is fast, and never while the child has work. Each time the disk is
slow in place, and so holds up the loop, it must be fast for longer before it is trusted again.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from chatlib.storage.child import Child

_ANSWER = struct.Struct("=id")  # errno, seconds
_FDS = 8  # descriptors in one job, at most
AT_ONCE = 32  # jobs in the pipe at most, so that it never blocks; more wait here
FAST = 0.001  # seconds: a sync quicker than this may be called in place
TRUST = 4  # so many fast jobs in a row, and the next is done in place
_MOST = 16  # that many are wanted of a disk that is slow now and then: more would split the ticks of a busy server
_FORGET = 4_096  # fast jobs in a row after which TRUST is enough again


def datasync(fd: int) -> None:
    """Makes a file's bytes durable (``fdatasync`` where there is one). Raises OSError."""
    getattr(os, "fdatasync", os.fsync)(fd)


class Syncer(Child):
    """Legal order: (``start``, and ``ready`` each time that `fileno` is readable)*; ``close`` at the end.

    Any number of jobs may be under way; they are done in the order of their starts.
    """

    def __init__(self, slow: float = 0.0) -> None:
        """`slow`: seconds that each job takes longer, for tests with a disk that is not there."""
        super().__init__("syncing", partial(_serve, slow))
        self._in_place = not slow
        self._wanted = TRUST  # fast jobs in a row before one is done in place
        self._fast = 0  # in a row
        self._handed = 0  # jobs that the child has
        self._queue: deque[tuple[int, ...]] = deque()  # jobs that it will get
        self.took: Callable[[float, bool], None] = lambda seconds, in_place: None  # is told how long each job took

    @property
    def under_way(self) -> int:
        """Jobs that were started, and that `ready` has not been told of."""
        return self._handed + len(self._queue)

    def start(self, *fds: int) -> bool:
        """A job: syncs `fds` in order. True: done in place; False: `ready` will say when. Raises OSError.

        The descriptors must stay open until it is done.
        """
        if self._fast >= self._wanted and self._in_place and not self._handed:
            begun = time.perf_counter()
            for fd in fds:
                datasync(fd)
            self._judge(time.perf_counter() - begun, True)
            return True
        self._queue.append(fds)
        self._hand_over()
        return False

    def _hand_over(self) -> None:
        while self._queue and self._handed < AT_ONCE:
            fds = self._queue.popleft()
            self._send(b"s", fds)
            self._handed += 1

    def ready(self) -> None:
        """Takes the answer to the oldest job under way, and waits for it where none has come.

        Raises OSError with what the disk said; ChildDied when no job will be answered any more.
        """
        answer = self._receive(_ANSWER.size)
        self._handed -= 1
        self._hand_over()
        error, seconds = _ANSWER.unpack(answer)
        if error:
            raise OSError(error, os.strerror(error))
        self._judge(seconds, False)

    def _judge(self, seconds: float, in_place: bool) -> None:
        self.took(seconds, in_place)
        if seconds < FAST:
            self._fast += 1
            if self._fast >= _FORGET:
                self._wanted = TRUST
            return
        if self._fast >= self._wanted:
            self._wanted = min(4 * self._wanted, _MOST)
        self._fast = 0


def _serve(slow: float, pipe: socket.socket) -> None:
    while True:
        _, fds, _, _ = socket.recv_fds(pipe, 1, _FDS)
        if not fds:
            return
        begun = time.perf_counter()
        error = 0
        try:
            for fd in fds:
                datasync(fd)
        except OSError as failure:
            error = failure.errno or 1
        for fd in fds:
            os.close(fd)
        if slow:
            time.sleep(slow)
        pipe.sendall(_ANSWER.pack(error, time.perf_counter() - begun))
