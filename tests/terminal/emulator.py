"""A terminal, as far as the client uses one: what a person would see, scrolled-off rows included.

It refuses what it does not know, so a test fails on an escape sequence no terminal was asked about. Modelled: a last
column in which the cursor waits before it wraps, wide characters that are never cut, combining characters, cursor
movements that stop at the screen's edge, and lines broken anew, or not, when the width changes.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

_SEQUENCE = re.compile(r"\x1b\[(\??)(\d*)([A-Za-z])")
_NOTE = re.compile(r"\x1b\](9|777;notify);([^\x00-\x1f\x7f-\x9f]*)\a")


def cells(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me") or char in "\u200c\u200d":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


@dataclass
class Row:
    cells: list[str] = field(default_factory=list)  # the right half of a wide character is ""
    wrapped: bool = False  # goes on in the next row

    @property
    def text(self) -> str:
        return "".join(self.cells)


class Emulator:
    def __init__(self, columns: int, rows: int, reflows: bool = True) -> None:
        self.columns, self.height, self.reflows = columns, rows, reflows
        self.rows = [Row()]
        self.top = 0  # the first row on the screen
        self.x = self.y = 0  # y counts from the first row ever
        self.waits = False  # beside the last column, the cursor still on it
        self.brackets_pastes = False
        self.writes = 0
        self.rung = 0  # times
        self.notes: list[str] = []  # for the desktop
        self.watches_focus = False

    # -- what a test asks

    def logical_lines(self, until: int | None = None) -> list[str]:
        """The lines before row `until`, those broken by the terminal made whole."""
        lines, joined = [], ""
        for row in self.rows[:until]:
            joined += row.text
            if not row.wrapped:
                lines.append(joined)
                joined = ""
        return [*lines, joined] if joined else lines

    def row_after(self, lines: int) -> int:
        """The row in which the line after the first `lines` begins."""
        row = 0
        while lines:
            lines -= not self.rows[row].wrapped
            row += 1
        return row

    def screen(self) -> list[str]:
        return [row.text for row in self.rows[self.top :]]

    # -- what a program writes

    def write(self, text: str) -> None:
        self.writes += 1
        at = 0
        while at < len(text):
            if text[at] == "\a":
                self.rung += 1
                at += 1
            elif note := _NOTE.match(text, at):
                self.notes.append(note[2])
                at += len(note[0])
            elif text[at] == "\x1b":
                sequence = _SEQUENCE.match(text, at) or re.match(r"\x1b\[([\d;]+)()(m)", text[at:])
                assert sequence, f"unknown sequence {text[at : at + 10]!r}"
                self._obey(*sequence.groups())
                at += len(sequence[0])
            else:
                self._put(text[at])
                at += 1

    def resize(self, columns: int, rows: int) -> None:
        if columns != self.columns and self.reflows:
            self._reflow(columns)
        elif columns < self.columns:
            self.waits = False
            self.x = min(self.x, columns - 1)
        self.columns, self.height = columns, rows
        while len(self.rows) - 1 > self.y and not self.rows[-1].cells:
            self.rows.pop()
        self.top = max(0, len(self.rows) - rows)

    def _obey(self, private: str, number: str, name: str) -> None:
        count = int(number or 1)
        if name != "m":
            self.waits = False
        match private, number, name:
            case _, _, "m":
                pass
            case "?", "2004", "h" | "l":
                self.brackets_pastes = name == "h"
            case "?", "1004", "h" | "l":
                self.watches_focus = name == "h"
            case "", _, "A":
                self.y = max(self.top, self.y - count)
            case "", _, "C":
                self.x = min(self.columns - 1, self.x + count)
            case "", "", "H":
                self.x, self.y = 0, self.top
            case "", "", "J":
                self._erase_from(self.y, self.x)
            case "", "2", "J":
                self._erase_from(self.top, 0)
            case _:
                raise AssertionError(f"unknown sequence {private}{number}{name}")

    def _erase_from(self, y: int, x: int) -> None:
        del self.rows[y].cells[x:]
        self.rows[y].wrapped = False
        for row in self.rows[y + 1 :]:
            row.cells, row.wrapped = [], False

    def _put(self, char: str) -> None:
        if char == "\r":
            self.x, self.waits = 0, False
        elif char == "\n":
            self.waits = False
            self._down()
        else:
            assert char.isprintable() or char in "\u200c\u200d", f"{char!r} reached the terminal"
            self._draw(char, cells(char))

    def _down(self) -> None:
        self.y += 1
        if self.y == len(self.rows):
            self.rows.append(Row())
        self.top = max(self.top, self.y - self.height + 1)

    def _draw(self, char: str, width: int) -> None:
        if width == 0:
            before = self.x if self.waits else self.x - 1
            self.rows[self.y].cells[before] += char
            return
        if self.waits or self.x + width > self.columns:
            self.rows[self.y].wrapped = True
            self._down()
            self.x = 0
        row = self.rows[self.y].cells
        row.extend(" " * (self.x - len(row)))
        row[self.x : self.x + width] = [char, *[""] * (width - 1)]
        self.waits = self.x + width == self.columns
        self.x = min(self.x + width, self.columns - 1)

    def _reflow(self, columns: int) -> None:
        rows: list[Row] = []
        line: list[str] = []
        cursor: int | None = None  # in `line`
        cursor_row = self.rows[self.y]
        for row in self.rows:
            if row is cursor_row:
                cursor = len(line) + self.x + self.waits
            line += row.cells
            if not row.wrapped:
                broken = _break(line, columns)
                if cursor is not None:
                    self._place(broken, cursor, len(rows), columns)
                rows += broken
                line, cursor = [], None
        self.rows = rows

    def _place(self, broken: list[Row], cursor: int, above: int, columns: int) -> None:
        for index, row in enumerate(broken):
            if cursor < len(row.cells) or index == len(broken) - 1:
                self.y, self.x = above + index, min(cursor, columns - 1)
                self.waits = cursor >= columns
                return
            cursor -= len(row.cells)


def _break(line: list[str], columns: int) -> list[Row]:
    rows = [Row()]
    for index, cell in enumerate(line):
        wide = index + 1 < len(line) and line[index + 1] == ""
        if len(rows[-1].cells) + 1 + wide > columns:
            rows[-1].wrapped = True
            rows.append(Row())
        rows[-1].cells.append(cell)
    return rows
