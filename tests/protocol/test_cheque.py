"""Cheques: one line for each, and nobody but the payer and the server writes it."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatlib.protocol.cheque import (
    MAX_AMOUNT,
    MAX_LINE,
    VALID,
    BadCheque,
    Cheque,
    cheque_key,
    expiry_of,
    fingerprint,
    fitting_memo,
    mended,
    new_number,
    parse,
    signed,
    write,
)
from chatlib.protocol.scram import make_verifier
from chatlib.protocol.text import MAX_MEMO

KEY = cheque_key(bytes(range(32)))
CHEQUE = Cheque("ann", "Bob", 250, "00112233445566ff", 1_800_000_000, "for the café")
LINE = write(CHEQUE, KEY)

NAMES = st.from_regex("[A-Za-z0-9_.-]{1,32}", fullmatch=True)
MEMOS = st.one_of(st.just(""), st.text(max_size=MAX_MEMO)).map(fitting_memo)
CHEQUES = st.builds(
    Cheque,
    payer=NAMES,
    payee=NAMES,
    amount=st.integers(1, MAX_AMOUNT),
    number=st.from_regex("[0-9a-f]{16}", fullmatch=True),
    expiry=st.integers(1, 10**12 - 1),
    memo=MEMOS,
)


def test_a_cheque_is_this_line() -> None:
    key = hmac.digest(b"k" * 32, b"chatlib cheque 1", hashlib.sha256)
    mac = hmac.digest(key, b"cheque/1 ann bob 12 0123456789abcdef 1800000000 rent", hashlib.sha256).hex()
    line = f"cheque/1 ann bob 12 0123456789abcdef 1800000000 {mac} rent"
    assert write(Cheque("ann", "bob", 12, "0123456789abcdef", 1_800_000_000, "rent"), cheque_key(b"k" * 32)) == line


def test_without_a_memo_nothing_stands_behind_the_mac() -> None:
    line = write(replace(CHEQUE, memo=""), KEY)
    assert line.count(" ") == 6
    assert parse(line) == replace(CHEQUE, memo="")
    with pytest.raises(BadCheque):
        parse(line + " ")


@given(CHEQUES, st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read(cheque: Cheque, key: bytes) -> None:
    line = write(cheque, key)
    assert len(line) <= MAX_LINE
    assert parse(line) == cheque
    assert signed(line, key)


@given(st.text(max_size=MAX_LINE))
def test_no_text_is_more_than_refused(text: str) -> None:
    for line in (text, "cheque/1 " + text, LINE + text, LINE[:-1] + text):
        try:
            cheque = parse(line)
        except BadCheque:
            continue
        assert signed(line, KEY) == (line == LINE)
        assert write(cheque, KEY).split()[:6] == line.split()[:6]


@given(CHEQUES, CHEQUES)
def test_a_mac_is_of_one_cheque_alone(one: Cheque, other: Cheque) -> None:
    assume(one != other)
    mac = write(one, KEY).split(" ")[6]
    words = write(other, KEY).split(" ")
    words[6] = mac
    assert not signed(" ".join(words), KEY)


@given(CHEQUES, st.data())
def test_one_character_changed_added_or_taken_away(cheque: Cheque, data: st.DataObject) -> None:
    line = write(cheque, KEY)
    place = data.draw(st.integers(0, len(line) - 1))
    char = data.draw(st.one_of(st.characters(), st.sampled_from("0123456789abcdef ABC\t\n")))
    for altered in (line[:place] + char + line[place + 1 :], line[:place] + char + line[place:],
                    line[:place] + line[place + 1 :], line + char, char + line):  # fmt: skip
        if altered != line:
            assert not passes(altered)


def test_each_character_of_a_cheque_is_covered() -> None:
    for place, char in enumerate(LINE):
        for other in "0", "1", "f", "F", " ", "x", "\u0660", "\u200d", "\n", "":
            if other != char:
                assert not passes(LINE[:place] + other + LINE[place + 1 :]), (place, other)
    for place in range(len(LINE) - 1):
        if LINE[place] != LINE[place + 1]:
            assert not passes(LINE[:place] + LINE[place + 1] + LINE[place] + LINE[place + 2 :]), place


@pytest.mark.parametrize(
    "change",
    [
        {"payer": "eve"},
        {"payee": "eve"},
        {"payee": "bob"},
        {"amount": 2_500},
        {"number": "00112233445566fe"},
        {"expiry": CHEQUE.expiry + 1},
        {"memo": ""},
        {"memo": "for the caf"},
        {"memo": "for the cafe\u0301"},
    ],
)
def test_an_altered_field_is_not_what_was_signed(change: dict[str, object]) -> None:
    words = LINE.split(" ")
    altered = write(replace(CHEQUE, **change), bytes(32)).split(" ")  # type: ignore[arg-type]
    assert not signed(" ".join([*altered[:6], words[6], *altered[7:]]), KEY)


def passes(line: str) -> bool:
    try:
        return signed(line, KEY)
    except BadCheque:
        return False


def test_another_key_signs_something_else() -> None:
    assert signed(LINE, KEY)
    assert not signed(LINE, cheque_key(bytes(32)))
    assert not signed(LINE, bytes(range(32)))  # the ServerKey itself


@pytest.mark.parametrize(
    "line",
    [
        "",
        "cheque/1",
        LINE.replace("cheque/1", "cheque/2"),
        LINE.replace(" 250 ", " 0 "),
        LINE.replace(" 250 ", " 0250 "),
        LINE.replace(" 250 ", " +250 "),
        LINE.replace(" 250 ", " 2.5 "),
        LINE.replace(" 250 ", " 2_5 "),
        LINE.replace(" 250 ", f" {MAX_AMOUNT + 1} "),
        LINE.replace("ann", "*"),
        LINE.replace("ann", "a" * 33),
        LINE.replace("66ff", "66FF"),
        LINE.replace("1800000000", "01800000000"),
        LINE.replace(" ", "  ", 1),
        LINE.replace(" the ", "  the "),
        LINE.replace(" the ", "\u00a0the "),
        " " + LINE,
        LINE + " ",
        LINE + "\n",
        LINE + "\u202e",
        LINE + "m" * MAX_MEMO,
        LINE + "m" * 10_000,
        LINE + "e" + "\u0301" * 17,
        LINE + "\ud800",
    ],
)
def test_what_is_written_otherwise_is_no_cheque(line: str) -> None:
    with pytest.raises(BadCheque):
        parse(line)


@pytest.mark.parametrize(
    "change",
    [
        {"payer": ""},
        {"payer": "a b"},
        {"payee": "*"},
        {"amount": 0},
        {"amount": -1},
        {"amount": MAX_AMOUNT + 1},
        {"amount": True},
        {"amount": 1.0},
        {"number": "1"},
        {"expiry": 0},
        {"expiry": 1.5},
        {"memo": " x"},
        {"memo": "x  y"},
        {"memo": "x\ny"},
        {"memo": "x\u200by"},
        {"memo": "\ud800"},
        {"memo": "m" * (MAX_MEMO + 1)},
        {"payee": "bob 5", "amount": ""},
    ],
)
def test_what_no_cheque_may_say_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(BadCheque):
        write(replace(CHEQUE, **change), KEY)  # type: ignore[arg-type]


@given(st.text(max_size=MAX_MEMO))
def test_any_text_can_be_made_to_fit_a_memo(text: str) -> None:
    memo = fitting_memo(text)
    assert fitting_memo(memo) == memo


@given(CHEQUES, st.data())
def test_a_line_that_was_broken_at_blanks_is_mended(cheque: Cheque, data: st.DataObject) -> None:
    line = write(cheque, KEY)
    blanks = st.sampled_from([" ", "\n", "\r\n", "\n    ", "  "])
    broken = "".join(data.draw(blanks) if char == " " else char for char in line)
    assert mended(f" {broken}\n") == line


def test_a_new_password_is_a_new_key_even_when_it_is_the_same_word() -> None:
    one, other = (make_verifier("secret", 4096) for _ in range(2))
    assert cheque_key(one.server_key) != cheque_key(other.server_key)
    assert fingerprint(cheque_key(one.server_key)) != fingerprint(cheque_key(other.server_key))


def test_a_fingerprint_is_short_and_always_the_same() -> None:
    assert fingerprint(KEY) == fingerprint(KEY)
    assert fingerprint(KEY) == hashlib.sha256(b"chatlib cheque key\0" + KEY).hexdigest()[:16]


def test_a_cheque_is_valid_for_seven_days_from_the_next_full_second() -> None:
    assert expiry_of(1_000.0) == 1_000 + VALID
    assert expiry_of(1_000.2) == 1_001 + VALID
    assert replace(CHEQUE, expiry=expiry_of(1_000.2)).written == 1_001


def test_numbers_are_of_chance() -> None:
    numbers = {new_number() for _ in range(100)}
    assert len(numbers) == 100
    assert all(parse(write(replace(CHEQUE, number=number), KEY)).number == number for number in numbers)
