"""The child that hashes files while they grow, and syncs them: what it does, and how it ends."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.storage import checker as module
from chatlib.storage.checker import AT_ONCE, Checked, Checker, Task, carry_out
from chatlib.storage.child import ChildDied
from chatlib.storage.syncer import Syncer
from tests.chance import new_chance


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.fixture
def checker() -> Iterator[Checker]:
    checker = Checker()
    yield checker
    checker.close()


def test_a_digest_in_any_pieces(fd: int) -> None:
    chance = new_chance()
    data = chance.randbytes(700_000)
    os.write(fd, data)
    for _ in range(10):
        hashers: dict[int, Any] = {}
        position = 0
        while position < len(data):
            length = min(chance.randint(0, 400_000), len(data) - position)
            answer = carry_out(hashers, fd, Task(1, position, length, position + length == len(data)))
            position += length
            assert answer.digest == hashlib.sha256(data[:position]).digest() and not answer.error
        assert answer.synced


def test_the_name_is_durable_behind_the_bytes(
    fd: int, tmp_path: Path, checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut takes a file whose name was never synced, however durable its bytes are."""
    folder = os.open(tmp_path, os.O_RDONLY)
    with monkeypatch.context() as patched:
        synced: list[int] = []
        patched.setattr(module, "datasync", synced.append)
        patched.setattr(os, "fsync", synced.append)
        assert carry_out({}, fd, Task(1, 0, 0, False), folder) == Checked(0, False, hashlib.sha256().digest())
        assert synced == [], "there is more to come"
        assert carry_out({}, fd, Task(1, 0, 0, True), folder).synced
        assert synced == [fd, folder]
    checker.start(fd, Task(1, 0, 0, True), folder)
    os.close(folder)
    assert checker.ready().synced, "the child has both"


def test_two_files_in_turn_and_one_that_is_forgotten(fd: int) -> None:
    os.write(fd, b"12345678")
    hashers: dict[int, Any] = {}
    for position in range(0, 8, 2):
        for number in (1, 2):
            answer = carry_out(hashers, fd, Task(number, position, 2, False))
            assert answer == Checked(0, False, hashlib.sha256(b"12345678"[: position + 2]).digest())
    carry_out(hashers, fd, Task(3, 0, 1, False, forgotten=1))
    assert sorted(hashers) == [2, 3]
    assert carry_out(hashers, fd, Task(1, 8, 0, False)) == Checked(errno.ESTALE, False, b"")
    assert carry_out(hashers, fd, Task(2, 0, 1, False)).digest == hashlib.sha256(b"1").digest(), "it begins anew"


def test_a_file_that_ends_too_early_has_no_digest(fd: int) -> None:
    os.write(fd, b"12345")
    hashers: dict[int, Any] = {}
    assert carry_out(hashers, fd, Task(1, 0, 6, True)) == Checked(errno.EIO, False, b"")
    assert hashers == {}, "what is half hashed is of no use"


def test_a_disk_that_does_not_sync(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "datasync", fail)
    assert not carry_out({}, fd, Task(1, 0, 0, False)).error
    answer = carry_out({}, fd, Task(1, 0, 0, True))
    assert (answer.error, answer.at_sync, answer.synced) == (errno.ENOSPC, True, False)


def test_as_many_tasks_as_the_pipe_may_hold(checker: Checker, tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    os.kill(checker._pid, signal.SIGSTOP)
    for number in range(1, AT_ONCE + 1):
        fd = os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT)
        os.write(fd, b"%d" % number)
        checker.start(fd, Task(number, 0, len(b"%d" % number), True))
        os.close(fd)
    os.kill(checker._pid, signal.SIGCONT)
    for number in range(1, AT_ONCE + 1):
        assert checker.ready() == Checked(0, True, hashlib.sha256(b"%d" % number).digest()), "in their order"
    assert len(os.listdir("/dev/fd")) == before


def test_a_child_that_died_is_told(checker: Checker, fd: int) -> None:
    checker.start(fd, Task(1, 0, 0, True))
    os.kill(checker._pid, 9)
    os.waitpid(checker._pid, 0)
    with pytest.raises(ChildDied):
        for _ in range(2):  # it may have answered before it died
            checker.ready()
    with pytest.raises(ChildDied):
        checker.start(fd, Task(2, 0, 0, True))


@pytest.mark.parametrize("last", [0, 1])
def test_it_ends_whichever_of_two_children_ends_first(last: int) -> None:
    """The second has inherited this process's end of the first one's pipe."""
    pair: list[Any] = [Syncer(), Checker()]
    pair[1 - last].close()
    pair[last].close()
    for one in pair:
        with pytest.raises(ProcessLookupError):
            os.kill(one._pid, 0)


def test_a_disk_that_is_slow_for_tests(fd: int) -> None:
    checker = Checker(slow=0.2)
    begun = time.monotonic()
    checker.start(fd, Task(1, 0, 0, False))
    checker.start(fd, Task(1, 0, 0, True))
    checker.ready()
    assert not checker.ready().error and time.monotonic() - begun >= 0.2
    checker.close()
