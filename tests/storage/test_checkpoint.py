"""The set of flat files: after a crash at any step it is all old or all new, never mixed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatlib.storage import checkpoint, textfile

NAMES = ("a.txt", "b.txt", "c.txt")


class Crash(BaseException):
    """The process is gone: nothing more is carried out, no cleaning up."""


def files(age: str) -> list[tuple[str, str, list[str]]]:
    return [(name, "an example", [f"{age} {number}" for number in range(3)]) for name in NAMES]


def held(folder: Path) -> list[str]:
    """The age of each file's lines."""
    return [line.split()[0] for lines in checkpoint.read(folder, NAMES).values() for _, line in lines]


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in NAMES)


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
    for name in ("mkdir", "rename", "replace", "rmdir"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(checkpoint.shutil, "rmtree", counted(checkpoint.shutil.rmtree))
    return lambda: count


def test_writing_and_reading(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, files("old"))
    assert held(tmp_path) == ["old"] * 9
    checkpoint.write(tmp_path, files("new"))
    assert held(tmp_path) == ["new"] * 9
    assert left_over(tmp_path) == []
    assert (tmp_path / "a.txt").read_text() == "# a.txt 1: an example\nnew 0\nnew 1\nnew 2\n"
    assert oct((tmp_path / "a.txt").stat().st_mode)[-3:] == "600"


def test_files_that_are_not_there_are_not_read(tmp_path: Path) -> None:
    assert checkpoint.read(tmp_path, NAMES) == {}
    checkpoint.finish(tmp_path)
    checkpoint.write(tmp_path, files("old")[:1])
    assert list(checkpoint.read(tmp_path, NAMES)) == ["a.txt"]


def test_a_crash_at_any_step(tmp_path: Path) -> None:
    step, ages = 0, []
    while True:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        checkpoint.write(folder, files("old"))
        with pytest.MonkeyPatch.context() as patched:
            asked = crash_at(patched, step)
            try:
                checkpoint.write(folder, files("new"))
            except Crash:
                pass
            else:
                assert asked() == step - 1
                break
        # The next start; the first attempt of it may crash too.
        with pytest.MonkeyPatch.context() as patched:
            crash_at(patched, 2)
            with contextlib.suppress(Crash):
                checkpoint.finish(folder)
        checkpoint.finish(folder)
        assert held(folder) in (["old"] * 9, ["new"] * 9), f"step {step}"
        assert left_over(folder) == [], f"step {step}"
        ages.append(held(folder)[0])
    assert ages == sorted(ages, reverse=True), "once it holds, it holds"
    assert {"old", "new"} == set(ages)
    assert step > 12


def test_a_checkpoint_after_one_that_was_cut_short_while_the_files_were_moved(tmp_path: Path) -> None:
    """The child that wrote was killed; the server goes on, and its next checkpoint must not fail for that."""
    checkpoint.write(tmp_path, files("old"))
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
            checkpoint.write(tmp_path, files("middle"))
    checkpoint.write(tmp_path, files("new"))
    assert held(tmp_path) == ["new"] * 9
    assert left_over(tmp_path) == []


def test_a_disk_that_is_full_leaves_the_old_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write(tmp_path, files("old"))

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(textfile.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(tmp_path, files("new"))
    monkeypatch.undo()
    assert held(tmp_path) == ["old"] * 9
    assert left_over(tmp_path) == []


def test_a_child_whose_server_is_gone_writes_nothing(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, files("old"))
    with pytest.raises(OSError, match="gone"):
        checkpoint.write(tmp_path, files("new"), lambda: False)
    assert held(tmp_path) == ["old"] * 9
    assert left_over(tmp_path) == []
