"""What a bot can say and ask: a part of :class:`chatlib.client.library.Client`.

Must not know connections, nor how a call waits. Each call raises Refused for what the server refuses. What others say
comes as the events ``message`` and ``broadcast``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

from chatlib.client.news import Fields


class TalkCalls(ABC):
    """Calls about messages, and about who is there."""

    @abstractmethod
    def request(self, action: str, fields: Fields | None = None, *, key: str | None = None) -> Fields: ...

    def message(self, to: str, text: str, *, key: str | None = None) -> Fields:
        """Sends to one user; ``["delivered"]`` says whether that one is online."""
        return self.request("message", {"to": to, "text": text}, key=key)

    def broadcast(self, text: str, *, key: str | None = None) -> Fields:
        """Sends to everyone registered."""
        return self.request("broadcast", {"text": text}, key=key)

    def block(self, user: str) -> None:
        self.request("block", {"user": user})

    def unblock(self, user: str) -> None:
        self.request("unblock", {"user": user})

    def blacklist(self) -> list[str]:
        """Whom one blocks."""
        return cast(list[str], self.request("blacklist")["items"])

    def whoelse(self) -> list[str]:
        """Who else is online."""
        return cast(list[str], self.request("whoelse")["items"])

    def wholasthr(self, minutes: float | None = None) -> list[str]:
        """Who else was online in the last hour, or in the last so many minutes."""
        return cast(list[str], self.request("wholasthr", {"minutes": minutes} if minutes is not None else {})["items"])

    def list_users(self) -> dict[str, bool]:
        """Everyone registered → whether online."""
        users = cast(list[Fields], self.request("list_users")["items"])
        return {str(each["user"]): bool(each["online"]) for each in users}

    def history(self, count: int, place: str = "") -> list[Fields]:
        """The last so many messages, both sides, of one place (a user, "#" and a title, "all") or everywhere, oldest
        first; 0: those that came while one was away. What one sent has a ``to``."""
        fields: Fields = {"count": count, "place": place} if place else {"count": count}
        return cast(list[Fields], self.request("history", fields)["items"])

    def search(self, words: str, count: int = 100) -> list[Fields]:
        """The newest so many of all that one may read that have all of the words, newest first."""
        return cast(list[Fields], self.request("search", {"words": words, "count": count})["items"])
