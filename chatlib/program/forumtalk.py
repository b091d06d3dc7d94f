"""Threads in a person's words: what a command needs besides what was typed, and what is said of an answer.

A message is deleted or changed by the number that stands before it on the screen; the ``seq`` that was shown with it
goes along, so that another's deletion meanwhile cannot turn the command on a wrong message. A thread is read from its
beginning, in portions, however long it is.

Must not know connections or keys. Legal order: ``fields`` for a typed command, ``ask`` it; ``answered`` and ``saw``
for each reply and event. Invariant: what was done is said once, by the event or, where none came, by the reply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.news import Fields, Request, integer_of
from chatlib.program.sentences import book
from chatlib.program.sentences import forum as say
from chatlib.program.sentences.book import Line, error
from chatlib.program.threads import SeenThreads

PORTION = 1_000  # items of a long thread that are shown at once
_NEAR, _FAR = 20, 2_001  # items among which one message is looked for: files stand between messages


@dataclass(slots=True)
class _Reading:
    """A whole thread on its way to the screen. `last`: the seq up to which it is shown, `first`: the next number."""

    title: str
    last: int = -1
    first: int = 1


class ForumTalk:
    """With one person, who reads what `write` gets."""

    def __init__(self, conversation: Conversation, write: Callable[..., None], wall: Callable[[], float]) -> None:
        self.seen = SeenThreads()
        self._conversation = conversation
        self._write = write
        self._wall = wall
        self._asked: list[tuple[Request, Callable[[n.Answered, float], None]]] = []  # what follows on their answers
        self._told: deque[object] = deque(maxlen=1_000)  # the seqs of events that were shown

    # What the person does.

    def fields(self, name: str, fields: Fields) -> Fields:
        """A typed command's fields, with the title and the message that are meant."""
        title, number = fields.get("title"), fields.get("number")
        if not isinstance(title, str) or name == "crt":
            return fields
        title = self.seen.meant(title)
        seq = self.seen.seq(title, number) if name in ("dlt", "edt") and isinstance(number, int) else None
        return {**fields, "title": title, **({} if seq is None else {"seq": seq})}

    def read(self, title: str, now: float) -> None:
        """All of a thread."""
        reading = _Reading(title)
        self._ask({"title": title, "count": PORTION}, now, lambda item, at: self._begun(reading, item, at))

    def refresh(self, now: float) -> None:
        """Asks what is followed, for completion."""
        request = self._conversation.request("following", {}, now)
        self._asked.append((request, lambda item, _now: self._learn(item)))

    def _ask(self, fields: Fields, now: float, then: Callable[[n.Answered, float], None]) -> None:
        self._asked.append((self._conversation.request("rdt", fields, now), then))

    # What happens.

    def saw(self, event: Fields) -> None:
        """An event was shown."""
        self.seen.heard(event)
        if "thread" in event:
            self._told.append(event.get("seq"))

    def answered(self, item: n.Answered, now: float) -> bool:
        """Any answer; whether there is nothing more to say about it."""
        for asked in self._asked:
            if asked[0] is item.request:
                self._asked.remove(asked)
                asked[1](item, now)
                return True
        action, fields = item.request.action, item.request.fields
        if item.status == "CHANGED" and action in ("dlt", "edt"):
            self._changed(item, now)
            return True
        if item.status == "OK":
            self._learn(item)
        elif item.status == "NO_SUCH_THREAD" and str(fields.get("title")).startswith("#"):
            self._show(error(item.reply.get("text")))
            self._show(say.without_sign(str(fields["title"])))
            return True
        return item.status == "OK" and "title" in fields and "seq" in item.reply and item.reply["seq"] in self._told

    def _learn(self, item: n.Answered) -> None:
        action, fields, reply = item.request.action, item.request.fields, item.reply
        found = list(book.items(reply))
        if action == "lst":
            self.seen.listed(each.get("title") for each in reversed(found) if isinstance(each, dict))
        elif action == "following":
            self.seen.listed(reversed(found))
        elif action == "rdt":
            self.seen.read(str(reply.get("thread")), found)
        elif action == "rmv":
            self.seen.gone(str(fields["title"]))
        elif action in ("crt", "follow"):
            self.seen.listed([reply.get("thread")])
        elif action == "dlt" and isinstance(fields["number"], int):
            self.seen.deleted(str(fields["title"]), fields["number"])

    # A whole thread, in portions.

    def _begun(self, reading: _Reading, item: n.Answered, now: float) -> None:
        """The end of it is here; a short thread is whole."""
        if item.status == "OK" and len(list(book.items(item.reply))) >= PORTION:
            self._next(reading, PORTION + 1, now)
        else:
            self._shows(item)

    def _next(self, reading: _Reading, count: int, now: float) -> None:
        fields: Fields = {"title": reading.title, "count": count, "number": reading.first + PORTION}
        self._ask(fields, now, lambda item, at: self._read_on(reading, count, item, at))

    def _read_on(self, reading: _Reading, count: int, item: n.Answered, now: float) -> None:
        found = [each for each in book.items(item.reply) if isinstance(each, dict)]
        if item.status == "OK" and len(found) >= count and integer_of(found[0], "seq") > reading.last:
            self._next(reading, 2 * count, now)  # files stand between the messages: the portion may begin earlier
            return
        fresh = [each for each in found if integer_of(each, "seq") > reading.last]
        if fresh or item.status != "OK":
            item.reply["items"] = fresh
            self._shows(item)
        if fresh:
            reading.last = integer_of(fresh[-1], "seq")
            number = max(integer_of(each, "number") for each in fresh)
            if number >= reading.first + PORTION - 1:
                reading.first = number + 1
                self._next(reading, PORTION + 1, now)

    def _shows(self, item: n.Answered) -> None:
        if item.status == "OK":
            self._learn(item)
        for line in book.answer("rdt", item.request.fields, item.reply, self._wall()):
            self._show(line)

    # A number that means another message by now.

    def _changed(self, item: n.Answered, now: float) -> None:
        number, fields = item.reply.get("number"), item.request.fields
        self._show(say.changed(fields.get("number"), number))
        self._look(str(fields["title"]), integer_of(fields, "number"), _NEAR, now)

    def _look(self, title: str, number: int, count: int, now: float) -> None:
        fields: Fields = {"title": title, "count": count, "number": number + 1}
        self._ask(fields, now, lambda item, at: self._found(title, number, item, at))

    def _found(self, title: str, number: int, item: n.Answered, now: float) -> None:
        found = [each for each in book.items(item.reply) if isinstance(each, dict)]
        there = next((each for each in found if each.get("number") == number), None)
        if there is not None:
            self.seen.read(str(item.reply.get("thread")), [there])
            self._show(say.is_now(number, there, self._wall()))
        elif item.status != "OK":
            self._show(error(item.reply.get("text") or item.status))
        elif len(found) == _NEAR:
            self._look(title, number, _FAR, now)
        else:
            self._show(say.no_message(number))

    def _show(self, line: Line) -> None:
        self._write(*line)
