"""Lines on the wire: bytes → lines → JSON objects, and back (design, section 4).

Must not know what a message means, nor where bytes come from. Invariants: a line is handed out only when its
``\\n`` has arrived; no byte is searched twice for it; no more than ``MAX_LINE`` bytes of one line are ever held.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any, ClassVar, Protocol

from chatlib.protocol.text import printable

MAX_LINE = 65_536  # bytes of one line, its "\n" included


class BadLine(ValueError):
    """A line that is no JSON object; the message says what is wrong, in a sentence for people."""


class LineTooLong(ValueError):
    """More than ``MAX_LINE`` bytes without an end of line: the stream cannot be followed any further."""


class LineBuffer:
    """Cuts a byte stream into lines. Legal order: ``feed*``; after ``LineTooLong`` nothing more may be fed."""

    __slots__ = ("_part",)

    def __init__(self) -> None:
        self._part = bytearray()  # the beginning of a line; holds no "\n"

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, in order, without ``\\n`` or ``\\r\\n``. Raises LineTooLong.

        Lines complete before the over-long one are lost with it; whoever needs them feeds smaller pieces.
        """
        lines = data.split(b"\n")
        tail = lines.pop()
        if self._part:
            if not lines:
                self._keep(tail)
                return lines
            lines[0] = bytes(self._part + lines[0])
            self._part = bytearray()
        if tail:
            self._keep(tail)
        if lines and (len(data) >= MAX_LINE or len(lines[0]) >= MAX_LINE) and max(map(len, lines)) >= MAX_LINE:
            raise LineTooLong
        if b"\r" in data or (lines and lines[0].endswith(b"\r")):  # the "\n" may have come in another piece
            return [line[:-1] if line.endswith(b"\r") else line for line in lines]
        return lines

    def _keep(self, tail: bytes) -> None:
        if len(self._part) + len(tail) >= MAX_LINE:
            raise LineTooLong
        self._part += tail


class Dialect(Protocol):
    """What one connection speaks: its bytes → messages → requests, and event lines → bytes. No I/O.

    Legal order: (``feed``, ``cut``, ``put_back`` what was cut last)*; ``rest`` at any time, and nothing after it.
    """

    name: ClassVar[str]  # in a tick, each event is translated once for all who speak it
    waiting: int  # whole messages that were fed and not cut off

    def feed(self, data: bytes) -> None:
        """Bytes have come."""

    def only(self, data: bytes) -> bytes | None:
        """The message that `data` is, when it is just one and nothing was fed that waits; else None. Feeds nothing."""

    def cut(self, count: int) -> list[bytes]:
        """The next messages; there are at least so many."""

    def put_back(self, messages: list[bytes]) -> None:
        """The last of those that were cut off: they come next."""

    def unfinished(self) -> int:
        """How many bytes there are of a message that is not whole yet."""

    def rest(self) -> bytes:
        """Every byte that was not cut off; forgets them."""

    def request(self, message: bytes) -> dict[str, object]:
        """What a message asks for. Raises BadLine with a sentence that says what is wrong."""

    @property
    def translate(self) -> Callable[[bytes], bytes] | None:
        """An event or a reply (a JSON line, with its end) → how this dialect says it. None: as it is.

        It is called while a tick's words are sent, so it must not raise: that would end the server.
        """


class JsonLines:
    """The dialect of this project: each message is a JSON object in a line. See Dialect.

    Bytes wait as they came; a line is cut off when its turn has come, so what waits costs its bytes and no more.
    """

    name: ClassVar[str] = "JSON lines"
    translate: None = None

    __slots__ = ("_part", "_raw", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self._raw = b""  # whole lines
        self._part: bytearray | None = None  # the beginning of the line after them

    def feed(self, data: bytes) -> None:
        if self._part is None and data.endswith(b"\n"):
            self._raw = self._raw + data if self._raw else data
            self.waiting += data.count(b"\n")
        else:
            self._keep(data)

    def only(self, data: bytes) -> bytes | None:
        if self.waiting or self._part is not None or data.find(b"\n") != len(data) - 1:
            return None
        return data[:-1]

    def _keep(self, data: bytes) -> None:
        """Bytes that end, or begin, in the middle of a line."""
        end = data.rfind(b"\n") + 1
        if end:
            self._raw += bytes(self._part or b"") + data[:end]
            self._part = bytearray(data[end:]) if end != len(data) else None
            self.waiting += data.count(b"\n")
        elif self._part is None:
            self._part = bytearray(data)
        else:
            self._part += data

    def cut(self, count: int) -> list[bytes]:
        lines = self._raw.split(b"\n", count)
        self._raw = lines.pop()
        self.waiting -= count
        return lines

    def put_back(self, messages: list[bytes]) -> None:
        self._raw = b"\n".join(messages) + b"\n" + self._raw
        self.waiting += len(messages)

    def unfinished(self) -> int:
        return len(self._part) if self._part is not None else 0

    def rest(self) -> bytes:
        rest = self._raw + bytes(self._part or b"")
        self._raw, self._part, self.waiting = b"", None, 0
        return rest

    @staticmethod
    def request(message: bytes) -> dict[str, object]:
        return decode_request(message)


def _refuse_constant(name: str) -> None:
    raise BadLine(f"{name} is not a JSON number.")


quote: Callable[[str], str] = encode_basestring  # a text as a JSON string, quotes and all

_Scan = Callable[[str, int], tuple[Any, int]]
_scan: _Scan = vars(json.JSONDecoder(parse_constant=_refuse_constant))["scan_once"]
_scan_pairs: _Scan = vars(json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=tuple))["scan_once"]
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
    """`message` as one line with its ``\\n``. A lone surrogate, which no UTF-8 can carry, becomes a question mark: a
    server refuses it on input, but a client may be given one by a server, and repeat it."""
    return dumps(message).encode(errors="replace") + b"\n"


def decode(line: bytes) -> dict[str, object]:
    """The JSON object in `line`. Raises BadLine with a sentence that says what is wrong."""
    value = _decoded(line, _scan)
    if type(value) is not dict:
        raise BadLine("The line is not a JSON object.")
    return value


def decode_request(line: bytes) -> dict[str, object]:
    """As decode, for a line that is kept as it is: no field may be given twice, since no check would see the first.

    An object within the object becomes a tuple of its pairs, which no kind of field accepts.
    """
    try:  # nearly always: nothing but an object
        text = line.decode()
        pairs, end = _scan_pairs(text, 0)
        if end != len(text):
            pairs = _decoded(line, _scan_pairs)
    except (ValueError, StopIteration, RecursionError):
        pairs = _decoded(line, _scan_pairs)
    if type(pairs) is not tuple:
        raise BadLine("The line is not a JSON object.")
    request = dict(pairs)
    if len(request) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadLine(f'Field "{printable(twice[:64])}" is given twice.')
    return request


def _decoded(line: bytes, scan: _Scan) -> Any:
    try:
        text = line.decode().strip(" \t\r")
    except UnicodeDecodeError as error:
        raise BadLine(f"The line is not UTF-8 (byte {error.start + 1}).") from None
    try:
        value, end = scan(text, 0)
    except BadLine:
        raise
    except (StopIteration, ValueError, RecursionError) as error:
        at = getattr(error, "pos", getattr(error, "value", None))
        where = f" (character {at + 1})" if isinstance(at, int) else ""
        raise BadLine(f"The line is not JSON{where}.") from None
    if end != len(text):
        raise BadLine(f"The line goes on after its JSON value (character {end + 1}).")
    return value
