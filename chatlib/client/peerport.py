"""The port on which a client is called, and the callers that are not proven yet: strangers.

It is on the address from which the server is reached, and moves with it. A stranger has 5 s and 8 KiB
(:mod:`.peerlinks`), and there are at most MAX_STRANGERS. When so many are there, one more is turned away; but one from
an address that was introduced takes the place of the oldest that was not, or else of the oldest from the address that
has most of the places. So nobody keeps friends out by knocking, also not from the machine of a friend.
Must not know what is said behind a proof.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

from chatlib.client.peerlinks import PeerLink
from chatlib.reactor.connection import Listener
from chatlib.reactor.connector import SocketAddress
from chatlib.reactor.loop import Loop

MAX_STRANGERS = 16  # callers that are not proven, at a time
BACKLOG = 128  # callers that the kernel keeps until they are looked at: a friend is not to wait behind many who knock


class PeerPort:
    """`wanted`: the port; 0: any free one, and the same again where it can be. `new_link`: for one who calls.
    `expected`: whether a caller from this address is."""

    def __init__(
        self, loop: Loop, wanted: int, new_link: Callable[[], PeerLink], expected: Callable[[str], bool]
    ) -> None:
        self._loop, self._wanted, self._last = loop, wanted, wanted
        self._new_link, self._expected = new_link, expected
        self._listener: Listener | None = None
        self._place: SocketAddress | None = None  # where it listens
        self._listens = True
        self.strangers: dict[PeerLink, None] = {}  # oldest first

    @property
    def port(self) -> int:
        """Where one is called; 0: nowhere."""
        return int(str(self._place[1][1])) if self._place else 0

    @property
    def address(self) -> str:
        """On which one is called; empty: on none."""
        return str(self._place[1][0]) if self._place else ""

    def move(self, local: SocketAddress) -> None:
        """Listens on the address of `local`, from now on on no other. Raises OSError, and listens nowhere then."""
        family, place = local
        if self._place and (self._place[0], self._place[1][0], self._place[1][2:]) == (family, place[0], place[2:]):
            return
        self.close()
        try:
            sock = _listening(family, (place[0], self._last, *place[2:]))
        except OSError:
            if self._wanted or not self._last:
                raise
            sock = _listening(family, (place[0], 0, *place[2:]))  # somebody else has the one we had
        self._place = family, sock.getsockname()
        self._last = self.port
        self._listener = Listener(self._loop, sock, self._accepted, lambda _why: None)
        self._listener.listen(self._listens)

    def listen(self, wanted: bool) -> None:
        """Takes calls, or leaves them in the kernel for now."""
        self._listens = wanted
        if self._listener:
            self._listener.listen(wanted)

    def close(self) -> None:
        """Listens no more; strangers are turned away."""
        if self._listener:
            self._listener.close()
        self._listener = self._place = None
        strangers, self.strangers = list(self.strangers), {}
        for link in strangers:
            link.drop()

    def known(self, link: PeerLink) -> None:
        """`link` is no stranger any more, by its proof or by its end."""
        self.strangers.pop(link, None)

    def _accepted(self, sock: socket.socket, address: str) -> None:
        if len(self.strangers) >= MAX_STRANGERS and not self._make_room(address):
            sock.close()
            return
        link = self._new_link()
        self.strangers[link] = None
        link.answer(sock, address)

    def _make_room(self, address: str) -> bool:
        if not self._expected(address):
            return False
        held = Counter(link.address for link in self.strangers)
        oldest = max(self.strangers, key=lambda link: (not self._expected(link.address), held[link.address]))
        del self.strangers[oldest]
        oldest.drop()
        return True


def _listening(family: socket.AddressFamily, place: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the port that we had a moment ago
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(place)
        sock.listen(BACKLOG)
    except (OSError, OverflowError):
        sock.close()
        raise
    return sock
