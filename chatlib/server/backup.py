"""``server.py --backup``, and the console's ``backup``: everything that was acknowledged before, in one archive.

It reads the home as it lies on the disk, whether a server runs on it or not, and changes nothing there. The order makes
the whole consistent, and nothing is held up for it:

1. what is large: segments of the message store that are full, and the bytes of files. None of it changes but by
   erasing and removing;
2. what people edit, the rest of the message store and of the files, then the text files as their manifest names them;
3. the journal, last. What was erased or removed before is in it, so it may be missing from what came earlier;
4. if a save came in between, 2 and 3 again. Then what only grows.

So the journal in it goes on from its text files, and a start on the home restored from it replays that. Must not know
what a line means, but for the bytes that commands of the journal name.

Of a cluster's node it holds what its last save holds, and an empty journal: what is restored is a single server's home.
Bytes of files that came to other nodes are fetched from the engine, if somebody says how.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from chatlib.core import snapshot
from chatlib.protocol.text import counted
from chatlib.server import salvage
from chatlib.server.verifying import TLS, owned, stamp
from chatlib.storage import checkpoint, messagefiles, nodefile, replay, takeover
from chatlib.storage.archive import ArchiveWriter
from chatlib.storage.blobs import is_adopted, part_of
from chatlib.storage.exchange import give
from chatlib.storage.home import read_epoch, refuse_what_is_no_file, used_by
from chatlib.storage.nodefile import NodeFile
from chatlib.storage.records import HEADER, durable, unpack
from chatlib.storage.textfile import FileError, sync_folder

_TRIES = 60  # for a moment in which no save comes in between
_AGAIN = 0.2  # seconds between two of them
EDITED = ("para.txt", "credentials.txt")
BESIDE = ("epoch.txt", TLS, "para.base", "credentials.base", "para.next", "credentials.next")  # in data/
_JOURNAL = re.compile(r"journal(\.\d+)?\.txt")
_MESSAGES = re.compile(r"message_rep(\.\d+)?\.txt")


def may_be(name: str) -> bool:
    """Whether a backup may have a file of this name: nothing that is not a home's own, and no path to anywhere else."""
    if name in EDITED:
        return True
    top, _, rest = name.partition("/")
    if top != "data" or not rest or "\0" in rest:
        return False
    inner, _, last = rest.rpartition("/")
    if not inner:
        flat = rest in (*snapshot.files(), *snapshot.appends(), *BESIDE, checkpoint.MANIFEST)
        return flat or bool(_JOURNAL.fullmatch(rest) or _MESSAGES.fullmatch(rest))
    if inner == "files":
        return is_adopted(last) or (last.endswith(".part") and last[:-5].isalnum())
    return f"{inner}/" in snapshot.files() and checkpoint.is_name(rest)


# Writes the bytes of a blob, which has that size and SHA-256, into a file; whether it could.
Fetch = Callable[[str, int, str, BinaryIO], bool]


def write(
    home: Path, target: Path, wanted: Callable[[], bool] = lambda: True, beside: Path | None = None,
    fetch: Fetch = lambda blob, size, sha256, file: False,
) -> str:  # fmt: skip
    """Backs the home up into `target`, which must not be there; until it is whole, it is `beside`. What was done, in a
    sentence. `fetch`: for bytes that a node has not got.

    Raises FileError, OSError, and InterruptedError when it is not `wanted` any more.
    """
    refuse(target)
    beside = beside or unfinished(target)
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            taken = _Taking(home, ArchiveWriter(file, wanted), fetch, beside.parent)
            about = taken.everything()
            size = os.fstat(fd).st_size
        if not give(beside, target):
            refuse(target)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(target.parent)
    said = f"{target}: {size:,} bytes, {taken.count} files, with everything up to command {about:,}."
    if taken.node:
        said += f' What came since this node\'s last save is in the log "{taken.node.log}" alone.'
    if taken.missing:
        said += f" The bytes of {counted(taken.missing, 'file')} are not in it: with --log they are fetched."
    return said


def refuse(target: Path) -> None:
    """Raises FileError when `target` cannot be written."""
    if target.is_symlink() or target.exists():
        raise FileError(f"{target} is there already: a backup overwrites nothing.")
    if not target.parent.is_dir():
        raise FileError(f"{target.parent}: there is no such folder.")


