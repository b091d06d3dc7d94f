"""Names, texts, and what a terminal may be shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol.text import RESERVED, counted, fold, forbidden, is_name, printable


@pytest.mark.parametrize("name", ["a", "facebook", "csee4119", "A.b_c-d", "-", "..", "0", "x" * 32, "de-register"])
def test_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "x" * 33, "two words", " a", "a ", "a\n", "a\x00", "ümlaut", "a,b", "a=b", "a/b", "a\\b", "a@b", "$a", "名",
     "\u212a", "ｆ", "a\u200b", "\u0661"],
)  # fmt: skip
def test_no_names(name: str) -> None:
    assert not is_name(name)


def test_names_are_unique_without_regard_to_case() -> None:
    assert fold("FaceBook") == fold("facebook") == "facebook"


def test_the_reserved_names() -> None:
    assert {"system", "all", "admin", "register", "de-register", "quit"} == RESERVED
    assert all(name == fold(name) and is_name(name) for name in RESERVED)


CONTROLS = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cc"]


def test_every_control_character_and_lone_surrogate_is_forbidden() -> None:
    assert len(CONTROLS) == 65
    for character in [*CONTROLS, "\ud800", "\udbff", "\udc00", "\udfff"]:
        assert forbidden(character)
        assert forbidden(f"before {character} after")


@pytest.mark.parametrize(
    "text", ["", "plain", "grüße", "名前", "😀", "a\u0301", "\xa0", "👨\u200d👩", "\u202e", "\ufeff"]
)
def test_what_is_not_forbidden(text: str) -> None:
    assert not forbidden(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("grüße, 名前 😀", "grüße, 名前 😀"),
        ("\x1b[2Jgone", "[2Jgone"),
        ("\x1b]0;title\x07", "]0;title"),
        ("\x9b31mred", "31mred"),
        ("over\rwritten\x08", "overwritten"),
        ("a\nb\tc", "abc"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\u2066isolate\u2069", "isolate"),
        ("\u200eleft\u200fright\u061c", "leftright"),
        ("fa\u200bce\u200cbo\u200dok\u2060\ufeff", "facebook"),
        ("soft\xadhyphen", "softhyphen"),
        ("\u2028line\u2029paragraph", "lineparagraph"),
        ("tag\U000e0041\U000e007f", "tag"),
        ("lone \ud800surrogate", "lone surrogate"),
        ("a\u0301", "a\u0301"),  # combining characters stay
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("number, said", [(0, "0 users"), (1, "1 user"), (2, "2 users"), (1_000_000, "1000000 users")])
def test_a_number_and_what_it_counts(number: int, said: str) -> None:
    assert counted(number, "user") == said


# Unicode's Default_Ignorable_Code_Point, as of 15.1: what is drawn as nothing at all.
IGNORABLE = [
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
]  # fmt: skip


def test_nothing_that_cannot_be_seen_is_shown() -> None:
    for first, last in IGNORABLE:
        for code in (first, last):
            assert printable(f"a{chr(code)}b") == "ab", f"U+{code:04X}"


@given(st.text())
def test_printable_never_raises_and_leaves_nothing_that_acts(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not forbidden(shown)
    assert not any(unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
                   for c in shown)  # fmt: skip
    shown.encode()
