"""What a conversation is asked for about accounts and passwords; how that goes on is in :mod:`.entrance`."""

from __future__ import annotations

from chatlib.client import news as n
from chatlib.client.entrance import Entrance
from chatlib.client.news import News, Request
from chatlib.protocol.commands import State
from chatlib.protocol.text import ADMIN


class Entering:
    """A part of :class:`.Conversation`."""

    user: str
    state: State | None
    _entrance: Entrance

    def tell(self, item: News) -> None:
        raise NotImplementedError

    def login(self, user: str, now: float) -> None:
        """Begins a login → Challenged, or Answered with the refusal; after ``prove``, LoggedIn or Answered."""
        self._entrance.begin("login", user, now)

    def deregister(self, user: str, now: float) -> None:
        """Begins to remove an account → Challenged, then Answered; nothing is final before ``prove``."""
        self._entrance.begin("deregister", user, now)

    def change_password(self, now: float) -> None:
        """Begins a change of password → Challenged; then ``give_password`` the old one, and ``prove`` it with a new
        one; or without → Proven, and ``renew`` it. In the end → Answered."""
        if self.state is State.ONLINE:
            self._entrance.begin("password", self.user, now)
        else:
            self._entrance.changed(False)

    def shut_down(self, now: float) -> None:
        """Begins to stop the server → Challenged, for the administrator's password; after ``prove``, Answered."""
        if self.state is State.ONLINE:
            self._entrance.begin("sht", ADMIN, now)
        else:
            self.tell(n.Answered(Request("sht", {}), {"status": "LOST", "text": "There is no connection now."}))

    def give_password(self, password: str) -> None:
        """Answers Challenged: salts `password` (takes a moment) and forgets it. Raises ScramError for a bad one."""
        self._entrance.give(password)

    def prove(self, now: float, new_password: str | None = None) -> None:
        """Sends the proof that ``give_password`` prepared. Raises ScramError for a new password that is bad."""
        self._entrance.prove(now, new_password)

    def renew(self, now: float, new_password: str) -> None:
        """After Proven: the new password. Raises ScramError for a bad one."""
        self._entrance.renew(now, new_password)

    def cancel(self) -> None:
        """Gives up a proof that was begun and not sent."""
        self._entrance.cancel()

    def ask_name(self, user: str, now: float) -> None:
        """Whether `user` may be registered → Answered, to a request without a verifier."""
        self._entrance.ask_name(user, now)

    def register(self, user: str, password: str, now: float) -> None:
        """Makes an account → Answered; a login that follows asks for no password. Raises ScramError for a bad one."""
        self._entrance.register(user, password, now)
