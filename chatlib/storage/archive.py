"""A backup's file: a ``.tar.gz`` that any tar unpacks, with a list of its own at the end, ``backup.txt``.

The list names each file with its bytes and SHA-256, and is sealed by a digest of itself. What it does not name does not
count; of several members of one name the last does, as for tar. So a file that changed while it was read is simply
written again, and an archive without its end is none. Everything goes through in pieces of 1 MiB.

Must not know what a home is. Legal order, writing: ``add*`` → ``finish``; reading: ``listed``, which proves all of it →
``unpack``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from chatlib.storage.textfile import FileError

LIST = "backup.txt"
_BEGINS = f"# {LIST} 1: "
_ABOUT = "what it says of itself; then each file, its bytes, its SHA-256; and of these lines likewise\n"
_PIECE = 1 << 20
_SYNC = 16 << 20
_BLOCK = 512
_LEVEL = 1  # of gzip: three times as fast as the usual one, and a tenth larger
_SIZE = re.compile("[0-9]{1,20}")
_LONGEST = 64 << 20  # bytes that a list may have


class Member(NamedTuple):
    """A file in an archive. `place`: of those in the archive, the how many-th."""

    size: int
    sha256: str
    place: int = -1


class ArchiveWriter:
    """Into an open file. Raises OSError whenever the disk does."""

    def __init__(self, file: BinaryIO, wanted: Callable[[], bool] = lambda: True) -> None:
        """`wanted` is asked with each piece: InterruptedError is raised when it denies."""
        self._raw, self._wanted = file, wanted
        self._file = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_LEVEL, mtime=0)
        self._members: dict[str, Member] = {}
        self._synced = 0

    def add(self, name: str, file: BinaryIO, size: int) -> Member | None:
        """The next `size` bytes of `file`. None: there are fewer by now, and the member does not count."""
        self._members.pop(name, None)
        self._file.write(_header(name, size))
        digest, left = hashlib.sha256(), size
        while left and (piece := file.read(min(_PIECE, left))):
            if not self._wanted():
                raise InterruptedError("nobody waits for this backup any more")
            digest.update(piece)
            self._file.write(piece)
            self._sync_some()
            left -= len(piece)
        for _ in range(0, left, _PIECE):  # its size is written already
            self._file.write(bytes(min(_PIECE, left)))
            left -= min(_PIECE, left)
        self._file.write(bytes(-size % _BLOCK))
        if file.tell() < size or self._short(file, size):
            return None
        self._members[name] = found = Member(size, digest.hexdigest())
        return found

    def _sync_some(self) -> None:
        """Now and then, so that no heap of it stands before what others sync."""
        if self._raw.tell() > self._synced + _SYNC:
            self._raw.flush()
            os.fsync(self._raw.fileno())
            self._synced = self._raw.tell()

    @staticmethod
    def _short(file: BinaryIO, size: int) -> bool:
        """Whether a file was cut while it was read: what had been read may be of before and after."""
        return not isinstance(file, io.BytesIO) and os.fstat(file.fileno()).st_size < size

    def drop(self, name: str) -> None:
        """This one does not count."""
        self._members.pop(name, None)

    def finish(self, about: Iterable[str]) -> Mapping[str, Member]:
        """Writes the list, which begins with the lines `about` the backup, and the end."""
        rows = [*about, *(f"{name} {size} {digest}" for name, (size, digest, _) in sorted(self._members.items()))]
        text = _BEGINS + _ABOUT + "".join(row + "\n" for row in rows)
        text += f"{LIST} {len(text.encode())} {hashlib.sha256(text.encode()).hexdigest()}\n"
        data = text.encode()
        self.add(LIST, io.BytesIO(data), len(data))
        del self._members[LIST]
        self._file.write(bytes(2 * _BLOCK))
        self._file.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        return self._members


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.PAX_FORMAT)


class Listed(NamedTuple):
    """What an archive says of itself, and its files by name."""

    about: Mapping[str, str]
    members: Mapping[str, Member]


def listed(path: Path, may_be: Callable[[str], bool]) -> Listed:
    """Reads all of an archive and proves it, and writes nothing. `may_be`: whether a file may have this name.

    Raises FileError, which says what is wrong, OSError.
    """
    found: dict[str, Member] = {}
    text = b""
    for place, name, size, pieces in _members(path):
        if name != LIST and not may_be(name):
            raise FileError(f"{path} is no backup of a server's home: it has a file {name[:200]!r}.")
        if text:
            raise FileError(f"{path} is damaged: something stands behind its list.")
        if name == LIST:
            if size > _LONGEST:
                raise FileError(f"{path} is damaged: its list has {size:,} bytes.")
            text = b"".join(pieces)
        else:
            digest = hashlib.sha256()
            for piece in pieces:
                digest.update(piece)
            found[name] = Member(size, digest.hexdigest(), place)
    about, wanted = _list(path, text)
    for name, known in wanted.items():
        if name not in found or found[name][:2] != known:
            raise FileError(f"{path} is damaged: {name} in it is not what was backed up (its checksum does not fit).")
    return Listed(about, {name: found[name] for name in wanted})


def _list(path: Path, text: bytes) -> tuple[dict[str, str], dict[str, tuple[int, str]]]:
    begins, _, last = text[:-1].rpartition(b"\n")
    begins += b"\n"
    if not text:
        raise FileError(f"{path} is damaged, or no backup: it ends without its list, {LIST}.")
    if last + b"\n" != f"{LIST} {len(begins)} {hashlib.sha256(begins).hexdigest()}\n".encode():
        raise FileError(f"{path} is damaged: its list, {LIST}, is not what was written (its checksum does not fit).")
    try:
        first, *rows = begins.decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is damaged, or no backup: its list, {LIST}, is no UTF-8 ({error.reason}).") from None
    if not first.startswith(_BEGINS):
        raise FileError(f"{path}: a later version wrote this backup: restore it with that one.")
    about: dict[str, str] = {}
    wanted: dict[str, tuple[int, str]] = {}
    for row in rows:
        words = row.rsplit(" ", 2)
        if len(words) == 3 and len(words[2]) == 64:
            if not _SIZE.fullmatch(words[1]):
                raise FileError(f"{path} is damaged: in its list, {words[0][:200]!r} has no size.")
            wanted[words[0]] = int(words[1]), words[2]
        else:
            name, _, value = row.partition(" ")
            about[name] = value
    return about, wanted


def unpack(path: Path, known: Listed, folder: Path) -> None:
    """Writes the files of a proven archive under `folder`, durably. Raises FileError when it is not what was proven,
    OSError."""
    left = {member.place: name for name, member in known.members.items()}
    for place, name, _, pieces in _members(path):
        if left.get(place) != name:
            continue
        target = folder / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest = hashlib.sha256()
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(fd)
        if digest.hexdigest() != known.members[name].sha256:
            break
        del left[place]
    if left:
        raise FileError(f"{path} was changed while it was read.")


def _members(path: Path) -> Iterator[tuple[int, str, int, Iterator[bytes]]]:
    """Each file in the archive: its place, its name, its size, and its bytes, in pieces, to be read before the next.

    Nothing but plain files is taken. Raises FileError, OSError.
    """
    with open(path, "rb") as raw:
        file, place = _Unzipped(path, raw), 0
        while (block := file.exactly(_BLOCK)).strip(b"\0"):
            name, info = "", file.header(block)
            if info.type == tarfile.XHDTYPE and info.size <= 16 * _BLOCK:
                name = _long_name(file.exactly(info.size))
                file.exactly(-info.size % _BLOCK)
                info = file.header(file.exactly(_BLOCK))
            if info.type != tarfile.REGTYPE:
                raise FileError(f"{path} is no backup: {info.name[:200]!r} in it is no plain file.")
            pieces = file.pieces(info.size)
            yield place, name or info.name, info.size, pieces
            for _ in pieces:
                pass
            file.exactly(-info.size % _BLOCK)
            place += 1
        while piece := file.read(_PIECE):  # its own checksum is at the very end
            if piece.strip(b"\0"):
                raise FileError(f"{path} is damaged: something stands behind its end.")


class _Unzipped:
    """What an archive holds. Whatever is wrong with it is a FileError."""

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        self._path, self._file = path, gzip.GzipFile(fileobj=raw, mode="rb")

    def read(self, size: int) -> bytes:
        """At most so many bytes."""
        try:
            return self._file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FileError(f"{self._path} is damaged, cut short, or no backup ({error}).") from None

    def exactly(self, size: int) -> bytes:
        """So many."""
        data = self.read(size)
        if len(data) < size:
            raise FileError(f"{self._path} is cut short, or no backup.")
        return data

    def pieces(self, size: int) -> Iterator[bytes]:
        """So many, in pieces."""
        while size:
            piece = self.exactly(min(_PIECE, size))
            size -= len(piece)
            yield piece

    def header(self, block: bytes) -> tarfile.TarInfo:
        """What a block says of the member that it begins."""
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.TarError, UnicodeDecodeError) as error:
            raise FileError(f"{self._path} is damaged, or no backup ({error}).") from None
        if info.size < 0:
            raise FileError(f"{self._path} is damaged, or no backup: {info.name[:200]!r} in it has a size below 0.")
        return info


def _long_name(records: bytes) -> str:
    """The name in the header that stands before that of a file with a long one."""
    for record in records.decode(errors="replace").split("\n"):
        name = record.partition(" path=")[2]
        if name:
            return name
    return ""
