"""What is stored, as it is read.

Messages, as they are sent: one that the disk has lost costs its own line and nothing else.

What was said to many is kept for a while once it was read: when a thousand people come back after a restart, what
they all missed is read once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from chatlib.core import streams
from chatlib.core.streams import LOST, Chunk
from chatlib.protocol.framing import encode
from chatlib.storage.appendfile import AppendFiles
from chatlib.storage.messages import Erased, Line, MessageStore
from chatlib.storage.textfile import FileError

KEPT = 4 << 20  # bytes of what was said to many
CHUNKS = 2_048  # positions that were read lately: of so many chunks, twice what one user may follow


class Stored:
    """What is read of the message store."""

    def __init__(self, messages: MessageStore, appended: AppendFiles, wall: Callable[[], float],
                 tell: Callable[[str], None]) -> None:  # fmt: skip
        self._messages, self._appended, self._wall, self._tell = messages, appended, wall, tell
        # Ordered ones, of which the first is found at once: a dict looks for it among all that were removed before it.
        self._kept: OrderedDict[int, bytes] = OrderedDict()  # by offset, the first read first
        self._size = 0
        self._chunks: OrderedDict[int, Chunk] = OrderedDict()  # by offset, the latest used last

    def lines(self, positions: Sequence[tuple[int, int]], user: str) -> Iterator[tuple[str, bytes]]:
        """For whom these were stored ("": not just for one), and their events; offsets grow. Of a line that was erased,
        with the account of the one it was for, nothing is left: then both are empty."""
        kept = [self._kept.get(offset) for _, offset in positions]
        found = self._messages.read_many([at for (_, at), event in zip(positions, kept, strict=True) if event is None])
        for (seq, offset), event in zip(positions, kept, strict=True):
            line = (b"", event) if event else next(found)
            if isinstance(line, Erased):
                yield "", b""
            else:
                receiver = line[0] if isinstance(line, tuple) and not _is_shared(line[0]) else b""
                yield receiver.decode(), event or self._taken(seq, offset, user, line)

    def events(self, positions: Sequence[tuple[int, int]], user: str) -> Iterator[bytes]:
        """The same of several, whose offsets grow. What stands close together is read at once."""
        kept = self._kept
        held = [kept.get(offset) for _, offset in positions]
        if None not in held:
            yield from held  # type: ignore[misc]
            return
        found = self._messages.read_many([at for (_, at), event in zip(positions, held, strict=True) if event is None])
        for (seq, offset), event in zip(positions, held, strict=True):
            yield event or self._taken(seq, offset, user, next(found))

    def appended(self, name: str, offset: int) -> bytes | None:
        """The line that begins at `offset` in a file that only grows; None when no whole one does."""
        try:
            return self._appended.read(name, offset)
        except OSError:
            return None

    def chunk(self, offset: int) -> Chunk:
        """The positions that stand there; LOST, and the administrator is told, when they cannot be read."""
        chunk = self._chunks.pop(offset, None)
        if chunk is None:
            try:
                chunk = Chunk.read(self._messages.read(offset)[1][:-1])
            except Erased:  # behind the messages that stood there
                return LOST
            except (OSError, ValueError) as error:  # a FileError is one
                self._tell(f"Where {streams.CHUNK} messages stand cannot be read: {error}")
                return LOST
            if len(self._chunks) >= CHUNKS:
                self._chunks.popitem(last=False)
        self._chunks[offset] = chunk
        return chunk

    def _taken(self, seq: int, offset: int, user: str, found: Line | FileError | OSError) -> bytes:
        if isinstance(found, tuple):
            receiver, event = found
            if _is_shared(receiver):  # others will want it, too
                self._keep(offset, event)
            return event
        # It concerns this user, and nobody else.
        self._tell(f"Message {seq} for {user} cannot be read: {found}")
        text = f"Message {seq} cannot be read: the server's disk has lost it. Its administrator was told."
        return encode({"event": "notice", "seq": seq, "time": self._wall(), "text": text})

    def _keep(self, offset: int, event: bytes) -> None:
        self._kept[offset] = event
        self._size += len(event)
        while self._size > KEPT:
            self._size -= len(self._kept.popitem(last=False)[1])


def _is_shared(receiver: bytes) -> bool:
    return receiver == b"all" or receiver.startswith(b"#")
