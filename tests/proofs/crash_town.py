"""Who talks to the server that is killed, and what it has acknowledged to them.

Each request of a :class:`Person` has a key of its own, which is also its text, its memo, its cheque's number or the
name of its file: so whatever comes back tells which request it belongs to. What was not answered when the server died
is sent again under the same key. A :class:`Town` knows what was told with which seq, and that must never change.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chatlib.protocol import cheque as cheques
from chatlib.protocol.cheque import Cheque, cheque_key
from chatlib.protocol.scram import make_verifier, parse_verifier
from tests.patience import LIMIT
from tests.program.peer import ITERATIONS, PASSWORD, SALT, VERIFIER
from tests.proofs.wires import Hub, Message, Talk, Wire, bring, fetch, hello, prove

USERS = ("ann", "bob", "cid", "dan", "eve")
THREADS = ("plans", "tea")
SIZES = (0, 1, 1_000, 70_000, 300_000)  # bytes of a file
AT_ONCE = 6  # requests of one person that wait for their replies
_KEY = cheque_key(parse_verifier(VERIFIER).server_key)
# What may be said of a file that has been taken already; or that cannot be taken now, and is sent again later.
_TAKEN, _LATER = ("FILE_EXISTS",), ("TOO_MANY_TRANSFERS", "INTERNAL", "BAD_TICKET", "NOT_ALLOWED")


@dataclass
class Asked:
    """A request with a key, and what became of it."""

    request: Message
    to: frozenset[str]  # who must hear of it
    seq: int = 0  # 0: not acknowledged yet


@dataclass
class Sent:
    """A file. `to` is a user, or a thread with a # in front."""

    name: str
    by: str
    to: str
    content: bytes = field(repr=False)
    seq: int = 0
    asking: bool = False  # an upload is under way
    refused: str = ""  # the last time, for now
    leaving: bool = False  # its receiver has said that it may go
    gone: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def place(self) -> Message:
        """The fields that say where it goes."""
        return {"title": self.to[1:]} if self.to[0] == "#" else {"to": self.to}


class Wrong(AssertionError):
    """The server broke a promise."""


class Town:
    """Everybody, and what they know together."""

    def __init__(self, chance: random.Random) -> None:
        self.hub, self.chance = Hub(), chance
        self.port = 0
        self.ahead = 0.0  # seconds that the server's clock is before ours
        self.people = {name: Person(self, name) for name in USERS}
        self.told: dict[int, str] = {}  # seq → what it was given to
        self.seqs: dict[str, int] = {}  # and the other way round
        self.sent: dict[str, Sent] = {}  # files, by name
        self.wrong = ""

    def note(self, seq: int, tag: str) -> None:
        """A seq was told to somebody. Raises Wrong when it was given to something else, or that has another one."""
        if self.told.setdefault(seq, tag) != tag:
            raise Wrong(f"seq {seq} was given to {self.told[seq]} and then to {tag}")
        if self.seqs.setdefault(tag, seq) != seq:
            raise Wrong(f"{tag} took effect twice: as {self.seqs[tag]} and as {seq}")

    def until(self, true: Callable[[], object], what: Callable[[], object], seconds: float = LIMIT) -> None:
        """Pumps until something is true. Raises Wrong."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise Wrong(f"it never came to this: {what()}")
            self.hub.pump(0.05)

    def name(self, by: str) -> str:
        """The next key of that person's."""
        return f"{by}-{len(self.people[by].asked) + sum(one.by == by for one in self.sent.values())}"


