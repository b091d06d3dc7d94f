"""With whom there are direct connections: for each user a call, a link, and what is under way.

Must not know how an introduction comes about, nor people. Legal order: ``send``, ``hang_up`` and ``end`` at any time;
the rest is what links tell. Invariants: two users have one connection, however both may call at once (the call of the
one whose name comes first in the alphabet counts, as long as it may succeed); what one user sends comes in its order,
and nothing of it is lost without a word, nor told twice: what was not acknowledged is in ``LinkClosed``, and what is
sent again is known by its key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from chatlib.client import news as n
from chatlib.client import peerlinks
from chatlib.client.given import Given, Taken
from chatlib.client.news import Fields, News, Parcel
from chatlib.client.peerlinks import PeerLink
from chatlib.protocol.peer import TEXT, WINDOW, PeerSaid
from chatlib.protocol.text import fold
from chatlib.reactor.loop import Loop

# Seconds until a call that was not answered is repeated: the peer may hear of the introduction later than we do.
RETRIES = (0.25, 0.5, 1.0, 2.0)

_WHY = {
    peerlinks.LEFT: '"{user}" has ended the direct connection.',
    peerlinks.BROKEN: 'The direct connection with "{user}" was lost.',
    peerlinks.UNREACHABLE: '"{user}" cannot be reached directly: {why}.',
    peerlinks.NOT_PROVEN: 'Whoever answers at the address of "{user}" does not prove to be "{user}".',
    peerlinks.WRONG: 'The program of "{user}" does not speak the protocol of this one.',
    "HUNG_UP": 'The direct connection with "{user}" is closed.',
    "BLOCKED": 'The direct connection with "{user}" is closed: one of you blocks the other.',
}


class NotSent(Exception):
    """Nothing was sent, nor will be: `status` for programs, `text` for people."""

    def __init__(self, status: str, text: str) -> None:
        self.status, self.text = status, text
        super().__init__(status, text)


@dataclass(frozen=True, slots=True)
class Introduction:
    """Where `user` may be called, and the key for it. `port` 0: nowhere. `since`: by the loop's clock."""

    user: str
    address: str
    port: int
    key: bytes = field(repr=False)
    since: float = 0.0


class DirectEvent(dict[str, object]):
    """An event of a direct connection. No server can say one."""


@dataclass(slots=True)
class Contact:
    """What there is with one user: a link, or a call, or a pause before the next call; or nothing, for a moment.
    `held` stands beside a call only."""

    user: str
    link: PeerLink | None = None  # proven both ways
    number: int = 0  # which link of ours it is
    call: PeerLink | None = None
    tries: int = 0
    pausing: bool = False
    held: PeerLink | None = None  # has called us meanwhile, is proven, and waits for what becomes of our call
    waiting: list[Parcel] = field(default_factory=list)  # until there is a link
    sent: dict[int, Parcel] = field(default_factory=dict)  # on `link`, unacknowledged

    @property
    def under_way(self) -> int:
        return len(self.sent) + len(self.waiting)


