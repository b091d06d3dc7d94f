"""Bytes from a terminal → what was typed: text, keys, pastes.

Must not know what a key does. Legal order: ``feed`` and ``next`` as one likes. Invariants: bytes may be cut anywhere,
UTF-8 and escape sequences wait for their end; a Ctrl+C is always seen, also in the middle of a broken sequence; what
was pasted comes out as text, and the newlines in it as spaces.
"""

from __future__ import annotations

import codecs
import re
from enum import Enum, auto
from typing import NamedTuple

_PASTE_BEGIN = "\x1b[200~"
_PASTE_END = "\x1b[201~"
_INTERRUPT = "\x03"

# Text; a sequence of which the end has not been read yet; a key. A sequence that goes wrong is a key nobody knows.
_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f]+)"
    r"|(?P<half>\x1b(?:O|\[\[?|\[[0-?]{0,32}[ -/]{0,4})?\Z)"
    r"|\x1b\[\[[ -~]|\x1b\[[0-?]{0,32}[ -/]{0,4}[@-Z\\-~]?|\x1bO[ -~]?|\x1b[^\x00-\x07\x09-\x1f]|[\x00-\x1f\x7f]"
)
# The mark that ends a paste, cut in two by a read.
_HALF_MARK = re.compile(r"\x1b(?:\[(?:2(?:0(?:1)?)?)?)?\Z")
_LINE_END = "\r\n\v\f\x85\u2028\u2029"
_LINE_ENDS = re.compile(f"[{_LINE_END}]+")


class TokenKind(Enum):
    TEXT = auto()
    PASTE = auto()
    KEY = auto()


class Token(NamedTuple):
    """Text that was typed or pasted, or what the terminal sends for one key."""

    text: str
    kind: TokenKind


class Keyboard:
    """Cuts what a terminal sends into tokens, one at a time: what follows a token is not looked at before `next`."""

    __slots__ = ("_at", "_decoder", "_input", "_interrupted", "_line_ended", "_pasting")

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._input = ""
        self._at = 0  # what is before has been handed out
        self._pasting = False
        self._line_ended = False
        self._interrupted = False

    def feed(self, data: bytes) -> None:
        if self._pasting and data == b"\x03":
            # A terminal that lost the end of a paste must not lock the person in it. The paste goes on, so that
            # no text can use this to get out of one.
            self._interrupted = True
            return
        self._input = self._input[self._at :] + self._decoder.decode(data)
        self._at = 0

    def settle(self) -> None:
        """Nothing followed a lone ESC for a moment (50 ms is usual), so it was that key. Calling this is optional."""
        token = _TOKEN.match(self._input, self._at)
        if not self._pasting and token is not None and token.lastgroup == "half":
            self._at = token.end()

    def next(self) -> Token | None:
        """The next token, None when it has not been read to its end."""
        if self._interrupted:
            self._interrupted = False
            return Token(_INTERRUPT, TokenKind.KEY)
        if self._pasting:
            return self._paste()
        match = _TOKEN.match(self._input, self._at)
        if match is None or match.lastgroup == "half":
            return None
        self._at = match.end()
        if match[0] == _PASTE_BEGIN:
            self._pasting = True
            return self._paste()
        return Token(match[0], TokenKind.TEXT if match.lastgroup == "text" else TokenKind.KEY)

    def _paste(self) -> Token | None:
        end = self._input.find(_PASTE_END, self._at)
        if end >= 0:
            stop, resume = end, end + len(_PASTE_END)
            self._pasting = False
        else:
            half = _HALF_MARK.search(self._input, max(self._at, len(self._input) - len(_PASTE_END)))
            stop = resume = half.start() if half else len(self._input)
            if stop == self._at:
                return None
        pasted = "\n" * self._line_ended + self._input[self._at : stop].replace("\t", " ")
        self._at = resume
        # The last line end of a paste is dropped (a password would be wrong with a space behind it), so one is
        # held back until something follows.
        self._line_ended = self._pasting and pasted[-1:] in _LINE_END
        return Token(_LINE_ENDS.sub(" ", pasted.rstrip(_LINE_END)), TokenKind.PASTE)
