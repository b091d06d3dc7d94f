"""What was typed in earlier runs, in a file."""

from __future__ import annotations

from pathlib import Path

from chatlib.terminal.editor import MAX_HISTORY
from chatlib.terminal.history import HistoryFile


def test_lines_are_there_in_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "history"
    assert HistoryFile(path).lines() == []
    for line in ("one", "grüße \ud800"):
        HistoryFile(path).add(line)
    assert HistoryFile(path).lines() == ["one", "grüße ?"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_long_file_is_cut_to_its_later_half(tmp_path: Path) -> None:
    history = HistoryFile(tmp_path / "history")
    for number in range(MAX_HISTORY + 1):
        history.add(str(number))
    kept = [str(number) for number in range(MAX_HISTORY // 2 + 1, MAX_HISTORY + 1)]
    assert history.lines() == kept
    assert history.lines() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["history"]


def test_a_disk_that_refuses_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "folder", tmp_path / "no" / "such", tmp_path / "link"):
        HistoryFile(path).add("one")
        assert HistoryFile(path).lines() == []
    assert not (tmp_path / "elsewhere").exists()
