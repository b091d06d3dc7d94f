"""What the simulated calls hand out: files opened by ``open``, entries of folders, maps of files."""

from __future__ import annotations

import errno
import io
from typing import TYPE_CHECKING, Any, Self

from tests.proofs.sim.disk import Disk
from tests.proofs.sim.nodes import File, Folder, Stat, failed

if TYPE_CHECKING:
    from tests.proofs.sim.calls import Calls


class Reading(io.BytesIO):
    """An open file, as it was when it was opened."""

    def __init__(self, calls: Calls, fd: int, closefd: bool) -> None:
        one = calls.opened(fd)
        if isinstance(one.node, Folder):
            raise failed(errno.EISDIR, one.path)
        super().__init__(bytes(one.node.data))
        self.seek(one.at)
        self._calls, self._fd, self._closefd = calls, fd, closefd

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if not self.closed:
            super().close()
            process = self._calls.machine.process
            if self._closefd and process is not None and self._fd in process.open:
                self._calls.close(self._fd)


class Writing(io.RawIOBase):
    """A file that is written, with a buffer."""

    _SIZE = 8_192

    def __init__(self, calls: Calls, fd: int) -> None:
        self._calls, self._fd, self._buffer = calls, fd, bytearray()

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._buffer += data
        if len(self._buffer) >= self._SIZE:
            self.flush()
        return len(data)

    def flush(self) -> None:
        while self._buffer:
            del self._buffer[: self._calls.write(self._fd, bytes(self._buffer))]

    def close(self) -> None:
        if not self.closed:
            try:
                process = self._calls.machine.process
                if process is not None and not process.over:
                    self.flush()
            finally:
                self._buffer.clear()
                super().close()
                self._calls.close(self._fd)


class Entries(list["Entry"]):
    """What os.scandir returns."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...


class Entry:
    """One of these."""

    def __init__(self, folder: str, name: str, disk: Disk) -> None:
        self.name, self.path, self._disk = name, f"{folder}/{name}", disk

    def __fspath__(self) -> str:
        return self.path

    def stat(self, *, follow_symlinks: bool = True) -> Stat:
        return Stat(self._disk.need(self.path))

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return isinstance(self._disk.find(self.path), Folder)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return isinstance(self._disk.find(self.path), File)

    def is_symlink(self) -> bool:
        return False


class Map:
    """What mmap.mmap returns."""

    def __init__(self, calls: Calls, fd: int) -> None:
        self._data, self._at = bytes(calls.opened(fd).node.data), 0
        if not self._data:
            raise ValueError("cannot mmap an empty file")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def find(self, what: bytes, at: int = 0) -> int:
        return self._data.find(what, at)

    def seek(self, at: int) -> None:
        self._at = at

    def read(self) -> bytes:
        return self._data[self._at :]
