"""One user's cheques: those that one wrote and nobody has cashed yet, and those that one was given and has not cashed.

============== ==========================================================================================
``.cheques``   a JSON line for each that one wrote: what it says, with neither its MAC nor the key
``.cashable``  a JSON line for each that one was given: the cheque's own line
============== ==========================================================================================

They stand beside the memory's files, while there is a memory. The key is the conversation's and stays in its memory.

Must not know connections or screens. Legal order: ``heard`` for each news, in order; the others after the first login.
Invariants: a cheque is in the book before anybody sees its line; it leaves the book when the server says that it was
cashed, when it has expired by the server's clock, and when the password that signed it is not the one of now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.kept import KeptLines
from chatlib.client.news import Fields, News
from chatlib.protocol import cheque as signing
from chatlib.protocol.cheque import BadCheque, Cheque, expiry_of, fingerprint, fitting_memo, mended, new_number
from chatlib.protocol.framing import BadLine, decode, encode
from chatlib.protocol.text import fold

MAX_WRITTEN = 10_000
MAX_GIVEN, MAX_GIVEN_BY_ONE = 1_000, 100
# What the server says of a cheque that it will never pay.
WORTHLESS = frozenset({"BAD_CHEQUE", "NOT_PAYEE", "ALREADY_CASHED", "EXPIRED", "NO_SUCH_USER"})


class NoCheque(ValueError):
    """A cheque that is not written, or not taken; the message is for people."""


class NoRoom(NoCheque):
    """A cheque that may be good, and is not kept."""


@dataclass(frozen=True, slots=True)
class Written:
    """A cheque of one's own."""

    cheque: Cheque
    password: str  # which one signed it

    def line(self) -> bytes:
        said = self.cheque
        return encode({"to": said.payee, "amount": said.amount, "number": said.number, "expiry": said.expiry,
                       "memo": said.memo, "password": self.password})[:-1]  # fmt: skip


