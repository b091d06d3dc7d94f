"""The program for people: teletype, dialogue, conversation and link on one loop.

Must not know what is said. A tick: keys and the network are read; the link takes its turn; news go to the dialogue,
then lines that had to wait; the link sends; the screen shows. Invariants:

- the terminal is as it was found however the program ends;
- without a terminal no line is taken before the one before it could be, so scripts need no pauses;
- what nobody has read is not acknowledged: while the output is not taken, the conversation stands still.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Mapping

from chatlib.client import news as n
from chatlib.client.alarm import Alarm
from chatlib.client.cheques import Cheques
from chatlib.client.conversation import Conversation
from chatlib.client.link import Link
from chatlib.client.memory import FileMemory, default_folder
from chatlib.client.peers import Peers
from chatlib.client.transfers import TransferQueue
from chatlib.program import commandline, running
from chatlib.program.dialogue import Dialogue
from chatlib.program.filetalk import FileTalk
from chatlib.program.options import Options
from chatlib.program.peertalk import PeerTalk
from chatlib.program.secrecy import Secrecy, servers_of
from chatlib.program.settings import Settings, default_path
from chatlib.program.settingstalk import SettingsTalk
from chatlib.reactor.loop import Loop
from chatlib.terminal.history import HistoryFile
from chatlib.terminal.operator import Operator, Prompt
from chatlib.terminal.progress import STEP
from chatlib.terminal.screen import style
from chatlib.terminal.teletype import Teletype


def _raise(fault: BaseException) -> None:
    raise fault


class Program(Operator):
    """Legal order: build, ``run`` once."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self._loop = Loop(on_fault=_raise)
        self._alarm = Alarm(self._loop)
        self._teletype = teletype = Teletype(
            self._loop, environ, plain=options.plain, background=False, bounded=False, eager=False
        )
        self._memory = FileMemory(default_folder(environ), self._complain)
        self._keeps_history = options.history
        person = teletype.at_terminal
        self._conversation = Conversation(self._memory, reconnect=options.reconnect, attended=person)
        self._servers = servers_of(options, environ, self._complain, self._ask if person else None)
        self._link = Link(self._loop, self._servers, self._conversation)
        self._secrecy = Secrecy(self._link, environ)
        self._transfers = TransferQueue(self._loop, self._conversation, lambda: self._link.peer)
        self._files = FileTalk(
            self._conversation, self._transfers, teletype.print, options.downloads, bars=teletype.drawn
        )
        self._cheques = Cheques(self._conversation, self._memory.beside, self._complain)
        self._peers = Peers(self._loop, self._conversation, lambda: self._link.local, listen=options.listen)
        times = teletype.drawn or teletype.plain  # a script's transcript is the same at any time
        private = PeerTalk(self._conversation, self._peers, teletype.print, time.time, times=times, script=not person)
        self._settings = self._own_settings(environ)
        self._dialogue = Dialogue(
            self._conversation,
            teletype.print,
            self._link.drop,
            self._files,
            private,
            time.time,
            user=options.user or (self._settings.settings["user"] if person else ""),
            password=options.password,
            columns=lambda: teletype.columns,
            times=times,
            window=1_000 if person else 1,  # a script's transcript has each answer below its command
            script=not person,
            cheques=self._cheques,
            give_back=teletype.give_back if person else None,
            settings=self._settings,
            caller=teletype,
        )
        self._saying = self._dialogue.saying
        teletype.attach(self)
        self._loop.phases = [self._turn, self._hear, self._send, self._show]
        self._waits = False  # in this tick, for whoever reads what was printed
        self._leaves = False
        self._unread: OSError | None = None  # why nobody will ever read what was printed

    def run(self) -> int:
        """Until it is over; returns the exit status."""
        running.announce(self._loop, self._teletype, self._servers.own, lambda: self._conversation.is_calling)
        closing = (self._memory.close, self._cheques.close, self._link.close, self._transfers.stop, self._peers.stop)
        if not running.run(self._loop, self._teletype, self._leave, *closing):
            return 1
        if self._unread:
            if self._unread.errno not in (errno.EPIPE, errno.EIO):  # then the pipe or the window was closed
                print(f"Error! Standard output: {self._unread.strerror}.", file=sys.stderr)
            return 1
        return 1 if self._dialogue.status is None else self._dialogue.status

    # Phases.

    def _turn(self) -> None:
        self._waits = self._teletype.clogged and not self._leaves  # whoever leaves does not wait for a reader
        if not self._waits:
            self._link.turn()

    def _hear(self) -> None:
        if self._waits:
            self._teletype.proceed()  # no line is taken, but Ctrl+C is heard
        while not self._waits:
            for item in self._conversation.take_news():
                if self._peers.heard(item):
                    continue
                if isinstance(item, n.Greeted | n.LoggedIn):
                    for line in self._secrecy.lines(self._conversation.offers_tls):
                        self._teletype.print(*line)
                self._dialogue.heard(item, self._loop.now)
                if isinstance(item, n.LoggedIn) and not item.again:
                    self._logged_in()
            self._set_status()
            self._teletype.flush()
            if self._teletype.idle:
                self._dialogue.was_read(self._loop.now)
            self._teletype.proceed()
            if not self._teletype.clogged:  # who leaves now says what was read
                self._dialogue.rest(self._loop.now)
            if not self._conversation.has_news:
                break

    def _logged_in(self) -> None:
        history = self._memory.beside(".history") if self._keeps_history else None
        if history:
            self._teletype.remember(HistoryFile(history, self._settings.without_text))
        if self._teletype.at_terminal:
            self._dialogue.came(self._loop.now)

    def _send(self) -> None:
        if not self._waits:
            self._link.flush()

    def _show(self) -> None:
        if self._conversation.state is None and self._conversation.user and self._conversation.wanted:
            self._alarm.set(self._loop.now + 1.0)  # the seconds in the prompt
        self._alarm.set(self._dialogue.wake_at)
        self._saying.look(self._loop.now)
        self._alarm.set(self._saying.deadline(self._loop.now))
        self._set_status()
        if self._files.busy:
            self._conversation.active(self._loop.now)
            self._alarm.set(self._loop.now + STEP)
        self._teletype.flush()
        clogged = self._teletype.clogged
        self._link.listen(self._leaves or not clogged)
        self._peers.listen(not clogged)
        if self._dialogue.status is not None and (self._leaves or not clogged):
            self._loop.stop()
        elif self._waits and (self._leaves or not clogged):
            self._alarm.set(self._loop.now)  # the phases that waited are due

    def _set_status(self) -> None:
        """What stands above the prompt: files on their way, and below them what was said and is not confirmed."""
        if self._teletype.drawn:
            rows = self._saying.rows(self._teletype.columns)
            self._teletype.set_status([*self._files.status(self._loop.now), *rows])
        else:
            self._teletype.set_status(self._files.status(self._loop.now))

    # What the teletype asks and tells.

    @property
    def prompt(self) -> Prompt:
        return self._dialogue.prompt(self._link.retry_at - self._loop.now, self._loop.now, self._link.calls)

    @property
    def ready(self) -> bool:
        return self._dialogue.accepts() and not self._teletype.clogged

    def shows(self, line: str) -> bool:
        return self._dialogue.online and self._teletype.drawn and self._saying.shows(line)

    def turn(self, step: int) -> bool:
        return self._dialogue.online and self._saying.turn(step)

    def begins(self) -> None:
        self._saying.begins()

    def line(self, line: str) -> None:
        self._dialogue.line(line, self._loop.now)

    def complete(self, before: str) -> list[str]:
        return self._settings.complete(
            before, lambda line: commandline.complete(line, self._dialogue.seen, self._dialogue.follow)
        )

    def touched(self) -> None:
        self._conversation.active(self._loop.now)

    def interrupted(self) -> None:
        """Ctrl+C leaves a question, else the program."""
        if not self._dialogue.back_out(self._loop.now):
            self._leave()

    def end_typed(self) -> None:
        self._leave()

    def ended(self) -> None:
        self._dialogue.input_ended(self._loop.now)

    def hung_up(self) -> None:
        self._leave()

    def continued(self, seconds: float) -> None:
        self._dialogue.repeat()

    def unread(self, failure: OSError) -> None:
        self._unread = failure
        self._loop.stop()

    def _leave(self) -> None:
        """Leaves cleanly; asked twice, at once."""
        if self._leaves:
            self._conversation.end("LOGGED_OUT", "")
        else:
            self._leaves = True
            self._dialogue.leave(self._loop.now)

    def _own_settings(self, environ: Mapping[str, str]) -> SettingsTalk:
        settings, teletype = Settings(default_path(environ)), self._teletype

        def changed() -> None:
            teletype.set_colours(settings.on("colours"))
            teletype.watch_focus(settings.on("notify"))

        talk = SettingsTalk(
            settings, teletype.print, lambda: teletype.columns, lambda: self._conversation.user, changed
        )
        if teletype.at_terminal:  # a script does the same for everybody
            talk.begin()
        return talk

    def _ask(self, place: str, found: str) -> None:
        """Whether a server that nobody vouches for is the right one: only a person can say."""
        assert self._servers.trusts is not None
        self._dialogue.reach.ask(place, found, self._servers.trusts, self._link.retry)

    def _complain(self, why: str) -> None:
        self._teletype.print(style(why, "yellow"))
