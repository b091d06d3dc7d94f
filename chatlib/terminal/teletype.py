"""A program's operator at its standard input and output: lines in, text out, on the program's loop, which never waits.

At a terminal that can be drawn on there are prompt, line editor, history and completion, and what is printed appears
above the half-typed line. At any other, and when asked for, there are plain lines that the terminal edits itself; there
is no prompt, but it is said once that one can type. Must not know what a line means.

Legal order: build, ``attach``, then ``with`` while the loop runs, with ``flush`` among its phases. Invariants:

- the terminal is as it was found however the block is left, and whenever another job has it;
- a line is handed over only when the operator is ready for it, and the lines of a pipe wait in the pipe;
- what nobody takes from us is bounded, where the program says so: lines are dropped and counted before they are drawn,
  so no drawing is torn. A program that must lose none says no more while it is ``clogged``.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from chatlib.protocol.text import counted
from chatlib.reactor.loop import Loop
from chatlib.reactor.terminal import Input, Printer, is_terminal
from chatlib.terminal.calling import is_focus_report, note_form
from chatlib.terminal.colours import colours
from chatlib.terminal.editor import Action, ActionKind, Editor
from chatlib.terminal.history import HistoryFile
from chatlib.terminal.modes import (
    LineReader,
    LineTerminal,
    RawTerminal,
    moves_cursor,
    reflows,
    window_size,
)
from chatlib.terminal.operator import Operator
from chatlib.terminal.plain import PlainScreen
from chatlib.terminal.screen import Display, Part, Screen

STDIN, STDOUT = 0, 1
_LIMIT = 8 << 20  # characters kept for a reader who does not read: a list of 100,000 users
_RETRY = 0.5  # seconds until a terminal that belongs to another job is tried again


class Teletype:
    """Keyboard and paper of one operator. `signals` are those that ``signalled`` takes.

    `background`: in the background of its shell the program goes on, prints, and reads nothing until it is the current
    job again; another one is stopped there. `bounded`: what nobody reads is dropped in the end. `eager`: what is typed
    is carried out in the tick's input; else it waits until the program calls ``proceed``.
    """

    def __init__(
        self,
        loop: Loop,
        environ: Mapping[str, str],
        *,
        plain: bool = False,
        background: bool = True,
        bounded: bool = True,
        eager: bool = True,
        stdin: int = STDIN,
        stdout: int = STDOUT,
    ) -> None:
        self._loop, self._stdin, self._stdout = loop, stdin, stdout
        self._background, self._bounded, self._eager = background, bounded, eager
        self._history: HistoryFile | None = None
        self._printer = Printer(loop, stdout, sys.stdout.encoding if sys.stdout else "utf-8")
        self._input = Input(loop, self, stdin)
        self._actions: Iterator[Action] = iter(())
        self._held: Action | None = None  # the one that the operator is not ready for
        self._reading = self._over = False
        self._unseen = self._dropped = 0  # characters printed since the last flush; lines that nobody will read
        self._changed = True  # something may look different since the last flush
        self._trying = False  # to get the terminal back
        self.present = False  # whether the terminal, or whatever stands for it, is ours now
        self.at_terminal = is_terminal(stdin)
        self.signals = [signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH] if self.at_terminal else []
        shown = self.at_terminal and is_terminal(stdout)
        self.drawn = shown and not plain and moves_cursor(environ)  # else there are plain lines
        self.plain = plain or (shown and not self.drawn)  # somebody reads plain lines: no script
        self._invited = True  # it was said that one can type, since the terminal is ours
        self._in_front = True  # as far as the terminal says
        self._colours = colours(environ)
        self._build(environ, bell=shown and moves_cursor(environ))

    def _build(self, environ: Mapping[str, str], bell: bool) -> None:
        write = self._printer.write
        self._editor: Editor | LineReader
        self._terminal: RawTerminal | LineTerminal | None
        self._own: Display  # while the terminal is ours
        if self.drawn:
            self._terminal = RawTerminal(self._stdin)
            self._editor = editor = Editor()
            self._own = Screen(write, editor, *window_size(self._stdout), colours=self._colours,
                               reflows=reflows(environ), notes=note_form(environ))  # fmt: skip
        else:
            self._terminal = terminal = LineTerminal(self._stdin) if self.at_terminal else None
            self._editor = LineReader()
            self._own = PlainScreen(write, self._editor, echo_input=terminal.echo if terminal else None, bell=bell)
        self._display: Display = PlainScreen(write, LineReader())  # in the background: lines between those of others
        self._display.open()

    def attach(self, operator: Operator) -> None:
        """Whom lines go to."""
        self._operator = operator
        if isinstance(self._editor, Editor):
            self._editor.complete, self._editor.turn = operator.complete, operator.turn

    def complete(self, before: str) -> None:
        """What a half-typed line may become was not known when Tab was pressed, and is by now: if the line is still
        `before`, Tab is pressed once more."""
        editor = self._editor
        if isinstance(editor, Editor) and not editor.search and editor.text[: editor.cursor] == before:
            self.typed(b"\t")

    def give_back(self, line: str) -> bool:
        """A line that was entered is to be changed: it is in the editor, or what is typed there stays, and the up key
        brings it. Whether it is in the editor; without one it is not needed."""
        return not isinstance(self._editor, Editor) or self._editor.offer(line)

    def remember(self, history: HistoryFile) -> None:
        """From now on lines are kept in `history`, and those in it can be recalled."""
        self._history = history
        if isinstance(self._editor, Editor):
            self._editor.history[:] = history.lines()

    def __enter__(self) -> Self:
        if self._background:
            # There, reading and printing would stop the process: they fail, and are tried again.
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
        if self._bounded and self._unseen + size > _LIMIT:
            self._dropped += 1
        else:
            self._unseen += size
            self._display.print(*parts)

    def set_status(self, lines: Iterable[Part]) -> None:
        """What stands between the printed lines and the prompt from now on: progress bars, say."""
        self._changed = True
        self._own.set_status(lines)

    def set_colours(self, wanted: bool) -> None:
        """Whether colours are used from now on, in a terminal that has some."""
        self._own.set_colours(self._colours if wanted else 0)

    def ring(self) -> None:
        """The bell."""
        self._changed = True
        self._display.ring()

    def note(self, title: str, text: str) -> None:
        """A note on the desktop, unless the terminal is in front; it says so only while that is watched."""
        if not self._in_front:
            self._changed = True
            self._display.note(title, text)

    def watch_focus(self, wanted: bool) -> None:
        """Whether the terminal is to say that it comes to the front, or goes."""
        self._changed = True
        self._in_front |= not wanted
        self._own.watch_focus(wanted)

    @property
    def clogged(self) -> bool:
        """Whether nobody takes what was shown."""
        return not self._printer.idle

    @property
    def idle(self) -> bool:
        """Whether all that was printed has been taken."""
        return not self._unseen and self._printer.idle

    def flush(self) -> None:
        """A phase of the tick: shows what has changed, if all that was shown before has been taken."""
        if self._held and self._eager and self._operator.ready:
            self._input.wake()
        if not self._changed:  # nearly always
            return
        if not self._printer.idle:
            self._printer.flush()
            if not self._printer.idle:
                return
        self._changed = False
        self._say_dropped()
        self._unseen = 0
        self._follow_prompt()
        self._invite()
        self._display.flush()
        self._printer.flush()
        if self._printer.failure:
            failure, self._printer.failure = self._printer.failure, None
            self._operator.unread(failure)

    def _follow_prompt(self) -> None:
        """Before the next key is looked at: it may be one of a password."""
        prompt = self._operator.prompt
        self._editor.keep_history = self.drawn and not prompt.question
        self._display.set_prompt(prompt.text, prompt.note, prompt.secret)

    def _invite(self) -> None:
        """What stands for all prompts where lines are plain, below what was printed before."""
        prompt = self._operator.prompt
        if self.present and not self._invited and prompt.text and not prompt.question:
            self._invited = True
            self._display.print("You can type now.")

    def _say_dropped(self) -> None:
        if self._dropped:
            self._display.print(f"(Left out, because nobody was reading: {counted(self._dropped, 'line')}.)")
        self._dropped = 0

    # In: what Input says.

    def typed(self, data: bytes) -> None:
        if self.at_terminal and not is_focus_report(data):  # which is no key
            self._operator.touched()
            if not (isinstance(self._editor, Editor) and self._editor.text):
                self._operator.begins()
        if self._held and self.drawn and b"\x03" in data:  # it must not wait behind a line that waits
            self._operator.interrupted()
        else:
            self._actions = self._editor.feed(data)
        if self._eager:
            self.proceed()

    def end_typed(self) -> None:
        self._changed = True
        self._operator.end_typed()

    def ended(self) -> None:
        self._over = True
        self._actions = iter([*self._actions, *self._editor.finish()])
        if self._eager:
            self.proceed()

    def taken_away(self) -> None:
        if self._background:
            self._step_back()
            self._look_again()
        else:
            self._come_back(0.0)

    def hung_up(self) -> None:
        self._operator.hung_up()

    def proceed(self) -> None:
        """Carries out what was typed, as far as the operator is ready for it."""
        self._changed = True
        while action := self._held or next(self._actions, None):
            waits = action.kind is ActionKind.LINE or (action.kind is ActionKind.END and not self.at_terminal)
            self._held = action if waits and not self._operator.ready else None
            if self._held:
                break
            self._do(action)
        if not self.at_terminal:
            self._read(not self._held)

    def _read(self, wanted: bool) -> None:
        if wanted and not self._reading and not self._over:
            self._reading = True
            self._input.start()
        elif not wanted and self._reading:
            self._reading = False
            self._input.pause()

    def _do(self, action: Action) -> None:
        match action.kind:
            case ActionKind.LINE:
                if not self._operator.shows(action.text):
                    self._display.echo(action.text)
                if self._history and self.at_terminal and action.text and not self._operator.prompt.question:
                    self._history.add(action.text)
                self._operator.line(action.text)
                self._follow_prompt()
            case ActionKind.INTERRUPT:
                self.interrupt()
            case ActionKind.END if self.at_terminal:
                self._operator.end_typed()
            case ActionKind.END:
                self._operator.ended()
            case ActionKind.SUSPEND:
                self._suspend()
            case ActionKind.REDRAW:
                self._display.redraw()
            case ActionKind.CAME | ActionKind.WENT:
                self._in_front = action.kind is ActionKind.CAME

    def interrupt(self) -> None:
        """Ctrl+C: takes back the half-typed line; where there is none, or none that is seen, the operator is told."""
        self._changed = True
        if self._editor.secret or not self._editor.drop():
            self._editor.clear()
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
            case signal.SIGCONT if self.present:  # stopped without a word: a shell may have used the terminal since
                self._come_back(0.0)

    def _enter(self) -> None:
        """Takes the terminal if this is its current job. Else looks again and again whether it is; or, if the program
        is not to go on without one, is stopped until it is."""
        if self._terminal is None or self._terminal.enter():
            self._show_on(self._own)
            self._own.resize(*window_size(self._stdout))
            self.present = self._in_front = True
            self._invited = not self.plain
            self._follow_prompt()
            self._read(True)
            return
        if self._display is self._own:
            self._show_on(PlainScreen(self._printer.write, LineReader()))
            self._read(False)
        if self._background:
            self._look_again()
        else:
            self._operator.hung_up()

    def _come_back(self, seconds: float) -> None:
        """After the program, or its job, had been stopped for so long."""
        self.present = False
        self._read(False)
        self._enter()
        self._operator.continued(seconds)

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
        if self.present:
            return  # it was given back meanwhile
        if is_terminal(self._stdin):
            self._enter()
        else:
            self._operator.hung_up()

    def _step_back(self) -> None:
        """Leaves the terminal to another job."""
        if self.present:
            self.present = False
            self._read(False)
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
        self._come_back(time.monotonic() - begun)
