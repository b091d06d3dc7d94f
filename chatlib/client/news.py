"""What a conversation tells whoever listens: plain records, in the order in which things happened.

Must not know how they are shown, nor where they come from. The order for one connection is
``(Queued* Greeted)? → (Challenged | Proven | Answered | LoggedIn | Away | Arrived)* → (Lost | Idle | Ended | PeerNews
))``; after
``Lost`` the same begins again on the next connection, after ``Idle`` when there is something to say, after ``Ended``
nothing comes. News of direct connections (``PeerNews``, and their texts and cheques as ``Arrived``) come at any time.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from chatlib.protocol.kinds import MAX_INTEGER

Fields = dict[str, object]

# Why a server ends a connection, or refuses to let one in again, that make coming back pointless.
FINAL = frozenset({
    "LOGGED_OUT", "REPLACED", "KICKED", "PROTOCOL_ERROR", "NO_SUCH_USER", "WRONG_PASSWORD",
    "ALREADY_ONLINE", "TOO_MANY_SESSIONS", "NOT_TRUSTED", "TLS_REQUIRED", "BANNED",
})  # fmt: skip
# Replies to a second login that mean: later. All others are final.
LATER = frozenset({"SERVER_FULL", "LOCKED_OUT", "INTERNAL"})


# Replies that say of the server, and not of what was asked for, that nothing comes of it there: as good as a bye.
NOT_HERE = frozenset({"NODE_LOST", "NO_QUORUM"})


# Replies that are no refusals: it is done, or somebody was asked who has time to answer.
FINE = frozenset({"OK", "ASKED"})


def status_of(message: Fields) -> str:
    return str(message.get("status"))


def text_of(message: Fields) -> str:
    return str(message.get("text") or message.get("status"))


def integer_of(message: Fields, name: str) -> int:
    """A field that should be a whole number; 0 when it is not, or is one that no server may say."""
    number = message.get(name)
    return number if type(number) is int and abs(number) <= MAX_INTEGER else 0


@dataclass(slots=True)
class Request:
    """Something asked of the server. With a `key` it changes something, and is asked again until it is answered."""

    action: str
    fields: Fields
    key: str | None = None
    page: Fields = field(default_factory=dict)  # a long answer: which page is asked for,
    parts: list[object] = field(default_factory=list)  # and what the pages before it held
    most: int = 0  # no further page is asked for when there are so many items; 0: all are

    def message(self) -> Fields:
        """What goes over the wire, but for the ``id``."""
        keyed: Fields = {"key": self.key} if self.key else {}
        return {"action": self.action, **self.fields, **self.page, **keyed}


@dataclass(frozen=True, slots=True)
class Queued:
    """The server is full: this connection stands in the queue, at `position`."""

    position: int


@dataclass(frozen=True, slots=True)
class Greeted:
    """The server is ready for a login. `goes_on`: with what was asked for before."""

    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Challenged:
    """The server wants the password of `user` proven, for `action`; nothing goes on before it is given."""

    action: str
    user: str


@dataclass(frozen=True, slots=True)
class Proven:
    """The password was right; `action` goes on with ``renew``."""

    action: str


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A session begins. `again`: after a lost connection; `resent`: how many requests of before are asked again;
    `server`: where, if that is elsewhere than before."""

    user: str
    unread: int
    again: bool
    resent: int
    server: str = ""


@dataclass(frozen=True, slots=True)
class Away:
    """The next `count` messages came while one was away."""

    count: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event, one that has not been shown before. Whoever shows it says so: ``Conversation.shown``."""

    event: Fields


@dataclass(frozen=True, slots=True)
class Answered:
    """The whole answer to a request: for lists and history all pages in one. Passwords are in none of them."""

    request: Request
    reply: Fields

    @property
    def status(self) -> str:
        return str(self.reply.get("status", ""))


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone, for now: it will be tried again. `elsewhere`: another server is tried at once."""

    status: str
    text: str
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Idle:
    """The server has logged off a person who was away for too long."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The conversation is over for good; ``LOGGED_OUT`` is the one good reason."""

    status: str
    text: str


SHOWN = "SHOWN"


def new_key() -> str:
    """One that nothing else has."""
    return secrets.token_hex(8)


# Direct connections with other users. They need no session: these may come also while the server is away.


@dataclass(eq=False, slots=True)
class Parcel:
    """A text or a cheque for a peer. `kind`: "text" or "cheque". `status`: empty while it is under way, SHOWN, or why
    it was not, as in LinkClosed, with `text` for people. `key`: what is sent again under it the peer knows again."""

    user: str
    kind: str
    content: str
    key: str = field(default_factory=new_key)
    status: str = ""
    text: str = ""

    @property
    def acknowledged(self) -> bool:
        return self.status == SHOWN


@dataclass(frozen=True, slots=True)
class LinkOpened:
    """A direct connection with `user` stands. `called`: by us."""

    user: str
    called: bool


@dataclass(frozen=True, slots=True)
class ParcelShown:
    """The peer has shown it."""

    parcel: Parcel


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """It is gone, or could not be made. `left`: what was not acknowledged, oldest first. It may have been shown."""

    user: str
    status: str
    text: str
    left: tuple[Parcel, ...]


@dataclass(frozen=True, slots=True)
class PeersUnavailable:
    """Nobody can call us, or there are no direct connections at all."""

    text: str


PeerNews = LinkOpened | ParcelShown | LinkClosed | PeersUnavailable
News = Queued | Greeted | Challenged | Proven | LoggedIn | Away | Arrived | Answered | Lost | Idle | Ended | PeerNews
