"""A real server in this process, driven tick by tick: injected clocks, a disk that syncs when it is told to, sockets.

Nothing here sleeps, and no thread runs: a peer writes into its socket, the house ticks until it is quiet, it reads.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatlib.protocol.text import printable_lines
from chatlib.reactor.jobs import Job
from chatlib.server.server import Server
from chatlib.storage.checker import Checked, Task, carry_out
from chatlib.storage.child import ChildDied
from chatlib.storage.home import Home
from tests.patience import LIMIT
from tests.server.peer import ITERATIONS, PASSWORD, VERIFIER, Peer

USERS = ("Columbia", "facebook", "Google", "SEAS")


class Clock:
    """Both clocks of a loop; they move when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.wall_at_start = 1_700_000_000.0 - self.now

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.wall_at_start + self.now


class Disk:
    """A syncer without a disk: in place while `fast`; otherwise a sync is done when ``release`` says so."""

    def __init__(self) -> None:
        self.fast = True
        self.error: OSError | None = None  # what the next sync says
        self.waiting = 0  # jobs handed over and not yet answered
        self.syncs = 0
        self._released = 0
        self._here, self._there = socket.socketpair()

    def fileno(self) -> int:
        return self._here.fileno()

    def start(self, *fds: int) -> bool:
        self.syncs += 1
        if self.fast:
            if self.error:
                raise self.error
            return True
        self.waiting += 1
        return False

    def release(self) -> None:
        """The disk has done what it was asked to do."""
        self._there.send(b"." * (self.waiting - self._released))
        self._released = self.waiting

    def ready(self) -> None:
        if not self._here.recv(1, socket.MSG_DONTWAIT):
            raise OSError("the syncing child has died")
        if self.error:
            raise self.error
        self.waiting -= 1
        self._released -= 1

    def close(self) -> None:
        self._here.close()
        self._there.close()


class CheckingDisk:
    """A checker without a child: at once while `fast`; otherwise a task is done when ``release`` says so."""

    def __init__(self) -> None:
        self.fast = True
        self.error = 0  # what the next sync says,
        self.unreadable = 0  # or the next read
        self.started: list[Task] = []
        self.died = False
        self.tasks: list[tuple[int, Task]] = []  # not answered yet, with descriptors of ours
        self._hashers: dict[int, Any] = {}
        self._released = 0
        self._here, self._there = socket.socketpair()

    def fileno(self) -> int:
        return self._here.fileno()

    def start(self, fd: int, task: Task, folder: int = -1) -> None:
        if self.died:
            raise ChildDied("killed")
        self.tasks.append((os.dup(fd), task))
        self.started.append(task)
        if self.fast:
            self.release()

    def release(self, count: int | None = None) -> None:
        """The disk has done what it was asked to do, or as many of its oldest tasks."""
        count = len(self.tasks) - self._released if count is None else count
        self._there.send(b"." * count)
        self._released += count

    def die(self) -> None:
        self.died = True
        self._there.send(b"!")

    def ready(self) -> Checked:
        if self._here.recv(1, socket.MSG_DONTWAIT) == b"!":
            raise ChildDied("killed")
        self._released -= 1
        fd, task = self.tasks.pop(0)
        answer = carry_out(self._hashers, fd, task)
        os.close(fd)
        if self.unreadable:
            return Checked(self.unreadable, False, b"")
        return answer._replace(error=self.error) if self.error and answer.at_sync else answer

    def close(self) -> None:
        for fd, _ in self.tasks:
            os.close(fd)
        self.tasks.clear()
        self._here.close()
        self._there.close()


