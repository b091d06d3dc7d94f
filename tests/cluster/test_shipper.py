"""The child that carries blobs between a disk and the engine, and what the server hears of it."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.cluster import blobs as moving
from chatlib.cluster import shipper
from chatlib.cluster.blobs import PIECE
from chatlib.cluster.shipper import AT_ONCE, SharedVault, Shipper
from chatlib.cluster.vault import Carried, Outcome
from chatlib.protocol.nats import Engine
from chatlib.reactor.loop import Loop
from chatlib.storage.blobs import Blobs
from tests.cluster.fakeengine import FakeEngine, Fate
from tests.patience import LIMIT

DATA = random.Random(6).randbytes(12 * PIECE + 3)
DONE = Carried(Outcome.DONE)


def name(number: int) -> str:
    return f"{number:048x}.0123abcd"


class Owner:
    """Whoever waits for a job."""

    def __init__(self) -> None:
        self.ended: Carried | None = None
        self.raises = self.is_broken = False
        self.then: Callable[[], object] = lambda: None

    def carried(self, ended: Carried) -> None:
        assert self.ended is None, "once"
        self.ended = ended
        self.then()
        if self.raises:
            raise ZeroDivisionError

    def broken(self) -> None:
        self.is_broken = True


class Yard:
    """What a server has of it."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.shipper = Shipper(engine)
        self.faults: list[BaseException] = []
        self.loop = Loop(self.faults.append)
        self.blobs = Blobs(folder)
        self.blobs.shared = True
        self.told: list[str] = []
        self.vault = SharedVault(self.loop, self.shipper, self.blobs, self.told.append, self.faults.append)
        self._beside = folder.with_name("source")

    def put(self, data: bytes = DATA, blob: str = name(1)) -> Owner:
        owner = Owner()
        self._beside.write_bytes(data)
        fd = os.open(self._beside, os.O_RDONLY)
        self.vault.put(blob, fd, len(data), owner)
        os.close(fd)
        self._beside.unlink()
        return owner

    def fetch(self, data: bytes = DATA, blob: str = name(1)) -> Owner:
        owner = Owner()
        self.vault.fetch(blob, len(data), hashlib.sha256(data).hexdigest(), owner)
        return owner

    def until(self, what: Callable[[], object]) -> None:
        end = time.monotonic() + LIMIT
        while not what():
            assert time.monotonic() < end
            self.loop.call_later(0.01, lambda: None)
            self.loop.tick()

    def over(self, *owners: Owner) -> list[Carried | None]:
        self.until(lambda: all(owner.ended is not None for owner in owners))
        return [owner.ended for owner in owners]

    def lying(self) -> dict[str, bytes]:
        while self.blobs.tidy(self.loop.now):
            pass
        return {path.name: path.read_bytes() for path in self.blobs.folder.iterdir()}

    def close(self) -> None:
        self.vault.close()
        self.loop.close()


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(user="chat", password="secret") as engine:
        engine.make("chat_files", subjects=["chat.files.>"], deny_delete=False, republish=None)
        yield engine


@pytest.fixture
def yard(tmp_path: Path, engine: FakeEngine) -> Iterator[Yard]:
    yard = Yard(tmp_path / "files", engine.parse())
    yield yard
    yard.close()
    assert yard.faults == []


@pytest.mark.parametrize("size", [0, 1, len(DATA)])
def test_there_and_back(yard: Yard, size: int) -> None:
    data = DATA[:size]
    assert yard.over(yard.put(data)) == [DONE]
    assert yard.lying() == {}
    assert yard.over(yard.fetch(data)) == [DONE]
    assert yard.lying() == {name(1): data}


def test_many_at_once_each_finds_its_own(yard: Yard) -> None:
    files = {name(number): DATA[number : 2 * number] for number in range(2 * AT_ONCE)}
    puts = [yard.put(data, blob) for blob, data in files.items()]
    assert yard.over(*puts) == [DONE] * len(files)
    fetches = [yard.fetch(data, blob) for blob, data in files.items()]
    assert yard.over(*fetches) == [DONE] * len(files)
    assert yard.lying() == files


def test_two_who_want_one_blob_fetch_it_once(yard: Yard, engine: FakeEngine) -> None:
    yard.over(yard.put())
    owners = [yard.fetch() for _ in range(3)]
    for owner in owners:
        owner.then = lambda: yard.blobs.close(name(1), yard.blobs.open(name(1)))
    assert yard.over(*owners) == [DONE] * 3
    asked = [subject for subject in engine.asked if subject.endswith(f"{name(1)}.0")]
    assert len(asked) == 1


