"""Syncs files in a small forked child, so that the loop waits for a disk no more than for a network.

The child takes descriptors from a socket pair and answers each, in order, with the error number and the seconds that it
took; it ends when the pair is closed, however this process ended. It must be forked before there are sockets to
inherit. Must not know what is in the files.
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
FAST = 0.001  # seconds: a sync quicker than this may be called in place
_TRUST = 4  # so many fast syncs in a row, and the next is called in place


def datasync(fd: int) -> None:
    """Makes a file's bytes durable (``fdatasync`` where there is one). Raises OSError."""
    getattr(os, "fdatasync", os.fsync)(fd)


class Syncer:
    """Legal order: (``start``, then ``ready`` when `fileno` is readable)*, one sync at a time; ``close`` at the end."""

    def __init__(self, slow: float = 0.0) -> None:
        """`slow`: seconds that each sync takes longer, for tests with a disk that is not there."""
        self._slow = slow
        self._fast_in_a_row = 0
        self._waiting: deque[None] = deque()
        self._pipe, child = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._pipe.close()
            _serve(child, slow)
        child.close()

    def fileno(self) -> int:
        """For the selector: readable when an answer has come."""
        return self._pipe.fileno()

    def start(self, *fds: int) -> bool:
        """Syncs `fds` in order. True: done in place; False: `ready` will say when. Raises OSError."""
        if self._fast_in_a_row >= _TRUST:
            begun = time.perf_counter()
            for fd in fds:
                datasync(fd)
            self._judge(time.perf_counter() - begun)
            return True
        for fd in fds:
            socket.send_fds(self._pipe, [b"s"], [fd])
            self._waiting.append(None)
        return False

    def ready(self) -> bool:
        """Takes one answer; True when no more are expected. Raises OSError with what the disk said."""
        answer = self._pipe.recv(_ANSWER.size, socket.MSG_WAITALL)
        if len(answer) < _ANSWER.size:
            raise OSError("the syncing child has died")
        error, seconds = _ANSWER.unpack(answer)
        if error:
            raise OSError(error, os.strerror(error))
        self._waiting.popleft()
        self._judge(seconds)
        return not self._waiting

    def _judge(self, seconds: float) -> None:
        self._fast_in_a_row = self._fast_in_a_row + 1 if seconds < FAST and not self._slow else 0

    def close(self) -> None:
        """Ends the child."""
        self._pipe.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _serve(pipe: socket.socket, slow: float) -> None:
    # The terminal's keys reach the whole process group; this child ends with its parent, and stops for nobody.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    try:
        while True:
            _, fds, _, _ = socket.recv_fds(pipe, 1, 1)
            if not fds:
                break
            begun = time.perf_counter()
            error = 0
            try:
                datasync(fds[0])
            except OSError as failure:
                error = failure.errno or 1
            os.close(fds[0])
            if slow:
                time.sleep(slow)
            pipe.sendall(_ANSWER.pack(error, time.perf_counter() - begun))
    finally:
        os._exit(0)
