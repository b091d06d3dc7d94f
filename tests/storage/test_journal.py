"""The journal: what is committed is replayed; a torn tail is cut; anything else that is wrong is named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.storage import journal as module
from chatlib.storage.journal import CommitFailed, Journal, pack, unpack
from chatlib.storage.syncer import Syncer
from chatlib.storage.textfile import FileError
from tests.conftest import Python

HEADER = b"# journal.txt 1: LSN, CRC-32 of LSN and command, command\n"


class FakeSyncer:
    """A disk whose syncs are done when the test says so, or at once."""

    def __init__(self, in_place: bool = True) -> None:
        self.in_place = in_place
        self.synced: list[list[str]] = []  # what each sync was of
        self.failure: OSError | None = None

    def start(self, *fds: int) -> bool:
        if self.in_place and self.failure:
            raise self.failure
        self.synced.append([os.path.basename(os.readlink(f"/dev/fd/{fd}")) for fd in fds])
        return self.in_place

    def ready(self) -> bool:
        if self.failure:
            raise self.failure
        return True


def journal_in(folder: Path, syncer: FakeSyncer | None = None, after: int = 0) -> Journal:
    """An open journal, replayed."""
    journal = Journal(folder, syncer or FakeSyncer())  # type: ignore[arg-type]
    for _ in journal.replay(after):
        pass
    journal.open()
    return journal


def add(journal: Journal, *commands: bytes) -> None:
    for command in commands:
        journal.append(command)
    journal.commit()


def replayed(folder: Path, after: int = 0) -> list[tuple[int, bytes]]:
    return list(Journal(folder, FakeSyncer()).replay(after))  # type: ignore[arg-type]


def written(folder: Path, *commands: bytes) -> Path:
    journal = journal_in(folder)
    add(journal, *commands)
    journal.close()
    return journal.path


# Records.


@given(st.integers(1, 2**40), st.binary().map(lambda body: body.replace(b"\n", b"")))
def test_a_record_is_a_line_that_comes_back(lsn: int, body: bytes) -> None:
    line = pack(lsn, body)
    assert line.endswith(b"\n")
    assert unpack(line[:-1]) == (lsn, body)
    assert re.fullmatch(rb"%d [0-9a-f]{8} .*\n" % lsn, line, re.DOTALL)


def test_a_record_in_the_wrong_place_is_wrong() -> None:
    assert unpack(pack(7, b"{}")[:-1].replace(b"7 ", b"8 ", 1)) is None


@pytest.mark.parametrize("line", [b"", b"1", b"1 2", b"x 00000000 {}", b"1 0 {}", b"-1 00000000 {}", b" 1 00000000 {}"])
def test_what_is_no_record(line: bytes) -> None:
    assert unpack(line) is None


# Life.


def test_commands_are_committed_in_batches_and_replayed(tmp_path: Path) -> None:
    syncer = FakeSyncer()
    journal = journal_in(tmp_path, syncer)
    assert [journal.append(b"one"), journal.append(b"two")] == [1, 2]
    assert (journal.appended, journal.committed, journal.path.read_bytes()) == (2, 0, HEADER)
    journal.commit()
    assert (journal.committed, len(syncer.synced)) == (2, 1)
    journal.commit()
    assert len(syncer.synced) == 1, "nothing to commit, nothing to sync"
    add(journal, b"three")
    assert journal.size == journal.path.stat().st_size
    journal.close()
    assert replayed(tmp_path) == [(1, b"one"), (2, b"two"), (3, b"three")]
    assert replayed(tmp_path, after=2) == [(3, b"three")]
    assert replayed(tmp_path, after=3) == []
    assert oct(journal.path.stat().st_mode)[-3:] == "600"


def test_lsns_go_on_after_a_replay(tmp_path: Path) -> None:
    written(tmp_path, b"one", b"two")
    journal = journal_in(tmp_path)
    assert (journal.appended, journal.committed) == (2, 2)
    add(journal, b"three")
    journal.close()
    assert replayed(tmp_path) == [(1, b"one"), (2, b"two"), (3, b"three")]


def test_an_empty_folder_and_an_empty_journal_go_on_where_the_flat_files_end(tmp_path: Path) -> None:
    for _ in range(2):
        journal = journal_in(tmp_path, after=812)
        assert (journal.appended, journal.committed, journal.size) == (812, 812, len(HEADER))
        journal.close()
    journal = journal_in(tmp_path, after=812)
    assert journal.append(b"x") == 813


def test_a_slow_disk_delays_what_is_committed_and_gathers_the_next_batch(tmp_path: Path) -> None:
    syncer = FakeSyncer(in_place=False)
    journal = journal_in(tmp_path, syncer)
    add(journal, b"one")
    assert (journal.busy, journal.committed) == (True, 0)
    add(journal, b"two")
    add(journal, b"three")
    assert len(syncer.synced) == 1
    assert b"two" not in journal.path.read_bytes()
    journal.synced()
    assert (journal.busy, journal.committed) == (False, 1)
    journal.commit()
    assert (journal.busy, journal.committed, len(syncer.synced)) == (True, 1, 2)
    journal.synced()
    assert journal.committed == 3


def test_fsync_second_does_not_wait(tmp_path: Path) -> None:
    syncer = FakeSyncer(in_place=False)
    journal = journal_in(tmp_path, syncer)
    journal.sync_always = False
    add(journal, b"one")
    assert (journal.committed, syncer.synced) == (1, [])
    journal.sync_later()
    assert journal.busy
    journal.sync_later()  # one at a time
    add(journal, b"two")
    assert (journal.committed, len(syncer.synced)) == (2, 1)
    journal.synced()
    assert not journal.busy
    journal.sync_later()
    assert len(syncer.synced) == 2


def test_with_a_real_syncer(tmp_path: Path) -> None:
    syncer = Syncer()
    journal = Journal(tmp_path, syncer)
    assert list(journal.replay(0)) == []
    journal.open()
    for number in range(1, 9):
        add(journal, b"x")
        while journal.busy:
            journal.synced()
        assert journal.committed == number
        if number == 4:
            journal.cut_segment()
    journal.close()
    syncer.close()
    assert [lsn for lsn, _ in replayed(tmp_path)] == list(range(1, 9))


# Torn tails.


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_torn_tail_at_every_point_of_the_last_record(tmp_path: Path, before: int) -> None:
    commands = [b'{"number": %d}' % number for number in range(before)]
    whole = written(tmp_path, *commands, b'{"last": true}').read_bytes()
    last = pack(before + 1, b'{"last": true}')
    assert whole.endswith(last)
    for cut in range(1, len(last)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        path = folder / "journal.txt"
        path.write_bytes(whole[: len(whole) - len(last) + cut])
        journal = journal_in(folder)
        assert journal.torn is not None
        assert journal.torn.read_bytes() == last[:cut]
        assert journal.committed == before
        add(journal, b"again")
        journal.close()
        assert replayed(folder) == [*enumerate(commands, 1), (before + 1, b"again")]


@pytest.mark.parametrize("cut", range(len(HEADER)))
def test_a_torn_header(tmp_path: Path, cut: int) -> None:
    (tmp_path / "journal.txt").write_bytes(HEADER[:cut])
    journal = journal_in(tmp_path, after=5)
    assert (journal.torn is None) == (cut == 0)
    assert journal.append(b"six") == 6
    journal.commit()
    journal.close()
    assert journal.path.read_bytes() == HEADER + pack(6, b"six")


def test_a_tail_torn_in_the_middle_of_a_character_is_kept_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, "grüße".encode())
    path.write_bytes(path.read_bytes()[:-5])
    journal = journal_in(tmp_path)
    assert journal.torn is not None
    assert journal.torn.read_bytes().endswith(b"gr\xc3")


# Corruption.


def test_every_flipped_bit_is_noticed_and_its_place_named(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"a":1}', b'{"b":22}', b"{}", b'{"d":"x"}')
    whole = path.read_bytes()
    torn = 0
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        line = whole[: bit // 8].count(b"\n") + 1
        if bit // 8 == len(whole) - 1:  # only the end of the last record is missing
            assert [lsn for lsn, _ in replayed(tmp_path)] == [1, 2, 3]
            torn += 1
            continue
        with pytest.raises(FileError) as refused:
            replayed(tmp_path)
        assert f"{path}, line {line}:" in str(refused.value)
        assert path.read_bytes() == flipped, "what is corrupt is left alone"
    assert torn == 8


def test_a_torn_record_that_others_follow_is_corruption(tmp_path: Path) -> None:
    path = written(tmp_path, b"one", b"two", b"three")
    path.write_bytes(path.read_bytes().replace(pack(2, b"two"), pack(2, b"two")[:-3]))
    with pytest.raises(FileError, match="line 3: the record is corrupt"):
        replayed(tmp_path)


@pytest.mark.parametrize(
    ("lsns", "after", "wrong"),
    [
        ([1, 3], 0, "line 3: LSN 2 is expected, 3 is there"),
        ([1, 1], 0, "line 3: LSN 2 is expected, 1 is there"),
        ([1, 2, 2, 3], 0, "line 4: LSN 3 is expected, 2 is there"),
        ([2, 3], 0, "line 2: LSN 1 is expected, 2 is there"),
        ([8, 9], 6, "line 2: LSN 7 is expected, 8 is there"),
        ([5, 7], 9, "line 3: LSN 6 is expected, 7 is there"),
        ([3, 2, 1], 0, "is expected"),
    ],
)
def test_a_missing_or_doubled_lsn(tmp_path: Path, lsns: list[int], after: int, wrong: str) -> None:
    path = tmp_path / "journal.txt"
    path.write_bytes(HEADER + b"".join(pack(lsn, b"x") for lsn in lsns))
    with pytest.raises(FileError) as refused:
        replayed(tmp_path, after)
    assert f"{path}, " in str(refused.value)
    assert wrong in str(refused.value)


def test_records_that_the_flat_files_hold_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "journal.txt").write_bytes(HEADER + b"".join(pack(lsn, b"x") for lsn in range(5, 9)))
    assert [lsn for lsn, _ in replayed(tmp_path, after=6)] == [7, 8]
    journal = journal_in(tmp_path, after=20)
    assert journal.append(b"x") == 21


def test_a_journal_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "journal.txt").write_bytes(b"# journal.txt 2: of tomorrow\n")
    with pytest.raises(FileError, match="line 1: a journal begins with"):
        replayed(tmp_path)


# Segments.


def test_a_journal_of_several_segments(tmp_path: Path) -> None:
    syncer = FakeSyncer()
    journal = journal_in(tmp_path, syncer)
    for number in range(1, 13):
        add(journal, b"%d" % number)
        if number in (1, 9, 10):
            journal.cut_segment()
    names = [path.name for path in journal.segments()]
    assert names == ["journal.1.txt", "journal.9.txt", "journal.10.txt", "journal.txt"]
    assert replayed(tmp_path) == [(number, b"%d" % number) for number in range(1, 13)]
    assert [lsn for lsn, _ in replayed(tmp_path, after=9)] == [10, 11, 12]
    # A new segment's name is durable before its first record counts.
    assert syncer.synced[1] == [tmp_path.name, "journal.txt"]
    assert syncer.synced[2] == ["journal.txt"]
    journal.drop_older()
    assert [path.name for path in journal.segments()] == ["journal.txt"]
    assert [lsn for lsn, _ in replayed(tmp_path, after=10)] == [11, 12]
    journal.close()
    journal = journal_in(tmp_path, after=10)
    assert journal.append(b"13") == 13


def test_a_hole_between_segments_and_a_torn_older_one_are_corruption(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for number in range(1, 4):
        add(journal, b"x")
        if number < 3:
            journal.cut_segment()
    journal.close()
    second = tmp_path / "journal.2.txt"
    whole = second.read_bytes()
    second.write_bytes(whole[:-3])
    with pytest.raises(FileError, match=r"journal\.2\.txt, line 2: the record is cut short, but others follow it"):
        replayed(tmp_path)
    second.unlink()
    with pytest.raises(FileError, match=r"journal\.txt, line 2: LSN 2 is expected, 3 is there"):
        replayed(tmp_path)


def test_two_checkpoints_that_fail_lose_no_record(tmp_path: Path) -> None:
    """`save` twice on a full disk: the second finds an empty segment, whose name must not take an older one's place."""
    journal = journal_in(tmp_path)
    add(journal, b"one", b"two")
    journal.cut_segment()
    journal.cut_segment()
    journal.cut_segment()
    assert replayed(tmp_path) == [(1, b"one"), (2, b"two")]
    add(journal, b"three")
    journal.cut_segment()
    journal.close()
    assert replayed(tmp_path) == [(1, b"one"), (2, b"two"), (3, b"three")]


