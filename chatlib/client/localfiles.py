"""Files on this computer's disk: one to be sent, one being received, and the digest of either, a piece at a time.

Must not know connections or users. What cannot be done is a FileError, a sentence for people.
Legal order of a Source: built (which checks it) → ``open`` → the others → ``close``; of a Part: built → the others →
``publish`` or ``remove`` → ``close``. Invariants: a Source that is not ``intact`` any more has other bytes than were
hashed; a Part is written by one program at a time; publishing never replaces a file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from chatlib.client.filenames import free_names, part_name, safe_name
from chatlib.protocol import kinds
from chatlib.protocol.text import visible
from chatlib.reactor.loop import Loop
from chatlib.storage.textfile import sync_folder

HASHED = 1 << 20  # bytes hashed in one tick: a few milliseconds
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileError(Exception):
    """Why a local file or folder cannot be used."""


def reason(error: OSError) -> str:
    return error.strerror or str(error)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Source:
    """A file to be sent."""

    def __init__(self, path: str) -> None:
        """Raises FileError for what cannot be sent."""
        self.typed = path
        self.path = os.path.abspath(os.path.expanduser(path))
        self.name = visible(os.path.basename(self.path))  # as it is sent: nothing that cannot be seen
        self.fd = -1
        self.open()
        self.close()
        if not kinds.NEW_FILE_NAME.accepts(self.name):
            raise FileError(f'The name of "{path}" cannot be sent: it must be {kinds.NEW_FILE_NAME.allowed}.')

    @property
    def renamed(self) -> bool:
        """Whether it is sent under another name than it has here."""
        return self.name != os.path.basename(self.path)

    def open(self) -> None:
        """Raises FileError."""
        try:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not block
        except FileNotFoundError:
            raise FileError(f'There is no file "{self.typed}".') from None
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            raise FileError(f'"{self.typed}" cannot be read: {why}.') from None
        found = os.fstat(self.fd)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            folder = stat.S_ISDIR(found.st_mode)
            raise FileError(f'"{self.typed}" is {"a folder: name the files in it" if folder else "not a file"}.')
        self.size = found.st_size
        self._identity = _identity(found)

    def intact(self) -> bool:
        """Whether the file is the one that was opened, with nothing written to it since."""
        try:
            return _identity(os.stat(self.path)) == self._identity
        except OSError:
            return False

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def check_folder(folder: Path, name: str) -> None:
    """Raises FileError for a folder in which nothing can be saved."""
    try:
        if os.stat(os.path.join(folder, ".")) and os.access(folder, os.W_OK | os.X_OK):
            return
        why = "Permission denied"
    except OSError as error:
        why = reason(error)
    raise FileError(f'"{name}" cannot be saved in {folder.absolute()}: {why}.')


class Part:
    """A file being received into `folder`, under a hidden name until it is whole."""

    def __init__(self, folder: Path, name: str, sha256: str) -> None:
        """Opens what an earlier try left, or a new one. Raises FileError."""
        self._folder = folder
        self._name = safe_name(name)
        self.path = folder / part_name(self._name, sha256)
        self.fd = -1
        try:
            while not self._open():
                self.close()
        except BlockingIOError:
            self.close()
            raise FileError(f'"{name}" is being fetched into this folder already.') from None
        except OSError as error:
            self.close()
            raise FileError(f'"{name}" cannot be saved in {folder.absolute()}: {reason(error)}.') from None

    def _open(self) -> bool:
        """False when another program took the part away at that moment."""
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        if not stat.S_ISREG(os.fstat(self.fd).st_mode):
            raise OSError(errno.EEXIST, f"{self.path.name} is in the way")
        fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.fd))
        except FileNotFoundError:
            return False

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def room(self) -> int:
        """Bytes that the disk has for more."""
        free = os.fstatvfs(self.fd)
        return free.f_bavail * free.f_frsize

    def write(self, piece: memoryview, position: int) -> None:
        """Raises OSError."""
        while piece:
            written = os.pwrite(self.fd, piece, position)
            position += written
            piece = piece[written:]

    def publish(self) -> Path:
        """Gives it its name, or the first like it that is free. Raises OSError."""
        for name in free_names(self._name):
            path = self._folder / name
            try:
                _move(self.path, path)
            except FileExistsError:
                continue
            with contextlib.suppress(OSError):
                sync_folder(self._folder)
            return path
        raise AssertionError("free names do not end")

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def remove_part(folder: Path, name: str, sha256: str) -> None:
    """Removes what has come of a file that is not wanted any more, unless another program is fetching it."""
    with contextlib.suppress(OSError, FileError):
        if (folder / part_name(safe_name(name), sha256)).is_file():
            part = Part(folder, name, sha256)
            part.remove()
            part.close()


def _move(path: Path, new: Path) -> None:
    """Renames, but never over a file. Raises FileExistsError, OSError."""
    try:
        os.link(path, new)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))  # ours from now on
        path.replace(new)
    else:
        path.unlink()


class Hashing:
    """The SHA-256 of the first `size` bytes of `fd`, a piece a tick. `done` is called once: digest, or why not."""

    def __init__(
        self, loop: Loop, fd: int, size: int, moved: Callable[[int], None], done: Callable[[str, str], None]
    ) -> None:
        self._loop, self._fd, self._size = loop, fd, size
        self._moved, self._done = moved, done
        self._digest = hashlib.sha256()
        self._position = 0
        self._open = True
        loop.again(self)

    def again(self) -> None:
        if not self._open:
            return
        try:
            piece = os.pread(self._fd, min(HASHED, self._size - self._position), self._position)
        except OSError as error:
            self.cancel()
            self._done("", reason(error))
            return
        self._digest.update(piece)
        self._position += len(piece)
        self._moved(self._position)
        if piece and self._position < self._size:
            self._loop.again(self)
        else:
            self.cancel()
            self._done(self._digest.hexdigest(), "")

    def broken(self) -> None: ...

    def cancel(self) -> None:
        """`done` will not be called."""
        self._open = False
