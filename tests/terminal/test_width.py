"""What is typed and what it does, in columns of any width."""

from __future__ import annotations

import pytest

from chatlib.terminal.width import explained


@pytest.mark.parametrize("columns", [10, 12, 40, 71, 72, 200])
def test_what_is_explained_is_broken_at_blanks_however_narrow_the_window_is(columns: int) -> None:
    text = "log in as this user, where the command line names none"
    lines = explained("user (not set)", text, 20, columns)
    assert lines[0][0].rstrip() == "user (not set)"
    assert " ".join(line.strip() for _, line in lines).strip() == text
    assert all(len(head + line) <= columns for head, line in lines[1:])
