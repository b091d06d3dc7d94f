"""A line of text with a cursor in it: what moves the cursor, and what is put in or cut out.

Must not know keys, terminals or what a line is for. Invariants:

- ``text`` is :func:`~chatlib.protocol.text.unfinished` and at most MAX_LENGTH characters, wherever it came from, so
  showing it can never move a cursor;
- no move leaves the cursor inside a character that is made of several, as joined emoji are.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.protocol.text import printable, unfinished
from chatlib.terminal.width import JOINER, joins

MAX_LENGTH = 16_384  # characters of one line


def in_word(char: str) -> bool:
    return char.isalnum() or joins(char)


def in_blank_word(char: str) -> bool:
    return not char.isspace()


class TypedLine:
    """`cursor` is an index into `text`."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0

    def insert(self, text: str) -> None:
        """Put `text` before the cursor, as far as the line has room."""
        after = self.text[self.cursor :]
        before = unfinished(self.text[: self.cursor] + text)[: MAX_LENGTH - len(after)]
        self.text = before + after
        self.cursor = len(before)

    def set(self, text: str) -> None:
        self.text = printable(text)[:MAX_LENGTH]
        self.cursor = len(self.text)

    def cut(self, start: int, end: int) -> str:
        cut = self.text[start:end]
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start
        return cut

    def home(self) -> None:
        self.cursor = 0

    def end(self) -> None:
        self.cursor = len(self.text)

    def left(self) -> None:
        self.cursor = self._left_of(self.cursor)

    def right(self) -> None:
        self.cursor = self._right_of(self.cursor)

    def word_left(self) -> None:
        self.cursor = self.back_over(self.cursor, in_word)

    def word_right(self) -> None:
        self.cursor = self.word_end()

    def backspace(self) -> None:
        self.cut(self._left_of(self.cursor), self.cursor)

    def delete(self) -> None:
        self.cut(self.cursor, self._right_of(self.cursor))

    def transpose(self) -> None:
        """Swap the characters around the cursor; at the end of the line, the last two."""
        middle = self._left_of(self.cursor) if self.cursor == len(self.text) else self.cursor
        start, end = self._left_of(middle), self._right_of(middle)
        if start < middle:
            self.text = self.text[:start] + self.text[middle:end] + self.text[start:middle] + self.text[end:]
            self.cursor = end

    def _left_of(self, index: int) -> int:
        index = max(index - 1, 0)
        while self._inside(index):
            index -= 1
        return index

    def _right_of(self, index: int) -> int:
        index = min(index + 1, len(self.text))
        while self._inside(index):
            index += 1
        return index

    def _inside(self, index: int) -> bool:
        """Whether no cursor stands there, because what is before and after belongs together."""
        if not 0 < index < len(self.text):
            return False
        return joins(self.text[index]) or self.text[index - 1] == JOINER

    def back_over(self, index: int, inside: Callable[[str], bool]) -> int:
        """The start of the word before `index`: first over what is not a word, then over what is."""
        while index and not inside(self.text[index - 1]):
            index -= 1
        while index and (inside(self.text[index - 1]) or self._inside(index)):
            index -= 1
        return index

    def word_end(self) -> int:
        index, end = self.cursor, len(self.text)
        while index < end and not in_word(self.text[index]):
            index += 1
        while index < end and (in_word(self.text[index]) or self._inside(index)):
            index += 1
        return index
