"""Framing: every stream is fed whole, byte by byte, in random pieces, and with a tail; always the same lines."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol.framing import (
    MAX_LINE,
    BadLine,
    JsonLines,
    LineBuffer,
    LineTooLong,
    decode,
    decode_request,
    dumps,
    encode,
    quote,
)

STREAMS = [
    (b"", []),
    (b"\n", [b""]),
    (b"one\n", [b"one"]),
    (b"one\r\n", [b"one"]),
    (b"one\ntwo\nthree\n", [b"one", b"two", b"three"]),
    (b"one\r\n\r\n\ntwo\n", [b"one", b"", b"", b"two"]),
    (b"a\rb\n", [b"a\rb"]),  # only the "\r" before "\n" belongs to the end
    (b"a\r\r\n", [b"a\r"]),
    ("grüße\n→\n".encode(), ["grüße".encode(), "→".encode()]),
    (b"\xff\xfe\x00\n", [b"\xff\xfe\x00"]),
]
TAILS = [b"", b"t", b"half a line", b"half\r"]


def in_pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(bounds)]


def fed(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    buffer = LineBuffer()
    lines = [line for piece in pieces for line in buffer.feed(piece)]
    return lines, bytes(buffer._part)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(("stream", "lines"), STREAMS)
def test_whole_byte_by_byte_and_with_a_tail(stream: bytes, lines: list[bytes], tail: bytes) -> None:
    whole = stream + tail
    assert fed([whole]) == (lines, tail)
    assert fed([bytes([byte]) for byte in whole]) == (lines, tail)
    for cut in range(len(whole) + 1):
        assert fed([whole[:cut], whole[cut:]]) == (lines, tail)


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.lists(st.integers(0)), st.booleans())
def test_random_splits(lines: list[bytes], cuts: list[int], windows: bool) -> None:
    end = b"\r\n" if windows else b"\n"
    stream = b"".join(line + end for line in lines)
    wanted = lines if windows else [line.removesuffix(b"\r") for line in lines]
    assert fed(in_pieces(stream + b"tail", cuts)) == (wanted, b"tail")


def test_a_half_line_in_small_pieces_costs_its_bytes_and_no_more() -> None:
    buffer = LineBuffer()
    tracemalloc.start()
    try:
        for _ in range(32_000):
            buffer.feed(b"xy")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100_000
    assert buffer.feed(b"\n") == [b"xy" * 32_000]


def test_a_request_with_a_field_given_twice_is_refused() -> None:
    line = b'{"action":"message","to":"bob","text":"a\\u0007b","text":"x"}'
    assert decode(line)["text"] == "x", "readers of JSON take the last one: no check would see the first"
    with pytest.raises(BadLine, match='^Field "text" is given twice.$'):
        decode_request(line)
    assert decode_request(b'{"a":1,"b":[{"a":1,"a":2}]}')["a"] == 1
    for wrong in (b"[]", b"7", b'"x"', b"{", b"", b"{} {}"):
        with pytest.raises(BadLine):
            decode_request(wrong)


# Bounds: a line may have 65,536 bytes with its "\n".

FEEDS = {
    "whole": lambda stream: [stream],
    "in two": lambda stream: [stream[:40_000], stream[40_000:]],
    "the end alone": lambda stream: [stream[:-1], stream[-1:]],
    "as a socket gives it": lambda stream: [stream[i : i + 4_096] for i in range(0, len(stream), 4_096)],
    "byte by byte": lambda stream: [stream[i : i + 1] for i in range(len(stream))],
}


@pytest.mark.parametrize("how", FEEDS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [65_535, 65_536])
def test_a_line_at_the_limit_is_taken(size: int, end: bytes, how: str) -> None:
    line = b"x" * (size - len(end))
    assert fed(FEEDS[how](line + end)) == ([line], b"")


@pytest.mark.parametrize("how", FEEDS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_over_the_limit_is_refused(end: bytes, how: str) -> None:
    with pytest.raises(LineTooLong):
        fed(FEEDS[how](b"x" * (65_537 - len(end)) + end))


@pytest.mark.parametrize("how", FEEDS)
def test_a_line_without_end_is_refused_as_soon_as_it_cannot_fit(how: str) -> None:
    assert fed(FEEDS[how](b"x" * 65_535)) == ([], b"x" * 65_535)
    with pytest.raises(LineTooLong):
        fed(FEEDS[how](b"x" * 65_536))


@pytest.mark.parametrize("before", [b"", b"short\n", b"short\n" * 20_000])
def test_an_over_long_line_behind_others(before: bytes) -> None:
    assert len(fed([before + b"x" * 65_535 + b"\nnext\n"])[0]) == before.count(b"\n") + 2
    with pytest.raises(LineTooLong):
        fed([before + b"x" * 65_536 + b"\nnext\n"])
    with pytest.raises(LineTooLong):
        fed([before, b"x" * 65_536 + b"\n"])


def test_many_short_lines_in_one_piece_are_not_a_long_line() -> None:
    assert len(fed([b"short\n" * 50_000])[0]) == 50_000


# JSON.


def test_an_object_comes_out() -> None:
    assert decode('{"action":"message","id":7,"text":"grüße"}'.encode()) == {
        "action": "message", "id": 7, "text": "grüße",
    }  # fmt: skip
    assert decode(b' \t{ "a" : [1, 2.5, null, true, {"b": "\\u00e9\\ud83d\\ude00"}] } \r') == {
        "a": [1, 2.5, None, True, {"b": "é😀"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"", "The line is not JSON (character 1)."),
        (b"hello", "The line is not JSON (character 1)."),
        (b'{"a":1', "not JSON"),
        (b'{"a" 1}', "The line is not JSON (character 6)."),
        (b"{'a':1}", "not JSON"),
        (b'{"a":"tab\there"}', "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"[]", "not a JSON object"),
        (b"7", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"true", "not a JSON object"),
        (b"{} {}", "goes on after its JSON value (character 3)"),
        (b'{"a":1}x', "goes on after its JSON value (character 8)"),
        (b"[1]2", "goes on after"),
        (b'{"a":NaN}', "NaN is not a JSON number."),
        (b'{"a":Infinity}', "Infinity is not a JSON number."),
        (b'{"a":-Infinity}', "-Infinity is not a JSON number."),
        (b'{"a":01}', "not JSON"),
        (b'{"a":\xff}', "The line is not UTF-8 (byte 6)."),
        (b"\xc3(", "The line is not UTF-8 (byte 1)."),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),  # a surrogate, encoded
        (b'{"a":"\xc0\xaf"}', "not UTF-8"),  # an over-long "/"
        (b"\xef\xbb\xbf{}", "not JSON"),  # a byte order mark
        (b"\x00", "not JSON"),
    ],
)
def test_what_is_no_object_is_refused_with_a_sentence(line: bytes, sentence: str) -> None:
    with pytest.raises(BadLine, match="^The line|^[-N I]") as refused:
        decode(line)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"a":['])
def test_deep_nesting_is_refused_without_ending_anything(opening: bytes) -> None:
    with pytest.raises(BadLine):
        decode(opening * (MAX_LINE // len(opening) - 1))
    with pytest.raises(BadLine):
        decode(b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}")


def test_huge_numbers() -> None:
    assert decode(b'{"a":' + b"9" * 400 + b"}")["a"] == int("9" * 400)
    with pytest.raises(BadLine):  # longer than Python converts, for good reason
        decode(b'{"a":' + b"9" * 60_000 + b"}")
    assert decode(b'{"a":1e999}')["a"] == math.inf  # no field takes it


def test_lone_surrogates_are_let_through_for_the_fields_to_refuse() -> None:
    assert decode(b'{"a":"\\ud800"}') == {"a": "\ud800"}


@given(st.binary(max_size=200))
def test_decode_raises_nothing_but_bad_line(line: bytes) -> None:
    try:
        value = decode(line)
    except BadLine as wrong:
        assert str(wrong).endswith(".")
    else:
        assert isinstance(value, dict)


@given(st.text(alphabet='{}[]",:\\u019dDaA .eE+-ntf\t', max_size=60))
def test_decode_agrees_with_json(text: str) -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        wanted = json.loads(text, parse_constant=refuse)
    except ValueError:
        wanted = None
    if isinstance(wanted, dict):
        assert decode(text.encode(errors="replace")) == wanted
    else:
        with pytest.raises(BadLine):
            decode(text.encode(errors="replace"))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), JSON_VALUES, max_size=5))
def test_what_is_encoded_is_one_line_and_comes_back(message: dict[str, object]) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == message
    assert json.loads(line) == message
    assert dumps(message) == json.dumps(message, ensure_ascii=False, separators=(",", ":"))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quote_makes_a_json_string(text: str) -> None:
    assert json.loads(quote(text)) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="."):
        dumps({"a": value})


def test_what_is_no_json_is_not_written() -> None:
    with pytest.raises(TypeError):
        dumps({"a": {1, 2}})


# The wire of JSON lines.


def _messages(pieces: Iterable[bytes], at_once: int = 1_000) -> list[bytes]:
    """What a wire that is fed these pieces hands out, `at_once` at a time."""
    wire, messages = JsonLines(), []
    for piece in pieces:
        wire.feed(piece)
        while wire.waiting:
            messages += wire.cut(min(at_once, wire.waiting))
    return messages


def test_a_wire_hands_out_the_same_however_its_bytes_come() -> None:
    data = b'{"a":1}\r\n\n{"b":2}\n  \n{"tail'
    whole = [b'{"a":1}\r', b"", b'{"b":2}', b"  "]
    assert _messages([data]) == _messages(data[i : i + 1] for i in range(len(data))) == whole
    for cut in range(len(data)):
        assert _messages([data[:cut], data[cut:]], 1) == whole


def test_what_is_put_back_comes_next() -> None:
    wire = JsonLines()
    wire.feed(b"a\nb\nc\nd")
    assert wire.waiting == 3 and wire.cut(3) == [b"a", b"b", b"c"]
    wire.put_back([b"b", b"c"])
    wire.feed(b"d\n")
    assert wire.waiting == 3 and wire.cut(2) == [b"b", b"c"] and wire.cut(1) == [b"dd"]


def test_the_rest_of_a_wire_is_every_byte_that_was_not_handed_out() -> None:
    wire = JsonLines()
    wire.feed(b"a\nb\nc")
    assert wire.cut(1) == [b"a"] and wire.unfinished() == 1
    assert wire.rest() == b"b\nc" and wire.rest() == b"" and wire.waiting == wire.unfinished() == 0
