"""Snapshots: files that change while they go up come down as they belonged together, and only what is new travels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from chatlib.cluster.pieces import PIECE, EngineFailed, Latest
from chatlib.cluster.snapshots import UNNAMED_LIFE, FileSet, FileToTake, fetch, sweep, upload
from tests.cluster.shelf import Shelf


def everything(_name: str) -> bool:
    return True


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Folder:
    """Some files, and what a set of them is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 1
        self.stands: Callable[[], bool] = lambda: True
        path.mkdir()

    def write(self, name: str, data: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_bytes(data)
        os.replace(beside, path)

    def take(self) -> FileSet:
        found = [path for path in sorted(self.path.rglob("*")) if path.is_file()]
        files = [FileToTake(str(path.relative_to(self.path)), path, path.stat().st_size, digest(path.read_bytes()))
                 for path in found]  # fmt: skip
        return FileSet(files, self.stands, Latest(self.position, 7, 9, "epoch"))

    def content(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.path)): path.read_bytes() for path in self.path.rglob("*") if path.is_file()}


@pytest.fixture
def home(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "home")
    folder.write("state.txt", b"one\n")
    folder.write("threads/plans.txt", b"two\n")
    folder.write("empty.txt", b"")
    folder.write("messages.txt", b"a" * PIECE + b"b" * PIECE + b"c")
    return folder


def fetched(shelf: Shelf, tmp_path: Path, old: Path | None = None) -> Folder:
    folder = Folder(tmp_path / f"new{len(list(tmp_path.iterdir()))}")
    assert fetch(shelf, folder.path, old or tmp_path / "nowhere", everything)
    return folder


def test_what_goes_up_comes_down(home: Folder, tmp_path: Path) -> None:
    shelf = Shelf()
    latest = upload(shelf, home.take)
    assert latest and latest[:4] == (1, 7, 9, "epoch")
    assert fetched(shelf, tmp_path).content() == home.content()


def test_only_what_is_new_travels_up(home: Folder) -> None:
    shelf = Shelf()
    upload(shelf, home.take)
    shelf.puts.clear()
    home.position = 2
    with open(home.path / "messages.txt", "ab") as file:
        file.write(b"more")
    latest = upload(shelf, home.take)
    assert latest and shelf.puts == [digest(b"cmore"), latest.sha256]


