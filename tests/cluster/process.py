"""A program of a trial: one process, by and by several, that is killed, paused and waited for.

It is killed, too, when whoever started it ends, however that is.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys

from tests.patience import LIMIT

_LIBC = ctypes.CDLL(None)


def dies_with_us() -> None:
    """In a child: it is killed when whoever started it ends."""
    if sys.platform == "linux":
        _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """`process`: the latest, which a class of its own starts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.paused = False

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def said(self) -> str:
        """What it printed, where that is kept."""
        return ""

    def kill(self) -> None:
        """As a power cut would: the process alone; its children notice by themselves."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
        self.paused = False

    def ended(self, patience: float = LIMIT) -> int:
        """Waits for its end; its status."""
        assert self.process
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not stop:\n{self.said()[-3_000:]}") from None

    def pause(self) -> None:
        """STOP: it is there, and does nothing."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def go_on(self) -> None:
        """CONT: after a pause."""
        assert self.process
        self.process.send_signal(signal.SIGCONT)
        self.paused = False
