"""Snapshots: a set of files that whoever comes new, or comes back late, takes instead of the log's beginning.

A snapshot is a manifest, itself a piece, that names each file with its bytes, SHA-256 and pieces of 8 MiB. Pieces are
found by their content, so only those travel that the last snapshot has not got, in either direction.

The files go on changing while they are read: the next save replaces text files, erasing blanks lines of messages in
their place, and old messages go. So `upload` is told what belongs together by a function, and asks it again until
nothing came in between: what is proven by a digest must fit it, and at the end the set must still be the one that
stands. What was read already is not read again while it looks the same. A line that was erased meanwhile is missing in
a snapshot that still knows it; the command that erased it stands behind it in the log, and erases it again.

`fetch` writes into a folder of its own, and proves each file; to put them in their places is for others. Everything
here waits: for a forked child, or before the loop. Must not know what a file says.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from chatlib.cluster.pieces import PIECE, EngineFailed, Latest, PieceLost, Pieces
from chatlib.storage.blobs import RESERVE
from chatlib.storage.textfile import sync_folder

UNNAMED_LIFE = 86_400.0  # seconds that a file's bytes are kept which no command names, yet or any more
_TRIES = 100  # for a moment in which no save comes in between
_BEGINS = ["chatlib snapshot", 1]
_LONGEST = 1 << 30  # bytes of a manifest


class FileToTake(NamedTuple):
    """The first `size` bytes of a file, which must have this digest ("": nobody knows it)."""

    name: str
    path: Path
    size: int
    sha256: str = ""


class FileSet(NamedTuple):
    """Files that belong together as long as it `stands`. `about`: the snapshot, but for its manifest."""

    files: Iterable[FileToTake]
    stands: Callable[[], bool]
    about: Latest


class TakenFile(NamedTuple):
    """A file in a manifest."""

    name: str
    size: int
    sha256: str
    pieces: tuple[str, ...]

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Each piece, and its bytes."""
        for at, sha256 in enumerate(self.pieces):
            yield sha256, min(PIECE, self.size - at * PIECE)


# Up.


def upload(pieces: Pieces, take: Callable[[], FileSet]) -> Latest | None:
    """Makes the latest snapshot of what `take` says. None: another came in between, or is as late.

    Raises EngineFailed, OSError, FileError.
    """
    earlier, after = pieces.latest()
    work = _Upload(pieces, earlier)
    for _ in range(_TRIES):
        taken = take()
        if earlier and earlier.epoch == taken.about.epoch and earlier.position >= taken.about.position:
            return None
        try:
            listed = [work.file(each) for each in taken.files]
        except (_Changed, FileNotFoundError):
            pieces.pause()
            continue
        if taken.stands():
            data = b"".join(json.dumps(row).encode() + b"\n" for row in (_BEGINS, *listed))
            latest = taken.about._replace(sha256=work.put(data), size=len(data))
            return latest if pieces.point(latest, after) else None
    raise EngineFailed("the files were replaced again and again, or one of them is damaged: see --verify")


class _Changed(Exception):
    """A file is not what the set says, or not any more."""


class _Upload:
    """One of them."""

    def __init__(self, pieces: Pieces, earlier: Latest | None) -> None:
        self._pieces = pieces
        self._known: dict[str, tuple[str, ...]] = {}  # of files that need not be read, by their digest
        self._read: dict[str, tuple[object, TakenFile]] = {}  # by name, with how it looked
        if earlier:
            with contextlib.suppress(PieceLost):  # then everything is stored anew
                self._known = {file.sha256: file.pieces for file in manifest(pieces, earlier)}
        self._stored = {sha256 for known in self._known.values() for sha256 in known}

    def file(self, wanted: FileToTake) -> TakenFile:
        """Stores what is new in a file. Raises _Changed, OSError, EngineFailed."""
        if wanted.sha256 in self._known:
            return TakenFile(wanted.name, wanted.size, wanted.sha256, self._known[wanted.sha256])
        with open(wanted.path, "rb") as file:
            status = os.fstat(file.fileno())
            looks = wanted.size, status.st_ino, status.st_mtime_ns
            if wanted.name in self._read and self._read[wanted.name][0] == looks:
                return self._read[wanted.name][1]
            digest, names, left = hashlib.sha256(), list[str](), wanted.size
            while left:
                data = file.read(min(PIECE, left))
                if len(data) < min(PIECE, left):
                    raise _Changed(wanted.name)
                digest.update(data)
                names.append(self.put(data))
                left -= len(data)
        if wanted.sha256 not in ("", digest.hexdigest()):
            raise _Changed(wanted.name)
        taken = TakenFile(wanted.name, wanted.size, digest.hexdigest(), tuple(names))
        self._read[wanted.name] = looks, taken
        if wanted.sha256:
            self._known[wanted.sha256] = taken.pieces
        return taken

    def put(self, data: bytes) -> str:
        """Stores a piece, unless it is stored; its name."""
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self._stored:
            self._pieces.put(sha256, data)
            self._stored.add(sha256)
        return sha256


