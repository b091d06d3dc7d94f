"""Files on this computer's disk: one to be sent, one being received, their names, and the digest of either.

What takes long is done in slices of a few milliseconds, in the loop: hashing is, and so is syncing, which is spread
over the bytes as they come. Must not know connections or users. What cannot be done is a TransferError, a sentence for
people.

Legal order of a Source: built (which checks it) → ``open`` → the others → ``close``; of a DownloadPart: built →
``begin`` → ``write*`` → ``publish`` or ``remove`` → ``close``. Invariants: a Source that is not ``intact`` any more has
other bytes than were hashed; one program at a time writes a part; publishing never replaces a file; a name made from
:func:`safe_name` is a plain name in one folder, visible, of 1 to 255 bytes of UTF-8, whatever a sender chose.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from time import perf_counter

from chatlib.protocol import kinds
from chatlib.protocol.text import visible
from chatlib.protocol.words import readable_size
from chatlib.reactor.loop import Loop
from chatlib.storage.textfile import sync_folder

HASHED = 1 << 20  # bytes hashed in one tick: about a millisecond
SYNC_TIME = 0.02  # seconds that a sync should take at most,
SYNCED = (1 << 20, 64 << 20)  # and the least and the most bytes that come between two
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAX_EXTENSION = 64  # bytes; what is longer is no extension
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)


class TransferError(Exception):
    """Why a file cannot be sent or fetched: a sentence for people."""


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def cannot_save(name: str, folder: Path, error: OSError) -> str:
    """What to say when the disk does not take what is coming."""
    why = f"the disk is full: {folder.absolute()}" if error.errno in _FULL else _reason(error)
    return f'"{name}" cannot be saved: {why}. What has come is kept: the same command goes on from there.'


# Names, as pure functions on strings.


def safe_name(name: str) -> str:
    """A sender's file name as it may lie in a folder of the receiver's."""
    base = re.split(r"[/\\]", visible(name))[-1]
    base = re.sub(r"^[\s.]+|[\s.]+$", "", base) or "file"
    return fitted("_" + base if _DEVICE.match(base) else base)


def fitted(name: str, more: str = "") -> str:
    """`name` with `more` before its extension, the stem cut so that all has at most 255 bytes."""
    stem, extension = os.path.splitext(name)
    if len(extension.encode()) > _MAX_EXTENSION:
        stem, extension = name, ""
    room = kinds.MAX_FILE_NAME - len((more + extension).encode())
    if len(stem.encode()) > room:
        stem = stem.encode()[:room].decode(errors="ignore").rstrip()
    return stem + more + extension


def free_names(name: str) -> Iterator[str]:
    """`name`, then what may be taken instead: ``report (2).pdf``, ``report (3).pdf``, ..."""
    yield name
    for number in count(2):
        yield fitted(name, f" ({number})")


def part_name(name: str, sha256: str) -> str:
    """Where a download's bytes gather; whoever fetches the same again finds them by this name."""
    end = f".{sha256[:16]}.part"
    stem = name.encode()[: kinds.MAX_FILE_NAME - 1 - len(end)].decode(errors="ignore")
    return f".{stem}{end}"


# Files.


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Source:
    """A file to be sent."""

    def __init__(self, path: str) -> None:
        """Raises TransferError for what cannot be sent."""
        self.typed = path
        self.path = os.path.abspath(os.path.expanduser(path))
        self.name = visible(os.path.basename(self.path))  # as it is sent: nothing that cannot be seen
        self.fd = -1
        self.open()
        self.close()
        if not kinds.NEW_FILE_NAME.accepts(self.name):
            raise TransferError(f'The name of "{path}" cannot be sent: it must be {kinds.NEW_FILE_NAME.allowed}.')

    @property
    def renamed(self) -> bool:
        """Whether it is sent under another name than it has here."""
        return self.name != os.path.basename(self.path)

    def open(self) -> None:
        """Raises TransferError."""
        try:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not block
        except FileNotFoundError:
            raise TransferError(f'There is no file "{self.typed}".') from None
        except (OSError, ValueError) as error:
            why = _reason(error) if isinstance(error, OSError) else str(error)
            raise TransferError(f'"{self.typed}" cannot be read: {why}.') from None
        found = os.fstat(self.fd)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            folder = stat.S_ISDIR(found.st_mode)
            raise TransferError(f'"{self.typed}" is {"a folder: name the files in it" if folder else "not a file"}.')
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
    """Raises TransferError for a folder in which nothing can be saved."""
    try:
        if os.stat(os.path.join(folder, ".")) and os.access(folder, os.W_OK | os.X_OK):
            return
        why = "Permission denied"
    except OSError as error:
        why = _reason(error)
    raise TransferError(f'"{name}" cannot be saved in {folder.absolute()}: {why}.')


