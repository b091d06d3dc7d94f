"""Text files that are replaced whole or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from chatlib.storage import textfile
from chatlib.storage.textfile import FileError, flat_lines, read_flat, replace, sealed, unsealed, write_new


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    replace(path, "one\n")
    assert path.read_text() == "one\n"
    replace(path, "grüße\n")
    assert path.read_text(encoding="utf-8") == "grüße\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "a.txt"
    replace(path, "old\n")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(textfile.os, step, refuse)
    with pytest.raises(OSError, match="No space"):
        replace(path, "new\n")
    monkeypatch.undo()
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_what_is_written_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.replace

    def noted_fsync(fd: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    def noted_rename(source: Path, target: Path) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(textfile.os, "fsync", noted_fsync)
    monkeypatch.setattr(textfile.os, "replace", noted_rename)
    replace(tmp_path / "a.txt", "text\n")
    assert steps == ["file", "rename", "folder"]


def test_a_flat_file_names_its_format_and_has_numbered_lines(tmp_path: Path) -> None:
    path = tmp_path / "block_rep.txt"
    size, digest = write_new(path, flat_lines(path.name, "who blocks whom", ["a b", "", "c\u2028d"]))
    assert (size, digest) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert path.read_text(encoding="utf-8") == "# block_rep.txt 2: who blocks whom\na b\n\nc\u2028d\n"
    assert list(read_flat(path)) == [(2, "a b"), (3, ""), (4, "c\u2028d")]


@pytest.mark.parametrize(
    ("held", "wrong"),
    [
        (b"", "line 1: a file of format 2 begins with '# f.txt 2: '"),
        (b"# f.txt 3: of tomorrow\n", "line 1: a file of format 2"),
        (b"# g.txt 2: another\n", "line 1: a file of format 2"),
        (b"alice bob\n", "line 1: a file of format 2"),
        (b"# f.txt 2: cut in its fi", "line 1: the file ends in the middle of a line"),
        (b"# f.txt 2: x\none\ntw", "line 3: the file ends in the middle of a line"),
        (b"# f.txt 2: x\none\n\xff\n", "not UTF-8"),
    ],
)
def test_a_flat_file_that_is_wrong(tmp_path: Path, held: bytes, wrong: str) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(held)
    with pytest.raises(FileError, match="f.txt") as refused:
        list(read_flat(path))
    assert wrong in str(refused.value)


def test_a_sealed_line_comes_back_or_is_known_to_be_damaged() -> None:
    whole = sealed("grüße").encode()
    assert unsealed(whole.decode()) == "grüße"
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        assert unsealed(flipped.decode(errors="replace")) is None
    for text in ("", "\n", "x", "123456789", "1234567890"):
        assert unsealed(text) is None
