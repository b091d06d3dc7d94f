"""The console's ``backup``: a forked child writes it, while the server goes on.

At the server's own console any path will do. A console from afar says a name alone, and the file comes into
``backups/`` of the home: whoever has the administrator's password may not write just anywhere on that machine. Legal:
``begin`` at any time, one at a time; ``end`` kills the child and removes what it had written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from chatlib.protocol.nats import Engine
from chatlib.reactor.jobs import Job
from chatlib.reactor.loop import Loop
from chatlib.server import backup
from chatlib.server.enginefiles import fetching
from chatlib.storage.textfile import FileError

Tell = Callable[[str], None]
FOLDER = "backups"  # in the home
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class Backups:
    """Those of one server. `note`: the server log."""

    def __init__(self, loop: Loop, home: Path, note: Tell, engine: Engine | None = None) -> None:
        """`engine`: has the bytes of files that came to other nodes."""
        self._loop, self._home, self._note, self._engine = loop, home, note, engine
        self._job: Job | None = None
        self._tell: Tell = note
        self._beside = Path()

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return self._job is not None

    def begin(self, file: str, tell: Tell, from_afar: bool) -> None:
        """`tell` hears what came of it."""
        if self._job is not None:
            tell("Error! A backup is under way already.")
            return
        try:
            target = self._named(file) if from_afar else Path(os.path.expanduser(file))
            backup.refuse(target)
        except (FileError, OSError) as error:
            tell(f"Error! {error}")
            return
        server, self._beside = os.getpid(), backup.unfinished(target)

        def work() -> bytes:
            def wanted() -> bool:
                return os.getppid() == server

            if self._engine is None:
                return backup.write(self._home, target, wanted, self._beside).encode()
            with fetching(self._engine) as fetch:
                return backup.write(self._home, target, wanted, self._beside, fetch).encode()

        def done(answer: bytes, failure: str) -> None:
            self._job = None
            self._clear()
            said = f"No backup was made: {failure}" if failure else f"Backed up: {answer.decode()}"
            self._note(f"backup: {said}")
            tell(f"Error! {said}" if failure else said)

        try:
            self._job, self._tell = Job(self._loop, work, done), tell
        except OSError as error:
            tell(f"Not now: {error.strerror}.")

    def _named(self, name: str) -> Path:
        """Raises FileError, OSError."""
        if not _NAME.fullmatch(name):
            raise FileError(
                "From afar, a backup is told by a name of A-Z a-z 0-9 _ . - without a path: the file comes into "
                f"{FOLDER}/ of the home."
            )
        folder = self._home / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / name

    def end(self) -> None:
        """The server stops: the backup is not made."""
        if self._job is not None:
            self._job.end()
            self._job = None
            self._clear()
            self._tell("No backup was made: the server stops.")

    def _clear(self) -> None:
        """What a child that was killed has left."""
        self._beside.unlink(missing_ok=True)
