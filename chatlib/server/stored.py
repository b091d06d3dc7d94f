"""Stored messages, as they are sent: one that the disk has lost costs its own line and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from chatlib.protocol.framing import encode
from chatlib.reactor.loop import Loop
from chatlib.storage.messages import MessageStore
from chatlib.storage.textfile import FileError


class Stored:
    """What the world reads of the message store."""

    def __init__(self, messages: MessageStore, loop: Loop, tell: Callable[[str], None]) -> None:
        self._messages, self._loop, self._tell = messages, loop, tell

    def event(self, seq: int, offset: int, user: str) -> bytes:
        """The event line of a stored message; a notice in the place of one that the disk has lost."""
        try:
            return self._messages.read(offset)[1]
        except (OSError, FileError) as error:  # it concerns this user, and nobody else
            self._tell(f"Message {seq} for {user} cannot be read: {error}")
        text = f"Message {seq} cannot be read: the server's disk has lost it. Its administrator was told."
        return encode({"event": "notice", "seq": seq, "time": self._loop.wall, "text": text})
