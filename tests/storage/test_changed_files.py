"""A checkpoint writes what changed: the rest of the set stays where it lies, what is no longer of it goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.storage import checkpoint, textfile
from chatlib.storage.textfile import FileError
from tests.chance import examples, new_chance
from tests.storage.powercut import Disk
from tests.storage.test_checkpoint import Crash, crash_at

NAMES = ("state.txt", "threads/", "users.txt")


class Forum:
    """A set with a folder: each thread with its last change, and what was asked of it."""

    def __init__(self) -> None:
        self.lsn = 0
        self.threads: dict[str, tuple[int, list[str]]] = {}
        self.dumped: list[str] = []

    def post(self, title: str, text: str) -> None:
        self.lsn += 1
        self.threads[title] = self.lsn, [*self.threads.get(title, (0, []))[1], text]

    def remove(self, title: str) -> None:
        self.lsn += 1
        del self.threads[title]

    def _lines(self, title: str) -> Iterator[str]:
        self.dumped.append(title)
        yield from self.threads[title][1]

    def save(self, folder: Path) -> None:
        self.dumped.clear()
        files = [("state.txt", "state", iter([f"lsn {self.lsn}"])), ("users.txt", "users", iter(["ann", "bob"]))]
        files += [(f"threads/{title}", "a thread", self._lines(title)) for title in self.threads]
        changed = {f"threads/{title}": lsn for title, (lsn, _) in self.threads.items()}
        checkpoint.write(folder, self.lsn, files, changed=changed)

    def content(self) -> dict[str, list[str]]:
        threads = {f"threads/{title}": lines for title, (_, lines) in self.threads.items()}
        return {"state.txt": [f"lsn {self.lsn}"], **threads, "users.txt": ["ann", "bob"]}


def held(folder: Path) -> dict[str, list[str]]:
    """What a start reads."""
    flat = checkpoint.prove(folder, NAMES)
    return {name: [line for _, line in lines] for name, lines in flat.read().items()}


def numbers(folder: Path) -> dict[str, int]:
    """Of each file its number on the disk: one that is written again has another."""
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def test_of_a_thousand_files_the_one_that_changed_is_written(tmp_path: Path) -> None:
    forum = Forum()
    for number in range(1_000):
        forum.post(f"thread {number}", "a first post")
    forum.save(tmp_path)
    before = numbers(tmp_path)
    assert len(before) == 1_003 and held(tmp_path) == forum.content()
    forum.post("thread 471", "another one")
    forum.save(tmp_path)
    after = numbers(tmp_path)
    assert forum.dumped == ["thread 471"], "the lines of the others are not even made"
    rewritten = {name for name in after if after[name] != before[name]}
    assert rewritten == {"state.txt", "threads/thread 471", "manifest.txt"}, "users.txt says what it said"
    assert held(tmp_path) == forum.content() and left_over(tmp_path) == []


def test_files_come_and_go(tmp_path: Path) -> None:
    forum = Forum()
    for title in ("news", "Grüße", "what is it?"):
        forum.post(title, "x")
    forum.save(tmp_path)
    forum.remove("news")
    forum.post("rules", "y")
    forum.save(tmp_path)
    assert sorted(path.name for path in (tmp_path / "threads").iterdir()) == ["Grüße", "rules", "what is it?"]
    assert list(held(tmp_path).items()) == list(forum.content().items()), "and in their order"
    for title in list(forum.threads):
        forum.remove(title)
    forum.save(tmp_path)
    assert list((tmp_path / "threads").iterdir()) == []
    assert held(tmp_path) == forum.content()
    forum.post("news", "again")
    forum.save(tmp_path)
    assert held(tmp_path) == forum.content()


@pytest.mark.parametrize("spoil", [
    lambda path: path.unlink(), lambda path: path.write_text("# rules 2: a thread\nX\n"),
    lambda path: path.write_text(path.read_text() + "by hand\n"), lambda path: path.rename(path.with_name("other")),
])  # fmt: skip
def test_what_is_no_longer_as_it_was_written_is_written_again(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    """The world has it still, so nothing is lost by what somebody did to a file while the server was running."""
    forum = Forum()
    forum.post("news", "x")
    forum.post("rules", "y")
    forum.save(tmp_path)
    spoil(tmp_path / "threads" / "rules")
    (tmp_path / "threads" / "other").unlink(missing_ok=True)
    forum.save(tmp_path)
    assert forum.dumped == ["rules"]
    assert held(tmp_path) == forum.content()


def test_without_a_manifest_that_can_be_read_everything_is_written(tmp_path: Path) -> None:
    forum = Forum()
    forum.post("news", "x")
    for spoil in (lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])):
        forum.save(tmp_path)
        spoil(tmp_path / "manifest.txt")
        forum.save(tmp_path)
        assert forum.dumped == ["news"] and held(tmp_path) == forum.content()


# Names.


def test_the_names_in_a_manifest_are_no_paths() -> None:
    for name in ("state.txt", "threads/news", "threads/what is it?", "threads/a.b", "threads/" + "x" * 240, "ü/ß"):
        assert checkpoint.is_name(name), name
    for name in ("", "/", "threads/", "/news", "../users.txt", "threads/..", "threads/.", "threads/.hidden", ".next/x",
                 "a/b/c", "threads/../users.txt", "threads/a\nb", "threads/a\0b", "threads/a\u2028b", "threads/ x",
                 "threads/x ", "manifest.txt", "threads/" + "x" * 241, "threads/" + "ü" * 121, "a\\\n"):  # fmt: skip
        assert not checkpoint.is_name(name), name


@pytest.mark.parametrize("name", ["threads/../users.txt", "/etc/passwd", "threads/a\nb", "threads/.x"])
def test_a_name_that_is_a_path_is_never_written(tmp_path: Path, name: str) -> None:
    forum = Forum()
    forum.post("news", "x")
    forum.save(tmp_path)
    with pytest.raises(ValueError, match="no flat file can be called"):
        checkpoint.write(tmp_path, 2, [("state.txt", "state", ["x"]), (name, "a thread", ["x"])])
    assert held(tmp_path) == forum.content() and left_over(tmp_path) == []


def test_two_names_that_are_one_on_some_disks_are_never_written(tmp_path: Path) -> None:
    forum = Forum()
    forum.post("News", "x")
    forum.save(tmp_path)
    before = held(tmp_path)
    forum.post("news", "x")
    with pytest.raises(ValueError, match="'threads/news' and 'threads/News' may be the same file"):
        forum.save(tmp_path)
    assert held(tmp_path) == before and left_over(tmp_path) == []


@pytest.mark.parametrize("name", ["../users.txt", "threads/../../x", "threads/a/b"])
def test_a_manifest_that_names_a_path_is_refused(tmp_path: Path, name: str) -> None:
    forum = Forum()
    forum.post("news", "x")
    forum.save(tmp_path)
    rows = [f"lsn {forum.lsn}", f"{name} 1 {'0' * 64}"]
    (tmp_path / "manifest.txt").write_text("".join(checkpoint._manifest(rows)))
    with pytest.raises(FileError, match="which is no flat file's name"):
        held(tmp_path)


@pytest.mark.parametrize("name", ["posts/news", "board.txt"])
def test_a_file_that_this_version_does_not_know_is_refused(tmp_path: Path, name: str) -> None:
    checkpoint.write(tmp_path, 1, [("state.txt", "state", ["x"]), (name, "of tomorrow", ["x"])])
    with pytest.raises(FileError, match=f"'{name}', which a later version wrote"):
        held(tmp_path)


def test_a_file_in_the_folder_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    forum = Forum()
    forum.post("news", "x")
    forum.save(tmp_path)
    (tmp_path / "threads" / ".DS_Store").write_text("somebody else's")
    assert held(tmp_path) == forum.content()
    (tmp_path / "threads" / "rules").write_text("# rules 2: a thread\nX\n")
    with pytest.raises(FileError, match="threads/rules is not one of the files"):
        held(tmp_path)


def test_every_flipped_bit_of_a_file_that_was_not_written_again_is_refused(tmp_path: Path) -> None:
    forum = Forum()
    forum.post("news", "x")
    forum.save(tmp_path)
    forum.post("rules", "y")
    forum.save(tmp_path)
    assert forum.dumped == ["rules"]
    path = tmp_path / "threads" / "news"
    whole = path.read_bytes()
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(FileError, match="threads/news is damaged"):
            held(tmp_path)


# Crashes.


def grown() -> tuple[Forum, Callable[[], None]]:
    """A forum, and what happens to it before its second checkpoint."""
    forum = Forum()
    for title in ("goes", "grows", "stays", "stays, too"):
        forum.post(title, "x")

    def live() -> None:
        forum.post("grows", "y")
        forum.post("comes", "z")
        forum.remove("goes")

    return forum, live


def test_a_crash_at_any_step(tmp_path: Path) -> None:
    step, seen = 0, []
    while True:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        forum, live = grown()
        forum.save(folder)
        old = forum.content()
        live()
        with pytest.MonkeyPatch.context() as patched:
            crash_at(patched, step)
            try:
                forum.save(folder)
            except Crash:
                pass
            else:
                break
        found = held(folder)
        assert found in (old, forum.content()), f"step {step}"
        for again in range(1, 9):  # the next start reads the set where it lies; its attempts to move it may crash
            with pytest.MonkeyPatch.context() as patched:
                crash_at(patched, again)
                try:
                    checkpoint.finish(folder)
                except Crash:
                    assert held(folder) == found, f"step {step}, {again}"
        checkpoint.finish(folder)
        assert held(folder) == found, f"step {step}"
        assert left_over(folder) == [], f"step {step}"
        seen.append(found == old)
        forum.save(folder)  # and it goes on
        assert held(folder) == forum.content()
    assert seen == sorted(seen, reverse=True) and {True, False} == set(seen)
    assert step > 20


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_the_power_fails_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a set names and did not write again is as durable as the rest."""
    chance = new_chance()
    for name in ("fsync", "fdatasync"):  # the disk that matters is ours
        monkeypatch.setattr(os, name, lambda fd: None)
    home = tmp_path / "home"
    home.mkdir()
    disk = Disk(home, chance)
    forum, live = grown()
    may_be: list[dict[str, list[str]]] = [{}]

    def fail() -> None:
        for _ in range(min(20, examples(3))):
            after = tmp_path / "after"
            disk.cut(after)
            assert check(after) in may_be

    def check(folder: Path) -> Any:
        found = held(folder)
        checkpoint.finish(folder)
        assert held(folder) == found
        return found

    disk.before_each = fail
    with disk.watched():
        for _ in range(3):
            may_be.append(forum.content())
            forum.save(home)
            del may_be[:-1]
            fail()
            live() if forum.lsn < 5 else forum.post("stays", "no longer")
    assert disk.steps > 60


def test_a_disk_that_is_full_leaves_the_old_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forum, live = grown()
    forum.save(tmp_path)
    before = held(tmp_path)
    live()

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(textfile.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            forum.save(tmp_path)
    assert held(tmp_path) == before and left_over(tmp_path) == []
    forum.save(tmp_path)
    assert held(tmp_path) == forum.content()
