"""Lines broken at their blanks, by how wide they are drawn."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.terminal.width import display_width
from chatlib.terminal.wrapping import hanging, word_rows, wrapped

LINK = "https://example.com/a/path?with=query-and-dashes&more=1"


def rows(text: str, columns: int, hang: int = 2) -> list[str]:
    return [" " * row.indent + text[row.start : row.end] for row in wrapped(text, columns, hang)]


@pytest.mark.parametrize(("text", "columns", "shown"), [
    ("", 12, [""]),
    ("hello there", 12, ["hello there"]),
    ("hello there, you", 12, ["hello there,", "  you"]),
    ("hello   there", 12, ["hello", "  there"]),
    ("  a  b  c  d", 12, ["  a  b  c  d"]),
    ("  a  b  c  d  e", 12, ["  a  b  c  d", "  e"]),
    (f"see {LINK} or not", 40, ["see", LINK + " or not"]),
    (f"see {LINK} or not", 80, [f"see {LINK} or not"]),
    (f"please see {LINK} or not", 60, ["please see", f"  {LINK} or", "  not"]),
    (LINK, 12, [LINK]),
    (f"    {LINK}", 12, [LINK]),
    ("word-with-dashes stays", 12, ["word-with-dashes stays"]),
    ("中文中文中文中文", 12, ["中文中文中文", "  中文"]),
    ("中文，中文。中文", 6, ["中文，", "  中", "  文。", "  中文"]),
    ("「中文」「中文」", 10, ["「中文」", "  「中文」"]),
    (f"看{LINK}吧，好", 60, ["看", LINK + "吧，好"]),
    ("한국어 문장은 길다", 10, ["한국어 문", "  장은 길", "  다"]),
    ("👨\u200d👩\u200d👧👨\u200d👩\u200d👧", 8, ["👨\u200d👩\u200d👧", "  👨\u200d👩\u200d👧"]),
    ("e\u0301" * 10 + " x", 10, ["e\u0301" * 10, "  x"]),
])  # fmt: skip
def test_rows(text: str, columns: int, shown: list[str]) -> None:
    assert rows(text, columns) == shown


@pytest.mark.parametrize(("head", "columns", "indent"), [
    (13, 12, 2), (13, 40, 13), (21, 40, 2), (13, 80, 13), (40, 80, 40), (41, 80, 2), (60, 200, 60), (3, 2, 0),
    (3, 4, 1),
])  # fmt: skip
def test_the_indent_leaves_room_for_the_text(head: int, columns: int, indent: int) -> None:
    assert hanging(head, columns) == indent


PIECES = ["a", "words ", " ", "中", "字。", "「", "e\u0301", "👍🏽", "❤\ufe0f", "0123456789", LINK, "\u3000"]
texts = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@given(texts, st.integers(2, 100), st.integers(0, 20))
def test_nothing_is_lost_but_blanks_and_only_what_cannot_be_broken_is_too_wide(
    text: str, columns: int, hang: int
) -> None:
    found = wrapped(text, columns, min(hang, columns // 2))
    shown = "".join(text[row.start : row.end] for row in found)
    assert re.sub(r"[ \u3000]", "", shown) == re.sub(r"[ \u3000]", "", text)
    assert found == sorted(found)
    for row in found:
        if row.indent + display_width(text[row.start : row.end]) > columns:
            assert row.indent == 0, "what has no room behind an indent begins at the left edge"
            first = re.split(r"[ \u3000]", text[row.start : row.end].lstrip())[0]
            assert display_width(first) > columns or row.start == 0 or "://" in first


@given(texts, st.integers(2, 100))
def test_of_a_line_that_is_typed_nothing_is_left_out(text: str, columns: int) -> None:
    starts = word_rows(text, columns)
    assert starts[0] == 0 and starts == sorted(set(starts))
    assert all(display_width(text[a:b]) <= columns for a, b in zip(starts, [*starts[1:], len(text)], strict=True))
    for end in range(len(text)):
        row = word_rows(text[:end], columns)
        assert row[:-1] == starts[: len(row) - 1], "rows above the last one stay as they are while more is typed"


def test_a_long_text_is_no_burden() -> None:
    for text in ("a" * 4_096, "中" * 4_096, "a " * 2_048, "x://" * 1_024, "." * 4_096):
        assert wrapped(text, 80, 13) and word_rows(text, 80)
