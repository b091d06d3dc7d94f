"""What a person is told of the connection: that it is lost, at which server it goes on, and whom to believe there.

A loss that another server makes good within HOLD is one calm line, when all is well again. Must not know sockets.
Legal order: as the news come; ``look`` once a tick; ``ask`` while there is no connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chatlib.client.conversation import Conversation
from chatlib.client.news import LoggedIn, Lost
from chatlib.client.trusts import Trusts
from chatlib.program.sentences import entry as say
from chatlib.program.sentences.book import Line
from chatlib.program.yesorno import NEVER, OpenQuestion, YesOrNo

HOLD = 2.0  # seconds until a loss is told, while other servers are tried


class _Meeting(NamedTuple):
    """A server that nobody vouches for, and a person who may."""

    question: OpenQuestion
    lines: list[Line]
    trusts: Trusts


class Reach:
    """Of one person, who reads what `write` gets. `questions`: those that are answered whenever one gets to it."""

    def __init__(self, conversation: Conversation, write: Callable[..., None], questions: YesOrNo) -> None:
        self._conversation, self._write, self._questions = conversation, write, questions
        self._down = False  # the connection is lost
        self._held: tuple[str, float] | None = None  # why, and until when that is not told
        self._idle = self._woken = False  # it was the server's, for a person who was away, and typed a line since
        self._open: _Meeting | None = None

    @property
    def asks(self) -> bool:
        """Whether something is asked."""
        return self._open is not None

    # What the person does.

    def typed(self) -> None:
        """A line."""
        if self._idle:
            self._idle, self._down, self._woken = False, True, True
            self._conversation.wake()

    def ask(self, place: str, found: str, trusts: Trusts, accepted: Callable[[], object]) -> None:
        """Asks whether `found` is the fingerprint of the server at `place`, which nobody vouches for."""

        def answered(answer: bool | None, _now: float) -> None:
            self._open = None
            if answer:
                trusts.accept(place, found)
                accepted()
            else:
                trusts.refuse(place, found)
                self._show(say.not_there(place))

        self._open = _Meeting(OpenQuestion(place, answered, leaves=True), say.unmet(place, found), trusts)
        self._questions.ask(self._open.question)
        self._tell(NEVER)
        self.repeat()

    def repeat(self) -> None:
        """Shows again what is asked."""
        for line in self._open.lines if self._open else ():
            self._show(line)

    # What happens.

    def lost(self, item: Lost, now: float) -> None:
        if not self._down and item.elsewhere:
            self._held = item.text, now + HOLD
        elif not self._down:
            self._show(say.lost(item.text, bool(self._conversation.user)))
        else:
            self._tell(NEVER)
        self._down = True

    def logged_off(self, text: str) -> None:
        """By the server, which has heard nothing of the person for long."""
        self._show(say.idle(text))
        self._idle = True

    def greeted(self) -> bool:
        """A server is ready for a login; whether the person was told that it was away."""
        was_told = self._down and self._held is None
        self._down, self._held = False, None
        self._withdraw()
        if was_told:
            self._show(say.server_back())
        return was_told

    def logged_in(self, item: LoggedIn) -> None:
        was_held = self._held is not None
        self._down, self._held = False, None
        if not item.again:
            self._show(say.welcome(item.user))
        else:
            self._show(say.moved(item.server) if was_held else say.back(item.server))
        if item.resent and not self._woken:
            self._show(say.resent(item.resent))
        self._woken = False
        self._withdraw()

    def _withdraw(self) -> None:
        """A server is there: whether to go to another is no question now."""
        if self._open:
            self._questions.withdraw([self._open.question])
            self._open.trusts.withdraw()
            self._open = None

    def look(self, now: float) -> float:
        """Tells what took too long to be made good; when to look again."""
        self._tell(now)
        return self._held[1] if self._held else NEVER

    def note(self, retry_in: float, calls: str) -> str:
        """What stands in the prompt: empty while all is well. `calls`: which server is tried."""
        return say.LOGGED_OFF if self._idle else say.offline_note(retry_in, calls) if self._down else ""

    def _tell(self, now: float) -> None:
        if self._held and now >= self._held[1]:
            self._show(say.lost(self._held[0], bool(self._conversation.user)))
            self._held = None

    def _show(self, line: Line) -> None:
        self._write(*line)
