"""The writer lock: nothing that a dead server left running writes into a home, and nothing left hangs a start."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.storage.home import Home
from chatlib.storage.textfile import FileError
from chatlib.storage.writerlock import WriterLock, began
from tests.conftest import Python

ROOT = Path(__file__).parents[2]

# A server whose child is about to write, or is writing. It says its child's number; its child waits for a word.
SERVER = """
import os, sys
from pathlib import Path
from chatlib.storage.home import Home
def say(word):
    try:
        os.write(1, f"{word}\\n".encode())
    except BrokenPipeError:
        pass
home = Home(Path(sys.argv[1]))
child = os.fork()
if child:
    os.waitpid(child, 0)
    os._exit(0)
say(os.getpid())
if sys.argv[2] == "before":
    os.read(0, 1)
try:
    with home.writer.held():
        say("writes")
        if sys.argv[2] == "while":
            os.read(0, 1)
        (home.data / "written").touch()
    say("wrote")
except InterruptedError as gone:
    say(gone)
os._exit(0)
"""


class Server:
    """Such a server, and its child."""

    def __init__(self, home: Path, child_waits: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(home), child_waits], cwd=ROOT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        self.child = int(self.line())
        self.handle = os.pidfd_open(self.child)

    def line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().decode().strip()

    def go_on(self) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b".")
            self._process.stdin.flush()

    def kill(self) -> None:
        """The server alone."""
        self._process.kill()
        self._process.wait()

    def child_ended(self) -> bool:
        return bool(select.select([self.handle], [], [], 60)[0])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        os.close(self.handle)
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    servers: list[Server] = []

    def start_one(child_waits: str) -> Server:
        servers.append(Server(tmp_path, child_waits))
        return servers[-1]

    yield start_one
    for server in servers:
        server.close()


def test_a_child_of_a_living_server_writes(start: Callable[[str], Server], tmp_path: Path) -> None:
    server = start("before")
    server.go_on()
    assert [server.line(), server.line()] == ["writes", "wrote"]
    assert (tmp_path / "data" / "written").exists()


@pytest.mark.parametrize("next_start", [False, True])
def test_a_child_that_outlives_its_server_writes_nothing(
    start: Callable[[str], Server], tmp_path: Path, next_start: bool
) -> None:
    server = start("before")
    server.kill()
    if next_start:
        Home(tmp_path)
    server.go_on()
    assert server.line() == "the server that asked for it is gone"
    assert not (tmp_path / "data" / "written").exists()


def test_a_mark_of_a_later_server_stops_a_child_whose_parent_seems_to_live(tmp_path: Path) -> None:
    """A dying process lets go of its locks before its children are given another parent."""
    earlier, later = WriterLock(tmp_path / "lock"), WriterLock(tmp_path / "lock")
    earlier.claim()
    later.claim()
    for lock, outcome in ((earlier, 7), (later, 0)):
        child = os.fork()
        if not child:
            try:
                with lock.held():
                    os._exit(0)
            except InterruptedError:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == outcome


@pytest.mark.parametrize("stopped", [False, True])
def test_a_start_ends_a_child_that_a_dead_server_left_writing(
    start: Callable[[str], Server], tmp_path: Path, stopped: bool
) -> None:
    server = start("while")
    assert server.line() == "writes"
    if stopped:
        os.kill(server.child, signal.SIGSTOP)
    server.kill()
    said: list[str] = []
    Home(tmp_path, said.append)
    assert said == [f"Process {server.child}, which the last server had left at work, was ended."]
    assert server.child_ended()
    server.go_on()
    assert not (tmp_path / "data" / "written").exists()


@pytest.mark.parametrize("record", ["", "{pid}", "{pid} 1", "1 {began}", "x y z"])
def test_a_process_that_may_be_another_is_not_ended_but_named(
    start: Callable[[str], Server], tmp_path: Path, record: str
) -> None:
    """As where the system does not tell when a process began."""
    server = start("while")
    assert server.line() == "writes"
    server.kill()
    path = tmp_path / "data" / "writer.lock"
    mark = path.read_text().split("\n")[0]
    path.write_text(f"{mark}\n" + record.format(pid=server.child, began=began(server.child)))
    lock = WriterLock(path)
    with pytest.raises(FileError, match=r"process.* of an earlier server|process \d+, which an earlier server left"):
        lock.claim(patience=0)
    server.go_on()
    assert server.line() == "wrote", "it was not ended"
    assert server.child_ended()
    lock.claim(patience=0)


def test_a_start_waits_for_whoever_it_cannot_be_sure_of(
    start: Callable[[str], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start("while")
    assert server.line() == "writes"
    server.kill()
    (tmp_path / "data" / "writer.lock").write_text("")
    waits = 0

    def wait(_seconds: float) -> None:
        nonlocal waits
        waits += 1
        if waits == 3:
            server.go_on()
            server.child_ended()

    monkeypatch.setattr("chatlib.storage.writerlock.time.sleep", wait)
    Home(tmp_path)
    assert waits == 3


def test_half_written_files_go_at_the_start(tmp_path: Path, python: Python) -> None:
    home = Home(tmp_path)
    (home.data / ".next.4711").mkdir()
    (home.data / ".next.4711" / "users.txt").write_text("ann SCRAM-SHA-256$")
    for path in (home.path / ".credentials.txt.4711.new", home.path / ".para.txt.4711.new",
                 home.data / ".credentials.next.4711.new", home.data / ".epoch.txt.4711.new"):  # fmt: skip
        path.write_text("ann SCRAM-SHA-256$")
    (home.path / ".mine.4711.new").write_text("a person's own")
    Home(tmp_path)
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".*")]
    assert left == [".mine.4711.new"]


_ALSO = """
import sys
from pathlib import Path
from chatlib.storage import writerlock
writerlock.PATIENCE = 0.0
with writerlock.WriterLock(Path(sys.argv[1])).alone():
    print("writes")
"""


def test_whoever_writes_beside_the_server_writes_alone_and_leaves_the_home_to_it(
    tmp_path: Path, python: Python
) -> None:
    lock = WriterLock(tmp_path / "writer.lock")
    lock.claim()
    mark = (tmp_path / "writer.lock").read_bytes()
    with lock.alone():
        assert "still writes here" in python(_ALSO, tmp_path / "writer.lock").stderr
    assert python(_ALSO, tmp_path / "writer.lock").stdout == "writes\n"
    assert (tmp_path / "writer.lock").read_bytes() == mark
