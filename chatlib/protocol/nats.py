"""The text protocol of a NATS engine, without I/O: its bytes → messages, and what is said to it → bytes.

Must not know what a message means, nor where bytes come from. Invariants: a message is handed out only when all of it
has come; no more than one is held, and each of its lengths has a bound; no size is believed before it is checked. What
breaks the protocol is a Fault that `ends`, behind all that came before it; whatever is fed after that says nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote

PORT = 4222  # where engines listen unless somebody says otherwise
MAX_LINE = 4_096  # bytes of a line: an engine's own bound of a client's
MAX_INFO = 65_536  # of the one that says what the engine is, which names all nodes
MAX_HEADERS = 65_536  # bytes of a message's headers
MAX_MESSAGE = 8 << 20  # of a message, headers and all; engines take 1 MiB unless they are told otherwise
MAX_ADDRESSES = 16

NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")  # of a log, and so of streams and subjects
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9._-]{1,32})?")
_FORM = "nats://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/NAME"


# Where engines are.


@dataclass(frozen=True, slots=True)
class Engine:
    """The nodes of one engine, who we are to them, and the log's name. An empty `user` and `token`: nobody."""

    addresses: tuple[tuple[str, int], ...]
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    name: str = "chat"


def parse(url: str) -> Engine:
    """Reads ``nats://[user[:password]@]host[:port][,…]/NAME``; a user without a password is a token.

    Raises ValueError that says what is wrong and what is allowed, and no password.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.lower() != "nats":
        what = f'"{scheme}://" is not spoken' if separator else "it does not begin with nats://"
        raise ValueError(f"The log's address is {_FORM}; {what}.")
    everything, _, name = rest.partition("/")
    if "@" in name:
        raise ValueError("The log's address has its first / behind the hosts; one in a password is %2F.")
    who, at, places = everything.rpartition("@")
    if "@" in who:
        raise ValueError("The log's address names the user once, before the first host; an @ in a password is %40.")
    if not NAME.fullmatch(name):
        given = f'not "{name}"' if name else "and there is none"
        raise ValueError(
            f"The log's address ends with /NAME, 1 to 32 of the letters A-Z and a-z, digits, - and _; {given}."
        )
    user, colon, password = who.partition(":")
    if at and (not user or colon and not password):
        raise ValueError("The log's address has USER:PASSWORD or a token before its @, and nothing of it is empty.")
    user, password = unquote(user), unquote(password)
    return Engine(_addresses(places), user if colon else "", password, "" if colon else user, name)


def _addresses(places: str) -> tuple[tuple[str, int], ...]:
    found = tuple(dict.fromkeys(_address(place.strip()) for place in places.split(",")))
    if len(found) > MAX_ADDRESSES:
        raise ValueError(f"The log's address names {len(found)} hosts; up to {MAX_ADDRESSES} are allowed.")
    return found


def _address(place: str) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, port = place[1:].partition("]")
        right = bool(bracket and _IPV6.fullmatch(host) and ":" in host and (not port or port.startswith(":")))
        port = port or f":{PORT}"
    else:
        host, colon, port = place.partition(":")
        right = bool(_HOST.fullmatch(host))
        port = f":{port}" if colon else f":{PORT}"
    if not right:
        raise ValueError(
            f'The log\'s address has "{place}" where HOST or HOST:PORT is allowed; an address of IPv6 stands in [].'
        )
    number = port[1:]
    if not (number.isascii() and number.isdigit() and len(number) <= 5 and 0 < int(number) <= 65_535):
        raise ValueError(f'The log\'s address has "{number}" as a port; 1 to 65535 are allowed.')
    return host, int(number)


# What an engine says.


class Beat(Enum):
    """Is somebody there? Somebody is."""

    PING = "PING"
    PONG = "PONG"


@dataclass(slots=True)
class Message:
    """What somebody published, as the engine hands it to subscription `sid`.

    `status` is 0 but for what the engine itself says with it (404, 408, 503 …), with a word of it in the header
    "Description". Of two headers with one name the last counts: the engine puts its own behind the sender's.
    """

    subject: str
    reply: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 0
    payload: bytes = b""
    sid: int = 0


@dataclass(frozen=True, slots=True)
class Info:
    """What an engine node says of itself: first of all, and again whenever something has changed."""

    name: str
    version: str
    max_payload: int
    headers: bool  # it knows headers
    jetstream: bool  # it keeps streams itself
    tls_required: bool
    leaving: bool  # it is about to stop


@dataclass(frozen=True, slots=True)
class Fault:
    """The engine refuses something, or does not speak the protocol.

    `ends`: nothing more comes over this connection. `final`: the next try will end like this one.
    """

    text: str
    ends: bool
    final: bool = False


Event = Message | Info | Fault | Beat

# How a refusal begins → whether it ends the connection, and whether the next try can go better. Any other one ends it.
_REFUSALS = (
    ("authorization violation", True, True),
    ("user authentication", True, True),  # expired, revoked
    ("account authentication", True, True),
    ("authentication timeout", True, False),
    ("secure connection", True, True),
    ("invalid client protocol", True, True),
    ("attempted to connect to", True, True),  # a port of other engines, or of leaf nodes
    ("permissions violation", False, True),
    ("invalid subject", False, False),
    ("invalid publish subject", False, False),
)

_HEADED, _PLAIN = b"HMSG ", b"MSG "
_MESSAGE = re.compile(rb"MSG (\S+) (\d{1,9}) (?:(\S+) )?()(\d{1,9})")
_WITH_HEADERS = re.compile(rb"HMSG (\S+) (\d{1,9}) (?:(\S+) )?(\d{1,9}) (\d{1,9})")
_STATUS = re.compile(r"NATS/1\.0(?: +(\d{3})(?: +(.*))?)? *")


class _Nonsense(ValueError):
    """What no engine says."""


class NatsClient:
    """This end of one connection. Legal order: ``feed``*."""

    __slots__ = ("_broken", "_have", "_need", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # the beginning of what is not whole
        self._have = 0  # bytes of them
        self._need = 0  # of which so many must be there before it is worth another look
        self._broken = False

    @property
    def held(self) -> int:
        """Bytes that wait for their rest."""
        return self._have

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes complete, in order."""
        if self._broken:
            return []
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._parts)
            self._parts.clear()
        events: list[Event] = []
        try:
            at = self._cut(data, events)
        except _Nonsense as what:
            self._broken, self._have = True, 0
            events.append(Fault(f"no engine says this: {what}", ends=True))
            return events
        self._have = len(data) - at
        if self._have:
            self._parts.append(data[at:] if at else data)
        return events

    def _cut(self, data: bytes, events: list[Event]) -> int:
        """Takes what is whole; where the rest begins. Raises _Nonsense."""
        at, size = 0, len(data)
        while at < size:
            end = data.find(b"\r\n", at, at + MAX_INFO)
            if end < 0:
                self._need = size - at + 1
                _bound(data, at, size)
                break
            if data.startswith(_HEADED, at):
                found = _WITH_HEADERS.fullmatch(data, at, end)
            elif data.startswith(_PLAIN, at):
                found = _MESSAGE.fullmatch(data, at, end)
            else:
                _bound(data, at, end)
                self._line(data[at:end], events)
                at = end + 2
                continue
            if found is None or end - at > MAX_LINE:
                raise _Nonsense(_shown(data[at:end]))
            subject, sid, reply, first, second = found.groups()
            head, whole = int(first or 0), int(second)
            if whole > MAX_MESSAGE or head > whole or head > MAX_HEADERS:
                raise _Nonsense(_shown(data[at:end]))
            start = end + 2
            stop = start + whole
            if stop + 2 > size:
                self._need = stop + 2 - at
                break
            if data[stop : stop + 2] != b"\r\n":
                raise _Nonsense(f"{whole} bytes of a message, and no end of line behind them")
            headers, status = _headers(data[start : start + head]) if head else ({}, 0)
            words = str(subject, "utf-8", "replace"), str(reply, "utf-8", "replace") if reply else ""
            events.append(Message(*words, headers, status, data[start + head : stop], int(sid)))
            at = stop + 2
        return at

    def _line(self, line: bytes, events: list[Event]) -> None:
        if line == b"PING":
            events.append(Beat.PING)
        elif line == b"PONG":
            events.append(Beat.PONG)
        elif line.startswith(b"INFO "):
            events.append(_info(line[5:]))
        elif line.startswith(b"-ERR"):
            fault = _refusal(line[4:])
            events.append(fault)
        elif line != b"+OK":
            raise _Nonsense(_shown(line))


