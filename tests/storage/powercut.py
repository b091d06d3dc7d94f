"""A disk whose power can fail: what was not synced is lost, kept or reordered, sector by sector (Linux).

The code under test works in a real folder. Its calls to ``os`` are watched: of each file all states since its last sync
are kept, and of names all changes since the last sync of their folder. `cut` then makes, in another folder, one of the
states that a power cut may leave right now:

* of a file, each sector holds what any of those states had there, and its length is any between theirs;
* of names, any changes are lost or kept; but one is kept only when the earlier ones that it stands on are.

What is written through ``open(...)`` is seen when it is synced: such a file has no name of its own before that anyway.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.storage.losses import Change, names_left, torn

_FOLDER = -1  # in place of a file's number


@dataclass
class _File:
    """All states since the last sync; the first one is durable."""

    states: list[bytes] = field(default_factory=lambda: [b""])


class Disk:
    """The disk under `root`. `before_each` is called before each write, sync and change of a name."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root = root
        self.before_each: Callable[[], None] = lambda: None
        self.steps = 0
        self._chance = chance
        self._files: list[_File] = []
        self._inodes: dict[int, int] = {}  # the real file's number → ours
        self._durable: dict[str, int] = {}  # names
        self._changes: list[Change] = []  # since
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            self._durable[name] = _FOLDER if path.is_dir() else self._new(path.stat().st_ino, path.read_bytes())

    def _new(self, inode: int, content: bytes = b"") -> int:
        self._files.append(_File([content]))
        self._inodes[inode] = len(self._files) - 1
        return len(self._files) - 1

    # A power cut.

    def cut(self, folder: Path) -> None:
        """Makes `folder` hold what may be left."""
        names = names_left(self._durable, self._changes, self._chance)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, number in sorted(names.items()):
            if number == _FOLDER:
                (folder / name).mkdir(parents=True, exist_ok=True)
            elif (folder / name).parent.is_dir():
                (folder / name).write_bytes(torn(self._files[number].states, self._chance))

    # Watching.

    @contextlib.contextmanager
    def watched(self) -> Iterator[Disk]:
        """While this lasts, all that is done under `root` counts. Files that are still open then are closed."""
        real = {name: getattr(os, name) for name in ("open", "write", "pwrite", "ftruncate", "truncate", "fsync",
                "fdatasync", "rename", "replace", "unlink", "remove", "mkdir", "rmdir", "link")}  # fmt: skip
        with pytest.MonkeyPatch.context() as patched:
            for name, call in real.items():
                patched.setattr(os, name, self._wrap(name, call))
            yield self
        for link in Path("/proc/self/fd").iterdir():  # as the end of the process does
            with contextlib.suppress(OSError):
                if self._name(os.readlink(link)) is not None:
                    os.close(int(link.name))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        watch = getattr(self, f"_{name}", None) or {"replace": self._rename, "fdatasync": self._fsync,
                "remove": self._unlink, "pwrite": self._write, "ftruncate": self._write}[name]  # fmt: skip

        def call(*words: Any, **more: Any) -> Any:
            return watch(real, *words, **more)

        return call

    def _step(self) -> None:
        self.steps += 1
        self.before_each()

    def _name(self, path: Any, dir_fd: int | None = None) -> str | None:
        """Of a path under the root; None of any other."""
        if dir_fd is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
        full = os.path.abspath(path)
        return os.path.relpath(full, self.root) if full.startswith(str(self.root) + "/") else None

    def _name_of(self, fd: int) -> str | None:
        return self._name(os.readlink(f"/proc/self/fd/{fd}"))

    def _change(self, kind: str, *paths: str, number: int = 0) -> None:
        self._changes.append(Change(kind, paths, number))

    def _open(self, real: Any, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        name = self._name(path, dir_fd) if flags & (os.O_CREAT | os.O_TRUNC) else None
        if name is None:
            return int(real(path, flags, mode, dir_fd=dir_fd))
        self._step()
        known = os.path.exists(self.root / name)
        fd = int(real(path, flags, mode, dir_fd=dir_fd))
        if not known:
            self._change("create", name, number=self._new(os.fstat(fd).st_ino))
        elif flags & os.O_TRUNC:
            self._look(fd)
        return fd

    def _look(self, fd: int) -> None:
        """A file has changed, perhaps."""
        states = self._files[self._inodes[os.fstat(fd).st_ino]].states
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            content = file.read()
        if content != states[-1]:
            states.append(content)

    def _write(self, real: Any, fd: int, *words: Any) -> Any:
        if self._name_of(fd) is None:
            return real(fd, *words)
        self._step()
        done = real(fd, *words)
        self._look(fd)
        return done

    def _truncate(self, real: Any, path: Any, length: int) -> None:
        fd = os.open(path, os.O_WRONLY)
        os.ftruncate(fd, length)
        os.close(fd)

    def _fsync(self, real: Any, fd: int) -> None:
        name = self._name_of(fd)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            folder = os.readlink(f"/proc/self/fd/{fd}")
            if name is not None or folder == str(self.root):
                self._step()
                self._sync_names(name or "")
        elif name is not None:
            self._look(fd)
            self._step()
            states = self._files[self._inodes[os.fstat(fd).st_ino]].states
            del states[:-1]

    def _sync_names(self, folder: str) -> None:
        """The changes in `folder`, and those that they stand on, are durable."""
        durable: set[int] = set()
        for place in range(len(self._changes) - 1, -1, -1):
            change = self._changes[place]
            mine = any(os.path.dirname(path) == folder for path in change.paths)
            if mine or any(self._changes[later].stands_on(change) for later in durable):
                durable.add(place)
        for place in sorted(durable):
            self._changes[place].apply(self._durable)
        self._changes = [change for place, change in enumerate(self._changes) if place not in durable]

    def _rename(self, real: Any, source: Any, target: Any) -> None:
        names = self._name(source), self._name(target)
        if names[0] is not None:
            self._step()
        real(source, target)
        if names[0] is not None and names[1] is not None:
            self._change("rename", names[0], names[1])

    def _link(self, real: Any, source: Any, target: Any) -> None:
        names = self._name(source), self._name(target)
        if names[0] is not None:
            self._step()
        real(source, target)
        if names[0] is not None and names[1] is not None:
            self._change("link", names[1], number=self._inodes[os.stat(target).st_ino])

    def _unlink(self, real: Any, path: Any, *, dir_fd: int | None = None) -> None:
        name = self._name(path, dir_fd)
        if name is not None:
            self._step()
        real(path, dir_fd=dir_fd)
        if name is not None:
            self._change("remove", name)

    _rmdir = _unlink

    def _mkdir(self, real: Any, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        name = self._name(path, dir_fd)
        if name is not None:
            self._step()
        real(path, mode, dir_fd=dir_fd)
        if name is not None:
            self._change("mkdir", name, number=_FOLDER)
