"""The set of flat files: it is replaced as one, and it is whole or refused (design, section 5).

1. The new files are written into a folder of their own, ``data/.next.<pid>``. The last one is the manifest: it names
   every file of the set with its length and digest.
2. The folder is renamed to ``data/.next``. From this moment the new set holds.
3. The files are moved to their places. Files that are no longer in the set are removed. The manifest is moved last.

The next start finishes what a crash has cut short. So a forked child may do all of it while its parent goes on, and
nobody ever sees two files of different age.

A file that has not changed since the last set is not written again: the new manifest names the one that is there. A
set may have folders with any number of files; only the manifest knows their names.

A start calls ``prove``, which changes nothing, reads the files where they are, and then calls ``finish``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from chatlib.storage import textfile
from chatlib.storage.textfile import (
    FORMAT,
    OLD_FORMAT,
    REMEDY,
    FileError,
    flat_lines,
    read_flat,
    sync_folder,
    write_new,
)

# Name, what it is about, lines. A name with a "/" is a file in a folder. The lines are made when they are written.
Files = Iterable[tuple[str, str, Iterable[str]]]
MANIFEST = "manifest.txt"
_LONGEST = 240  # bytes of a name: a disk allows 255
_ABOUT = "the last command in this set of files; each file, its bytes, its SHA-256; of these lines likewise"


@dataclass
class Flat:
    """A set that was proven whole: where each of its files is now, and their format. No files: a new home."""

    paths: dict[str, Path] = field(default_factory=dict)
    format: int = FORMAT

    def __bool__(self) -> bool:
        return bool(self.paths)

    def read(self) -> Mapping[str, Iterator[tuple[int, str]]]:
        """The numbered lines of each file. Raises FileError while they are read."""
        return {name: read_flat(path, self.format) for name, path in self.paths.items()}


def is_name(name: str) -> bool:
    """Whether a file of the set may have this name: it is no path to anywhere else, and it fits a manifest's line."""
    parts = name.split("/")
    return len(parts) <= 2 and name.isprintable() and name != MANIFEST and all(map(_is_part, parts))


def _is_part(part: str) -> bool:
    return part == part.strip() and part[:1] not in ("", ".") and len(part.encode(errors="replace")) <= _LONGEST


def write(
    folder: Path, lsn: int, files: Files, still_wanted: Callable[[], bool] = lambda: True, moved_along: Files = (),
    changed: Mapping[str, int] = MappingProxyType({}), anew: bool = False,
) -> None:  # fmt: skip
    """Replaces the flat files in `folder`, unless `still_wanted` denies it when all are written. Raises OSError.

    `lsn` is the last command in them. `moved_along`: files that are replaced with them, but are not part of the set.
    `changed`: for each name, the last command that changed its lines. If the last set has that command already, the
    lines are not even made. `anew`: nothing of the last set is trusted. Raises ValueError for names that no file may
    have.
    """
    if (folder / ".next").exists():  # whoever was to move an earlier set was killed
        _move(folder)
    earlier = _Earlier(folder) if anew else _earlier(folder)
    beside = folder / f".next.{os.getpid()}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    try:
        rows = [f"lsn {lsn}"]
        for name, about, lines in files:
            if earlier.has(name, changed.get(name)):
                size, digest = earlier.files[name]
            else:
                size, digest = _write_beside(beside, name, about, lines, earlier)
            rows.append(f"{name} {size} {digest}")
        _check_names(row.rsplit(" ", 2)[0] for row in rows[1:])
        for name, about, lines in moved_along:
            write_new(beside / name, flat_lines(name, about, lines))
        write_new(beside / MANIFEST, _manifest(rows))
        for inner in [*filter(Path.is_dir, beside.iterdir()), beside]:
            sync_folder(inner)
        if not still_wanted():
            raise InterruptedError("the server that asked for it is gone")
        textfile.pause()
        beside.rename(folder / ".next")
    except (OSError, ValueError):
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync_folder(folder)
    _move(folder)


@dataclass
class _Earlier:
    """The set that is in its place. It is empty when there is none that can be read: then all files are written."""

    folder: Path
    written: int = 0  # when its manifest was: a file that is newer was touched by somebody else
    lsn: int = 0
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def has(self, name: str, changed: int | None) -> bool:
        """Whether the file holds this change, its last one, already."""
        return changed is not None and changed <= self.lsn and name in self.files and self._lies_there(name)

    def is_same(self, name: str, size: int, digest: str) -> bool:
        return self.files.get(name) == (size, digest) and self._lies_there(name)

    def _lies_there(self, name: str) -> bool:
        try:
            found = (self.folder / name).stat()
        except OSError:
            return False
        return found.st_size == self.files[name][0] and found.st_mtime_ns <= self.written


