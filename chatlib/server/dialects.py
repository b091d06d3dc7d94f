"""What a connection speaks: its first bytes choose one row of a table (design, section 4).

The rows are asked in order. One that cannot tell yet (None) holds up the rows behind it until more bytes have come, so
a row that may take its time comes last. Must not know what a message means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from chatlib.protocol.framing import JsonLines
from chatlib.server.session import Session

_LOOKS_LIKE_HTTP = re.compile(rb"[A-Z]{1,16}( |$)")
_HTTP = re.compile(rb"[A-Z]+ \S.* HTTP/[0-9.]+\r?")
_NOT_A_WEB_SERVER = b"This is a chat server, and no web server: use client.py to talk to it.\n"


class Opening(NamedTuple):
    """One row: whether a connection that begins with these bytes speaks it (None: more bytes are needed), and what
    happens then. `begin` gets the same bytes."""

    name: str
    speaks: Callable[[bytes], bool | None]
    begin: Callable[[Session, bytes], None]


def choose(openings: Sequence[Opening], session: Session, data: bytes) -> None:
    """Begins what `data`, a connection's first bytes, choose; or leaves them for when there are more."""
    for opening in openings:
        verdict = opening.speaks(data)
        if verdict:
            opening.begin(session, data)
        if verdict is not False:
            return


def first_line(data: bytes) -> bytes | None:
    """The first line, without its end; None while it is not whole."""
    line, end, _ = data.partition(b"\n")
    return line if end else None


def _is_browser(data: bytes) -> bool | None:
    if not _LOOKS_LIKE_HTTP.match(data):
        return False
    line = first_line(data)
    return None if line is None else _HTTP.fullmatch(line) is not None


def _turn_a_browser_away(session: Session, _data: bytes) -> None:
    """A web page can make a browser say anything to this port, but not before its own first line."""
    head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: "
    session.say(f"{head}{len(_NOT_A_WEB_SERVER)}\r\n\r\n".encode() + _NOT_A_WEB_SERVER)
    session.end_without_bye()


def _is_line(data: bytes) -> bool | None:
    return None if first_line(data) is None else True


_BROWSER = Opening("a web browser", _is_browser, _turn_a_browser_away)
_JSON_LINES = Opening(JsonLines.name, _is_line, lambda session, _data: session.speak(JsonLines()))

OPENINGS: list[Opening] = [_BROWSER, _JSON_LINES]
