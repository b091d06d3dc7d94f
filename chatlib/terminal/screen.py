"""What the person sees: printed lines, below them status lines, below them the prompt with the half-typed line.

Must not know where the output goes, what a line means, or the terminal's modes (:mod:`.modes`). Legal order:
``open`` → everything else → ``close`` (or ``with``), and again after a suspension. Invariants:

- calls only note what is to be seen; ``flush`` alone writes, once, however much changed: call it once a tick;
- the half-typed line stays whole below what is printed (hide → print → show), over as many rows as it needs;
- no text can reach the terminal unsanitized: callers pass plain text and name styles, never escape sequences.

Rows of the prompt are broken here, not by the terminal, with a line end after each full one: so it is always known
where the cursor is, also beside the last column, where terminals differ. Printed lines are left to the terminal to
break, so that they can be copied, and broken anew at another width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

from chatlib.protocol.text import printable
from chatlib.terminal.editor import Editor
from chatlib.terminal.modes import LineReader
from chatlib.terminal.width import display_width, drawn

Write = Callable[[str], object]

STYLES = {
    "bold": "1",
    "dim": "2",
    "underline": "4",
    "reverse": "7",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


class Styled(NamedTuple):
    """Text and the names of its styles (STYLES), separated by blanks."""

    text: str
    style: str


Part = str | Styled


def style(text: str, names: str) -> Styled:
    """`text` to be shown as STYLES says, where the terminal has colours: ``style("facebook", "bold green")``."""
    return Styled(text, names)


def _paint(text: str, names: str, colour: bool) -> str:
    codes = ";".join(STYLES[name] for name in names.split()) if colour else ""
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


class Display(ABC):
    """What Screen and PlainScreen have in common."""

    def __init__(self, write: Write, colour: bool) -> None:
        self._write = write
        self._colour = colour
        self._printed: list[str] = []  # since the last flush
        self._prompt = ""
        self._note = ""

    def print(self, *parts: Part) -> None:
        """Show one line above the prompt. Every part is sanitized: a newline in it does not begin a new line."""
        self._printed.append("".join(map(self._render, parts)))

    def set_prompt(self, prompt: str, note: str = "", secret: bool = False) -> None:
        """Show `prompt` before the half-typed line, and in between a `note`, such as ``(offline)``.

        Of what is typed behind it nothing is shown if it is `secret`.
        """
        self._prompt = printable(prompt)
        self._note = printable(note)
        self._set_secret(secret)

    def _render(self, part: Part) -> str:
        if isinstance(part, Styled):
            return _paint(printable(part.text), part.style, self._colour)
        return printable(part)

    @abstractmethod
    def _set_secret(self, secret: bool) -> None: ...

    @abstractmethod
    def set_status(self, lines: Iterable[Part]) -> None:
        """Show `lines` between what is printed and the prompt, instead of those before (progress bars)."""

    @abstractmethod
    def echo(self, line: str) -> None:
        """`line` was entered: it stays where it was typed, as part of what is printed."""

    @abstractmethod
    def resize(self, columns: int, rows: int) -> None: ...

    @abstractmethod
    def redraw(self) -> None:
        """Begin with an empty screen at the next flush (Ctrl+L)."""

    @abstractmethod
    def open(self) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Show what is still to be printed, take the prompt away and give the terminal back."""

    @abstractmethod
    def flush(self) -> None: ...

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Block(NamedTuple):
    """The rows below the printed lines as they are drawn, and the cursor in them."""

    rows: tuple[str, ...]  # as they are written
    texts: tuple[str, ...]  # without styles
    row: int
    place: int  # index into the text of that row


_NOTHING = Block(("",), ("",), 0, 0)


def break_rows(text: str, columns: int) -> list[int]:
    """Where in `text` the rows begin, as a terminal breaks it: a wide character is never cut."""
    if text.isascii():
        return list(range(0, max(len(text), 1), columns))
    starts, used = [0], 0
    for index, char in enumerate(text):
        width = display_width(char)
        if used + width > columns:
            starts.append(index)
            used = 0
        used += width
    return starts


def clip(text: str, columns: int) -> str:
    starts = break_rows(text, columns)
    return text if len(starts) == 1 else text[: starts[1]]


