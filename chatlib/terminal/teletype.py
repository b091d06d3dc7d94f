"""A program's operator at its standard input and output: lines in, text out, on the program's loop, which never waits.

At a terminal that can be drawn on there are prompt, line editor, history and completion, and what is printed appears
above the half-typed line. At any other, and when asked for, there are plain lines that the terminal edits itself. Where
there is no terminal there is no prompt. Must not know what a line means.

Legal order: build, ``attach``, then ``with`` while the loop runs, with ``flush`` among its phases. Invariants:

- the terminal is as it was found however the block is left, and whenever another job has it;
- in the background of its shell the program goes on: it prints, and reads nothing until it is the current job again;
- what nobody takes from us is bounded: lines are dropped and counted before they are drawn, so no drawing is torn.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Protocol, Self

from chatlib.protocol.text import counted
from chatlib.reactor.loop import Loop
from chatlib.reactor.terminal import Input, Printer, is_terminal
from chatlib.terminal.editor import Action, Editor, Kind
from chatlib.terminal.history import HistoryFile
from chatlib.terminal.modes import (
    LineReader,
    LineTerminal,
    RawTerminal,
    moves_cursor,
    reflows,
    wants_colour,
    window_size,
)
from chatlib.terminal.screen import Display, Part, PlainScreen, Screen

STDIN, STDOUT = 0, 1
_LIMIT = 8 << 20  # characters kept for a reader who does not read: a list of 100,000 users
_RETRY = 0.5  # seconds until a terminal that belongs to another job is tried again


class Operator(Protocol):
    """The program behind it."""

    @property
    def prompt(self) -> str:
        """What stands before the half-typed line."""

    @property
    def asking(self) -> bool:
        """Whether the next line answers a question: it is no command, and not remembered."""

    def line(self, line: str) -> None:
        """A line was typed."""

    def complete(self, before: str) -> list[str]:
        """What the half-typed line may become, as :class:`.Editor` takes it."""

    def interrupted(self) -> None:
        """Ctrl+C, with nothing typed that it could clear."""

    def end_typed(self) -> None:
        """Ctrl+D at a terminal."""

    def ended(self) -> None:
        """The end of a pipe or file: no more lines."""

    def hung_up(self) -> None:
        """The terminal is gone."""

    def continued(self, seconds: float) -> None:
        """The program had been stopped (Ctrl+Z) for so long."""


class Teletype:
    """Keyboard and paper of one operator. `signals` are those that ``signalled`` takes."""

    def __init__(
        self,
        loop: Loop,
        environ: Mapping[str, str],
        *,
        plain: bool = False,
        history: HistoryFile | None = None,
        stdin: int = STDIN,
        stdout: int = STDOUT,
    ) -> None:
        self._loop, self._stdin, self._stdout = loop, stdin, stdout
        self._history = history
        self._printer = Printer(loop, stdout)
        self._input = Input(loop, self, stdin)
        self._actions: Iterator[Action] = iter(())
        self._held = self._dropped = 0
        self._changed = True  # something may look different since the last flush
        self._present = False  # the terminal, or whatever stands for it, is ours now
        self._trying = False  # to get the terminal back
        self.at_terminal = is_terminal(stdin)
        self.signals = [signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH] if self.at_terminal else []
        shown = self.at_terminal and is_terminal(stdout)
        self._build(environ, drawn=shown and not plain and moves_cursor(environ), interactive=shown)

    def _build(self, environ: Mapping[str, str], drawn: bool, interactive: bool) -> None:
        write = self._printer.write
        self._editor: Editor | LineReader
        self._terminal: RawTerminal | LineTerminal | None
        self._own: Display  # while the terminal is ours
        if drawn:
            self._terminal = RawTerminal(self._stdin)
            self._editor = editor = Editor()
            self._own = Screen(write, editor, *window_size(self._stdout), colour=wants_colour(environ),
                               reflows=reflows(environ))  # fmt: skip
            editor.history[:] = self._history.lines() if self._history else []
        else:
            self._terminal = LineTerminal(self._stdin) if self.at_terminal else None
            self._editor = LineReader()
            self._own = PlainScreen(write, self._editor, interactive=interactive)
        self._display: Display = PlainScreen(write, LineReader())  # in the background: lines between those of others
        self._display.open()

    def attach(self, operator: Operator) -> None:
        """Whom lines go to."""
        self._operator = operator
        if isinstance(self._editor, Editor):
            self._editor.complete = operator.complete

    def __enter__(self) -> Self:
        # In the background of a terminal, reading and printing would stop the process: they fail, and are tried again.
        for number in (signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)
        self._enter()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._say_dropped()
            self._display.close()
            self._printer.finish()
        finally:
            if self._terminal:
                self._terminal.leave()

    # Out.

    @property
    def columns(self) -> int:
        """How wide lines may be; 0: as wide as they are."""
        return window_size(self._stdout)[0] if is_terminal(self._stdout) else 0

    def print(self, *parts: Part) -> None:
        """One line."""
        self._changed = True
        size = sum(len(part) if isinstance(part, str) else len(part.text) for part in parts) + 1
        if self._held + size > _LIMIT:
            self._dropped += 1
        else:
            self._held += size
            self._display.print(*parts)

    def flush(self) -> None:
        """A phase of the tick: shows what has changed, if all that was shown before has been taken."""
        if not self._changed:  # nearly always
            return
        if not self._printer.idle:
            self._printer.flush()
            if not self._printer.idle:
                return
        self._changed = False
        self._say_dropped()
        self._held = 0
        self._editor.keep_history = self._remembers()
        self._display.set_prompt(self._operator.prompt)
        self._display.flush()
        self._printer.flush()

    def _say_dropped(self) -> None:
        if self._dropped:
            self._display.print(f"({counted(self._dropped, 'line')} dropped: nobody read on.)")
        self._dropped = 0

    # In: what Input says.

    def typed(self, data: bytes) -> None:
        self._take(self._editor.feed(data))

    def proceed(self) -> None:
        self._take(())

    def end_typed(self) -> None:
        self._changed = True
        self._operator.end_typed()

    def ended(self) -> None:
        self._take(self._editor.finish())

    def taken_away(self) -> None:
        self._step_back()
        self._look_again()

    def hung_up(self) -> None:
        self._operator.hung_up()

    def _take(self, actions: Iterable[Action]) -> None:
        self._changed = True
        # What a fault left behind comes first, and stays here while it is carried out.
        self._actions = chain(self._actions, actions)
        for action in self._actions:
            self._do(action)

    def _do(self, action: Action) -> None:
        match action.kind:
            case Kind.LINE:
                self._display.echo(action.text)
                if self._history and self._editor.keep_history and action.text:
                    self._history.add(action.text)
                self._operator.line(action.text)
                self._editor.keep_history = self._remembers()
            case Kind.INTERRUPT:
                self.interrupt()
            case Kind.END if self.at_terminal:
                self._operator.end_typed()
            case Kind.END:
                self._operator.ended()
            case Kind.SUSPEND:
                self._suspend()
            case Kind.REDRAW:
                self._display.redraw()

    def _remembers(self) -> bool:
        return isinstance(self._editor, Editor) and not self._operator.asking

    def interrupt(self) -> None:
        """Ctrl+C: clears the half-typed line; of an empty one the operator is told."""
        self._changed = True
        if isinstance(self._editor, Editor) and self._editor.text:
            self._editor.clear()
        else:
            self._operator.interrupted()

    # The terminal comes and goes.

    def signalled(self, number: int) -> None:
        """One of `signals` has come."""
        self._changed = True
        match number:
            case signal.SIGWINCH:
                self._own.resize(*window_size(self._stdout))
            case signal.SIGTSTP:
                self._suspend()
            case signal.SIGCONT if self._present:  # stopped without a word: a shell may have used the terminal since
                self._present = False
                self._enter()

    def _enter(self) -> None:
        """Takes the terminal if this is its current job, else looks again and again whether it is."""
        if self._terminal is None or self._terminal.enter():
            self._show_on(self._own)
            self._own.resize(*window_size(self._stdout))
            self._present = True
            self._input.start()
            return
        if self._display is self._own:
            self._show_on(PlainScreen(self._printer.write, LineReader()))
            self._input.pause()
        self._look_again()

    def _show_on(self, display: Display) -> None:
        if display is not self._display:
            self._display.close()
        self._display = display
        self._changed = True
        display.open()

    def _look_again(self) -> None:
        if not self._trying:
            self._trying = True
            self._loop.call_later(_RETRY, self._try_again)

    def _try_again(self) -> None:
        self._trying = False
        if self._present:
            return  # it was given back meanwhile
        if is_terminal(self._stdin):
            self._enter()
        else:
            self._operator.hung_up()

    def _step_back(self) -> None:
        """Leaves the terminal to another job."""
        if self._present:
            self._present = False
            self._input.pause()
            self._show_on(PlainScreen(self._printer.write, LineReader()))
            if self._terminal:
                self._terminal.leave()

    def _suspend(self) -> None:
        """As Ctrl+Z does with any program: everything stands still until the shell continues it."""
        if self._terminal is None:
            return
        self._step_back()
        self._printer.finish(patience=0.2)
        begun = time.monotonic()
        self._terminal.suspend()
        self._operator.continued(time.monotonic() - begun)
        self._enter()
