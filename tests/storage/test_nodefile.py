"""To which cluster a home belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatlib.storage import nodefile
from chatlib.storage.textfile import FileError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert nodefile.read(tmp_path) is None
    nodefile.write(tmp_path, "north-1", "chat")
    assert nodefile.read(tmp_path) == ("north-1", "chat")


def test_damage_is_refused_with_the_place(tmp_path: Path) -> None:
    nodefile.write(tmp_path, "north-1", "chat")
    path = tmp_path / nodefile.NAME
    whole = path.read_bytes()
    for damaged in (b"", whole[:9], whole.replace(b"north", b"south"), b"\xff" * 20):
        path.write_bytes(damaged)
        with pytest.raises(FileError, match=r"node\.txt is damaged"):
            nodefile.read(tmp_path)
