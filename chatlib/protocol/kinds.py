"""Kinds of fields: how each is checked when it comes over the wire, and read when a person types it.

Data for the command table. Must not know commands. A check returns None, or a sentence that completes
``Field "x" must be …``; it never raises, whatever JSON value it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from chatlib.protocol import text as words
from chatlib.protocol.cheque import MAX_AMOUNT
from chatlib.protocol.cheque import MAX_LINE as MAX_CHEQUE
from chatlib.protocol.network import network
from chatlib.protocol.scram import ScramError, parse_verifier

MAX_KEY = 64
MAX_LINE = 16_384  # characters typed at a console from afar
MAX_WORDS, MANY_WORDS = 200, 16  # characters that are looked for at once, and words
MAX_FILE_NAME = 255  # bytes
MAX_INTEGER = 2**53 - 1  # what every JSON reader keeps exactly

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
MAX_DURATION = 10_000 * 86_400.0
_NUMBER = re.compile("[-+]?[0-9.]+", re.ASCII)
# What somebody types who means a time: "0s", "-5m", "1.5h", "2 hours". Taken for a reason, it would be for ever.
_LIKE_A_TIME = re.compile(
    r"\s*[-+]?\.?\d[\d.,]*(e\d+)?\s*([smhdwy]|secs?|seconds?|mins?|minutes?|hours?|days?|weeks?|months?|years?|)(\s|$)",
    re.IGNORECASE,
)
_CREDITS = re.compile("[0-9]+|[0-9]{1,3}(,[0-9]{3})+", re.ASCII)
_SHA256 = re.compile("[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of field. `parse` turns one typed word into a value, raising ValueError for what cannot be one.

    `usual` is Python that is true of nearly every `value` that `accepts` is true of, and of no other: guards try it
    first, since it costs no call of ours.
    """

    name: str
    allowed: str  # completes "must be …"
    accepts: Callable[[object], bool]
    parse: Callable[[str], object] = str
    rest_of_line: bool = False  # typed: takes everything that is left, blanks and all
    usual: str = "False"
    status: str = "BAD_REQUEST"  # of the refusal of a request in which a field is not of this kind
    option: str = ""  # typed: this word, before all else that is left or behind it, or not at all; the value is True

    def check(self, value: object) -> str | None:
        """None when `value` is of this kind, else what is allowed."""
        return None if self.accepts(value) else self.allowed


def _is_name(value: object) -> bool:
    return type(value) is str and words.is_name(value)


def _is_title(value: object) -> bool:
    return type(value) is str and words.is_title(value)


def _is_text(value: object) -> bool:
    return (
        type(value) is str
        and 0 < len(value) <= words.MAX_TEXT
        and not words.forbidden(value)
        and (value.isascii() or not words.heaped(value))
    )


def _is_line(value: object) -> bool:
    return type(value) is str and len(value) <= MAX_LINE and not words.forbidden(value)


