"""The line a person is typing: bytes from a terminal → edits, finished lines and control actions.

Must not know terminals, descriptors, what a command means, or how the line is shown: :mod:`.screen` reads ``text``,
``cursor`` and ``secret``. Legal order: ``feed*``, then ``finish`` once. Invariants:

- showing ``text`` can never move a cursor (:mod:`.line`), and a finished line is printable;
- a paste never submits: the newlines in it become spaces;
- nothing typed while ``secret`` reaches the history, the kill buffer or what can be undone, and a line never changes
  between the two;
- bytes may be cut anywhere (:mod:`.keyboard`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import NamedTuple

from chatlib.protocol.text import printable
from chatlib.terminal.candidates import Candidates, Offered
from chatlib.terminal.keyboard import Keyboard, Token, TokenKind
from chatlib.terminal.line import MAX_LENGTH as MAX_LENGTH
from chatlib.terminal.line import TypedLine, in_blank_word, in_word
from chatlib.terminal.lookback import Find, Lookback

MAX_HISTORY = 1_000  # lines
_MAX_UNDO = 200  # steps
_CHUNK = re.compile(r" +|[^ ]+ *")  # of what is typed, what is undone at once: a word with the blanks behind it

Complete = Callable[[str], list[str]]


class ActionKind(Enum):
    LINE = auto()
    INTERRUPT = auto()
    END = auto()
    SUSPEND = auto()
    REDRAW = auto()
    CAME, WENT = auto(), auto()  # the terminal has come to the front, or gone from it: no key


class Action(NamedTuple):
    """What the person wants besides editing; `text` is the line of LINE."""

    kind: ActionKind
    text: str = ""


class Editor(TypedLine):
    """One line, its history and its kill buffer.

    `complete` gets the line up to the cursor and answers with what may stand there instead, the likeliest first.
    `turn` is tried before, on an empty line: whether Tab (1), or Shift+Tab (-1), has done something else.
    """

    def __init__(self, complete: Complete | None = None) -> None:
        super().__init__()
        self.complete = complete
        self.turn: Callable[[int], bool] = lambda _step: False
        self.history: list[str] = []  # oldest first
        self.keep_history = True
        self._secret = False
        self._keyboard = Keyboard()
        self._previous: Operation | None = None
        self._typing: TokenKind | None = None  # what the last step that can be undone was, if it can go on
        self._undo: list[tuple[str, int]] = []  # text and cursor before each step
        self._killed = ""
        self._recalled: int | None = None  # index into history, while one of its lines is shown
        self._half_typed = ""  # what was there before,
        self._left = 0  # and how many steps could be undone when it was left
        self._candidates = Candidates([])
        self._after = ""  # what follows the completion
        self._lookback: Lookback | None = None  # while the history is searched,
        self._found_before = ""  # and what for, the last time

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
        self.set("")
        self._recalled = self._previous = self._typing = self._lookback = None
        self._undo.clear()

    def drop(self) -> bool:
        """Takes back what was typed, so that undo brings it back; False: there was nothing to take back."""
        if self._lookback:
            self._end_search(self._lookback, found=False)
            return True
        if not self.text:
            return False
        self._remember(self.text, self.cursor)
        self.set("")
        self._recalled = self._previous = self._typing = None
        return True

    def offer(self, line: str) -> bool:
        """A line to be changed and entered again. Where something is typed already, it is what ``older`` brings."""
        if self.text or self._lookback or self._secret or not self.keep_history:
            if self.history[-1:] != [line]:
                self.history.append(line)
            return False
        self.set(line)
        self._previous = None
        return True

    # -- what is to be seen besides the line

    @property
    def offered(self) -> Offered | None:
        """What Tab goes round, until another key is pressed."""
        return self._candidates.offered if self._previous in _COMPLETIONS else None

    @property
    def search(self) -> Find | None:
        """What the history is searched for: the line shown is the one that was found."""
        return self._lookback.now if self._lookback else None

    # -- from tokens to edits

    def _actions(self) -> Iterator[Action]:
        while token := self._keyboard.next():
            if token.kind is TokenKind.KEY and (focus := _FOCUS.get(token.text)):
                yield Action(focus)
            elif self._lookback and self._searched(self._lookback, token):
                continue
            elif token.kind is TokenKind.KEY:
                if action := self._press(token.text):
                    yield action
            else:
                self._typed(token)

    def _typed(self, token: Token) -> None:
        for chunk in [token.text] if token.kind is TokenKind.PASTE else _CHUNK.findall(token.text):
            before = self.text, self.cursor
            begins = not chunk.startswith(" ") and self.text[: self.cursor].endswith(" ")
            self.insert(chunk)
            if self.text != before[0]:
                if self._typing is not token.kind or (begins and token.kind is TokenKind.TEXT):
                    self._remember(*before)
                self._typing = token.kind
        self._previous = None

    def _press(self, key: str) -> Action | None:
        operation = KEYS.get(key)
        if operation is None and len(key) == 2 and key[1] not in "[O":
            self._typed(Token(key[1], TokenKind.TEXT))  # ESC, then a letter that is no command with Alt
            return None
        before, self._typing = (self.text, self.cursor), None
        action = operation(self) if operation else None
        if operation not in _UNDONE_OTHERWISE and self.text != before[0]:
            self._remember(*before)
        self._previous = operation
        return action

    def _remember(self, text: str, cursor: int) -> None:
        if not self._secret:
            self._undo.append((text, cursor))
            del self._undo[:-_MAX_UNDO]

    # -- the search through the history

    def _searched(self, lookback: Lookback, token: Token) -> bool:
        """Whether the search goes on, or has ended with this very key."""
        if token.kind is not TokenKind.KEY:
            lookback.more(token.text)
        elif step := _SEARCH.get(token.text):
            step(lookback)
        else:
            # Enter sends no line that was not looked for.
            abandoned = token.text in _ABANDON or (lookback.now.failed and KEYS.get(token.text) is Editor.enter)
            self._end_search(lookback, found=not abandoned)
            return abandoned
        if lookback.line is not None:
            self.text, self.cursor = lookback.line, lookback.column
        else:
            self.text, self.cursor = self._undo[-1]
        return True

    def _end_search(self, lookback: Lookback, found: bool) -> None:
        self._lookback = None
        self._found_before = lookback.now.wanted or self._found_before
        if not found or lookback.line is None:
            self.text, self.cursor = self._undo.pop()
            return
        self._recalled, self._half_typed = lookback.now.place, self._undo[-1][0]
        self._left = len(self._undo)

    # -- operations: what KEYS names

    def _kill(self, start: int, end: int) -> None:
        if start == end:
            return
        before = start < self.cursor
        cut = self.cut(start, end)
        if self._secret:
            return
        kept = self._killed if self._previous in _KILLS else ""
        self._killed = cut + kept if before else kept + cut

    def kill_to_end(self) -> None:
        self._kill(self.cursor, len(self.text))

    def kill_to_start(self) -> None:
        self._kill(0, self.cursor)

    def kill_blank_word(self) -> None:
        self._kill(self.back_over(self.cursor, in_blank_word), self.cursor)

    def kill_word_left(self) -> None:
        self._kill(self.back_over(self.cursor, in_word), self.cursor)

    def kill_word_right(self) -> None:
        self._kill(self.cursor, self.word_end())

    def yank(self) -> None:
        self.insert(self._killed)

    def older(self) -> None:
        if self._secret:
            return
        place = len(self.history) if self._recalled is None else min(self._recalled, len(self.history))
        if place == 0:
            return
        if self._recalled is None:
            self._half_typed = self.text
            self._remember(self.text, self.cursor)
            self._left = len(self._undo)
        self._recalled = place - 1
        self.set(self.history[self._recalled])

    def newer(self) -> None:
        if self._recalled is None or self._secret:
            return
        if self._recalled + 1 < len(self.history):
            self._recalled += 1
            self.set(self.history[self._recalled])
        else:
            self._recalled = None
            self.set(self._half_typed)
            if len(self._undo) == self._left:
                self._undo.pop()  # it is as if it had never been left

    def complete_next(self) -> None:
        self._complete(1)

    def complete_previous(self) -> None:
        self._complete(-1)

    def _complete(self, step: int) -> None:
        """Fill in what all candidates begin with; when that adds nothing, go round them."""
        if self.complete is None or self._secret:
            return
        if not self.text and self.turn(step):
            self._candidates = Candidates([])
            return
        if self._previous not in _COMPLETIONS or not self._candidates.lines:
            before, self._after = self.text[: self.cursor], self.text[self.cursor :]
            self._candidates = Candidates(self.complete(before))
            common = self._candidates.common
            if len(common) > len(before):
                self._fill(common)
                if len(self._candidates.lines) == 1:
                    self._candidates = Candidates([])  # done: the next Tab completes what comes after
                return
        if self._candidates.lines:
            self._fill(self._candidates.turn(step))

    def _fill(self, completion: str) -> None:
        self.set(self._after)
        self.cursor = 0
        self.insert(completion)

    def look_back(self) -> None:
        """Ctrl+R: searches the history while more is typed."""
        if not self._secret:
            self._remember(self.text, self.cursor)
            self._lookback = Lookback(self.history, self._found_before)

    def undo(self) -> None:
        if self._undo:
            text, self.cursor = self._undo.pop()
            self.text, self._recalled = text, None

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

_UNDONE_OTHERWISE: tuple[Operation | None, ...] = (Editor.undo, Editor.enter, Editor.older, Editor.newer)

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
    (Editor.look_back, "^R"),
    (Editor.undo, "^_"),
)


def _sent(key: str) -> str:
    """What a terminal sends for a key of the table."""
    if key.startswith("M-"):
        return "\x1b" + (_sent(key[2:]) if key[2] == "^" else key[2:])
    return chr(ord(key[1]) ^ 0x40) if key.startswith("^") else "\x1b" + key


KEYS: dict[str, Operation] = {_sent(key): operation for operation, keys in _BINDINGS for key in keys.split()}

_FOCUS = {_sent("[I"): ActionKind.CAME, _sent("[O"): ActionKind.WENT}

# While the history is searched. Any other key ends the search, and does what it does to the line that was found.
_SEARCH: dict[str, Callable[[Lookback], None]] = {
    _sent("^R"): Lookback.older,
    _sent("^S"): Lookback.newer,
    _sent("^H"): Lookback.back,
    _sent("^?"): Lookback.back,
}
_ABANDON = (_sent("^G"), _sent("^C"))  # what was there before is there again