def _bound(data: bytes, at: int, end: int) -> None:
    """A line that may be incomplete is not too long already. Raises _Nonsense."""
    end -= data.endswith(b"\r", at, end)
    if end - at > (MAX_INFO - 2 if data.startswith(b"INFO ", at) else MAX_LINE):
        raise _Nonsense(f"a line of more than {end - at} bytes, {_shown(data[at : at + 40])} …")


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("ascii", "replace"))


def _headers(block: bytes) -> tuple[dict[str, str], int]:
    """A block of headers, and the status in its first line. Raises _Nonsense."""
    lines = block.decode("utf-8", "replace").split("\r\n")
    if len(lines) < 3 or lines[-1] or lines[-2]:
        raise _Nonsense(f"headers without an end: {_shown(block)}")
    headers: dict[str, str] = {}
    status = 0
    if lines[0] != "NATS/1.0":
        found = _STATUS.fullmatch(lines[0])
        if found is None:
            raise _Nonsense(f"headers that begin with {_shown(block)}")
        status = int(found[1] or 0)
        if found[2]:
            headers["Description"] = found[2].strip()
    for line in lines[1:-2]:
        name, colon, value = line.partition(": ")  # nearly always
        if not colon:
            name, colon, value = line.partition(":")
            if not colon:
                raise _Nonsense(f"a header without a name: {line[:80]!r}")
        headers[name] = value
    if "" in headers:
        raise _Nonsense("a header without a name")
    return headers, status


