"""What was said before, in a person's words: what came while one was away, days that change, and more of a long answer.

Must not know connections, keys, or what an event says besides when it happened and where. Legal order: ``away`` before
the events that were missed; ``arrives`` before each event is shown, and ``shown`` behind it; ``answered`` for each
reply. Invariant: what was missed has one end, however the connection behaves meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.news import Fields
from chatlib.program.sentences import book
from chatlib.program.sentences import history as say
from chatlib.program.sentences.book import Line
from chatlib.protocol.commands.history import LAST


class PastTalk:
    """With one person, who reads what `write` gets. `days`: events are shown with their time, below the day's line;
    `ends`: somebody wants to know where it ends what was missed."""

    def __init__(self, conversation: Conversation, write: Callable[..., None], wall: Callable[[], float], *,
                 days: bool, ends: bool) -> None:  # fmt: skip
        self._conversation, self._write, self._wall = conversation, write, wall
        self.days, self._ends = days, ends
        self._day = _day(wall())
        self._left = 0  # of what was missed: so many are still to come,
        self._where: Counter[str] = Counter()  # and so many came, by place
        self._waiting: list[Callable[[], None]] = []  # for the end of it
        self._more: tuple[str, Fields] | None = None  # how what follows on the last answer is asked for

    # What the person does.

    def fields(self, name: str, fields: Fields) -> Fields:
        """A typed command's fields, with how much a person wants to see."""
        return {**fields, "count": LAST} if name == "search" else fields

    def more(self, now: float) -> bool:
        """The command ``more``; whether there is."""
        if self._more is None:
            self._show(say.NO_MORE)
            return False
        action, fields = self._more
        self._more = None
        self._conversation.request(action, fields, now)
        return True

    def answered(self, item: n.Answered) -> None:
        """Any answer."""
        action, fields, found = item.request.action, item.request.fields, list(book.items(item.reply))
        if item.status != "OK" or action not in ("history", "search"):
            return
        before = item.reply.get("next")
        if action == "history" and fields.get("count") and len(found) == fields["count"]:
            before = found[0].get("seq") if isinstance(found[0], dict) else None
        self._more = (action, {**fields, "before": before}) if isinstance(before, int) else None

    # What arrives.

    def away(self, count: int) -> None:
        """The next `count` events were missed."""
        self._left, self._where = count, Counter()

    def caught_up(self, then: Callable[[], None]) -> None:
        """Calls `then` behind what was missed: now, if nothing of it is still to come."""
        if self._left:
            self._waiting.append(then)
        else:
            then()

    def lost(self) -> None:
        """The connection is gone: the rest comes another time."""
        self._left = 0
        self._waiting.clear()

    def arrives(self, event: Fields) -> float:
        """An event is about to be shown: what stands before it. Returns the time by which its own is written."""
        if self._left and "seq" in event and not event.get("offline"):
            self._end()  # fewer came than the server had counted
        at = event.get("time")
        if not self.days or not isinstance(at, int | float):
            return self._wall()
        day = _day(at)
        if day is None:
            return self._wall()
        if day != self._day:
            self._day = day
            self._show(say.day(day))
        return at

    def shown(self, event: Fields, seen: bool = True) -> None:
        """It was shown, or passed over, and is not `seen`."""
        if self._left and event.get("offline"):
            self._left -= 1
            if seen:
                self._where[_place(event)] += 1
            if not self._left:
                self._end()

    def _end(self) -> None:
        self._left = 0
        if self._ends and self._where:
            self._show(say.end_of_missed(self._where.most_common()))
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()

    def _show(self, line: Line) -> None:
        self._write(*line)


def _day(at: float) -> date | None:
    """The day of a time; None: it is none."""
    try:
        return datetime.fromtimestamp(at).date()
    except (OverflowError, ValueError, OSError):
        return None


def _place(event: Fields) -> str:
    """Where it was said; empty where that is no place."""
    if event.get("event") == "broadcast":
        return "all"
    if "thread" in event:
        return f"#{event['thread']}"
    return str(event.get("from") or event.get("to") or "")
