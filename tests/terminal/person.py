"""Someone at an emulated terminal: what is typed, printed and resized, and whether what is then seen is right."""

from __future__ import annotations

from chatlib.terminal.editor import ActionKind, Editor
from chatlib.terminal.screen import Part, Screen, choices, shown, style
from chatlib.terminal.width import drawn
from chatlib.terminal.wrapping import hanging, word_rows, wrapped
from tests.terminal.emulator import Emulator

WORDS = ("stop", "stop all", "status", "sta中tion", "x" * 30)


def complete(before: str) -> list[str]:
    head, blank, word = before.rpartition(" ")
    return [head + blank + each for each in WORDS if each.startswith(word)]


class Person:
    """Notes what should be seen; ``look`` compares."""

    def __init__(self, columns: int = 20, rows: int = 8, reflows: bool = True) -> None:
        self.terminal = Emulator(columns, rows, reflows)
        self.editor = Editor(complete)
        self.screen = Screen(self.terminal.write, self.editor, columns, rows, reflows=reflows)
        self.printed: list[str] = []  # rows as they were broken when they were shown
        self.prompt = ""
        self.status: list[str] = []
        self.lines_above = 0  # the prompt, when it was shown
        self.scrolled_off = False  # rows of the prompt that nothing can erase any more are above the screen
        self._unseen: list[tuple[int, list[Part]]] = []  # how wide what stands before the text is, and the line
        self.screen.open()

    def type(self, keys: str) -> None:
        for action in self.editor.feed(keys.encode()):
            if action.kind is ActionKind.LINE:
                self.screen.echo(action.text)
                line = "" if self.editor.secret else action.text
                self._unseen.append((len(self.prompt), [self.prompt, line]))
            elif action.kind is ActionKind.INTERRUPT:
                self.editor.drop()

    def print(self, *lines: str) -> None:
        for line in lines:
            self.screen.print(line)
            self._unseen.append((0, [line]))

    def say(self, name: str, text: str) -> None:
        """A line with a hanging indent."""
        self.screen.print(style("[12:45] ", "dim head"), style(f"{name}:", "name head"), f" {text}")
        self._unseen.append((len(name) + 9, [f"[12:45] {name}:", f" {text}"]))

    def set_prompt(self, prompt: str) -> None:
        self.screen.set_prompt(prompt)
        self.prompt = prompt

    def set_status(self, lines: list[str]) -> None:
        self.screen.set_status(lines)
        self.status = lines

    def resize(self, columns: int, rows: int) -> None:
        self.terminal.resize(columns, rows)
        if not self.scrolled_off:
            self.scrolled_off = self.terminal.row_after(self.lines_above) < self.terminal.top
        self.screen.resize(columns, rows)

    def look(self) -> None:
        """Flush, and compare all that can be seen with what should be."""
        self.screen.flush()
        self._note_printed()
        if self.scrolled_off:
            # Old pieces of the prompt are among what has scrolled off, and a line may look like the continuation of
            # one; yet nothing printed is lost, or out of order.
            remaining = iter(self.terminal.logical_lines())
            assert all(any(seen.endswith(line) for seen in remaining) for line in self.printed)
            assert self._before().endswith(self._until_cursor(self.terminal.y))
            return
        self._compare_with_model()
        self._compare_with_fresh_drawing()

    def _note_printed(self) -> None:
        columns = self.terminal.columns
        for head, parts in self._unseen:
            text = "".join(map(shown, parts))
            rows = wrapped(text, columns, hanging(head + _blanks(parts[-1]), columns))
            self.printed += [" " * row.indent + text[row.start : row.end] for row in rows]
        self._unseen.clear()
        self.lines_above = len(self.printed)

    def _compare_with_fresh_drawing(self) -> None:
        """A screen that knows nothing of what was, with the same rows above it, shows the same."""
        terminal = self.terminal
        fresh = Emulator(terminal.columns, terminal.height)
        fresh.write("".join(row + "\r\n" for row in self.printed))
        screen = Screen(fresh.write, self.editor, terminal.columns, terminal.height)
        screen.set_prompt(self.prompt, secret=self.editor.secret)
        screen.set_status(self.status)
        screen.open()
        screen.flush()
        start, fresh_start = terminal.row_after(len(self.printed)), fresh.row_after(len(self.printed))
        assert terminal.logical_lines(start) == fresh.logical_lines(fresh_start)
        assert _rows(terminal, start) == _rows(fresh, fresh_start)
        assert (terminal.y - start, terminal.x) == (fresh.y - fresh_start, fresh.x)

    def _compare_with_model(self) -> None:
        terminal = self.terminal
        start = terminal.row_after(len(self.printed))
        assert terminal.logical_lines(start) == self.printed
        assert start >= terminal.top
        status = self.status[: terminal.height // 2]
        rows = [row.text for row in terminal.rows[start:]]
        assert all(line.startswith(row) and row for line, row in zip(status, rows, strict=False))
        room = terminal.height - len(status)
        offered = self.editor.offered
        table = choices(offered, terminal.columns, (room - 1) // 2) if offered else []
        text, before = self._text(), self._before()
        room -= len(table)
        line = rows[len(status) : len(status) + room]
        if len(word_rows(text, terminal.columns)) < room:
            below = "".join(line).rstrip()
            assert below.startswith(text.rstrip())
            assert self._until_cursor(start + len(status)) == before
            assert not table or "stop" in below or "sta" in below or "x" in below
        else:
            assert before.endswith(self._until_cursor(start + len(status)))

    def _prompt(self) -> str:
        search = self.editor.search
        return f"({'not found' if search.failed else 'search'}: {search.wanted}) " if search else self.prompt

    def _text(self) -> str:
        return self._prompt() + ("" if self.editor.secret else drawn(self.editor.text))

    def _before(self) -> str:
        return self._prompt() + ("" if self.editor.secret else drawn(self.editor.text[: self.editor.cursor]))

    def _until_cursor(self, start: int) -> str:
        """What is shown before the cursor, from row `start` on."""
        terminal = self.terminal
        assert not terminal.waits
        row = terminal.rows[terminal.y].cells
        # A cursor never stands beyond the text, nor on the right half of a wide character.
        assert terminal.x == len(row) or row[terminal.x]
        return "".join(each.text for each in terminal.rows[start : terminal.y]) + "".join(row[: terminal.x])


def _blanks(part: Part) -> int:
    text = shown(part)
    return len(text) - len(text.lstrip())


def _rows(terminal: Emulator, start: int) -> list[str]:
    rows = [row.text for row in terminal.rows[start:]]
    while rows and not rows[-1]:
        rows.pop()
    return rows
