"""Files checked by a real child: many at once, in order, as they grow; and what happens when it dies."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.reactor.loop import Loop
from chatlib.server import checks as module
from chatlib.server.checks import Checks
from chatlib.storage.checker import Checked, Checker


class Desk:
    """A loop, its checks, and what was said of each file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[BaseException] = []
        self.told: list[str] = []
        self.heard: list[tuple[str, object]] = []
        self.checker = Checker()
        self.loop = Loop(self.faults.append)
        self.checks = Checks(self.loop, self.checker, self.told.append)

    def start(self, name: str, fault: bool = False) -> File:
        """A small file, from beginning to end."""
        file = File(self, name, fault, whole=True)
        file.grow(name.encode())
        file.go_on()
        return file

    def until(self, count: int) -> None:
        while len(self.heard) < count:
            self.loop.tick()

    def close(self) -> None:
        self.checker.close()
        self.loop.close()


class File:
    """A part that grows."""

    def __init__(self, desk: Desk, name: str, fault: bool = False, whole: bool = False) -> None:
        self.desk, self.name, self.fault, self.whole = desk, name, fault, whole
        self.fd = os.open(desk.folder / name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.digest = desk.checks.digest(name, self)
        self.data = b""

    def grow(self, data: bytes) -> None:
        self.data += data
        os.write(self.fd, data)

    def go_on(self) -> None:
        self.desk.checks.start(self.digest, self.fd, len(self.data), self.whole, self)

    @property
    def right(self) -> bool:
        return self.digest.sha256 == hashlib.sha256(self.data[: self.digest.upto]).hexdigest()

    def close(self) -> None:
        os.close(self.fd)

    def checked(self, answer: Checked | None) -> None:
        if answer is not None and self.whole and not answer.at_sync and not answer.error:
            self.go_on()
            return
        if self.whole:
            self.close()
        self.desk.heard.append((self.name, answer and answer.error))
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
    files = [desk.start(name) for name in names]
    assert desk.heard == [], "never by this process"
    desk.until(300)
    assert desk.heard == [(name, 0) for name in names]
    assert all(file.right and file.digest.upto == len(file.data) for file in files)
    assert len(os.listdir("/dev/fd")) == before


def test_a_file_that_grows_is_hashed_piece_by_piece(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 1_000)
    one, other = File(desk, "one"), File(desk, "other")
    for _ in range(3):
        one.grow(os.urandom(700))
        other.grow(os.urandom(1_700))
        one.go_on()
        other.go_on()
        desk.until(len(desk.heard) + 2)
        assert one.right and other.right
    assert (one.digest.upto, other.digest.upto) == (2_100, 3_000), "at most so many at once"
    other.whole = True
    other.go_on()
    desk.until(len(desk.heard) + 1)
    assert other.digest.upto == 5_100 and other.right and other.digest.sha256
    one.close()


def test_whoever_waits_has_a_turn_before_those_who_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    monkeypatch.setattr(module, "MOST", 10)
    large = [File(desk, name, whole=True) for name in ("large", "larger")]
    for file in large:
        file.grow(bytes(1_000))
        file.go_on()
    for name in ("a", "b", "c"):
        desk.start(name)
    gone = File(desk, "gone", whole=True)
    gone.go_on()
    desk.checks.forget(gone.digest)
    desk.until(3)
    assert desk.heard == [("a", 0), ("b", 0), ("c", 0)] and all(file.digest.upto < 100 for file in large)
    desk.until(5)
    assert [name for name, _ in desk.heard[3:]] == ["large", "larger"] and all(file.right for file in large)
    gone.close()


def test_what_is_kept_and_what_is_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    files = [desk.start(name) for name in ("a", "b", "c", "d")]
    desk.until(4)
    for file in files:
        desk.checks.keep(file.name, file.digest)
    desk.checks.drop("d")
    kept = [File(desk, name).digest is file.digest for name, file in zip("abcd", files, strict=True)]
    assert kept == [False, False, True, False], "the longest kept go, and what went with its part"
    forgotten = [file.digest.number for file in files if file.name != "c"]
    started = []
    start = Checker.start
    monkeypatch.setattr(Checker, "start", lambda *args: started.append(args[2].forgotten) or start(*args))
    for name in "efgh":
        desk.start(name)
    desk.until(8)
    assert started == [*forgotten, 0], "the child is told with whatever it gets next"
    stale = files[0].digest
    stale.busy, stale.owner = False, files[0]
    files[0].fd = os.open(desk.folder / "a", os.O_RDWR | os.O_APPEND)
    files[0].whole = False
    files[0].grow(b"more")
    files[0].go_on()
    desk.until(9)
    assert desk.heard[-1] == ("a", errno.ESTALE) and stale.upto == 0, "and so it has forgotten"
    files[0].go_on()
    desk.until(10)
    assert desk.heard[-1] == ("a", 0) and files[0].right and stale.upto == 5
    files[0].close()


def test_somebody_else_goes_on_while_a_piece_is_hashed(desk: Desk) -> None:
    first = File(desk, "a")
    first.grow(b"12345")
    first.go_on()
    first.close()  # whoever started it may go
    desk.checks.keep("a", first.digest)
    second = File(desk, "a")
    second.name = "second"
    assert second.digest is first.digest and second.digest.busy
    desk.until(1)
    assert desk.heard == [("second", 0)] and not second.digest.busy and second.digest.upto == 5
    second.close()


def test_a_file_that_is_shorter_than_it_was(desk: Desk) -> None:
    file = File(desk, "a")
    file.grow(b"12345")
    os.ftruncate(file.fd, 3)
    file.whole = True
    file.go_on()
    desk.until(1)
    assert desk.heard == [("a", errno.EIO)] and file.digest.upto == 0


def test_a_disk_that_does_not_sync_is_told_from_one_that_does_not_read(desk: Desk) -> None:
    reader, writer = os.pipe()
    whole, part = File(desk, "whole"), File(desk, "part")
    desk.checks.start(whole.digest, reader, 0, True, whole)  # nothing to be read, and a pipe cannot be synced
    desk.checks.start(part.digest, reader, 5, False, part)
    desk.until(2)
    assert desk.heard == [("whole", errno.EINVAL), ("part", errno.ESPIPE)]
    for fd in (reader, writer, whole.fd, part.fd):
        os.close(fd)


def test_no_descriptor_is_used_up_by_those_who_wait(desk: Desk) -> None:
    os.kill(desk.checker._pid, signal.SIGSTOP)
    before = len(os.listdir("/dev/fd"))
    for number in range(100):
        desk.start(str(number))
    assert len(os.listdir("/dev/fd")) == before + 100, "but their own"
    os.kill(desk.checker._pid, signal.SIGCONT)
    desk.until(100)


def test_a_fault_costs_one_file_and_no_other(desk: Desk) -> None:
    for name, fault in (("a", False), ("b", True), ("c", False)):
        desk.start(name, fault)
    desk.until(4)
    assert desk.heard == [("a", 0), ("b", 0), ("b", "broken"), ("c", 0)]
    assert [str(fault) for fault in desk.faults] == ["a fault of ours"]


@pytest.mark.parametrize("count", [2, 50])
def test_a_child_that_is_killed(desk: Desk, count: int) -> None:
    os.kill(desk.checker._pid, signal.SIGSTOP)
    names = [str(number) for number in range(count)]
    for name in names:
        desk.start(name)
    os.kill(desk.checker._pid, signal.SIGKILL)
    desk.until(count)
    desk.start("late")
    assert desk.heard == [(name, None) for name in [*names, "late"]]
    told = "The child that checks files has died: until the server is started again, it takes no more files."
    assert desk.told == [told]
    desk.loop.call_later(0.0, desk.loop.stop)
    desk.loop.run()
    assert desk.loop.ticks < 1_000, "the loop does not spin"
