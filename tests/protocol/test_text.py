"""Names, texts, and what a terminal may be shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol.text import (
    RESERVED,
    counted,
    duration,
    fold,
    forbidden,
    heaped,
    is_name,
    printable,
    unfinished,
    visible,
)


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


@pytest.mark.parametrize("number, said", [(0, "0 users"), (1, "1 user"), (2, "2 users"), (10**6, "1,000,000 users")])
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
            assert visible(f"ل{chr(code)}ل") == "لل", f"U+{code:04X}"


@pytest.mark.parametrize("text", [
    "می\u200cخواهم کتاب\u200cها را", "PDF\u200cها", "۵\u200cتا", "۱۳۴۵ ه\u200d", "(ه\u200d)",  # Persian
    "क्\u200dष", "क्\u200cष", "র\u200d্য", "ශ්\u200dරී ලංකා", "ബസ്\u200c വന്നു", "ന്\u200d", "ಬಸ್\u200c, ಬಸ್\u200c",  # Indic
    "👨\u200d⚕\ufe0f", "👩🏽\u200d⚕\ufe0f ok", "👨\u200d👩\u200d👧\u200d👦", "🏳\ufe0f\u200d🌈!",
    "❤\ufe0f\u200d🔥", "I ❤\ufe0f U",
    "1\ufe0f\u20e3 #\ufe0f\u20e3", "👁\ufe0f\u200d🗨\ufe0f", "🧔🏻\u200d♂\ufe0fx",
    "™\ufe0f ‼\ufe0f ↔\ufe0f ℹ\ufe0f ㊗\ufe0f 〰\ufe0f",
    "a" + "\u0301" * 16 + "b" + "\u0301" * 16,
])  # fmt: skip
def test_scripts_and_emoji_survive_whole(text: str) -> None:
    assert printable(text) == text == unfinished(text)
    assert not forbidden(text) and not heaped(text)


@pytest.mark.parametrize(("text", "shown"), [
    ("\u200cا", "ا"), ("\ufe0f❤", "❤"), (" \u200dا", " ا"), ("\u3000\u200c中", "\u3000中"),  # behind nothing
    ("face\u200dbook", "facebook"), ("a\u200d", "a"), ("a\u200c b", "a b"), ("a\ufe0f1\ufe0f2+\ufe0f", "a12+"),
    ("ا\u200c\u200cب", "ا\u200cب"), ("😀\u200d\u200c\u200d😀", "😀\u200d😀"),  # one at a time
    ("ا\u200d\ufe0fب", "ا\u200dب"),
    ("😀\u200d", "😀"), ("❤\ufe0f\u200d ", "❤\ufe0f "), ("1\ufe0f\u200da", "1a"), ("中\ufe0f", "中"),
    ("ا\u2060\u200c\u202eب", "ا\u200cب"), ("\u2060\u200cب", "ب"), ("\u200b\u200c\u200d\ufe0f", ""),
    ("a" + "\u0301" * 17 + "b", "a" + "\u0301" * 16 + "b"), ("a" + "\u0301\u2060" * 99, "a" + "\u0301" * 16),
    ("ا" + "\u064b\u200d" * 99 + "ب", "ا" + "\u064b\u200d" * 8 + "ب"),
])  # fmt: skip
def test_joiners_that_join_nothing_and_heaps_of_marks_are_not_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert not set("\u200c\u200d\ufe0f") & set(visible(text))


def test_heaps_of_marks() -> None:
    assert not heaped("e\u0301" * 4_000) and not heaped("😀" * 4_000) and not heaped("\u0301" * 16)
    assert all(heaped("e" * before + "\u0301" * 17 + "e" * after) for before in range(40) for after in range(40))
    assert heaped("x" * 4_000 + "\u20dd" * 17) and heaped("क" + "\u093f\u200d" * 9)


@given(st.lists(st.sampled_from("aا1#क्❤😀👩🏽 \u200c\u200d\ufe0f\u0301\u20e3\u2060\u3000+中")).map("".join))
def test_what_is_shown_is_the_same_in_any_pieces(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown and not heaped(shown)
    assert shown.replace("\u200c", "").replace("\u200d", "").replace("\ufe0f", "") == visible(shown)
    assert visible(visible(text)) == visible(text)
    begun = ""
    for char in text:
        begun = unfinished(begun + char)
    assert begun == unfinished(text) and printable(begun) == shown


@pytest.mark.parametrize(("seconds", "said"), [
    (1, "1 second"), (0.5, "0.5 seconds"), (59, "59 seconds"), (60.0, "1 minute"), (90, "90 seconds"),
    (1_800.0, "30 minutes"), (3_600, "1 hour"), (7_200, "2 hours"), (5_400, "90 minutes"), (10.0, "10 seconds"),
])  # fmt: skip
def test_times_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@given(st.text())
def test_printable_never_raises_and_leaves_nothing_that_acts(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not forbidden(shown)
    assert not any(unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
                   for c in shown)  # fmt: skip
    shown.encode()