def _earlier(folder: Path) -> _Earlier:
    path = folder / MANIFEST
    try:
        return _Earlier(folder, path.stat().st_mtime_ns, *read_manifest(path))
    except (OSError, FileError):
        return _Earlier(folder)


def _write_beside(beside: Path, name: str, about: str, lines: Iterable[str], earlier: _Earlier) -> tuple[int, str]:
    """The file's bytes and digest. It is kept only when its content is new."""
    path = beside / name
    if not is_name(name):
        raise ValueError(f"no flat file can be called {name!r}")
    path.parent.mkdir(mode=0o700, exist_ok=True)
    size, digest = write_new(path, flat_lines(path.name, about, lines), sync=False)
    if earlier.is_same(name, size, digest):
        path.unlink()
    else:
        textfile.sync_file(path)
    return size, digest


def _check_names(names: Iterable[str]) -> None:
    """No two may be the same file, also on a disk that ignores capitals."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.casefold(), name)
        if other is not name:
            raise ValueError(f"{name!r} and {other!r} may be the same file")


def _manifest(rows: Iterable[str]) -> list[str]:
    text = "".join(flat_lines(MANIFEST, _ABOUT, rows))
    return [text, f"{MANIFEST} {len(text.encode())} {hashlib.sha256(text.encode()).hexdigest()}\n"]


def _move(folder: Path) -> None:
    ready = folder / ".next"
    inner = sorted(filter(Path.is_dir, ready.iterdir()))
    for part in [*inner, ready]:
        _move_files(part, folder / part.relative_to(ready))
    _remove_vanished(folder)
    sync_folder(folder)  # all other files must be in their places before the manifest is
    textfile.pause()
    with contextlib.suppress(FileNotFoundError):
        (ready / MANIFEST).replace(folder / MANIFEST)
    sync_folder(folder)
    for part in [*inner, ready]:
        with contextlib.suppress(FileNotFoundError):
            part.rmdir()


def _move_files(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != MANIFEST:
            textfile.pause()
            with contextlib.suppress(FileNotFoundError):  # two may finish the same checkpoint
                path.replace(target / path.name)
    sync_folder(target)


def _remove_vanished(folder: Path) -> None:
    """Removes the files of the set in place that the new set no longer has."""
    touched = set()
    for name in _vanished(folder):
        textfile.pause()
        (folder / name).unlink(missing_ok=True)
        touched.add((folder / name).parent)
    for part in touched - {folder}:
        sync_folder(part)


def _vanished(folder: Path) -> list[str]:
    ready = folder / ".next" / MANIFEST
    if not ready.exists():
        return []
    _, wanted = read_manifest(ready)
    return [name for name in _earlier(folder).files if name not in wanted and is_name(name)]


def finish(folder: Path) -> None:
    """For a start, after ``prove``: finishes a checkpoint that holds, and removes what is left of any other."""
    if (folder / ".next").exists():
        _move(folder)
    for path in folder.glob(".next.*"):
        shutil.rmtree(path, ignore_errors=True)


def where(folder: Path, name: str) -> Path:
    """Where a file of the set is: in its place, or still in the folder of a checkpoint that holds."""
    ready = folder / ".next" / name
    return ready if ready.exists() else folder / name


def written_at(folder: Path) -> float:
    """When the set was written, in seconds since the epoch; 0: there is none."""
    try:
        return where(folder, MANIFEST).stat().st_mtime
    except OSError:
        return 0.0


def prove(folder: Path, names: Collection[str], old_names: Collection[str] = ()) -> Flat:
    """The set of flat files, whole. Raises FileError, and changes nothing.

    `names` are those that may be in it; one that ends in "/" is a folder, which may have files of any names.
    `old_names`: those that a set of format 1 always had.
    """
    flat, damage = look(folder, names, old_names)
    for error in damage.values():
        raise error
    return flat


def look(
    folder: Path, names: Collection[str], old_names: Collection[str] = ()
) -> tuple[Flat, dict[str, FileError]]:
    """As ``prove``; and everything that is wrong, by the name of the file, where that would raise. Then the set is not
    whole: files of `names` may be missing, and may have any lines. Changes nothing."""
    there = [name for name in names if not name.endswith("/") and where(folder, name).exists()]
    everything = [*there, *_in_folders(folder, names)]
    as_they_are = Flat({name: where(folder, name) for name in _in_order(names, everything)})
    if not where(folder, MANIFEST).exists():
        if not there:
            return Flat(), {}
        try:
            return _prove_old(folder, old_names, there), {}
        except FileError as damage:
            return as_they_are, {MANIFEST: damage}
    try:
        listed = _listed(folder, names)
    except FileError as damage:
        return as_they_are, {MANIFEST: damage}
    vanished = _vanished(folder)
    wrong: dict[str, FileError] = {}
    for name in everything:
        if name not in listed and name not in vanished:
            path, manifest = where(folder, name), where(folder, MANIFEST)
            wrong[name] = FileError(f"{path} is not one of the files that {manifest} names. {REMEDY}")
    for name, (size, digest) in listed.items():
        try:
            _check(where(folder, name), size, digest)
        except FileError as damage:
            wrong[name] = damage
    return Flat({name: where(folder, name) for name in _in_order(names, listed)}), wrong


def lsn_of(folder: Path) -> int:
    """The last command in a set whose manifest is whole."""
    return read_manifest(where(folder, MANIFEST))[0]


def _listed(folder: Path, names: Collection[str]) -> Mapping[str, tuple[int, str]]:
    """The files that the manifest names. Raises FileError for what no set of this version has."""
    manifest = where(folder, MANIFEST)
    _, listed = read_manifest(manifest)
    for name in listed:
        if not is_name(name):
            raise FileError(f"{manifest} names {name!r}, which is no flat file's name. {REMEDY}")
        if name not in names and name.partition("/")[0] + "/" not in names:
            raise FileError(f"{manifest} names {name!r}, which a later version wrote: start that one.")
    return listed


def _in_folders(folder: Path, names: Collection[str]) -> Iterator[str]:
    """The files in the set's folders. Names that begin with a dot are somebody else's."""
    for inner in names:
        for path in (folder / inner).glob("[!.]*") if inner.endswith("/") else ():
            yield inner + path.name


def _in_order(names: Collection[str], listed: Collection[str]) -> Iterator[str]:
    """The files of the set in the order of `names`, those of a folder as they were written."""
    for name in names:
        if name.endswith("/"):
            yield from (other for other in listed if other.startswith(name))
        elif name in listed:
            yield name


def _prove_old(folder: Path, old_names: Collection[str], there: Collection[str]) -> Flat:
    """Files of format 1, which had no manifest: all of them, and none of a later format."""
    for name in there:
        with open(where(folder, name), "rb") as file:
            if not file.readline().startswith(f"# {name} {OLD_FORMAT}: ".encode()):
                raise FileError(f"{folder / MANIFEST} is missing: the server does not start without it. {REMEDY}")
    for name in old_names:
        if name not in there:
            raise FileError(f"{folder / name} is missing: the server does not start without it. {REMEDY}")
    return Flat({name: where(folder, name) for name in there}, OLD_FORMAT)


def read_manifest(path: Path) -> tuple[int, dict[str, tuple[int, str]]]:
    """The last command in a set, and of each file its bytes and digest. Raises FileError."""
    data = path.read_bytes()
    begins, _, last = data[:-1].rpartition(b"\n")
    begins += b"\n"
    if "".join(_manifest([])).encode().split(b"\n")[0] != data.split(b"\n")[0]:
        raise FileError(f"{path}, line 1: a file of format {FORMAT} begins with '# {MANIFEST} {FORMAT}: '. {REMEDY}")
    if last + b"\n" != f"{MANIFEST} {len(begins)} {hashlib.sha256(begins).hexdigest()}\n".encode() or data[-1] != 10:
        raise FileError(f"{path} is damaged (its checksum does not fit). {REMEDY}")
    _, lsn, *rows = begins.decode().split("\n")[:-1]
    files = [row.rsplit(" ", 2) for row in rows]
    return int(lsn.removeprefix("lsn ")), {name: (int(size), digest) for name, size, digest in files}


def _check(path: Path, size: int, digest: str) -> None:
    if not path.exists():
        raise FileError(f"{path} is missing: the server does not start without it. {REMEDY}")
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size != size or hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise FileError(f"{path} is damaged: it is not what the server wrote (its checksum does not fit). {REMEDY}")
