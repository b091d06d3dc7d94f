"""What a person has said to others: dim above the prompt until the server has it, then among what is printed.

What is printed stays as it is, so nothing is printed that may still be refused. A message is printed when the server
has confirmed it; a broadcast and a post come back as events, which are their lines. What is refused is said, with the
reason, and goes back to the person to be changed.

Must not know keys, screens or connections. Legal order: ``look`` once a tick, ``answered`` for each answer, ``close``
at the end. Invariants: what the server has is shown once, in the order in which it has it; what it does not have by the
end is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.news import Fields, Request
from chatlib.program.commandline import is_text
from chatlib.program.sentences import book
from chatlib.program.sentences import talk as say
from chatlib.protocol.text import fold, printable
from chatlib.terminal.screen import Part, style
from chatlib.terminal.wrapping import hanging, wrapped

SAID = frozenset({"message", "broadcast", "msg"})
MOST_ROWS = 6  # above the prompt, the latest
UNCONFIRMED, SLOW = 5.0, 1.0  # seconds after which the prompt says so
NEVER = float("inf")


def place_of(request: Request) -> str:
    """Where something is said."""
    fields = request.fields
    return str(fields["to"]) if "to" in fields else f"#{fields['title']}" if "title" in fields else "all"


def typed(request: Request, here: str) -> str:
    """How that is said again, by one who is `here`."""
    place, text = place_of(request), str(request.fields["text"])
    if here and fold(place) == fold(here):
        return text if is_text(text) else f" {text}"
    words = {"message": f"message {place}", "msg": f"msg {place[1:]}"}.get(request.action, "broadcast")
    return f"{words} {text}"


@dataclass(frozen=True, slots=True)
class _Own:
    """One of them. `time`: of day, when it was said; `since`: by the clock that never goes back."""

    request: Request
    time: float
    since: float


class OwnLines:
    """Of one person, who reads what `write` gets. `wall` is the time of day."""

    def __init__(
        self, conversation: Conversation, write: Callable[..., None], wall: Callable[[], float]
    ) -> None:
        self._conversation = conversation
        self._write = write
        self._wall = wall
        self._lines: dict[int, _Own] = {}  # by the identity of the request, oldest first

    def look(self, now: float) -> None:
        """Finds out what is on its way."""
        pending = self._conversation.outbox.pending
        if not pending and not self._lines:
            return
        requests = [request for request in pending.values() if request.action in SAID]
        self._lines = {
            id(request): self._lines.get(id(request)) or _Own(request, self._wall(), now) for request in requests
        }

    def answered(self, item: n.Answered) -> None:
        """Any answer; its own sentence follows."""
        if item.request.action not in SAID:
            return
        own = self._lines.pop(id(item.request), None) or _Own(item.request, self._wall(), 0.0)
        if item.status != "OK":
            self._write(*say.not_sent(place_of(item.request), item.request.fields["text"]))
        elif item.request.action == "message":
            self._write(*self._line(own))

    def close(self) -> None:
        """The end: says what the server may not have."""
        self.look(0.0)
        for own in self._lines.values():
            self._write(*say.unconfirmed(self._line(own)))
        self._lines.clear()

    # What is to be seen besides.

    def rows(self, columns: int) -> list[Part]:
        """What stands above the prompt."""
        rows: list[Part] = []
        for own in list(self._lines.values())[-MOST_ROWS:]:
            parts = self._line(own)
            text = printable(book.plain(parts))
            head = len(text) - len(printable(book.plain(parts[-1:])).lstrip())
            broken = wrapped(text, columns, hanging(head, columns))
            rows += [style(" " * row.indent + text[row.start : row.end], "dim") for row in broken]
        return rows[-MOST_ROWS:]

    def note(self, now: float) -> str:
        """What the prompt says of how the server takes its time; empty: nothing."""
        waits = now - min((own.since for own in self._lines.values()), default=now)
        if waits >= UNCONFIRMED:
            return say.unconfirmed_note(waits)
        latency = self._conversation.promptness.latency(now)
        return say.slow_note(latency) if latency >= SLOW else ""

    def deadline(self, now: float) -> float:
        """When the note may change."""
        since = [own.since + UNCONFIRMED for own in self._lines.values()][:1]
        since.append(self._conversation.promptness.since + SLOW)
        return now + 1.0 if self.note(now) else max(min(since), now)

    def _line(self, own: _Own) -> book.Line:
        fields: Fields = {"event": "message", "from": self._conversation.user, "to": place_of(own.request),
                          "text": own.request.fields["text"], "time": own.time}  # fmt: skip
        return book.event(fields, self._wall(), True)
