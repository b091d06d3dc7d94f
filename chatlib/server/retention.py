"""KEEP_MESSAGES: when old messages go, and which. They go in whole segments of the message store, before a save.

First a command, journaled like any other, takes them out of the world, a part of the accounts at a time; the files go
when a save holds that does not need them (:mod:`chatlib.server.saving`). Must not know who reads them. Legal order:
``due``, and its command is carried out, until it has none.
"""

from __future__ import annotations

from bisect import bisect_left

from chatlib.core.world import Command, World
from chatlib.protocol.framing import decode
from chatlib.storage.messages import MessageStore

DAY = 86_400.0
_FAR = 1 << 16  # bytes of a segment in which a message is looked for: much may have been erased


class Retention:
    """Of one world and its messages."""

    def __init__(self, world: World, store: MessageStore) -> None:
        self._world, self._store = world, store
        self._firsts: dict[int, tuple[int, float] | None] = {}  # by where the segment begins, once they are known
        self._tried: object = None  # where the world stood when the latest command was given

    def due(self, now: float) -> Command | None:
        """The next command by which messages that are too old at `now` go; None when there is nothing more to do."""
        world = self._world
        stands = (world.floor, world.expiring)
        if stands == self._tried:
            return None  # the command has failed; it would fail again
        if world.expiring:
            seq, offset, _ = world.expiring
        else:
            days = world.parameters["KEEP_MESSAGES"]
            seq, offset = self._floor(now - days * DAY) if days else (0, 0)
            if seq <= world.floor:
                return None
        self._tried = stands
        return {"action": "expire", "at": now, "before": seq, "offset": offset}

    def _floor(self, oldest: float) -> tuple[int, int]:
        """Where the last segment begins whose first message is earlier than `oldest`: its seq and offset; else zeros.

        All that stands before it is earlier, too: time never goes back in the store.
        """
        begins = self._store.begins
        number = bisect_left(range(len(begins)), oldest, lo=1, key=self._begins_at) - 1
        first = self._first_from(number) if number > 0 else None
        return (first[0], begins[number]) if first else (0, 0)

    def _begins_at(self, number: int) -> float:
        first = self._first_from(number)
        return first[1] if first else float("inf")

    def _first_from(self, number: int) -> tuple[int, float] | None:
        """The first message from the beginning of a segment on; there may be none left in the segment itself."""
        return next(filter(None, map(self._first, self._store.begins[number:])), None)

    def _first(self, base: int) -> tuple[int, float] | None:
        """The seq and the time of the first message of a segment."""
        if base not in self._firsts:
            first = self._read_first(base)
            if first is None and base == self._store.begins[-1]:
                return None  # the first is still to come
            self._firsts[base] = first
        return self._firsts[base]

    def _read_first(self, base: int) -> tuple[int, float] | None:
        for _, line in self._store.lines_from(base, _FAR):
            event = decode(line[:-1])
            seq, time = event.get("seq"), event.get("time")
            if isinstance(seq, int) and isinstance(time, float):
                return seq, time
        return None