def test_only_what_is_new_travels_down(home: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, got = Shelf(), []
    latest = upload(shelf, home.take)
    old = Folder(tmp_path / "old")
    old.write("messages.txt", b"a" * PIECE + b"B" * PIECE + b"c")
    get = shelf.get
    monkeypatch.setattr(shelf, "get", lambda sha256, *rest: got.append(sha256) or get(sha256, *rest))
    assert fetched(shelf, tmp_path, old.path).content() == home.content()
    new = [digest(data) for data in (b"b" * PIECE, b"one\n", b"two\n")]
    assert latest and got == [latest.sha256, *new]


def test_a_save_that_comes_in_between_is_waited_for(home: Folder, tmp_path: Path) -> None:
    """The set that goes up is never of two ages."""
    shelf, rounds = Shelf(), []

    def take() -> FileSet:
        taken, number = home.take(), len(rounds)
        rounds.append(number)
        if number == 0:  # it is replaced behind our back
            home.write("state.txt", b"later\n")
            home.position = 2
        return taken._replace(stands=lambda: number > 1)

    latest = upload(shelf, take)
    assert latest and latest.position == 2 and len(rounds) == 3
    assert fetched(shelf, tmp_path).content() == home.content()


def test_a_file_that_goes_in_between_is_waited_for(home: Folder, tmp_path: Path) -> None:
    shelf, taken = Shelf(), home.take()
    (home.path / "threads/plans.txt").unlink()
    sets = [taken, home.take()]
    assert upload(shelf, lambda: sets.pop(0)) and fetched(shelf, tmp_path).content() == home.content()


def test_a_damaged_file_never_goes_up(home: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, taken = Shelf(), home.take()
    home.write("state.txt", b"two\n")
    with pytest.raises(EngineFailed, match="damaged"):
        upload(shelf, lambda: taken)
    assert shelf.latest() == (None, 0)


def test_of_two_that_make_one_at_once_only_one_counts(home: Folder, tmp_path: Path) -> None:
    shelf = Shelf()
    other = Latest(5, 5, 5, "epoch", "x", 1)

    def meanwhile() -> None:
        shelf.before_point = lambda: None
        assert shelf.point(other, 0)

    shelf.before_point = meanwhile
    assert upload(shelf, home.take) is None and shelf.latest()[0] == other


def test_nobody_goes_back_to_an_earlier_one(home: Folder) -> None:
    shelf = Shelf()
    home.position = 2
    latest = upload(shelf, home.take)
    home.position = 1
    home.write("state.txt", b"earlier\n")
    assert upload(shelf, home.take) is None and shelf.latest()[0] == latest


def test_pieces_that_are_lost_go_up_anew_with_the_next(home: Folder, tmp_path: Path) -> None:
    shelf = Shelf()
    latest = upload(shelf, home.take)
    assert latest
    shelf.drop(f"piece.{latest.sha256}.*")
    home.position = 2
    assert upload(shelf, home.take) and fetched(shelf, tmp_path).content() == home.content()


def test_who_takes_one_that_is_swept_meanwhile_takes_the_next(
    home: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    upload(shelf, home.take)
    get, times = shelf.get, []

    def slow(sha256: str, size: int, still: Callable[[], bool]) -> bytes:
        times.append(sha256)
        if len(times) == 3:
            home.position = 2
            for name in ("state.txt", "threads/plans.txt"):
                home.write(name, b"new " + name.encode())
            home.write("messages.txt", b"x" * PIECE + b"y")
            monkeypatch.setattr(shelf, "get", get)
            upload(shelf, home.take)
            sweep(shelf, (), shelf.now)
            monkeypatch.setattr(shelf, "get", slow)
        return get(sha256, size, still)

    monkeypatch.setattr(shelf, "get", slow)
    assert fetched(shelf, tmp_path).content() == home.content()


def test_a_snapshot_with_a_name_that_no_home_has_is_refused(home: Folder, tmp_path: Path) -> None:
    shelf = Shelf()
    upload(shelf, home.take)
    with pytest.raises(EngineFailed, match=r"plans\.txt"):
        fetch(shelf, Folder(tmp_path / "new").path, tmp_path, lambda name: "/" not in name)
    assert not list((tmp_path / "new").iterdir())


def test_a_manifest_that_does_not_say_what_a_file_is_is_refused(home: Folder, tmp_path: Path) -> None:
    shelf, sha = Shelf(), digest(b"x")
    shelf.put(sha, b"x")
    twice, other = [["a", 1, sha, [sha]]] * 2, [["a", 1, digest(b"y"), [sha]]]
    for rows in ([["a", 2, sha, []]], [["a", -1, sha, []]], twice, other):
        data = b"".join(json.dumps(row).encode() + b"\n" for row in (["chatlib snapshot", 1], *rows))
        shelf.put(digest(data), data)
        shelf.named = Latest(1, 1, 1, "epoch", digest(data), len(data)), 1
        with pytest.raises(EngineFailed):
            fetched(shelf, tmp_path)


def test_nothing_is_fetched_where_there_is_no_room(
    home: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    upload(shelf, home.take)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    with pytest.raises(OSError, match="no room"):
        fetched(shelf, tmp_path)


# Sweeping.


def test_a_sweep_takes_what_the_latest_has_not_got(home: Folder, tmp_path: Path) -> None:
    shelf = Shelf()
    upload(shelf, home.take)
    home.position = 2
    home.write("state.txt", b"three\n")
    upload(shelf, home.take)
    assert sweep(shelf, (), shelf.now) == (2, 0)  # the earlier manifest, and the earlier state.txt
    assert sweep(shelf, (), shelf.now) == (0, 0)
    assert fetched(shelf, tmp_path).content() == home.content()


def test_a_sweep_leaves_what_is_on_its_way_into_the_next(home: Folder) -> None:
    """Also what the latest has not got, if it was stored since."""
    shelf = Shelf()
    upload(shelf, home.take)
    shelf.put(digest(b"next"), b"next")
    sweep(shelf, (), shelf.now)
    assert shelf.get(digest(b"next"), 4) == b"next"


def test_a_sweep_that_comes_late_takes_nothing_that_a_later_snapshot_counts_on(home: Folder, tmp_path: Path) -> None:
    """It was stopped for a while: what it wants to drop was stored anew meanwhile, by a snapshot that has it again."""
    shelf, late = Shelf(), []
    upload(shelf, home.take)
    home.position = 2
    home.write("state.txt", b"three\n")
    upload(shelf, home.take)
    drop = shelf.drop
    shelf.drop = lambda pattern, before=0: late.append((pattern, before))  # type: ignore[method-assign]
    sweep(shelf, (), shelf.now)
    shelf.drop = drop  # type: ignore[method-assign]
    home.position = 3
    home.write("state.txt", b"one\n")
    upload(shelf, home.take)
    for pattern, before in late:
        shelf.drop(pattern, before)
    assert fetched(shelf, tmp_path).content() == home.content()


def test_a_sweep_leaves_bytes_of_files_that_no_command_names_yet_for_a_day(home: Folder) -> None:
    shelf = Shelf()
    upload(shelf, home.take)
    for blob in ("wanted.00000000", "uploading.00000000", "gone.00000000"):
        shelf.now += 10
        for number in range(3):
            shelf.put_blob(blob, number, b"bytes")
    assert sweep(shelf, {"wanted.00000000"}, shelf.now) == (0, 0)
    shelf.now += UNNAMED_LIFE
    shelf.put_blob("uploading.00000000", 0, b"bytes")
    assert sweep(shelf, {"wanted.00000000"}, shelf.now + 1) == (0, 1)
    assert {words[1] for words in shelf.subjects("blob.*")} == {"wanted", "uploading"}


def test_an_engine_that_stores_nothing_fails_the_upload(home: Folder) -> None:
    shelf = Shelf()
    shelf.down = True
    with pytest.raises(EngineFailed):
        upload(shelf, home.take)
    assert shelf.latest() == (None, 0)
