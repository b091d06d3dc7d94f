"""Which events reach a person's eyes and ears: some are gathered, some not shown, and some call the person.

Must not know sockets, the screen, or how long a second is: it is told the time. Legal calls: ``arrived`` for each event
in order, ``entered`` when a session begins, ``look`` at any time (it answers when it is to be called at the latest),
``settle`` before the end. Invariants:

- who came and went is said after at most GATHER seconds, in one line, and before anything that one of them says;
- who was there before the server was away, and comes back as this person did, never went: nothing is said of it;
- what is not shown counts as seen: only the eyes are spared;
- the bell rings once for all that waited, and at most once a second for what comes live; never for what one says
  oneself, nor for what is asked for again (history).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from chatlib.client.news import Fields
from chatlib.program.pasttalk import PastTalk
from chatlib.program.sentences import book
from chatlib.program.sentences.book import Line
from chatlib.program.settings import Settings
from chatlib.protocol.text import fold
from chatlib.terminal.screen import Styled

GATHER = 1.0  # seconds
QUIET = 1.0  # seconds between two calls
RETURN = 60.0  # seconds in which the others come back, too, when the server was away
_PRIVATE = ("message", "private")
_SAID = ("message", "broadcast", "post", "edit", "delete", "upload", "file_removed", "file")  # what mute hides


class Caller(Protocol):
    """Whoever can call the person."""

    def ring(self) -> None: ...

    def note(self, title: str, text: str) -> None: ...


class Attention:
    """Of one person, who reads what `write` gets. `gathers`: somebody is there, who is spared lines."""

    def __init__(
        self,
        settings: Settings,
        write: Callable[..., None],
        past: PastTalk,
        me: Callable[[], str],
        caller: Caller | None = None,
        *,
        times: bool = False,
        gathers: bool = True,
    ) -> None:
        self._settings, self._write, self._past, self._me = settings, write, past, me
        self._caller = caller
        self._times = times
        self._gathers = gathers
        self._held: dict[str, Fields] = {}  # folded name → the last that is known of who came or went
        self._begun: dict[str, bool] = {}  # and whether that user was there before
        self._there: set[str] = set()  # folded names of whom this person knows that they are there
        self._returned = float("-inf")  # when this client came back by itself
        self._due = float("inf")
        self._called = float("-inf")  # when the person was called last
        self._waited = False  # it was for something that had waited

    @property
    def times(self) -> bool:
        """Whether messages are shown with their times."""
        return self._times and self._settings.on("times")

    def entered(self, again: bool, now: float) -> None:
        """A session begins, perhaps `again` after a lost connection: what waited is about to come."""
        self._waited = False
        if again:
            self._returned = now

    def arrived(self, event: Fields, now: float) -> bool:
        """Shows an event, now or soon, or does not; whether it was something to be seen."""
        sender = event.get("from")
        if event.get("event") == "presence":
            return self._presence(event, now)
        if isinstance(sender, str) and not event.get("offline"):
            self._there.add(fold(sender))
        if self._settings.mutes(sender) and event.get("event") in _SAID:
            self._past.shown(event, seen=False)
            return False
        if isinstance(sender, str) and fold(sender) in self._held:
            self.settle()
        concerns = self._concerns(event)
        self._show(event, _marked if concerns else None)
        if concerns:
            self._call(event, now)
        return True

    def look(self, now: float) -> float:
        """Says what was gathered, if it is time."""
        if now >= self._due:
            self.settle()
        return self._due

    def settle(self) -> None:
        """Says what was gathered."""
        held = [event for name, event in self._held.items() if event.get("online") is not self._begun[name]]
        self._held.clear()
        self._begun.clear()
        self._due = float("inf")
        if len(held) == 1:
            self._show(held[0])
        elif held:
            users = [[event.get("user") for event in held if bool(event.get("online")) is online]
                     for online in (True, False)]  # fmt: skip
            together: Fields = {"event": "presence", "time": held[-1].get("time"), "came": users[0], "went": users[1]}
            self._show(together)

    # Inside.

    def _show(self, event: Fields, mark: Callable[[Line], Line] | None = None) -> None:
        self._past.days = self.times
        line = book.event(event, self._past.arrives(event), self.times)
        self._write(*(mark(line) if mark else line))
        self._past.shown(event)

    def _presence(self, event: Fields, now: float) -> bool:
        user = fold(str(event.get("user")))
        was_there = user in self._there
        (self._there.add if event.get("online") else self._there.discard)(user)
        if was_there and event.get("online") and self._gathers and now < self._returned + RETURN:
            return False
        if not self._settings.on("presence") or self._settings.mutes(user):
            return False
        self._begun.setdefault(user, not event.get("online"))
        self._held[user] = event
        self._due = min(self._due, now + GATHER)
        if not self._gathers:
            self.settle()
        return True

    def _concerns(self, event: Fields) -> bool:
        """Whether it is for this person more than for others."""
        sender, text, me = event.get("from"), event.get("text"), self._me()
        if not isinstance(sender, str) or not isinstance(text, str) or fold(sender) == fold(me):
            return False
        return event.get("event") in _PRIVATE or names(text, me)

    def _call(self, event: Fields, now: float) -> None:
        waited = event.get("offline") is True
        if self._caller is None or (waited and self._waited) or (not waited and now < self._called + QUIET):
            return
        self._waited |= waited
        self._called = now
        if self._settings.on("bell"):
            self._caller.ring()
        if self._settings.on("notify"):
            self._caller.note(str(event.get("from")), str(event.get("text")))


def names(text: str, user: str) -> bool:
    """Whether `user` stands in a text as a whole word: ``ann`` neither in ``anna`` nor in ``ann-marie``, but in
    ``@ann:``."""
    return bool(user) and re.search(rf"(?<!\w)(?<!\w[.-]){re.escape(user)}(?!\w)(?![.-]\w)", text, re.I) is not None


def _marked(line: Line) -> Line:
    """A line that is not to be passed over: the name at its start is reversed."""
    for place, part in enumerate(line):
        if isinstance(part, Styled) and "name" in part.style.split():
            return (*line[:place], part._replace(style=f"{part.style} reverse"), *line[place + 1 :])
    return line
