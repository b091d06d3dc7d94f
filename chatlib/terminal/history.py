"""What was typed in earlier runs, in a file, for the arrow keys.

Must not know what a line means: whoever builds one says what may be kept of a line, and adds no secret. A fault of the
disk costs lines, nothing else: a torn line is a line, and the file is cut to its later half when it has grown too long.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from chatlib.terminal.editor import MAX_HISTORY

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class HistoryFile:
    """The file at `path`, readable by its owner alone. `keep`: what is kept of a line. Legal order: any."""

    def __init__(self, path: Path, keep: Callable[[str], str] = lambda line: line) -> None:
        self._path, self._keep = path, keep

    def lines(self) -> list[str]:
        """The last lines, oldest first."""
        try:
            lines = self._path.read_text("utf-8", "replace").splitlines()
            if len(lines) > MAX_HISTORY:
                lines = lines[-MAX_HISTORY // 2 :]
                beside = self._path.with_name(self._path.name + ".new")
                self._write(beside, os.O_TRUNC, lines)
                beside.replace(self._path)
        except OSError:
            return []
        return lines

    def add(self, line: str) -> None:
        """One more line, if anything of it may be kept."""
        kept = self._keep(line)
        if kept:
            with contextlib.suppress(OSError):
                self._write(self._path, os.O_APPEND, [kept])

    @staticmethod
    def _write(path: Path, how: int, lines: list[str]) -> None:
        fd = os.open(path, _FLAGS | how, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", errors="replace") as file:
            file.write("".join(line + "\n" for line in lines))