class Person:
    """One user, with one session at a time."""

    def __init__(self, town: Town, name: str) -> None:
        self.town, self.name = town, name
        self.passwords = [PASSWORD]  # that it may be; more than one while a change is not acknowledged
        self.asked: dict[str, Asked] = {}
        self.born: dict[str, float] = {}  # key → when it was asked for, by the server's clock
        self.heard: dict[int, str] = {}  # seq → tag
        self.seen = 0  # acknowledged
        self.wire: Wire | None = None
        self.online, self.busy = False, False  # busy: with a change of the password
        self.balance = -1
        self.refused = ""  # a login was

    # The session.

    def connect(self) -> None:
        """Begins to log in."""
        self.online, self.busy, self.refused = False, False, ""
        self.wire = Wire(self.town.hub, self.town.port, self.event, self.gone)
        self.wire.converse(hello(self._login()))

    def _login(self) -> Talk:
        replies: list[Message] = []
        for password in reversed(self.passwords):
            yield from prove("login", self.name, password, replies.append, seen=self.seen)
            if replies[-1]["status"] == "OK":
                self.passwords, self.online = [password], True
                return
            self.refused = f"{self.name}'s login: {replies[-1]}"

    def gone(self) -> None:
        """The connection has ended."""
        self.wire, self.online = None, False
        for file in self.town.sent.values():
            if file.by == self.name:
                file.asking = False

    def event(self, event: Message) -> None:
        """Whatever is told without being asked for."""
        if "seq" not in event:
            return
        seq, tag = event["seq"], _tag(event)
        self.town.note(seq, tag)
        if seq in self.heard or seq <= self.seen:
            if self.heard.get(seq) != tag:
                raise Wrong(f"{self.name} was told {tag} as {seq}, which is not new")
            return
        self.heard[seq] = tag

    # Requests.

    @property
    def open(self) -> int:
        """How many are not acknowledged."""
        return sum(not asked.seq for asked in self.asked.values())

    def ask(self, request: Message, *to: str) -> None:
        """Something new, under its key."""
        self.asked[request["key"]] = Asked(request, frozenset(to))
        self.born[request["key"]] = time.time() + self.town.ahead
        self._send(request["key"])

    def ask_again(self) -> None:
        """What was not acknowledged, in order, and one that was."""
        for key in [key for key, asked in self.asked.items() if not asked.seq] + list(self.asked)[-1:]:
            self._send(key)

    def _send(self, key: str) -> None:
        if self.wire:
            self.wire.ask(self.asked[key].request, lambda reply: self._answered(key, reply))

    def _answered(self, key: str, reply: Message) -> None:
        if reply["status"] != "OK":
            raise Wrong(f"{self.asked[key].request}: {reply}")
        seq = reply.get("seq", -1)  # crt has none
        if seq > 0:
            self.town.note(seq, key)
        if self.asked[key].seq not in (0, seq):
            raise Wrong(f"{key} was answered with {self.asked[key].seq} and then with {seq}")
        self.asked[key].seq = seq

    def see(self) -> None:
        """Acknowledges some of what was heard."""
        if self.wire and self.heard:
            self.seen = max(self.seen, self.town.chance.choice(list(self.heard)[-20:]))
            self.wire.ask({"action": "alive", "seen": self.seen}, lambda reply: None)

    def talk(self) -> None:
        """One more request, of any kind."""
        town, chance, name = self.town, self.town.chance, self.name
        others = [user for user in USERS if user != name]
        other, key = chance.choice(others), town.name(name)
        text = key + " " + "x" * chance.choice([0, 10, 600])
        match chance.choices(["message", "broadcast", "post", "pay", "cash", "file"], [30, 4, 10, 12, 4, 3])[0]:
            case "message":
                self.ask({"action": "message", "key": key, "to": other, "text": text}, other)
            case "broadcast":
                self.ask({"action": "broadcast", "key": key, "text": text}, *USERS)
            case "post":
                self.ask({"action": "msg", "key": key, "title": chance.choice(THREADS), "text": text}, *USERS)
            case "pay":
                pay = {"action": "pay", "key": key, "to": other, "amount": chance.randrange(1, 9), "memo": key}
                self.ask(pay, other)
            case "cash":
                payer = chance.choice([user for user in others if user != "eve"])  # whose password stays
                number = f"{int.from_bytes(name.encode()) << 32 | len(self.asked):016x}"[-16:]
                expiry = cheques.expiry_of(time.time() + town.ahead)
                cheque = Cheque(payer, name, chance.randrange(1, 9), number, expiry)
                self.ask({"action": "cash", "key": number, "cheque": cheques.write(cheque, _KEY)}, payer)
            case "file":
                to = chance.choice([other, "#" + chance.choice(THREADS)])
                content = chance.randbytes(chance.choice(SIZES))
                self.send_file(town.sent.setdefault(key, Sent(key, name, to, content)))

    # Files.

    def send_file(self, file: Sent) -> None:
        """Sends one, or the rest of it."""
        action = "upd" if file.to[0] == "#" else "file"
        about = {"name": file.name, "size": len(file.content), "sha256": file.sha256}
        if self.wire:
            file.asking = True
            self.wire.ask({"action": action, **file.place, **about}, lambda reply: self._may_send(file, reply))

    def _may_send(self, file: Sent, reply: Message) -> None:
        file.asking = reply["status"] == "OK"
        if reply["status"] in _TAKEN:
            file.seq = file.seq or -1
        elif reply["status"] == "OK":
            bring(self.town.hub, self.town.port, reply, file.content, lambda reply: self._has_sent(file, reply))
        elif reply["status"] in _LATER:
            file.refused = reply["text"]
        else:
            raise Wrong(f"{file}: {reply}")

    def _has_sent(self, file: Sent, reply: Message) -> None:
        file.asking = False
        if reply["status"] == "OK":
            file.seq = reply["seq"]
            self.town.note(file.seq, file.name)
        elif reply["status"] in _LATER + _TAKEN:
            file.refused = reply["text"]
        else:
            raise Wrong(f"{file}: {reply}")

    def fetch(self, file: Sent, then: Callable[[], None] = lambda: None) -> None:
        """Fetches a file whole, and compares it."""
        action, place = ("dwn", file.place) if file.to[0] == "#" else ("fileget", {"from": file.by})
        if self.wire:
            asks = {"action": action, **place, "name": file.name}
            self.wire.ask(asks, lambda reply: self._may_fetch(file, reply, then))

    def _may_fetch(self, file: Sent, reply: Message, then: Callable[[], None]) -> None:
        if reply["status"] == "NO_SUCH_FILE" and file.leaving:
            return
        if reply["status"] == "TOO_MANY_TRANSFERS":  # one will end
            self.fetch(file, then)
            return
        if reply["status"] != "OK" or (reply["size"], reply["sha256"]) != (len(file.content), file.sha256):
            raise Wrong(f"{file}: {reply}")
        asked_on = self.wire  # a ticket ends with its session

        def held(content: bytes) -> None:
            if content != file.content:
                raise Wrong(f"{file}: other bytes were fetched")
            then()

        def refused(answer: Message) -> None:
            if self.wire is asked_on and (answer["status"] not in ("BAD_TICKET", "NO_SUCH_FILE") or not file.leaving):
                raise Wrong(f"{file}: {answer}")

        fetch(self.town.hub, self.town.port, reply, refused, held)

    def has_received(self, file: Sent) -> None:
        """The server may let go of it."""
        file.leaving = True
        if self.wire:
            asks = {"action": "received", "from": file.by, "name": file.name, "sha256": file.sha256}
            self.wire.ask(asks, lambda reply: setattr(file, "gone", reply["status"] in ("OK", "NO_SUCH_FILE")))

    # The password.

    def change_password(self) -> None:
        """To a new one; until that is acknowledged, both may be right."""
        if self.wire and not self.busy:
            old, new = self.passwords[-1], f"{PASSWORD} {self.town.chance.randrange(10**9)}"
            self.busy, self.passwords = True, [old, new]
            verifier = str(make_verifier(new, ITERATIONS, SALT))
            self.wire.converse(prove("password", self.name, old, self._password_changed, verifier=verifier))

    def _password_changed(self, reply: Message) -> None:
        if reply["status"] != "OK":
            raise Wrong(f"{self.name}'s password: {reply}")
        self.passwords, self.busy = self.passwords[-1:], False


def _tag(event: Message) -> str:
    """Which request an event belongs to."""
    match event["event"]:
        case "message" | "broadcast" | "post":
            return str(event["text"]).partition(" ")[0]
        case "payment":
            return str(event["memo"])
        case "cheque_cashed":
            return str(event["number"])
        case "file" | "upload":
            return str(event["name"])
        case "file_gone":
            return f"{event['name']} {event['outcome']}"
    return f"{event['event']} {event['seq']}"
