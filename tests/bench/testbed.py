"""What a measurement needs: the load program, a home, the real server as a process, and what it costs.

Legal order: ``Testbed`` → ``home`` → ``Server`` (answers hello when entered) → ``run_load`` (builds the load program).
CPU is what the system charged to the server and all its children, in the measured phase alone: the load program
says "begin" when its users are in and waits; its connections stay open until the meter has been read.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from chatlib.protocol import scram

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "benchmark password"
ITERATIONS = scram.MIN_ITERATIONS
START_LIMIT = 60.0  # seconds
STOP_LIMIT = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")
_UNLIMITED = ("RATE_LIMIT", "STRANGERS", "STRANGERS_PER_ADDRESS", "LOGINS", "REGISTRATIONS", "MAX_USERS", "MAIL_QUOTA")
_PARAMETERS = {"MaxCon": "20000", **dict.fromkeys(_UNLIMITED, "0"), "SCRAM_ITERATIONS": str(ITERATIONS),
               "FSYNC": "always"}  # fmt: skip
DOOR = {"RATE_LIMIT": "20", "STRANGERS": "512", "STRANGERS_PER_ADDRESS": "32", "LOGINS": "30", "REGISTRATIONS": "20",
        "MAX_USERS": "10000", "MAIL_QUOTA": "10000"}  # what these are by default


class Failure(Exception):
    """A measurement that did not come about; the message says why."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of the load: what it reports (see load.c), and what the server took for it."""

    load: Mapping[str, Any]
    cpu: float  # seconds, of the server and its children
    memory: int  # bytes resident at its end, of the server alone

    @property
    def seconds(self) -> float:
        """Wall time, from the first request to the last delivery."""
        return float(self.load["seconds"])


class Testbed:
    """A folder for one run of the benchmark, removed at the end; it lies in `within`, or on the disk of the tree."""

    def __init__(self, within: Path | None = None) -> None:
        if within is None:
            within = ROOT / ".build"
            within.mkdir(exist_ok=True)
            (within / ".gitignore").write_text("*\n")
        self._folder = tempfile.TemporaryDirectory(prefix="bench-", dir=within)
        self.folder = Path(self._folder.name)
        self.verifier = str(scram.make_verifier(PASSWORD, ITERATIONS))

    @functools.cached_property
    def program(self) -> Path:
        """The load program. Raises CalledProcessError, or OSError where there is no gcc."""
        source, program = Path(__file__).with_name("load.c"), self.folder / "load"
        subprocess.run(["gcc", "-O2", "-std=c11", "-Wall", "-Wextra", "-o", program, source], check=True)
        return program

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @contextlib.contextmanager
    def home(self, users: int, **parameters: str) -> Iterator[Path]:
        """A home with the users u00000, u00001, ..., who share one verifier; removed afterwards."""
        with tempfile.TemporaryDirectory(prefix="home-", dir=self.folder) as name:
            home = Path(name)
            lines = [f"{key} {value}\n" for key, value in {**_PARAMETERS, **parameters}.items()]
            (home / "para.txt").write_text("".join(lines))
            (home / "credentials.txt").write_text("".join(f"u{i:05d} {self.verifier}\n" for i in range(users)))
            yield home

    def run_load(self, server: Server, scenario: str, **options: int) -> Measurement:
        """Runs a scenario of load.c against `server`. Raises Failure with what it complains of."""
        words = [str(self.program), scenario, str(server.port), PASSWORD, *(f"{k}={v}" for k, v in options.items())]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as load:
            assert load.stdin and load.stdout and load.stderr
            try:
                begin = load.stdout.readline()
                before = server.cpu()
                if begin == "begin\n":
                    load.stdin.write("go\n")
                    load.stdin.flush()
                result = load.stdout.readline()
                if not result:
                    raise Failure(f"{load.stderr.read().strip()}{server.complaint()}")
                return Measurement(json.loads(result), server.cpu() - before, server.memory())
            finally:
                load.kill()


class Server:
    """The real server on a free port, as a context: entered when it answers hello, killed at the end."""

    def __init__(
        self, home: Path, slow_sync: float = 0.0, tree: Path = ROOT, flags: Sequence[str] = ()
    ) -> None:
        """`tree`: where the server's program lies, to measure another version of it. `flags`: more of them."""
        self._home, self._tree, self._flags = home, tree, flags
        self._output = home / "output.txt"
        self._environment = {**os.environ, **({"CHAT_SLOW_SYNC": str(slow_sync)} if slow_sync else {})}
        self.port = 0  # known when it listens
        self.started_in = 0.0  # seconds, from exec to the answer to hello

    def __enter__(self) -> Self:
        command = [sys.executable, "server.py", "0", "--home", str(self._home), *self._flags]
        with open(self._output, "w") as output:
            begun = time.perf_counter()
            self._process = subprocess.Popen(
                command, cwd=self._tree, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            self._wait_for_hello(begun + START_LIMIT)
        except BaseException:
            self.kill()
            raise
        self.started_in = time.perf_counter() - begun
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def _wait_for_hello(self, deadline: float) -> None:
        while not self.port or not _answers_hello(self.port):
            said = self._output.read_text(errors="replace")
            listening = re.search(r"Listening on port (\d+)\.", said)
            self.port = int(listening[1]) if listening else 0
            if self._process.poll() is not None or time.perf_counter() > deadline:
                raise Failure(f"the server does not start{self.complaint()}")
            time.sleep(0.005)

    def complaint(self) -> str:
        """What the server printed last, and how it ended, for a Failure."""
        status = self._process.poll()
        ended = "" if status is None else f"\n    the server ended with status {status}"
        text = self._output.read_text(errors="replace").strip().splitlines()[-12:] if self._output.exists() else []
        return ended + "".join(f"\n    server: {line}" for line in text)

    def processes(self) -> list[int]:
        """The server's process, and its children."""
        return _family(self._process.pid)

    def cpu(self) -> float:
        """Seconds of CPU of the server, its living descendants, and those that it has waited for."""
        return sum(map(_ticks, _family(self._process.pid))) / _TICKS

    def memory(self) -> int:
        """Resident bytes of the server's process."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def forget_peak(self) -> None:
        """From now on `peak_memory` is that of what comes."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def peak_memory(self) -> int:
        """The most bytes that have been resident in the server's process; its children's are their own."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        if "VmHWM:" not in status:
            raise Failure("the server has ended")
        return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> float:
        """Ends it cleanly; the seconds that took. Raises Failure when it does not, or complains."""
        begun = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            raise Failure(f"the server does not stop{self.complaint()}") from None
        if status != 0:
            raise Failure(f"the server did not stop cleanly{self.complaint()}")
        return time.perf_counter() - begun


class Process:
    """A script of this folder, beside the server: it says when it is ready, and what it came to."""

    def __init__(self, script: str, *words: object) -> None:
        command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, words)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        self._what = script

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def hear(self) -> str:
        """Its next line. Raises Failure when it has ended."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise Failure(f"{self._what} has ended")
        return line.rstrip("\n")

    def go_on(self) -> None:
        """Begins what was set up, or ends what was begun."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()


def _answers_hello(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=START_LIMIT) as connection:
            connection.sendall(b'{"action":"hello","protocol":1}\n')
            return b'"OK"' in connection.makefile("rb").readline()
    except OSError:
        return False


def _family(pid: int) -> list[int]:
    """`pid` and its living descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []  # it has ended meanwhile
    return [pid, *(member for child in children for member in _family(int(child)))]


def _ticks(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return sum(map(int, stat.rpartition(")")[2].split()[11:15]))  # utime, stime, cutime, cstime
