"""What two clients say to each other on a connection of their own: who they are, then texts and cheques. No I/O.

Lines of JSON inside TLS. The caller proves first, and the listener answers with a proof of its own, or not at all. A
proof is an HMAC-SHA256 under the key that the server has given to both, and to nobody else, over what TLS says of this
very connection (``tls-unique``), the role and both names. So a proof is worth nothing on another connection, in the
mouth of the other side, or for another pair.

Must not know sockets, TLS or people. Legal order: ``feed`` at any time, and ``take_output`` after each call; a listener
says ``accept`` once behind ``CallerProven``; ``say``, ``acknowledge`` and ``leave`` while ``open``, and nothing behind
``leave``. Invariants: nothing is believed, and nothing said, before the other side is proven; each number is
acknowledged at most once; at most WINDOW are unacknowledged, so what a peer may leave in our memory is bounded.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from chatlib.protocol import kinds
from chatlib.protocol.cheque import MAX_LINE as MAX_CHEQUE
from chatlib.protocol.framing import BadLine, LineBuffer, LineTooLong, decode_request, encode
from chatlib.protocol.text import fold, forbidden, is_name

KEY_SIZE = 32  # bytes
WINDOW = 100  # texts and cheques that one side may have sent and not seen acknowledged
MAX_PROOF = 512  # bytes of the line that proves
TEXT, CHEQUE = "text", "cheque"

_CALLER, _LISTENER = "caller", "listener"
_MAC = re.compile("[0-9a-f]{64}")
_MIN_BINDING = 12  # bytes of tls-unique


class PeerError(ValueError):
    """The other side is not who it should be, or breaks the rules: the connection is of no use any more."""


@dataclass(frozen=True, slots=True)
class CallerProven:
    """To a listener: the caller is `user`. Nothing was answered yet; ``accept`` does."""

    user: str


@dataclass(frozen=True, slots=True)
class ListenerProven:
    """To a caller: the listener is who was called."""


@dataclass(frozen=True, slots=True)
class PeerSaid:
    """A text or a cheque, to be acknowledged by its `number` when it was shown."""

    number: int
    kind: str  # TEXT or CHEQUE
    content: str
    key: str  # the same each time that it is said, on whatever connection


@dataclass(frozen=True, slots=True)
class PeerShowed:
    """The other side has shown what had this number."""

    number: int


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """The other side leaves. Nothing follows."""


PeerHappening = CallerProven | ListenerProven | PeerSaid | PeerShowed | PeerLeft


def proof(key: bytes, role: str, binding: bytes, speaker: str, hearer: str) -> str:
    """What `speaker` proves with that it has `key`, on the connection that has this `binding`."""
    said = "|".join(("chatlib peer 1", role, binding.hex(), fold(speaker), fold(hearer)))
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()


class _Stage(Enum):
    PROVING = auto()  # the other side's proof is awaited
    HELD = auto()  # a listener: the caller is proven and not answered
    OPEN = auto()
    OVER = auto()


class PeerWire:
    """One end. Built by ``caller`` or ``listener``. `binding` is the connection's ``tls-unique``."""

    def __init__(self, me: str, binding: bytes, role: str, key_of: Callable[[str], bytes | None]) -> None:
        if len(binding) < _MIN_BINDING:
            raise PeerError("This connection has no channel binding.")
        self.user = ""  # the other side; as it spells itself, once it is proven
        self.unacknowledged: set[int] = set()  # of ours
        self._unshown: set[int] = set()  # of theirs
        self._me, self._binding, self._role, self._key_of = me, binding, role, key_of
        self._key = b""
        self._stage = _Stage.PROVING
        self._lines = LineBuffer()
        self._said = self._heard = 0  # the last numbers of either side
        self._output: list[bytes] = []

    @classmethod
    def caller(cls, me: str, you: str, key: bytes, binding: bytes) -> PeerWire:
        """For `me`, who has called `you`: the proof is the first output."""
        wire = cls(me, binding, _CALLER, lambda user: key if user == fold(you) else None)
        wire._prove(you, key)
        return wire

    @classmethod
    def listener(cls, me: str, key_of: Callable[[str], bytes | None], binding: bytes) -> PeerWire:
        """For `me`, who was called. `key_of`: the key of an introduction, by the other's name in lower case."""
        return cls(me, binding, _LISTENER, key_of)

    def take_output(self) -> bytes:
        """The bytes to be sent, once."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    @property
    def open(self) -> bool:
        """Whether something may be said."""
        return self._stage is _Stage.OPEN

    @property
    def over(self) -> bool:
        """Whether nothing is said, and nothing listened to, any more."""
        return self._stage is _Stage.OVER

    @property
    def next_number(self) -> int:
        """Under which the next ``say`` will be acknowledged."""
        return self._said + 1

    # What is said.

    def accept(self) -> None:
        """A listener: answers the caller that is proven."""
        if self._stage is _Stage.HELD:
            self._prove(self.user, self._key)
            self._stage = _Stage.OPEN

    def say(self, kind: str, content: str, key: str) -> None:
        """A text or a cheque, under its key. At most WINDOW may be on their way."""
        assert self.open and len(self.unacknowledged) < WINDOW
        self._said += 1
        self.unacknowledged.add(self._said)
        self._output.append(encode({"id": self._said, kind: content, "key": key}))

    def acknowledge(self, number: int) -> None:
        """What came under `number` was shown."""
        if self.open and number in self._unshown:
            self._unshown.remove(number)
            self._output.append(encode({"ack": number}))

    def leave(self) -> None:
        """Says so. Nothing can be said any more, and nothing is listened to."""
        if self.open:
            self._output.append(encode({"bye": True}))
        self._stage = _Stage.OVER

    # What is heard.

    def feed(self, data: bytes) -> list[PeerHappening]:
        """What the bytes tell, in order. Raises PeerError; what was before the fault in `data` is lost with it."""
        try:
            happened: list[PeerHappening] = []
            for line in self._lines.feed(data) if not self.over else ():
                if not self.over:
                    happened.append(self._hear(line))
            return happened
        except (BadLine, LineTooLong, PeerError) as error:
            self._stage = _Stage.OVER
            raise PeerError(str(error) or "A line is too long.") from None

    def _hear(self, line: bytes) -> PeerHappening:
        if self._stage is _Stage.PROVING:
            return self._hear_proof(line)
        if self._stage is _Stage.HELD:
            raise PeerError("The caller speaks before it was answered.")
        message = decode_request(line)
        match message:
            case {"ack": int(number), **rest} if not rest and number in self.unacknowledged and number is not True:
                self.unacknowledged.remove(number)
                return PeerShowed(number)
            case {"bye": True, **rest} if not rest and message["bye"] is True:
                self._stage = _Stage.OVER
                return PeerLeft()
            case {"id": int(number), "text": str(text), "key": str(key), **rest} if (
                not rest and kinds.TEXT.accepts(text) and kinds.KEY.accepts(key)
            ):
                return self._hear_content(number, TEXT, text, key)
            case {"id": int(number), "cheque": str(cheque), "key": str(key), **rest} if (
                not rest and is_cheque_line(cheque) and kinds.KEY.accepts(key)
            ):
                return self._hear_content(number, CHEQUE, cheque, key)
        raise PeerError("The other side says what it may not say.")

    def _hear_content(self, number: int, kind: str, content: str, key: str) -> PeerSaid:
        if number is True or number != self._heard + 1 or len(self._unshown) >= WINDOW:
            raise PeerError("The other side does not count as it should.")
        self._heard = number
        self._unshown.add(number)
        return PeerSaid(number, kind, content, key)

    def _hear_proof(self, line: bytes) -> PeerHappening:
        if len(line) > MAX_PROOF:
            raise PeerError("The proof is too long.")
        match decode_request(line):
            case {"peer": int(version), "from": str(user), "to": str(to), "mac": str(mac), **rest} if (
                not rest and version is not True and version == 1
            ):
                key = self._key_of(fold(user)) if is_name(user) else None
            case _:
                raise PeerError("The other side does not prove who it is.")
        role = _LISTENER if self._role is _CALLER else _CALLER
        # Also without a key, so that the time that it takes does not tell who is known.
        right = proof(key or bytes(KEY_SIZE), role, self._binding, user, self._me)
        same = _MAC.fullmatch(mac) is not None and hmac.compare_digest(mac, right)
        if key is None or not same or fold(to) != fold(self._me):
            raise PeerError("The other side is not who it says.")
        self.user, self._key = user, key
        if role is _CALLER:
            self._stage = _Stage.HELD
            return CallerProven(user)
        self._stage = _Stage.OPEN
        return ListenerProven()

    def _prove(self, you: str, key: bytes) -> None:
        mac = proof(key, self._role, self._binding, self._me, you)
        self._output.append(encode({"peer": 1, "from": self._me, "to": you, "mac": mac}))


def is_cheque_line(line: str) -> bool:
    """Whether it may go over the wire as a cheque; whether it is one is for the server to say."""
    return 0 < len(line) <= MAX_CHEQUE and not forbidden(line)
