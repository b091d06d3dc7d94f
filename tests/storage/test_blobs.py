"""Bytes of waiting files: parts that grow, are checked and get names that are never used twice; orphans that go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

import pytest

from chatlib.storage.blobs import GRACE, IDLE_PARTS, PART_LIFE, RESERVE, Blobs, part_key

KEY = part_key("alice", "bob", "a.txt", "5", "0" * 64)
NOW, WALL = 1_000_000.0, 1_700_000_000.0
DATA = b"bytes\n\0" * 1_000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def built(folder: Path, wanted: Collection[str] = (), now: float = NOW, wall: float = WALL) -> Blobs:
    """As after a start."""
    blobs = Blobs(folder)
    blobs.take_stock(wanted, now, wall)
    tidy(blobs, now)
    return blobs


def tidy(blobs: Blobs, now: float = NOW) -> None:
    while blobs.tidy(now):
        pass


def arrive(blobs: Blobs, key: str = KEY, data: bytes = DATA) -> None:
    """Bytes of a held part."""
    fd = blobs.open_part(key)
    blobs.grew(key, os.write(fd, data))
    os.close(fd)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return built(tmp_path / "files")


def finish(blobs: Blobs, data: bytes = DATA) -> str:
    """A part arrives, and becomes a waiting file."""
    arrive(blobs, KEY, data)
    blob = blobs.new_name(KEY)
    assert lying(blobs).count(f"{KEY}.part") == 1, "a new name alone changes nothing"
    blobs.adopt(blob)
    return blob


def test_what_a_lost_command_adopted_is_a_part_again(tmp_path: Path, blobs: Blobs) -> None:
    """With FSYNC second a power cut may take the command: the upload goes on from where it was."""
    blob = finish(blobs)
    again = Blobs(tmp_path / "files")
    again.take_stock({blob}, NOW, WALL, undo=True)
    assert lying(again) == [blob], "that command was not lost"
    again = Blobs(tmp_path / "files")
    again.take_stock((), NOW, WALL, undo=True)
    assert lying(again) == [f"{KEY}.part"]
    assert again.part_size(KEY) == len(DATA)
    again.adopt(again.new_name(KEY))
    assert lying(built(tmp_path / "files")) == [], "with FSYNC always nobody needs it"


def lying(blobs: Blobs) -> list[str]:
    return sorted(path.name for path in blobs.folder.iterdir())


def test_the_folder_is_made_once_and_is_private(blobs: Blobs) -> None:
    assert blobs.folder.stat().st_mode & 0o777 == 0o700
    arrive(blobs)
    assert built(blobs.folder).part_size(KEY) == len(DATA)


def test_a_part_belongs_to_one_upload() -> None:
    one = ("alice", "bob", "a.txt", "5", "0" * 64)
    others = [one[:place] + (one[place] + "x",) + one[place + 1 :] for place in range(5)]
    shifted = ("alic", "ebob", "a.txt", "5", "0" * 64)
    assert len({part_key(*identity) for identity in (one, shifted, *others)}) == 7
    assert part_key(*one) == KEY and "/" not in part_key("../x", "/", "..", "\0", "")


def test_the_size_of_a_part(blobs: Blobs) -> None:
    assert blobs.part_size(KEY) == 0
    arrive(blobs)
    arrive(blobs)
    assert blobs.part_size(KEY) == 2 * len(DATA)
    blobs.drop_part(KEY)
    blobs.drop_part(KEY)
    assert blobs.part_size(KEY) == 0 and f"{KEY}.part" not in lying(blobs)
    arrive(blobs, data=b"another try")
    tidy(blobs)
    assert blobs.part(KEY).read_bytes() == b"another try" and lying(blobs) == [f"{KEY}.part"]


def test_a_part_that_somebody_else_changed_is_no_part(blobs: Blobs) -> None:
    arrive(blobs)
    for change in (lambda: blobs.part(KEY).unlink(), lambda: os.truncate(blobs.part(KEY), 5)):
        change()
        with pytest.raises(OSError, match=r"the part has \d+ bytes"):
            blobs.open_part(KEY)
        assert blobs.part_size(KEY) == 0
        arrive(blobs)
        assert blobs.part(KEY).read_bytes() == DATA


@pytest.mark.parametrize("data", [b"", DATA])
def test_a_whole_part_gets_its_final_name(blobs: Blobs, data: bytes) -> None:
    blob = finish(blobs, data)
    assert lying(blobs) == [blob] and blob.startswith(f"{KEY}.") and blob != blobs.part(KEY).name
    fds = [blobs.open(blob), blobs.open(blob)]
    blobs.unlink(blob)
    blobs.close(blob, fds[1])
    tidy(blobs)
    assert os.pread(fds[0], len(DATA) + 1, 0) == data, "a reader reads on"
    blobs.close(blob, fds[0])
    tidy(blobs)
    assert lying(blobs) == []
    with pytest.raises(FileNotFoundError):
        blobs.open(blob)


def test_whoever_remembers_something_of_a_part_is_told_that_it_is_gone(blobs: Blobs) -> None:
    gone: list[str] = []
    blobs.part_gone = gone.append
    blobs.drop_part(KEY)
    assert gone == [], "there was none"
    arrive(blobs)
    blobs.drop_part(KEY)
    blobs.drop_part(KEY)
    finish(blobs)
    assert gone == [KEY, KEY]


def test_final_names_are_never_used_twice(blobs: Blobs) -> None:
    used = set()
    for _ in range(50):
        used.add(finish(blobs))
    assert len(used) == 50 and set(lying(blobs)) == used


def age(path: Path, seconds: float) -> None:
    os.utime(path, (WALL - seconds,) * 2)


def test_orphans_go_and_what_is_needed_stays(blobs: Blobs) -> None:
    wanted, orphan = finish(blobs), finish(blobs)
    age(blobs.folder / wanted, 9 * PART_LIFE)
    age(blobs.folder / orphan, 0.0)
    arrive(blobs)
    blobs = built(blobs.folder, {wanted, "is not there"})
    assert lying(blobs) == sorted([wanted, f"{KEY}.part"])
    assert lying(built(blobs.folder)) == [f"{KEY}.part"]


@pytest.mark.parametrize(("idle", "left"), [
    (0.0, PART_LIFE), (3_600.0, PART_LIFE - 3_600), (PART_LIFE - GRACE, GRACE), (9 * PART_LIFE, GRACE),
    (-9 * PART_LIFE, PART_LIFE),
])  # fmt: skip
def test_a_part_lives_for_a_day_whatever_the_calendar_says(blobs: Blobs, idle: float, left: float) -> None:
    """The last are those of a clock that was set: forwards, and back."""
    arrive(blobs)
    age(blobs.part(KEY), idle)
    blobs = built(blobs.folder)
    tidy(blobs, NOW + left - 1)
    assert blobs.part_size(KEY) == len(DATA)
    tidy(blobs, NOW + left + 1)
    assert blobs.part_size(KEY) == 0 and lying(blobs) == []


def test_a_held_part_never_goes(blobs: Blobs) -> None:
    arrive(blobs)
    blobs = built(blobs.folder)
    blobs.hold(KEY)
    tidy(blobs, NOW + 9 * PART_LIFE)
    blobs.let_go(KEY, NOW + 9 * PART_LIFE, 1 << 30)
    tidy(blobs, NOW + 10 * PART_LIFE - 1)
    assert lying(blobs) == [f"{KEY}.part"]
    tidy(blobs, NOW + 10 * PART_LIFE + 1)
    assert lying(blobs) == []


def test_a_start_adopts_what_a_crash_left_between_command_and_rename(blobs: Blobs) -> None:
    arrive(blobs)
    blob = blobs.new_name(KEY)
    age(blobs.part(KEY), 9 * PART_LIFE)
    for _ in range(2):
        blobs = built(blobs.folder, {blob})
        assert lying(blobs) == [blob] and (blobs.folder / blob).read_bytes() == DATA
        assert blobs.part_size(KEY) == 0


def test_a_part_is_not_taken_for_a_file_that_is_there(blobs: Blobs) -> None:
    """The same file is sent again, after it was fetched, say: its part is another's."""
    blob = finish(blobs)
    arrive(blobs, data=b"half")
    blobs = built(blobs.folder, {blob})
    assert (blobs.folder / blob).read_bytes() == DATA and blobs.part(KEY).read_bytes() == b"half"


