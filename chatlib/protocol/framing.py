"""Lines on the wire: bytes → lines → JSON objects, and back (design, section 4).

Must not know what a message means, nor where bytes come from. Invariants: a line is handed out only when its
``\\n`` has arrived; no byte is searched twice for it; no more than ``MAX_LINE`` bytes of one line are ever held.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

MAX_LINE = 65_536  # bytes of one line, its "\n" included


class BadLine(ValueError):
    """A line that is no JSON object; the message says what is wrong, in a sentence for people."""


class LineTooLong(ValueError):
    """More than ``MAX_LINE`` bytes without an end of line: the stream cannot be followed any further."""


class LineBuffer:
    """Cuts a byte stream into lines. Legal order: ``feed*``; after ``LineTooLong`` nothing more may be fed.

    ``rest()`` hands out what was fed and is not yet a line, for a connection that stops speaking in lines.
    """

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # the beginning of a line; holds no "\n"
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, in order, without ``\\n`` or ``\\r\\n``. Raises LineTooLong.

        Lines complete before the over-long one are lost with it; whoever needs them feeds smaller pieces.
        """
        lines = data.split(b"\n")
        tail = lines.pop()
        if self._parts:
            if not lines:
                self._keep(tail)
                return lines
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
        if tail:
            self._keep(tail)
        if lines and (len(data) >= MAX_LINE or len(lines[0]) >= MAX_LINE) and max(map(len, lines)) >= MAX_LINE:
            raise LineTooLong
        if b"\r" in data or (lines and lines[0].endswith(b"\r")):  # the "\n" may have come in another piece
            return [line[:-1] if line.endswith(b"\r") else line for line in lines]
        return lines

    def rest(self) -> bytes:
        """The beginning of a line that has not ended yet; forgets it."""
        rest = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return rest

    def _keep(self, tail: bytes) -> None:
        self._size += len(tail)
        if self._size >= MAX_LINE:
            raise LineTooLong
        if tail:
            self._parts.append(tail)


def _refuse_constant(name: str) -> None:
    raise BadLine(f"{name} is not a JSON number.")


quote: Callable[[str], str] = encode_basestring  # a text as a JSON string, quotes and all

_scan: Callable[[str, int], tuple[Any, int]] = vars(json.JSONDecoder(parse_constant=_refuse_constant))["scan_once"]
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_make_c_encoder = getattr(json.encoder, "c_make_encoder", None)

if _make_c_encoder is not None:
    # What JSONEncoder.encode does, without building a new encoder for each value: a third of the cost.
    _c_encode = _make_c_encoder(None, _encoder.default, encode_basestring, None, ":", ",", False, False, False)

    def dumps(value: object) -> str:
        """`value` as compact JSON, non-ASCII characters as they are. Raises TypeError, ValueError (NaN)."""
        return "".join(_c_encode(value, 0))

else:  # an interpreter without the C accelerator

    def dumps(value: object) -> str:
        """See above."""
        return _encoder.encode(value)


def encode(message: dict[str, object]) -> bytes:
    """`message` as one line with its ``\\n``. Lone surrogates cannot be encoded: they are refused on input."""
    return dumps(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, object]:
    """The JSON object in `line`. Raises BadLine with a sentence that says what is wrong."""
    try:
        text = line.decode().strip(" \t\r")
    except UnicodeDecodeError as error:
        raise BadLine(f"The line is not UTF-8 (byte {error.start + 1}).") from None
    try:
        value, end = _scan(text, 0)
    except BadLine:
        raise
    except (StopIteration, ValueError, RecursionError) as error:
        at = getattr(error, "pos", getattr(error, "value", None))
        where = f" (character {at + 1})" if isinstance(at, int) else ""
        raise BadLine(f"The line is not JSON{where}.") from None
    if end != len(text):
        raise BadLine(f"The line goes on after its JSON value (character {end + 1}).")
    if type(value) is not dict:
        raise BadLine("The line is not a JSON object.")
    return value
