"""The line a person is typing: bytes from a terminal → edits, finished lines and control actions.

Must not know terminals, descriptors, what a command means, or how the line is shown: :mod:`.screen` reads ``text``,
``cursor`` and ``secret``. Legal order: ``feed*``, then ``finish`` once. Invariants:

- ``text`` is :func:`~chatlib.protocol.text.unfinished` and at most MAX_LENGTH characters, wherever it came from (keys,
  paste, history, completion), so showing it can never move a cursor; a finished line is printable;
- no key moves the cursor into a character that is made of several, as joined emoji are;
- a paste never submits: the newlines in it become spaces;
- nothing typed while ``secret`` reaches the history or the kill buffer, and a line never changes between the two;
- bytes may be cut anywhere (:mod:`.keyboard`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from os.path import commonprefix
from typing import NamedTuple

from chatlib.protocol.text import printable, unfinished
from chatlib.terminal.keyboard import Keyboard
from chatlib.terminal.width import JOINER, joins

MAX_LENGTH = 16_384  # characters of one line
MAX_HISTORY = 1_000  # lines

Complete = Callable[[str], list[str]]


class ActionKind(Enum):
    LINE = auto()
    INTERRUPT = auto()
    END = auto()
    SUSPEND = auto()
    REDRAW = auto()


class Action(NamedTuple):
    """What the person wants besides editing; `text` is the line of LINE."""

    kind: ActionKind
    text: str = ""


def _in_word(char: str) -> bool:
    return char.isalnum() or joins(char)


class Editor:
    """One line, its history and its kill buffer.

    `complete` gets the line up to the cursor and answers with what may stand there instead, the likeliest first.
    """

    def __init__(self, complete: Complete | None = None) -> None:
        self.complete = complete
        self.history: list[str] = []  # oldest first
        self.keep_history = True
        self.text = ""
        self.cursor = 0  # index into text
        self._secret = False
        self._keyboard = Keyboard()
        self._previous: Operation | None = None
        self._killed = ""
        self._recalled: int | None = None  # index into history, while one of its lines is shown
        self._half_typed = ""  # what was there before
        self._candidates: list[str] = []
        self._candidate = -1  # the one shown, while Tab goes round
        self._after = ""  # what follows the completion

    @property
    def secret(self) -> bool:
        """Whether a password is asked for: nothing is shown, remembered or completed."""
        return self._secret

    @secret.setter
    def secret(self, secret: bool) -> None:
        if secret != self._secret:
            self.clear()
        self._secret = secret

    # -- input

    def feed(self, data: bytes) -> Iterator[Action]:
        """The actions in `data`, each before what was typed after it is interpreted.

        So the answer to one action may set ``secret`` for the line that follows it in the same read. What is
        not taken from the iterator waits for the next call, which may be ``feed(b"")``.
        """
        self._keyboard.feed(data)
        return self._actions()

    def settle(self) -> None:
        """Nothing followed a lone ESC for a moment (50 ms is usual), so it was that key. Calling this is optional."""
        self._keyboard.settle()

    def finish(self) -> list[Action]:
        """The terminal has hung up: a half-typed line is not a line."""
        self.clear()
        return [Action(ActionKind.END)]

    def clear(self) -> None:
        """An empty line; what was pasted or read ahead stays."""
        self._set("")
        self._recalled = None
        self._previous = None

    def _actions(self) -> Iterator[Action]:
        while token := self._keyboard.next():
            if not token.is_key:
                self.insert(token.text)
                self._previous = None
            elif action := self._press(token.text):
                yield action

    def _press(self, key: str) -> Action | None:
        operation = KEYS.get(key)
        action = None
        if operation is not None:
            action = operation(self)
        elif len(key) == 2 and key[1] not in "[O":
            self.insert(key[1])  # ESC, then a letter that is no command with Alt
        self._previous = operation
        return action

    # -- edits

    def insert(self, text: str) -> None:
        """Put `text` before the cursor, as far as the line has room."""
        after = self.text[self.cursor :]
        before = unfinished(self.text[: self.cursor] + text)[: MAX_LENGTH - len(after)]
        self.text = before + after
        self.cursor = len(before)

    def _set(self, text: str) -> None:
        self.text = printable(text)[:MAX_LENGTH]
        self.cursor = len(self.text)

    def _cut(self, start: int, end: int) -> str:
        cut = self.text[start:end]
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start
        return cut

    def _kill(self, start: int, end: int) -> None:
        if start == end:
            return
        before = start < self.cursor
        cut = self._cut(start, end)
        if self._secret:
            return
        kept = self._killed if self._previous in _KILLS else ""
        self._killed = cut + kept if before else kept + cut

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

    def _back_over(self, index: int, inside: Callable[[str], bool]) -> int:
        """The start of the word before `index`: first over what is not a word, then over what is."""
        while index and not inside(self.text[index - 1]):
            index -= 1
        while index and (inside(self.text[index - 1]) or self._inside(index)):
            index -= 1
        return index

    def _word_end(self) -> int:
        index, end = self.cursor, len(self.text)
        while index < end and not _in_word(self.text[index]):
            index += 1
        while index < end and (_in_word(self.text[index]) or self._inside(index)):
            index += 1
        return index

    # -- operations: what KEYS names

    def home(self) -> None:
        self.cursor = 0

    def end(self) -> None:
        self.cursor = len(self.text)

    def left(self) -> None:
        self.cursor = self._left_of(self.cursor)

    def right(self) -> None:
        self.cursor = self._right_of(self.cursor)

    def word_left(self) -> None:
        self.cursor = self._back_over(self.cursor, _in_word)

    def word_right(self) -> None:
        self.cursor = self._word_end()

    def backspace(self) -> None:
        self._cut(self._left_of(self.cursor), self.cursor)

    def delete(self) -> None:
        self._cut(self.cursor, self._right_of(self.cursor))

    def kill_to_end(self) -> None:
        self._kill(self.cursor, len(self.text))

    def kill_to_start(self) -> None:
        self._kill(0, self.cursor)

    def kill_blank_word(self) -> None:
        self._kill(self._back_over(self.cursor, lambda char: not char.isspace()), self.cursor)

    def kill_word_left(self) -> None:
        self._kill(self._back_over(self.cursor, _in_word), self.cursor)

    def kill_word_right(self) -> None:
        self._kill(self.cursor, self._word_end())

    def yank(self) -> None:
        self.insert(self._killed)

    def transpose(self) -> None:
        """Swap the characters around the cursor; at the end of the line, the last two."""
        middle = self._left_of(self.cursor) if self.cursor == len(self.text) else self.cursor
        start, end = self._left_of(middle), self._right_of(middle)
        if start < middle:
            self.text = self.text[:start] + self.text[middle:end] + self.text[start:middle] + self.text[end:]
            self.cursor = end

    def older(self) -> None:
        if self._secret:
            return
        place = len(self.history) if self._recalled is None else min(self._recalled, len(self.history))
        if place == 0:
            return
        if self._recalled is None:
            self._half_typed = self.text
        self._recalled = place - 1
        self._set(self.history[self._recalled])

    def newer(self) -> None:
        if self._recalled is None or self._secret:
            return
        if self._recalled + 1 < len(self.history):
            self._recalled += 1
            self._set(self.history[self._recalled])
        else:
            self._recalled = None
            self._set(self._half_typed)

    def complete_next(self) -> None:
        self._complete(1)

    def complete_previous(self) -> None:
        self._complete(-1)

    def _complete(self, step: int) -> None:
        """Fill in what all candidates begin with; when that adds nothing, go round them."""
        if self.complete is None or self._secret:
            return
        if self._previous not in _COMPLETIONS or not self._candidates:
            before, self._after = self.text[: self.cursor], self.text[self.cursor :]
            self._candidates, self._candidate = list(dict.fromkeys(self.complete(before))), -1
            prefix = commonprefix(self._candidates)
            if len(prefix) > len(before):
                self._fill(prefix)
                if len(self._candidates) == 1:
                    self._candidates = []  # done: the next Tab completes what comes after
                return
        if self._candidates:
            at = 0 if step > 0 else -1
            if self._candidate >= 0:
                at = self._candidate + step
            self._candidate = at % len(self._candidates)
            self._fill(self._candidates[self._candidate])

    def _fill(self, completion: str) -> None:
        self._set(self._after)
        self.cursor = 0
        self.insert(completion)

    def enter(self) -> Action:
        line = printable(self.text)
        if line and self.keep_history and not self._secret and self.history[-1:] != [line]:
            self.history.append(line)
            del self.history[:-MAX_HISTORY]
        self.clear()
        return Action(ActionKind.LINE, line)

    def interrupt(self) -> Action:
        return Action(ActionKind.INTERRUPT)

    def suspend(self) -> Action:
        return Action(ActionKind.SUSPEND)

    def redraw(self) -> Action:
        return Action(ActionKind.REDRAW)

    def delete_or_end(self) -> Action | None:
        if not self.text:
            return Action(ActionKind.END)
        self.delete()
        return None


Operation = Callable[[Editor], Action | None]

_KILLS: tuple[Operation, ...] = (
    Editor.kill_to_end,
    Editor.kill_to_start,
    Editor.kill_blank_word,
    Editor.kill_word_left,
    Editor.kill_word_right,
)
_COMPLETIONS: tuple[Operation, ...] = (Editor.complete_next, Editor.complete_previous)

_BINDINGS: tuple[tuple[Operation, str], ...] = (
    # operation, keys: ^X is Ctrl+X, M- is ESC before the next (Alt), the rest what terminals send after ESC
    (Editor.home, "^A [H OH [1~ [7~"),
    (Editor.end, "^E [F OF [4~ [8~"),
    (Editor.left, "^B [D OD"),
    (Editor.right, "^F [C OC"),
    (Editor.word_left, "M-b M-B [1;5D [1;3D [5D Od"),
    (Editor.word_right, "M-f M-F [1;5C [1;3C [5C Oc"),
    (Editor.backspace, "^H ^?"),
    (Editor.delete, "[3~"),
    (Editor.delete_or_end, "^D"),
    (Editor.kill_to_end, "^K"),
    (Editor.kill_to_start, "^U"),
    (Editor.kill_blank_word, "^W"),
    (Editor.kill_word_left, "M-^H M-^?"),
    (Editor.kill_word_right, "M-d M-D [3;5~ [3;3~"),
    (Editor.yank, "^Y"),
    (Editor.transpose, "^T"),
    (Editor.older, "^P [A OA"),
    (Editor.newer, "^N [B OB"),
    (Editor.complete_next, "^I"),
    (Editor.complete_previous, "[Z"),
    (Editor.enter, "^M ^J"),
    (Editor.interrupt, "^C"),
    (Editor.suspend, "^Z"),
    (Editor.redraw, "^L"),
)


def _sent(key: str) -> str:
    """What a terminal sends for a key of the table."""
    if key.startswith("M-"):
        return "\x1b" + (_sent(key[2:]) if key[2] == "^" else key[2:])
    return chr(ord(key[1]) ^ 0x40) if key.startswith("^") else "\x1b" + key


KEYS: dict[str, Operation] = {_sent(key): operation for operation, keys in _BINDINGS for key in keys.split()}
