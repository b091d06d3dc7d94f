"""One connection of a fuzzer's, and an oracle of its own: what was sent says what must come back.

Exactly one reply a line, in order, with its action and id; statuses and events that WIRE.md names, in the order of
their `seq`; nothing behind bye; nothing that is not a JSON line. Must not know what a request means.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import Any

from chatlib.protocol.commands import ACTIONS, Runs
from chatlib.protocol.text import printable
from tests.proofs.hostile_text import obeyed
from tests.server.house import House
from tests.server.inside import TlsSocket

WIRE = (Path(__file__).parents[2] / "chatlib" / "protocol" / "WIRE.md").read_text()
STATUSES = frozenset(re.findall(r"`([A-Z][A-Z_]*[A-Z])`", WIRE))
EVENTS = frozenset(
    name
    for row in re.findall(r"^\| (`[^|]*`) \|", WIRE.split("\n## Events")[1].split("\n## ")[0], re.M)
    for name in re.findall(r"`(\w+)`", row)
)
MAX_LINE, STRANGERS_LINE = 65_536, 4_096
INTEGER = 2**53 - 1
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_HTTP = re.compile(rb"[A-Z]{1,16}( |$)")
_RAW_CONTROL = re.compile(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]")


class Illegal(AssertionError):
    """An invariant does not hold."""


def _refuse(name: str) -> None:
    raise ValueError(name)


class _Twice(dict[str, Any]):
    """An object with a field given twice."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Twice(found)


_decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_refuse)


@lru_cache(maxsize=1_000)
def _echo(line: bytes) -> tuple[tuple[Any, Any], ...]:
    """Which (action, id) a reply to `line` may have; an action of None stands for null, an id of None for no id."""
    unread = (None, None)
    try:
        text = line.decode().strip(" \t\r")
        asked, end = _decoder.raw_decode(text)
    except (ValueError, RecursionError):
        return (unread,)
    if type(asked) is not dict or end != len(text):
        return (unread,)
    action, number = asked.get("action"), asked.get("id")
    if type(action) is not str:
        action = None
    elif action not in ACTIONS:
        action = printable(action[:64])
    valid = (type(number) is int and abs(number) <= INTEGER) or (
        type(number) is str and len(number) <= 64 and not _CONTROL.search(number)
    )
    echo = (action, number if valid else None)
    return (echo, unread) if line.count(b"[") + line.count(b"{") > 300 else (echo,)  # deeper than a reader may take


