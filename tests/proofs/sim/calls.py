"""The calls of the system, as the simulated processes see them: ``os``, ``open``, locks, time and chance.

`installed` puts them in their places. The functions of ``os`` tell a simulated path or descriptor from a real one, and
pass on what is real; everything else is put only into the modules of ``chatlib``, under the names that they have there.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import functools
import io
import mmap
import os
import random
import secrets
import shutil
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

from chatlib.protocol import scram
from tests.proofs.sim.disk import Disk, walk
from tests.proofs.sim.machine import HOME, PEOPLE, Machine
from tests.proofs.sim.nodes import FIRST, Folder, Open, Stat, failed
from tests.proofs.sim.openfiles import Entries, Entry, Map, Reading, Writing

os_pidfd_open = os.pidfd_open
_TEXT = {"encoding": "utf-8"}
_salted = functools.lru_cache(4_096)(scram.salted_password)  # a pure function, and dear


class Calls:
    """The calls of one machine at a time: `machine` may be exchanged."""

    machine: Machine

    # Whose is it?

    def disk_of(self, path: Any) -> Disk | None:
        if self.machine.process is None:
            return None
        text = path if type(path) is str else os.fspath(path)
        if type(text) is not str or not text.startswith("/sim/"):
            if type(text) is str and text.startswith("/proc/"):
                raise failed(errno.ENOENT, text)  # nothing of the real machine may have a say
            return None
        return self.machine.disk if text.startswith(HOME) else self.machine.disks[PEOPLE]

    def opened(self, fd: int) -> Open:
        assert self.machine.process is not None
        one = self.machine.process.open.get(fd)
        if one is None:
            raise failed(errno.EBADF)
        assert isinstance(one, Open), one
        return one

    def disk_at(self, one: Open) -> Disk:
        return self.machine.disk if one.path.startswith(HOME) else self.machine.disks[PEOPLE]

    # By descriptor.

    def close(self, fd: int) -> None:
        assert self.machine.process is not None
        if not self.machine.process.over:
            self.machine.process.close(fd)

    def write(self, fd: int, data: Any) -> int:
        one = self.opened(fd)
        at = len(one.node.data) if one.flags & os.O_APPEND else one.at
        taken = self.disk_at(one).write(one, data, at)
        one.at = at + taken
        return taken

    def pwrite(self, fd: int, data: Any, at: int) -> int:
        one = self.opened(fd)
        return self.disk_at(one).write(one, data, at)

    def read(self, fd: int, size: int) -> bytes:
        one = self.opened(fd)
        piece = bytes(one.node.data[one.at : one.at + size])
        one.at += len(piece)
        return piece

    def pread(self, fd: int, size: int, at: int) -> bytes:
        return bytes(self.opened(fd).node.data[at : at + size])

    def preadv(self, fd: int, buffers: Any, at: int, flags: int = 0) -> int:
        (buffer,) = buffers
        if flags and self.machine.chance.random() < 0.2:
            raise BlockingIOError(errno.EAGAIN, "not in memory")
        piece = self.pread(fd, len(buffer), at)
        buffer[: len(piece)] = piece
        return len(piece)

    def readv(self, fd: int, buffers: Any) -> int:
        (buffer,) = buffers
        piece = self.read(fd, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def fstatvfs(self, fd: int) -> Any:
        return types.SimpleNamespace(f_bavail=self.disk_at(self.opened(fd)).free, f_frsize=1)

    def lseek(self, fd: int, at: int, how: int) -> int:
        one = self.opened(fd)
        one.at = at + (0, one.at, len(one.node.data))[how]
        return one.at

    def ftruncate(self, fd: int, length: int) -> None:
        one = self.opened(fd)
        self.disk_at(one).truncate(one.node, one.path, length)

    def fsync(self, fd: int) -> None:
        one = self.opened(fd)
        self.disk_at(one).sync(one)

    def fstat(self, fd: int) -> Stat:
        return Stat(self.opened(fd).node)

    def dup(self, fd: int) -> int:
        process = self.machine.process
        assert process is not None
        return process.give(process.open[fd])

    def pidfd_open(self, number: int) -> int:
        assert self.machine.process is not None
        return self.machine.process.give(number)

    def sendfile(self, to: int, fd: int, at: int, size: int) -> int:
        assert self.machine.process is not None
        piece = self.pread(fd, size, at)
        return int(self.machine.process.open[to].send(piece)) if piece else 0

    # By path.

    def stat(self, path: Any, **_: Any) -> Stat:
        disk = self.disk_of(path)
        assert disk
        return Stat(disk.need(os.fspath(path)))

    def open(self, path: Any, flags: int, _mode: int = 0o777, **_: Any) -> int:
        disk, process = self.disk_of(path), self.machine.process
        assert disk and process
        return disk.open(process, os.fspath(path), flags)

    def truncate(self, path: Any, length: int) -> None:
        disk = self.disk_of(path)
        assert disk
        disk.truncate(disk.need(os.fspath(path)), os.fspath(path), length)

    def listdir(self, path: Any) -> list[str]:
        disk = self.disk_of(path)
        assert disk
        found = disk.need(os.fspath(path))
        if not isinstance(found, Folder):
            raise failed(errno.ENOTDIR, os.fspath(path))
        names = list(found)
        self.machine.chance.shuffle(names)  # no order is promised
        return names

    def scandir(self, path: Any) -> Entries:
        disk = self.disk_of(path)
        assert disk
        return Entries([Entry(os.fspath(path), name, disk) for name in self.listdir(path)])

    def rename(self, source: Any, target: Any) -> None:
        disk = self.disk_of(source)
        assert disk
        disk.rename(os.fspath(source), os.fspath(target))

    def link(self, source: Any, target: Any) -> None:
        disk = self.disk_of(source)
        assert disk
        disk.link(os.fspath(source), os.fspath(target))

    def unlink(self, path: Any, **_: Any) -> None:
        disk = self.disk_of(path)
        assert disk
        disk.remove(os.fspath(path), False)

    def rmdir(self, path: Any, **_: Any) -> None:
        disk = self.disk_of(path)
        assert disk
        disk.remove(os.fspath(path), True)

    def mkdir(self, path: Any, _mode: int = 0o777, **_: Any) -> None:
        disk = self.disk_of(path)
        assert disk
        disk.mkdir(os.fspath(path))

    def rmtree(self, path: Any, ignore_errors: bool = False) -> None:
        """As shutil's."""
        disk, top = self.disk_of(path), os.fspath(path)
        assert disk
        try:
            inside = list(walk(disk.need(top)))
            for name, node in reversed(inside):
                disk.remove(f"{top}/{name}", isinstance(node, Folder))
            disk.remove(top, True)
        except OSError:
            if not ignore_errors:
                raise

    def open_file(
        self, file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
        newline: str | None = None, closefd: bool = True,
    ) -> Any:  # fmt: skip
        """As open: a file to be read is read at once."""
        assert buffering in (-1, 0, 1)
        flags = {"r": os.O_RDONLY, "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC}[mode[0]]
        fd = file if isinstance(file, int) else self.open(file, flags)
        if mode[0] != "r":
            assert mode == "wb" or not isinstance(file, int), mode
            return Writing(self, fd) if "b" in mode else io.TextIOWrapper(Writing(self, fd), **_TEXT)
        raw = Reading(self, fd, closefd)
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=newline)


