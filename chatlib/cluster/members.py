"""Who of the nodes is silent, and whose clock is off, as one node hears it from the log.

Pure: time comes as a parameter. `now` never goes back and counts seconds; `wall` is this machine's clock.

A node counts as silent only by the time in which batches of our own came back. While the log stands still, or while we
are too slow to read it, nobody is silent: what everybody has said stands in the log before the next batch of ours.

What a batch says of its sender's clock is late, never early: it has waited, perhaps was sent again. So of the latest
few the one that says the most counts.

Legal: any call at any time; ``heard`` in the order of the log, also of our own batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

SILENT = 5.0  # seconds without a batch of a node, during which batches of our own came back
PERIOD = 1.0  # seconds between two batches of a node that has nothing to say
OFF, WRONG = 2.0, 10.0  # seconds that a clock is off the others': it is said; the server stops
_COUNTED = 2 * PERIOD  # of the time between two batches of our own, what counts at most
_KEPT, _LEAST = 8, 3  # readings of a clock: so many are kept, and fewer say nothing yet
_FRESH = 12.0  # seconds that one counts


class Members:
    """The nodes of a cluster, as the one named `node` hears them."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._lived = 0.0  # seconds in which batches of our own came back
        self._latest: float | None = None  # when the last one did,
        self._delay = 0.0  # so many seconds after it was made
        self._heard: dict[str, float] = {}  # by node: how much of `_lived` had passed when it was heard last
        self._clocks: dict[str, deque[tuple[float, float]]] = {}  # by node: when it was heard, and how far ahead it was

    def heard(self, node: str, at: float, now: float, wall: float) -> None:
        """A batch of `node`, which is one of ours, has come back. `at`: its sender's clock when it was made."""
        if node == self.node:
            if self._latest is not None:
                self._lived += min(now - self._latest, _COUNTED)
            self._latest, self._delay = now, wall - at
        self._heard[node] = self._lived
        self._clocks.setdefault(node, deque(maxlen=_KEPT)).append((now, at - wall))

    def came(self, node: str) -> None:
        """`node` has come up: whatever was heard of it before is another life's."""
        self._heard[node] = self._lived
        self._clocks.pop(node, None)

    def begin(self) -> None:
        """We come up anew ourselves: nobody was silent yet."""
        self._latest = None
        self._heard.clear()
        self._clocks.clear()

    def silent(self, up: Iterable[str]) -> list[str]:
        """Those of the nodes that are `up` of which nothing was heard for too long. Never ourselves."""
        heard, lived = self._heard, self._lived
        return [node for node in up if node != self.node and lived - heard.setdefault(node, lived) >= SILENT]

    def spoke(self, nodes: Iterable[str], times: int) -> bool:
        """Whether one of these nodes was heard so many times since ``begin``."""
        return any(len(self._clocks.get(node, ())) >= times for node in nodes)

    def ahead(self, now: float, up: Collection[str], least: int = _LEAST) -> dict[str, float]:
        """By how many seconds the clocks of the others that are `up` are ahead of ours (below 0: behind), where that
        can be told now. `least`: so few batches of one suffice, before any of our own: it may seem to be behind."""
        if least == _LEAST and (self._latest is None or max(now - self._latest, self._delay) > _COUNTED):
            return {}  # we may be reading what has waited
        found: dict[str, float] = {}
        for node, readings in self._clocks.items():
            fresh = [ahead for at, ahead in readings if now - at <= _FRESH]
            if node in up and node != self.node and len(fresh) >= least:
                found[node] = max(fresh)
        return found

    def lead(self, now: float, up: Collection[str], least: int = _LEAST) -> float:
        """By how many seconds our clock is ahead of the others' (below 0: behind): of their middle.

        Of two that differ, the one that is ahead is called wrong: time in the world never goes back, so one that is
        ahead takes all others along, and one that is behind does no harm.
        """
        clocks = sorted([0.0, *self.ahead(now, up, least).values()])
        return -clocks[(len(clocks) - 1) // 2]
