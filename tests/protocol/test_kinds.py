"""Kinds of fields: the bounds of each, from both sides."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol import kinds
from chatlib.protocol.framing import decode, encode
from chatlib.protocol.kinds import MAX_INTEGER, Kind
from chatlib.protocol.scram import make_verifier

VERIFIER = str(make_verifier("pencil", 4096))

BOUNDS: list[tuple[Kind, list[object], list[object]]] = [
    (kinds.NAME, ["a", "x" * 32, "A-Z_0.9"], ["", "x" * 33, "a b", "é", 7, None, True, ["a"]]),
    (kinds.TITLE, ["a", "x" * 64, "3331", "..", "%2e", "!@#$%.?,"],
     ["", "x" * 65, "a b", "a-b", "a_b", "a/b", "é", "٣", "a\n", 7, None, ["a"]]),
    (kinds.WHO, ["ann", "@10.0.0.1", "10.0.0.1", "10.0.0.0/24", "::1", "2001:db8::/32", "0.0.0.0/0"],
     ["", "@", "a b", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "2001:db8::/129", "/24", "é", 7, None]),
    (kinds.DURATION, [1, 30.0, 86_400.0 * 10_000], [0, -1, 86_400.0 * 10_001, math.inf, math.nan, True, "10m", None]),
    (kinds.REASON, ["a", "x" * 200], ["", "x" * 201, "a\nb", "\x1b[0m", "\ud800", 7, None]),
    (kinds.REASON, ["2nd warning", "says 2h", "3-strike rule"],
     ["0s", "-5m", "1.5h spam", "1e9d", "2 hours", "10", " 7 x", "٣d", "9999999d", "3 Weeks", "3 strikes"]),
    (kinds.NUMBER, [1, 812, MAX_INTEGER], [0, -1, MAX_INTEGER + 1, 1.0, "1", True, None]),
    (kinds.DESTINATION, ["ann", "all", "x" * 32, "@ann", "#plans", "##", "#" + "x" * 64],
     ["", "@", "@@ann", "@#plans", "#", "#é", "#a b", "what?", "x" * 33, "#" + "x" * 65, "#a\n", 7, None]),
    (kinds.WORDS, ["hi", "two words", "  hi ", "é" * 200, " ".join(["hi"] * 16), "\"\\"],
     ["", " ", "a", "a word", "x" * 201, " ".join(["hi"] * 17), "a\nb", "hi\x1b[2J", 7, None]),
    (kinds.PLACE, ["ann", "all", "x" * 32, "#plans", "##", "#" + "x" * 64],
     ["", "#", "#é", "#a b", "what?", "x" * 33, "#" + "x" * 65, "#a\n", 7, None]),
    (kinds.TEXT, ["a", "x" * 4_096, "😀" * 4_096, " ", "\u2028", "👨\u200d⚕\ufe0f", "a" + "\u0301" * 16],
     ["", "x" * 4_097, "a\nb", "\x1b[0m", "\ud800", "a" + "\u0301" * 17, 7, None]),
    (kinds.PRINT, [True], [False, 1, "--print", None]),
    (kinds.PORT, [0, 1, 65_535], [-1, 65_536, 1.0, "1", True, None]),
    (kinds.COUNT, [0, 1, MAX_INTEGER], [-1, MAX_INTEGER + 1, 1.0, "1", True, False, None, 10**400]),
    (kinds.SEQ, [0, 812, MAX_INTEGER], [-1, MAX_INTEGER + 1, 1.5, True, "812"]),
    (kinds.MINUTES, [0.001, 1, 90, 1_000_000], [0, -1, 1_000_000.5, math.inf, math.nan, True, "5", None, 10**400]),
    (kinds.KEY, ["k", "x" * 64, "é"], ["", "x" * 65, "a\tb", "\ud800", 7]),
    (kinds.CLIENT, ["k", "x" * 64], ["", "x" * 65, "\n", None]),
    (kinds.ID, ["", "x" * 64, 0, -7, MAX_INTEGER, -MAX_INTEGER],
     ["x" * 65, 1.0, True, None, [], {}, MAX_INTEGER + 1, -MAX_INTEGER - 1, "\x00", "\ud800"]),
    (kinds.SCRAM, ["n,,n=a,r=b", "x" * 1_024], ["", "x" * 1_025, "é", "a\n", 7, None]),
    (kinds.VERIFIER, [VERIFIER], ["", "pencil", VERIFIER + "x", VERIFIER.replace("4096", "4095"), "x" * 2_000, 7]),
    (kinds.FILE_NAME, ["a.txt", "x" * 255, "é" * 127, "two words", "..."],
     ["", "x" * 256, "é" * 128, ".", "..", "a/b", "a\\b", "a\n", "\ud800", 7, None]),
    (kinds.NEW_FILE_NAME, ["a.txt", "x" * 255, "é" * 127, "e\u0301", "文 书"],
     ["", "x" * 256, ".", "a/b", "a\n", "a\u200bb", "می\u200cخواهم", "❤\ufe0f", "\u202egnp.exe",
      "e" + "\u0301" * 17, "\ud800", 7, None]),
    (kinds.SHA256, ["0" * 64, "af" * 32], ["", "0" * 63, "0" * 65, "AF" * 32, "g" * 64, "٠" * 64, 7]),
    (kinds.TICKET, ["t", "x" * 64], ["", "x" * 65, "\n", 7]),
    (kinds.PATHS, ["/tmp/a b"], [7, None]),
    (kinds.PROTOCOL, [1], [0, 2, -1, True, 1.0, "1", None]),
    (kinds.FLAG, [True, False], [0, 1, "true", None]),
    (kinds.LINE, ["", "  ", "say hé", "x" * 16_384], ["x" * 16_385, "a\nb", "\x03", "\ud800", 7, None]),
    (kinds.AMOUNT, [1, 812, 10**12], [0, -1, 10**12 + 1, 1.0, 1.5, "1", True, None, 10**400]),
    (kinds.MEMO, ["a", "x" * 200, "😀" * 200, "a" + "\u0301" * 16],
     ["", "x" * 201, "a\nb", "\x1b[0m", "\ud800", "a" + "\u0301" * 17, 7, None]),
    (kinds.CHEQUE, ["cheque/1", "x" * 400], ["", "x" * 401, "a\nb", "\ud800", 7, None]),
    (kinds.WORD, ["", "word"], [7, None]),
    (kinds.SWITCH, ["on", "off"], ["ON", "", True, 1, None]),
    (kinds.VALUE, ["", "some words"], [7, None]),
    (kinds.JSON, [True], [False, 1, "--json", None]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "good", "bad"), BOUNDS, ids=[kind.name for kind, _, _ in BOUNDS])
def test_bounds(kind: Kind, good: list[object], bad: list[object]) -> None:
    for value in good:
        assert kind.check(value) is None, value
    for value in bad:
        assert kind.check(value) == kind.allowed, value


def test_every_kind_is_tried_here() -> None:
    assert {id(kind) for kind in vars(kinds).values() if isinstance(kind, Kind)} == {id(kind) for kind, _, _ in BOUNDS}


USUAL: list[tuple[Kind, object]] = [
    (kinds.NAME, "columbia"), (kinds.TITLE, "plans"), (kinds.TEXT, "Hello, how are you? {}"), (kinds.KEY, "k-1"),
    (kinds.ID, 7), (kinds.AMOUNT, 250), (kinds.MEMO, "for tea"),
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70), st.lists, max_leaves=3
)


def usual(kind: Kind, value: object) -> bool:
    return bool(eval(kind.usual, {"value": value}))


def test_what_is_usual_is_accepted() -> None:
    assert {id(kind) for kind, _ in USUAL} == {id(kind) for kind, _, _ in BOUNDS if kind.usual != "False"}
    for kind, value in USUAL:
        assert usual(kind, value) and kind.accepts(value)
    for kind, _, bad in BOUNDS:
        assert not any(usual(kind, value) for value in (*bad, "x" * 5_000)), kind.name


@given(JSON | st.text(st.characters(codec="ascii"), max_size=70) | st.text("aZ09_.-é²٣ 　\x7f", max_size=70))
def test_nothing_is_usual_that_is_not_accepted(value: object) -> None:
    for kind, _, _ in BOUNDS:
        assert usual(kind, value) <= kind.accepts(value), kind.name


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (kinds.COUNT, "0", 0), (kinds.COUNT, "25", 25), (kinds.MINUTES, "5", 5), (kinds.MINUTES, "0.5", 0.5),
        (kinds.NAME, "Bob", "Bob"), (kinds.PLACE, "@123", "123"), (kinds.PLACE, "@ann", "ann"),
        (kinds.TEXT, "some words", "some words"),
    ],
)  # fmt: skip
def test_a_typed_word_becomes_a_value(kind: Kind, word: str, value: object) -> None:
    parsed = kind.parse(word)
    assert (parsed, type(parsed)) == (value, type(value))
    assert kind.accepts(parsed)


@given(st.sampled_from([kind for kind, _, _ in BOUNDS]), st.text(max_size=20) | st.from_regex(r"-?[0-9._e]{1,9}"))
def test_what_is_typed_is_refused_or_arrives_as_it_was_typed(kind: Kind, word: str) -> None:
    """Whatever is typed: what the kind accepts goes over the wire, and is accepted there, too."""
    numbers = (kinds.COUNT, kinds.NUMBER, kinds.SEQ, kinds.MINUTES, kinds.AMOUNT, kinds.PORT)
    try:
        value = kind.parse(word)
    except ValueError:
        assert kind in numbers or (kind is kinds.PLACE and word[-1] in "0123456789."), "a text is always one"
        return
    if kind in numbers:
        assert value == float(word)
    elif kind is kinds.SWITCH:
        assert value == word.lower()
    elif kind is not kinds.FILE_NAME:
        assert value == (word.removeprefix("@") if kind is kinds.PLACE and kind.accepts(value) else word)
    if kind.accepts(value):
        arrived = decode(encode({"value": value})[:-1])["value"]
        assert (arrived, type(arrived)) == (value, type(value))
        assert kind.accepts(arrived)
        assert kind not in numbers or 0 <= arrived <= MAX_INTEGER  # type: ignore[operator]


@pytest.mark.parametrize(("word", "name"), [('"a b.txt"', "a b.txt"), ("'a'", "a"), ("'a\"", "'a\""), ("'", "'")])
def test_a_file_name_may_be_quoted(word: str, name: str) -> None:
    assert kinds.FILE_NAME.parse(word) == name