class Talker:
    """One end. `slow`: reads nothing for now; `splits`: what it says arrives in pieces of so many bytes."""

    def __init__(self, house: House, address: str, inside: bool = False) -> None:
        """`inside`: it talks over TLS, if the server lets it."""
        self.house, self.address = house, address
        self.socket, there = socket.socketpair()
        self.socket.setblocking(False)
        self.user, self.admin, self.client = "", False, ""
        self.slow = self.was_slow = False
        self.splits = 0
        self.said = self.heard = 0  # lines
        self.expected: deque[bytes] = deque()  # lines that have no reply yet
        self.replies: list[dict[str, Any]] = []  # that nobody has asked for yet
        self.keeps = False  # somebody will ask for them
        self.seqs: deque[int] = deque(maxlen=64)  # that were in events
        self.opening: bytes | None = b""  # the first bytes; None: it speaks JSON lines
        self.other = False  # it speaks something else: nothing is expected
        self.bye = self.closed = self.ended = self.reset = self.leaves = False
        self.tickets: list[tuple[str, dict[str, Any], bytes]] = []
        self._seq = 0
        self._cut = self._rest = b""
        self.binding: bytes | None = None  # what a proof is bound to
        house.server._accepted(there, address)
        if inside:
            self._go_inside()

    def _go_inside(self) -> None:
        try:
            sealed = TlsSocket(self.house, self.socket)
        except (OSError, AssertionError):  # banned, and told so before; or of an address that is not read for a while
            self.closed = self.leaves = True
            self.socket.close()
            return
        self.socket, self.binding = sealed, sealed.binding  # type: ignore[assignment]

    def break_seal(self, data: bytes) -> None:
        """Bytes that are no record of TLS, in the middle of it: no more is expected."""
        self.other = True
        with contextlib.suppress(OSError):
            self.socket.raw.send(data)  # type: ignore[attr-defined]

    # Saying.

    def say(self, data: bytes) -> None:
        """`data`, as far as the server takes it."""
        tries, pieces = 50, 64  # it may be held back for a rate limit, or since it does not read
        while data and not (self.closed or self.ended):
            piece = data[: self.splits] if self.splits and pieces else data
            try:
                sent = self.socket.send(piece)
            except BlockingIOError:
                tries -= 1
                if not tries:
                    return
                self.house.tick()
                if not self.slow:
                    self.hear()
            except OSError:
                self.hear()
                return
            else:
                self._took(piece[:sent])
                data = data[sent:]
                if self.splits and pieces:
                    pieces -= 1
                    self.house.tick()

    def _took(self, data: bytes) -> None:
        if self.opening is not None:
            self.opening += data
            self._begin()
        *lines, self._cut = (self._cut + data).split(b"\n")
        if not self.other and not self.bye:
            self.expected += lines
            self.said += len(lines)

    def _begin(self) -> None:
        """What the first bytes choose."""
        opening = self.opening or b""
        first, end, _ = opening.partition(b"\n")
        if opening[:1] == b"\x16" or _HTTP.match(opening):
            self.other = True
        elif end:
            with contextlib.suppress(ValueError, RecursionError):
                asked = json.loads(first)
                row = (
                    ACTIONS.get(asked.get("action"))
                    if type(asked) is dict and type(asked.get("action")) is str
                    else None
                )
                self.other = row is not None and row.runs is Runs.CARRIES
            self.opening = None

    def end(self) -> None:
        """Says that it will send no more."""
        if not self.closed and not self.ended:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
            self.ended = True

    def hang_up(self, hard: bool) -> None:
        """The connection breaks."""
        if hard:
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        self.closed = self.leaves = True

    # Hearing.

    def hear(self) -> None:
        """What has arrived, held against what was said."""
        while not self.closed:
            try:
                data = self.socket.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError:
                data, self.reset = b"", True
            if not data:
                self._over()
                return
            if self.other:
                continue
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._check(line)

    def _over(self) -> None:
        self.closed = True
        self.socket.close()
        if self.bye or self.other or self.leaves or self.client:  # a client that comes again takes its session over
            return
        if self.was_slow:  # so much was never read that the farewell did not arrive in time
            return
        if self._rest:
            raise Illegal(f"the last line is cut: {self._rest[:200]!r}")
        if self.opening is not None and (self.ended or self.opening[:1] in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
            return
        if not self.ended:
            who = f"{self.user or 'a stranger'} from {self.address}{', over TLS' if self.binding else ''}"
            missing = f"{len(self.expected)} replies are missing: {[*self.expected][:2]}"
            raise Illegal(f"closed without a word: {who}; {missing}\n{self.house.log()[-800:]}")
        if self.expected and not self.reset:
            raise Illegal(
                f"it said all it had to say, and {len(self.expected)} replies are missing: {[*self.expected][:2]}"
            )

    def _check(self, line: bytes) -> None:
        self.heard += 1
        if self.bye:
            raise Illegal(f"behind bye: {line[:300]!r}")
        if _RAW_CONTROL.search(line):
            raise Illegal(f"a control character goes over the wire: {line[:300]!r}")
        try:
            said = json.loads(line)
        except ValueError:
            raise Illegal(f"no JSON: {line[:300]!r}") from None
        if type(said) is not dict or ("event" in said) == ("action" in said):
            raise Illegal(f"neither a reply nor an event: {line[:300]!r}")
        if "event" in said:
            self._check_event(said)
        else:
            self._check_reply(said, line)

    def _check_event(self, said: dict[str, Any]) -> None:
        if said["event"] not in EVENTS:
            raise Illegal(f"an unknown event: {said}")
        seq = said.get("seq")
        if seq is not None:
            if type(seq) is not int or seq <= self._seq:
                raise Illegal(f"seq {seq} behind {self._seq}: {said}")
            self._seq = seq
            self.seqs.append(seq)
        if said["event"] == "bye":
            self.bye = True
            self.expected.clear()
            if said["status"] not in STATUSES or not said["text"]:
                raise Illegal(f"an unknown farewell: {said}")

    def _check_reply(self, said: dict[str, Any], line: bytes) -> None:
        status = said.get("status")
        if status not in STATUSES or status == "INTERNAL":
            raise Illegal(f"a status: {line[:300]!r} to {[*self.expected][:1]}")
        if status not in ("OK", "CONTINUE", "WAITING", "ASKED") and not said.get("text"):
            raise Illegal(f"a refusal without a sentence: {line[:300]!r}")
        if obeyed(said.get("text", "")):
            raise Illegal(f"a sentence is not printable: {line[:300]!r}")
        if status == "TOO_LONG":
            self._check_too_long(said)
        else:
            if not self.expected:
                raise Illegal(f"nobody asked for {line[:300]!r}")
            asked = self.expected.popleft()
            echo = (said["action"], said.get("id"))
            if echo not in _echo(asked) or ("id" in said) != (echo[1] is not None) or len(asked) >= MAX_LINE:
                raise Illegal(f"{line[:300]!r} is no reply to {asked[:300]!r}, but {_echo(asked)}")
        if status == "OK" and said["action"] in ("login", "admin"):
            self.admin = said["action"] == "admin"
            self._seq = 0
        if self.keeps:
            self.replies.append(said)

    def _check_too_long(self, said: dict[str, Any]) -> None:
        longest = MAX_LINE if self.user or self.admin else STRANGERS_LINE
        asked = self.expected[0] if self.expected else self._cut
        if said["action"] is not None or "id" in said or len(asked) < min(longest, STRANGERS_LINE):
            raise Illegal(f"too long: {asked[:100]!r} ({len(asked)} bytes)")

    def take_replies(self) -> list[dict[str, Any]]:
        """Those that came since it began to keep them."""
        found, self.replies = self.replies, []
        return found

    def judge(self) -> None:
        """When all is quiet: nobody waits for a reply."""
        if not self.closed and not self.other and not self.bye and self.expected:
            raise Illegal(f"{len(self.expected)} replies are missing: {[line[:200] for line in self.expected][:3]}")
