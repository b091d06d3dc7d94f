"""The terminal's modes: single keys (`RawTerminal`), or whole lines (`LineTerminal`, `LineReader`).

Must not know what is shown or typed. Invariants: the modes found at first are restored however the block is left;
keys typed before it are kept, and nothing is echoed from `__enter__` on until then, except as LineTerminal is told.

Signals stay with the caller, who owns the loop: SIGTSTP is to do what Ctrl+Z in the editor does (`suspend`), and
SIGCONT to call `enter` once more and draw again, since a shell may have changed the modes after a SIGSTOP.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import termios
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from chatlib.protocol.text import printable
from chatlib.terminal.editor import MAX_LENGTH, Action, Kind

Modes = list[Any]  # as termios gives them: iflag, oflag, cflag, lflag, ispeed, ospeed, cc
IFLAG, LFLAG, CC = 0, 3, 6


def moves_cursor(environ: Mapping[str, str]) -> bool:
    """Whether the terminal understands escape sequences, so that a Screen can be drawn on it."""
    return environ.get("TERM", "") not in ("", "dumb")


def wants_colour(environ: Mapping[str, str]) -> bool:
    return not environ.get("NO_COLOR") and moves_cursor(environ)


def reflows(environ: Mapping[str, str]) -> bool:
    """Whether the terminal breaks its lines anew when it gets narrower, as nearly all do; others cut them off."""
    old = environ.get("TERM", "").startswith(("linux", "rxvt", "vt"))
    screen = environ.get("TERM", "").startswith("screen") and "TMUX" not in environ
    return not (old or screen or "XTERM_VERSION" in environ)


def window_size(fd: int) -> tuple[int, int]:
    """Columns and rows; 80 by 24 where a terminal (a serial line) does not know."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        columns, rows = 0, 0
    return columns or 80, rows or 24


class _Terminal:
    """Modes that hold from `enter` to `leave`; both may be called again."""

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._found: Modes | None = None

    def _wanted(self, modes: Modes) -> None:
        raise NotImplementedError

    def enter(self) -> None:
        modes = termios.tcgetattr(self._fd)
        if self._found is None:
            self._found = termios.tcgetattr(self._fd)
        self._wanted(modes)
        # TCSADRAIN, not TCSAFLUSH: what was typed while the program started is not lost.
        termios.tcsetattr(self._fd, termios.TCSADRAIN, modes)

    def leave(self) -> None:
        if self._found is not None:
            with contextlib.suppress(termios.error):  # the terminal itself may be gone
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._found)
            self._found = None

    def suspend(self) -> None:
        """Stop as Ctrl+Z does; returns, with the modes set again, when the shell continues the job.

        SIGTSTP, not SIGSTOP, to the whole process group: so do terminals, and where no shell is there to continue
        it (the program of a tmux window, of ``ssh host client.py``) the kernel ignores it instead of stopping forever.
        """
        self.leave()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        try:
            os.kill(0, signal.SIGTSTP)
        finally:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL if handler is None else handler)
            self.enter()

    def __enter__(self) -> Any:
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()


class RawTerminal(_Terminal):
    """Every key comes as it is, also Ctrl+C, Ctrl+Z and Ctrl+S, in order with the text around it."""

    def _wanted(self, modes: Modes) -> None:
        modes[IFLAG] &= ~(termios.BRKINT | termios.ICRNL | termios.INLCR | termios.IGNCR)
        modes[IFLAG] &= ~(termios.ISTRIP | termios.IXON)
        modes[LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        modes[CC][termios.VMIN] = 1
        modes[CC][termios.VTIME] = 0
        # Output stays processed (OPOST): a traceback printed meanwhile is no staircase.


class LineTerminal(_Terminal):
    """The kernel's own line editing, with the echo off while a password is typed."""

    def __init__(self, fd: int = 0) -> None:
        super().__init__(fd)
        self._echo = True

    def echo(self, on: bool) -> None:
        self._echo = on
        if self._found is not None:
            self.enter()

    def _wanted(self, modes: Modes) -> None:
        if self._echo:
            modes[LFLAG] |= termios.ECHO
        else:
            modes[LFLAG] &= ~termios.ECHO
        modes[LFLAG] |= termios.ECHONL  # Enter moves to the next line either way


class LineReader:
    """Stands in for an Editor where input comes in lines: a pipe, a file, a terminal in LineTerminal."""

    def __init__(self) -> None:
        self.secret = False
        self.history: list[str] = []
        self.keep_history = False  # there are no arrow keys to recall a line with
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ended: deque[str] = deque()
        self._begun = ""

    def feed(self, data: bytes) -> Iterator[Action]:
        """The lines that `data` ends. What is not taken from the iterator waits for the next call."""
        *lines, begun = (self._begun + self._decoder.decode(data)).split("\n")
        self._begun = begun[:MAX_LENGTH]
        self._ended.extend(lines)
        return self._lines()

    def finish(self) -> list[Action]:
        """The end of input: a last line needs no newline."""
        if self._begun:
            self._ended.append(self._begun)
            self._begun = ""
        return [*self._lines(), Action(Kind.END)]

    def clear(self) -> None:
        """Nothing: a half-typed line is still the kernel's."""

    def _lines(self) -> Iterator[Action]:
        while self._ended:
            line = printable(self._ended.popleft().replace("\t", " "))
            yield Action(Kind.LINE, line[:MAX_LENGTH])
