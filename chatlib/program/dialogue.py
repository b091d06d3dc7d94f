"""The conversation with the person: questions and answers up to the login, then commands.

Must not know sockets, keys or escape sequences. A state machine: typed lines and news come in, lines and prompts go to
a display, requests to the conversation. Legal calls: ``line`` only while ``accepts()``; ``heard`` for each news, in
order; ``leave`` at any time. It is over when ``status`` is not None: that is the program's exit status.
Invariant: a password is in no attribute for longer than the question that comes after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.news import Fields, News
from chatlib.program import lines
from chatlib.program.lines import Line, Names
from chatlib.protocol import kinds
from chatlib.protocol.commands import Command, Role, UsageError, parse
from chatlib.protocol.scram import ScramError
from chatlib.protocol.text import is_name
from chatlib.terminal.screen import Part

Question = Callable[[str, float], None]
FILES = frozenset({"file", "fileget", "filedecline"})


class Display(Protocol):
    """Where lines and prompts go."""

    def print(self, *parts: Part) -> None: ...

    def set_prompt(self, prompt: str, note: str = "", secret: bool = False) -> None: ...


class Link(Protocol):
    """What a person may do to the connection."""

    def drop(self) -> None: ...


class Files(Protocol):
    """What a person may do with files."""

    @property
    def busy(self) -> int: ...

    def command(self, name: str, fields: Fields, now: float) -> None: ...

    def heard(self, item: News) -> bool: ...

    def leave(self) -> None: ...


class Dialogue:
    """With one person, about one user. `wall` is the time of day; `times`: messages are shown with theirs.

    `window`: how many commands may wait for their replies, or for the end of a transfer; no line is taken beyond.
    """

    def __init__(
        self,
        conversation: Conversation,
        display: Display,
        link: Link,
        files: Files,
        wall: Callable[[], float],
        *,
        user: str = "",
        times: bool = False,
        window: int = 1_000,
    ) -> None:
        self.status: int | None = None
        self.names = Names()
        self._conversation = conversation
        self._display = display
        self._link = link
        self._files = files
        self._wall = wall
        self._times = times
        self._window = window
        self._user = user  # whom the questions are about
        self._question: Question | None = None  # what the next line answers
        self._secret = ""  # a new password, until it has been typed twice
        self._proving = False  # a change of password is under way
        self._refused = False  # the last thing the server said was no, and nobody is logged in
        self._ending = False  # the input has ended: leave when the replies are there
        self._down = False  # the loss of the connection was told

    @property
    def online(self) -> bool:
        """Whether what is typed is a command."""
        return bool(self._conversation.user) and self._question is None

    def accepts(self) -> bool:
        """Whether a line can be taken now; before, it has to wait."""
        if self._question is not None:
            return True
        return self.online and not self._proving and self._under_way < self._window

    @property
    def _under_way(self) -> int:
        return len(self._conversation.outbox.pending) + self._files.busy

    # What the person does.

    def line(self, text: str, now: float) -> None:
        """A typed line: the answer to the question, or a command."""
        if self._question is not None:
            question, self._question = self._question, None
            question(text, now)
        elif text.strip():
            self._command(text.strip(), now)

    def leave(self, now: float) -> None:
        """Ctrl+C, Ctrl+D, quit: leaves, after the replies that are on their way."""
        self._files.leave()
        pending = len(self._conversation.outbox.pending)
        if pending and self._conversation.state is None:
            self._show(lines.unsent(pending))
        self._question = None
        self._conversation.logout(now)

    def input_ended(self, now: float) -> None:
        """No more lines, and nobody to wait for the server's return: leaves when all that was asked for is done."""
        self._ending = True
        self._conversation.reconnect = False
        if self._conversation.user and self._conversation.state is None:
            self._conversation.end("LOST", "The connection was lost.")
        self.rest(now)

    def rest(self, now: float) -> None:
        """Once a tick, after all that happened in it: leaves if there is nothing left to wait for."""
        if not self._ending or self.status is not None:
            return
        waits = self._proving or self._under_way
        if self._question is not None or (self.online and not waits):
            self.leave(now)

    # What happens.

    def heard(self, item: News, now: float) -> None:
        """One news of the conversation."""
        if self._files.heard(item):
            return
        match item:
            case n.Greeted():
                if self._user:
                    self._conversation.login(self._user, now)
                else:
                    self._ask_user()
            case n.Waiting(position):
                self._show(lines.waiting(position))
            case n.Challenged(action):
                self._challenged(action)
            case n.LoggedIn():
                self._logged_in(item)
            case n.Away(count):
                self._show(lines.away(count))
            case n.Arrived(event):
                self._arrived(event, now)
            case n.Answered():
                self._answered(item, now)
            case n.Lost(_, text):
                if not self._down:
                    self._show(lines.lost(text))
                self._down = True
            case n.Ended():
                self._ended(item)

    def prompt(self, retry_in: float | None = None) -> None:
        """The prompt of commands; `retry_in`: seconds until the next attempt to come back."""
        if self.online:
            note = lines.offline_note(retry_in or 0.0) if self._down else ""
            self._display.set_prompt(f"{self._conversation.user}> ", note)

    def _logged_in(self, item: n.LoggedIn) -> None:
        self._refused = self._down = False
        self._show(lines.back() if item.again else lines.welcome(item.user))
        if item.resent:
            self._show(lines.resent(item.resent))
        self.prompt()

    def _arrived(self, event: Fields, now: float) -> None:
        line = lines.event(event, self._wall(), self._times)
        if line is not None:
            self._show(line)
        for field in ("from", "user"):
            self.names.see(event.get(field))
        self._conversation.shown(event, now)

    def _answered(self, item: n.Answered, now: float) -> None:
        action, fields, reply = item.request.action, item.request.fields, item.reply
        status = item.status
        if not self._conversation.user:
            self._refused = status != "OK"
        if action == "login" and status == "NO_SUCH_USER":
            self._ask(lines.unknown_user(self._user), self._offer_answered)
            return
        for line in lines.answer(action, fields, reply, self._wall()):
            self._show(line)
        self._see_names(fields, reply)
        if action == "password":
            self._proving, self._question, self._secret = False, None, ""
            self.prompt()
        elif action == "register" and status == "OK":
            self._conversation.login(self._user, now)
        elif action in ("login", "deregister") and status == "WRONG_PASSWORD":
            self._prove(action, now)
        elif action in ("login", "deregister", "register"):
            self._ask_user()

    def _see_names(self, fields: Fields, reply: Fields) -> None:
        users = reply.get("users")
        for user in reversed(users if isinstance(users, list) else []):
            self.names.see(user.get("user") if isinstance(user, dict) else user)
        if reply.get("status") == "OK":
            for field in ("to", "user"):
                self.names.see(fields.get(field))

    def _ended(self, item: n.Ended) -> None:
        self._question = None
        if item.status == "LOGGED_OUT":
            self.status = 1 if self._ending and self._refused else 0
            return
        self._show(lines.error(item.text))
        pending = len(self._conversation.outbox.pending)
        if pending:
            self._show(lines.unsent(pending))
        self.status = 1

    # Questions, in the order in which they are met.

    def _ask(self, text: str, question: Question, secret: bool = False) -> None:
        self._show((text,))
        self._question = question
        self._display.set_prompt("" if secret else ">> ", secret=secret)

    def _ask_user(self) -> None:
        self._ask(lines.USERNAME, self._user_answered)

    def _user_answered(self, text: str, now: float) -> None:
        word = text.strip()
        match word.lower():
            case "quit" | "exit" | "logout":
                self.leave(now)
            case "register":
                self._ask(lines.NEW_USERNAME, self._new_user_answered)
            case "de-register" | "deregister":
                self._ask(lines.REMOVE_USERNAME, self._remove_answered)
            case _:
                if self._named(word, lines.USERNAME, self._user_answered):
                    self._prove("login", now)

    def _named(self, word: str, text: str, question: Question) -> bool:
        """Takes the user's name, or asks again."""
        if is_name(word):
            self._user = word
            return True
        self._show(lines.error(f"This must be {kinds.NAME.allowed}."))
        self._ask(text, question)
        return False

    def _prove(self, action: str, now: float) -> None:
        begin = self._conversation.login if action == "login" else self._conversation.deregister
        begin(self._user, now)

    def _challenged(self, action: str) -> None:
        if action == "password":
            self._ask(lines.CURRENT_PASSWORD, self._current_password_answered, secret=True)
        elif action == "deregister":
            self._ask(lines.PASSWORD, self._remove_password_answered, secret=True)
        else:
            self._ask(lines.PASSWORD, self._password_answered, secret=True)

    def _given(self, password: str, text: str, question: Question) -> bool:
        """Salts the password, or asks again when it cannot be one."""
        try:
            self._conversation.give_password(password)
        except ScramError as wrong:
            self._show(lines.error(wrong))
            self._ask(text, question, secret=True)
            return False
        return True

    def _password_answered(self, text: str, now: float) -> None:
        if self._given(text, lines.PASSWORD, self._password_answered):
            self._conversation.prove(now)

    def _offer_answered(self, text: str, _now: float) -> None:
        match text.strip().lower():
            case "yes" | "y":
                self._ask(lines.NEW_PASSWORD, self._new_password_answered, secret=True)
            case "no" | "n":
                self._ask_user()
            case _:
                self._ask(lines.YES_OR_NO, self._offer_answered)

    def _new_user_answered(self, text: str, _now: float) -> None:
        if self._named(text.strip(), lines.NEW_USERNAME, self._new_user_answered):
            self._ask(lines.NEW_PASSWORD, self._new_password_answered, secret=True)

    def _new_password_answered(self, text: str, _now: float) -> None:
        self._secret = text
        self._ask(lines.AGAIN, self._again_answered, secret=True)

    def _again_answered(self, text: str, now: float) -> None:
        first, self._secret = self._secret, ""
        if text != first:
            wrong = "The two passwords differ."
        else:
            try:
                if self._proving:
                    self._conversation.prove(now, text)
                    self.prompt()
                else:
                    self._conversation.register(self._user, text, now)
                return
            except ScramError as error:
                wrong = str(error)
        self._show(lines.error(wrong))
        self._ask(lines.NEW_PASSWORD, self._new_password_answered, secret=True)

    def _current_password_answered(self, text: str, _now: float) -> None:
        if self._given(text, lines.CURRENT_PASSWORD, self._current_password_answered):
            self._ask(lines.NEW_PASSWORD, self._new_password_answered, secret=True)

    def _remove_answered(self, text: str, now: float) -> None:
        if self._named(text.strip(), lines.REMOVE_USERNAME, self._remove_answered):
            self._prove("deregister", now)

    def _remove_password_answered(self, text: str, _now: float) -> None:
        if self._given(text, lines.PASSWORD, self._remove_password_answered):
            self._ask(lines.remove_user(self._user), self._confirm_answered)

    def _confirm_answered(self, text: str, now: float) -> None:
        match text.strip().lower():
            case "yes" | "y":
                self._conversation.prove(now)
            case "no" | "n":
                self._conversation.cancel()
                self._ask_user()
            case _:
                self._ask(lines.YES_OR_NO, self._confirm_answered)

    # Commands.

    def _command(self, text: str, now: float) -> None:
        try:
            command, fields = parse(text, *lines.ROLES)
        except UsageError as wrong:
            for each in str(wrong).split("\n"):
                self._show(lines.error(each))
            return
        if command.role is Role.LOCAL:
            self._local(command, fields)
        elif command.name == "logout":
            self.leave(now)
        elif command.name == "password":
            self._proving = True
            self._conversation.change_password(now)
        elif command.name in FILES:
            self._files.command(command.name, fields, now)
        else:
            self._conversation.request(command.name, fields, now)

    def _local(self, command: Command, fields: Fields) -> None:
        if command.name == "help":
            for line in lines.help_lines(str(fields.get("command", ""))):
                self._show(line)
        elif command.name == "break":
            self._link.drop()

    def _show(self, line: Line) -> None:
        self._display.print(*line)
