"""The terminal's modes: single keys (`RawTerminal`), or whole lines (`LineTerminal`, `LineReader`).

Must not know what is shown or typed. Invariants: the modes found at first are restored however the block is left;
keys typed before it are kept, and nothing is echoed from `__enter__` on until then, except as LineTerminal is told.
The modes are never changed in the background, where the terminal is another job's.

Signals stay with the caller, who owns the loop: SIGTSTP is to do what Ctrl+Z in the editor does (`suspend`), and
SIGCONT to call `enter` once more and draw again, since a shell may have changed the modes after a SIGSTOP.
A program in the background is stopped in `enter` until the shell gives it the terminal (``fg``), as all programs that
need theirs are. One that must run on (a server) ignores SIGTTOU: then `enter` answers False, and is to be tried again.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import signal
import termios
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

from chatlib.protocol.text import printable
from chatlib.reactor.terminal import in_foreground
from chatlib.terminal.editor import MAX_LENGTH, Action, ActionKind

Modes = list[Any]  # as termios gives them: iflag, oflag, cflag, lflag, ispeed, ospeed, cc
IFLAG, LFLAG, CC = 0, 3, 6


def moves_cursor(environ: Mapping[str, str]) -> bool:
    """Whether the terminal understands escape sequences, so that a Screen can be drawn on it."""
    return environ.get("TERM", "") not in ("", "dumb")


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


@contextlib.contextmanager
def _by_default(*numbers: signal.Signals) -> Iterator[None]:
    """The system's own way with these signals, for a while."""
    handlers = [(number, signal.signal(number, signal.SIG_DFL)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in handlers:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _uninterrupted(call: Callable[[], object]) -> None:
    """Carries `call` out although signals come; termios, unlike os, leaves that to its callers."""
    while True:
        try:
            call()
            return
        except termios.error as error:
            if error.args[0] != errno.EINTR:
                raise


class _Terminal:
    """Modes that hold from `enter` to `leave`; both may be called again."""

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._found: Modes | None = None

    @property
    def entered(self) -> bool:
        """Whether the modes hold."""
        return self._found is not None

    def _wanted(self, modes: Modes) -> None:
        raise NotImplementedError

    def enter(self) -> bool:
        """Sets the modes, in the background after ``fg``. False: the terminal is gone, or another job's for now."""
        if signal.getsignal(signal.SIGTTOU) == signal.SIG_IGN and not in_foreground(self._fd):
            return False
        try:
            with _by_default(signal.SIGCONT):
                # Here a program in the background is stopped: before it looks at the modes, which are the shell's.
                _uninterrupted(lambda: termios.tcdrain(self._fd))
                modes = termios.tcgetattr(self._fd)
                if self._found is None:
                    self._found = termios.tcgetattr(self._fd)
                self._wanted(modes)
                # TCSADRAIN, not TCSAFLUSH: what was typed while the program started is not lost.
                _uninterrupted(lambda: termios.tcsetattr(self._fd, termios.TCSADRAIN, modes))
        except termios.error:
            self._found = None
            return False
        return True

    def leave(self) -> None:
        """Restores the modes; in the background the shell has done so."""
        found, self._found = self._found, None
        if found is not None and in_foreground(self._fd):
            with contextlib.suppress(termios.error):  # the terminal itself may be gone
                _uninterrupted(lambda: termios.tcsetattr(self._fd, termios.TCSADRAIN, found))

    def suspend(self) -> bool:
        """Stops as Ctrl+Z does. Returns when the shell continues the job, with the answer of `enter`.

        SIGTSTP, not SIGSTOP, to the whole process group: so do terminals, and where no shell is there to continue
        it (the program of a tmux window, of ``ssh host client.py``) the kernel ignores it instead of stopping forever.
        """
        self.leave()
        with _by_default(signal.SIGTSTP, signal.SIGCONT):
            os.kill(0, signal.SIGTSTP)
            return self.enter()

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
        return [*self._lines(), Action(ActionKind.END)]

    def clear(self) -> None:
        """Nothing: a half-typed line is still the kernel's."""

    def drop(self) -> bool:
        """As Editor does: nothing is known here that could be taken back."""
        return False

    def _lines(self) -> Iterator[Action]:
        while self._ended:
            line = printable(self._ended.popleft().replace("\t", " "))
            yield Action(ActionKind.LINE, line[:MAX_LENGTH])
