"""Which life of a server a client talks to, and up to which seq it is the one that the client has known.

An epoch names a server's journal: seqs of another one mean something else. A server that was restored from a backup has
a new epoch, and says of which it goes on, and up to which seq. What was seen there up to that seq was seen. Nothing
else is taken over from another epoch: any server may say that it goes on of any.

Must not know connections. Legal order: ``hear`` with each hello → ``seen_here``, ``open``.
"""

from __future__ import annotations

from chatlib.client.news import Fields
from chatlib.client.outbox import Memory, Remembered

_MOST = 16  # earlier epochs that are looked at


class Epochs:
    """Of one conversation. `current`: what the server at hand has said last; "": it was not heard yet."""

    def __init__(self) -> None:
        self.current = self._known = ""
        self._earlier: dict[str, int] = {}

    @property
    def is_another(self) -> bool:
        """Whether the memory is not that of the server at hand."""
        return self.current != self._known

    def hear(self, reply: Fields) -> None:
        """What a hello says."""
        self.current, self._earlier = str(reply.get("epoch")), {}
        pairs = reply.get("earlier")
        for pair in pairs[:_MOST] if isinstance(pairs, list) else ():
            if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and type(pair[1]) is int:
                self._earlier.setdefault(pair[0], pair[1])

    def seen_here(self, seen: int) -> int:
        """What was seen of the server at hand, if `seen` is the last seq that was."""
        return seen if not self.is_another else max(0, min(seen, self._earlier.get(self._known, 0)))

    def open(self, memory: Memory, user: str, seen: int) -> Remembered:
        """What is remembered of `user` at the server at hand; `seen` was the last seq in this run."""
        here = self.seen_here(seen)
        self._known = self.current
        remembered = memory.open(self.current, user)
        if not remembered.seen:
            found = [min(memory.seen_of(epoch, user), last) for epoch, last in self._earlier.items()]
            remembered.seen = max(here, *found, 0)
        return remembered
