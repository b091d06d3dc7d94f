"""Text files: each is replaced whole or not at all, and whoever reads one can name the line that is wrong.

A flat file's first line names its format: ``# block_rep.txt 2: who blocks whom``. All files are 0600.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

FORMAT = 2
OLD_FORMAT = 1  # without checksums; still read
REMEDY = "server.py --verify says what else is damaged, --restore makes a home of a backup, --repair mends this one."
_AT_ONCE = 1 << 20  # bytes
slow = 0.0  # seconds that each change of a name takes longer, for tests with a disk that is not there


class FileError(ValueError):
    """A file that cannot be used as it is; the message names file, line and what is allowed."""


def pause() -> None:
    """Comes before each change of a name."""
    if slow:
        time.sleep(slow)


def sync_folder(folder: Path) -> None:
    """Makes renames and new files in `folder` durable."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Makes what a file holds durable."""
    _sync(path, os.O_RDWR)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_new(path: Path, pieces: Iterable[str], sync: bool = True) -> tuple[int, str]:
    """Writes a file of `pieces` and syncs it; an older one of that name is overwritten. Not atomic by itself.

    Returns its bytes and their SHA-256.
    """
    size, digest = 0, hashlib.sha256()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        for piece in pieces:
            data = piece.encode()
            size += len(data)
            digest.update(data)
            file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    return size, digest.hexdigest()


def replace(path: Path, text: str) -> None:
    """Replaces `path` by a file that holds `text`: write beside, fsync, rename, fsync the folder."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        write_new(beside, [text])
        pause()
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sealed(text: str) -> str:
    """`text` (one line, without its end) with a checksum behind it."""
    return f"{text} {zlib.crc32(text.encode()):08x}\n"


def unsealed(text: str) -> str | None:
    """What was sealed; None when it is damaged."""
    line = text[:-10]
    return line if sealed(line) == text else None


def put(fd: int, data: bytes, at: int) -> None:
    """All of `data`, there. Raises OSError."""
    left = memoryview(data)
    while left:
        written = os.pwrite(fd, left, at)
        at += written
        left = left[written:]


def write_again(fd: int, start: int, end: int) -> None:
    """What stands there is written once more: behind a sync that failed the disk may have lost what is still read, and
    says so to nobody who syncs again. Raises OSError."""
    while start < end and (piece := os.pread(fd, min(_AT_ONCE, end - start), start)):
        put(fd, piece, start)
        start += len(piece)


def with_checksums(lines: list[bytes]) -> bytes:
    """Each line, which begins with a blank, behind its CRC-32. All at once: that costs less than one by one."""
    sums = struct.pack(f">{len(lines)}I", *map(zlib.crc32, lines)).hex().encode()
    places = range(0, len(sums), 8)
    return b"".join([part for at, line in zip(places, lines, strict=True) for part in (sums[at : at + 8], line)])


def is_whole(line: bytes) -> bool:
    """Whether the checksum of such a line fits."""
    return line[:8] == b"%08x" % zlib.crc32(line[8:])


def flat_lines(name: str, about: str, lines: Iterable[str]) -> Iterator[str]:
    """The pieces of a flat file: its first line, then `lines`."""
    yield f"# {name} {FORMAT}: {about}\n"
    for line in lines:
        yield line + "\n"


def read_flat(path: Path, format_: int = FORMAT) -> Iterator[tuple[int, str]]:
    """The numbered lines of a flat file, the first line checked and left out. Raises FileError."""
    begins = f"# {path.name} {format_}: "
    with open(path, encoding="utf-8", newline="\n") as file:
        try:
            first = file.readline()
            if not first.startswith(begins):
                raise FileError(f"{path}, line 1: a file of format {format_} begins with '{begins}'")
            if not first.endswith("\n"):
                raise FileError(f"{path}, line 1: the file ends in the middle of a line")
            for number, line in enumerate(file, 2):
                if not line.endswith("\n"):
                    raise FileError(f"{path}, line {number}: the file ends in the middle of a line")
                yield number, line[:-1]
        except UnicodeDecodeError as error:
            raise FileError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
