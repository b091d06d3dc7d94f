"""The set of flat files, replaced as one (design, section 5), and whole or refused.

All files are written into a folder of their own, ``data/.next.<pid>``, the last one the manifest, which names the
others with their lengths and digests; renaming the folder to ``data/.next`` is the moment at which it holds;
then the files are moved to their places, the manifest last. A crash in between is finished by the next start. So a
forked child may do all of it while its parent goes on, and nobody ever sees two files of different age.

A start calls ``prove``, which changes nothing, reads the set where it lies, and then calls ``finish``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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

Files = Iterable[tuple[str, str, Iterable[str]]]  # name, what it is about, lines
MANIFEST = "manifest.txt"
_ABOUT = "the last command in this set of files; each file, its bytes, its SHA-256; of these lines likewise"


@dataclass
class Flat:
    """A set that was proven whole: where each of its files lies now, and their format. No files: a new home."""

    paths: dict[str, Path] = field(default_factory=dict)
    format: int = FORMAT

    def __bool__(self) -> bool:
        return bool(self.paths)

    def read(self) -> Mapping[str, Iterator[tuple[int, str]]]:
        """The numbered lines of each file. Raises FileError while they are read."""
        return {name: read_flat(path, self.format) for name, path in self.paths.items()}


def write(
    folder: Path, lsn: int, files: Files, still_wanted: Callable[[], bool] = lambda: True, moved_along: Files = ()
) -> None:
    """Replaces the flat files in `folder`, unless `still_wanted` denies it when all are written. Raises OSError.

    `lsn` is the last command in them. `moved_along`: files that are replaced with them, and are not of the set.
    """
    beside = folder / f".next.{os.getpid()}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    try:
        rows = [f"lsn {lsn}"]
        for name, about, lines in files:
            size, digest = write_new(beside / name, flat_lines(name, about, lines))
            rows.append(f"{name} {size} {digest}")
        for name, about, lines in moved_along:
            write_new(beside / name, flat_lines(name, about, lines))
        write_new(beside / MANIFEST, _manifest(rows))
        sync_folder(beside)
        if not still_wanted():
            raise InterruptedError("the server that asked for it is gone")
        if (folder / ".next").exists():  # whoever was to move an earlier set was killed
            _move(folder)
        textfile.pause()
        beside.rename(folder / ".next")
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync_folder(folder)
    _move(folder)


def _manifest(rows: Iterable[str]) -> list[str]:
    text = "".join(flat_lines(MANIFEST, _ABOUT, rows))
    return [text, f"{MANIFEST} {len(text.encode())} {hashlib.sha256(text.encode()).hexdigest()}\n"]


def _move(folder: Path) -> None:
    ready = folder / ".next"
    for path in sorted(ready.iterdir()):
        if path.name != MANIFEST:
            textfile.pause()
            with contextlib.suppress(FileNotFoundError):  # two may finish the same checkpoint
                path.replace(folder / path.name)
    sync_folder(folder)  # the manifest is not in its place before all the others are in theirs
    textfile.pause()
    with contextlib.suppress(FileNotFoundError):
        (ready / MANIFEST).replace(folder / MANIFEST)
    sync_folder(folder)
    with contextlib.suppress(FileNotFoundError):
        ready.rmdir()


def finish(folder: Path) -> None:
    """At start, after ``prove``: finishes a checkpoint that holds, and removes what is left of one that does not."""
    if (folder / ".next").exists():
        _move(folder)
    for path in folder.glob(".next.*"):
        shutil.rmtree(path, ignore_errors=True)


def where(folder: Path, name: str) -> Path:
    """Where a file of the set lies: in its place, or still in the folder of a checkpoint that holds."""
    ready = folder / ".next" / name
    return ready if ready.exists() else folder / name


def prove(folder: Path, names: Collection[str], old_names: Collection[str] = ()) -> Flat:
    """The set of flat files, whole. Raises FileError, and changes nothing.

    `names` are those that may be in it, `old_names` those that a set of format 1 always had.
    """
    manifest = where(folder, MANIFEST)
    there = [name for name in names if where(folder, name).exists()]
    if not manifest.exists():
        if not there:
            return Flat()
        return _prove_old(folder, old_names, there)
    listed = _read_manifest(manifest)
    for name in there:
        if name not in listed:
            raise FileError(f"{where(folder, name)} is not one of the files that {manifest} names. {REMEDY}")
    for name, (size, digest) in listed.items():
        if name not in names:
            raise FileError(f"{manifest} names {name!r}, which a later version wrote: start that one.")
        _check(where(folder, name), size, digest)
    return Flat({name: where(folder, name) for name in names if name in listed})


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


def _read_manifest(path: Path) -> dict[str, tuple[int, str]]:
    data = path.read_bytes()
    begins, _, last = data[:-1].rpartition(b"\n")
    begins += b"\n"
    if "".join(_manifest([])).encode().split(b"\n")[0] != data.split(b"\n")[0]:
        raise FileError(f"{path}, line 1: a file of format {FORMAT} begins with '# {MANIFEST} {FORMAT}: '. {REMEDY}")
    if last + b"\n" != f"{MANIFEST} {len(begins)} {hashlib.sha256(begins).hexdigest()}\n".encode() or data[-1] != 10:
        raise FileError(f"{path} is damaged (its checksum does not fit). {REMEDY}")
    rows = [line.split(" ") for line in begins.decode().splitlines()[2:]]
    return {name: (int(size), digest) for name, size, digest in rows}


def _check(path: Path, size: int, digest: str) -> None:
    if not path.exists():
        raise FileError(f"{path} is missing: the server does not start without it. {REMEDY}")
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size != size or hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise FileError(f"{path} is damaged: it is not what the server wrote (its checksum does not fit). {REMEDY}")
