"""The server program, begun by a fork of this process: `server.main` with everything imported, in a tenth of the time.

Only what comes before the first line of `main` is missing: an interpreter that starts and reads modules, and touches no
file of a home. A cycle of `make crash` is so short that most of it is the server's own work. Whoever wants the program
from its first byte takes :class:`tests.program.peer.Program`, which this one is in all else.

Must only be used by a process of one thread. The child keeps no descriptor of its parent's.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

import server as program
from chatlib.server import saving
from chatlib.storage import messages
from tests.patience import LIMIT
from tests.program.peer import Program


class Manner(NamedTuple):
    """What is different from a usual server."""

    ahead: float = 0.0  # seconds that its clock is before ours
    segment: int = messages.SEGMENT  # bytes of a message segment
    slow_sync: float = 0.0  # seconds
    slow_checkpoint: float = 0.0  # seconds for each name


class Forked(Program):
    """One server process."""

    def __init__(self, home: Path, manner: Manner) -> None:
        self.home, self.lines, self._rest, self.port = home, [], b"", 0
        self.process = Process(home, manner)  # type: ignore[assignment]


class Process:
    """What of a ``Popen`` is used."""

    def __init__(self, home: Path, manner: Manner) -> None:
        theirs, ours = os.pipe()
        heard, said = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            _become(home, manner, theirs, said)
        os.close(theirs)
        os.close(said)
        self.stdin: IO[bytes] = os.fdopen(ours, "wb")
        self.stdout: IO[bytes] = os.fdopen(heard, "rb", 0)

    def poll(self) -> int | None:
        """How it ended, if it has."""
        if self.returncode is None and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.returncode = -1
        return self.returncode

    def wait(self, limit: float = LIMIT) -> int:
        """Waits for its end."""
        deadline = time.monotonic() + limit
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
                break
            assert time.monotonic() < deadline, f"process {self.pid} does not end"
            time.sleep(0.0005)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Only to a child that was not waited for."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """``kill -9``."""
        self.send_signal(signal.SIGKILL)


def _become(home: Path, manner: Manner, stdin: int, stdout: int) -> NoReturn:
    """The child's whole life."""
    gc.freeze()  # our parent's files that nobody refers to any more would close, sooner or later, descriptors of ours
    try:
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.dup2(stdout, 2)
        os.closerange(3, 1 << 16)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(fd, mode, 1) for fd, mode in ((0, "r"), (1, "w"), (2, "w")))
        os.setsid()  # what the terminal says to us is not for it
        os.environ["CHAT_SLOW_SYNC"] = str(manner.slow_sync)
        saving._SLOW, messages.SEGMENT = manner.slow_checkpoint, manner.segment
        program.Server = partial(program.Server, wall_clock=lambda: time.time() + manner.ahead)  # type: ignore
        status = program.main(["0", "--home", str(home), "--bind", "127.0.0.1"])
    except BaseException:
        traceback.print_exc()
        status = 70
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)


def children(pid: int) -> list[int]:
    """Those of a living process, the oldest first."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def kill_child(pid: int) -> bool:
    """Kills a process that is not ours to wait for; whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
