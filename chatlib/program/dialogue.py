"""The conversation with the person: questions (:mod:`.questions`) up to the login, then commands.

Must not know sockets, keys or escape sequences. A state machine: typed lines and news come in, lines go to `write`,
requests to the conversation. Legal calls: ``line`` only while ``accepts()``; ``heard`` for each news, in order;
``was_read`` when the person can read all that was written; ``leave`` at any time. It is over when ``status`` is not
None: that is the program's exit status. A script ends with its first wrong answer to a question, since its next lines
are answers to others, and it fails when any of its commands was refused.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.client import news as n
from chatlib.client.cheques import Cheques
from chatlib.client.conversation import Conversation
from chatlib.client.news import Fields, News, Request
from chatlib.program.attention import Attention, Caller
from chatlib.program.banktalk import BankTalk
from chatlib.program.commandline import ROLES, help_lines, is_text, no_help
from chatlib.program.filetalk import COMMANDS, FileTalk
from chatlib.program.forumtalk import ForumTalk
from chatlib.program.pasttalk import PastTalk
from chatlib.program.peertalk import PeerTalk
from chatlib.program.questions import Questions
from chatlib.program.reach import Reach
from chatlib.program.saying import Saying
from chatlib.program.sentences import book
from chatlib.program.sentences import entry as say
from chatlib.program.sentences import forum as say_forum
from chatlib.program.sentences.book import Line, error
from chatlib.program.settings import Settings
from chatlib.program.settingstalk import SettingsTalk
from chatlib.protocol import kinds
from chatlib.protocol.commands import UsageError, find, parse
from chatlib.terminal.completion import MOST_NAMES, Names
from chatlib.terminal.operator import Prompt


class Dialogue:
    """With one person, about one user. `write` shows a line, in parts; `drop` breaks the connection, as a pulled cable
    would. `wall` is the time of day; `times`: messages are shown with theirs.

    `window`: how many commands may wait for their replies, or for the end of a transfer; no line is taken beyond.
    `give_back` gets a line that was refused, as :class:`.Saying` wants it.
    `script`: what is typed was written down before, and nobody is there to be asked again.
    """

    def __init__(
        self,
        conversation: Conversation,
        write: Callable[..., None],
        drop: Callable[[], None],
        files: FileTalk,
        peers: PeerTalk,
        wall: Callable[[], float],
        *,
        user: str = "",
        password: str = "",
        columns: Callable[[], int] = lambda: 0,
        times: bool = False,
        window: int = 1_000,
        script: bool = False,
        cheques: Cheques | None = None,
        give_back: Callable[[str], bool] | None = None,
        settings: SettingsTalk | None = None,
        caller: Caller | None = None,
    ) -> None:
        self.status: int | None = None
        self.wake_at = float("inf")  # when `rest` is wanted at the latest
        self.names = Names()
        self.saying = Saying(conversation, write, peers.private, wall, own=times and not script, give_back=give_back)
        self._forum = ForumTalk(conversation, write, wall)
        self._cheques = cheques or Cheques(conversation)
        self._bank = BankTalk(conversation, write, self._cheques, wall)
        self._bank.carry = peers.cheque
        self._past = PastTalk(conversation, write, wall, days=times, ends=not script)
        self._settings = settings or SettingsTalk(Settings(), write, columns, lambda: conversation.user)
        self._attention = Attention(self._settings.settings, write, self._past, lambda: conversation.user, caller,
                                    times=times, gathers=not script)  # fmt: skip
        self.seen = {kinds.NAME: self.names, kinds.TITLE: self._forum.seen.titles}  # for completion
        self._conversation = conversation
        self._write = write
        self._drop = drop
        self._files = files
        self._peers = peers
        self._wall = wall
        self._columns = columns  # how wide help may be (0: as wide as it is)
        self._window = window
        self._script = script
        self.reach = Reach(conversation, write, peers.questions)
        self._questions = Questions(conversation, write, self.leave, user, script, password)
        self._everyone: Request | None = None  # who is registered, asked for completion
        self._refused = self._leaving = False  # something that was asked for was refused
        self._ending = False  # the input has ended: leave when the replies are there
        self._shown: list[Fields] = []  # events that were written, and perhaps not read yet

    @property
    def online(self) -> bool:
        """Whether what is typed is a command."""
        return bool(self._conversation.user) and not self._questions.pending

    def accepts(self) -> bool:
        """Whether a line can be taken now; before, it has to wait."""
        if self._leaving:
            return False
        if self._questions.pending or (self.reach.asks and not self.online):
            return True
        return self.online and not self._questions.changing and self._under_way < self._window

    @property
    def _under_way(self) -> int:
        return len(self._conversation.outbox.pending) + self._files.busy + self._peers.busy

    # What the person does.

    def line(self, text: str, now: float) -> None:
        """A typed line: the answer to the question, or a command."""
        if self._questions.pending:
            self._questions.answer(text, now)
            if self._questions.failed:
                self._fail(now)
            return
        self.reach.typed()
        self.saying.places.rest()
        if self._peers.answers(text, now) or not text.strip():
            return
        if not self.online:
            self.reach.repeat()
            return
        text = self._settings.expanded(text)
        if self.saying.destination.place and is_text(text):
            self._refused |= not self.saying.line(text.strip(), now)
        else:
            self._command(text.strip(), now)

    def back_out(self, now: float) -> bool:
        """Ctrl+C: leaves the question; False: there is none to leave but by leaving the program."""
        return self._questions.back_out() or self._peers.back_out(now)

    def repeat(self) -> None:
        """Something else was on the terminal: shows the question again, if there is one."""
        for each in self._questions, self._peers, self.reach:
            each.repeat()

    def came(self, now: float) -> None:
        """The person has logged in: names the files that wait, and asks what completion should know."""
        self._everyone = self._conversation.request("list_users", {}, now, most=MOST_NAMES)
        self._files.came(now, self._past.caught_up)
        self._forum.refresh(now)

    def follow(self, command: str, rest: str) -> list[str] | None:
        """What the rest of a command may become; None: as the kinds of its fields say."""
        if command == "cash":
            return self._bank.numbers(rest)
        found = self._settings.follow(command, rest)
        if found is None:
            found = self._forum.seen.follow(command, rest, self.names)
        return self._files.waiting.follow(command, rest) if found is None else found

    def leave(self, now: float) -> None:
        """Ctrl+D, quit, mostly Ctrl+C: leaves, after the replies that are on their way."""
        self._leaving = True
        self._files.leave()
        self._peers.leave()
        pending = len(self._conversation.outbox.pending)
        if pending and self._conversation.state is None:
            self._show(say.unsent(pending))
        self._questions.drop()
        self._conversation.logout(now)

    def _fail(self, now: float) -> None:
        """A script is refused what its next lines rely on."""
        self._refused = True
        self.leave(now)

    def input_ended(self, now: float) -> None:
        """No more lines, and nobody to wait for the server's return: leaves when all that was asked for is done."""
        self._ending = True
        self._conversation.reconnect = False
        if self._conversation.user and self._conversation.state is None:
            self._conversation.end("LOST", "The connection was lost.")
        self.rest(now)

    def rest(self, now: float) -> None:
        """Once a tick, after all that happened in it: leaves if there is nothing left to wait for."""
        self.wake_at = min(self._peers.look(now), self._attention.look(now), self.reach.look(now))
        if not self._ending or self.status is not None:
            return
        waits = self._questions.changing or self._under_way
        if self._questions.pending or (self.online and not waits):
            self.leave(now)

    # What happens.

    def heard(self, item: News, now: float) -> None:
        """One news of the conversation."""
        self._cheques.heard(item)
        if self._files.heard(item) or self._peers.heard(item, now):
            return
        match item:
            case n.Greeted(goes_on):
                self._questions.greeted(goes_on, self.reach.greeted(), now)
            case n.Queued(position):
                self._show(say.queued(position))
            case n.Challenged(action):
                self._questions.challenged(action, now)
            case n.Proven():
                self._questions.proven()
            case n.LoggedIn():
                self._logged_in(item, now)
            case n.Away(count):
                self._show(say.away(count))
                self._past.away(count)
            case n.Arrived(event):
                self._arrived(event, now)
            case n.Answered():
                self.saying.answered(item)
                self._answered(item, now)
                self.saying.follows(item)
            case n.Lost():
                self._past.lost()
                self.reach.lost(item, now)
            case n.Idle(text):
                self.reach.logged_off(text)
            case n.Ended():
                self._ended(item)

    def prompt(self, retry_in: float, now: float, calls: str = "") -> Prompt:
        """What stands before the half-typed line. `retry_in`: seconds until the next attempt to come back; `calls`:
        which of several servers is tried."""
        if not self.online and not self._questions.pending and self.reach.asks:
            return Prompt(">> ", question=True)
        if not self.online or self._questions.changing:
            return self._questions.prompt
        place, away = self.saying.destination.place, self.reach.note(retry_in, calls)
        return Prompt(f"{self._conversation.user} {place}".rstrip() + "> ", away or self.saying.note(now))

    def was_read(self, now: float) -> None:
        """All that was written has been read: the events among it need not come again."""
        for event in self._shown:
            self._conversation.shown(event, now)
            self._peers.shown(event)
        self._shown.clear()

    def _logged_in(self, item: n.LoggedIn, now: float) -> None:
        self.reach.logged_in(item)
        self._bank.entered()
        self._attention.entered(item.again, now)

    def _arrived(self, event: Fields, now: float) -> None:
        seen = True
        if event.get("event") == "cheque":  # over a direct connection
            self._bank.received(str(event.get("from")), str(event.get("cheque")), now)
        else:
            seen = self._attention.arrived(event, now)
            self._bank.saw(event, now)
        for field in ("from", "user"):
            self.names.see(event.get(field))
        self._forum.saw(event)
        if seen:
            self.saying.saw(event)
        self._shown.append(event)

    def _answered(self, item: n.Answered, now: float) -> None:
        action, fields, reply = item.request.action, item.request.fields, item.reply
        status = item.status
        if action == "register" and status == "OK" and "verifier" not in fields:
            self._questions.name_is_free()
            return
        if item.request is self._everyone:  # nobody has asked to see them
            users = [str(each.get("user")) for each in book.items(reply) if isinstance(each, dict)]
            self.names.know(user for user in users if user != self._conversation.user)
            return
        is_said = self._forum.answered(item, now) or self._bank.answered(item, now)
        if is_said or self.saying.destination.answered(item):
            self._refused |= status != "OK"
            return
        offered = action == "login" and status == "NO_SUCH_USER" and not self._script
        self._past.answered(item)
        for line in [] if offered else book.answer(action, fields, reply, self._wall()):
            self._show(line)
        self._refused |= status not in n.FINE
        self._see_names(fields, reply)
        if action in ("login", "register", "deregister", "password", "sht"):
            if self._script and status != "OK":
                self._fail(now)
            elif action == "sht" and status == "OK":
                self.leave(now)
            else:
                self._questions.answered(action, status, now)

    def _see_names(self, fields: Fields, reply: Fields) -> None:
        users = reply.get("items")
        for user in reversed(users if isinstance(users, list) else []):
            self.names.see(user.get("user") if isinstance(user, dict) else user)
        if reply.get("status") == "OK":
            for field in ("to", "user"):
                self.names.see(fields.get(field))

    def _ended(self, item: n.Ended) -> None:
        self._attention.settle()
        self._questions.drop()
        self.saying.close()
        if item.status == "LOGGED_OUT":
            if item.text and not self._leaving:
                self._show((item.text,))
            refused = self._refused or self._files.refused or self._peers.refused
            self.status = 1 if self._script and refused else 0
            return
        self._show(error(item.text))
        self._peers.leave()
        pending = len(self._conversation.outbox.pending)
        if pending:
            self._show(say.unsent(pending))
        self.status = 1

    # Commands.

    def _command(self, text: str, now: float) -> None:
        try:
            command, fields = parse(text, *ROLES)
        except UsageError as wrong:
            self._refused = True
            for each in str(wrong).split("\n"):
                self._show(error(each))
            if self.saying.destination.place or find(text, *ROLES) is None:
                self._show(say_forum.AS_TEXT if self.saying.destination.place else say_forum.PLACELESS)
            return
        fields = self._past.fields(command.name, self._forum.fields(command.name, fields))
        if command.name in LOCAL:
            LOCAL[command.name](self, fields, now)
        elif command.name == "logout" and "number" not in fields:
            self.leave(now)
        elif command.name == "password":
            self._bank.warn(now)
            self._questions.changing = True
            self._conversation.change_password(now)
        elif command.name == "sht":
            self._questions.changing = True
            self._conversation.shut_down(now)
        elif command.name in self._settings.COMMANDS:
            self._refused |= not self._settings.command(command.name, fields)
        elif command.name in self._bank.COMMANDS:
            self._refused |= not self._bank.command(command.name, fields, now)
        elif command.name in COMMANDS:
            self._files.command(command.name, fields, now)
        elif command.name == "rdt" and "count" not in fields:
            self._forum.read(str(fields["title"]), now)
        else:
            self._conversation.request(command.name, fields, now)

    def _help(self, fields: Fields, _now: float) -> None:
        name = str(fields.get("command", ""))
        found = help_lines(name, self._columns())
        self._refused |= found == [no_help(name)]
        for line in found:
            self._show(line)

    def _me(self, fields: Fields, now: float) -> None:
        self._refused |= not self.saying.me(str(fields["text"]), now)

    def _reply(self, fields: Fields, now: float) -> None:
        self._refused |= not self.saying.answer(str(fields["text"]), now)

    def _more(self, _fields: Fields, now: float) -> None:
        self._refused |= not self._past.more(now)

    def _cheque(self, fields: Fields, now: float) -> None:
        self._refused |= not self._bank.write(fields, now)

    def _show(self, line: Line) -> None:
        self._write(*line)


# What never leaves the client, by the name of its row.
LOCAL: dict[str, Callable[[Dialogue, Fields, float], None]] = {
    "help": Dialogue._help, "/me": Dialogue._me, "r": Dialogue._reply, "more": Dialogue._more,
    "cheque": Dialogue._cheque,
    "break": lambda self, _fields, _now: self._drop(),
    "to": lambda self, fields, now: self.saying.go(str(fields.get("place", "")), now),
    "private": lambda self, fields, now: self._peers.private(str(fields["user"]), str(fields["text"]), now),
    "stopprivate": lambda self, fields, _now: self._peers.stop(str(fields["user"])),
}  # fmt: skip
