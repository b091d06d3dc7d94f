"""The home folder: where everything lies, and that only one server uses it.

``HOME/`` holds what a person edits, ``HOME/data/`` what the server writes, ``HOME/data/logs/`` the server log.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from chatlib.storage.textfile import FileError, replace


class Home:
    """A home folder, locked until this process ends. Raises FileError when it cannot be used."""

    def __init__(self, path: Path) -> None:
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
            for folder in (path, self.data):
                for left in folder.glob(".*.txt.*.new"):  # half written when a server was killed
                    left.unlink()
        except OSError as error:
            raise FileError(f"{self.data}: {error.strerror}") from None

    def _lock(self) -> None:
        # A POSIX lock: forked children do not hold it, so it goes with this process, however it ends.
        self._lock_fd = os.open(self.data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            pid = os.pread(self._lock_fd, 32, 0).decode(errors="replace").strip()
            raise FileError(f"{self.path}: another server (process {pid}) uses this home") from None
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)

    def epoch(self) -> str:
        """The name of this home's journal: random, made once."""
        path = self.data / "epoch.txt"
        if not path.exists():
            replace(path, secrets.token_hex(8) + "\n")
        return path.read_text(encoding="utf-8").strip()
