"""Files synced by a real child: many at once, in order, and what happens when it dies."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.reactor.loop import Loop
from chatlib.server.filesyncs import FileSyncs
from chatlib.storage.syncer import ChildDied, Syncer


class Desk:
    """A loop, its syncs, and what was said of each file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[BaseException] = []
        self.told: list[str] = []
        self.heard: list[tuple[str, object]] = []
        self.syncer = Syncer(in_place=False)
        self.loop = Loop(self.faults.append)
        self.syncs = FileSyncs(self.loop, self.syncer, self.told.append)

    def start(self, name: str, fault: bool = False) -> None:
        fd = os.open(self.folder / name, os.O_RDWR | os.O_CREAT)
        os.write(fd, name.encode())
        self.syncs.start(fd, File(self, name, fault))
        os.close(fd)  # whoever started it may go

    def until(self, count: int) -> None:
        while len(self.heard) < count:
            self.loop.tick()

    def close(self) -> None:
        self.syncs.close()
        self.syncer.close()
        self.loop.close()


class File:
    def __init__(self, desk: Desk, name: str, fault: bool) -> None:
        self.desk, self.name, self.fault = desk, name, fault

    def synced(self, error: OSError | None) -> None:
        self.desk.heard.append((self.name, error))
        if self.fault:
            raise ValueError("a fault of ours")

    def broken(self) -> None:
        self.desk.heard.append((self.name, "broken"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_hundreds_at_once_are_answered_in_order(desk: Desk) -> None:
    before = len(os.listdir("/dev/fd"))
    names = [str(number) for number in range(300)]
    for name in names:
        desk.start(name)
    assert desk.heard == [], "never in place"
    desk.until(300)
    assert desk.heard == [(name, None) for name in names]
    assert len(os.listdir("/dev/fd")) == before


def test_what_cannot_be_synced_is_told_to_whom_it_concerns(desk: Desk) -> None:
    desk.start("a")
    reader, writer = os.pipe()
    desk.syncs.start(reader, File(desk, "a pipe", False))
    desk.start("b")
    desk.until(3)
    (_, first), (_, error), (_, last) = desk.heard
    assert first is last is None and isinstance(error, OSError) and error.errno == errno.EINVAL
    os.close(reader)
    os.close(writer)


def test_a_fault_costs_one_file_and_no_other(desk: Desk) -> None:
    for name, fault in (("a", False), ("b", True), ("c", False)):
        desk.start(name, fault)
    desk.until(4)
    assert desk.heard == [("a", None), ("b", None), ("b", "broken"), ("c", None)]
    assert [str(fault) for fault in desk.faults] == ["a fault of ours"]


def test_a_child_that_is_killed(desk: Desk) -> None:
    os.kill(desk.syncer._pid, signal.SIGSTOP)
    for name in ("a", "b"):
        desk.start(name)
    os.kill(desk.syncer._pid, signal.SIGKILL)
    desk.until(2)
    desk.start("c")
    assert [name for name, _ in desk.heard] == ["a", "b", "c"]
    assert all(isinstance(error, ChildDied) for _, error in desk.heard)
    told = "The child that syncs files has died: until the server is started again, it takes no more files."
    assert desk.told == [told]
    desk.loop.call_later(0.0, desk.loop.stop)
    desk.loop.run()
    assert desk.loop.ticks < 1_000, "the loop does not spin"


def test_closed_with_files_under_way(desk: Desk) -> None:
    before = len(os.listdir("/dev/fd"))
    os.kill(desk.syncer._pid, signal.SIGSTOP)
    for name in ("a", "b"):
        desk.start(name)
    assert len(os.listdir("/dev/fd")) == before + 2
    desk.syncs.close()
    assert len(os.listdir("/dev/fd")) == before and desk.heard == []
    os.kill(desk.syncer._pid, signal.SIGCONT)
