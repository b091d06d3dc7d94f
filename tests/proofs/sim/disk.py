"""A disk in memory whose power can fail, for the simulation: files, folders, descriptors, locks, and what is durable.

Whoever works with it does so as a `Process`, by the calls of ``os`` (`calls.py` puts them in their places). Of each
file all changes since its last sync are kept, and of names all changes since the last sync of their folder. `cut`
leaves one of the states that a power cut may leave:

* of a file, each sector holds what it held after any of those changes, and its length is any between theirs;
* of names, any changes are lost or kept; but one is kept only when the earlier ones that it stands on are.

A sync that fails leaves what it should have made durable in doubt for ever, however often it is synced afterwards: so
do the disks of real machines. Must not know who uses it.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.proofs.sim.nodes import File, Folder, Open, Process, apply, failed
from tests.storage.losses import Change, names_left, torn


class Disk:
    """The disk under `root`. `before` is called before each change and each sync, with its kind and path: it may raise,
    and what it returns for a write is how many bytes are taken."""

    def __init__(self, root: str, clock: Callable[[], float]) -> None:
        self.root = root
        self.tree = Folder()
        self.clock = clock
        self.before: Callable[[str, str, int], int] = lambda kind, path, size: size
        self.free = 1 << 40  # bytes
        self._durable: dict[str, Any] = {}  # names
        self._changes: list[Change] = []  # since
        self._numbers = 1

    # Names.

    def split(self, path: str) -> tuple[Folder, str]:
        """The folder that holds it, and its name there."""
        *folders, name = path[len(self.root) + 1 :].rstrip("/").split("/")
        at: Any = self.tree
        for folder in folders:
            at = at.get(folder) if isinstance(at, Folder) else None
            if at is None:
                raise failed(errno.ENOENT, path)
        if not isinstance(at, Folder):
            raise failed(errno.ENOTDIR, path)
        return at, name

    def find(self, path: str) -> Any:
        """A file or folder; None."""
        if len(path) <= len(self.root) + 1:
            return self.tree
        at: Any = self.tree
        for name in path[len(self.root) + 1 :].split("/"):
            if not isinstance(at, Folder):
                return None
            if name not in ("", "."):
                at = at.get(name)
        return at

    def need(self, path: str) -> Any:
        """As find. Raises OSError."""
        found = self.find(path)
        if found is None:
            raise failed(errno.ENOENT, path)
        return found

    def _changed(self, kind: str, *paths: str, node: Any = None) -> None:
        self._changes.append(Change(kind, paths, node))

    def open(self, process: Process, path: str, flags: int) -> int:
        """As os.open."""
        node = self.find(path)
        if node is None:
            if not flags & os.O_CREAT:
                raise failed(errno.ENOENT, path)
            folder, name = self.split(path)
            self.before("create", path, 0)
            self._numbers += 1
            node = folder[name] = File(self._numbers)
            node.touched = self.clock()
            self._changed("create", path, node=node)
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            raise failed(errno.EEXIST, path)
        elif isinstance(node, Folder) and flags & 3:
            raise failed(errno.EISDIR, path)
        elif flags & os.O_DIRECTORY and not isinstance(node, Folder):
            raise failed(errno.ENOTDIR, path)
        elif flags & os.O_TRUNC and node.data:
            self.before("truncate", path, 0)
            self._write(node, 0, None)
        return process.give(Open(node, path, flags))

    def mkdir(self, path: str) -> None:
        folder, name = self.split(path)
        if name in folder:
            raise failed(errno.EEXIST, path)
        self.before("mkdir", path, 0)
        folder[name] = Folder()
        self._changed("mkdir", path, node=folder[name])

    def remove(self, path: str, of_folder: bool) -> None:
        folder, name = self.split(path)
        node = folder.get(name)
        if node is None:
            raise failed(errno.ENOENT, path)
        if isinstance(node, Folder) != of_folder:
            raise failed(errno.ENOTDIR if of_folder else errno.EISDIR, path)
        if of_folder and node:
            raise failed(errno.ENOTEMPTY, path)
        self.before("remove", path, 0)
        del folder[name]
        if not of_folder:
            node.links -= 1
        self._changed("remove", path)

    def rename(self, source: str, target: str) -> None:
        (old, name), (new, to) = self.split(source), self.split(target)
        node, there = old.get(name), new.get(to)
        if node is None:
            raise failed(errno.ENOENT, source)
        if isinstance(there, Folder) and there:
            raise failed(errno.ENOTEMPTY, target)
        self.before("rename", target, 0)
        if there is not None and there is node:
            return  # two names of one file: nothing happens, says POSIX
        if isinstance(there, File):
            there.links -= 1
        del old[name]
        new[to] = node
        self._changed("rename", source, target)

    def link(self, source: str, target: str) -> None:
        node = self.need(source)
        folder, name = self.split(target)
        if name in folder:
            raise failed(errno.EEXIST, target)
        self.before("link", target, 0)
        folder[name] = node
        node.links += 1
        self._changed("link", target, node=node)

    # Bytes.

    def _write(self, file: File, at: int, piece: bytes | None) -> None:
        apply(file.data, at, piece)
        file.later.append((at, piece))
        file.total += 1
        file.touched = self.clock()

    def write(self, one: Open, piece: bytes, at: int) -> int:
        """As os.pwrite: perhaps less than all."""
        if not one.flags & 3:
            raise failed(errno.EBADF, one.path)
        taken = self.before("write", one.path, len(piece))
        self._write(one.node, at, bytes(piece[:taken]))
        return taken

    def truncate(self, file: File, path: str, length: int) -> None:
        if len(file.data) == length:
            return
        self.before("truncate", path, 0)
        self._write(file, length, None)

    def sync(self, one: Open, total: int | None = None) -> None:
        """As os.fsync; `total`: of so many changes."""
        if isinstance(one.node, Folder):
            path = self._path_of(one.node)
            if path is not None:
                self.before("sync names", self.root + "/" + path, 0)
                self._sync_names(path)
            return
        try:
            self.before("sync", one.path, 0)
        except OSError:
            one.node.in_doubt = len(one.node.later)
            raise
        self.synced(one.node, one.node.total if total is None else total)

    def synced(self, file: File, total: int) -> None:
        """The first `total` changes are durable, but for those that are in doubt."""
        upto = total - file.total + len(file.later)
        if upto <= 0:
            return
        if file.in_doubt:
            file.firm = max(file.firm, upto)
            return
        if upto == len(file.later):
            file.sure = bytes(file.data)
        else:
            sure = bytearray(file.sure)
            for change in file.later[:upto]:
                apply(sure, *change)
            file.sure = bytes(sure)
        del file.later[:upto]

    def _path_of(self, folder: Folder) -> str | None:
        return next((path for path, node in walk(self.tree) if node is folder), "" if folder is self.tree else None)

    def _sync_names(self, folder: str) -> None:
        """The changes in `folder`, and those that they stand on, are durable."""
        durable: set[int] = set()
        full = f"{self.root}/{folder}" if folder else self.root
        for place in range(len(self._changes) - 1, -1, -1):
            change = self._changes[place]
            mine = any(os.path.dirname(path) == full for path in change.paths)
            if mine or any(self._changes[later].stands_on(change) for later in durable):
                durable.add(place)
        for place in sorted(durable):
            self._changes[place].apply(self._durable)
        self._changes = [change for place, change in enumerate(self._changes) if place not in durable]

    # A power cut.

    def cut(self, chance: random.Random) -> None:
        """What is left of it."""
        names = names_left(self._durable, self._changes, chance)
        self.tree = Folder()
        for path, node in sorted(names.items()):
            try:
                folder, name = self.split(path)
            except OSError:  # its folder was lost
                continue
            folder[name] = Folder() if isinstance(node, Folder) else node
        for file in {id(node): node for _, node in walk(self.tree) if isinstance(node, File)}.values():
            if file.later:
                file.data[:] = torn(file.states(), chance)
        self.settle()

    def settle(self) -> None:
        """All that is there is durable; nobody has anything open."""
        self._durable, self._changes = {}, []
        for path, node in walk(self.tree):
            self._durable[f"{self.root}/{path}"] = node
            if isinstance(node, File):
                node.sure, node.later, node.in_doubt, node.firm = bytes(node.data), [], 0, 0

    def content(self) -> dict[str, bytes]:
        """All files, by their paths under the root."""
        return {path: bytes(node.data) for path, node in walk(self.tree) if isinstance(node, File)}


def walk(folder: Folder, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in it, a folder before what is in it."""
    for name in sorted(folder):
        yield path + name, folder[name]
        if isinstance(folder[name], Folder):
            yield from walk(folder[name], f"{path}{name}/")