class Cheques:
    """Those of the user of `conversation`. `beside` says where a file of one's own may be, by its extension."""

    def __init__(
        self,
        conversation: Conversation,
        beside: Callable[[str], Path | None] = lambda _: None,
        complain: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._conversation = conversation
        self._beside = beside
        self._complain = complain
        self._written: dict[str, Written] = {}  # by number
        self._given: dict[str, Cheque] = {}  # by the line: of two with one number, one may be forged
        self._written_file: KeptLines[str] = KeptLines(self._fault)
        self._given_file: KeptLines[str] = KeptLines(self._fault)
        self._whose: tuple[str, Path | None] = "", None  # the user of those in here, and where they are kept
        self._stale = ""  # the password that signs no more, says the server
        self._voided: list[Cheque] = []

    # What happens.

    def heard(self, item: News) -> None:
        """Any news."""
        match item:
            case n.LoggedIn():
                self._open()
            case n.Arrived(event) if event.get("event") == "cheque_cashed":
                self._forget(str(event.get("number")))
            case n.Answered(request) if request.action == "cash" and item.status in {"OK", *WORTHLESS}:
                self.done_with(str(request.fields.get("cheque")))
            case n.Answered(request) if request.action == "password" and item.status == "OK":
                self._void()
                self._voided.clear()  # who changes a password is told before
            case n.Answered(request) if request.action == "cheques" and item.status == "OK":
                self._compare(item.reply)

    def close(self) -> None:
        """Lets go of the files."""
        self._written_file.close()
        self._given_file.close()

    # Those that one writes.

    def write(self, payee: str, amount: int, memo: str, now: float) -> str:
        """A new one's line. Raises NoCheque."""
        signature, user = self._conversation.signature, self._conversation.user
        if signature is None:
            raise NoCheque("You must be logged in to write a cheque.")
        if signature.password == self._stale:
            raise NoCheque("Your password has been changed: log in again to write cheques.")
        if fold(payee) == fold(user):
            raise NoCheque("You cannot write a cheque to yourself.")
        if len(self._written) >= MAX_WRITTEN and len(self.written(now)) >= MAX_WRITTEN:
            raise NoCheque(f"You have {MAX_WRITTEN:,} cheques that are not cashed yet; no more are written before.")
        expiry = expiry_of(self._conversation.server_time(now))
        cheque = Cheque(user, payee, amount, new_number(), expiry, fitting_memo(memo))
        try:
            line = signing.write(cheque, signature.key)
        except BadCheque as wrong:
            raise NoCheque(str(wrong)) from None
        entry = self._written[cheque.number] = Written(cheque, signature.password)
        self._written_file.add(cheque.number, entry.line())
        return line

    def written(self, now: float) -> list[Cheque]:
        """Those that nobody has cashed, as far as one has heard, oldest first."""
        time = self._conversation.server_time(now)
        for each in [each.cheque for each in self._written.values() if each.cheque.expiry <= time]:
            self._forget(each.number)
        return [each.cheque for each in self._written.values()]

    def take_voided(self) -> list[Cheque]:
        """Those that a new password has voided without one's knowing, once."""
        voided, self._voided = self._voided, []
        return voided

    # Those that one is given.

    def give(self, line: str, giver: str, now: float) -> Cheque:
        """`giver` has sent a line: it is kept until it is cashed. Raises NoCheque for what the server would refuse, and
        NoRoom."""
        line = mended(line)
        try:
            cheque = signing.parse(line)
        except BadCheque as wrong:
            raise NoCheque(str(wrong)) from None
        if fold(cheque.payer) != fold(giver):
            raise NoCheque(f"It says that {cheque.payer} pays.")
        if fold(cheque.payee) != fold(self._conversation.user):
            raise NoCheque(f"Only {cheque.payee} can cash it.")
        if cheque.expiry <= self._conversation.server_time(now):
            raise NoCheque("It has expired.")
        payers = [fold(each.payer) for each in self._given.values()]
        full = len(payers) >= MAX_GIVEN or payers.count(fold(cheque.payer)) >= MAX_GIVEN_BY_ONE
        if full and line not in self._given:
            raise NoRoom("Too many cheques wait to be cashed already.")
        self.done_with(line)
        self._given[line] = cheque
        self._given_file.add(line, encode({"cheque": line})[:-1])
        return cheque

    def given(self, now: float) -> list[Cheque]:
        """Those that one has not cashed, oldest first."""
        time = self._conversation.server_time(now)
        for line in [line for line, cheque in self._given.items() if cheque.expiry <= time]:
            self.done_with(line)
        return list(self._given.values())

    def numbers(self) -> list[str]:
        """Of those that one was given and has not cashed, the last one first."""
        return list(dict.fromkeys(cheque.number for cheque in reversed(self._given.values())))

    def lines(self, number: str) -> list[str]:
        """Of those that one was given and has not cashed, the lines of those with this number: nearly always one."""
        return [line for line, cheque in self._given.items() if cheque.number == number.lower()]

    def done_with(self, line: str) -> None:
        """One of those that one was given need not be kept, if it was."""
        if self._given.pop(line, None):
            self._given_file.remove(line)

    # Inside.

    def _open(self) -> None:
        """A session begins: perhaps as another user, or at another server, and with another password."""
        user, path, self._stale = self._conversation.user, self._beside(".cheques"), ""
        if self._whose != (user, path):
            self._whose = user, path
            lines = self._written_file.open(path, lambda line: _number(user, line))
            self._written = {each.cheque.number: each for line in lines if (each := _written(user, line))}
            given_lines = map(_given, self._given_file.open(self._beside(".cashable"), _given))
            self._given = {line: signing.parse(line) for line in given_lines if line is not None}
        self._void()

    def _void(self) -> None:
        """What another password has signed is worth nothing any more."""
        signature = self._conversation.signature
        valid = signature.password if signature and signature.password != self._stale else None
        for each in [each for each in self._written.values() if each.password != valid]:
            self._voided.append(each.cheque)
            self._forget(each.cheque.number)

    def _compare(self, reply: Fields) -> None:
        """What the server knows of them."""
        items = reply.get("items")
        for each in items if isinstance(items, list) else []:
            if isinstance(each, dict):
                self._forget(str(each.get("number")))
        signature, key = self._conversation.signature, reply.get("key")
        if signature and isinstance(key, str) and key != fingerprint(signature.key):
            self._stale = signature.password
            self._void()

    def _forget(self, number: str) -> None:
        if self._written.pop(number, None):
            self._written_file.remove(number)

    def _fault(self, error: OSError) -> None:
        self._complain(f"Cheques are forgotten when this client has ended: {error.strerror} ({error.filename}).")


# Lines at rest.


def _written(user: str, line: bytes) -> Written | None:
    """None: it is torn, or not one of ours."""
    try:
        found: Any = decode(line)
        cheque = Cheque(user, found["to"], found["amount"], found["number"], found["expiry"], found["memo"])
        signing.write(cheque, b"")  # raises for what no cheque can say
        return Written(cheque, str(found["password"]))
    except (BadLine, KeyError, BadCheque):
        return None


def _number(user: str, line: bytes) -> str | None:
    found = _written(user, line)
    return found.cheque.number if found else None


def _given(line: bytes) -> str | None:
    try:
        given = str(decode(line).get("cheque"))
        signing.parse(given)
        return given
    except (BadLine, BadCheque):
        return None
