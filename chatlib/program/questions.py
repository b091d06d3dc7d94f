"""The questions to a person: who that is, before the login, and the passwords of a change of password.

Must not know sockets, keys or commands. A state machine: the answer to one question asks the next one, or something of
the conversation, whose news ask the next one. Legal calls: ``answer`` and ``back_out`` while ``pending``; the others as
the news come, in order. An empty line leaves any question but the first. A script has nobody to ask again: it has
``failed`` with its first wrong answer.
Invariant: a password is in no attribute for longer than the question that comes after it.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.client.conversation import Conversation
from chatlib.program.sentences import admin
from chatlib.program.sentences import entry as say
from chatlib.program.sentences.book import Line, error
from chatlib.protocol import kinds
from chatlib.protocol.scram import ScramError
from chatlib.protocol.text import is_name
from chatlib.terminal.operator import Prompt

Question = Callable[[str, float], None]


class Questions:
    """With one person, who reads what `write` gets. `user`: whom they are about, and the `password` that is known from
    the start; `leave`: the person wants to."""

    def __init__(
        self,
        conversation: Conversation,
        write: Callable[..., None],
        leave: Callable[[float], None],
        user: str,
        script: bool,
        password: str = "",
    ) -> None:
        self.failed = False
        self.changing = False  # a change of password, or the server's end, is under way
        self.prompt = Prompt("", question=True)  # of the last question
        self._conversation, self._write, self._leave = conversation, write, leave
        self._user = user
        self._password = password  # until it was used
        self._script = script
        self._question: Question | None = None  # what the next line answers,
        self._text = ""  # what was asked
        self._secret = ""  # a new password, until it has been typed twice
        self._challenges: dict[str, tuple[str, Question]] = {
            "login": (say.PASSWORD, self._password_answered),
            "deregister": (say.PASSWORD, self._remove_password_answered),
            "password": (say.CURRENT_PASSWORD, self._current_password_answered),
            "sht": (admin.PASSWORD, self._admin_password_answered),
        }

    @property
    def pending(self) -> bool:
        """Whether the next line is an answer."""
        return self._question is not None

    def answer(self, text: str, now: float) -> None:
        """A typed line."""
        question, self._question = self._question, None
        assert question is not None
        if (text if self.prompt.secret else text.strip()) or self._script:
            question(text, now)
        elif question == self._user_answered:
            self._question = question
        else:
            self._question = question
            self.back_out()

    def back_out(self) -> bool:
        """Leaves the question; False: it is the first one, or there is none."""
        if self._script or self._question in (None, self._user_answered):
            return False
        self._conversation.cancel()
        if self.changing:
            goes_on = self._question == self._admin_password_answered
            self.drop()
            self._show((admin.GOES_ON if goes_on else say.UNCHANGED,))
        else:
            self._ask_user()
        return True

    def repeat(self) -> None:
        """Shows the question again, below what came between."""
        if self._question:
            self._show((self._text,))

    def drop(self) -> None:
        """There is nothing more to ask."""
        self._question, self._secret, self.changing = None, "", False

    # What happens.

    def greeted(self, goes_on: bool, again: bool, now: float) -> None:
        """The server is ready; `again`: after it was away, which one may have noticed."""
        if self._question:
            if again:
                self.repeat()
        elif self._user and not goes_on:
            self._conversation.login(self._user, now)
        elif not goes_on:
            self._ask_user()

    def challenged(self, action: str, now: float) -> None:
        """The server wants a password proven."""
        text, question = self._challenges[action]
        if self._password and action == "login":
            known, self._password = self._password, ""
            self._password_answered(known, now)
        elif self._question != question:
            self._ask(text, question, secret=True)

    def proven(self) -> None:
        """The old password was right."""
        self._ask(say.NEW_PASSWORD, self._new_password_answered, secret=True)

    def name_is_free(self) -> None:
        """The name may be registered."""
        self.proven()

    def answered(self, action: str, status: str, now: float) -> None:
        """The verdict on what was asked of the server; it has been shown, but for an unknown name."""
        self._password = ""  # it was this user's
        if action in ("password", "sht"):
            self.drop()
        elif action == "register" and status == "OK":
            self._conversation.login(self._user, now)
        elif action == "register" and status == "USER_EXISTS":
            self._ask(say.NEW_USERNAME, self._new_user_answered)
        elif action == "login" and status == "NO_SUCH_USER":
            self._ask(say.unknown_user(self._user), self._offer_answered)
        elif action in ("login", "deregister") and status == "WRONG_PASSWORD":
            self._prove(action, now)
        else:
            self._ask_user()

    # Asking.

    def _show(self, line: Line) -> None:
        self._write(*line)

    def _ask(self, text: str, question: Question, secret: bool = False) -> None:
        self._show((text,))
        self._question, self._text = question, text
        self.prompt = Prompt("" if secret else ">> ", secret=secret, question=True)

    def _again(self, wrong: object, text: str, question: Question, secret: bool = False) -> None:
        """The answer cannot be one: says why, and asks once more."""
        if wrong:
            self._show(error(wrong))
        if self._script:
            self.failed = True
        else:
            self._ask(text, question, secret)

    def _yes(self, text: str, question: Question) -> bool | None:
        """None: neither yes nor no; then it is asked again."""
        word = text.strip().lower()
        if word in ("yes", "y", "no", "n"):
            return word[0] == "y"
        self._again(say.YES_OR_NO if self._script else "", say.YES_OR_NO, question)
        return None

    # Who one is.

    def _ask_user(self) -> None:
        self._secret = ""
        self._ask(say.USERNAME, self._user_answered)

    def _user_answered(self, text: str, now: float) -> None:
        word = text.strip()
        match word.lower():
            case "quit" | "exit" | "logout":
                self._leave(now)
            case "register":
                self._ask(say.NEW_USERNAME, self._new_user_answered)
            case "de-register" | "deregister":
                self._ask(say.REMOVE_USERNAME, self._remove_answered)
            case _:
                if self._named(word, say.USERNAME, self._user_answered):
                    self._prove("login", now)

    def _named(self, word: str, text: str, question: Question) -> bool:
        """Takes the user's name, or asks again."""
        if is_name(word):
            self._user = word
            return True
        self._again(f"This must be {kinds.NAME.allowed}.", text, question)
        return False

    def _prove(self, action: str, now: float) -> None:
        begin = self._conversation.login if action == "login" else self._conversation.deregister
        begin(self._user, now)

    def _given(self, password: str, text: str, question: Question) -> bool:
        """Salts the password, or asks again when it cannot be one."""
        try:
            self._conversation.give_password(password)
        except ScramError as wrong:
            self._again(wrong, text, question, secret=True)
            return False
        return True

    def _password_answered(self, text: str, now: float) -> None:
        if self._given(text, say.PASSWORD, self._password_answered):
            self._conversation.prove(now)

    # A new account, or a new password.

    def _offer_answered(self, text: str, now: float) -> None:
        answer = self._yes(text, self._offer_answered)
        if answer:
            self._conversation.ask_name(self._user, now)
        elif answer is False:
            self._ask_user()

    def _new_user_answered(self, text: str, now: float) -> None:
        if self._named(text.strip(), say.NEW_USERNAME, self._new_user_answered):
            self._conversation.ask_name(self._user, now)

    def _new_password_answered(self, text: str, _now: float) -> None:
        self._secret = text
        self._ask(say.AGAIN, self._again_answered, secret=True)

    def _again_answered(self, text: str, now: float) -> None:
        first, self._secret = self._secret, ""
        wrong: object = say.DIFFERENT
        if text == first:
            try:
                if self.changing:
                    self._conversation.renew(now, text)
                else:
                    self._conversation.register(self._user, text, now)
                return
            except ScramError as error:
                wrong = error
        self._again(wrong, say.NEW_PASSWORD, self._new_password_answered, secret=True)

    def _current_password_answered(self, text: str, now: float) -> None:
        if self._given(text, say.CURRENT_PASSWORD, self._current_password_answered):
            self._conversation.prove(now)

    def _admin_password_answered(self, text: str, now: float) -> None:
        if self._given(text, admin.PASSWORD, self._admin_password_answered):
            self._conversation.prove(now)

    # An account to be removed.

    def _remove_answered(self, text: str, now: float) -> None:
        if self._named(text.strip(), say.REMOVE_USERNAME, self._remove_answered):
            self._prove("deregister", now)

    def _remove_password_answered(self, text: str, _now: float) -> None:
        if self._given(text, say.PASSWORD, self._remove_password_answered):
            self._ask(say.remove_user(self._user), self._confirm_answered)

    def _confirm_answered(self, text: str, now: float) -> None:
        answer = self._yes(text, self._confirm_answered)
        if answer:
            self._conversation.prove(now)
        elif answer is False:
            self._conversation.cancel()
            self._ask_user()
