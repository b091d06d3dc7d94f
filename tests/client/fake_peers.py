"""Direct connections without I/O, for tests of the program: a test says who is introduced, and what peers do."""

from __future__ import annotations

from typing import Any

from chatlib.client import news as n
from chatlib.client.contacts import NotSent
from chatlib.client.news import News, Parcel
from chatlib.protocol.text import fold


class FakePeers:
    """Of one person. A call is on its way until the test says ``opens`` or ``closes``."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self.known: set[str] = set()  # folded names
        self.refuses: dict[str, NotSent] = {}  # by the folded name
        self.links: set[str] = set()
        self.parcels: list[Parcel] = []  # that were not acknowledged
        self.read: list[dict[str, Any]] = []  # what was shown
        self.room = 100

    def take_news(self) -> list[News]:
        news, self.news = self.news, []
        return news

    # What the program asks for.

    def private(self, user: str, text: str, key: str = "") -> Parcel:
        return self._send(user, "text", text, key)

    def cheque(self, user: str, line: str, key: str = "") -> Parcel:
        return self._send(user, "cheque", line, key)

    def _send(self, user: str, kind: str, content: str, key: str) -> Parcel:
        if fold(user) in self.refuses:
            raise self.refuses[fold(user)]
        if fold(user) not in self.links | self.known:
            raise NotSent("NOT_INTRODUCED", f"You have no introduction to {user}.")
        if len(self.parcels) >= self.room:
            raise NotSent("TOO_MANY", "Too many are under way.")
        self.parcels.append(Parcel(user, kind, content, *([key] if key else [])))
        return self.parcels[-1]

    def linked(self, user: str) -> bool:
        return fold(user) in self.links

    def introduced(self, user: str) -> bool:
        return fold(user) in self.known

    def hang_up(self, user: str) -> bool:
        if fold(user) not in self.links:
            return False
        self.closes(user, "HUNG_UP", "You have closed it.")
        return True

    def shown(self, event: dict[str, Any]) -> None:
        if event.get("event") in ("private", "cheque"):
            self.read.append(event)

    # What peers do.

    def opens(self, user: str, called: bool = True) -> None:
        self.links.add(fold(user))
        self.news.append(n.LinkOpened(user, called))

    def says(self, user: str, text: str) -> None:
        self.news.append(n.Arrived({"event": "private", "from": user, "text": text, "time": 1_700_000_000, "id": 1}))

    def acknowledges(self, count: int = 1) -> None:
        for _ in range(count):
            self.news.append(n.ParcelShown(self.parcels.pop(0)))

    def closes(self, user: str, status: str, text: str) -> None:
        self.links.discard(fold(user))
        left = tuple(each for each in self.parcels if fold(each.user) == fold(user))
        self.parcels = [each for each in self.parcels if each not in left]
        self.news.append(n.LinkClosed(user, status, text, left))