class Contacts:
    """See the module. `me`: who one is; `introduction`: the one that stands, by the other's name in lower case;
    `met`: hears of each caller that is proven, or gone."""

    def __init__(
        self,
        loop: Loop,
        me: Callable[[], str],
        introduction: Callable[[str], Introduction | None],
        new_link: Callable[[], PeerLink],
        met: Callable[[PeerLink], object],
        tell: Callable[[News], object],
        wall: Callable[[], float],
    ) -> None:
        self._loop, self._me, self._introduction, self._new_link = loop, me, introduction, new_link
        self._met, self._tell, self._wall = met, tell, wall
        self._contacts: dict[str, Contact] = {}
        self._numbers = count(1)
        self._given = Given()

    def get(self, user: str) -> Contact | None:
        """What there is with `user`; None: nothing."""
        return self._contacts.get(fold(user))

    def all(self) -> list[Contact]:
        """With everybody."""
        return list(self._contacts.values())

    # Calling.

    def send(self, user: str, kind: str, content: str, key: str = "") -> Parcel:
        """Sends it, or calls first. `key`: of a parcel that is sent again. Raises NotSent."""
        contact = self.get(user) or self._new(user)
        if contact.under_way >= WINDOW:
            raise NotSent("TOO_MANY", f'"{contact.user}" has not read the last {WINDOW} texts yet.')
        parcel = Parcel(contact.user, kind, content, *([key] if key else []))
        contact.waiting.append(parcel)
        if contact.link is not None:
            self._flush(contact, contact.link)
        elif contact.call is None and not contact.pausing:
            self._call(contact)
        return parcel

    def _new(self, user: str) -> Contact:
        introduction = self._introduction(fold(user))
        if introduction is None:
            raise NotSent("NOT_INTRODUCED", f'There is no direct way to "{user}": ask for the address first.')
        if not introduction.port:
            raise NotSent("NO_LISTENER", f'"{introduction.user}" takes no calls.')
        contact = self._contacts[fold(user)] = Contact(introduction.user)
        return contact

    def _call(self, contact: Contact) -> None:
        introduction = self._introduction(fold(contact.user))
        if introduction is None or not introduction.port:
            self._closed(contact, peerlinks.UNREACHABLE, "the introduction has ended")
        else:
            contact.call = self._new_link()
            contact.call.call(introduction.user, introduction.address, introduction.port)

    def _again(self, contact: Contact) -> None:
        contact.pausing = False
        if contact.link is None and contact.call is None and contact.waiting:
            self._call(contact)
        else:
            self._tidy(contact)

    def _failed(self, contact: Contact, status: str, why: str) -> None:
        """A call did not come to its end."""
        introduction = self._introduction(fold(contact.user))
        contact.call = None
        if contact.held is not None:
            self._accept(contact, contact.held)
        elif (
            status == peerlinks.NOT_PROVEN
            and contact.tries < len(RETRIES)
            and introduction is not None
            and self._loop.now < introduction.since + sum(RETRIES)
        ):
            self._loop.call_later(RETRIES[contact.tries], lambda: self._again(contact))
            contact.tries += 1
            contact.pausing = True
        else:
            self._closed(contact, status, why)

    # What links tell.

    def proven(self, link: PeerLink) -> None:
        user = fold(link.user)
        if link.called:
            self._opened(self._contacts[user], link)
            return
        self._met(link)
        contact = self._contacts.setdefault(user, Contact(link.user))
        if contact.held is not None:
            contact.held.drop()
        contact.held = link
        if contact.call is None or fold(self._me()) > user:
            self._accept(contact, link)

    def _accept(self, contact: Contact, link: PeerLink) -> None:
        """A caller is let in, in place of all that there was: it would not call if it had that."""
        contact.held = None
        if contact.link is not None:
            contact.link.drop()
            waiting, contact.waiting = contact.waiting, []
            self._closed(contact, peerlinks.BROKEN)
            contact.waiting = waiting
            self._contacts[fold(contact.user)] = contact
        contact.link = link
        link.accept()
        if contact.link is link:
            self._opened(contact, link)

    def _opened(self, contact: Contact, link: PeerLink) -> None:
        for other in (contact.call, contact.held):
            if other is not None and other is not link:
                other.drop()
        contact.call = contact.held = None
        contact.tries = 0
        contact.link, contact.number = link, next(self._numbers)
        self._tell(n.LinkOpened(contact.user, bool(link.called)))
        self._flush(contact, link)

    def _flush(self, contact: Contact, link: PeerLink) -> None:
        while contact.waiting and contact.link is link:  # it may break here; then that was told
            parcel = contact.waiting.pop(0)
            contact.sent[link.next_number] = parcel
            link.say(parcel.kind, parcel.content, parcel.key)

    def said(self, link: PeerLink, said: PeerSaid) -> None:
        contact = self._contacts[fold(link.user)]
        match self._given.take(fold(contact.user), said.key, (contact.number, said.number)):
            case Taken.NEW:
                self._arrive(contact, said)
            case Taken.SHOWN:
                link.acknowledge(said.number)
            case Taken.TOO_MANY:
                self.end(contact, peerlinks.WRONG)

    def _arrive(self, contact: Contact, said: PeerSaid) -> None:
        event = DirectEvent(event="private" if said.kind == TEXT else "cheque", time=self._wall())
        event |= {"from": contact.user, said.kind: said.content}
        event |= {"link": contact.number, "id": said.number, "key": said.key}
        self._tell(n.Arrived(event))

    def showed(self, link: PeerLink, number: int) -> None:
        parcel = self._contacts[fold(link.user)].sent.pop(number)
        parcel.status = n.SHOWN
        self._tell(n.ParcelShown(parcel))

    def gone(self, link: PeerLink, status: str, why: str) -> None:
        self._met(link)
        contact = self.get(link.called or link.user)
        if contact is None:
            return
        if contact.link is link:
            self._closed(contact, status, why)
        elif contact.held is link:
            contact.held = None
        elif contact.call is link:
            self._failed(contact, status, why)

    def shown(self, event: Fields) -> None:
        """The peer is told, if it is still there."""
        contact = self.get(str(event.get("from")))
        link, number = self._given.shown(fold(str(event.get("from"))), str(event.get("key")))
        if contact is not None and contact.link is not None and contact.number == link:
            contact.link.acknowledge(number)

    # The end.

    def hang_up(self, contact: Contact) -> None:
        """Ends what there is with one user."""
        self.end(contact, "HUNG_UP")

    def end(self, contact: Contact, status: str) -> None:
        """Ends what there is with one user, at once. The peer is told: else it would take the connection for lost."""
        if contact.link is not None:
            contact.link.leave()
        for link in (contact.call, contact.held):
            if link is not None:
                link.drop()
        self._closed(contact, status)

    def _closed(self, contact: Contact, status: str, why: str = "") -> None:
        contact.link = contact.call = contact.held = None
        contact.tries = 0
        left = (*contact.sent.values(), *contact.waiting)
        contact.sent.clear()
        contact.waiting.clear()
        text = _WHY[status].format(user=contact.user, why=why)
        for parcel in left:
            parcel.status, parcel.text = status, text
        self._tidy(contact)
        self._tell(n.LinkClosed(contact.user, status, text, left))

    def _tidy(self, contact: Contact) -> None:
        here = contact.link or contact.call or contact.held or contact.waiting or contact.pausing
        if not here and self._contacts.get(fold(contact.user)) is contact:
            del self._contacts[fold(contact.user)]
