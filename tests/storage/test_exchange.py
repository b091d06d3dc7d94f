"""A file that a person saves while the server writes it: both are heard, or the person's version is kept and named."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.storage import exchange as module
from chatlib.storage import textfile
from chatlib.storage.exchange import exchange, mend, read_whole
from chatlib.storage.textfile import FileError

Save = Callable[[Path], None]
STEPS = range(1, 6)  # the pauses of an exchange; one more than there are


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Has something happen at the so-manieth step of an exchange."""

    def set_up(step: int, happens: Callable[[], None]) -> None:
        count = 0

        def pause() -> None:
            nonlocal count
            count += 1
            if count == step:
                happens()

        monkeypatch.setattr(textfile, "pause", pause)

    return set_up


def by_rename(path: Path) -> None:
    """As vim and most editors save."""
    new = path.with_name("editor.tmp")
    new.write_text("a person's\n")
    os.replace(new, path)


def in_place(path: Path) -> None:
    """As nano and `>>` save."""
    path.write_text("a person's\n")


def after_removing(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_text("a person's\n")


SAVES = pytest.mark.parametrize("save", [by_rename, in_place, after_removing])


def everything(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if not path.name.startswith("."):
            yield path.read_text()


def test_one_exchange(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    notes: list[str] = []
    assert exchange(path, None, "first\n", notes)
    assert exchange(path, b"first\n", "second\n", notes)
    assert path.read_text() == "second\n" and notes == []
    assert oct(path.stat().st_mode)[-3:] == "600"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_what_was_read_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    notes: list[str] = []
    assert not exchange(path, b"read\n", "new\n", notes), "it is gone"
    path.write_text("edited\n")
    assert not exchange(path, b"read\n", "new\n", notes)
    assert not exchange(path, None, "new\n", notes)
    assert path.read_text() == "edited\n" and notes == []
    assert list(tmp_path.iterdir()) == [path]


@SAVES
@pytest.mark.parametrize("step", STEPS)
def test_a_save_at_any_moment_is_not_lost(
    tmp_path: Path, at_step: Callable[[int, Callable[[], None]], None], step: int, save: Save
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("read\n")
    at_step(step, lambda: save(path))
    notes: list[str] = []
    done = exchange(path, b"read\n", "new\n", notes)
    found = list(everything(tmp_path))
    if path.read_text() == "new\n":
        assert done
        assert step == 5 or "a person's\n" in found
        assert len(notes) == len(found) - 1, "what was kept is said"
    else:
        assert path.read_text() == "a person's\n"
        assert notes == []
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("step", [1, 2])
def test_an_editor_that_is_about_to_write_is_noticed(
    tmp_path: Path, at_step: Callable[[int, Callable[[], None]], None], step: int
) -> None:
    """It has opened the file, and writes when all is over. Unnoticed, its words would go into a file without a name."""
    path = tmp_path / "file.txt"
    path.write_text("read\n")
    editor: list[int] = []
    at_step(step, lambda: editor.append(os.open(path if path.exists() else tmp_path / ".file.txt.old", os.O_WRONLY)))
    notes: list[str] = []
    assert not exchange(path, b"read\n", "new\n", notes)
    os.write(editor[0], b"a person's\n")
    os.close(editor[0])
    assert path.read_text() == "a person's\n"
    assert exchange(path, b"a person's\n", "new\n", notes)
    assert notes == []


def open_and_write(path: Path, text: str) -> subprocess.Popen[bytes]:
    """An editor in a process of its own, which has found `path` and is made to wait by whoever looks at the file."""
    code = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    editor = subprocess.Popen([sys.executable, "-c", code, str(path), text])
    place = f":{path.stat().st_ino} "
    while not any("BREAKING" in line and place in line for line in Path("/proc/locks").read_text().splitlines()):
        assert editor.poll() is None
        os.sched_yield()
    return editor


def test_an_editor_that_opens_it_last_is_heard_and_its_versions_are_kept_apart(
    tmp_path: Path, at_step: Callable[[int, Callable[[], None]], None]
) -> None:
    """It found the file while it was aside, and opens it when the new text has its name."""
    path = tmp_path / "file.txt"
    editors: list[subprocess.Popen[bytes]] = []
    for count, kept in enumerate(("file.txt.kept", "file.txt.kept-2", "file.txt.kept-3")):
        path.write_text("read\n")
        at_step(4, lambda count=count: editors.append(open_and_write(tmp_path / ".file.txt.old", f"{count}\n")))  # type: ignore[misc]
        notes: list[str] = []
        assert exchange(path, b"read\n", "new\n", notes)
        assert editors[-1].wait() == 0
        assert path.read_text() == "new\n"
        assert (tmp_path / kept).read_text() == f"{count}\n"
        assert notes == [f"{tmp_path / kept}: a version of file.txt that somebody saved while the server wrote it, and "
                         "that is not in it."]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("save", [None, by_rename, in_place, after_removing])
def test_a_crash_at_any_moment_is_mended(
    tmp_path: Path, at_step: Callable[[int, Callable[[], None]], None], step: int, save: Save | None
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("read\n")

    def crash() -> None:
        if save:
            save(path)
        raise Crash

    at_step(step, crash)
    with contextlib.suppress(Crash), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # a dead process clears nothing away
        exchange(path, b"read\n", "new\n", [])
    at_step(0, crash)
    notes = mend(path)
    for left in tmp_path.glob(".*.new"):
        left.unlink()
    found = list(everything(tmp_path))
    assert path.read_text() in ("read\n", "new\n", "a person's\n")
    assert len(notes) == len(found) - 1
    if save and step < 5:
        assert "a person's\n" in found
    assert not list(tmp_path.glob(".*"))
    assert mend(path) == []


def test_a_disk_that_is_full_leaves_the_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    path.write_text("read\n")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for call in ("fsync", "link"):
        with monkeypatch.context() as patch:
            patch.setattr(module.os, call, full)
            with pytest.raises(OSError, match="No space"):
                exchange(path, b"read\n", "new\n", [])
        mend(path)
        assert path.read_text() == "read\n"
        assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"

    def none(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(module.os, "link", none)
    notes: list[str] = []
    assert exchange(path, None, "read\n", notes)
    assert exchange(path, b"read\n", "new\n", notes)
    assert not exchange(path, None, "never\n", notes)
    assert path.read_text() == "new\n" and notes == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_read_when_its_editor_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    path.write_text("amy 1\nbob 2\n")
    with open(path, "w") as editor:  # which has emptied it
        waits = 0

        def wait(_seconds: float) -> None:
            nonlocal waits
            waits += 1
            if waits == 2:
                editor.write("amy 1\nbob 3\n")
                editor.close()

        monkeypatch.setattr(module.time, "sleep", wait)
        assert read_whole(path) == b"amy 1\nbob 3\n"
        assert waits == 2
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with open(path, "a"), pytest.raises(FileError, match=r"file\.txt: another program has it open for writing"):
        read_whole(path)
    assert read_whole(path) == b"amy 1\nbob 3\n"
