"""Plain lines, for pipes, scripts and screen readers: no escape sequence, no colour, no prompt, each thing once.

Must not know where the output goes, or what a line means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chatlib.terminal.editor import Editor
from chatlib.terminal.modes import LineReader
from chatlib.terminal.screen import Display, Part, Write, read_aloud


class PlainScreen(Display):
    """`editor` is told what is secret, `echo_input` whether what is typed may be shown (:meth:`.LineTerminal.echo`).
    `bell`: there is one.

    The prompt, its note and status lines are never shown: what they would say is said in lines.
    """

    def __init__(
        self,
        write: Write,
        editor: Editor | LineReader,
        *,
        echo_input: Callable[[bool], None] | None = None,
        bell: bool = False,
    ) -> None:
        super().__init__(write)
        self._bell = bell
        self._editor = editor
        self._echo_input = echo_input
        self._opened = False

    def _set_secret(self, secret: bool) -> None:
        if secret != self._editor.secret and self._echo_input is not None:
            self._echo_input(not secret)
        self._editor.secret = secret

    def set_status(self, lines: Iterable[Part]) -> None:
        pass

    def note(self, title: str, text: str) -> None:
        pass

    def watch_focus(self, wanted: bool) -> None:
        pass

    def set_colours(self, count: int) -> None:
        pass

    def echo(self, line: str) -> None:
        pass  # the kernel has shown line and newline

    def resize(self, columns: int, rows: int) -> None:
        pass

    def redraw(self) -> None:
        pass

    def open(self) -> None:
        self._opened = True

    def close(self) -> None:
        self.flush()
        self._opened = False

    def flush(self) -> None:
        if self._opened and self._printed:
            self._write("".join(["".join(map(read_aloud, parts)) + "\n" for parts in self._printed]))
            self._printed.clear()
        if (calls := self._take_calls()) and self._opened and self._bell:
            self._write(calls)
