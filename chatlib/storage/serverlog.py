"""The server log: ``logs/current.log`` while the server runs, named by the time it was closed afterwards.

Records are gathered, and written by `flush` once a tick. What users do is counted, and written once a second. A log
that has reached LOG_LIMIT is closed, and the next begun; KEPT closed ones stay. A disk that refuses lines costs log
lines, not the server. Must not know what is worth a record, only from which level on one of its weight is written.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from chatlib.protocol.text import escaped

LOG_LIMIT = 16 << 20  # bytes
KEPT = 10  # closed logs
GONE = "(removed)"  # in the place of a removed user's name
_STAMP = len("2026-01-31 23:59:59 ")  # and behind it, what happened
_NAME = re.compile(r"log_(\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d)(?:_(\d+))?\.log")
_DOINGS = re.compile(r"console( from \S+)?:")
_APART = str.maketrans(dict.fromkeys(":,()\"'", " "))
_LINES = 10_000  # looked through at once
_NUMBERS = re.compile("[0-9.]+")
LEVELS = ("quiet", "presence", "commands", "debug")  # each has what those before it have


class Weight(NamedTuple):
    """What a record is: the level from which on it is written, and its priority as syslog counts."""

    level: int
    priority: int


ERROR = Weight(0, 3)  # a mistake of ours, or the disk's
WARNING = Weight(0, 4)  # something for the administrator
LIFE = Weight(0, 5)  # starts and stops
PRESENCE = Weight(1, 6)  # who comes and goes; what the administrator does, and the server by itself
COMMANDS = Weight(2, 6)  # how often who gave which command
DEBUG = Weight(3, 7)


class ServerLog:
    """Legal order: (``write``, or additions to `heard`)* → ``flush`` each tick, ``tally`` now and then; ``close`` once.

    Times are seconds since the epoch.
    """

    def __init__(self, folder: Path, copy: Callable[[Weight, str], None] | None = None) -> None:
        """`copy` takes each record, too."""
        self._folder = folder
        self._path = folder / "current.log"
        if self._path.exists():  # the last server did not stop cleanly
            self._name_by(self._path.stat().st_mtime)
        self._number = 0  # of logs begun
        self._open()
        self._lines: list[str] = []
        self.level = COMMANDS.level
        self.copy = copy
        self.count: Callable[[str, int], None] = lambda name, by: None  # how often a command was given in a second
        # Which user gave which command lately; never what was in it. Whoever hears one adds it, with no user for what
        # is only counted in all.
        self.heard: list[tuple[str, str]] = []
        self._counts: Counter[tuple[str, str]] = Counter()  # in this second
        self._second = 0.0

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._number += 1

    def write(self, text: str, weight: Weight = LIFE) -> None:
        """Adds a record: a line, or several, of a traceback."""
        if weight.level <= self.level:
            self._lines.append(text)
            if self.copy:
                self.copy(weight, text)

    def happened(self, text: str) -> None:
        """A record of PRESENCE."""
        self.write(text, PRESENCE)

    @property
    def debugs(self) -> bool:
        """Whether records of DEBUG are written."""
        return self.level >= DEBUG.level

    def tally(self, now: float) -> None:
        """Counts what was heard since `now`: legal whenever it pays, and when that second is over."""
        counts = self._counts
        if not counts:
            self._second = now
        counts.update(self.heard)
        self.heard.clear()

    def pending(self) -> Mapping[str, int]:
        """How often each command was given in this second: what `count` will be told."""
        found: Counter[str] = Counter()
        for (_, name), count in self._counts.items():
            found[name] += count
        return found + Counter(name for _, name in self.heard)

    def flush(self, now: float) -> None:
        """Writes what was added, each line with the time `now`; what was counted, when its second is over."""
        text = ""
        if self._counts and int(now) != int(self._second):
            text = self._counted()
        if self._lines:
            stamp = _stamp(now)
            text += "".join(f"{stamp} {escaped(line)}\n" for line in self._lines)
            self._lines.clear()
        if text:
            self._put(text, now)

    def written(self, now: float) -> tuple[int, int]:
        """Writes all that was added or counted so far. Returns which log it is, and its bytes."""
        self.tally(now)
        if self._counts:
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
        for (user, name), count in self._counts.items():
            self.count(name, count)
            if user:
                users.setdefault(user, []).append(name if count == 1 else f"{name} x{count}")
        self._counts.clear()
        if self.level < COMMANDS.level:
            return ""
        lines = [f"{user} {', '.join(shown)}" for user, shown in users.items()]
        if self.copy:
            for line in lines:
                self.copy(COMMANDS, line)
        return "".join(f"{stamp} {line}\n" for line in lines)

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
        self.tally(now)
        if self._counts:
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
    """A log in which GONE stands wherever one of these users' names stood. What the administrator did stays, and so do
    addresses, which a name may look like: nobody wipes his traces out by a name."""
    lines = log.split("\n")
    numbers, words = [], []  # type: list[str], list[str]
    for name in _those_in(lines, names):
        (numbers if _NUMBERS.fullmatch(name) else words).append(re.escape(name))
    if not (numbers or words):
        return log
    gone = re.compile(
        rf"""(?<=[ ("'])(?:{'|'.join(words) or '(?!)'}|(?<! from )(?<! of )(?:{'|'.join(numbers) or '(?!)'}))"""
        r"""(?=[ :,)"']|[.]? |[.]?$)""", re.IGNORECASE
    )  # fmt: skip
    return "\n".join(line if _DOINGS.match(line, _STAMP) else gone.sub(GONE, line) for line in lines)


def _those_in(lines: list[str], names: Iterable[str]) -> list[str]:
    """Those of the names that stand there: looking for a thousand that do not would take minutes."""
    words: set[str] = set()
    for start in range(0, len(lines), _LINES):
        words.update(" ".join(lines[start : start + _LINES]).translate(_APART).lower().split())
    return [name for name in dict.fromkeys(names) if {name.lower(), f"{name.lower()}."} & words]


def _stamp(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
