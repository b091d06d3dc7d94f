"""One writer of a home at a time, and none that a dead server left running: ``data/writer.lock``.

A server forks children that write into its home, and a child may outlive its server. So each start gives the home a new
mark (`claim`), and a child that is about to write takes the lock first, then looks whether the mark is still its
server's (`held`), and keeps the lock while it writes. Whoever claims waits for the lock, too: from then on nothing
that an earlier server left running writes any more.

The file holds the mark, then the process that took the lock last and when it began. Where the system tells when a
process began (Linux), a start that finds the lock taken ends that very process: what it was writing holds whole or not
at all. Elsewhere a start waits for it, and refuses in the end. Legal order: ``claim`` once, by the server, which holds
the home's own lock → ``held`` in any forked child.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chatlib.storage.textfile import FileError

PATIENCE = 60.0  # seconds that a start waits for a process that it cannot be sure of
_AGAIN = 0.02  # seconds between two attempts
_MARK = 32  # characters


class WriterLock:
    """The lock of one home, as one server sees it."""

    def __init__(self, path: Path, say: Callable[[str], None] = lambda text: None) -> None:
        self._path, self._say = path, say
        self._mark = ""
        self._server = 0  # process
        self._waiting = False

    def claim(self, patience: float = PATIENCE) -> None:
        """The home is this process's. Raises FileError when somebody does not let go of it, OSError."""
        fd = self._lock(patience, self._end_leftover)
        try:
            self._server, self._mark = os.getpid(), secrets.token_hex(_MARK // 2)
            os.pwrite(fd, f"{self._mark}\n".encode(), 0)
            os.ftruncate(fd, _MARK + 1)
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """In a forked child, around all that it writes into the home. Raises InterruptedError when its server is gone.

        The lock is the process's, so it goes however the process ends.
        """
        fd = self._lock(PATIENCE, lambda fd: None)
        try:
            with contextlib.suppress(OSError):  # a full disk: who holds the lock is only for a later start
                os.pwrite(fd, f"{os.getpid()} {began(os.getpid())}\n".encode(), _MARK + 1)
            if not self.wanted() or os.pread(fd, _MARK, 0).decode(errors="replace") != self._mark:
                raise InterruptedError("the server that asked for it is gone")
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """The same around what the server itself writes into people's files, or another program beside it."""
        fd = self._lock(PATIENCE, lambda fd: None)
        try:
            yield
        finally:
            os.close(fd)

    def wanted(self) -> bool:
        """In a forked child: whether its server still lives."""
        return os.getppid() == self._server

    def _lock(self, patience: float, while_taken: Callable[[int], None]) -> int:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        try:
            while True:
                with contextlib.suppress(BlockingIOError, PermissionError):
                    # A POSIX lock: what this process forks does not hold it.
                    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return fd
                while_taken(fd)
                if time.monotonic() >= deadline:
                    raise FileError(f"{self._path.parent}: {_who(fd)} still writes here; wait for it, or end it")
                time.sleep(_AGAIN)
        except BaseException:
            os.close(fd)
            raise

    def _end_leftover(self, fd: int) -> None:
        """Kills the process that holds the lock, if that process and no other is meant. SIGKILL: it may be stopped."""
        pid, begun = _holder(fd)
        if not begun or begun != began(pid):
            if pid and not self._waiting:
                self._waiting = True
                self._say(f"Waiting for {_who(fd)} to end ...")
            return
        with contextlib.suppress(OSError, AttributeError):  # no such call here, or not ours to end: it is waited for
            handle = os.pidfd_open(pid)
            try:
                if began(pid) == begun:  # the handle means the process that is meant, whatever happens to its number
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    select.select([handle], [], [], PATIENCE)  # until it is gone
                    self._say(f"Process {pid}, which the last server had left at work, was ended.")
            finally:
                os.close(handle)


def _holder(fd: int) -> tuple[int, str]:
    """The process that took the lock last, and when it began; (0, "") when it has not said so (yet)."""
    words = os.pread(fd, 64, _MARK + 1).decode(errors="replace").split("\n")[0].split()
    if len(words) != 2 or not words[0].isdecimal():
        return int(words[0]) if words and words[0].isdecimal() else 0, ""
    return int(words[0]), words[1]


def _who(fd: int) -> str:
    pid, _ = _holder(fd)
    return f"process {pid}, which an earlier server left at work," if pid else "a process of an earlier server"


def began(pid: int) -> str:
    """When a process began, in ticks since the machine did; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