def _is_token(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_KEY and not words.forbidden(value)


def _is_integer(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_INTEGER


def _is_number(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_INTEGER


def _credits(word: str) -> int:
    """An amount as it is shown, with commas between the thousands, or without."""
    if not _CREDITS.fullmatch(word):
        raise ValueError(word)
    return int(word.replace(",", ""))


def _is_amount(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_AMOUNT


def _is_memo(value: object) -> bool:
    return _is_text(value) and len(value) <= words.MAX_MEMO  # type: ignore[arg-type]


def _is_reason(value: object) -> bool:
    return _is_memo(value) and not _LIKE_A_TIME.match(str(value))


def _is_cheque(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_CHEQUE and not words.forbidden(value)


def _is_port(value: object) -> bool:
    return type(value) is int and 0 <= value <= 65_535


def _is_minutes(value: object) -> bool:
    return type(value) in (int, float) and 0 < value <= 1_000_000  # type: ignore[operator]


def _is_scram(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= 1_024 and value.isascii() and value.isprintable()


def _is_verifier(value: object) -> bool:
    if type(value) is not str or len(value) > 1_024:
        return False
    try:
        parse_verifier(value)
    except ScramError:
        return False
    return True


def _is_id(value: object) -> bool:
    return (type(value) is int and abs(value) <= MAX_INTEGER) or (type(value) is str and len(value) <= MAX_KEY
                                                                  and not words.forbidden(value))  # fmt: skip


def _is_file_name(value: object) -> bool:
    return (
        type(value) is str
        and not words.forbidden(value)
        and 0 < len(value.encode()) <= MAX_FILE_NAME
        and value not in (".", "..")
        and "/" not in value
        and "\\" not in value
    )


def _is_new_file_name(value: object) -> bool:
    return _is_file_name(value) and words.visible(value) == value  # type: ignore[arg-type]


def _is_sha256(value: object) -> bool:
    return type(value) is str and _SHA256.fullmatch(value) is not None


def _is_words(value: object) -> bool:
    if type(value) is not str or len(value) > MAX_WORDS or words.forbidden(value):
        return False
    found = value.split()
    return 0 < len(found) <= MANY_WORDS and all(len(word) >= 2 for word in found)


def _is_place(value: object) -> bool:
    return type(value) is str and (words.is_name(value) or (value[:1] == "#" and words.is_title(value[1:])))


def _place(word: str) -> str:
    """As typed: "@" may stand before a user's name, and tells one that is a number from a count."""
    if _NUMBER.fullmatch(word):
        raise ValueError("a number is no place")
    return word[1:] if word[:1] == "@" and words.is_name(word[1:]) else word


def _duration(word: str) -> float:
    number, unit = word[:-1], word[-1:].lower()
    if unit not in _UNITS or not (number.isascii() and number.isdigit()):
        raise ValueError(word)
    return float(number) * _UNITS[unit]


def _minutes(word: str) -> float:
    return int(word) if word.isdigit() else float(word)


NAME = Kind(
    "name",
    "a user's name: 1 to 32 of A-Z a-z 0-9 _ . -",
    _is_name,
    usual="type(value) is str and 0 < len(value) <= 32 and value.isalnum() and value.isascii()",
)
TITLE = Kind(
    "title",
    "a thread's title: one word of 1 to 64 letters, digits and !@#$%.?,",
    _is_title,
    usual="type(value) is str and 0 < len(value) <= 64 and value.isalnum() and value.isascii()",
)
DESTINATION = Kind(
    "destination",
    'a user\'s name, "@" and a user\'s name, "#" and a thread\'s title, or "all"',
    lambda value: _is_place(value) or (type(value) is str and value[:1] == "@" and words.is_name(value[1:])),
)
# That stands beside a count.
PLACE = Kind("place", 'a user\'s name, "#" and a thread\'s title, or "all"', _is_place, _place)
TEXT = Kind(
    "text",
    "a text of 1 to 4,096 characters without control characters, with at most"
    f" {words.MAX_MARKS} combining marks in a row",
    _is_text,
    rest_of_line=True,
    usual=f"type(value) is str and 0 < len(value) <= {words.MAX_TEXT} and value.isprintable() and value.isascii()",
)
WORDS = Kind(
    "words",
    f"words to look for: of at least 2 characters each, at most {MANY_WORDS} and {MAX_WORDS} characters in all, without"
    " control characters",
    _is_words,
    rest_of_line=True,
)
WHO = Kind(
    "who",
    'a user\'s name, "@" and a user\'s name, an address such as 10.0.0.1, or a network such as 10.0.0.0/24',
    lambda value: type(value) is str and (words.is_name(value.removeprefix("@")) or network(value) is not None),
)
DURATION = Kind(
    "duration",
    "a whole number with a unit: 30s, 10m, 2h or 3d",
    lambda value: type(value) in (int, float) and 0 < value <= MAX_DURATION,  # type: ignore[operator]
    _duration,
)
REASON = Kind(
    "reason",
    f"a text of 1 to {words.MAX_MEMO} characters without control characters, which begins with no time",
    _is_reason,
    rest_of_line=True,
)
NUMBER = Kind("number", "a whole number from 1", _is_number, int)
AMOUNT = Kind(
    "amount",
    f"a whole number of credits from 1 to {MAX_AMOUNT:,}",
    _is_amount,
    _credits,
    usual=f"type(value) is int and 1 <= value <= {MAX_AMOUNT}",
    status="BAD_AMOUNT",
)
MEMO = Kind(
    "memo",
    f"a text of 1 to {words.MAX_MEMO} characters without control characters, with at most {words.MAX_MARKS}"
    " combining marks in a row",
    _is_memo,
    rest_of_line=True,
    usual=f"type(value) is str and 0 < len(value) <= {words.MAX_MEMO} and value.isprintable() and value.isascii()",
)
CHEQUE = Kind(
    "cheque",
    f'a cheque: one line that begins with "cheque/1", of at most {MAX_CHEQUE} characters',
    _is_cheque,
    rest_of_line=True,
    status="BAD_CHEQUE",
)
LINE = Kind("line", f"a line of at most {MAX_LINE:,} characters without control characters", _is_line)
PORT = Kind("port", "a port: a whole number from 0 to 65535", _is_port, int)
COUNT = Kind("count", "a whole number from 0", _is_integer, int)
MINUTES = Kind("minutes", "a number of minutes above 0, at most 1,000,000", _is_minutes, _minutes)
SEQ = Kind("seq", "an event's number: a whole number from 0", _is_integer, int)
KEY = Kind(
    "key",
    "1 to 64 characters without control characters",
    _is_token,
    usual=f"type(value) is str and 0 < len(value) <= {MAX_KEY} and value.isprintable()",
)
CLIENT = Kind("client", "1 to 64 characters without control characters", _is_token)
ID = Kind(
    "id",
    "a whole number, or at most 64 characters",
    _is_id,
    usual=f"type(value) is int and 0 <= value <= {MAX_INTEGER}",
)
SCRAM = Kind("scram", "a SCRAM message (RFC 5802), at most 1,024 ASCII characters", _is_scram)
VERIFIER = Kind(
    "verifier",
    "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, iterations from 4,096 to 10,000,000",
    _is_verifier,
)
FILE_NAME = Kind(
    "file name",
    "a file's name: 1 to 255 bytes, without a path, control characters or backslashes",
    _is_file_name,
    parse=lambda text: text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text,
    rest_of_line=True,
)
NEW_FILE_NAME = Kind(
    "new file name",
    "a file's name: 1 to 255 bytes, without a path, control or invisible characters or backslashes, with at most"
    f" {words.MAX_MARKS} combining marks in a row",
    _is_new_file_name,
)
SHA256 = Kind("sha256", "a SHA-256 digest: 64 of 0-9 a-f", _is_sha256)
TICKET = Kind("ticket", "a ticket that the server gave", _is_token)
PATHS = Kind("paths", "one or more paths; quote one with blanks", lambda value: type(value) is str, rest_of_line=True)
PROTOCOL = Kind("protocol", "1, the protocol's number", lambda value: type(value) is int and value == 1)
FLAG = Kind("flag", "true or false", lambda value: type(value) is bool)
PRINT = Kind("print", "--print", lambda value: value is True, option="--print")
JSON = Kind("json", "--json", lambda value: value is True, option="--json")
SWITCH = Kind("switch", "on or off", lambda value: value in ("on", "off"), str.lower)
WORD = Kind("word", "one word", lambda value: type(value) is str)
VALUE = Kind("value", "a value", lambda value: type(value) is str, rest_of_line=True)
