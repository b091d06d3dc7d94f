"""The syncing child: answers in order, errors come through, and fast disks are synced in place."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.storage import syncer as module
from chatlib.storage.child import ChildDied
from chatlib.storage.syncer import FAST, Syncer, datasync
from tests.conftest import Python


@pytest.fixture
def syncer() -> Iterator[Syncer]:
    one = Syncer()
    yield one
    one.close()


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"something")
    yield fd
    os.close(fd)


class Clock:
    """A clock that goes on by `step` with each look at it."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def answered(syncer: Syncer) -> None:
    assert select.select([syncer], [], [])[0]


def test_the_child_answers_and_the_descriptor_tells(syncer: Syncer, fd: int) -> None:
    assert not select.select([syncer], [], [], 0)[0]
    assert syncer.start(fd) is False
    assert syncer.under_way == 1
    answered(syncer)
    syncer.ready()
    assert syncer.under_way == 0
    assert not select.select([syncer], [], [], 0)[0]


def test_several_descriptors_of_one_job_are_answered_once(syncer: Syncer, fd: int, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    assert syncer.start(folder, fd) is False
    syncer.ready()
    os.close(folder)
    assert syncer.under_way == 0
    assert not select.select([syncer], [], [], 0)[0]


@pytest.mark.parametrize("count", [3, 4 * module.AT_ONCE])
def test_any_number_of_jobs_may_be_under_way_and_each_hears_of_itself(fd: int, count: int) -> None:
    """A file that cannot be synced costs none of the others."""
    syncer = Syncer(slow=1e-9)
    reading, writing = os.pipe()
    jobs = [reading if number % 3 == 1 else fd for number in range(count)]
    assert not any(syncer.start(job) for job in jobs)
    assert syncer.under_way == count
    for number, job in enumerate(jobs):
        answered(syncer)
        if job == fd:
            syncer.ready()
        else:
            with pytest.raises(OSError, match="Invalid argument"):
                syncer.ready()
        assert syncer.under_way == count - number - 1
    os.close(reading)
    os.close(writing)
    syncer.close()


def test_two_children_end_in_any_order() -> None:
    """The second has inherited this process's end of the first one's pipe."""
    for last in (0, 1):
        pair = [Syncer(), Syncer(slow=1e-9)]
        pair[1 - last].close()
        pair[last].close()
        for one in pair:
            with pytest.raises(ProcessLookupError):
                os.kill(one._pid, 0)


def test_what_the_disk_says_comes_through(syncer: Syncer, fd: int) -> None:
    reading, writing = os.pipe()
    syncer.start(reading)  # a pipe cannot be synced
    with pytest.raises(OSError, match="Invalid argument"):
        syncer.ready()
    os.close(reading)
    os.close(writing)


def test_a_child_that_died_is_told(fd: int) -> None:
    syncer = Syncer()
    syncer.start(fd)
    answered(syncer)
    syncer.ready()
    os.kill(syncer._pid, 9)
    os.waitpid(syncer._pid, 0)
    with pytest.raises(ChildDied, match="the syncing child has died"):
        syncer.ready()
    with pytest.raises(OSError):
        syncer.start(fd)
    syncer.close()


def sync_in_child(syncer: Syncer, fd: int, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sync by the child, which says that it took `seconds`."""
    assert syncer.start(fd) is False
    answered(syncer)
    real = module._ANSWER

    class Said:
        size = real.size

        @staticmethod
        def unpack(answer: bytes) -> tuple[int, float]:
            return real.unpack(answer)[0], seconds

    with monkeypatch.context() as patched:
        patched.setattr(module, "_ANSWER", Said)
        syncer.ready()


def sync_in_place(syncer: Syncer, fd: int, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sync by this process, which takes `seconds` by its clock."""
    with monkeypatch.context() as patched:
        patched.setattr(module.time, "perf_counter", Clock(seconds))
        assert syncer.start(fd) is True


def test_after_some_fast_syncs_it_is_done_in_place(syncer: Syncer, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(module.TRUST):
        sync_in_child(syncer, fd, FAST / 2, monkeypatch)
    for _ in range(3):
        sync_in_place(syncer, fd, FAST / 2, monkeypatch)
    # One that is slow in place was the last one for a while.
    sync_in_place(syncer, fd, FAST * 2, monkeypatch)
    assert syncer.start(fd) is False
    syncer.ready()


def test_a_slow_sync_in_between_ends_the_trust(syncer: Syncer, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in [FAST / 2] * (module.TRUST - 1) + [FAST * 2] + [FAST / 2] * (module.TRUST - 1):
        sync_in_child(syncer, fd, seconds, monkeypatch)
    assert syncer.start(fd) is False
    syncer.ready()


def test_a_disk_that_is_slow_now_and_then_must_be_fast_for_longer_each_time(
    syncer: Syncer, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So what holds up the loop again and again soon does so no more."""
    monkeypatch.setattr(module, "_MOST", 64)
    for wanted in (4, 16, 64, 64):
        for _ in range(wanted):
            sync_in_child(syncer, fd, FAST / 2, monkeypatch)
        sync_in_place(syncer, fd, FAST * 100, monkeypatch)
    monkeypatch.setattr(module, "_FORGET", 100)
    for _ in range(64):
        sync_in_child(syncer, fd, FAST / 2, monkeypatch)
    for _ in range(36):
        sync_in_place(syncer, fd, FAST / 2, monkeypatch)
    sync_in_place(syncer, fd, FAST * 2, monkeypatch)
    for _ in range(16):
        sync_in_child(syncer, fd, FAST / 2, monkeypatch)
    sync_in_place(syncer, fd, FAST / 2, monkeypatch)


def test_nothing_is_done_in_place_before_what_the_child_has(
    syncer: Syncer, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(module.TRUST - 1):
        sync_in_child(syncer, fd, FAST / 2, monkeypatch)
    syncer._fast = 0
    assert [syncer.start(fd), syncer.start(fd)] == [False, False]
    syncer._fast = module.TRUST
    assert syncer.start(fd) is False
    for _ in range(3):
        syncer.ready()
    syncer._fast = syncer._wanted
    assert syncer.start(fd) is True


def test_in_place_the_disks_refusal_is_raised(syncer: Syncer, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(module.TRUST):
        sync_in_child(syncer, fd, 0.0, monkeypatch)
    reading, writing = os.pipe()
    with pytest.raises(OSError, match="Invalid argument"):
        syncer.start(reading)
    os.close(reading)
    os.close(writing)


def test_a_disk_said_to_be_slow_is_never_synced_in_place(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    syncer = Syncer(slow=1e-6)
    for _ in range(module.TRUST + 1):
        sync_in_child(syncer, fd, 0.0, monkeypatch)
    assert syncer.start(fd) is False
    syncer.ready()
    syncer.close()


def test_datasync_where_there_is_no_fdatasync(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.delattr(os, "fdatasync", raising=False)
    monkeypatch.setattr(os, "fsync", synced.append)
    datasync(fd)
    assert synced == [fd]


ORPHAN = """
import os
from chatlib.storage.syncer import Syncer
print(Syncer()._pid, flush=True)
os._exit(0)
"""


def test_the_child_ends_with_its_parent_however_that_ended(python: Python) -> None:
    # The child holds this pipe's other end open: the call comes back only when it has ended, too.
    assert python(ORPHAN).returncode == 0
