"""The set of flat files: after a crash at any step it is all old or all new, never mixed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatlib.storage import checkpoint, textfile
from chatlib.storage.textfile import FileError

NAMES = ("a.txt", "b.txt", "c.txt")


class Crash(BaseException):
    """The process is gone: nothing more is carried out, no cleaning up."""


def files(age: str) -> list[tuple[str, str, list[str]]]:
    return [(name, "an example", [f"{age} {number}" for number in range(3)]) for name in NAMES]


def held(folder: Path) -> list[str]:
    """The age of each file's lines."""
    return [line.split()[0] for lines in checkpoint.prove(folder, NAMES).read().values() for _, line in lines]


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in (*NAMES, "manifest.txt"))


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """From the `step`-th thing on that is done to the disk, nothing more is. Returns how many were asked for."""
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count >= step:
                raise Crash
            return real(*args, **kwargs)

        return call

    for name in ("fsync", "open"):
        monkeypatch.setattr(textfile.os, name, counted(getattr(os, name)))
    for name in ("mkdir", "rename", "replace", "rmdir", "unlink"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(checkpoint.shutil, "rmtree", counted(checkpoint.shutil.rmtree))
    return lambda: count


def test_writing_and_reading(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 1, files("old"))
    assert held(tmp_path) == ["old"] * 9
    checkpoint.write(tmp_path, 1, files("new"))
    assert held(tmp_path) == ["new"] * 9
    assert left_over(tmp_path) == []
    assert (tmp_path / "a.txt").read_text() == "# a.txt 2: an example\nnew 0\nnew 1\nnew 2\n"
    assert oct((tmp_path / "a.txt").stat().st_mode)[-3:] == "600"


def test_files_that_are_not_there_are_not_read(tmp_path: Path) -> None:
    assert not checkpoint.prove(tmp_path, NAMES)
    checkpoint.finish(tmp_path)
    checkpoint.write(tmp_path, 1, files("old")[:1])
    assert list(checkpoint.prove(tmp_path, NAMES).read()) == ["a.txt"]


def test_a_crash_at_any_step(tmp_path: Path) -> None:
    step, ages = 0, []
    while True:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        checkpoint.write(folder, 1, files("old"))
        with pytest.MonkeyPatch.context() as patched:
            asked = crash_at(patched, step)
            try:
                checkpoint.write(folder, 1, files("new"))
            except Crash:
                pass
            else:
                assert asked() == step - 1
                break
        # The next start reads the set where it lies; its first attempt to move it may crash.
        age = held(folder)
        assert age in (["old"] * 9, ["new"] * 9), f"step {step}"
        with pytest.MonkeyPatch.context() as patched:
            crash_at(patched, 2)
            with contextlib.suppress(Crash):
                checkpoint.finish(folder)
        checkpoint.finish(folder)
        assert held(folder) == age, f"step {step}"
        assert left_over(folder) == [], f"step {step}"
        ages.append(held(folder)[0])
    assert ages == sorted(ages, reverse=True), "once it holds, it holds"
    assert {"old", "new"} == set(ages)
    assert step > 12


def test_a_checkpoint_after_one_that_was_cut_short_while_the_files_were_moved(tmp_path: Path) -> None:
    """The child that wrote was killed; the server goes on, and its next checkpoint must not fail for that."""
    checkpoint.write(tmp_path, 1, files("old"))
    with pytest.MonkeyPatch.context() as patched:
        moved = 0
        real = Path.replace

        def killed(self: Path, target: Path) -> Path:
            nonlocal moved
            moved += 1
            if moved == 2:
                raise Crash
            return real(self, target)

        patched.setattr(Path, "replace", killed)
        with pytest.raises(Crash):
            checkpoint.write(tmp_path, 1, files("middle"))
    assert held(tmp_path) == ["middle"] * 9
    checkpoint.write(tmp_path, 1, files("new"))
    assert held(tmp_path) == ["new"] * 9
    assert left_over(tmp_path) == []


def test_a_disk_that_is_full_leaves_the_old_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write(tmp_path, 1, files("old"))

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(textfile.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(tmp_path, 1, files("new"))
    monkeypatch.undo()
    assert held(tmp_path) == ["old"] * 9
    assert left_over(tmp_path) == []


def test_a_child_whose_server_is_gone_writes_nothing(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 1, files("old"))
    with pytest.raises(OSError, match="gone"):
        checkpoint.write(tmp_path, 1, files("new"), lambda: False)
    assert held(tmp_path) == ["old"] * 9
    assert left_over(tmp_path) == []


# Whole or refused.


def state_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder: Path) -> str:
    """Why the set in `folder` is refused; nothing in it is touched."""
    before = state_of(folder)
    with pytest.raises(FileError) as why:
        checkpoint.prove(folder, NAMES, NAMES)
    assert state_of(folder) == before
    return str(why.value)


@pytest.mark.parametrize("name", [*NAMES, "manifest.txt"])
def test_a_missing_file_is_refused_with_what_can_be_done(tmp_path: Path, name: str) -> None:
    checkpoint.write(tmp_path, 1, files("old"))
    (tmp_path / name).unlink()
    said = refused(tmp_path)
    assert f"{tmp_path / name} is missing" in said
    assert "server.py --verify says what else is damaged" in said
    assert "\n" not in said


def test_a_file_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 1, files("old")[:2])
    (tmp_path / "c.txt").write_text("# c.txt 2: an example\nold 0\n")
    assert f"{tmp_path / 'c.txt'} is not one of the files" in refused(tmp_path)


