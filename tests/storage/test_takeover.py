"""A home's data replaced as a whole: whatever a crash cuts short, it is the old one or the new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatlib.storage import takeover, textfile
from chatlib.storage.home import Home
from chatlib.storage.textfile import FileError


class Crash(Exception):
    """In the middle of it."""


OLD = {name: "old" for name in ("state.txt", "threads/a.txt", "threads/gone.txt", "journal.txt", ".next/x.txt")}
OLD |= {"logs/current.log": "kept", "files/blob": "kept"}
NEW = {"state.txt": "new", "threads/a.txt": "new", "message_rep.txt": "new"}


def old_home(folder: Path) -> Path:
    data = folder / "data"
    for name, text in OLD.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(text)
    (folder / "para.txt").write_text("mine")
    return data


def take(data: Path) -> None:
    folder = takeover.begin(data)
    for name, text in NEW.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    gone = ["state.txt", "threads/gone.txt", "journal.txt", "never.txt"]
    takeover.ready(data, folder, gone, {"para.txt": "before.txt"})


def found(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


AFTER = {f"data/{name}": text for name, text in NEW.items()} | {
    "data/logs/current.log": "kept", "data/files/blob": "kept", "before.txt": "mine"}  # fmt: skip


def test_the_new_files_take_the_place_of_the_old_ones(tmp_path: Path) -> None:
    data = old_home(tmp_path)
    take(data)
    assert found(tmp_path) == AFTER


def test_a_crash_at_any_moment_leaves_the_old_home_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for moment in range(100):
        data = old_home(tmp_path / str(moment))
        before, left = found(tmp_path / str(moment)), moment

        def pause() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash

        monkeypatch.setattr(textfile, "pause", pause)
        try:
            take(data)
            break
        except Crash:
            pass
        monkeypatch.setattr(textfile, "pause", lambda: None)
        takeover.finish(data)
        after = found(tmp_path / str(moment))
        assert after in (before, AFTER)
        outcomes.append(after == AFTER)
    assert outcomes == sorted(outcomes) and set(outcomes) == {True, False}


def test_several_crashes_on_the_way_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = old_home(tmp_path)
    steps = [0, 2]  # made, and allowed: with two it holds

    def pause() -> None:
        steps[0] += 1
        if steps[0] > steps[1]:
            raise Crash

    monkeypatch.setattr(textfile, "pause", pause)
    with pytest.raises(Crash):
        take(data)
    for allowed in range(1, 100):  # each time, one step more than the last
        steps[:] = 0, allowed
        try:
            takeover.finish(data)
            break
        except Crash:
            assert takeover.is_pending(data)
    assert found(tmp_path) == AFTER and not takeover.is_pending(data)


def test_whoever_locks_the_home_finishes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = old_home(tmp_path)
    monkeypatch.setattr(takeover, "finish", lambda data: None)
    take(data)
    monkeypatch.undo()
    assert takeover.is_pending(data) and (data / "state.txt").read_text() == "old"
    Home(tmp_path)
    assert not takeover.is_pending(data) and (data / "state.txt").read_text() == "new"


def test_a_damaged_list_is_refused_and_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = old_home(tmp_path)
    monkeypatch.setattr(takeover, "finish", lambda data: None)
    take(data)
    monkeypatch.undo()
    listed = data / takeover.READY / "taken.list"
    listed.write_text(listed.read_text().replace("state", "stale"))
    with pytest.raises(FileError, match=r"taken\.list is damaged"):
        takeover.finish(data)
    assert (data / "state.txt").read_text() == "old" and (tmp_path / "para.txt").exists()


def test_what_was_never_ready_is_removed(tmp_path: Path) -> None:
    data = old_home(tmp_path)
    (takeover.begin(data) / "state.txt").write_text("new")
    Home(tmp_path)
    assert not list(data.glob(".taken*")) and (data / "state.txt").read_text() == "old"