def test_a_segment_is_on_disk_before_others_follow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With FSYNC second a power failure may tear the last segment, never one before it."""
    synced: list[str] = []
    fsync = os.fsync
    journal = journal_in(tmp_path)
    journal.sync_always = False
    add(journal, b"one")

    def noted(fd: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/dev/fd/{fd}")))
        fsync(fd)

    monkeypatch.setattr(module.os, "fsync", noted)
    journal.cut_segment()
    assert synced == ["journal.txt"]


class Crash(BaseException):
    """The process is gone."""


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal count
            count += 1
            if count >= step:
                raise Crash
            return real(*args)

        return call

    for name in ("open", "close", "rename", "write", "fsync", "ftruncate"):
        monkeypatch.setattr(module.os, name, counted(getattr(os, name)))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))


@pytest.mark.parametrize("what", ["cut_segment", "drop_older", "empty"])
def test_a_crash_at_any_step(tmp_path: Path, what: str) -> None:
    for step in range(1, 12):
        folder = tmp_path / str(step)
        folder.mkdir()
        journal = journal_in(folder)
        held = 0  # the LSN up to which the flat files hold everything
        for number in range(1, 7):
            add(journal, b"%d" % number)
            if number in (2, 4) and what != "cut_segment":
                journal.cut_segment()
                held = number
        if what == "empty":
            held = 6
        crashed = False
        with pytest.MonkeyPatch.context() as patched:
            crash_at(patched, step)
            try:
                getattr(journal, what)()
            except Crash:
                crashed = True
        again = journal_in(folder, after=held)
        assert again.torn is None
        assert again.appended == 6, f"step {step}"
        add(again, b"7")
        again.close()
        assert replayed(folder, held) == [(number, b"%d" % number) for number in range(held + 1, 8)], f"step {step}"
        if not crashed:
            assert step > 2
            return
    raise AssertionError("it never came to an end")


def test_emptied_at_a_clean_stop(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    add(journal, b"one")
    journal.cut_segment()
    add(journal, b"two")
    journal.empty()
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["journal.txt"]
    assert journal.path.read_bytes() == HEADER
    assert journal.size == len(HEADER)
    journal = journal_in(tmp_path, after=2)
    assert journal.append(b"three") == 3


# A disk that refuses.


@pytest.mark.parametrize("in_place", [True, False])
def test_a_sync_that_fails(tmp_path: Path, in_place: bool) -> None:
    syncer = FakeSyncer(in_place)
    journal = journal_in(tmp_path, syncer)
    syncer.failure = OSError(5, "Input/output error")
    with pytest.raises(CommitFailed, match=r"journal\.txt: Input/output error"):
        add(journal, b"one")
        journal.synced()
    assert journal.committed == 0


def test_a_sync_later_that_fails(tmp_path: Path) -> None:
    syncer = FakeSyncer()
    journal = journal_in(tmp_path, syncer)
    journal.sync_always = False
    add(journal, b"one")
    syncer.failure = OSError("the syncing child has died")
    with pytest.raises(CommitFailed, match="has died"):
        journal.sync_later()


FULL = """
import resource, sys
from pathlib import Path
from chatlib.storage.journal import CommitFailed, Journal
from chatlib.storage.syncer import Syncer

syncer = Syncer()
journal = Journal(Path(sys.argv[1]), syncer)
list(journal.replay(0))
journal.open()
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
acknowledged = 0
try:
    while True:
        for _ in range(3):
            journal.append(b"x" * 100)
        journal.commit()
        while journal.busy:
            journal.synced()
        acknowledged = journal.committed
except CommitFailed as failed:
    print(acknowledged, failed)
resource.setrlimit(resource.RLIMIT_FSIZE, before)
"""


def test_a_full_disk_costs_nothing_that_was_acknowledged(tmp_path: Path, python: Python) -> None:
    done = python(FULL, tmp_path)
    assert done.returncode == 0, done.stderr
    acknowledged, _, reason = done.stdout.strip().partition(" ")
    assert reason.endswith("journal.txt: File too large")
    records = replayed(tmp_path)
    assert 0 < int(acknowledged) <= len(records)
    assert [lsn for lsn, _ in records] == list(range(1, len(records) + 1))


def test_a_write_that_is_taken_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = journal_in(tmp_path)
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    add(journal, b"x" * 100, b"y" * 100)
    monkeypatch.undo()
    journal.close()
    assert replayed(tmp_path) == [(1, b"x" * 100), (2, b"y" * 100)]
