"""Where lines without a command go: to a user (in private, too), into a thread, to everyone, or nowhere.

Must not know screens or connections. A small state machine: ``go`` somewhere, ``send`` what is typed there;
``answered`` and ``saw`` for each reply and event, which may end it. Invariants: the prompt says where a line goes; who
goes to a thread follows it, and so hears the others before saying something there.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.news import Fields, Request
from chatlib.program.sentences import forum as say
from chatlib.program.sentences.book import error
from chatlib.protocol import kinds
from chatlib.protocol.text import fold

_NOBODY = ("NO_SUCH_THREAD", "NO_SUCH_USER")


class Destination:
    """Of one person, who reads what `write` gets. `private` says a text to a user from machine to machine.

    `place`: ``#plans``, ``ann``, ``@ann`` (privately), ``all``, or empty.
    """

    def __init__(
        self, conversation: Conversation, write: Callable[..., None], private: Callable[[str, str, float], None]
    ) -> None:
        self.place = ""
        self._private = private
        self._conversation = conversation
        self._write = write
        self._asked: list[Request] = []  # to follow threads, and so how they are written; the last counts

    def go(self, place: str, now: float) -> None:
        """The command ``to``; empty: nowhere."""
        left, self.place = self.place, "all" if fold(place) == "all" else place
        if place.startswith("#"):
            self._asked.append(self._conversation.request("follow", {"title": place[1:]}, now))
        elif place:
            self._write(*say.goes_to(self.place))
        else:
            self._write(*(say.left(left) if left else say.goes_nowhere()))

    def send(self, text: str, place: str, now: float) -> str:
        """Something is said in `place`; what is wrong with it, if it cannot."""
        if not kinds.TEXT.accepts(text):
            return f"What you type must be {kinds.TEXT.allowed}."
        if place.startswith("#"):
            self._conversation.request("msg", {"title": place[1:], "text": text}, now)
        elif place.startswith("@"):
            self._private(place[1:], text, now)
        elif place == "all":
            self._conversation.request("broadcast", {"text": text}, now)
        else:
            self._conversation.request("message", {"to": place, "text": text}, now)
        return ""

    def answered(self, item: n.Answered) -> bool:
        """Any answer; whether there is nothing more to say about it."""
        fields = item.request.fields
        if any(request is item.request for request in self._asked):
            is_last = self._asked[-1] is item.request and self._is(f"#{fields['title']}")
            self._asked = [request for request in self._asked if request is not item.request]
            if not is_last:
                pass  # the person has gone on meanwhile
            elif item.status == "OK":
                self.place = f"#{item.reply.get('thread')}"
                self._write(*say.goes_to(self.place))
            elif item.status == "TOO_MANY_THREADS":  # one may talk there all the same
                self._write(*say.goes_to(self.place))
                self._write(*say.unheard(self.place, item.reply.get("text") or item.status))
            else:
                self.place = ""
                self._write(*error(item.reply.get("text") or item.status))
            return True
        to = f"#{fields['title']}" if item.request.action == "msg" else fields.get("to")
        if item.status in _NOBODY and self._is(to):
            self._write(*error(item.reply.get("text") or item.status))
            self._leave()
            return True
        return False

    def saw(self, event: Fields) -> None:
        """Any event."""
        if event.get("event") == "thread_removed" and self._is(f"#{event.get('thread')}"):
            self._leave()

    def _is(self, place: object) -> bool:
        return bool(self.place) and isinstance(place, str) and fold(place) == fold(self.place)

    def _leave(self) -> None:
        left, self.place = self.place, ""
        self._write(*say.left(left))
