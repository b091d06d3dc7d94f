"""What an account leaves behind besides its mail: its name in the server logs, and bytes that are put aside and not
removed yet. Both go with the next save.

The names stand in a file of their own from before the save, which takes them out of the journal, until the logs are
without them: a crash in between forgets nobody.

Must not know why an account goes. Legal order: ``gone``* → ``begin`` before a fork → ``note_down`` in the child, before
anything else is written → ``carry_out`` there → ``end`` when that went well; at a clean stop ``note_down``, and
``finish`` when the log is closed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from chatlib.storage.blobs import Blobs
from chatlib.storage.serverlog import ServerLog, closed_logs, without
from chatlib.storage.textfile import replace, write_new

_NOTED = "removed.txt"


def note(folder: Path, names: Iterable[str]) -> None:
    """The logs in `folder` may still name these accounts: a later server takes them out. Raises OSError."""
    replace(folder / _NOTED, "".join(f"{name}\n" for name in dict.fromkeys([*_noted(folder), *names])))


def _noted(folder: Path) -> list[str]:
    try:
        return (folder / _NOTED).read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []


class Erasure:
    """Of one server. `folder`: of the logs. `gone`: the names of accounts that went since the last save."""

    def __init__(self, log: ServerLog, folder: Path, blobs: Blobs, gone: list[str]) -> None:
        self._log, self._folder, self._blobs = log, folder, blobs
        self._names = gone  # whom the logs may still name
        self._begun: list[str] = []  # those who are being taken out
        self._upto = (0, 0)  # of the log, when that began
        self._beside = folder / ".current.log.new"
        self._noted = folder / _NOTED
        gone += _noted(folder)

    def gone(self, name: str) -> None:
        """An account is."""
        self._names.append(name)

    def begin(self, now: float) -> None:
        """A save begins."""
        self._begun = list(self._names)
        if self._begun:
            self._upto = self._log.written(now)
            with contextlib.suppress(OSError):
                self._beside.unlink(missing_ok=True)  # of a save that came to nothing

    def note_down(self) -> None:
        """What the disk refuses, a crash before ``end`` or ``finish`` forgets."""
        if self._names:
            with contextlib.suppress(OSError):
                note(self._folder, self._names)

    def carry_out(self) -> None:
        """Raises OSError."""
        self._blobs.clear_away()
        if self._begun:
            self._rewrite(self._begun)
            with open(self._folder / "current.log", "rb") as file:
                text = file.read(self._upto[1]).decode(errors="replace")
            write_new(self._beside, [without(text, self._begun)])

    def end(self) -> None:
        """It is carried out. What the disk refused, or stands in a log closed meanwhile, goes with the next save."""
        with contextlib.suppress(OSError):
            if self._begun and self._log.exchange(self._beside, *self._upto):
                del self._names[: len(self._begun)]
                self._noted.unlink(missing_ok=True)

    def finish(self) -> None:
        """What the disk refuses stays until the oldest logs go."""
        with contextlib.suppress(OSError):
            self._blobs.clear_away()
            if self._names:
                self._rewrite(self._names)
            for path in (self._beside, self._noted):
                path.unlink(missing_ok=True)

    def _rewrite(self, names: list[str]) -> None:
        for path in closed_logs(self._folder):
            with contextlib.suppress(FileNotFoundError):  # the oldest go
                text = path.read_text(encoding="utf-8", errors="replace")
                if (cleaned := without(text, names)) != text:
                    replace(path, cleaned)
