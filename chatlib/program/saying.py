"""Saying something to others: where it goes, what became of it, and where something waits for an answer.

Puts together the destination of lines without a command (:mod:`.destination`), the places that wait
(:mod:`.places`) and what was said oneself (:mod:`.ownlines`). Must not know keys, screens or connections. Legal order:
``begins`` with a line's first key, then what was typed; ``saw``, ``answered`` and ``follows`` for each event and
answer, ``look`` once a tick, ``close`` at the end.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.news import Fields
from chatlib.program.commandline import ROLES, is_text
from chatlib.program.destination import Destination
from chatlib.program.ownlines import NEVER, SAID, OwnLines, place_of, typed
from chatlib.program.places import Places
from chatlib.program.sentences import book
from chatlib.program.sentences import forum as say_forum
from chatlib.program.sentences import talk as say
from chatlib.program.sentences.book import Line, error
from chatlib.program.yesorno import begins_answer
from chatlib.protocol import kinds
from chatlib.protocol.commands import UsageError, parse
from chatlib.terminal.screen import Part


class Saying:
    """Of one person, who reads what `write` gets. `private` says a text to a user from machine to machine.

    `own`: what the person says is shown, too. `give_back` gets a line that was refused, to be changed and entered
    again; whether that was possible without taking another one away.
    """

    def __init__(
        self,
        conversation: Conversation,
        write: Callable[..., None],
        private: Callable[[str, str, float], None],
        wall: Callable[[], float],
        *,
        own: bool,
        give_back: Callable[[str], bool] | None,
    ) -> None:
        self.destination = Destination(conversation, write, private)
        self.places = Places()
        self._conversation = conversation
        self._write = write
        self._give_back = give_back
        self._own = OwnLines(conversation, write, wall) if own else None
        self._writer = ""  # who had written last when the line was begun

    # What the person does. Each says whether it could be done.

    def begins(self) -> None:
        """The first key of a line: an answer goes to whoever had written by then."""
        self._writer = self.places.writer

    def line(self, text: str, now: float) -> bool:
        """A line without a command."""
        return self._say(text, self.destination.place, now)

    def me(self, text: str, now: float) -> bool:
        """The command ``/me``."""
        if self.destination.place:
            return self.line(f"{book.ME}{text}", now)
        self._show(error(say_forum.NOWHERE))
        self._show(say_forum.PLACELESS)
        return False

    def answer(self, text: str, now: float) -> bool:
        """The command ``r``."""
        place = self._writer or self.places.writer
        if not place:
            self._show(error(say.NOBODY_WROTE))
            return False
        return self._say(text, place, now)

    def go(self, place: str, now: float) -> None:
        """The command ``to``."""
        self.destination.go(place, now)
        self.places.seen(self.destination.place)

    def turn(self, step: int) -> bool:
        """Goes on to the next place that waits; False: none does."""
        place = self.places.turn(step, self.destination.place)
        if place is not None:
            self.destination.place = place
        return place is not None

    def _say(self, text: str, place: str, now: float) -> bool:
        self.places.seen(place)
        self._writer = ""
        wrong = self.destination.send(text, place, now)
        if wrong:
            self._show(error(wrong))
        return not wrong

    # What happens.

    def saw(self, event: Fields) -> None:
        """Any event that was shown."""
        self.destination.saw(event)
        self.places.came(event, self._conversation.user, self.destination.place)

    def answered(self, item: n.Answered) -> None:
        """Any answer, before its sentence."""
        action, fields = item.request.action, item.request.fields
        if self._own:
            self._own.answered(item)
        if action in SAID:
            self.places.seen(place_of(item.request))
        elif action == "rdt":
            self.places.seen(f"#{fields.get('title')}")
        elif action == "history" and "place" in fields:
            self.places.seen(str(fields["place"]))

    def follows(self, item: n.Answered) -> None:
        """Any answer, behind its sentence."""
        if item.request.action not in SAID or item.status == "OK" or not self._give_back:
            return
        if not self._give_back(typed(item.request, self.destination.place)):
            self._show(say.UP_BRINGS_IT)

    def look(self, now: float) -> None:
        """Once a tick."""
        if self._own:
            self._own.look(now)

    def close(self) -> None:
        """Nothing more will be confirmed."""
        if self._own:
            self._own.close()

    # What is to be seen.

    def shows(self, text: str) -> bool:
        """Whether a line, once entered, will be shown as what was said: then it is not shown as it was typed."""
        if self._own is None or not text.strip() or begins_answer(text):  # that may answer a question
            return False
        place = self.destination.place
        if not (place and is_text(text)):
            try:
                row, fields = parse(text.strip(), *ROLES)
            except UsageError:
                return False
            if row.name in SAID:
                return True
            place = {"r": self._writer or self.places.writer, "/me": place}.get(row.name, "")
            text = str(fields.get("text", ""))
        return bool(place) and not place.startswith("@") and kinds.TEXT.accepts(text.strip())

    def rows(self, columns: int) -> list[Part]:
        """What stands above the prompt: what the server does not have yet."""
        return self._own.rows(columns) if self._own else []

    def note(self, now: float) -> str:
        """What the prompt says of a server that takes its time."""
        return self._own.note(now) if self._own else ""

    def deadline(self, now: float) -> float:
        """When ``note`` may change."""
        return self._own.deadline(now) if self._own else NEVER

    def _show(self, line: Line) -> None:
        self._write(*line)
