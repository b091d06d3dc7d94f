"""What of a home is in a snapshot: everything that the world at rest stands on, as the last save left it.

The text files that the manifest names, the messages up to where they say, the files that only grow (a start cuts them
to the length that the text files say), and the epoch. Not what is one server's own: para.txt, credentials.txt and what
it remembers of them, its certificate, its logs. Nor the bytes of files: these have a way of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chatlib.cluster.pieces import Latest
from chatlib.cluster.snapshots import FileSet, FileToTake
from chatlib.core import snapshot
from chatlib.storage import checkpoint, messagefiles, replay
from chatlib.storage.home import read_epoch

EPOCH = "epoch.txt"
_MESSAGES = re.compile(r"message_rep(\.\d{1,20})?\.txt")


def saved_set(data: Path, wanted: Callable[[], bool] = lambda: True) -> FileSet:
    """The set that stands in `data` now, or is just moved there; while it is `wanted`. Raises FileError, OSError."""
    before, (lsn, listed) = _manifest(data), checkpoint.read_manifest(checkpoint.where(data, checkpoint.MANIFEST))
    state = _state(data)
    files = [FileToTake(name, checkpoint.where(data, name), *known) for name, known in listed.items()]
    manifest = checkpoint.where(data, checkpoint.MANIFEST)
    files.append(FileToTake(checkpoint.MANIFEST, manifest, len(before), hashlib.sha256(before).hexdigest()))
    files += _messages(data, int(state.get("floor", [0, 0])[1]), int(state["store_end"]))
    files += [FileToTake(name, data / name, (data / name).stat().st_size)
              for name in (*snapshot.appends(), EPOCH) if (data / name).exists()]  # fmt: skip
    position, chain = state.get("log", (0, 0))
    about = Latest(int(position), int(chain), lsn, read_epoch(data))
    return FileSet(files, lambda: wanted() and _manifest(data) == before, about)


def _manifest(data: Path) -> bytes:
    try:
        return checkpoint.where(data, checkpoint.MANIFEST).read_bytes()
    except FileNotFoundError:  # it is moved to its place in this moment
        return checkpoint.where(data, checkpoint.MANIFEST).read_bytes()


def _state(data: Path) -> dict[str, Any]:
    """The world's own facts in the text files. Whoever takes state.txt later proves its lines."""
    found: dict[str, Any] = {}
    with open(checkpoint.where(data, "state.txt"), encoding="utf-8") as file:
        for line in file:
            name, _, value = line.rstrip("\n").partition(" ")
            if name in ("store_end", "floor", "log"):
                found[name] = json.loads(value)
    return found


def place(data: Path) -> tuple[int, int]:
    """The place in the log of the last command in the text files: position and chain. Raises FileError, OSError."""
    position, chain = _state(data).get("log", (0, 0))
    return int(position), int(chain)


def _messages(data: Path, floor: int, end: int) -> Iterator[FileToTake]:
    there = messagefiles.needed(data / messagefiles.NAME, floor, end)
    for one, following in zip(there, [*there[1:], None], strict=True):
        size = (following.base if following else end) - one.base + one.head
        yield FileToTake(one.path.name, one.path, size)


def may_be(name: str) -> bool:
    """Whether a snapshot may have a file of this name: nothing else, and no path to anywhere else."""
    if name in (*snapshot.files(), *snapshot.appends(), EPOCH, checkpoint.MANIFEST) or _MESSAGES.fullmatch(name):
        return not name.endswith("/")
    folder = name.partition("/")[0] + "/"
    return folder in snapshot.files() and checkpoint.is_name(name) and name != folder


def held(data: Path) -> list[str]:
    """The names of all files of the kinds that a snapshot replaces, and of journals, which it makes meaningless."""
    found = [*snapshot.appends(), EPOCH, checkpoint.MANIFEST]
    found += [one.path.name for one in messagefiles.listing(data / messagefiles.NAME)]
    found += [path.name for path in (*replay.segments(data), *data.glob("torn.*.txt"))]
    for name in snapshot.files():
        inside = (name + path.name for path in (data / name).glob("[!.]*")) if name.endswith("/") else [name]
        found += inside
    return found
