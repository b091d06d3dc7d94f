"""Names: what a sender may do with them, what a disk gets, what is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.client.filenames import (
    BadQuotes,
    fitted,
    free_names,
    last_word,
    part_name,
    quoted,
    readable_size,
    safe_name,
    split_words,
)
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


@pytest.mark.parametrize(("size", "text"), [
    (0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_000, "1.0 kB"), (1_234_567, "1.2 MB"), (99_960, "100 kB"),
    (999_499, "999 kB"), (999_500, "1.0 MB"), (12.5e9, "12.5 GB"), (1 << 30, "1.1 GB"), (10**20, "100000 PB"),
    (None, "of unknown size"), ("7", "of unknown size"), (-1, "of unknown size"),
])  # fmt: skip
def test_readable_sizes(size: object, text: str) -> None:
    assert readable_size(size) == text


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\u2028\u2029"),
                        min_size=1)))  # fmt: skip
def test_quoted_words_come_back(words: list[str]) -> None:
    line = " ".join(map(quoted, words))
    assert split_words(line) == words
    if words:
        start, word, quote = last_word(line)
        assert (line[start:], word, quote) == (quoted(words[-1]), words[-1], "")


def test_an_open_quote() -> None:
    with pytest.raises(BadQuotes, match="A quote is not closed"):
        split_words("it's")
    assert last_word("file bob 'my re") == (9, "my re", "'")
    assert last_word('file bob "my re') == (9, "my re", '"')
    assert last_word("file bob 'a b'/c") == (9, "a b/c", "")
    assert last_word("file bob ") == (9, "", "")
