"""Replaces a file that a person may be saving in the same moment, so that nothing anyone wrote is lost.

A rename overwrites whatever has the name by then. So the file is first moved aside, and looked at where it cannot
change its name any more:

1. the new text is written beside (``.NAME.<pid>.new``);
2. NAME is renamed to ``.NAME.old``: what a person saved last, were it in this very moment, is there now;
3. if that is not what was read, or somebody has it open for writing, it gets its name back, and nothing was changed;
4. the new text gets the name, unless a person has made a new file of that name meanwhile;
5. ``.NAME.old`` goes; if it was changed after all, it is kept as ``NAME.kept``, and that is said.

`mend` finishes what a crash cut short: a file is never without its name for longer than until the next start or write.
One process does this at a time, under the home's writer lock. Must not know what the text means.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from pathlib import Path

from chatlib.storage import textfile
from chatlib.storage.textfile import FileError, sync_folder, write_new

PATIENCE = 2.0  # seconds to wait for somebody who is writing
_AGAIN = 0.02  # seconds between two attempts
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # what such a file system says


def exchange(path: Path, held: bytes | None, text: str, notes: list[str]) -> bool:
    """Makes `path`, which held `held` (None: it was not there), hold `text`. Raises OSError.

    False: it holds something else by now, and nothing was changed. What people must know is added to `notes`.
    """
    notes += mend(path)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        write_new(new, [text])
        done = give(new, path) if held is None else _exchange(path, new, held, notes)
        sync_folder(path.parent)
        return done
    finally:
        new.unlink(missing_ok=True)


def _exchange(path: Path, new: Path, held: bytes, notes: list[str]) -> bool:
    aside = _aside(path)
    textfile.pause()
    try:
        if path.read_bytes() != held:  # as a rule nobody is at work, or was some time ago: then the name stays in place
            return False
        os.rename(path, aside)
    except FileNotFoundError:
        return False
    fd = os.open(aside, os.O_RDONLY | os.O_CLOEXEC)
    try:
        textfile.pause()
        if not _holds(fd, held):
            notes += mend(path)
            return False
        if not give(new, path):
            aside.unlink()  # it was read, and a person has written a newer one
            return False
        textfile.pause()
        if _holds(fd, held):
            aside.unlink()
        else:
            notes.append(_keep(aside, path))
        return True
    except OSError:
        notes += mend(path)
        raise
    finally:
        os.close(fd)


def mend(path: Path) -> list[str]:
    """Brings back what a crash left aside. Returns what people must know. Raises OSError."""
    aside = _aside(path)
    if not aside.exists():
        return []
    if give(aside, path):
        aside.unlink(missing_ok=True)
        return []
    if any(new.samefile(path) for new in path.parent.glob(f".{path.name}.*.new")):
        aside.unlink()  # it had been looked at, and the new text has its name
        return []
    if aside.read_bytes() == path.read_bytes():
        aside.unlink()
        return []
    return [_keep(aside, path)]


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def give(file: Path, name: Path) -> bool:
    """Gives a file another name (it may keep its old one, too); False when the name is taken."""
    textfile.pause()
    try:
        os.link(file, name)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if name.exists():
            return False
        os.rename(file, name)
    return True


def _keep(aside: Path, path: Path) -> str:
    kept, count = path.with_name(f"{path.name}.kept"), 1
    while not give(aside, kept):
        count += 1
        kept = path.with_name(f"{path.name}.kept-{count}")
    aside.unlink(missing_ok=True)
    return f"{kept}: a version of {path.name} that somebody saved while the server wrote it, and that is not in it."


def _holds(fd: int, held: bytes) -> bool:
    """Whether a file holds just that, and nobody has it open for writing."""
    return _unwritten(fd) and _content(fd) == held


def _unwritten(fd: int) -> bool:
    """Whether nobody has a file open for writing (Linux tells, as a rule); who opens it later waits for us."""
    if hasattr(fcntl, "F_SETLEASE"):
        try:
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)  # which is ignored
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file of somebody else's, or a file system without leases
    return True


def _content(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def read_whole(path: Path) -> bytes:
    """What a file holds when nobody is in the middle of writing it: many editors empty it first. Raises OSError.

    FileError: somebody keeps it open for longer than PATIENCE.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            before = os.fstat(fd)
            if _unwritten(fd):
                data, after = _content(fd), os.fstat(fd)
                if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                    return data
        finally:
            os.close(fd)
        if time.monotonic() >= deadline:
            raise FileError(f"{path}: another program has it open for writing; save it there, or close it")
        time.sleep(_AGAIN)
