"""The home folder: where everything lies, and that only one server uses it.

``HOME/`` holds what a person edits, ``HOME/data/`` what the server writes, ``HOME/data/logs/`` the server log.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from chatlib.storage import takeover
from chatlib.storage.exchange import mend
from chatlib.storage.textfile import REMEDY, FileError, replace, sealed, unsealed
from chatlib.storage.writerlock import WriterLock

_EARLIER = 8  # epochs that are remembered
_OLD_EPOCH = re.compile("[0-9a-f]{16}\n")  # without a checksum


class HomeInUse(FileError):
    """A server runs on this home."""


class Home:
    """A home folder, locked until this process ends. Raises FileError when it cannot be used."""

    def __init__(self, path: Path, say: Callable[[str], None] = lambda text: None) -> None:
        self.path = path
        self.data = path / "data"
        self.parameters = path / "para.txt"
        self.credentials = path / "credentials.txt"
        self.messages = self.data / "message_rep.txt"
        self.logs = self.data / "logs"
        self.tls = self.data / "tls.pem"
        if not path.is_dir():
            raise FileError(f"{path}: there is no such folder: make it first, or name another with --home")
        try:
            self.data.mkdir(mode=0o700, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            refuse_what_is_no_file(path)
            self._lock()
            self.writer = WriterLock(self.data / "writer.lock", say)
            self.writer.claim()
            takeover.finish(self.data)
            for note in self.tidy():
                say(note)
        except OSError as error:
            raise FileError(f"{self.data}: {error.strerror}") from None

    def _lock(self) -> None:
        # A POSIX lock: forked children do not hold it, so it goes with this process, however it ends.
        self._lock_fd = os.open(self.data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            pid = os.pread(self._lock_fd, 32, 0).decode(errors="replace").strip()
            where = self.path.resolve()
            raise HomeInUse(f"{where}: another server (process {pid}) uses this home: stop it first") from None
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)

    def tidy(self) -> list[str]:
        """Clears away what was half written when its writer was killed: it holds verifiers. Legal while nobody writes.

        Returns what people must know. Raises OSError.
        """
        notes = []
        for path in (self.parameters, self.credentials):
            notes += mend(path)
            for left in self.path.glob(f".{path.name}.*.new"):
                left.unlink()
        for left in (*self.data.glob(".*.new"), *self.logs.glob(".*.new")):
            left.unlink()
        for folder in self.data.glob(".next.*"):
            shutil.rmtree(folder, ignore_errors=True)
        return notes

    def epoch(self) -> str:
        """The name of this home's journal: random, made once."""
        if not (self.data / "epoch.txt").exists():
            self.new_epoch()
        return read_epoch(self.data)

    def new_epoch(self) -> None:
        """From now on it is another home to its clients: seqs may be given again."""
        replace(self.data / "epoch.txt", sealed(secrets.token_hex(8)))

    def earlier(self) -> list[tuple[str, int]]:
        """Of which epochs this home goes on, and up to which seq they are one: the latest first."""
        return read_earlier(self.data)

    def seal_epoch(self) -> None:
        """Gives the epoch of an older format its checksum."""
        replace(self.data / "epoch.txt", "".join(map(sealed, _read_epoch(self.data))))


def refuse_what_is_no_file(home: Path) -> None:
    """Raises FileError for a pipe, a socket or a device where a home has files: whoever opens one may wait for ever, or
    read for ever. Raises OSError."""
    for path in (home / "para.txt", home / "credentials.txt", *(home / "data").rglob("*")):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise FileError(f"{path} is neither a file nor a folder: take it away, nothing reads it.")


def read_epoch(data: Path) -> str:
    """The epoch of the home whose data these are. Raises FileError, OSError."""
    return _read_epoch(data)[0]


def read_earlier(data: Path) -> list[tuple[str, int]]:
    """Of which epochs it goes on, and up to which seq. Raises FileError, OSError."""
    pairs = [line.split(" ") for line in _read_epoch(data)[1:]]
    return [(epoch, int(last)) for epoch, last in pairs]


def renew_epoch(data: Path, last: int) -> None:
    """Gives a home another epoch, which goes on of the one before up to the seq `last`. Raises OSError."""
    try:
        before = [(read_epoch(data), last), *read_earlier(data)][:_EARLIER]
    except (OSError, FileError):
        before = []
    lines = [secrets.token_hex(8), *(f"{epoch} {min(seq, last)}" for epoch, seq in before)]
    replace(data / "epoch.txt", "".join(map(sealed, lines)))


def _read_epoch(data: Path) -> list[str]:
    path = data / "epoch.txt"
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [text[:-1]] if _OLD_EPOCH.fullmatch(text) else [unsealed(line) for line in text.splitlines(keepends=True)]
    if not lines or None in lines:
        raise FileError(f"{path} is damaged (its checksum does not fit). {REMEDY}")
    return lines  # type: ignore[return-value]


def used_by(data: Path) -> int:
    """The process of the server that runs on this home; 0: none does. Changes nothing, and stops nobody."""
    order = "hhqqi" if sys.platform == "linux" else "qqihh"  # struct flock
    fields = (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0) if sys.platform == "linux" else (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
    try:
        fd = os.open(data / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        answer = struct.unpack(order, fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack(order, *fields)))
    finally:
        os.close(fd)
    kind, pid = (answer[0], answer[4]) if sys.platform == "linux" else (answer[3], answer[2])
    return 0 if kind == fcntl.F_UNLCK else int(pid)