def test_ones_own_idle_parts_beyond_a_limit_go_the_oldest_first(blobs: Blobs) -> None:
    mine = [part_key("alice", str(number)) for number in range(IDLE_PARTS + 2)]
    others = part_key("bob", "0")
    for place, key in enumerate([others, *mine]):
        arrive(blobs, key, b"12345")
        blobs.hold(key)
        blobs.let_go(key, NOW + place, 1 << 30)
    assert [blobs.part_size(key) for key in mine] == [0, 0, *[5] * IDLE_PARTS]
    blobs.hold(mine[2])
    blobs.hold(mine[-1])
    blobs.let_go(mine[-1], NOW, 11)
    for _ in range(4):  # a little at a time
        blobs.hold(mine[-1])
        blobs.let_go(mine[-1], NOW, 11)
    tidy(blobs)
    assert lying(blobs) == sorted(f"{key}.part" for key in (others, mine[2], mine[-2], mine[-1]))


def test_what_is_known_of_parts_costs_no_look_at_the_disk(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    arrive(blobs)
    monkeypatch.setattr(os, "scandir", None)
    monkeypatch.setattr(os, "stat", None)
    assert blobs.part_size(KEY) == len(DATA) and blobs.part_size(part_key("bob")) == 0
    blobs.hold(KEY)
    blobs.let_go(KEY, NOW, 1 << 30)


def test_much_is_removed_a_little_at_a_time(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.storage.blobs._TIDY", 0.0)
    monkeypatch.setattr("chatlib.storage.blobs._SLICE", 3_000)
    for _ in range(3):
        blobs.unlink(finish(blobs))
    sizes = []
    while blobs.tidy(NOW):
        sizes.append(sum(path.stat().st_size for path in blobs.folder.iterdir()))
    assert sizes == [18_000, 15_000, 14_000, 11_000, 8_000, 7_000, 4_000, 1_000, 0], "of 7,000 bytes each"


def test_the_disk_keeps_a_reserve(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = RESERVE + 5

    monkeypatch.setattr("chatlib.storage.blobs.shutil.disk_usage", lambda folder: Usage)
    assert blobs.room() == 5
    Usage.free = RESERVE - 1
    assert blobs.room() == 0


# A world that several servers share.


def test_only_a_part_that_was_named_here_becomes_the_file(blobs: Blobs) -> None:
    blobs.shared = True
    arrive(blobs)
    blobs.adopt(f"{KEY}.0123abcd")
    assert lying(blobs) == [f"{KEY}.part"] and blobs.part_size(KEY) == len(DATA)
    old, new = blobs.new_name(KEY), blobs.new_name(KEY)
    blobs.adopt(old)
    assert lying(blobs) == [f"{KEY}.part"]
    blobs.adopt(new)
    assert lying(blobs) == [new] and blobs.part_size(KEY) == 0


def test_a_start_takes_no_part_for_a_file_that_came_to_another(blobs: Blobs) -> None:
    arrive(blobs)
    again = Blobs(blobs.folder)
    again.shared = True
    again.unlink(f"{KEY}.44444444")
    again.adopt(f"{KEY}.0123abcd")
    again.take_stock({f"{KEY}.0123abcd"}, NOW, WALL)
    tidy(again)
    assert lying(again) == [f"{KEY}.part"] and again.part_size(KEY) == len(DATA)
    with pytest.raises(FileNotFoundError):
        again.open(f"{KEY}.0123abcd")


def test_what_was_on_its_way_is_fetched_anew_after_a_crash(blobs: Blobs) -> None:
    os.close(blobs.coming(f"{KEY}.0123abcd"))
    assert lying(blobs) == [f"{KEY}.0123abcd.coming"]
    assert lying(built(blobs.folder, {f"{KEY}.0123abcd"})) == []


@pytest.mark.parametrize("whole", [True, False])
def test_bytes_that_come_have_their_name_when_they_are_whole(blobs: Blobs, whole: bool) -> None:
    blob = f"{KEY}.0123abcd"
    fd = blobs.coming(blob)
    os.write(fd, DATA)
    os.close(fd)
    blobs.came(blob, whole)
    os.close(blobs.coming(blob))  # another try at once is another file
    tidy(blobs)
    assert lying(blobs) == sorted([f"{blob}.coming", *([blob] if whole else [])])
    blobs.unlink(blob)
    blobs.done_with(blob)
    tidy(blobs)
    assert (blobs.folder / blob).exists() == whole, "somebody still waits for it"
    blobs.done_with(blob)
    tidy(blobs)
    assert lying(blobs) == [f"{blob}.coming"]