def test_a_file_of_another_set_is_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 1, files("old"))
    old = (tmp_path / "b.txt").read_bytes()
    checkpoint.write(tmp_path, 2, files("new"))
    (tmp_path / "b.txt").write_bytes(old)
    assert "b.txt is damaged" in refused(tmp_path)


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 1, [*files("old"), ("threads.txt", "of tomorrow", [])])
    assert "'threads.txt', which a later version wrote" in refused(tmp_path)


def test_every_flipped_bit_of_every_file_is_refused_and_the_file_named(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 1, files("old"))
    for name in (*NAMES, "manifest.txt"):
        path = tmp_path / name
        whole = path.read_bytes()
        for bit in range(len(whole) * 8):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with pytest.raises(FileError, match=name.replace(".", "[.]")):
                checkpoint.prove(tmp_path, NAMES)
        path.write_bytes(whole)
    assert held(tmp_path) == ["old"] * 9


def test_a_checkpoint_that_holds_is_proven_before_it_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write(tmp_path, 1, files("old"))
    monkeypatch.setattr(checkpoint, "_move", lambda folder: None)
    checkpoint.write(tmp_path, 2, files("new"))
    monkeypatch.undo()
    path = tmp_path / ".next" / "b.txt"
    path.write_bytes(path.read_bytes().replace(b"new 1", b"new 7"))
    assert "b.txt is damaged" in refused(tmp_path)


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_manifest_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    checkpoint.write(tmp_path, 1, files("old"))
    path = tmp_path / "manifest.txt"
    path.write_bytes(path.read_bytes()[:cut])
    assert "manifest.txt" in refused(tmp_path)


# Format 1, which had no manifest.


def old_files(folder: Path) -> None:
    for name in NAMES:
        (folder / name).write_text(f"# {name} 1: an example\nold\n")


def test_a_set_of_format_1_is_read_when_all_of_it_is_there(tmp_path: Path) -> None:
    old_files(tmp_path)
    flat = checkpoint.prove(tmp_path, (*NAMES, "later.txt"), NAMES)
    assert flat.format == 1
    assert [list(lines) for lines in flat.read().values()] == [[(2, "old")]] * 3
    checkpoint.write(tmp_path, 1, files("new"))
    assert held(tmp_path) == ["new"] * 9


@pytest.mark.parametrize("name", NAMES)
def test_an_incomplete_set_of_format_1_is_refused(tmp_path: Path, name: str) -> None:
    old_files(tmp_path)
    (tmp_path / name).unlink()
    assert f"{name} is missing" in refused(tmp_path)


def test_a_mixture_of_formats_is_refused(tmp_path: Path) -> None:
    old_files(tmp_path)
    (tmp_path / "b.txt").write_text("# b.txt 2: an example\nold\n")
    assert "manifest.txt is missing" in refused(tmp_path)
