"""A home that goes when its server stops: for a class, or a test.

The one place that deletes a home. Invariant: only that very folder is removed, by the process that made it, and only
while its path still leads to it; anything else stays, and is named.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

PREFIX = "chat-ephemeral-"
_COPIED = ("credentials.txt", "para.txt")


class Ephemeral:
    """A new, empty home with the files of `source` that people edit. Raises OSError. Legal: ``remove`` once."""

    def __init__(self, source: Path) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        self._process, self._made = os.getpid(), _identity(self.path)
        self.copied: list[str] = []  # the names of what was there to be copied
        try:
            for name in _COPIED:
                if (source / name).exists():
                    shutil.copyfile(source / name, self.path / name)
                    self.copied.append(name)
        except OSError:
            self.remove()
            raise

    def remove(self) -> str:
        """Removes it with all that is in it. Returns why it could not, or ""."""
        try:
            if os.getpid() != self._process:
                return f"{self.path} stays: another process made it."
            if _identity(self.path) != self._made:
                return f"{self.path} stays: it is not the folder that this server made."
            shutil.rmtree(self.path)  # follows no link
        except OSError as error:
            return f"{error.filename or self.path} stays: {error.strerror}."
        return ""


def _identity(path: Path) -> tuple[int, int, int]:
    """What tells a folder from all others. Raises OSError for what is no folder, or only a link to one."""
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, "not a folder", str(path))
    return found.st_dev, found.st_ino, found.st_uid