class DownloadPart:
    """A file being received into `folder`, under a hidden name until it is whole."""

    def __init__(self, folder: Path, name: str, sha256: str) -> None:
        """Opens what an earlier try left, or a new one. Raises TransferError."""
        self._folder, self._announced = folder, name
        self._name = safe_name(name)
        self.path = folder / part_name(self._name, sha256)
        self.fd = -1
        self._unsynced, self._stride = 0, SYNCED[0]
        try:
            while not self._open():
                self.close()
        except BlockingIOError:
            self.close()
            raise TransferError(f'"{name}" is being fetched into this folder already.') from None
        except OSError as error:
            self.close()
            raise TransferError(f'"{name}" cannot be saved in {folder.absolute()}: {_reason(error)}.') from None

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

    def begin(self, size: int) -> int:
        """From where a file of `size` bytes goes on. Raises TransferError when the disk has no room for the rest."""
        try:
            there = os.fstat(self.fd).st_size
            if there > size:  # nothing that this program wrote
                os.ftruncate(self.fd, 0)
                there = 0
            disk = os.fstatvfs(self.fd)
        except OSError as error:
            raise TransferError(cannot_save(self._announced, self._folder, error)) from None
        if size - there > disk.f_bavail * disk.f_frsize:
            text = f'There is no room for "{self._announced}" ({readable_size(size)}) in {self._folder.absolute()}.'
            raise TransferError(text)
        return there

    def write(self, piece: memoryview, position: int) -> None:
        """Raises OSError."""
        while piece:
            written = os.pwrite(self.fd, piece, position)
            position += written
            self._unsynced += written
            piece = piece[written:]
        if self._unsynced >= self._stride:
            self._sync()

    def _sync(self) -> None:
        """A little now and then takes no longer than all at the end, and the loop does not stand still for it."""
        begun = perf_counter()
        os.fsync(self.fd)
        self._unsynced = 0
        factor = min(2.0, SYNC_TIME / 2 / max(perf_counter() - begun, 1e-6))
        self._stride = max(SYNCED[0], min(int(self._stride * factor), SYNCED[1]))

    def publish(self) -> Path:
        """Syncs it, and gives it its name, or the first like it that is free. Raises OSError."""
        self._sync()
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
    with contextlib.suppress(OSError, TransferError):
        if (folder / part_name(safe_name(name), sha256)).is_file():
            part = DownloadPart(folder, name, sha256)
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
    """The SHA-256 of the first `size` bytes of `fd`, a slice a tick. `done` is called once: digest, or why not."""

    def __init__(
        self, loop: Loop, fd: int, size: int, moved: Callable[[int], None], done: Callable[[str, str], None]
    ) -> None:
        self._loop, self._fd, self._size = loop, fd, size
        self._moved, self._done = moved, done
        self._digest = hashlib.sha256()
        self._buffer = memoryview(bytearray(min(size, HASHED)))
        self._position = 0
        self._open = True
        os.lseek(fd, 0, os.SEEK_SET)
        loop.again(self)

    def again(self) -> None:
        if not self._open:
            return
        try:
            length = os.readv(self._fd, [self._buffer[: self._size - self._position]])
        except OSError as error:
            self.cancel()
            self._done("", _reason(error))
            return
        self._digest.update(self._buffer[:length])
        self._position += length
        self._moved(self._position)
        if length and self._position < self._size:
            self._loop.again(self)
        else:
            self.cancel()
            self._done(self._digest.hexdigest(), "")

    def broken(self) -> None: ...

    def cancel(self) -> None:
        """`done` will not be called."""
        self._open = False
