"""Lines that a client keeps: what is no ordinary file is told, and holds nothing up."""

from __future__ import annotations

import os
from pathlib import Path

from chatlib.client.kept import KeptLines


def test_what_is_no_ordinary_file_is_told_once_and_holds_nothing_up(tmp_path: Path) -> None:
    path, told = tmp_path / "outbox", list[OSError]()
    os.mkfifo(path)
    kept = KeptLines[bytes](told.append)
    assert kept.open(path, lambda line: line) == []
    kept.add(b"a", b"a")
    assert [str(error) for error in told] == [f"[Errno 22] it is no ordinary file: '{path}'"] and path.is_fifo()
