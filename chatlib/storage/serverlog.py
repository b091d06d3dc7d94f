"""The server log: ``logs/current.log`` while the server runs, named by the time it was closed afterwards.

Lines are gathered, and written by `flush` once a tick. What users do is counted, and written once a second. A log that
has reached LOG_LIMIT is closed, and the next begun; KEPT closed ones stay. A disk that refuses lines costs log lines,
not the server. Must not know what is worth a line.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

LOG_LIMIT = 16 << 20  # bytes
KEPT = 10  # closed logs
GONE = "(removed)"  # in the place of a removed user's name
_STAMP = len("2026-01-31 23:59:59 ")  # and behind it, what happened
_NAME = re.compile(r"log_(\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d)(?:_(\d+))?\.log")


class ServerLog:
    """Legal order: (``write``, or changes of `counts`)* → ``flush`` each tick; ``close`` once.

    Times are seconds since the epoch.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "current.log"
        if self._path.exists():  # the last server did not stop cleanly
            self._name_by(self._path.stat().st_mtime)
        self._number = 0  # of logs begun
        self._open()
        self._lines: list[str] = []
        # How often which user gave which command in this second; never what was in it. Whoever hears one adds it.
        self.counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._second = 0.0

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._number += 1

    def write(self, text: str) -> None:
        """Adds a line (or several, of a traceback)."""
        self._lines.append(text)

    def flush(self, now: float) -> None:
        """Writes what was added, each line with the time `now`; what was counted, when its second is over."""
        text = ""
        if self.counts:
            if not self._second:
                self._second = now
            elif int(now) != int(self._second):
                text = self._counted()
        if self._lines:
            stamp = _stamp(now)
            text += "".join(f"{stamp} {line}\n" for line in self._lines)
            self._lines.clear()
        if text:
            self._put(text, now)

    def written(self, now: float) -> tuple[int, int]:
        """Writes all that was added or counted so far. Returns which log it is, and its bytes."""
        if self.counts:
            self._put(self._counted(), now)
        self.flush(now)
        return self._number, self._size

    def exchange(self, beside: Path, number: int, size: int) -> bool:
        """`beside` is the log from now on: it says in another way what was `written`. False: that log is closed by now.

        Raises OSError.
        """
        if number != self._number:
            return False
        fd = os.open(beside, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        with open(self._path, "rb") as file:
            file.seek(size)
            os.write(fd, file.read())
        beside.rename(self._path)
        os.close(self._fd)
        self._fd, self._size = fd, os.fstat(fd).st_size
        return True

    def _counted(self) -> str:
        """A line for each user of the second that is over: ``ann message x3, whoelse``."""
        stamp, users = _stamp(self._second), {}  # type: tuple[str, dict[str, list[str]]]
        for (user, name), count in self.counts.items():
            users.setdefault(user, []).append(name if count == 1 else f"{name} x{count}")
        self.counts.clear()
        self._second = 0.0
        return "".join(f"{stamp} {user} {', '.join(shown)}\n" for user, shown in users.items())

    def _put(self, text: str, now: float) -> None:
        with contextlib.suppress(OSError):
            self._size += os.write(self._fd, text.encode(errors="backslashreplace"))
        if self._size >= LOG_LIMIT:
            with contextlib.suppress(OSError):
                self._rotate(now)

    def _rotate(self, now: float) -> None:
        full = self._fd
        if self._path.exists():  # not so when it could not be opened anew the last time
            self._name_by(now)
        self._open()
        os.close(full)

    def close(self, now: float) -> Path:
        """Ends the log under its final name, which is returned."""
        if self.counts:
            self._second = self._second or now
            self._put(self._counted(), now)
        self.flush(now)
        os.close(self._fd)
        return self._name_by(now)

    def _name_by(self, when: float) -> Path:
        stamp = time.strftime("%Y-%m-%d_%H:%M:%S", time.localtime(when))
        path = self._folder / f"log_{stamp}.log"
        count = 1
        while path.exists():
            count += 1
            path = self._folder / f"log_{stamp}_{count}.log"
        self._path.rename(path)
        for old in closed_logs(self._folder)[:-KEPT]:
            with contextlib.suppress(OSError):
                old.unlink()
        return path


def closed_logs(folder: Path) -> list[Path]:
    """The logs that were closed, oldest first. A file that has another name is a person's own."""
    named = [(match[1], int(match[2] or 1), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, _, path in sorted(named)]


def without(log: str, names: Iterable[str]) -> str:
    """A log in which GONE stands wherever one of these users' names stood. What the administrator did stays."""
    gone = re.compile(rf"(?<= )(?:{'|'.join(map(re.escape, names))})(?=[ :,]|$)", re.IGNORECASE)
    lines = log.split("\n")
    return "\n".join(line if line.startswith("console", _STAMP) else gone.sub(GONE, line) for line in lines)


def _stamp(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
