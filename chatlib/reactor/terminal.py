"""Standard input and output as channels: lines in from whatever standard input is, text out that never blocks.

Standard input may be a terminal, a pipe, a plain file, ``/dev/null``, or closed. Must not know what a line means.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable

from chatlib.reactor.loop import READ, Loop

_PIECE = 512  # bytes written at once: what a pipe that polls as writable takes whole (POSIX's least PIPE_BUF)
_LIMIT = 1 << 20  # bytes kept for a reader who does not read
_RETRY = 0.5  # seconds until a terminal that belongs to another job is tried again


class Keyboard:
    """Lines of standard input, to `line`; its end, to `ended`, once."""

    def __init__(self, loop: Loop, line: Callable[[str], None], ended: Callable[[], None], fd: int = 0) -> None:
        self._loop, self._line, self._ended, self._fd = loop, line, ended, fd
        self._rest = b""
        self._lines: list[str] = []  # complete, and not yet handed out
        self._at_end = False
        self._plain_file = False
        # In the background of a terminal, reading would stop the process; it fails instead, and is tried again.
        for number in (signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)
        try:
            loop.watch(fd, READ, self)
        except PermissionError:  # a plain file or /dev/null: always ready, and no selector takes it
            self._plain_file = True
            loop.again(self)
        except (OSError, ValueError):  # closed
            ended()

    def readable(self) -> None:
        try:
            data = os.read(self._fd, 65_536)
        except BlockingIOError:
            return
        except OSError:
            self._pause()
            return
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[-65_536:]
        if not data and self._rest:
            lines, self._rest = [self._rest], b""
        self._lines += [line.decode(errors="replace").rstrip("\r") for line in lines]
        self._at_end = not data
        self._hand_out()

    def _hand_out(self) -> None:
        while self._lines:
            self._line(self._lines.pop(0))
        if self._at_end:
            self._plain_file = False
            self._loop.forget(self._fd, self)
            self._ended()
        elif self._plain_file:
            self._loop.again(self)

    def _pause(self) -> None:
        self._loop.change(self._fd, 0, self)
        if os.isatty(self._fd):
            self._loop.call_later(_RETRY, lambda: self._loop.change(self._fd, READ, self))
        else:
            self._ended()

    def again(self) -> None:
        if self._lines or self._at_end:
            self._hand_out()
        else:
            self.readable()

    def writable(self) -> None: ...

    def broken(self) -> None:
        """A fault of ours in carrying a line out costs no other line."""
        if self._lines or self._plain_file:
            self._loop.again(self)


class Printer:
    """Text for standard output. Waits in memory, up to a limit, while nobody reads it; never blocks the loop."""

    def __init__(self, loop: Loop, fd: int = 1) -> None:
        self._loop, self._fd = loop, fd
        self._waiting = bytearray()
        self._dropped = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._retrying = False

    def write(self, text: str) -> None:
        """Adds `text`; flush sends it."""
        data = text.encode(errors="backslashreplace")
        if len(self._waiting) + len(data) > _LIMIT:
            self._dropped += 1
            return
        if self._dropped:
            data = b"(%d lines were dropped: nobody read them)\n" % self._dropped + data
            self._dropped = 0
        self._waiting += data

    def flush(self) -> None:
        """Writes as much as is taken without waiting. A reader who is gone costs the text, nothing else."""
        while self._waiting:
            try:
                if not self._poll.poll(0):
                    break
                written = os.write(self._fd, self._waiting[:_PIECE])
            except BlockingIOError:
                break
            except OSError:
                self._waiting.clear()
                break
            del self._waiting[:written]
        if self._waiting and not self._retrying:
            self._retrying = True
            self._loop.call_later(0.1, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        self.flush()

    def close(self, patience: float = 1.0) -> None:
        """Writes the rest, waiting at most `patience` seconds for a reader."""
        with contextlib.suppress(OSError):
            while self._waiting and self._poll.poll(int(patience * 1_000)):
                del self._waiting[: os.write(self._fd, self._waiting[:_PIECE])]