# Down.


def manifest(pieces: Pieces, latest: Latest, still: Callable[[], bool] = lambda: True) -> list[TakenFile]:
    """The files of a snapshot. Raises PieceLost, EngineFailed."""
    if not 0 < latest.size <= _LONGEST:
        raise EngineFailed(f"the snapshot's manifest would have {latest.size:,} bytes")
    first, *rows = map(json.loads, pieces.get(latest.sha256, latest.size, still).splitlines())
    if first != _BEGINS:
        raise EngineFailed("a later version made the log's last snapshot: start that one")
    return [TakenFile(str(name), int(size), str(sha256), tuple(map(str, names))) for name, size, sha256, names in rows]


def fetch(pieces: Pieces, folder: Path, old: Path, may_be: Callable[[str], bool]) -> Latest | None:
    """Writes the files of the latest snapshot into `folder`, which is empty; None: there is no snapshot.

    `old`: where pieces of the same place may be already; `may_be`: whether a file may have this name. Every byte is
    proven, and durable. Raises EngineFailed, OSError.
    """
    while True:
        latest, sequence = pieces.latest()
        if latest is None:
            return None

        def still(known: int = sequence) -> bool:
            return pieces.latest()[1] == known

        try:
            files = manifest(pieces, latest, still)
            _check(files, may_be)
            needed = sum(file.size for file in files)
            if shutil.disk_usage(folder).free < needed + RESERVE:
                raise OSError(errno.ENOSPC, f"no room for a snapshot of {needed:,} bytes", str(folder))
            for file in files:
                _fetch(pieces, file, folder, old, still)
        except PieceLost:
            if still():
                raise
            continue  # it was swept, since another came meanwhile: that one
        for each in [*filter(Path.is_dir, folder.iterdir()), folder]:
            sync_folder(each)
        return latest


def _check(files: Collection[TakenFile], may_be: Callable[[str], bool]) -> None:
    for file in files:
        if not may_be(file.name):
            raise EngineFailed(f"the log's last snapshot has a file {file.name[:200]!r}, which no home of this version "
                               "has: start the version that made it")  # fmt: skip
        if file.size < 0 or len(file.pieces) != -(-file.size // PIECE):
            raise EngineFailed(f"the log's last snapshot does not say what {file.name} is")
    if len({file.name for file in files}) < len(files):
        raise EngineFailed("the log's last snapshot has a file twice")


def _fetch(pieces: Pieces, file: TakenFile, folder: Path, old: Path, still: Callable[[], bool]) -> None:
    target, digest = folder / file.name, hashlib.sha256()
    target.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as written:
        for at, (sha256, size) in enumerate(file.sizes()):
            data = _lies_there(old / file.name, at * PIECE, size)
            if hashlib.sha256(data).hexdigest() != sha256:
                data = pieces.get(sha256, size, still)
            digest.update(data)
            written.write(data)
        written.flush()
        os.fsync(fd)
    if digest.hexdigest() != file.sha256:
        raise EngineFailed(f"{file.name} of the log's last snapshot is not what it says (its checksum does not fit)")


def _lies_there(path: Path, at: int, size: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(at)
            return file.read(size)
    except OSError:
        return b""


# What is not needed any more.


def sweep(pieces: Pieces, wanted: Collection[str], now: float) -> tuple[int, int]:
    """Takes away pieces that the latest snapshot has not got, and the bytes of files that are not `wanted` and were
    stored more than UNNAMED_LIFE ago. How many of each. Raises EngineFailed.

    `wanted`: what the world owns that has executed all of the log that there was when this began. Bytes are stored
    right before the command that names them, so whose command is still on its way is younger by far.
    """
    latest, sequence = pieces.latest()
    if latest is None:
        return 0, 0
    kept = {latest.sha256, *(sha256 for file in manifest(pieces, latest) for sha256 in file.pieces)}
    orphans = {words[1] for words in pieces.subjects("piece.*.0")} - kept
    for sha256 in orphans:
        pieces.drop(f"piece.{sha256}.*", sequence)
    unnamed = 0
    for blob in [".".join(words[1:3]) for words in pieces.subjects("blob.*.*.0")]:
        stored = 0.0 if blob in wanted else pieces.stored_at(f"blob.{blob}.0")
        if stored and stored < now - UNNAMED_LIFE:
            pieces.drop(f"blob.{blob}.*")
            unnamed += 1
    return len(orphans), unnamed