def unfinished(target: Path) -> Path:
    """Where a backup is written until it is whole."""
    return target.with_name(f".{target.name}.{os.getpid()}.new")


@dataclass
class _Taking:
    """One backup. `copied`: what was of each large file when it was copied, by its name in the archive."""

    home: Path
    archive: ArchiveWriter
    fetch: Fetch
    room: Path  # a folder for what is fetched
    copied: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    belonging: list[str] = field(default_factory=list)  # what belongs together, of the last try
    count: int = 0
    node: NodeFile | None = None
    owned: dict[str, tuple[int, str]] = field(default_factory=dict)  # of a node: size and digest of the files' bytes
    missing: int = 0  # of them

    def __post_init__(self) -> None:
        self.data = self.home / "data"

    def everything(self) -> int:
        """The LSN of the last command in it."""
        if not self.data.is_dir():
            raise FileError(f"{self.home}: there is no server's home; --home must name one")
        refuse_what_is_no_file(self.home)
        if takeover.is_pending(self.data):
            raise FileError(f"{self.home} is about to take a snapshot: start the server, which ends that.")
        self.node = nodefile.read(self.data)
        for one in messagefiles.listing(self.data / messagefiles.NAME)[:-1]:
            self._copy_changed(one.path)
        self._copy_files()
        lsn = self._moment()
        for blob, known in self.owned.items():
            if not self._copy_blob(blob):
                self._fetch_blob(blob, *known)
        for name in snapshot.appends():
            self._copy_growing(self.data / name)
        members = self.archive.finish([
            f"taken {time.strftime('%Y-%m-%d %H:%M:%S %z')}", f"lsn {lsn}", f"epoch {self._epoch()}"
        ])  # fmt: skip
        self.count = len(members)
        return lsn

    def _epoch(self) -> str:
        return read_epoch(self.data) if (self.data / "epoch.txt").exists() else ""

    def _moment(self) -> int:
        """What belongs together. The LSN of the last command."""
        missing: set[str] = set()  # bytes of files that were gone before the journal was read: it says so
        for _ in range(_TRIES):
            before = stamp(self.data)
            try:
                lsn, gone = self._belonging_together(before)
            except FileNotFoundError:  # a save is just replacing it
                lsn, gone = 0, set()
                if not used_by(self.data):
                    raise
            else:
                if stamp(self.data) == before and gone <= missing:
                    return lsn
                missing |= gone
            time.sleep(_AGAIN)
        raise FileError(f"{self.home}: the server saves again and again; try it again in a while")

    def _belonging_together(self, before: object) -> tuple[int, set[str]]:
        for name in [name for name in self.copied if not (self.home / name).exists()]:
            self.archive.drop(name)
            del self.copied[name]
        for name in self.belonging:
            self.archive.drop(name)
        self.belonging.clear()
        for name in EDITED:
            self._edited(name)
        for name in ("epoch.txt", TLS):
            self._copy(self.data / name)
        for one in messagefiles.listing(self.data / messagefiles.NAME):
            self._copy_changed(one.path)
        self._copy_files()
        lsn = self._text_files()
        if self.node:
            self._look_what_is_owned()
        if stamp(self.data) != before:
            raise FileNotFoundError(errno.ENOENT, "a save is just replacing it", str(self.data))
        return self._journal(lsn)

    def _edited(self, name: str) -> None:
        """A file that people edit, with what the server remembers of it."""
        stem = name.removesuffix(".txt")
        paths = [self.data / f"{stem}.base", self.data / f"{stem}.next"]
        while True:
            known = [_content(path) for path in paths]
            for path in [*paths, self.home / name]:
                self._copy(path)
            if known == [_content(path) for path in paths]:
                return

    def _text_files(self) -> int:
        """Those that the manifest names. Raises FileError when they are not what it says."""
        manifest = checkpoint.where(self.data, checkpoint.MANIFEST)
        if not manifest.exists():
            if checkpoint.where(self.data, "state.txt").exists():
                raise FileError(f"{manifest} is missing: start the server once, if an earlier version wrote the home; "
                                "otherwise see --verify.")  # fmt: skip
            return 0
        lsn, names = checkpoint.read_manifest(manifest)
        self.belonging += [f"data/{name}" for name in (*names, checkpoint.MANIFEST)]
        for name, known in names.items():
            path = checkpoint.where(self.data, name)
            if self._copy(path, f"data/{name}") != known:
                if used_by(self.data) or checkpoint.where(self.data, checkpoint.MANIFEST) != manifest:
                    raise FileNotFoundError(errno.ENOENT, "a save is just replacing it", str(path))
                raise FileError(f"{path} is damaged: a backup of this home could not be used. See --verify.")
        self._copy(manifest, f"data/{checkpoint.MANIFEST}")
        return lsn

    def _journal(self, lsn: int) -> tuple[int, set[str]]:
        """The last command in it, and which bytes that its commands name were not there."""
        if self.node:
            empty = HEADER + durable(lsn, lsn)
            self.archive.add("data/journal.txt", io.BytesIO(empty), len(empty))
            return lsn, set()
        named: set[str] = set()
        for path in replay.segments(self.data):
            self.belonging.append(f"data/{path.name}")
            with open(path, "rb") as file:
                left = os.fstat(file.fileno()).st_size
                if self.archive.add(f"data/{path.name}", file, left) is None:
                    raise FileNotFoundError(errno.ENOENT, "a stop has just emptied it", str(path))
                file.seek(0)
                for line in file:
                    left -= len(line)
                    if left < 0:
                        break  # it was written since
                    record = unpack(line[:-1])
                    if record:
                        lsn = max(lsn, record[0])
                        if b'"blob"' in record[1]:
                            named.add(str(json.loads(record[1]).get("blob")))
        return lsn, {blob for blob in named if is_adopted(blob) and not self._copy_blob(blob)}

    def _look_what_is_owned(self) -> None:
        found = salvage.read(self.data)
        if found.damage:  # a save is just replacing it: what was copied is right
            raise FileNotFoundError(errno.ENOENT, "a save is just replacing it", str(self.data))
        self.owned = {blob: (size, sha256) for blob, size, sha256, _ in owned(found.world)}

    def _fetch_blob(self, blob: str, size: int, sha256: str) -> None:
        with TemporaryFile(dir=self.room) as file:
            if self.fetch(blob, size, sha256, file):
                file.seek(0)
                self.archive.add(f"data/files/{blob}", file, size)
            else:
                self.missing += 1

    def _copy_blob(self, blob: str) -> bool:
        """Bytes that the journal names, which may have got their name just now, or get it by the replay."""
        folder = self.data / "files"
        return any(
            f"data/files/{path.name}" in self.copied or self._copy_changed(path)
            for path in (folder / blob, part_of(folder, blob), folder / blob)
        )

    def _copy_files(self) -> None:
        """The bytes of files that were not copied yet. Those that are gone by now are not needed."""
        folder = self.data / "files"
        for name in os.listdir(folder) if folder.is_dir() else ():
            if is_adopted(name) and f"data/files/{name}" not in self.copied:
                self._copy_changed(folder / name)

    def _copy_changed(self, path: Path) -> bool:
        """A large file, unless it is in the archive as it is; False when it is not there (any more)."""
        name = f"data/{path.relative_to(self.data)}"
        try:
            known = path.stat()
        except FileNotFoundError:
            self.archive.drop(name)
            return False
        held = known.st_ino, known.st_size, known.st_mtime_ns
        if self.copied.get(name) == held:
            return True
        if self._copy(path) is None:
            return False
        self.copied[name] = held
        return True

    def _copy_growing(self, path: Path) -> None:
        for _ in range(_TRIES):
            if self._copy(path) or not path.exists():
                return
            time.sleep(_AGAIN)  # a server has just started, and written its end anew
        raise FileError(f"{path} is cut again and again; try it again in a while")

    def _copy(self, path: Path, name: str = "") -> tuple[int, str] | None:
        """Its size and digest; None when it is not there (any more), or was cut while it was read."""
        name = name or str(path.relative_to(self.home))
        try:
            with open(path, "rb") as file:
                member = self.archive.add(name, file, os.fstat(file.fileno()).st_size)
                return member and member[:2]
        except FileNotFoundError:
            self.archive.drop(name)
            return None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