def test_answers_that_are_lost(yard: Yard, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for fate in (Fate.UNANSWERED, Fate.LOST, Fate.REFUSED, Fate.IN_PROCESS, Fate.FULL):
        engine.fates("chat_files", fate, 1)
    assert yard.over(yard.put()) == [DONE]
    assert len(engine.streams["chat_files"].messages) == 13, "each piece once"
    assert yard.over(yard.fetch()) == [DONE] and yard.lying() == {name(1): DATA}


def test_a_blob_that_the_engine_has_not(yard: Yard) -> None:
    assert yard.over(yard.fetch()) == [Carried(Outcome.MISSING, 0, "the engine has no piece 0 of 13")]
    assert yard.lying() == {}


def test_other_bytes_than_were_announced(yard: Yard) -> None:
    yard.over(yard.put())
    other = bytes([DATA[0] ^ 1]) + DATA[1:]
    (ended,) = yard.over(yard.fetch(other))
    assert ended == Carried(Outcome.DAMAGED, 0, "the engine's bytes have another digest")
    assert yard.lying() == {}


def test_an_engine_that_is_away(tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PATIENCE", 0.5)
    yard = Yard(tmp_path / "files", engine.parse())
    assert yard.over(yard.put()) == [DONE]
    engine.close()
    (put, fetch) = yard.over(yard.put(), yard.fetch())
    assert put and fetch and put.outcome is fetch.outcome is Outcome.AWAY and yard.lying() == {}
    assert yard.told == [], "the log says it"
    yard.close()


def test_an_engine_that_does_not_know_us(tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PATIENCE", 0.5)
    yard = Yard(tmp_path / "files", dataclasses.replace(engine.parse(), password="wrong"))
    (ended,) = yard.over(yard.put())
    assert ended and ended.outcome is Outcome.AWAY and "uthoriz" in ended.text
    yard.close()


def test_what_nobody_needs_goes_from_the_engine_after_a_while(
    yard: Yard, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = AT_ONCE + 10
    yard.over(*(yard.put(b"x", name(number)) for number in range(count)), yard.put(b"stays", name(999)))
    monkeypatch.setattr(shipper, "LINGERS", 0.2)
    for number in range(count):
        yard.vault.drop(name(number))
    assert len(engine.streams["chat_files"].messages) == count + 1, "somebody may be fetching it"
    yard.until(lambda: len(engine.streams["chat_files"].messages) == 1)
    assert yard.over(yard.fetch(b"stays", name(999))) == [DONE]


# This machine.


def test_the_child_dies(yard: Yard, engine: FakeEngine) -> None:
    yard.over(yard.put())
    engine.hold()
    under_way = [yard.put(blob=name(2)), yard.fetch(), yard.fetch()]
    waiting = [yard.put(b"x", name(number)) for number in range(10, 10 + AT_ONCE)]
    os.kill(yard.shipper._pid, signal.SIGKILL)
    assert yard.over(*under_way, *waiting) == [Carried(Outcome.DEAD)] * (3 + AT_ONCE)
    assert yard.over(yard.put(), yard.fetch()) == [Carried(Outcome.DEAD)] * 2, "at once"
    assert yard.lying() == {}
    assert yard.told == ["The child that carries files to the other servers has died: until this one is started again, "
                         "it takes no more files, and gives none that came to another."]  # fmt: skip


def test_a_disk_that_is_full_while_a_file_comes(yard: Yard) -> None:
    yard.over(yard.put())
    resource.prlimit(yard.shipper._pid, resource.RLIMIT_FSIZE, (5 * PIECE, resource.RLIM_INFINITY))
    (ended,) = yard.over(yard.fetch())
    assert ended and (ended.outcome, ended.error) == (Outcome.DISK, errno.EFBIG) and yard.lying() == {}
    resource.prlimit(yard.shipper._pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert yard.over(yard.fetch()) == [DONE] and yard.lying() == {name(1): DATA}


def test_a_disk_without_room_is_not_begun_to_be_filled(
    yard: Yard, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.over(yard.put(), yard.put(blob=name(2)))
    monkeypatch.setattr(yard.blobs, "room", lambda: 2 * len(DATA) - 1)
    engine.hold()
    first, second = yard.fetch(), yard.fetch(blob=name(2))
    assert second.ended and (second.ended.outcome, second.ended.error) == (Outcome.DISK, errno.ENOSPC)
    engine.release()
    assert yard.over(first) == [DONE]
    assert yard.over(yard.fetch(blob=name(2))) == [DONE], "what has come is not counted any more"


@pytest.mark.parametrize("call", ["coming", "came"])
def test_a_disk_that_takes_no_new_file(yard: Yard, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    yard.over(yard.put())
    monkeypatch.setattr(yard.blobs, call, fails)
    (ended,) = yard.over(yard.fetch())
    assert ended == Carried(Outcome.DISK, errno.EROFS, "read-only")


def test_an_owner_with_a_fault_costs_nobody_else_anything(yard: Yard) -> None:
    yard.over(yard.put())
    first, second = yard.fetch(), yard.fetch()
    first.raises = True
    assert yard.over(first, second) == [DONE, DONE] and first.is_broken and not second.is_broken
    assert [type(fault) for fault in yard.faults] == [ZeroDivisionError]
    yard.faults.clear()
    assert yard.over(yard.put(blob=name(2))) == [DONE]


def test_an_end_in_the_middle(yard: Yard, engine: FakeEngine) -> None:
    engine.hold()
    owners = [yard.put(), yard.fetch(blob=name(2))]
    yard.loop.call_later(0.05, lambda: None)
    yard.loop.tick()
    pid = yard.shipper._pid
    yard.vault.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert [owner.ended for owner in owners] == [None, None]


def test_descriptors_are_given_back(yard: Yard) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd")) + len(os.listdir(f"/proc/{yard.shipper._pid}/fd"))

    yard.over(yard.put(), yard.fetch(blob=name(7)))
    before = count()
    yard.over(*(yard.put(blob=name(number)) for number in range(20)), *(yard.fetch(b"x", name(99)) for _ in range(3)))
    yard.over(yard.fetch())
    assert count() == before
