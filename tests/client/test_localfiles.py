"""Files on the client's own disk: hashed in slices, synced as they come, by nobody but the program itself."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest

from chatlib.client import localfiles
from chatlib.client.localfiles import HASHED, SYNCED, DownloadPart, Hashing, TransferError
from chatlib.reactor.loop import Loop
from tests.client.rig import fault


class Hashed:
    """A hashing under way, on a loop that a test turns."""

    def __init__(self, path: Path, size: int) -> None:
        self.loop = Loop(on_fault=fault)
        self.moved: list[int] = []
        self.done: list[tuple[str, str]] = []
        self.fd = os.open(path, os.O_RDONLY)
        self.hashing = Hashing(self.loop, self.fd, size, self.moved.append, lambda *all: self.done.append(all))

    def run(self) -> None:
        while self.loop._again:
            self.loop.tick()

    def close(self) -> None:
        os.close(self.fd)
        self.loop.close()


def a_file(folder: Path, size: int) -> Path:
    path = folder / "file"
    path.write_bytes(random.Random(size).randbytes(size))
    return path


@pytest.mark.parametrize("size", [0, 1, HASHED - 1, HASHED, HASHED + 1, 3 * HASHED + 17])
def test_a_slice_a_tick_and_the_digest_at_the_end(tmp_path: Path, size: int) -> None:
    path = a_file(tmp_path, size)
    hashed = Hashed(path, size)
    ticks = 0
    while not hashed.done:
        before = sum(hashed.moved[-1:])
        hashed.loop.tick()
        assert hashed.moved[-1] - before <= HASHED, "in one tick"
        ticks += 1
    assert hashed.done == [(hashlib.sha256(path.read_bytes()).hexdigest(), "")]
    assert ticks == max(1, -(-size // HASHED)) and hashed.moved[-1] == size
    hashed.run()
    assert len(hashed.done) == 1
    hashed.close()


def test_only_the_bytes_that_were_there_are_hashed(tmp_path: Path) -> None:
    path = a_file(tmp_path, 2 * HASHED)
    hashed = Hashed(path, HASHED + 5)
    hashed.run()
    assert hashed.done == [(hashlib.sha256(path.read_bytes()[: HASHED + 5]).hexdigest(), "")]
    hashed.close()


def test_a_file_that_shrinks_while_it_is_hashed_is_no_endless_loop(tmp_path: Path) -> None:
    path = a_file(tmp_path, 3 * HASHED)
    hashed = Hashed(path, 3 * HASHED)
    hashed.loop.tick()
    os.truncate(path, HASHED)
    hashed.run()
    assert hashed.done == [(hashlib.sha256(path.read_bytes()).hexdigest(), "")], "the sender sees that it has changed"
    hashed.close()


def test_cancelled_while_hashing_nothing_more_is_read_or_told(tmp_path: Path) -> None:
    hashed = Hashed(a_file(tmp_path, 4 * HASHED), 4 * HASHED)
    hashed.loop.tick()
    hashed.hashing.cancel()
    hashed.close()  # the descriptor may be another's by now
    hashed.loop = Loop(on_fault=fault)
    hashed.hashing.again()
    assert hashed.moved == [HASHED] and hashed.done == []
    hashed.loop.close()


def test_a_disk_that_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = Hashed(a_file(tmp_path, 10), 10)

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "readv", fail)
    hashed.run()
    assert hashed.done == [("", "Input/output error")]
    monkeypatch.undo()
    hashed.close()


def received(part: DownloadPart, data: bytes) -> None:
    for position in range(0, len(data), 250_000):
        part.write(memoryview(data)[position : position + 250_000], position)


@pytest.mark.parametrize(("seconds", "most"), [(0.001, 8), (0.5, 33)])
def test_what_comes_is_synced_as_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, most: int
) -> None:
    """So that the end does not wait for all of it; a fast disk is asked less and less often, a slow one each MiB."""
    now, syncs = [0.0], []

    def sync(fd: int) -> None:
        now[0] += seconds
        syncs.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(localfiles, "perf_counter", lambda: now[0])
    part = DownloadPart(tmp_path, "x", "0" * 64)
    size = 32 << 20
    assert part.begin(size) == 0
    received(part, bytes(size))
    before = list(syncs)
    assert 3 <= len(before) <= most and part._stride >= SYNCED[0]
    assert part.publish() == tmp_path / "x" and syncs[len(before)] == size, "synced, then named"
    part.close()


def test_a_sync_that_fails_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    part = DownloadPart(tmp_path, "x", "0" * 64)
    with pytest.raises(OSError, match="Input/output error"):
        received(part, bytes(SYNCED[0]))
    part.close()


def test_a_part_that_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    part = DownloadPart(tmp_path, "x", "0" * 64)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstatvfs", fail)
        with pytest.raises(TransferError, match='"x" cannot be saved: Input/output error. What has come is kept'):
            part.begin(5)
    part.close()
