"""Syncs files in a small forked child, so that the loop waits for a disk no more than for a network.

The child takes descriptors from a socket pair, a job at a time, and answers each job, in order, with the error number
and the seconds that it took; it ends when the pair is closed, however this process ended. It must be forked before
there are sockets to inherit. Must not know what is in the files.

A job may also be done in place, by this process: that saves waking the child and being woken by it, which on a fast
disk costs as much as the sync itself. It is done where the disk has been fast lately, and never while the child has
work. Each time a disk thought fast was slow in place, and held up the loop, it must be fast for longer before it is
trusted again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections import deque

_ANSWER = struct.Struct("=id")  # errno, seconds
_FDS = 8  # descriptors in one job, at most
AT_ONCE = 32  # jobs in the pipe at most, so that it never blocks; more wait here
FAST = 0.001  # seconds: a sync quicker than this may be called in place
TRUST = 4  # so many fast jobs in a row, and the next is done in place
_MOST = 1_024  # that many are wanted of a disk that is slow now and then
_FORGET = 4_096  # fast jobs in a row after which TRUST is enough again


def datasync(fd: int) -> None:
    """Makes a file's bytes durable (``fdatasync`` where there is one). Raises OSError."""
    getattr(os, "fdatasync", os.fsync)(fd)


class ChildDied(OSError):
    """The child is gone: no job is done any more."""


class Syncer:
    """Legal order: (``start``, and ``ready`` each time that `fileno` is readable)*; ``close`` at the end.

    Any number of jobs may be under way; they are done in the order of their starts.
    """

    def __init__(self, slow: float = 0.0, in_place: bool = True) -> None:
        """`slow`: seconds that each job takes longer, for tests with a disk that is not there.

        `in_place`: whether a job may be done by this process. Not for large files.
        """
        self._slow = slow
        self._in_place = in_place and not slow
        self._wanted = TRUST  # fast jobs in a row before one is done in place
        self._fast = 0  # in a row
        self._handed = 0  # jobs that the child has
        self._queue: deque[tuple[int, ...]] = deque()  # jobs that it will get
        self._pipe, child = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._pipe.close()
            _serve(child, slow)
        child.close()

    def fileno(self) -> int:
        """For the selector: readable when an answer has come."""
        return self._pipe.fileno()

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
            self._judge(time.perf_counter() - begun)
            return True
        self._queue.append(fds)
        self._hand_over()
        return False

    def _hand_over(self) -> None:
        while self._queue and self._handed < AT_ONCE:
            fds = self._queue.popleft()
            socket.send_fds(self._pipe, [b"s"], fds)
            self._handed += 1

    def ready(self) -> None:
        """Takes the answer to the oldest job under way, and waits for it where none has come.

        Raises OSError with what the disk said; ChildDied when no job will be answered any more.
        """
        try:
            answer = self._pipe.recv(_ANSWER.size, socket.MSG_WAITALL)
        except ConnectionError:
            answer = b""
        if len(answer) < _ANSWER.size:
            raise ChildDied("the syncing child has died")
        self._handed -= 1
        self._hand_over()
        error, seconds = _ANSWER.unpack(answer)
        if error:
            raise OSError(error, os.strerror(error))
        self._judge(seconds)

    def _judge(self, seconds: float) -> None:
        if seconds < FAST:
            self._fast += 1
            if self._fast >= _FORGET:
                self._wanted = TRUST
            return
        if self._fast >= self._wanted:
            self._wanted = min(4 * self._wanted, _MOST)
        self._fast = 0

    def close(self) -> None:
        """Ends the child, perhaps before it has done all that it was given."""
        with contextlib.suppress(OSError):
            self._pipe.shutdown(socket.SHUT_WR)  # another child of ours may have inherited this end
        self._pipe.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _serve(pipe: socket.socket, slow: float) -> None:
    # The terminal's keys reach the whole process group; this child ends with its parent, and stops for nobody.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    try:
        while True:
            _, fds, _, _ = socket.recv_fds(pipe, 1, _FDS)
            if not fds:
                break
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
    finally:
        os._exit(0)
