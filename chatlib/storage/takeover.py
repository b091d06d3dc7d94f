"""A home's data replaced as a whole, by a set of files that lies ready beside them.

1. The new files lie in a folder of their own, ``data/.taken.<pid>``, durable and proven. A list is put with them
   (`ready`): which files come, which go, and which files that people edit are put aside, and under which names.
2. The folder is renamed to ``data/.taken``. From this moment the new files hold.
3. `finish`: what goes is removed, what is put aside renamed, the new files are moved to their places.

Whoever locks the home next finishes what a crash has cut short, before anything else is read. Must not know what the
files are. Legal order: ``begin`` → the files are written → ``ready``, which finishes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from chatlib.storage import textfile
from chatlib.storage.textfile import FileError, replace, sealed, sync_folder, unsealed

READY = ".taken"
_LIST = "taken.list"


def begin(data: Path) -> Path:
    """An empty folder for the new files. Raises OSError."""
    folder = data / f"{READY}.{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def ready(data: Path, folder: Path, gone: Collection[str], aside: Mapping[str, str]) -> None:
    """What is in `folder` holds from now on. `gone`: files in `data` that go; of `aside`, a name beside `data` and the
    one that it gets. Raises OSError."""
    new = list(_files(folder))
    rows = [*(f"+ {name}" for name in new), *(f"- {name}" for name in {*gone} - {*new})]
    rows += [f"= {name} {other}" for name, other in aside.items()]
    replace(folder / _LIST, "".join(map(sealed, rows)))
    sync_folder(folder)
    textfile.pause()
    folder.rename(data / READY)
    sync_folder(data)
    finish(data)


def _files(folder: Path) -> Iterator[str]:
    return (str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file())


def is_pending(data: Path) -> bool:
    """Whether a crash left new files that hold, and are not all in their places yet."""
    return (data / READY).exists()


def finish(data: Path) -> None:
    """Does what is left to do, and removes what is left over of anything else. Raises FileError, OSError."""
    source = data / READY
    if source.exists():
        shutil.rmtree(data / ".next", ignore_errors=True)  # a checkpoint of the files that were there
        touched = {data, data.parent}
        for kind, name, new in _listed(source / _LIST):
            textfile.pause()
            if kind == "-":
                (data / name).unlink(missing_ok=True)
                touched.add((data / name).parent)
            elif kind == "+":
                (data / name).parent.mkdir(mode=0o700, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # it was moved before
                    (source / name).replace(data / name)
                touched.add((data / name).parent)
            elif (data.parent / name).exists() and not (data.parent / new).exists():
                (data.parent / name).rename(data.parent / new)
        for folder in filter(Path.is_dir, touched):
            sync_folder(folder)
        textfile.pause()
        source.rename(data / f"{READY}.done")
        sync_folder(data)
    for left in data.glob(f"{READY}.*"):
        shutil.rmtree(left, ignore_errors=True)


def _listed(path: Path) -> Iterator[tuple[str, str, str]]:
    lines = [unsealed(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True)]
    for line in lines:
        if line is None:
            raise FileError(f"{path} is damaged (its checksum does not fit): take {path.parent} away, and start again.")
    for line in lines:
        kind, _, name = (line or "").partition(" ")
        first, _, new = name.rpartition(" ") if kind == "=" else (name, "", "")
        yield kind, first, new
