"""A person's cheques: written, sent or shown, looked through, and cashed by their numbers.

Must not know connections, keys or files. Legal order: ``saw`` and ``answered`` for each event and reply, when
:class:`.Cheques` has heard it; the others when the person asks. A cheque that somebody gave is shown with what cashes
it: its number, since nobody types 64 digits.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.client import news as n
from chatlib.client.cheques import Cheques, NoCheque, NoRoom
from chatlib.client.conversation import Conversation
from chatlib.client.news import Fields, Request
from chatlib.program.sentences import bank as say
from chatlib.program.sentences.book import Line, error
from chatlib.protocol.cheque import BadCheque, mended, parse
from chatlib.protocol.commands import State
from chatlib.terminal.completion import starting


class BankTalk:
    """With one person, who reads what `write` gets. `wall` is the time of day."""

    COMMANDS = frozenset({"cash", "cheques"})  # that go over the wire in another form than they are typed in

    def __init__(
        self, conversation: Conversation, write: Callable[..., None], cheques: Cheques, wall: Callable[[], float]
    ) -> None:
        # Takes a cheque's line to a user, if there is a way; else it is shown.
        self.carry: Callable[[str, str, float], bool] = lambda _user, _line, _now: False
        self._conversation = conversation
        self._write = write
        self._cheques = cheques
        self._wall = wall
        self._checks: list[Request] = []  # whether what was just written was signed with the password of now

    # What the person does. Each says whether it could be done.

    def write(self, fields: Fields, now: float) -> bool:
        """The command ``cheque``."""
        payee, amount, memo = str(fields["user"]), fields["amount"], str(fields.get("memo", ""))
        assert isinstance(amount, int)
        try:
            line = self._cheques.write(payee, amount, memo, now)
        except NoCheque as wrong:
            self._show(error(wrong))
            return False
        self._show(say.written(parse(line), self._wall()))
        if fields.get("print") or not self.carry(payee, line, now):
            self.hand_over(payee, line)
        if self._conversation.state is State.ONLINE:  # another session of the user may have changed the password
            self._checks.append(self._conversation.request("cheques", {}, now))
        return True

    def hand_over(self, payee: str, line: str) -> None:
        """A cheque for the person to give to `payee` by any way."""
        self._show(say.hand_over(payee))
        self._show((line,))

    def command(self, name: str, fields: Fields, now: float) -> bool:
        """One of COMMANDS."""
        if name == "cash":
            return self._cash(str(fields["cheque"]), now)
        self._look(now)
        return True

    def _cash(self, text: str, now: float) -> bool:
        """A cheque, or the number of one."""
        lines = self._cheques.lines(text) or [mended(text)]
        for line in lines:
            try:
                parse(line)
            except BadCheque as wrong:
                self._show(say.unknown_number(text) if say.is_number(text) else error(wrong))
                return False
            self._conversation.request("cash", {"cheque": line}, now)
        return True

    def _look(self, now: float) -> None:
        """With what the server knows of them, where it is there to be asked."""
        if self._conversation.state is State.ONLINE:
            self._conversation.request("cheques", {}, now)
        else:
            self._list(now)

    def warn(self, now: float) -> None:
        """Before a change of password: what it voids."""
        written = self._cheques.written(now)
        if written:
            self._show(say.will_be_void(written))

    def numbers(self, rest: str) -> list[str]:
        """What ``cash`` may be given."""
        return starting(rest, self._cheques.numbers())

    # What happens.

    def entered(self) -> None:
        """A session begins."""
        voided = self._cheques.take_voided()
        if voided:
            self._show(say.void(voided))

    def answered(self, item: n.Answered, now: float) -> bool:
        """Any answer; whether there is nothing more to say about it."""
        checks = [request for request in self._checks if request is not item.request]
        is_check = len(checks) < len(self._checks)
        self._checks = checks
        if not is_check and (item.request.action != "cheques" or item.status != "OK"):
            return False
        self.entered()
        if not is_check:
            self._list(now)
        return True

    def saw(self, event: Fields, now: float) -> None:
        """Any event that was shown: a message may be a cheque."""
        giver, text = str(event.get("from")), str(event.get("text"))
        if event.get("event") == "message" and text.startswith("cheque/1 ") and giver != self._conversation.user:
            self._take(giver, text, now, is_shown=True)

    def received(self, giver: str, line: str, now: float) -> None:
        """Somebody has given a cheque directly."""
        self._take(giver, line, now, is_shown=False)

    def _take(self, giver: str, line: str, now: float, is_shown: bool) -> None:
        try:
            cheque = self._cheques.give(line, giver, now)
        except NoRoom as wrong:
            self._show(say.not_kept(giver, str(wrong)))
            if not is_shown:
                self._show((line,))
            return
        except NoCheque as wrong:
            self._show(say.no_cheque(giver, str(wrong)))
            return
        self._show(say.given(cheque, self._wall()))

    # Inside.

    def _list(self, now: float) -> None:
        written, given = self._cheques.written(now), self._cheques.given(now)
        for line in say.cheques(written, given, self._wall()):
            self._show(line)

    def _show(self, line: Line) -> None:
        self._write(*line)