class House:
    """A server on a home, its administrator, and the peers that were connected to it."""

    def __init__(self, folder: Path, users: tuple[str, ...] = USERS, **parameters: object) -> None:
        self.folder = folder
        self.clock, self.disk = Clock(), Disk()
        self.files_disk = CheckingDisk()  # where uploads are checked
        self.peers: list[Peer] = []
        self.said: list[str] = []  # on the console
        self.columns = 0  # how wide that is; 0: as wide as it takes
        self._told = 0
        self.running = False
        if not (folder / "para.txt").exists():
            unlimited = dict.fromkeys(("RATE_LIMIT", "LOGINS", "REGISTRATIONS", "STRANGERS_PER_ADDRESS"), 0)
            chosen = {"SCRAM_ITERATIONS": ITERATIONS, **unlimited, **parameters}
            self.write("para.txt", "".join(f"{name} {value}\n" for name, value in chosen.items()))
            self.write("credentials.txt", "".join(f"{user} {VERIFIER}\n" for user in users))
        self.start()

    # Life.

    def start(self) -> None:
        """As server.py does. Raises what it would print."""
        home = Home(self.folder)
        try:
            self.server = self.build(home)
        except BaseException:
            os.close(home._lock_fd)
            raise
        self.console = self.server.console(lambda text: self.said.extend(text.splitlines()), lambda: self.columns)
        self.server.notices.say = self.console.say
        self.server.open(socket.create_server(("127.0.0.1", 0)))
        self.running = True

    def build(self, home: Home) -> Server:
        """On a home that is locked."""
        return Server(
            home, self.disk, self.files_disk, self._print, self.clock.monotonic, self.clock.wall  # type: ignore[arg-type]
        )

    def _print(self, text: str) -> None:
        """As server.py does before the loop runs."""
        self.said.append(printable_lines(text))

    def stop(self) -> str:
        """A clean stop; why it was none, or ""."""
        self.server.stop()
        self.wait_for(lambda: self.server.pipeline.idle and not self.server.saver.busy)
        failure = self.server.close()
        self._put_away()
        return failure

    def crash(self) -> None:
        """The power fails: nothing is closed properly; what was not synced may or may not be there."""
        self._put_away()

    def restart(self) -> None:
        """After stop or crash: a new server on the same home, without anyone connected."""
        self.disk, self.files_disk = Disk(), CheckingDisk()
        self.start()

    def _put_away(self) -> None:
        """Gives back what the process's end would give back."""
        self.running = False
        server = self.server
        for job in (server.saver._job, server.auditor._job, server.backups._job):
            if not isinstance(job, Job):
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(job._pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(job._pid, 0)
            os.close(job._fd)
        server.world.parameters["MaxCon"] = 0
        for session in list(server.sessions):
            connection: Any = getattr(session.connection, "_below", session.connection)  # that below TLS
            connection._open = False
            connection._socket.close()
        if server._listener:
            server._listener._socket.close()
        for peer in self.peers:
            peer.hear()
            peer.socket.close()
            peer._closed = True
        self.peers.clear()
        server.loop.close()
        server.journal.close()
        server.messages.close()
        server.appended.close()
        with contextlib.suppress(OSError):
            os.close(server.log._fd)
        os.close(server.home._lock_fd)
        self.disk.close()
        self.files_disk.close()

    def close(self) -> None:
        """At a test's end, whatever happened in it."""
        if self.running:
            self._put_away()

    # Time.

    def tick(self, count: int = 1) -> None:
        """So many ticks, without waiting for anything."""
        for _ in range(count):
            self.server.loop.again(_IDLE)
            self.server.loop.tick()

    def settle(self) -> None:
        """Ticks until there is nothing to be done without time, the disk, or a peer."""
        for _ in range(20_000):
            self.tick()
            loop = self.server.loop
            if not loop._again and not loop._selector.select(0):
                return  # the loop would sleep now
        raise AssertionError("the server does not come to rest")

    def wait_for(self, what: Callable[[], object]) -> None:
        """Ticks, waiting for children at work, until `what` holds."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            self.tick()
            if what():
                return
            if self.server.saver._job is not None or self.server.auditor.busy or self.server.backups.busy:
                self.server.loop._selector.select(60.0)
        raise AssertionError("it does not happen")

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """The clock goes on, tick by tick."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + step)
            self.settle()

    # People.

    def connect(self, name: str = "someone", address: str = "10.0.0.1") -> Peer:
        peer = Peer(self, name, address)
        self.peers.append(peer)
        return peer

    def greet(self, name: str = "someone", client: str | None = None, address: str = "10.0.0.1") -> Peer:
        """A peer that has said hello."""
        peer = self.connect(name, address)
        peer.hello(client)
        return peer

    def login(self, name: str, client: str | None = None, address: str = "10.0.0.1", password: str = PASSWORD) -> Peer:
        """A peer that is logged in; what it was told so far counts as heard."""
        peer = self.greet(name, client, address)
        reply = peer.prove("login", name, password)
        assert reply["status"] == "OK", reply
        peer.hear()
        return peer

    def register(self, *names: str) -> None:
        """Accounts with PASSWORD."""
        peer = self.greet()
        for name in names:
            reply = peer.ask("register", user=name, verifier=str(VERIFIER))
            assert reply["status"] == "OK", reply
        peer.hang_up()
        self.settle()

    def admin(self, *lines: str) -> list[str]:
        """Lines typed at the console; what it says to them."""
        self.heard_by_admin()
        for line in lines:
            self.console.line(line)
            self.settle()
        return self.heard_by_admin()

    def heard_by_admin(self) -> list[str]:
        fresh = self.said[self._told :]
        self._told = len(self.said)
        return fresh

    def save(self) -> list[str]:
        """The console's save, until it is done."""
        self.heard_by_admin()
        self.console.line("save")
        self.wait_for(lambda: not self.server.saver.busy)
        return self.heard_by_admin()

    def reload(self) -> list[str]:
        """The console's reload, until it is done."""
        self.heard_by_admin()
        self.console.line("reload")
        self.wait_for(lambda: not self.server.saver.busy)
        return self.heard_by_admin()

    # The home.

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def journal(self) -> list[str]:
        """The records of the journal's current segment."""
        return [line for line in self.read("data/journal.txt").splitlines() if not line.startswith("#")]

    def edit(self, name: str, old: str, new: str) -> None:
        """A person changes a line by hand."""
        text = self.read(name)
        assert old in text, f"{old!r} is not in {name}:\n{text}"
        self.write(name, text.replace(old, new))

    def log(self) -> str:
        """All that the server log holds."""
        self.server.log.flush(self.clock.wall()) if self.running else None
        return "".join(path.read_text() for path in sorted((self.folder / "data" / "logs").iterdir()))


class _Idle:
    """Work that is left over, so that a tick does not wait."""

    def again(self) -> None: ...

    def broken(self) -> None: ...


_IDLE = _Idle()
__all__ = ["ITERATIONS", "PASSWORD", "USERS", "VERIFIER", "Clock", "Disk", "House", "Peer"]
