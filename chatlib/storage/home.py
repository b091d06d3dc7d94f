"""The home folder: where everything lies, and that only one server uses it.

``HOME/`` holds what a person edits, ``HOME/data/`` what the server writes, ``HOME/data/logs/`` the server log.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from chatlib.storage.exchange import mend
from chatlib.storage.textfile import REMEDY, FileError, replace, sealed, unsealed
from chatlib.storage.writerlock import WriterLock

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
        if not path.is_dir():
            raise FileError(f"{path}: there is no such folder; --home must name one")
        try:
            self.data.mkdir(mode=0o700, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            self._lock()
            self.writer = WriterLock(self.data / "writer.lock", say)
            self.writer.claim()
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
            raise HomeInUse(f"{self.path.resolve()}: another server (process {pid}) uses this home") from None
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
        for left in self.data.glob(".*.new"):
            left.unlink()
        for folder in self.data.glob(".next.*"):
            shutil.rmtree(folder, ignore_errors=True)
        return notes

    def epoch(self) -> str:
        """The name of this home's journal: random, made once."""
        path = self.data / "epoch.txt"
        if not path.exists():
            replace(path, sealed(secrets.token_hex(8)))
        text = path.read_text(encoding="utf-8", errors="replace")
        epoch = text[:-1] if _OLD_EPOCH.fullmatch(text) else unsealed(text)
        if epoch is None:
            raise FileError(f"{path} is damaged (its checksum does not fit). {REMEDY}")
        return epoch

    def seal_epoch(self) -> None:
        """Gives the epoch of an older format its checksum."""
        replace(self.data / "epoch.txt", sealed(self.epoch()))
