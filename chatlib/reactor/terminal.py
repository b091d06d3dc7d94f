"""Standard input and output as channels: bytes in from whatever standard input is, text out that never blocks.

Standard input may be a terminal, a pipe, a plain file, ``/dev/null``, or closed. Must not know what the bytes mean.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable
from typing import Protocol

from chatlib.reactor.loop import READ, Loop

_PIECE = 512  # bytes that a pipe that polls as writable takes whole (POSIX's least PIPE_BUF)
_AT_ONCE = 65_536  # bytes for a descriptor that does not block
_RETRY = 0.1  # seconds until a reader who does not read is tried again


def is_terminal(fd: int) -> bool:
    """Whether `fd` is a terminal that is still there."""
    try:
        return os.isatty(fd) and not _hung_up(fd)
    except OSError:
        return False


def _hung_up(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))  # some cannot be polled


def in_foreground(fd: int) -> bool:
    """Whether this program is the terminal's current job; also where the terminal knows nothing of jobs."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True  # not the terminal that controls this program, or gone


class InputReceiver(Protocol):
    """Whoever hears what is typed. All but ``typed`` and ``proceed`` are told once, or once for each ``start``."""

    def typed(self, data: bytes) -> None: ...

    def proceed(self) -> None:
        """A fault broke the last call off, or ``wake`` was called: what is left of the bytes."""

    def end_typed(self) -> None:
        """Ctrl+D, from a terminal that gives lines. More may come."""

    def ended(self) -> None:
        """The end of a pipe or file."""

    def taken_away(self) -> None:
        """The terminal is another job's for now: ``start`` when it is not."""

    def hung_up(self) -> None:
        """The terminal is gone."""


class Input:
    """The bytes of standard input. Legal order: (``start``, ``pause``)*; nothing is read while it is paused."""

    def __init__(self, loop: Loop, receiver: InputReceiver, fd: int = 0) -> None:
        self._loop, self._receiver, self._fd = loop, receiver, fd
        self._is_terminal = is_terminal(fd)
        self._plain_file = False
        self._woken = False

    def start(self) -> None:
        """Reads, or says at once that there is nothing to read."""
        try:
            self._loop.change(self._fd, READ, self)
        except PermissionError:  # a plain file or /dev/null: always ready, and no selector takes it
            self._plain_file = True
            self._loop.again(self)
        except (OSError, ValueError):  # closed
            self._receiver.ended()

    def pause(self) -> None:
        """Leaves it to the system to keep what is typed."""
        self._plain_file = False
        self._loop.forget(self._fd, self)

    def wake(self) -> None:
        """Has ``proceed`` called in the next tick."""
        self._woken = True
        self._loop.again(self)

    def readable(self) -> None:
        if self._is_terminal and not in_foreground(self._fd):
            self.pause()  # what is typed is another job's
            self._receiver.taken_away()
            return
        failed = False
        try:
            data = os.read(self._fd, 65_536)
        except BlockingIOError:
            return
        except OSError:
            data, failed = b"", True
        if data:
            self._receiver.typed(data)
        elif not self._is_terminal:
            self.pause()
            self._receiver.ended()
        elif not is_terminal(self._fd):
            self.pause()
            self._receiver.hung_up()
        elif failed:
            self.pause()
            self._receiver.taken_away()
        else:
            self._receiver.end_typed()
        if self._plain_file:
            self._loop.again(self)

    def again(self) -> None:
        if self._woken:
            self._woken = False
            self._receiver.proceed()
        if self._plain_file:
            self.readable()

    def writable(self) -> None: ...

    def broken(self) -> None:
        """A fault of ours in carrying out what was typed costs nothing of what was typed after it."""
        self.wake()


class Printer:
    """Text for standard output. Waits in memory while nobody reads it; never blocks the loop.

    Whoever writes looks at `idle` first, and keeps back what is not worth the memory. `failure` says why the last text
    was not taken, and never will be.
    """

    def __init__(self, loop: Loop, fd: int = 1, encoding: str = "utf-8") -> None:
        self.failure: OSError | None = None
        self._loop, self._encoding = loop, encoding
        self._fd, self._piece = _unblocked(fd)
        self._waiting = bytearray()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._retrying = False

    @property
    def idle(self) -> bool:
        """Whether all that was written has been taken."""
        return not self._waiting

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return len(self._waiting)

    def write(self, text: str) -> None:
        """Adds `text`; flush sends it."""
        self._waiting += text.encode(self._encoding, "backslashreplace")

    def flush(self) -> None:
        """Writes as much as is taken without waiting. A reader who is gone costs the text, nothing else."""
        self._write_some(lambda: bool(self._poll.poll(0)))
        if self._waiting and not self._retrying:
            self._retrying = True
            self._loop.call_later(_RETRY, self._retry)

    def _write_some(self, may: Callable[[], bool]) -> None:
        try:
            while self._waiting and may():
                del self._waiting[: os.write(self._fd, self._waiting[: self._piece])]
        except BlockingIOError:
            return
        except OSError as failure:
            self.failure = failure
            self._waiting.clear()

    def _retry(self) -> None:
        self._retrying = False
        self.flush()

    def finish(self, patience: float = 1.0) -> None:
        """Writes the rest, waiting at most `patience` seconds for a reader; what nobody takes is dropped."""
        with contextlib.suppress(OSError):
            self._write_some(lambda: bool(self._poll.poll(int(patience * 1_000))))
        self._waiting.clear()


def _unblocked(fd: int) -> tuple[int, int]:
    """What to write to instead of `fd`, and how many bytes at once so that no write waits.

    A terminal that says it is ready may take a byte and wait for the rest; and O_NONBLOCK would hold for every program
    that shares `fd`. So a terminal is opened once more.
    """
    if not is_terminal(fd):
        return fd, _PIECE
    try:
        return os.open(os.ttyname(fd), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC), _AT_ONCE
    except OSError:
        return fd, 1
