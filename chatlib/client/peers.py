"""Direct connections with other users: who was introduced, who may call, and what the server has to be told.

The server introduces two users by an ``address`` event to each, with a key that is theirs alone. A key lives as long
as the introduction: until either session ends, or either blocks the other. It is kept in memory only, and taken out of
the event before anybody else sees it. A connection that stands goes on when a session ends, also while the server is
away; after a block it is closed at once.

What happens is told by the conversation, among its own news: texts and cheques as ``Arrived`` (the events ``private``
{from, text, time, link, id, key} and ``cheque`` {from, cheque, time, link, id, key}), the rest as ``PeerNews``. What
the peer has not acknowledged when a connection ends comes back in ``LinkClosed``, to be sent again or left with the
server, say. It may have been shown all the same; sent again directly, with its parcel's key, it is not shown twice.

Must not know people or screens, nor how a link comes about (:mod:`.contacts`). Legal order: ``heard`` with each news of
the conversation, before anybody else; ``shown`` with each event that was shown; the others at any time; ``stop`` in the
end.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable

from chatlib.client import news as n
from chatlib.client.contacts import Contacts, DirectEvent, Introduction, NotSent
from chatlib.client.conversation import Conversation
from chatlib.client.news import Fields, News, Parcel, Request, status_of, text_of
from chatlib.client.peerlinks import PeerLink, PeerTools
from chatlib.client.peerport import PeerPort
from chatlib.protocol import kinds
from chatlib.protocol.peer import CHEQUE, TEXT, is_cheque_line
from chatlib.protocol.text import fold, is_name
from chatlib.reactor.budget import Budget
from chatlib.reactor.connector import SocketAddress
from chatlib.reactor.loop import Loop
from chatlib.reactor.tlsstream import NoAnonymousTls, anonymous_contexts

SHAKING = 0.004  # seconds of handshakes in a tick
MAX_INTRODUCTIONS = 1_000  # that stand; a server that makes more is not to fill the memory

_KEY = re.compile("[0-9a-f]{64}")
_NO_TLS = "There are no direct connections here: this computer's OpenSSL refuses what they need ({})."


class Peers:
    """One user's. `local`: from where the server is reached, which is where one listens, too.

    `listen`: the port; 0: any that is free; None: nobody can call us. `contexts`: see ``anonymous_contexts``.
    """

    def __init__(
        self,
        loop: Loop,
        conversation: Conversation,
        local: Callable[[], SocketAddress | None],
        *,
        listen: int | None = 0,
        wall: Callable[[], float] = time.time,
        contexts: Callable[[], tuple[ssl.SSLContext, ssl.SSLContext]] = anonymous_contexts,
    ) -> None:
        self._loop, self._conversation, self._local = loop, conversation, local
        self._contexts = contexts
        self._tools: PeerTools | None = None
        self._no_tls = ""  # why there can be no direct connections
        self._port = None if listen is None else PeerPort(loop, listen, self._new_link, self._expected)
        self._complaint = ""  # that was told last
        self._listening: Request | None = None  # the server was told of the port
        self._introductions: dict[str, Introduction] = {}
        self._contacts = Contacts(
            loop, lambda: conversation.user, self._introductions.get, self._new_link, self._met, conversation.tell, wall
        )

    # What one asks for.

    def private(self, user: str, text: str, key: str = "") -> Parcel:
        """Sends a text directly, or calls first. What is sent again has the `key` of its parcel. Raises NotSent."""
        if not kinds.TEXT.accepts(text):
            raise NotSent("BAD_REQUEST", f"It must be {kinds.TEXT.allowed}.")
        return self._send(user, TEXT, text, key)

    def cheque(self, user: str, line: str, key: str = "") -> Parcel:
        """Sends a cheque's line, likewise."""
        if not is_cheque_line(line):
            raise NotSent("BAD_REQUEST", "That is no cheque.")
        return self._send(user, CHEQUE, line, key)

    def _send(self, user: str, kind: str, content: str, key: str) -> Parcel:
        if self._ready() is None:
            raise NotSent("NO_TLS", _NO_TLS.format(self._no_tls))
        return self._contacts.send(user, kind, content, key)

    def hang_up(self, user: str) -> bool:
        """Ends the direct connection with `user`, or the call for one; False: there was none."""
        contact = self._contacts.get(user)
        if contact is not None:
            self._contacts.hang_up(contact)
        return contact is not None

    def linked(self, user: str) -> bool:
        """Whether a direct connection with `user` stands."""
        contact = self._contacts.get(user)
        return contact is not None and contact.link is not None

    def introduced(self, user: str) -> bool:
        """Whether an introduction to `user` stands."""
        return fold(user) in self._introductions

    def place(self, user: str) -> tuple[str, int] | None:
        """Where `user` may be called, while the introduction stands; port 0: nowhere."""
        introduction = self._introductions.get(fold(user))
        return (introduction.address, introduction.port) if introduction else None

    def users(self) -> list[str]:
        """With whom a direct connection stands."""
        return [contact.user for contact in self._contacts.all() if contact.link is not None]

    @property
    def unacknowledged(self) -> int:
        """How many texts and cheques are under way."""
        return sum(contact.under_way for contact in self._contacts.all())

    @property
    def port(self) -> int:
        """Where one can be called; 0: nowhere."""
        return self._port.port if self._port else 0

    def listen(self, wanted: bool) -> None:
        """Takes calls, or leaves them in the kernel for now, since nobody takes the news: on one connection so much may
        be unread and no more, but a peer who calls again and again would have no limit."""
        if self._port is not None:
            self._port.listen(wanted)

    def shown(self, event: Fields) -> None:
        """`event` has been shown: if it came directly, the peer is told."""
        if isinstance(event, DirectEvent):
            self._contacts.shown(event)

    def stop(self) -> None:
        """Ends all; the peers are told, as far as the kernel takes it."""
        self._introductions.clear()
        if self._port is not None:
            self._port.close()
        for contact in self._contacts.all():
            link = contact.link
            self._contacts.hang_up(contact)
            if link is not None:
                link.drop()

    # What the conversation tells.

    def heard(self, item: News) -> bool:
        """One news of the conversation; True: it is for nobody else."""
        match item:
            case n.LoggedIn():
                self._begin()
            case n.Lost() | n.Idle() | n.Ended():
                self._introductions.clear()
                self._forget_listening()
            case n.Arrived(event):
                return self._arrived(event)
            case n.Answered(request, reply) if request is self._listening:
                self._listening = None
                if status_of(reply) != "OK":
                    self._nobody_calls("" if status_of(reply) == "UNKNOWN_ACTION" else text_of(reply))
                return True
            case n.Answered(Request("block", fields), reply) if status_of(reply) in ("OK", "ALREADY_BLOCKED"):
                self._over(str(fields.get("user")), "BLOCKED")  # also when no introduction stands any more
        return False

    def _arrived(self, event: Fields) -> bool:
        match event.get("event"):
            case "private" | "cheque":
                return not isinstance(event, DirectEvent)  # else the server speaks in a peer's name
            case "address":
                self._introduce(event)
            case "introduction_over":
                self._over(str(event.get("user")), status_of(event))
        return False

    def _introduce(self, event: Fields) -> None:
        key, user, port = event.pop("key", None), event.get("user"), event.get("port")
        if len(self._introductions) >= MAX_INTRODUCTIONS and fold(str(user)) not in self._introductions:
            return
        if isinstance(key, str) and _KEY.fullmatch(key) and isinstance(user, str) and is_name(user):
            place = port if type(port) is int and 0 < port < 65_536 else 0
            introduction = Introduction(user, str(event.get("address")), place, bytes.fromhex(key), self._loop.now)
            self._introductions[fold(user)] = introduction

    def _over(self, user: str, status: str) -> None:
        """The introduction to `user` has ended; a connection goes on, but not after a block."""
        self._introductions.pop(fold(user), None)
        contact = self._contacts.get(user)
        if status == "BLOCKED" and contact is not None:
            self._contacts.end(contact, "BLOCKED")

    # Being called.

    def _begin(self) -> None:
        """A session begins: the server is told where we listen."""
        local = self._local()
        if self._port is None or local is None:
            return
        if self._ready() is None:
            self._nobody_calls(_NO_TLS.format(self._no_tls))
            return
        try:
            self._port.move(local)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._nobody_calls(f"Nobody can call you directly: your port cannot be opened ({why}).")
            return
        self._forget_listening()
        self._listening = self._conversation.request("listen", {"port": self._port.port}, self._loop.now)

    def _forget_listening(self) -> None:
        if self._listening is not None:
            self._conversation.outbox.drop(self._listening)
            self._listening = None

    def _nobody_calls(self, why: str) -> None:
        if self._port is not None:
            self._port.close()
        if why and why != self._complaint:
            self._complaint = why
            self._conversation.tell(n.PeersUnavailable(why))

    def _ready(self) -> PeerTools | None:
        """What links need; None: the platform refuses it."""
        if self._tools is None and not self._no_tls:
            try:
                self._tools = PeerTools(self._loop, *self._contexts(), Budget(self._loop, SHAKING))
            except NoAnonymousTls as error:
                self._no_tls = str(error) or "it does not say why"
        return self._tools

    def _new_link(self) -> PeerLink:
        assert self._tools is not None
        return PeerLink(self._tools, self._contacts, self._conversation.user, self._key_of)

    def _met(self, link: PeerLink) -> None:
        if self._port is not None:
            self._port.known(link)

    def _key_of(self, user: str) -> bytes | None:
        introduction = self._introductions.get(user)
        return introduction.key if introduction else None

    def _expected(self, address: str) -> bool:
        return any(each.address == address for each in self._introductions.values())
