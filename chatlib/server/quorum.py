"""What people hear while the log does not answer, since no majority of the engine is there, or we are cut off from it.

Requests wait then. Who waits for a reply is sent a blank each second, since answers to heartbeats wait behind it, too:
as long as the engine may be about to agree again. A server without any connection to it says nothing of the kind, so
that its clients go on to another one.
People hear of it after NOTICE seconds, and after GIVE_UP they are sent to another server, which may be on the better
side of whatever broke; whoever comes meanwhile is sent on at once. We go on asking, and never write by ourselves.

Legal: ``look`` each second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from chatlib.protocol.framing import encode
from chatlib.reactor.loop import Loop
from chatlib.server.clustering import Cluster
from chatlib.server.delivery import Delivery
from chatlib.server.notices import Notices
from chatlib.server.session import Session

AT_WORK, NOTICE, GIVE_UP = 1.0, 3.0, 15.0  # seconds without an answer: blanks; a notice; everybody is sent away
GOODBYES = 200  # sessions that are sent away in a tick

_NO_QUORUM = "The servers cannot agree on anything at the moment: try another one, or this one again in a while."
_WAITS = "The servers cannot agree on anything at the moment: what you ask for waits."
_GOES_ON = "The servers agree again: what waited is done."


class Quorum:
    """Of one node. `is_missing`: the log has not answered for GIVE_UP seconds."""

    def __init__(
        self, cluster: Cluster, loop: Loop, delivery: Delivery, sessions: Callable[[], Iterable[Session]],
        notices: Notices,
    ) -> None:  # fmt: skip
        """`sessions`: all of them."""
        self._cluster, self._loop, self._delivery, self._sessions = cluster, loop, delivery, sessions
        self._notices = notices
        self.is_missing = self._noticed = False
        self._leaving: Iterator[Session] = iter(())  # who is yet to be sent away

    def look(self, stopping: bool) -> None:
        """`stopping`: everybody has been sent away."""
        waits = self._cluster.log.waits
        if waits >= AT_WORK and self._cluster.link.connected:
            for session in self._delivery.everyone():
                session.is_at_work()
        if waits < NOTICE:
            if self._noticed:
                self._noticed = self.is_missing = False
                self._notices.inform("The log answers again.")
                self._say(_GOES_ON)
            return
        if not self._noticed:
            self._noticed = True
            self._notices.tell(f"The log does not answer{self.trouble()}: requests wait, and it is asked again.")
            self._say(_WAITS)
        if waits >= GIVE_UP and not self.is_missing and not stopping:
            self.is_missing = True
            self._notices.tell(f"The log has not answered for {GIVE_UP:g} seconds: everybody is sent to other servers.")
            self._leaving = iter(list(self._sessions()))
            self.again()

    def again(self) -> None:
        """Some of those who are sent away hear so in this tick."""
        for session in islice(self._leaving, GOODBYES):
            session.end("NO_QUORUM", _NO_QUORUM)
            self._loop.again(self)

    def broken(self) -> None:
        """That has failed for one: the others follow."""
        self._loop.again(self)

    def trouble(self) -> str:
        """Why the log does not answer, as far as one knows."""
        if not self._cluster.link.connected:
            return ", since there is no connection to the engine"
        why = self._cluster.log.trouble
        return f" ({why.rstrip('.')})" if why else ""

    def _say(self, text: str) -> None:
        self._delivery.fan_out(encode({"event": "notice", "time": self._loop.wall, "text": text}))

    def why_nobody_comes_in(self) -> tuple[str, str] | None:
        """With which status and sentence whoever comes now is sent away; None: everybody may come."""
        return ("NO_QUORUM", _NO_QUORUM) if self.is_missing else None