def _info(text: bytes) -> Info:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise _Nonsense(f"INFO {_shown(text)}") from None
    if not isinstance(said, dict):
        raise _Nonsense(f"INFO {_shown(text)}")
    payload = said.get("max_payload")
    if type(payload) is not int or payload < 1:
        raise _Nonsense(f"INFO with a max_payload of {str(payload)[:40]!r}")
    words = [str(said.get(key, ""))[:64] for key in ("server_name", "version")]
    flags = [said.get(key) is True for key in ("headers", "jetstream", "tls_required", "ldm")]
    return Info(words[0], words[1], min(payload, MAX_MESSAGE), *flags)


def _refusal(line: bytes) -> Fault:
    text = line.decode("utf-8", "replace").strip().strip("'")
    for begin, ends, final in _REFUSALS:
        if text.lower().startswith(begin):
            return Fault(text, ends, final)
    return Fault(text or "a refusal without a reason", ends=True)


# What is said to an engine.

PING, PONG = b"PING\r\n", b"PONG\r\n"
_SUBJECT = re.compile(r"[^\s.*>\x00-\x1f\x7f]+(?:\.[^\s.*>\x00-\x1f\x7f]+)*")
_PATTERN = re.compile(r"(?:\*|[^\s.*>\x00-\x1f\x7f]+)(?:\.(?:\*|[^\s.*>\x00-\x1f\x7f]+))*(?:\.>)?|>")
_FIELD = re.compile(r"[!-9;-~]+: [^\r\n]*")


def connect(engine: Engine) -> bytes:
    """The first thing that is said, once the engine has said what it is."""
    said: dict[str, object] = {
        "verbose": False,
        "pedantic": False,
        "headers": True,
        "no_responders": True,
        "protocol": 1,
        "lang": "python",
        "version": "1",
        "name": f"chatlib {engine.name}",
    }
    if engine.token:
        said["auth_token"] = engine.token
    elif engine.user:
        said |= {"user": engine.user, "pass": engine.password}
    return b"CONNECT " + json.dumps(said, separators=(",", ":")).encode() + b"\r\n"


def subscribe(subject: str, sid: int) -> bytes:
    """All that is published there, under this number; ``*`` is any word, ``>`` any number of them at the end."""
    if not _PATTERN.fullmatch(subject):
        raise ValueError(f"{subject!r} is no subject that one can subscribe to")
    return f"SUB {subject} {sid}\r\n".encode()


def unsubscribe(sid: int) -> bytes:
    """Nothing more under this number."""
    return f"UNSUB {sid}\r\n".encode()


def publish(subject: str, payload: bytes, headers: Mapping[str, str] | None = None, reply: str = "") -> list[bytes]:
    """One message, in pieces that go out one behind the other. Raises ValueError for what cannot be said."""
    if not _SUBJECT.fullmatch(subject) or reply and not _SUBJECT.fullmatch(reply):
        raise ValueError(f"{subject!r} {reply!r}: no subjects that one can publish to")
    where = f"{subject} {reply}" if reply else subject
    if not headers:
        return [f"PUB {where} {len(payload)}\r\n".encode(), payload, b"\r\n"]
    fields = [f"{name}: {value}" for name, value in headers.items()]
    for line in fields:
        if not _FIELD.fullmatch(line):
            raise ValueError(f"{line!r} is no header")
    block = ("NATS/1.0\r\n" + "\r\n".join(fields) + "\r\n\r\n").encode()
    return [f"HPUB {where} {len(block)} {len(block) + len(payload)}\r\n".encode() + block, payload, b"\r\n"]
