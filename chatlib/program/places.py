"""Where something waits for a person: places where something came that was neither answered nor looked at.

Must not know commands, screens or connections. A place is written as in the prompt: ``ann``, ``@ann``, ``#plans``,
``all``. Legal order: ``came`` for each event that was shown, ``seen`` when a place was looked at, ``turn`` to go round.
Invariant: the place where the person is does not wait.
"""

from __future__ import annotations

from chatlib.client.news import Fields
from chatlib.protocol.text import fold

MOST = 1_000  # places that wait at once, the latest


def place_of(event: Fields, me: str) -> str:
    """Where an event belongs; empty: nowhere, or it is one's own."""
    sender = event.get("from")
    if not isinstance(sender, str) or fold(sender) == fold(me) or "to" in event:
        return ""
    match event.get("event"):
        case "message" | "file":
            return sender
        case "private":
            return f"@{sender}"
        case "broadcast":
            return "all"
        case "post" | "upload":
            return f"#{event.get('thread')}"
    return ""


class Places:
    """Of one person. `writer`: where an answer goes to whoever wrote last in private; empty: nobody has."""

    def __init__(self) -> None:
        self.writer = ""
        self._waiting: dict[str, str] = {}  # folded → as written, by how long something waits there
        self._round: list[str] = []  # while one goes round: what is gone through, from where one was
        self._index = 0

    @property
    def waiting(self) -> list[str]:
        """Where something waits, the longest first."""
        return list(self._waiting.values())

    def came(self, event: Fields, me: str, here: str) -> None:
        """An event was shown to `me`, who is `here`."""
        if event.get("event") == "sent":
            self.seen(str(event.get("to")))  # answered in another session
        place = place_of(event, me)
        if not place:
            return
        if event.get("event") in ("message", "private"):
            self.writer = place
        if fold(place) != fold(here):
            self._waiting.setdefault(fold(place), place)
            if len(self._waiting) > MOST:
                del self._waiting[next(iter(self._waiting))]

    def seen(self, place: str) -> None:
        """It was looked at, or answered."""
        self._waiting.pop(fold(place), None)

    def rest(self) -> None:
        """One stays where one is: the next turn begins from there."""
        self._round = []

    def turn(self, step: int, here: str) -> str | None:
        """The next place, or with a negative step the one before; behind the last comes where one was. None: nothing
        waits."""
        if not self._round or fold(self._round[self._index]) != fold(here):
            self._round, self._index = [here], 0
        known = set(map(fold, self._round))
        self._round += [place for folded, place in self._waiting.items() if folded not in known]
        if len(self._round) < 2:
            self._round = []
            return None
        self._index = (self._index + step) % len(self._round)
        place = self._round[self._index]
        self.seen(place)
        return place
