"""The set of flat files, replaced as one (design, section 5).

All files are written into a folder of their own, ``data/.next.<pid>``; renaming it to ``data/.next`` is the moment at
which the checkpoint holds; then the files are moved to their places. A crash in between is finished by the next
start. So a forked child may do all of it while its parent goes on, and nobody ever sees two files of different age.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from chatlib.storage import textfile
from chatlib.storage.textfile import flat_lines, read_flat, sync_folder, write_new

Files = Iterable[tuple[str, str, Iterable[str]]]  # name, what it is about, lines


def write(folder: Path, files: Files, still_wanted: Callable[[], bool] = lambda: True) -> None:
    """Replaces the flat files in `folder`, unless `still_wanted` denies it when all are written. Raises OSError."""
    beside = folder / f".next.{os.getpid()}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    try:
        for name, about, lines in files:
            write_new(beside / name, flat_lines(name, about, lines))
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


def _move(folder: Path) -> None:
    ready = folder / ".next"
    for path in sorted(ready.iterdir()):
        textfile.pause()
        with contextlib.suppress(FileNotFoundError):  # two may finish the same checkpoint
            path.replace(folder / path.name)
    sync_folder(folder)
    with contextlib.suppress(FileNotFoundError):
        ready.rmdir()


def finish(folder: Path) -> None:
    """At start: finishes a checkpoint that holds, and removes what is left of one that does not."""
    if (folder / ".next").exists():
        _move(folder)
    for path in folder.glob(".next.*"):
        shutil.rmtree(path, ignore_errors=True)


def read(folder: Path, names: Iterable[str]) -> Mapping[str, Iterator[tuple[int, str]]]:
    """The numbered lines of the files that are there. Raises FileError while they are read."""
    return {name: read_flat(folder / name) for name in names if (folder / name).exists()}