class Around:
    """A module, some of whose names mean something else."""

    def __init__(self, module: types.ModuleType, **names: Any) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _by_fd(real: Callable[..., Any], simulated: Callable[..., Any]) -> Callable[..., Any]:
    def call(fd: Any, *words: Any, **more: Any) -> Any:
        if type(fd) is int and fd >= FIRST:
            return simulated(fd, *words, **more)
        return real(fd, *words, **more)

    return call


def _by_path(
    real: Callable[..., Any], simulated: Callable[..., Any], calls: Calls, by_fd: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    def call(path: Any, *words: Any, **more: Any) -> Any:
        if type(path) is int:
            return by_fd(path, *words, **more) if by_fd and path >= FIRST else real(path, *words, **more)
        if calls.disk_of(path) is not None:
            return simulated(path, *words, **more)
        return real(path, *words, **more)

    return call


def patched_os(calls: Calls) -> dict[str, Callable[..., Any]]:
    """The functions of ``os``."""
    found: dict[str, Callable[..., Any]] = {}
    for name in ("close", "write", "pwrite", "read", "pread", "preadv", "readv", "lseek", "fstatvfs",
                 "ftruncate", "fsync", "fstat", "dup", "sendfile"):  # fmt: skip
        found[name] = _by_fd(getattr(os, name), getattr(calls, name))
    found["fdatasync"] = _by_fd(os.fdatasync, calls.fsync)
    found["posix_fadvise"] = _by_fd(os.posix_fadvise, lambda *_: None)
    found["fchmod"] = _by_fd(os.fchmod, lambda *_: None)
    for name in ("open", "truncate", "listdir", "scandir", "rename", "link", "unlink", "rmdir", "mkdir"):
        by_fd = calls.ftruncate if name == "truncate" else None
        found[name] = _by_path(getattr(os, name), getattr(calls, name), calls, by_fd)
    found["stat"] = _by_path(os.stat, calls.stat, calls, calls.fstat)
    found["lstat"] = _by_path(os.lstat, calls.stat, calls)
    found["replace"] = _by_path(os.replace, calls.rename, calls)
    found["remove"] = _by_path(os.remove, calls.unlink, calls)
    found["access"] = _by_path(os.access, lambda *_: True, calls)
    found["chmod"] = _by_path(os.chmod, lambda *_, **__: None, calls)
    found["pidfd_open"] = lambda number, *_: (
        os_pidfd_open(number) if calls.machine.process is None else calls.pidfd_open(number)
    )
    found["getpid"] = _of_process(calls, os.getpid, lambda process: process.number)
    found["getppid"] = _of_process(
        calls, os.getppid, lambda process: process.parent.number if process.parent and not process.parent.over else 1
    )
    return found


def _of_process(calls: Calls, real: Callable[[], int], simulated: Callable[[Any], int]) -> Callable[[], int]:
    def call() -> int:
        process = calls.machine.process
        return real() if process is None else simulated(process)

    return call


class Locks:
    """As fcntl's. A POSIX lock is a process's; of leases only the question is answered."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def _lock(self, fd: int, owner: Any) -> None:
        node = self._calls.opened(fd).node
        if node.lock not in (None, owner):
            raise BlockingIOError(errno.EAGAIN, "locked")
        node.lock = owner

    def lockf(self, fd: int, _how: int) -> None:
        self._lock(fd, self._calls.machine.process)

    def flock(self, fd: int, _how: int) -> None:
        self._lock(fd, self._calls.opened(fd))

    def fcntl(self, fd: int, command: int, _value: int) -> int:
        if command == fcntl.F_SETLEASE and self._calls.opened(fd).node.writers:
            raise BlockingIOError(errno.EAGAIN, "somebody writes")
        return 0


def shims(calls: Calls) -> list[tuple[Any, Any]]:
    """What modules of chatlib have, and what they get for it."""
    def machine() -> Machine:
        return calls.machine

    chance = Around(
        random, random=lambda: machine().chance.random(), choice=lambda among: machine().chance.choice(among)
    )
    locks = Locks(calls)

    def token_bytes(size: int) -> bytes:
        # Salts are the only ones: of few, so that few have to be computed.
        return b"%0*d" % (size, machine().chance.randrange(64))

    def token_hex(size: int) -> str:
        return machine().chance.randbytes(size).hex()

    def token_urlsafe(size: int) -> str:
        return machine().chance.randbytes(size).hex()

    disk_usage = types.SimpleNamespace
    return [
        (time, Around(time, time=lambda: machine().wall(), monotonic=lambda: machine().now,
                      perf_counter=lambda: machine().perf_counter(), sleep=lambda seconds: machine().sleep(seconds),
                      localtime=time.gmtime)),
        (time.perf_counter, lambda: machine().perf_counter()),
        (time.monotonic, lambda: machine().now), (time.time, lambda: machine().wall()),
        (secrets, Around(secrets, token_bytes=token_bytes, token_hex=token_hex, token_urlsafe=token_urlsafe)),
        (random, chance),
        (fcntl, Around(fcntl, lockf=locks.lockf, flock=locks.flock, fcntl=locks.fcntl)),
        (shutil, Around(shutil, rmtree=calls.rmtree, disk_usage=lambda path: disk_usage(free=calls.machine.disk.free))),
        (mmap, Around(mmap, mmap=lambda fd, size, access: Map(calls, fd))),
        (scram.salted_password, _salted),
    ]  # fmt: skip


@contextlib.contextmanager
def installed(calls: Calls, more: list[tuple[Any, Any]]) -> Iterator[None]:
    """While this lasts, the calls are in their places. `more`: other things of chatlib's modules, and what they get."""
    undo: list[Callable[[], None]] = []

    def put(holder: Any, name: str, value: Any) -> None:
        undo.append(functools.partial(setattr, holder, name, getattr(holder, name)))
        setattr(holder, name, value)

    try:
        for name, call in patched_os(calls).items():
            put(os, name, call)
        opener = _by_path(io.open, calls.open_file, calls, calls.open_file)
        put(io, "open", opener)
        put(builtins, "open", opener)
        exchange = {id(old): new for old, new in [*shims(calls), *more]}
        for name, module in list(sys.modules.items()):
            if name.startswith("chatlib."):
                for inner, value in list(vars(module).items()):
                    if id(value) in exchange:
                        put(module, inner, exchange[id(value)])
        yield
    finally:
        for call in reversed(undo):
            call()

