"""Bytes of waiting files: parts that grow, are checked and get names that are never used twice; orphans that go."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from chatlib.storage.blobs import PART_LIFE, RESERVE, Blobs, DigestMismatch, part_key

KEY = part_key("alice", "bob", "a.txt", "5", "0" * 64)
DATA = b"bytes\n\0" * 1_000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "files")


def finish(blobs: Blobs, data: bytes = DATA) -> str:
    """A part arrives, is checked, and becomes a waiting file."""
    blobs.part(KEY).write_bytes(data)
    blob = blobs.check(KEY, digest(data))
    assert lying(blobs).count(f"{KEY}.part") == 1, "checking alone changes nothing"
    blobs.adopt(blob)
    return blob


def lying(blobs: Blobs) -> list[str]:
    return sorted(path.name for path in blobs.folder.iterdir())


def test_the_folder_is_made_once_and_is_private(blobs: Blobs) -> None:
    assert blobs.folder.stat().st_mode & 0o777 == 0o700
    blobs.part(KEY).write_bytes(DATA)
    assert Blobs(blobs.folder).part_size(KEY) == len(DATA)


def test_a_part_belongs_to_one_upload() -> None:
    one = ("alice", "bob", "a.txt", "5", "0" * 64)
    others = [one[:place] + (one[place] + "x",) + one[place + 1 :] for place in range(5)]
    shifted = ("alic", "ebob", "a.txt", "5", "0" * 64)
    assert len({part_key(*identity) for identity in (one, shifted, *others)}) == 7
    assert part_key(*one) == KEY and "/" not in part_key("../x", "/", "..", "\0", "")


def test_the_size_of_a_part(blobs: Blobs) -> None:
    assert blobs.part_size(KEY) == 0
    blobs.part(KEY).write_bytes(DATA)
    assert blobs.part_size(KEY) == len(DATA)
    blobs.drop_part(KEY)
    blobs.drop_part(KEY)
    assert blobs.part_size(KEY) == 0 and lying(blobs) == []


@pytest.mark.parametrize("data", [b"", DATA])
def test_a_whole_part_gets_its_final_name(blobs: Blobs, data: bytes) -> None:
    blob = finish(blobs, data)
    assert lying(blobs) == [blob] and blob.startswith(f"{KEY}.") and blob != blobs.part(KEY).name
    fd = blobs.open(blob)
    blobs.unlink(blob)
    blobs.unlink(blob)
    assert lying(blobs) == [] and os.pread(fd, len(DATA) + 1, 0) == data, "a reader reads on"
    os.close(fd)
    with pytest.raises(FileNotFoundError):
        blobs.open(blob)


def test_bytes_that_are_not_those_announced(blobs: Blobs) -> None:
    blobs.part(KEY).write_bytes(DATA)
    with pytest.raises(DigestMismatch):
        blobs.check(KEY, digest(DATA + b"x"))
    assert lying(blobs) == [f"{KEY}.part"], "no final name"
    with pytest.raises(FileNotFoundError):
        blobs.check(part_key("another"), digest(b""))


def test_final_names_are_never_used_twice(blobs: Blobs) -> None:
    used = set()
    for _ in range(50):
        used.add(finish(blobs))
    assert len(used) == 50 and set(lying(blobs)) == used


def test_orphans_go_and_what_is_needed_stays(blobs: Blobs) -> None:
    wanted = finish(blobs)
    orphan = finish(blobs)
    now = time.time()
    for name, age in ((wanted, 9 * PART_LIFE), (orphan, 0.0)):
        os.utime(blobs.folder / name, (now - age,) * 2)
    for key, age in (("fresh", 0.0), ("younger", PART_LIFE - 3_600), ("old", PART_LIFE + 1), ("older", 9 * PART_LIFE)):
        blobs.part(key).write_bytes(DATA)
        os.utime(blobs.part(key), (now - age,) * 2)
    blobs.remove_orphans({wanted, "is not there"})
    assert lying(blobs) == sorted([wanted, "fresh.part", "younger.part"])
    blobs.remove_orphans(set())
    assert lying(blobs) == ["fresh.part", "younger.part"]


def test_a_start_adopts_what_a_crash_left_between_command_and_rename(blobs: Blobs) -> None:
    blobs.part(KEY).write_bytes(DATA)
    blob = blobs.check(KEY, digest(DATA))
    os.utime(blobs.part(KEY), (time.time() - 9 * PART_LIFE,) * 2)
    for _ in range(2):
        blobs.remove_orphans({blob})
        assert lying(blobs) == [blob] and (blobs.folder / blob).read_bytes() == DATA


def test_a_part_is_not_taken_for_a_file_that_is_there(blobs: Blobs) -> None:
    """The same file is sent again, after it was fetched, say: its part is another's."""
    blob = finish(blobs)
    blobs.part(KEY).write_bytes(b"half")
    blobs.remove_orphans({blob})
    assert (blobs.folder / blob).read_bytes() == DATA and blobs.part(KEY).read_bytes() == b"half"


def test_parts_beyond_a_limit_go_the_oldest_first(blobs: Blobs) -> None:
    for age, key in enumerate(("new", "middle", "old", "oldest")):
        blobs.part(key).write_bytes(b"12345")
        os.utime(blobs.part(key), (time.time() - 100 * age,) * 2)
    blobs.trim_parts(10, {"oldest"})
    assert lying(blobs) == ["middle.part", "new.part", "oldest.part"]
    blobs.trim_parts(9, {"oldest"})
    assert lying(blobs) == ["new.part", "oldest.part"]


def test_the_disk_keeps_a_reserve(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = RESERVE + 5

    monkeypatch.setattr("chatlib.storage.blobs.shutil.disk_usage", lambda folder: Usage)
    assert blobs.room() == 5
    Usage.free = RESERVE - 1
    assert blobs.room() == 0
