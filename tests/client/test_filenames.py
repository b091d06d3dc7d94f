"""Names of files: what a sender may do with them, and what a disk gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.client.localfiles import fitted, free_names, part_name, safe_name
from chatlib.protocol.text import printable


@pytest.mark.parametrize(("name", "safe"), [
    ("report.pdf", "report.pdf"),
    ("../x", "x"),
    ("/etc/passwd", "passwd"),
    ("..\\..\\x.txt", "x.txt"),
    ("..", "file"),
    (".", "file"),
    ("", "file"),
    ("/", "file"),
    ("a/", "file"),
    (".bashrc", "bashrc"),
    ("\u200b.bashrc", "bashrc"),
    (" . .x", "x"),
    ("x. ", "x"),
    ("nul\x00byte", "nulbyte"),
    ("\x1b[31mred\x1b[0m.txt", "[31mred[0m.txt"),
    ("fdp.\u202efdp.exe", "fdp.fdp.exe"),
    ("CON", "_CON"),
    ("con.txt", "_con.txt"),
    ("Lpt1 .x.y", "_Lpt1 .x.y"),
    ("COM¹", "_COM¹"),
    ("console.txt", "console.txt"),
    ("com10", "com10"),
    ("Grüße 🎉.txt", "Grüße 🎉.txt"),
])  # fmt: skip
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_name_of_300_bytes_keeps_its_extension() -> None:
    assert safe_name("x" * 300 + ".pdf") == "x" * 251 + ".pdf"
    assert safe_name("ü" * 300 + ".tar.gz") == "ü" * 126 + ".gz"
    assert len(safe_name("." + "x" * 300).encode()) == 255
    assert safe_name("a." + "x" * 300) == ("a." + "x" * 300)[:255]


@given(st.text())
def test_any_text_becomes_a_safe_name(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= 255 and safe == printable(safe) == safe_name(safe)
    assert not set(safe) & set("/\\\0") and safe[0] != "."
    names = free_names(safe)
    several = [next(names) for _ in range(12)]
    assert len(set(several)) == 12
    assert all(0 < len(each.encode()) <= 255 for each in [*several, part_name(safe, "0" * 64)])
    assert part_name(safe, "ab" * 32).startswith(".") and part_name(safe, "ab" * 32).endswith(".abababababababab.part")


def test_free_names() -> None:
    names = free_names("report.pdf")
    assert [next(names) for _ in range(3)] == ["report.pdf", "report (2).pdf", "report (3).pdf"]
    assert fitted("x" * 300 + ".pdf", " (2)") == "x" * 247 + " (2).pdf"
