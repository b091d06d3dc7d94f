"""The journal: what is committed is replayed; a torn tail is kept and cut; damage to what was durable is refused."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.storage import journal as module
from chatlib.storage import records, replay
from chatlib.storage.journal import RESERVE, Journal
from chatlib.storage.log import CommitFailed
from chatlib.storage.records import HEADER, OLD_HEADER, unpack
from chatlib.storage.syncer import Syncer
from chatlib.storage.textfile import FileError
from tests.conftest import Python

BEGUN = HEADER + records.durable(0, 0)


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

    def ready(self) -> None:
        if self.failure:
            raise self.failure


def pack(lsn: int, command: bytes) -> bytes:
    return records.pack(lsn, [command])[0]


def upto(journal: Journal) -> int:
    """The LSN up to which commands were handed out to be executed."""
    for batch in journal.committed():
        assert list(batch) == list(range(batch[0], batch[-1] + 1))  # type: ignore[arg-type,operator]
    return journal.lsn


def torn_in(folder: Path) -> Path | None:
    """Where the last torn tail was put."""
    return max(folder.glob("torn.*"), key=lambda path: path.stat().st_mtime_ns, default=None)


def journal_in(folder: Path, syncer: FakeSyncer | None = None, after: int = 0) -> Journal:
    """An open journal."""
    journal = Journal(folder, syncer or FakeSyncer())  # type: ignore[arg-type]
    journal.prove(after, begun=False)
    journal.mend()
    journal.open()
    return journal


def add(journal: Journal, *commands: bytes) -> None:
    for command in commands:
        journal.append(command)
    journal.commit()


def replayed(folder: Path, after: int = 0) -> list[tuple[int, bytes]]:
    """What a start reads; it changes nothing yet."""
    before = state_of(folder)
    try:
        return list(replay.records(replay.prove(folder, after), after))
    finally:
        assert state_of(folder) == before


def state_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def written(folder: Path, *commands: bytes) -> Path:
    journal = journal_in(folder)
    add(journal, *commands)
    journal.close()
    return journal.path


def lines_of(path: Path) -> list[bytes]:
    """The records of a segment, without its header and marks."""
    return [line for line in path.read_bytes().splitlines(keepends=True) if not line.startswith(b"#")]


# Records.


@given(st.integers(1, 2**40), st.binary().map(lambda body: body.replace(b"\n", b"")))
def test_a_record_is_a_line_that_comes_back(lsn: int, body: bytes) -> None:
    line = pack(lsn, body)
    assert line.endswith(b"\n")
    assert unpack(line[:-1]) == (lsn, body)
    assert re.fullmatch(rb"%d [0-9a-f]{8} .*\n" % lsn, line, re.DOTALL)


def test_records_made_at_once_are_those_made_one_by_one() -> None:
    commands = [b"one", b"", b"three" * 100]
    for first in (1, 2**32 - 2, 2**40):
        assert records.pack(first, commands) == list(map(pack, range(first, first + 3), commands))
    assert records.pack(1, []) == []


def test_a_record_in_the_wrong_place_is_wrong() -> None:
    assert unpack(pack(7, b"{}")[:-1].replace(b"7 ", b"8 ", 1)) is None


@pytest.mark.parametrize("line", [b"", b"1", b"1 2", b"x 00000000 {}", b"1 0 {}", b"-1 00000000 {}", b" 1 00000000 {}"])
def test_what_is_no_record(line: bytes) -> None:
    assert unpack(line) is None


def test_marks_come_back_and_no_flipped_bit_makes_another_one() -> None:
    assert records.read_mark(records.durable(812, 812)) == (b"durable", 812, 812)
    assert records.read_mark(records.durable(812, 0)) == (b"durable", 812, 812)
    assert records.read_mark(records.durable(812, 900)) == (b"durable", 812, 900)
    assert records.read_mark(records.skip(7, 9)) == (b"skip", 7, 9)
    for whole in (records.durable(812, 900), records.skip(7, 9)):
        for bit in range(len(whole) * 8):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            assert records.read_mark(bytes(flipped)) is None
            assert unpack(bytes(flipped[:-1])) is None
    torn = b"\0\0" + records.durable(5, 5)[3:] + b'{"x' + records.durable(6, 6) + b"\0" + records.durable(7, 7)[:-1]
    assert list(records.marks_in(torn)) == [(b"durable", 6, 6)]


# Life.


def test_commands_are_committed_in_batches_and_replayed(tmp_path: Path) -> None:
    syncer = FakeSyncer()
    journal = journal_in(tmp_path, syncer)
    assert [journal.append(b"one"), journal.append(b"two")] == [1, 2]
    assert (journal.given, upto(journal), journal.path.read_bytes()) == (2, 0, BEGUN)
    journal.commit()
    assert (upto(journal), len(syncer.synced)) == (2, 1)
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
    assert (journal.given, upto(journal)) == (2, 2)
    add(journal, b"three")
    journal.close()
    assert replayed(tmp_path) == [(1, b"one"), (2, b"two"), (3, b"three")]


def test_an_empty_folder_and_an_empty_journal_go_on_where_the_flat_files_end(tmp_path: Path) -> None:
    for _ in range(2):
        journal = journal_in(tmp_path, after=812)
        assert (journal.given, upto(journal), journal.durable) == (812, 812, 812)
        assert journal.size == journal.path.stat().st_size
        journal.close()
    journal = journal_in(tmp_path, after=812)
    assert journal.append(b"x") == 813
    journal.commit()
    journal.close()
    assert replayed(tmp_path, after=812) == [(813, b"x")]


def test_a_slow_disk_delays_what_is_committed_and_gathers_the_next_batch(tmp_path: Path) -> None:
    syncer = FakeSyncer(in_place=False)
    journal = journal_in(tmp_path, syncer)
    add(journal, b"one")
    assert (journal.busy, upto(journal)) == (True, 0)
    add(journal, b"two")
    add(journal, b"three")
    assert len(syncer.synced) == 1
    assert b"two" not in journal.path.read_bytes()
    journal.ready()
    assert (journal.busy, upto(journal)) == (False, 1)
    journal.commit()
    assert (journal.busy, upto(journal), len(syncer.synced)) == (True, 1, 2)
    journal.ready()
    assert upto(journal) == 3


def test_with_a_real_syncer(tmp_path: Path) -> None:
    syncer = Syncer()
    journal = Journal(tmp_path, syncer)
    journal.prove(0, False)
    journal.mend()
    journal.open()
    for number in range(1, 9):
        add(journal, b"x")
        while journal.busy:
            journal.ready()
        assert upto(journal) == number
        if number == 4:
            journal.cut()
    journal.close()
    syncer.close()
    assert [lsn for lsn, _ in replayed(tmp_path)] == list(range(1, 9))


# Torn tails.


def test_each_batch_says_what_was_durable_when_it_was_written(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    add(journal, b"one", b"two")
    add(journal, b"three")
    journal.every_second()  # a second later
    journal.every_second()
    whole = BEGUN + pack(1, b"one") + pack(2, b"two") + records.durable(2, 2) + pack(3, b"three")
    assert journal.path.read_bytes() == whole + records.durable(3, 3)
    add(journal, b"four")
    assert journal.path.read_bytes() == whole + records.durable(3, 3) + pack(4, b"four")
    assert journal.size == journal.path.stat().st_size
    journal.close()


def test_no_mark_is_written_while_something_is_not_durable(tmp_path: Path) -> None:
    syncer = FakeSyncer(in_place=False)
    journal = journal_in(tmp_path, syncer)
    add(journal, b"one")
    journal.every_second()
    assert journal.path.read_bytes() == BEGUN + pack(1, b"one")
    journal.ready()
    journal.append(b"two")
    journal.every_second()
    assert journal.path.read_bytes() == BEGUN + pack(1, b"one")
    journal.close()


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
        torn = torn_in(folder)
        assert torn is not None
        assert torn.read_bytes() == last[:cut]
        assert oct(torn.stat().st_mode)[-3:] == "600"
        assert upto(journal) == before
        add(journal, b"again")
        journal.close()
        assert replayed(folder) == [*enumerate(commands, 1), (before + 1, b"again")]


@pytest.mark.parametrize("cut", range(len(BEGUN)))
def test_a_torn_beginning(tmp_path: Path, cut: int) -> None:
    (tmp_path / "journal.txt").write_bytes(BEGUN[:cut])
    journal = journal_in(tmp_path, after=5)
    assert (torn_in(tmp_path) is None) == (cut in (0, len(HEADER)))
    assert journal.append(b"six") == 6
    journal.commit()
    journal.close()
    assert replayed(tmp_path, after=5) == [(6, b"six")]


def test_a_tail_torn_in_the_middle_of_a_character_is_kept_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, "grüße".encode())
    path.write_bytes(path.read_bytes()[:-5])
    journal_in(tmp_path)
    torn = torn_in(tmp_path)
    assert torn is not None
    assert torn.read_bytes().endswith(b"gr\xc3")


def test_evidence_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, b"one")
    at = path.stat().st_size
    for count, tail in enumerate((b"first", b"second", b"third"), 1):
        path.write_bytes(path.read_bytes()[:at] + tail)
        journal = journal_in(tmp_path)
        journal.close()
        assert torn_in(tmp_path) == tmp_path / (f"torn.{at}.txt" if count == 1 else f"torn.{at}.{count}.txt")
    assert (tmp_path / f"torn.{at}.txt").read_bytes() == b"first"


def test_a_batch_that_was_not_acknowledged_may_be_damaged_in_any_way(tmp_path: Path) -> None:
    """A power cut loses any sectors of what was not synced, in the middle as well, and the file's length."""
    syncer = FakeSyncer(in_place=False)
    journal = journal_in(tmp_path, syncer)
    add(journal, b"acknowledged")
    journal.ready()
    before = journal.size
    add(journal, *(b"%d" % number * 30 for number in range(1, 80)))
    journal.close()
    whole = journal.path.read_bytes()
    chance = random.Random(7)
    for _ in range(60):
        damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(before, len(whole))])])
        for sector in range(before // 512, len(damaged) // 512 + 1):
            if chance.random() < 0.4:
                begin, end = max(before, sector * 512), min(len(damaged), sector * 512 + 512)
                damaged[begin:end] = b"\0" * (end - begin)
        damaged += b"\0" * chance.choice([0, 0, 700])
        folder = tmp_path / "again"
        folder.mkdir()
        (folder / "journal.txt").write_bytes(damaged)
        found = replayed(folder)
        assert found[0] == (1, b"acknowledged")
        assert found == list(enumerate([b"acknowledged", *(b"%d" % number * 30 for number in range(1, 80))], 1))[
            : len(found)
        ]
        again = journal_in(folder)
        assert add(again, b"next") is None
        again.close()
        assert replayed(folder) == [*found, (len(found) + 1, b"next")]
        shutil.rmtree(folder)


# Corruption.


def test_every_flipped_bit_is_refused_and_its_place_named(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    add(journal, b'{"a":1}', b'{"b":22}')
    add(journal, b"{}", b'{"d":"x"}')
    journal.every_second()
    journal.close()
    path = journal.path
    whole = path.read_bytes()
    behind = len(whole) - len(records.durable(4, 4))  # of the last mark nobody was told anything
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if bit // 8 >= behind:
            assert [lsn for lsn, _ in replayed(tmp_path)] == [1, 2, 3, 4]
            continue
        line = whole[: bit // 8].count(b"\n") + 1
        with pytest.raises(FileError) as refused:
            replayed(tmp_path)
        assert f"{path}, line {line}:" in str(refused.value)
        assert "--restore makes a home of a backup" in str(refused.value)


def test_a_flipped_last_line_end_is_not_a_torn_tail(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    add(journal, b"one", b"two")
    journal.every_second()
    journal.close()
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole.replace(pack(2, b"two"), pack(2, b"two")[:-1] + b"\x0b"))
    with pytest.raises(FileError, match=r"line 4: the record is corrupt .* though it was on disk already: LSN 2"):
        replayed(tmp_path)


def test_records_that_are_missing_are_noticed(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    add(journal, b"one", b"two")
    journal.every_second()
    journal.close()
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole.replace(pack(2, b"two"), b""))
    with pytest.raises(FileError, match=r"line 4: commands up to LSN 2 were on disk, but those after 1 are missing"):
        replayed(tmp_path)


def test_flat_files_that_are_older_than_an_empty_journal_are_noticed(tmp_path: Path) -> None:
    """Whoever restores them alone from a backup would lose what came after it."""
    journal = journal_in(tmp_path)
    add(journal, b"one", b"two")
    journal.clear()
    journal.close()
    assert replayed(tmp_path, after=2) == []
    with pytest.raises(FileError, match="commands up to LSN 2 were on disk, but those after 1 are missing"):
        replayed(tmp_path, after=1)


def test_every_flipped_bit_of_an_emptied_journal_is_without_effect(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    add(journal, b"one", b"two")
    journal.clear()
    journal.close()
    whole = journal.path.read_bytes()
    for bit in range(len(whole) * 8):
        folder = tmp_path / str(bit)
        folder.mkdir()
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (folder / "journal.txt").write_bytes(flipped)
        try:
            again = journal_in(folder, after=2)
        except FileError:  # it looks like one of a later version
            assert state_of(folder) == {"journal.txt": bytes(flipped)}
            continue
        add(again, b"three")
        again.close()
        assert replayed(folder, after=2) == [(3, b"three")]


def test_a_torn_record_that_others_follow_is_corruption(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    add(journal, b"one", b"two")
    add(journal, b"three")
    journal.close()
    path = journal.path
    path.write_bytes(path.read_bytes().replace(pack(2, b"two"), pack(2, b"two")[:-3]))
    with pytest.raises(FileError, match="line 4: the record is corrupt"):
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
    (tmp_path / "journal.txt").write_bytes(b"# journal.txt 3: of tomorrow\n")
    with pytest.raises(FileError, match="line 1: a later version wrote it, or it is damaged"):
        replayed(tmp_path)


# Format 1, which had no marks.


def test_a_journal_of_format_1_is_read_and_goes_on_in_a_segment_of_this_format(tmp_path: Path) -> None:
    (tmp_path / "journal.2.txt").write_bytes(OLD_HEADER + pack(1, b"one") + pack(2, b"two"))
    (tmp_path / "journal.txt").write_bytes(OLD_HEADER + pack(3, b"three") + b"4 torn")
    journal = journal_in(tmp_path)
    assert torn_in(tmp_path) is not None
    add(journal, b"four")
    journal.close()
    assert [path.name for path in replay.segments(tmp_path)] == ["journal.2.txt", "journal.3.txt", "journal.txt"]
    assert journal.path.read_bytes() == HEADER + records.durable(3, 3) + pack(4, b"four")
    assert replayed(tmp_path) == [(1, b"one"), (2, b"two"), (3, b"three"), (4, b"four")]


def test_an_empty_journal_of_format_1(tmp_path: Path) -> None:
    (tmp_path / "journal.2.txt").write_bytes(OLD_HEADER + pack(1, b"one") + pack(2, b"two"))
    (tmp_path / "journal.txt").write_bytes(OLD_HEADER)
    journal = journal_in(tmp_path)
    journal.close()
    assert journal.path.read_bytes() == HEADER + records.durable(2, 2)
    assert replayed(tmp_path) == [(1, b"one"), (2, b"two")]


def test_damage_to_a_journal_of_format_1_is_refused_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "journal.txt").write_bytes(OLD_HEADER + pack(1, b"one").replace(b"n", b"m") + pack(2, b"two"))
    with pytest.raises(FileError, match="line 2: the record is corrupt"):
        replayed(tmp_path)
    (tmp_path / "journal.txt").write_bytes(OLD_HEADER + pack(1, b"one")[:-2] + pack(2, b"two"))
    with pytest.raises(FileError, match="line 2: the record is corrupt"):
        replayed(tmp_path)


# Segments.


def test_a_journal_of_several_segments(tmp_path: Path) -> None:
    syncer = FakeSyncer()
    journal = journal_in(tmp_path, syncer)
    for number in range(1, 13):
        add(journal, b"%d" % number)
        if number in (1, 9, 10):
            journal.cut()
    names = [path.name for path in replay.segments(tmp_path)]
    assert names == ["journal.1.txt", "journal.9.txt", "journal.10.txt", "journal.txt"]
    assert replayed(tmp_path) == [(number, b"%d" % number) for number in range(1, 13)]
    assert [lsn for lsn, _ in replayed(tmp_path, after=9)] == [10, 11, 12]
    # A new segment's name is durable before its first record counts.
    assert syncer.synced[1] == [tmp_path.name, "journal.txt"]
    assert syncer.synced[2] == ["journal.txt"]
    journal.truncate()
    assert [path.name for path in replay.segments(tmp_path)] == ["journal.txt"]
    assert [lsn for lsn, _ in replayed(tmp_path, after=10)] == [11, 12]
    journal.close()
    journal = journal_in(tmp_path, after=10)
    assert journal.append(b"13") == 13


def test_a_hole_between_segments_and_a_torn_older_one_are_corruption(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for number in range(1, 4):
        add(journal, b"x")
        if number < 3:
            journal.cut()
    journal.close()
    second = tmp_path / "journal.2.txt"
    whole = second.read_bytes()
    second.write_bytes(whole[:-3])
    with pytest.raises(FileError, match=r"journal\.2\.txt, line 3: the record is cut short; LSN 2 is its last"):
        replayed(tmp_path)
    second.write_bytes(HEADER)
    with pytest.raises(FileError, match=r"journal\.2\.txt: its end is missing; LSN 2 is its last"):
        replayed(tmp_path)
    second.unlink()
    with pytest.raises(FileError, match=r"journal\.txt, line 2: commands up to LSN 2 were on disk"):
        replayed(tmp_path)


def test_what_a_mark_at_the_end_of_an_older_segment_lost_means_nothing(tmp_path: Path) -> None:
    """It was not synced; the segment's name says that all its records are there."""
    journal = journal_in(tmp_path)
    add(journal, b"one")
    journal.every_second()
    journal.cut()
    add(journal, b"two")
    journal.close()
    older = tmp_path / "journal.1.txt"
    older.write_bytes(older.read_bytes()[:-3])
    assert replayed(tmp_path) == [(1, b"one"), (2, b"two")]
    journal_in(tmp_path)
    assert torn_in(tmp_path) is None


def test_an_older_segment_that_the_flat_files_hold_is_not_read(tmp_path: Path) -> None:
    """A power cut may bring one of several back that were removed."""
    journal = journal_in(tmp_path)
    for command in (b"one", b"two", b"three"):
        add(journal, command)
        journal.cut()
    add(journal, b"y")
    journal.close()
    (tmp_path / "journal.2.txt").unlink()
    (tmp_path / "journal.3.txt").unlink()
    assert replayed(tmp_path, after=3) == [(4, b"y")]


def test_the_new_segment_is_durable_before_the_older_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, unlink = os.fsync, Path.unlink
    journal = journal_in(tmp_path)
    add(journal, b"one")
    journal.cut()
    monkeypatch.setattr(module.os, "fsync", lambda fd: (done.append(f"sync {name_of(fd)}"), fsync(fd))[1])
    monkeypatch.setattr(Path, "unlink", lambda path: (done.append(f"remove {path.name}"), unlink(path))[1])
    journal.truncate()
    assert done == ["sync journal.txt", f"sync {tmp_path.name}", "remove journal.1.txt"]


def name_of(fd: int) -> str:
    return os.path.basename(os.readlink(f"/dev/fd/{fd}"))


def test_two_checkpoints_that_fail_lose_no_record(tmp_path: Path) -> None:
    """`save` twice on a full disk: the second finds an empty segment, whose name must not take an older one's place."""
    journal = journal_in(tmp_path)
    add(journal, b"one", b"two")
    journal.cut()
    journal.cut()
    journal.cut()
    assert replayed(tmp_path) == [(1, b"one"), (2, b"two")]
    add(journal, b"three")
    journal.cut()
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
    journal.cut()
    assert synced[0] == "journal.txt"


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


@pytest.mark.parametrize("what", ["cut", "truncate", "clear"])
def test_a_crash_at_any_step(tmp_path: Path, what: str) -> None:
    for step in range(1, 12):
        folder = tmp_path / str(step)
        folder.mkdir()
        journal = journal_in(folder)
        held = 0  # the LSN up to which the flat files hold everything
        for number in range(1, 7):
            add(journal, b"%d" % number)
            if number in (2, 4) and what != "cut":
                journal.cut()
                held = number
        if what == "clear":
            held = 6
        crashed = False
        with pytest.MonkeyPatch.context() as patched:
            crash_at(patched, step)
            try:
                getattr(journal, what)()
            except Crash:
                crashed = True
        again = journal_in(folder, after=held)
        torn = torn_in(folder)
        assert torn is None or not lines_of(torn)  # half a mark
        assert again.given == 6, f"step {step}"
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
    journal.cut()
    add(journal, b"two")
    journal.clear()
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["journal.txt"]
    assert journal.path.read_bytes() == HEADER + records.durable(2, 2)
    assert journal.size == journal.path.stat().st_size
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
        journal.ready()
    assert upto(journal) == 0


def test_a_sync_later_that_fails(tmp_path: Path) -> None:
    syncer = FakeSyncer()
    journal = journal_in(tmp_path, syncer)
    journal.sync_always = False
    add(journal, b"one")
    add(journal, b"two")
    syncer.failure = OSError("the syncing child has died")
    with pytest.raises(CommitFailed, match="has died"):
        journal.every_second()


FULL = """
import resource, sys
from pathlib import Path
from chatlib.storage.journal import Journal
from chatlib.storage.log import CommitFailed
from chatlib.storage.syncer import Syncer

syncer = Syncer()
journal = Journal(Path(sys.argv[1]), syncer)
journal.prove(0, False)
journal.mend()
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
            journal.ready()
        for batch in journal.committed():
            acknowledged = batch[-1]
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


# FSYNC second: what is answered before it is durable.


def second_in(folder: Path, syncer: FakeSyncer, after: int = 0) -> Journal:
    journal = journal_in(folder, syncer, after)
    journal.sync_always = False
    return journal


def test_fsync_second_does_not_wait_once_it_has_reserved_lsns(tmp_path: Path) -> None:
    syncer = FakeSyncer(in_place=False)
    journal = second_in(tmp_path, syncer)
    add(journal, b"one")
    assert (upto(journal), journal.busy) == (0, True), "nothing is reserved yet"
    add(journal, b"two")
    journal.ready()
    assert (upto(journal), journal.durable, journal.busy) == (2, 1, False)
    add(journal, b"three")
    assert (upto(journal), journal.durable, len(syncer.synced)) == (3, 1, 1)
    journal.every_second()
    assert journal.busy
    journal.every_second()  # one at a time
    add(journal, b"four")
    assert (upto(journal), len(syncer.synced)) == (4, 2)
    journal.ready()
    assert (journal.durable, journal.busy) == (3, False)
    journal.every_second()
    journal.ready()
    assert journal.durable == 4
    journal.every_second()
    assert len(syncer.synced) == 3, "nothing to sync"


def test_an_lsn_that_was_given_away_is_never_given_again(tmp_path: Path) -> None:
    """Wherever the power cut leaves the journal's end."""
    syncer = FakeSyncer()
    journal = second_in(tmp_path, syncer)
    add(journal, b"one")
    durable = journal.size
    for _ in range(5):
        add(journal, b"x")
    assert (upto(journal), journal.durable) == (6, 1)
    journal.close()
    whole = journal.path.read_bytes()
    for size in range(durable, len(whole) + 1):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / "journal.txt").write_bytes(whole[:size])
        found = replayed(folder)
        again = journal_in(folder)
        assert again.append(b"next") == RESERVE + 2
        again.commit()
        again.close()
        assert replayed(folder) == [*found, (RESERVE + 2, b"next")]
        last = journal_in(folder)
        assert last.append(b"last") == RESERVE + 3, "with FSYNC always nothing is given away"
        last.close()


def test_more_than_was_reserved_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESERVE", 10)
    syncer = FakeSyncer(in_place=False)
    journal = second_in(tmp_path, syncer)
    add(journal, b"one")
    journal.ready()
    add(journal, *[b"x"] * 4)
    assert (upto(journal), journal.busy) == (5, False)
    add(journal, b"y", b"y")
    assert (upto(journal), journal.busy) == (7, True), "the next reservation is asked for in good time"
    add(journal, *[b"z"] * 20)
    assert upto(journal) == 11
    journal.ready()
    assert (upto(journal), journal.busy) == (17, True)
    journal.ready()
    assert (upto(journal), journal.durable, journal.busy) == (27, 27, False)
    journal.close()


def test_a_gap_is_accepted_only_where_a_mark_allows_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.txt"
    path.write_bytes(HEADER + pack(1, b"x") + records.skip(2, 9) + pack(10, b"y"))
    assert replayed(tmp_path) == [(1, b"x"), (10, b"y")]
    path.write_bytes(HEADER + pack(1, b"x") + records.skip(3, 9) + pack(10, b"y"))
    with pytest.raises(FileError, match="line 3: LSN 2 is expected, 3 is there"):
        replayed(tmp_path)
    path.write_bytes(HEADER + records.skip(6, 9) + pack(10, b"y"))
    assert replayed(tmp_path, after=5) == [(10, b"y")]
    assert replayed(tmp_path, after=9) == [(10, b"y")]
    with pytest.raises(FileError, match="line 2: LSN 5 is expected, 6 is there"):
        replayed(tmp_path, after=4)


def test_a_reservation_outlives_a_new_segment_and_the_end_of_the_old_ones(tmp_path: Path) -> None:
    journal = second_in(tmp_path, FakeSyncer())
    add(journal, b"one")
    add(journal, b"two")
    journal.cut()
    assert journal.durable == 2
    journal.truncate()
    journal.close()
    again = journal_in(tmp_path, after=2)
    assert again.append(b"x") == RESERVE + 2
    again.commit()
    again.close()
    assert replayed(tmp_path, after=2) == [(RESERVE + 2, b"x")]


def test_a_clean_stop_reserves_nothing(tmp_path: Path) -> None:
    journal = second_in(tmp_path, FakeSyncer())
    add(journal, b"one")
    add(journal, b"two")
    journal.settle()
    assert journal.durable == 2
    journal.clear()
    journal.close()
    assert journal_in(tmp_path, after=2).append(b"x") == 3


def test_from_second_to_always_and_back(tmp_path: Path) -> None:
    syncer = FakeSyncer(in_place=False)
    journal = second_in(tmp_path, syncer)
    add(journal, b"one")
    journal.ready()
    add(journal, b"two")
    journal.sync_always = True
    add(journal, b"three")
    assert (upto(journal), journal.busy) == (2, True)
    journal.ready()
    assert (upto(journal), journal.durable) == (3, 3)
    add(journal, b"four")
    journal.ready()
    journal.every_second()
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    shutil.copy(journal.path, crashed)
    assert journal_in(crashed).append(b"x") == 5, "nothing is reserved any more"
    journal.sync_always = False
    add(journal, b"five")
    assert (upto(journal), journal.busy) == (4, True)
    journal.ready()
    assert upto(journal) == 5
    journal.close()


def test_flat_files_that_hold_more_than_the_journal_does(tmp_path: Path) -> None:
    """A clean stop wrote them before the power went, and the journal's end, which was not synced, is gone."""
    journal = second_in(tmp_path, FakeSyncer())
    add(journal, b"one")
    journal.close()
    again = journal_in(tmp_path, after=20)
    assert again.append(b"x") == RESERVE + 2
    again.commit()
    again.close()
    assert replayed(tmp_path, after=20) == [(RESERVE + 2, b"x")]


# A sync that failed: the disk says so once, and what it has lost can be read until the power fails.


def test_a_start_writes_once_more_what_no_mark_says_was_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, syncer = journal_in(tmp_path), FakeSyncer()
    journal._syncer = syncer  # type: ignore[assignment]
    for command in (b"one", b"two"):
        add(journal, command)
    syncer.failure = OSError(5, "Input/output error")
    with pytest.raises(CommitFailed):
        add(journal, b"three")
    journal.close()
    held = journal.path.read_bytes()
    assert _written_by_a_start(tmp_path, monkeypatch) == [(held.index(records.durable(2, 2)), held)]
    assert [body for _, body in replayed(tmp_path)] == [b"one", b"two", b"three"]


def test_of_a_new_segment_not_even_the_first_bytes_are_known_to_be_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journal_in(tmp_path)
    add(journal, b"one")
    journal.cut()
    add(journal, b"two")
    journal.close()
    assert _written_by_a_start(tmp_path, monkeypatch) == [(0, journal.path.read_bytes())]


def _written_by_a_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bytes]]:
    """From where on, and the whole file afterwards, which is as it was."""
    again, real, written = Journal(folder, FakeSyncer()), os.pwrite, []  # type: ignore[arg-type]
    before = again.path.read_bytes()

    def pwrite(fd: int, data: Any, at: int) -> int:
        assert bytes(data) == before[at:], "all of the rest, as it is"
        written.append((at, before))
        return real(fd, data, at)

    again.prove(0, begun=False)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", pwrite)
        again.mend()
    assert again.path.read_bytes() == before
    return written
