"""What a search looks for: whatever has the words has one of the forms, in the very bytes that are stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.core.wanted import Wanted
from chatlib.protocol.framing import quote

# With capitals one for one, without any, and what JSON escapes.
LETTERS = "abkKsS\"\\'äÖéÀøщШяΣσςιж猫語ñÑçğ1#."


@pytest.mark.parametrize(
    ("words", "text", "has"),
    [
        ("hello", "say HELLO to me", True),
        ("hello me", "Hello to me", True),
        ("hello you", "Hello to me", False),
        ("ELL", "hello", True),
        ("über", "ÜBERALL", True),
        ("ÜBER", "überall", True),
        ("привет", "ПРИВЕТ, мир", True),
        ("ΟΔΟΣ", "οδος", True),
        ("οδος", "ΟΔΟΣ", True),
        ("straße", "STRASSE", True),
        ("猫が", "黒い猫がいる", True),
        ('"quoted"', 'he said "Quoted"', True),
        (r"c:\dir", r"in C:\DIR\x", True),
        ("bob's", "Bob's", True),
        ("hello  hello", "hello", True),
        ("ßß", "SSSS", True),
        ("me hi", "m ehi", False),
    ],
)
def test_words_and_texts(words: str, text: str, has: bool) -> None:
    wanted = Wanted(words)
    assert wanted.in_texts([text]) is has
    assert not has or in_bytes(wanted, text)


def in_bytes(wanted: Wanted, text: str) -> bool:
    line = f'12345678 bob {{"event":"message","text":{quote(text)}}}\n'.encode().lower()
    return any(form in line for form in wanted.forms)


def test_words_may_be_in_several_texts() -> None:
    assert Wanted("one two").in_texts(["one", "Two"])
    assert not Wanted("onetwo").in_texts(["one", "two"])


@given(st.text(LETTERS, min_size=2, max_size=12), st.text(LETTERS, max_size=6), st.booleans())
def test_whatever_has_the_words_has_a_form(word: str, around: str, capitals: bool) -> None:
    wanted = Wanted(word)
    text = f"{around}{word.upper() if capitals else word.lower()}{around}"
    assert len(wanted.forms) <= 8
    if wanted.in_texts([text]):
        assert in_bytes(wanted, text)
    if "ς" not in word and "Σ" not in word:
        assert wanted.in_texts([text])


WORDS = st.lists(st.text("abä\"\\", min_size=2, max_size=4), min_size=1, max_size=3)


@given(WORDS, st.text("abABäÄ\"\\ ", max_size=20))
def test_all_words_must_occur(words: list[str], text: str) -> None:
    wanted = Wanted(" ".join(words))
    assert wanted.in_texts([text]) == all(word.lower() in text.lower() for word in words)
    assert not wanted.in_texts([text]) or in_bytes(wanted, text)


def test_the_longest_part_that_has_few_forms_is_looked_for() -> None:
    assert Wanted("a hello to").forms == (b"hello",)
    assert Wanted("Émile").forms == ("Émile".encode(), "émile".encode())
    assert len(Wanted("привет").forms) == 8 and all(len(form) == 6 for form in Wanted("привет").forms)
    assert Wanted('"').forms == (b'\\"',)
    assert Wanted("ßß").forms == (b'"event":"',), "there is no telling"
