"""The program for people as a process: as a script, in a pseudo-terminal, and under a shell with job control."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.patience import LIMIT

ROOT = Path(__file__).resolve().parents[2]
COLUMNS, ROWS = 500, 24  # so wide that no path of a test's is broken into two rows

INVITATION = "You can type now."
WELCOME = """\
Please enter your username: (or "register", "de-register", "quit")
Please enter your password:
Welcome to the Chatting room user "{0}"! Now you have successfully logged in!
"""


class Listening(Protocol):
    """A server, or what stands before it."""

    port: int


def environment(tmp_path: Path) -> dict[str, str]:
    own = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config"), "TERM": "xterm",
           "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}  # fmt: skip
    return {**os.environ, **own}


def until(condition: Callable[[], object]) -> None:
    """Waits for what another process does."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def command(server: Listening, *flags: str) -> list[str]:
    return [sys.executable, str(ROOT / "client.py"), "127.0.0.1", str(server.port), *flags]


def script(server: Listening, tmp_path: Path, lines: str, *flags: str) -> tuple[str, int]:
    """What the program says to these lines, and its exit status."""
    done = subprocess.run(
        command(server, *flags), input=lines, text=True, capture_output=True, timeout=LIMIT, env=environment(tmp_path)
    )
    assert done.stderr == ""
    return done.stdout, done.returncode


class Pseudo:
    """A process in a pseudo-terminal; `screen` is what it wrote since what was last waited for, `all` everything."""

    def __init__(self, words: list[str], tmp_path: Path, controls: bool, columns: int = COLUMNS) -> None:
        self.screen = self.all = self.last = ""
        self.plain = "--plain" in words
        self.fd, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self.found = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            words, stdin=self.slave, stdout=self.slave, stderr=self.slave, env=environment(tmp_path),
            start_new_session=True, close_fds=True, preexec_fn=_take_terminal if controls else None,
        )  # fmt: skip

    def types(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def shows(self, text: str, times: int = 1) -> None:
        """Waits until `text` was written that often since the last call."""
        deadline = time.monotonic() + LIMIT
        while self.screen.count(text) < times:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} is not shown: {self.screen!r}"
            self._read()
        self.screen = self.screen[self.screen.index(text) + len(text) :]

    def shows_like(self, pattern: str) -> None:
        """As shows; `last` is what matched."""
        deadline = time.monotonic() + LIMIT
        while (found := re.search(pattern, self.screen)) is None:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} is not shown: {self.screen!r}"
            self._read()
        self.last, self.screen = found[0], self.screen[found.end() :]

    def invites(self, prompt: str) -> None:
        """Waits until one can type: for the prompt, or where there are plain lines, for what stands for all of them."""
        self.shows(INVITATION if self.plain else prompt)

    def _read(self) -> None:
        said = os.read(self.fd, 65_536).decode(errors="replace")
        self.screen += said
        self.all += said

    def modes(self) -> list[object]:
        return termios.tcgetattr(self.slave)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(int(termios.tcgetattr(self.slave)[3]) & termios.ECHO)

    def ends(self) -> int:
        """The exit status; the terminal is as it was, and all that was written has been read."""
        deadline = time.monotonic() + LIMIT
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.screen
            if select.select([self.fd], [], [], 0.02)[0]:
                self._read()
        assert self.modes() == self.found
        self._read_to_the_end()
        return self.process.returncode

    def _read_to_the_end(self) -> None:
        os.close(self.slave)
        self.slave = -1
        with contextlib.suppress(OSError):  # the end of what a terminal says, once nobody has it open
            while True:
                self._read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for fd in (self.fd, self.slave):
            if fd >= 0:
                os.close(fd)


def _take_terminal() -> None:
    """In the child: standard input becomes the terminal that controls it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal(Pseudo):
    """The program in a pseudo-terminal."""

    def __init__(self, port: int, tmp_path: Path, *flags: str, columns: int = COLUMNS) -> None:
        self.port = port
        super().__init__(command(self, *flags), tmp_path, controls=False, columns=columns)

    def log_in(self, user: str) -> None:
        log_in(self, user)


class Shell(Pseudo):
    """A shell with job control, which starts the program as a person does."""

    PROMPT = "sh% "

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(["bash", "--norc", "--noprofile", "-i"], tmp_path, controls=True)
        # So built that the prompt does not stand in what the terminal echoes.
        self.types("bind 'set enable-bracketed-paste off'; PS1=sh%; PS1=$PS1' '\n")
        self.shows(self.PROMPT)

    def runs(self, line: str) -> None:
        """Types a command of the shell's, and waits until it is echoed."""
        self.plain |= "--plain" in line
        self.types(line + "\n")
        self.shows(line)

    def program(self, server: Listening, *flags: str) -> str:
        """How the program is started."""
        return " ".join(f"'{word}'" for word in command(server, *flags))

    def log_in(self, user: str) -> None:
        log_in(self, user)

    def close(self) -> None:
        if self.process.poll() is None:
            # What it has started hangs up with it, and is not left stopped.
            for group in self._groups():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
        super().close()

    def _groups(self) -> set[int]:
        """The process groups of the shell's session."""
        listed = subprocess.run(["ps", "-eo", "pgid=,sess="], capture_output=True, text=True, check=True).stdout
        found = (line.split() for line in listed.splitlines())
        return {int(group) for group, session in found if int(session) == self.process.pid}


def log_in(at: Pseudo, user: str) -> None:
    at.shows("Please enter your username:" if at.plain else ">> ")
    at.types(f"{user}\r")
    at.shows("Please enter your password:")
    at.types(f"{user}-password\r")
    at.invites(f"{user}> ")
