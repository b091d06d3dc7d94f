"""Where an engine's nodes are: which is called next, and why none of them will do.

Must not know how one is called. A round goes through all places once, and begins with the one behind the last that was
tried. Legal order: ``next`` → ``failed``, or nothing when it has let us in; ``begin`` when ``next`` has given None.
Names may have several addresses, and get others: ``learn`` takes what a lookup has found.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatlib.cluster.lookup import Where, literal

_MOST = 64  # places


def written(host: str, port: int) -> str:
    """As people write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class EnginePlaces:
    """The places of `addresses`. `label` is the one that was tried last, as people write it."""

    def __init__(self, addresses: Sequence[tuple[str, int]]) -> None:
        self.label = ""
        self._addresses = addresses
        literals = [literal(host, port) for host, port in addresses]
        self._found: list[list[Where]] = [[place] if place else [] for place in literals]
        self.names = [address for address, place in zip(addresses, literals, strict=True) if place is None]
        self._all: list[tuple[str, Where]] = []
        self._at = self._left = 0  # the next one, and how many this round still has
        self._reasons: dict[str, tuple[str, bool]] = {}  # in this round: why one will not do, and whether for good
        self._unknown: dict[str, str] = {}  # names: why nobody knows where they are
        self._list()

    def _list(self) -> None:
        self._all = []
        for (host, port), places in zip(self._addresses, self._found, strict=True):
            for place in places:
                label = written(host, port)
                if (host, port) in self.names:
                    label += f" ({place[1][0]})"
                if all(place != other for _, other in self._all):
                    self._all.append((label, place))
        del self._all[_MOST:]

    def learn(self, found: list[list[Where] | str]) -> bool:
        """What a lookup of `names` has found, in their order: places, or why there are none (the old ones are kept).

        True: they are others than before, and a round has begun.
        """
        for name, places in zip(self.names, found, strict=True):
            self._unknown.pop(written(*name), None)
            if isinstance(places, str):
                self._unknown[written(*name)] = places
            else:
                self._found[self._addresses.index(name)] = places
        before = self._all
        self._list()
        if self._all == before:
            return False
        self._at = 0
        self.begin()
        return True

    def begin(self) -> None:
        """A round begins: all are worth a call."""
        self._left = len(self._all)
        self._reasons.clear()

    def next(self) -> Where | None:
        """Whom to call. None: the round is over."""
        if not self._left:
            return None
        self._left -= 1
        self.label, place = self._all[self._at % len(self._all)]
        self._at = (self._at + 1) % len(self._all)
        return place

    def failed(self, reason: str, final: bool) -> None:
        """The last one will not do; `final`: nor will it later."""
        self._reasons[self.label] = (reason, final)

    @property
    def trouble(self) -> str:
        """Why none has let us in, in this round."""
        reasons = self._unknown | {label: reason for label, (reason, _) in self._reasons.items()}
        return "; ".join(f"{label}: {reason}" for label, reason in reasons.items())

    @property
    def failure(self) -> str:
        """What one of them said that cannot mend itself."""
        for label, (reason, final) in self._reasons.items():
            if final:
                return f"{label}: {reason}"
        return ""
