"""The program for people: terminal, dialogue, conversation and link on one loop.

Must not know what is said. A tick: keys and the network are read; the link takes its turn; news go to the dialogue,
then lines that had to wait; the link sends; the screen shows. Invariants: the terminal is as it was found however the
program ends; without a terminal no line is read before the one before it could be taken, so scripts need no pauses.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.files import TransferQueue
from chatlib.client.link import Alarm, Link
from chatlib.client.memory import FileMemory, default_folder
from chatlib.program import lines
from chatlib.program.dialogue import Dialogue
from chatlib.program.filetalk import FileTalk
from chatlib.program.progress import STEP
from chatlib.reactor.loop import READ, Loop, Signals
from chatlib.terminal import modes
from chatlib.terminal.editor import Action, Editor, Kind
from chatlib.terminal.modes import LineReader, LineTerminal, RawTerminal
from chatlib.terminal.screen import Display, PlainScreen, Screen, style

STDIN, STDOUT = 0, 1
CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    host: str
    port: int
    plain: bool = False
    user: str = ""
    reconnect: bool = True
    history: bool = True
    downloads: Path = Path()


class _Unwritten(Exception):
    """What was to be shown was not taken."""


def _write(text: str) -> None:
    """Everything, at once: a terminal that is stopped (Ctrl+S) stops the program. Raises _Unwritten."""
    left = memoryview(text.encode(sys.stdout.encoding if sys.stdout else "utf-8", "replace"))
    try:
        while left:
            left = left[os.write(STDOUT, left) :]
    except OSError as error:
        raise _Unwritten(error.errno, error.strerror) from None


def _raise(fault: BaseException) -> None:
    raise fault


class Program:
    """Legal order: build, ``run`` once."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self._loop = Loop(on_fault=_raise)
        self._alarm = Alarm(self._loop)
        self._build_screen(options, environ)
        self._memory = FileMemory(default_folder(environ), self._complain, options.history)
        self._conversation = Conversation(self._memory, reconnect=options.reconnect, attended=self._typed)
        self._link = Link(self._loop, options.host, options.port, self._conversation)
        self._transfers = TransferQueue(self._loop, self._conversation, lambda: self._link.peer)
        self._files = FileTalk(
            self._conversation, self._transfers, self._display, options.downloads, bars=self._drawn
        )
        self._dialogue = Dialogue(
            self._conversation,
            self._display,
            self._link,
            self._files,
            time.time,
            user=options.user,
            times=self._drawn,
            window=1_000 if self._typed else 1,  # a script's transcript has each answer below its command
            script=not self._typed,
        )
        self._loop.phases = [self._link.turn, self._hear, self._link.flush, self._show]
        self._actions: Iterator[Action] = iter(())
        self._held: Action | None = None  # an action that has to wait
        self._reading = self._always_ready = False
        self._input_over = False
        self._left = False

    def _build_screen(self, options: Options, environ: Mapping[str, str]) -> None:
        """A screen where there is a terminal that can be drawn on, else plain lines."""
        self._typed = os.isatty(STDIN)
        self._drawn = self._typed and os.isatty(STDOUT) and not options.plain and modes.moves_cursor(environ)
        self._terminal: RawTerminal | LineTerminal | None = None
        self._editor: Editor | LineReader
        self._display: Display
        if self._drawn:
            self._terminal = RawTerminal(STDIN)
            self._editor = editor = Editor(self._complete)
            self._editor.keep_history = False  # answers to questions are no commands
            looks = {"colour": modes.wants_colour(environ), "reflows": modes.reflows(environ)}
            self._display = Screen(_write, editor, *modes.window_size(STDOUT), **looks)
        else:
            self._editor = LineReader()
            terminal = self._terminal = LineTerminal(STDIN) if self._typed else None
            self._display = PlainScreen(
                _write, self._editor, interactive=self._typed, echo_input=terminal.echo if terminal else None
            )

    def run(self) -> int:
        """Until it is over; returns the exit status."""
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        if self._terminal:
            numbers += [signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT]
        Signals(self._loop, numbers, self._signalled)
        try:
            with ExitStack() as at_end:
                at_end.callback(self._loop.close)
                at_end.callback(self._memory.close)
                at_end.callback(self._link.close)
                at_end.callback(self._transfers.stop)
                if self._terminal:
                    at_end.enter_context(self._terminal)
                    if not self._terminal.entered:
                        print("Error! The terminal cannot be used.", file=sys.stderr)
                        return 1
                at_end.enter_context(self._display)
                self._read_on(True)
                self._loop.run()
        except _Unwritten as error:
            number, reason = error.args
            if number not in (errno.EPIPE, errno.EIO):  # nobody reads what we print: the pipe or the window is closed
                print(f"Error! Standard output: {reason}.", file=sys.stderr)
            return 1
        return 1 if self._dialogue.status is None else self._dialogue.status

    # Phases.

    def _hear(self) -> None:
        while True:
            for item in self._conversation.take_news():
                self._dialogue.heard(item, self._loop.now)
                if isinstance(item, n.LoggedIn) and not item.again:
                    self._editor.history[:] = self._memory.history()
                    if self._drawn:
                        self._files.refresh(self._loop.now)
            self._act()
            self._dialogue.rest(self._loop.now)
            if not self._conversation.has_news:
                break
        if self._dialogue.status is not None:
            self._loop.stop()

    def _show(self) -> None:
        self._dialogue.prompt(self._link.retry_at - self._loop.now)
        if self._conversation.state is None and self._conversation.user and self._conversation.wanted:
            self._alarm.set(self._loop.now + 1.0)  # the seconds in the prompt
        self._display.set_status(self._files.status(self._loop.now))
        if self._files.busy:
            self._conversation.active(self._loop.now)
            self._alarm.set(self._loop.now + STEP)
        self._display.flush()

    def _complete(self, before: str) -> list[str]:
        found = self._files.complete(before)
        return lines.complete(before, self._dialogue.names) if found is None else found

    # Input.

    def readable(self) -> None:
        if self._terminal and not modes.in_foreground(STDIN):
            self._resume()  # what is typed is another job's
            return
        try:
            chunk = os.read(STDIN, CHUNK)
        except OSError:
            chunk = b""  # the terminal has hung up
        if self._typed and chunk:
            self._conversation.active(self._loop.now)
        if not chunk:
            self._input_over = True
            self._read_on(False)
            self._actions = iter([*self._actions, *self._editor.finish()])
        elif self._held and b"\x03" in chunk and self._drawn:
            self._leave()
        else:
            self._actions = self._editor.feed(chunk)

    def again(self) -> None:
        self.readable()

    def writable(self) -> None: ...

    def broken(self) -> None: ...

    def _read_on(self, wanted: bool) -> None:
        """Reads, or leaves it to the kernel to keep what is typed."""
        wanted = wanted and not self._input_over
        if self._always_ready:
            if wanted:
                self._loop.again(self)
        elif wanted != self._reading:
            try:
                self._loop.change(STDIN, READ if wanted else 0, self)
            except OSError:  # a plain file or /dev/null is always ready, a closed descriptor says so when it is read
                self._always_ready = True
                self._loop.again(self)
        self._reading = wanted

    def _act(self) -> None:
        """Carries out what was typed, as far as it can be taken now."""
        while self._dialogue.status is None:
            self._held = self._held or next(self._actions, None)
            if self._held is None:
                break
            waits = self._held.kind is Kind.LINE or (self._held.kind is Kind.END and not self._typed)
            if waits and not self._dialogue.accepts():
                break
            action, self._held = self._held, None
            self._do(action)
            self._editor.keep_history = self._drawn and self._dialogue.online
        self._read_on(self._typed or (self._held is None and self._dialogue.accepts()))

    def _do(self, action: Action) -> None:
        match action.kind:
            case Kind.LINE:
                self._display.echo(action.text)
                if self._dialogue.online:
                    self._memory.typed(lines.without_text(action.text))
                self._dialogue.line(action.text, self._loop.now)
            case Kind.END if not self._typed:
                self._dialogue.input_ended(self._loop.now)
            case Kind.INTERRUPT:
                self._interrupt()
            case Kind.END:
                self._leave()
            case Kind.SUSPEND:
                self._suspend()
            case Kind.REDRAW:
                self._display.redraw()

    def _interrupt(self) -> None:
        """Ctrl+C leaves a question, else the program."""
        if self._dialogue.back_out():
            self._editor.clear()
        else:
            self._leave()

    def _leave(self) -> None:
        """Leaves cleanly; asked twice, at once."""
        if self._left:
            self._conversation.end("LOGGED_OUT", "")
        else:
            self._left = True
            self._dialogue.leave(self._loop.now)

    def _suspend(self) -> None:
        """Ctrl+Z. It goes on in the foreground alone: what came meanwhile is seen before it is acknowledged."""
        if self._terminal:
            self._display.close()
            self._continued(self._terminal.suspend())

    def _resume(self) -> None:
        """Something else than Ctrl+Z has stopped the program; in the background it is stopped once more."""
        if self._terminal:
            self._continued(self._terminal.enter())

    def _continued(self, has_terminal: bool) -> None:
        self._display.resize(*modes.window_size(STDOUT))
        self._display.open()
        if has_terminal:
            self._dialogue.repeat()
        else:
            self._leave()

    def _signalled(self, number: int) -> None:
        match number:
            case signal.SIGWINCH:
                self._display.resize(*modes.window_size(STDOUT))
            case signal.SIGTSTP:
                self._suspend()
            case signal.SIGCONT:
                self._resume()
            case signal.SIGINT:
                self._interrupt()
            case _:
                self._leave()

    def _complain(self, why: str) -> None:
        self._display.print(style(why, "yellow"))
