"""``client.py --admin``: the server's console from afar, on one loop with its teletype and its connection.

What the console says is the server's; here is only what a person needs to get there and away again. Must not know the
console's commands: what a half-typed line may become is asked of the server, and Tab pressed once more when it answers.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import time
from collections.abc import Mapping

from chatlib.client.link import Link
from chatlib.client.memory import default_folder
from chatlib.client.steering import Steering
from chatlib.program import running
from chatlib.program.options import Options
from chatlib.program.secrecy import Secrecy, servers_of
from chatlib.program.sentences import admin as say
from chatlib.program.sentences.book import error
from chatlib.program.settings import Settings, default_path
from chatlib.protocol.scram import ScramError
from chatlib.reactor.loop import Loop
from chatlib.terminal.history import HistoryFile
from chatlib.terminal.operator import Operator, Prompt
from chatlib.terminal.screen import style
from chatlib.terminal.teletype import Teletype

_SECRET = Prompt("", secret=True, question=True)  # from the start: what is typed early may be the password


def _raise(fault: BaseException) -> None:
    raise fault


class ConsoleProgram(Operator):
    """Legal order: build, ``run`` once."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self._options = options
        self._loop = loop = Loop(on_fault=_raise)
        self._teletype = Teletype(loop, environ, plain=options.plain, background=False)
        self._script = not self._teletype.at_terminal
        if not self._script:
            settings = Settings(default_path(environ))
            settings.load()
            self._teletype.set_colours(settings.on("colours"))
        if options.history:
            folder = default_folder(environ)
            with contextlib.suppress(OSError):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._teletype.remember(HistoryFile(folder / "console_history.txt"))
        self._steering = Steering(self)
        self._link = Link(loop, servers_of(options, environ, self._teletype.print), self._steering)
        self._secrecy = Secrecy(self._link, environ)
        self._teletype.attach(self)
        self._asked = self._opened = self._refused = False
        self._prompt = _SECRET
        self._known: tuple[str, list[str]] | None = None  # a half-typed line, and what it may become
        self._status: int | None = None
        loop.phases = [self._link.turn, self._link.flush, self._show]

    def run(self) -> int:
        """Until it is over; returns the exit status."""
        running.announce(self._loop, self._teletype, self._options.servers, lambda: self._steering.is_calling)
        if not running.run(self._loop, self._teletype, self._leave, self._link.close):
            return 1
        return 1 if self._status is None else self._status

    def _show(self) -> None:
        self._teletype.flush()
        if self._status is not None:
            self._loop.stop()

    # What the teletype asks and tells.

    @property
    def prompt(self) -> Prompt:
        return self._prompt

    @property
    def ready(self) -> bool:
        return self._asked or (self._steering.open and not self._steering.asks("console"))

    def line(self, line: str) -> None:
        if not self._asked:
            if line.strip() or self._prompt.question:
                self._steering.line(line, self._teletype.columns, self._loop.now)
        elif line or self._script:
            self._give(line)
        else:
            self._leave()

    def _give(self, password: str) -> None:
        try:
            self._asked = False
            self._steering.give(password, self._loop.now)
        except ScramError as wrong:
            self.refused(str(wrong))
            if self._status is None:
                self.asked()

    def complete(self, before: str) -> list[str]:
        if self._known and self._known[0] == before:
            return self._known[1]
        if self._steering.open and not self._steering.asks("complete"):
            self._steering.complete(before, self._loop.now)
        return []

    def touched(self) -> None:
        self._steering.active(self._loop.now)

    def interrupted(self) -> None:
        """Ctrl+C: out of a list or a question there, else out of here."""
        if self._steering.open and not self._steering.asks("interrupt"):
            self._steering.interrupt(self._loop.now)
        else:
            self._leave()

    def end_typed(self) -> None:
        """Ctrl+D."""
        if self._steering.open and self._prompt.question:
            self._steering.line("", self._teletype.columns, self._loop.now)
        else:
            self._leave()

    def ended(self) -> None:
        self._steering.leave(self._loop.now, patient=True)

    def hung_up(self) -> None:
        self._leave()

    def unread(self, failure: OSError) -> None:
        if failure.errno not in (errno.EPIPE, errno.EIO):  # then the pipe or the window was closed
            print(f"Error! Standard output: {failure.strerror}.", file=sys.stderr)
        self._status = 1

    def _leave(self) -> None:
        """Leaves; asked twice, at once."""
        self._steering.leave(self._loop.now, patient=False)

    # What the console tells.

    def asked(self) -> None:
        self._asked = True
        for line in self._secrecy.lines(self._steering.offers_tls):
            self._teletype.print(*line)
        self._teletype.print(say.PASSWORD)

    def refused(self, text: str) -> None:
        self._teletype.print(*error(text))
        if self._script:  # its next lines are no passwords
            self._refused = True
            self._steering.end("LOGGED_OUT", "")

    def opened(self) -> None:
        self._opened, self._prompt = True, Prompt("", question=True)  # the server says which
        self._teletype.print(say.console(*self._link.at))

    def told(self, text: str, at: float) -> None:
        stamp = time.strftime("[%H:%M:%S] ", time.localtime(at)) if at else ""
        for line in text.split("\n"):
            self._teletype.print(*([style(stamp, "dim head")] if stamp else []), line)

    def prompted(self, text: str, question: bool) -> None:
        self._prompt = Prompt(text, question=question)
        self._teletype.proceed()  # it is shown, and what was typed early goes on

    def completed(self, line: str, items: list[str]) -> None:
        if items:
            self._known = line, items
            self._teletype.complete(line)
            self._known = None

    def nothing_left(self) -> None:
        self._leave()

    def over(self, status: str, text: str) -> None:
        self._asked, self._prompt = False, Prompt("")
        self._status = int(self._refused)
        if status == "SHUTTING_DOWN":
            self._teletype.print(text)
        elif status != "LOGGED_OUT":
            self._teletype.print(*error(text))
            self._status = 1
        elif self._opened:
            self._teletype.print(say.LEFT)
