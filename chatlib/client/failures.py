"""What the calls of :class:`chatlib.client.library.Client` raise, besides TimeoutError."""

from __future__ import annotations

from chatlib.client.news import Fields


class Refused(Exception):
    """The answer is no: `status` for programs, `text` for people, and the whole `reply`."""

    def __init__(self, reply: Fields) -> None:
        self.status = str(reply.get("status"))
        self.text = str(reply.get("text", self.status))
        self.reply = reply
        super().__init__(self.status, self.text)

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"


class Disconnected(ConnectionError):
    """The conversation is over and will not come back: `status` for programs, `text` for people."""

    def __init__(self, status: str, text: str) -> None:
        self.status, self.text = status, text
        super().__init__(status, text)

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"
