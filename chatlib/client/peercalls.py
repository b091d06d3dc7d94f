"""What a bot can do from machine to machine: a part of :class:`chatlib.client.library.Client`.

Must not know connections, nor how a call waits. What others write comes as the events ``private`` {from, text, time}
and ``cheque`` {from, cheque, time}; the other side hears that it was read when the bot asks for its next event.
Whoever wants to be called gives ``Client`` a port to `listen` on, and answers ``address_asked`` with ``yes`` or ``no``.
When that port cannot be opened, or nothing can be encrypted here, that is the event ``uncallable`` {text}.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

from chatlib.client import news as n
from chatlib.client.contacts import DirectEvent, NotSent
from chatlib.client.failures import Refused
from chatlib.client.news import Fields, Parcel, integer_of
from chatlib.client.peerlinks import NOT_PROVEN, UNREACHABLE
from chatlib.client.peers import Peers
from chatlib.protocol.text import fold

NEVER_MADE = frozenset({UNREACHABLE, NOT_PROVEN})  # connections: then the call itself has failed
SETTLING = 1.0  # seconds after which who has just come must have told the server where it takes calls
LATE = 5.0  # seconds that the server's word on an address may be late
MAX_DIRECT = 1_000  # events of direct connections that a bot has not asked for: then nobody else gets through
LEAVING = 3.0  # seconds that a bot waits in the end for others to read what it has written


class PeerCalls(ABC):
    """Calls about introductions and direct connections."""

    _peers: Peers
    _turned_down: dict[str, Fields]  # what was said last of an address asked for, by user
    _direct = 0  # events of direct connections that wait

    @abstractmethod
    def request(self, action: str, fields: Fields | None = None, *, key: str | None = None) -> Fields: ...

    @abstractmethod
    def _now(self) -> float: ...

    @abstractmethod
    def _deadline(self) -> float | None: ...

    @abstractmethod
    def _raise_if_over(self) -> None: ...

    @abstractmethod
    def _tick(self, deadline: float | None) -> bool: ...

    @abstractmethod
    def _keep(self, event: Fields) -> None: ...

    # Introductions.

    def getaddress(self, user: str) -> tuple[str, int]:
        """Asks for an introduction: where `user` takes calls. Waits for as long as that user is asked.

        The port is 0 where that user takes none. Raises Refused also for what that user says: ``REFUSED``,
        ``NO_ANSWER``.
        """
        self._turned_down.pop(fold(user), None)
        try:
            reply = self.request("getaddress", {"user": user})
        except Refused as refused:
            if refused.status != "NO_LISTENER":
                raise
            settled = self._now() + SETTLING
            while self._tick(settled):
                self._raise_if_over()
            reply = self.request("getaddress", {"user": user})
        deadline = self._now() + integer_of(reply, "seconds") + LATE
        while (place := self._peers.place(user)) is None:
            self._raise_if_over()
            if fold(user) in self._turned_down:
                raise Refused(self._turned_down.pop(fold(user)))
            if not self._tick(deadline):
                raise Refused({"status": "NO_ANSWER", "text": f'Nothing was heard of the address of "{user}".'})
        return place

    def yes(self, user: str) -> None:
        """Lets a user have one's address who asks for it."""
        self.request("yes", {"user": user})

    def no(self, user: str) -> None:
        """Refuses it."""
        self.request("no", {"user": user})

    def allow(self, user: str) -> None:
        """Lets a user have one's address from now on, without being asked."""
        self.request("allow", {"user": user})

    def disallow(self, user: str) -> None:
        self.request("disallow", {"user": user})

    def allowed(self) -> list[str]:
        """Whom one allows that."""
        return cast(list[str], self.request("allowed")["items"])

    # Direct connections.

    def private(self, user: str, text: str, *, key: str = "") -> None:
        """Writes directly to `user`, to whom one was introduced (``getaddress``): calls first where it must.

        Returns when it is sent. If the connection ends before it was read, there is an event ``private_lost`` {user,
        status, text, left: what was not read, keys: theirs}; it may have been read all the same. What is sent again
        under its `key` is not read twice.
        """
        self._on_its_way(user, lambda: self._peers.private(user, text, key))

    def send_cheque(self, user: str, cheque: str, *, key: str = "") -> None:
        """Sends the line of a cheque, likewise."""
        self._on_its_way(user, lambda: self._peers.cheque(user, cheque, key))

    def stop_private(self, user: str) -> bool:
        """Ends the direct connection with `user`; False: there was none."""
        return self._peers.hang_up(user)

    def _on_its_way(self, user: str, send: Callable[[], Parcel]) -> None:
        try:
            parcel = send()
        except NotSent as error:
            raise Refused({"status": error.status, "text": error.text}) from None
        deadline = self._deadline()
        while not (parcel.status or self._peers.linked(user)):
            if not self._tick(deadline):
                raise TimeoutError(f'"{user}" has not answered in time.')
        if parcel.status not in ("", n.SHOWN):
            raise Refused({"status": parcel.status, "text": parcel.text})

    def _farewell(self) -> None:
        """Waits a moment for others to read what was written to them."""
        deadline = self._now() + LEAVING
        while self._peers.unacknowledged and self._tick(deadline):
            pass

    def _heard_of_peers(self, item: n.News) -> bool:
        """One news; True: it is for nobody else."""
        match item:
            case n.LinkClosed(user, status, text, left) if left and status not in NEVER_MADE:
                lost = {"event": "private_lost", "user": user, "status": status, "text": text}
                contents, keys = [each.content for each in left], [each.key for each in left]
                self._keep(DirectEvent(lost, left=contents, keys=keys))
            case n.PeersUnavailable(text):
                self._keep({"event": "uncallable", "text": text})
            case n.Arrived(event) if event.get("event") == "address_refused":
                self._turned_down[fold(str(event.get("user")))] = event
        return self._peers.heard(item) or isinstance(item, n.PeerNews)

    def _count_direct(self, event: Fields, by: int) -> None:
        """`event` waits, or does not any more: a peer who calls again and again must not fill the memory."""
        if isinstance(event, DirectEvent):
            self._direct += by
            self._peers.listen(self._direct < MAX_DIRECT)

    def _passes(self, event: Fields) -> bool:
        """Whether `event` may be forgotten when nobody asks for it for long."""
        return "seq" not in event and not isinstance(event, DirectEvent)
