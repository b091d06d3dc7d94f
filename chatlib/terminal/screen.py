"""What the person sees: printed lines, below them status lines, below them the prompt with the half-typed line.

Must not know where the output goes, what a line means, or the terminal's modes (:mod:`.modes`). Legal order:
``open`` → everything else → ``close`` (or ``with``), and again after a suspension. Invariants:

- calls only note what is to be seen; ``flush`` alone writes, once, however much changed: call it once a tick;
- the half-typed line stays whole below what is printed (hide → print → show), over as many rows as it needs;
- no text can reach the terminal unsanitized: callers pass plain text and name styles, never escape sequences.

Rows are broken at blanks (:mod:`.wrapping`), with a line end after each: so it is always known where the cursor is,
also beside the last column, where terminals differ. Rows after the first of a printed line stand below what follows its
head: its time, say, and who says it. What is printed already is the terminal's to break anew at another width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Self

from chatlib.protocol.text import printable
from chatlib.terminal import calling
from chatlib.terminal.candidates import Offered
from chatlib.terminal.colours import NAME, name_colour
from chatlib.terminal.editor import Editor
from chatlib.terminal.lookback import Find
from chatlib.terminal.width import break_rows, clip, display_width, drawn
from chatlib.terminal.wrapping import hanging, word_rows, wrapped

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
HEAD = "head"
ORNAMENT = "ornament"


class Styled(NamedTuple):
    """Text and the names of its styles, separated by blanks: of STYLES, or NAME (a colour of its own for each name), or
    HEAD (it ends the head of its line, with all before it), or ORNAMENT (it is for the eyes: nobody reads it aloud)."""

    text: str
    style: str


Part = str | Styled


def style(text: str, names: str) -> Styled:
    """`text` to be shown so where there are colours: ``style("Done", "green")``, ``style("ann:", "name head")``."""
    return Styled(text, names)


def _styles(part: Part) -> list[str]:
    return part.style.split() if isinstance(part, Styled) else []


def _codes(part: Part, colours: int) -> str:
    """The codes of its styles, in a terminal with so many colours."""
    names = [name for name in _styles(part) if name not in (HEAD, ORNAMENT)] if colours else []
    return ";".join(name_colour(shown(part), colours) if name == NAME else STYLES[name] for name in names)


def _painted(text: str, codes: str) -> str:
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def shown(part: Part) -> str:
    """What may reach a terminal of it."""
    return printable(part if isinstance(part, str) else part.text)


def read_aloud(part: Part) -> str:
    """What of it a screen reader is to say."""
    return "" if ORNAMENT in _styles(part) else shown(part)


def _head(parts: Sequence[Part]) -> int:
    """How wide the head of a line is, with the blanks behind it. A line without one has these alone."""
    behind = max((index for index, part in enumerate(parts, 1) if HEAD in _styles(part)), default=0)
    head, rest = ("".join(map(shown, some)) for some in (parts[:behind], parts[behind:]))
    return display_width(head + rest[: len(rest) - len(rest.lstrip())])


class Display(ABC):
    """What Screen and PlainScreen have in common."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._printed: list[tuple[Part, ...]] = []  # since the last flush
        self._prompt = ""
        self._note = ""
        self._rings = False  # since the last flush

    def print(self, *parts: Part) -> None:
        """Show one line above the prompt. Every part is sanitized: a newline in it does not begin a new line."""
        self._printed.append(parts)

    def set_prompt(self, prompt: str, note: str = "", secret: bool = False) -> None:
        """Show `prompt` before the half-typed line, and in between a `note`, such as ``(offline)``.

        Of what is typed behind it nothing is shown if it is `secret`.
        """
        self._prompt = printable(prompt)
        self._note = printable(note)
        self._set_secret(secret)

    def ring(self) -> None:
        """Ring the bell at the next flush, once."""
        self._rings = True

    @abstractmethod
    def note(self, title: str, text: str) -> None:
        """Show a note on the desktop at the next flush, where that can be done; the last one counts."""

    @abstractmethod
    def watch_focus(self, wanted: bool) -> None:
        """Ask the terminal to say whether it is in front."""

    @abstractmethod
    def set_colours(self, count: int) -> None:
        """Use so many from now on."""

    def _take_calls(self) -> str:
        """What calls the person."""
        rings, self._rings = self._rings, False
        return calling.BELL if rings else ""

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


