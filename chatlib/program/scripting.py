"""``client.py --send``, ``--file`` and ``--json``: one user's errands, without a person and without a terminal.

Nothing is printed but, with ``--json``, events and answers as JSON, a line each; what went wrong goes to standard
error. Must not know screens. Invariants: steps are begun in their order; an event is acknowledged when its line was
taken, so without ``--json`` all mail waits on; the exit status is 0 only when all that was asked for was done.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.files import Sending, ThreadFiles, UserFiles
from chatlib.client.link import Link
from chatlib.client.localfiles import TransferError
from chatlib.client.news import Fields, News, text_of
from chatlib.client.transfers import Transfer, TransferQueue
from chatlib.program.arguments import Step
from chatlib.program.options import Options
from chatlib.program.secrecy import servers_of
from chatlib.protocol import kinds
from chatlib.protocol.scram import ScramError
from chatlib.protocol.text import counted, fold, printable
from chatlib.reactor.loop import Loop, Signals
from chatlib.reactor.terminal import Input, Printer
from chatlib.reactor.timers import Timer
from chatlib.terminal.modes import LineReader

_WINDOW = 200  # requests without an answer; more lines wait in the pipe
_LOOK_AGAIN = 0.5  # seconds until a terminal that belongs to another job is tried again
_PATIENCE = 30.0  # seconds for the server to come back, when there is only something left to be answered


def _raise(fault: BaseException) -> None:
    raise fault


class Lines:
    """The lines of standard input, once ``start`` was called: each goes to `line`, their end to `over`."""

    def __init__(self, loop: Loop, fd: int, line: Callable[[str], None], over: Callable[[], None]) -> None:
        self.reading = False  # between ``start`` and the end
        self._loop = loop
        self._input = Input(loop, self, fd)
        self._reader = LineReader()
        self._tell, self._over = line, over
        self._paused = False

    def start(self) -> None:
        self.reading = True
        self._input.start()

    def hold(self, wanted: bool) -> None:
        """Leaves them in the pipe, or reads on."""
        if self.reading and wanted != self._paused:
            self._paused = wanted
            (self._input.pause if wanted else self._input.start)()

    def end(self) -> None:
        """No more of them."""
        if self.reading:
            self.reading = False
            self._input.pause()

    # What Input says.

    def typed(self, data: bytes) -> None:
        for action in self._reader.feed(data):
            self._tell(action.text)

    def ended(self) -> None:
        for action in self._reader.finish():
            self._tell(action.text)
        self.end()
        self._over()

    def proceed(self) -> None: ...

    def end_typed(self) -> None:
        self.ended()

    def taken_away(self) -> None:
        """The terminal is another job's, until fg."""
        self._loop.call_later(_LOOK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        if self.reading and not self._paused:
            self._input.start()

    def hung_up(self) -> None:
        self.ended()


class ScriptProgram:
    """Legal order: build, ``run`` once."""

    def __init__(self, options: Options, stdin: int = 0, stdout: int = 1) -> None:
        self._options = options
        self._loop = loop = Loop(on_fault=_raise)
        self._conversation = Conversation(reconnect=options.reconnect)
        self._link = Link(loop, servers_of(options, os.environ, self._note), self._conversation)
        self._transfers = TransferQueue(loop, self._conversation, lambda: self._link.peer)
        self._transfers.listener = self
        self._printer = Printer(loop, stdout, "ascii")
        self._lines = Lines(loop, stdin, self._line, self._advance)
        self._steps = deque(options.steps)
        self._place = ""  # where the lines of standard input go
        self._listens = options.json and not options.steps  # until somebody ends it
        self._printed: list[Fields] = []  # events whose lines may not have been taken yet
        self._waits = self._leaves = self._failed = False
        self._patience: Timer | None = None  # ends when the server has been away for too long
        loop.phases = [self._turn, self._hear, self._link.flush, self._rest]

    def run(self) -> int:
        """Until it is over; returns the exit status."""
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        survived = [each for each in numbers if signal.getsignal(each) == signal.SIG_IGN]  # nohup
        Signals(self._loop, [each for each in numbers if each not in survived], lambda _: self._stop())
        with ExitStack() as stack:
            for each in (self._loop.close, self._link.close, self._transfers.stop, self._printer.finish):
                stack.callback(each)
            self._loop.run()
        return int(self._failed)

    # Phases.

    def _turn(self) -> None:
        self._waits = not self._printer.idle and not self._leaves
        self._link.listen(not self._waits)
        if not self._waits:
            self._conversation.active(self._loop.now)  # a program that waits is there
            self._link.turn()

    def _hear(self) -> None:
        while not self._waits and self._conversation.has_news:
            for item in self._conversation.take_news():
                self._heard(item)
        self._printer.flush()
        if self._printer.failure:
            self._failed = True
            self._loop.stop()  # nobody will read any more, and what was not taken is not acknowledged
        elif self._printer.idle:
            for event in self._printed:
                self._conversation.shown(event, self._loop.now)
            self._printed.clear()
            self._leave_when_done()

    def _rest(self) -> None:
        """Reads on, and ends."""
        self._lines.hold(len(self._conversation.outbox.pending) >= _WINDOW)
        lost = self._conversation.user and self._conversation.state is None and not self._conversation.ended
        if not lost or self._lines.reading or self._listens:
            if self._patience:
                self._patience.cancel()
            self._patience = None
        elif self._patience is None:
            self._patience = self._loop.call_later(_PATIENCE, self._give_up)
        over = self._conversation.ended and not self._conversation.has_news
        if over and (self._leaves or self._printer.idle):
            self._loop.stop()

    # What is to be done.

    def _advance(self) -> None:
        """Begins what is to be done next."""
        while self._steps and not self._lines.reading:
            step = self._steps.popleft()
            if step.action == "file":
                self._upload(step)
            elif step.reads:
                self._place = step.place
                self._lines.start()
            else:
                for line in [line for line in step.content.splitlines() if line.strip()] or [""]:
                    self._send(step.place, line)

    def _line(self, line: str) -> None:
        if line.strip():
            self._send(self._place, line)

    def _send(self, place: str, line: str) -> None:
        text = printable(line.replace("\t", " "))
        if not kinds.TEXT.accepts(text):
            self._fail(f"Not sent: this must be {kinds.TEXT.allowed}.")
            return
        action, fields = "message", {"to": place, "text": text}
        if place.startswith("#"):
            action, fields = "msg", {"title": place[1:], "text": text}
        elif fold(place) == "all":
            action, fields = "broadcast", {"text": text}
        self._conversation.request(action, dict(fields), self._loop.now)

    def _upload(self, step: Step) -> None:
        place = ThreadFiles(step.place[1:]) if step.place.startswith("#") else UserFiles(step.place)
        try:
            self._transfers.add(Sending(self._transfers, place, step.content))
        except TransferError as wrong:
            self._fail(str(wrong))

    def _leave_when_done(self) -> None:
        more = self._steps or self._lines.reading or self._listens
        under_way = self._transfers.all or self._conversation.outbox.pending
        if self._conversation.user and not (more or under_way or self._leaves):
            self._leave()

    def _leave(self) -> None:
        self._leaves = True
        self._conversation.logout(self._loop.now)

    def _stop(self) -> None:
        """A signal: leaves; the second one at once."""
        if not self._listens and not self._leaves:
            self._fail("It was stopped before all was done.")
        if self._leaves:
            self._conversation.end("LOGGED_OUT", "")
        else:
            self._transfers.stop("It was not sent: stopped.")
            self._leave()

    def _give_up(self) -> None:
        self._patience = None
        self._conversation.end("LOST", "The connection was lost, and the server did not come back.")

    # What happens.

    def _heard(self, item: News) -> None:
        if self._transfers.heard(item):
            return
        match item:
            case n.Greeted(goes_on) if not goes_on:
                if self._link.certificate and self._link.certificate.is_new:
                    self._note(f"First contact: the server's certificate is {self._link.certificate.fingerprint}.")
                self._conversation.login(self._options.user, self._loop.now)
            case n.Challenged():
                self._prove()
            case n.LoggedIn() if not item.again:
                self._advance()
            case n.Arrived(event) if self._options.json:
                self._say(event)
                self._printed.append(event)
            case n.Answered():
                self._answered(item)
            case n.Ended(status, text):
                self._ended(status, text)

    def _prove(self) -> None:
        try:
            self._conversation.give_password(self._options.password)
            self._conversation.prove(self._loop.now)
        except ScramError as wrong:
            self._conversation.end("NOT_TRUSTED", str(wrong))

    def _answered(self, item: n.Answered) -> None:
        request = item.request
        if request.action == "login":  # refused
            self._conversation.end(item.status, text_of(item.reply))
            return
        self._result(request.action, request.fields, item.reply)
        if item.status != "OK":
            self._fail(text_of(item.reply))

    def _ended(self, status: str, text: str) -> None:
        self._lines.end()
        if status != "LOGGED_OUT":
            left = len(self._conversation.outbox.pending)
            self._fail(f"{text} Without an answer: {counted(left, 'request')}." if left else text)

    def _say(self, message: Fields) -> None:
        line = json.dumps(message, separators=(",", ":")).replace("\x7f", "\\u007f")  # JSON leaves it as it is
        self._printer.write(line + "\n")

    def _result(self, action: str, asked: Fields, reply: Fields) -> None:
        """The answer to what a step has asked for, with where that went."""
        if self._options.json:
            to = {"title": asked["title"]} if "title" in asked else {"to": asked.get("to", "all")}
            self._say({"action": action, **to, **{name: reply[name] for name in reply if name not in ("action", "id")}})

    def _fail(self, why: str) -> None:
        self._failed = True
        self._note(f"Error! {why}")

    def _note(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    # What transfers tell.

    def begun(self, transfer: Transfer) -> None: ...

    def begun_anew(self, transfer: Transfer) -> None: ...

    def ended(self, transfer: Transfer) -> None:
        if transfer.failure and not self._conversation.ended:  # then that is said
            self._fail(transfer.failure)
        self._failed |= bool(transfer.failure)
        refusal = transfer.refusal or {"status": "FAILED", "text": transfer.failure}
        to = transfer.peer
        asked: Fields = {"title": to[1:]} if to.startswith("#") else {"to": to}
        reply = refusal if transfer.failure else {"status": "OK"}
        self._result("upd" if "title" in asked else "file", asked, {"name": transfer.name, **reply})