class Screen(Display):
    """A terminal that understands escape sequences. `editor` is fed by the caller and only read here."""

    def __init__(
        self,
        write: Write,
        editor: Editor,
        columns: int = 80,
        rows: int = 24,
        *,
        colour: bool = True,
        reflows: bool = True,
    ) -> None:
        super().__init__(write, colour)
        self._editor = editor
        self._reflows = reflows
        self._status: tuple[Part, ...] = ()
        self._opened = False
        self._empty = False  # the screen is to be emptied
        self._moved = False  # the terminal may have moved the cursor, even if it is as wide as before by now
        self._shown = _NOTHING
        self.resize(columns, rows)

    def _set_secret(self, secret: bool) -> None:
        self._editor.secret = secret

    def set_status(self, lines: Iterable[Part]) -> None:
        self._status = tuple(lines)

    def echo(self, line: str) -> None:
        self.print(style(self._prompt, "bold"), "" if self._editor.secret else line)

    def resize(self, columns: int, rows: int) -> None:
        self._columns = max(columns, 2)  # a wide character has to fit
        self._rows = max(rows, 1)
        self._moved = True

    def redraw(self) -> None:
        self._empty = True

    def open(self) -> None:
        """Begin below what is on the terminal, with the cursor at the start of a row."""
        self._opened = True
        self._shown = _NOTHING
        self._write("\x1b[?2004h")  # pastes come in brackets

    def close(self) -> None:
        if self._opened:
            self._write(self._hide() + self._take_printed() + "\x1b[?2004l")
            self._opened = False

    def flush(self) -> None:
        """Write what changed since the last flush, if anything did."""
        if not self._opened:
            return
        block = self._block()
        if self._printed or self._empty or self._moved or block != self._shown:
            hide = "\x1b[H\x1b[2J" if self._empty else self._hide()
            self._write(hide + self._take_printed() + _show(block))
            self._shown = block
            self._empty = self._moved = False

    def _take_printed(self) -> str:
        lines = "".join([line + "\r\n" for line in self._printed])
        self._printed.clear()
        return lines

    def _hide(self) -> str:
        up = self._rows_above_cursor()
        self._shown = _NOTHING
        return "\r" + (f"\x1b[{up}A" if up else "") + "\x1b[J"

    def _rows_above_cursor(self) -> int:
        """How far the cursor is below the first row shown, also if the terminal has got narrower since."""
        shown = self._shown
        if not self._reflows:
            return shown.row
        above = sum(len(break_rows(text, self._columns)) for text in shown.texts[: shown.row])
        return above + bisect_right(break_rows(shown.texts[shown.row], self._columns), shown.place) - 1

    def _block(self) -> Block:
        # The row with the cursor comes first, then the status lines, then the rest of a long line.
        status = self._status[: self._rows // 2]
        line = self._line(self._rows - len(status))
        texts = [clip(drawn(printable(part if isinstance(part, str) else part.text)), self._columns) for part in status]
        rows = [
            text if isinstance(part, str) else _paint(text, part.style, self._colour)
            for text, part in zip(texts, status, strict=True)
        ]
        return Block((*rows, *line.rows), (*texts, *line.texts), len(rows) + line.row, line.place)

    def _line(self, height: int) -> Block:
        """Prompt and half-typed line; of more than `height` rows, those around the cursor."""
        editor, columns = self._editor, self._columns
        prompt = self._prompt + (self._note + " " if self._note else "")
        typed, cursor = ("", 0) if editor.secret else (editor.text, editor.cursor)
        text, cursor = prompt + drawn(typed), len(prompt + drawn(typed[:cursor]))
        starts = break_rows(text, columns)
        row = bisect_right(starts, cursor) - 1
        if display_width(text[starts[row] : cursor]) >= columns:
            starts.append(len(text))  # beside the last column: the cursor stands where the next character will
            row += 1
        first = max(0, min(row - height // 2, len(starts) - height))
        ends = [*starts[1:], len(text)]
        texts = tuple(text[start:end] for start, end in zip(starts, ends, strict=True))[first : first + height]
        rows = []
        for start, row_text in zip(starts[first:], texts, strict=False):
            split = max(0, min(len(prompt) - start, len(row_text)))
            rows.append(_paint(row_text[:split], "bold", self._colour) + row_text[split:])
        return Block(tuple(rows), texts, row - first, cursor - starts[row])


def _show(block: Block) -> str:
    up = len(block.rows) - 1 - block.row
    right = display_width(block.texts[block.row][: block.place])
    return "".join(
        (
            "\r\n".join(block.rows),
            "\r",
            f"\x1b[{up}A" if up else "",
            f"\x1b[{right}C" if right else "",
        )
    )


class PlainScreen(Display):
    """Plain lines for pipes, scripts and screen readers: no escape sequence, nothing drawn twice, no colour.

    Only if `interactive` is a prompt printed, and anew after what arrived while one types; notes and status lines
    never are. `echo_input` is told whether what is typed may be shown (:meth:`.LineTerminal.echo`).
    """

    def __init__(
        self,
        write: Write,
        editor: Editor | LineReader,
        *,
        interactive: bool = False,
        echo_input: Callable[[bool], None] | None = None,
    ) -> None:
        super().__init__(write, colour=False)
        self._editor = editor
        self._interactive = interactive
        self._echo_input = echo_input
        self._prompted: str | None = None  # the prompt the person types behind
        self._opened = False

    def _set_secret(self, secret: bool) -> None:
        if secret != self._editor.secret and self._echo_input is not None:
            self._echo_input(not secret)
        self._editor.secret = secret

    def set_status(self, lines: Iterable[Part]) -> None:
        pass

    def echo(self, line: str) -> None:
        self._prompted = None  # the kernel has shown line and newline

    def resize(self, columns: int, rows: int) -> None:
        pass

    def redraw(self) -> None:
        self._prompted = None

    def open(self) -> None:
        self._opened = True
        self._prompted = None

    def close(self) -> None:
        if self._opened:
            self._write_lines()
            self._opened = False

    def flush(self) -> None:
        if not self._opened:
            return
        prompt = self._prompt if self._interactive else ""
        if self._printed or (prompt and prompt != self._prompted):
            self._write_lines(prompt)
            self._prompted = prompt

    def _write_lines(self, prompt: str = "") -> None:
        text = "".join([line + "\n" for line in self._printed]) + prompt
        if self._prompted:
            text = "\n" + text
        self._printed.clear()
        if text:
            self._write(text)