class Screen(Display):
    """A terminal that understands escape sequences. `editor` is fed by the caller and only read here.

    `colours`: how many the terminal has, 0 for none. `reflows`: whether it breaks its rows anew at another width.
    `notes`: how it takes notes for the desktop (:func:`.note_form`).
    """

    def __init__(
        self,
        write: Write,
        editor: Editor,
        columns: int = 80,
        rows: int = 24,
        *,
        colours: int = 8,
        reflows: bool = True,
        notes: str = "",
    ) -> None:
        super().__init__(write)
        self._colours = colours
        self._editor = editor
        self._reflows = reflows
        self._status: tuple[Part, ...] = ()
        self._notes = notes
        self._noted = ""  # since the last flush
        self._focus_wanted = self._focus_watched = False
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
        self.print(style(self._prompt, f"bold {HEAD}"), "" if self._editor.secret else line)

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
            unwatch = calling.FOCUS_OFF if self._focus_watched else ""
            self._write(self._hide() + self._take_printed() + self._take_calls() + unwatch + "\x1b[?2004l")
            self._opened = self._focus_watched = False

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
        if self._focus_wanted is not self._focus_watched:
            self._focus_watched = self._focus_wanted
            self._write(calling.FOCUS_ON if self._focus_wanted else calling.FOCUS_OFF)
        if calls := self._take_calls():
            self._write(calls)

    def note(self, title: str, text: str) -> None:
        self._noted = calling.note(title, text, self._notes)

    def watch_focus(self, wanted: bool) -> None:
        self._focus_wanted = wanted

    def set_colours(self, count: int) -> None:
        self._colours = count

    def _take_calls(self) -> str:
        noted, self._noted = self._noted, ""
        return super()._take_calls() + noted

    def _take_printed(self) -> str:
        lines = "".join([self._broken(parts) + "\r\n" for parts in self._printed])
        self._printed.clear()
        return lines

    def _broken(self, parts: tuple[Part, ...]) -> str:
        """A line as it is written: rows, with the styles of its parts begun anew in each."""
        texts = list(map(shown, parts))
        codes = [_codes(part, self._colours) for part in parts]
        rows = []
        for start, end, indent in wrapped("".join(texts), self._columns, hanging(_head(parts), self._columns)):
            begin, row = 0, " " * indent
            for text, code in zip(texts, codes, strict=True):
                row += _painted(text[max(0, start - begin) : max(0, end - begin)], code)
                begin += len(text)
            rows.append(row)
        return "\r\n".join(rows)

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
        # The row with the cursor comes first, then the status lines, then the candidates, then the rest of a long line.
        above = [self._clipped((part,)) for part in self._status[: self._rows // 2]]
        offered = self._editor.offered
        room = self._rows - len(above)
        below = [self._clipped(part) for part in choices(offered, self._columns, (room - 1) // 2)] if offered else []
        line = self._line(room - len(below))
        rows = (*(row for row, _ in above), *line.rows, *(row for row, _ in below))
        texts = (*(text for _, text in above), *line.texts, *(text for _, text in below))
        return Block(rows, texts, len(above) + line.row, line.place)

    def _clipped(self, parts: tuple[Part, ...]) -> tuple[str, str]:
        """One row that is not broken: as it is written, and without its styles."""
        row, text = "", ""
        for part in parts:
            more = clip(text + drawn(shown(part)), self._columns)[len(text) :]
            row, text = row + _painted(more, _codes(part, self._colours)), text + more
        return row, text

    def _line(self, height: int) -> Block:
        """Prompt and half-typed line; of more than `height` rows, those around the cursor."""
        editor, columns = self._editor, self._columns
        prompt = self._prompt + (self._note + " " if self._note else "")
        if editor.search:
            prompt = _searching(editor.search)
        typed, cursor = ("", 0) if editor.secret else (editor.text, editor.cursor)
        text, cursor = prompt + drawn(typed), len(prompt + drawn(typed[:cursor]))
        starts = word_rows(text, columns)
        row = bisect_right(starts, cursor) - 1
        if display_width(text[starts[row] : cursor]) >= columns:
            starts.append(len(text))  # beside the last column: the cursor stands where the next character will
            row += 1
        first = max(0, min(row - height // 2, len(starts) - height))
        ends = [*starts[1:], len(text)]
        texts = tuple(text[start:end] for start, end in zip(starts, ends, strict=True))[first : first + height]
        rows, bold = [], STYLES["bold"] if self._colours else ""
        for start, row_text in zip(starts[first:], texts, strict=False):
            split = max(0, min(len(prompt) - start, len(row_text)))
            rows.append(_painted(row_text[:split], bold) + row_text[split:])
        return Block(tuple(rows), texts, row - first, cursor - starts[row])


def _searching(search: Find) -> str:
    return f"({'not found' if search.failed else 'search'}: {printable(search.wanted)}) "


def choices(offered: Offered, columns: int, height: int) -> list[tuple[Part, ...]]:
    """What Tab goes round, as rows of a table, the one chosen in reverse; of more than `height`, those around it."""
    names = offered.names
    cell = min(offered.widest + 2, columns)
    across = max(1, columns // cell)
    height = min(height, -(-len(names) // across))
    if height < 1:
        return []
    full = height * across >= len(names) or height == 1
    page = (height if full else height - 1) * across  # the last row says how many there are
    first = (offered.chosen or 0) // page * page
    last = min(first + page, len(names))
    rows: list[tuple[Part, ...]] = []
    for begin in range(first, last, across):
        row: list[Part] = []
        for index in range(begin, min(begin + across, last)):
            blanks = " " * (cell - display_width(names[index]))
            row += [style(names[index], "reverse" if index == offered.chosen else ""), blanks]
        rows.append(tuple(row[:-1]))
    return rows if full else [*rows, (style(f"{first + 1} to {last} of {len(names)}", "dim"),)]


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
