"""Cheques: money promised in one line of text, which only the payer and the server can write. No I/O, no clock.

::

    cheque/1 <payer> <payee> <amount> <number> <expiry> <mac> <memo>

The number is 16 hexadecimal digits of chance, the expiry whole seconds, the MAC an HMAC-SHA256 in hexadecimal over all
else in the line. The key is made from the payer's SCRAM ServerKey: the server has it in the verifier, the payer finds
it from the password, and nobody else can. A new password makes a new key, and so voids what the old one signed.

Must not know accounts, nor what was cashed before. Invariant: a cheque has one line and a line one cheque. What could
be written in two ways (capitals of a number, zeros in front, two blanks in a memo) is refused. A line is what a
terminal shows of it, and between any two words is one blank: so it can be copied, and what was broken at a blank on its
way can be put together again (``mended``).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from math import ceil

from chatlib.protocol.text import MAX_MEMO, heaped, is_name, printable

MAX_AMOUNT = 10**12
MAX_LINE = 400  # characters; the longest cheque has fewer
VALID = 7 * 86_400  # seconds
_AMOUNT = f"The amount of a cheque is a whole number from 1 to {MAX_AMOUNT:,}."

_LINE = re.compile(
    r"cheque/1 ([A-Za-z0-9_.-]{1,32}) ([A-Za-z0-9_.-]{1,32}) ([1-9][0-9]{0,12}) ([0-9a-f]{16}) ([1-9][0-9]{0,11})"
    r" ([0-9a-f]{64})( .+)?",
    re.ASCII,
)


class BadCheque(ValueError):
    """A text that is no cheque, or a cheque that cannot be written; the message is for people."""


@dataclass(frozen=True, slots=True)
class Cheque:
    """What a cheque says."""

    payer: str
    payee: str
    amount: int
    number: str
    expiry: int  # the first second in which it is worth nothing
    memo: str = ""

    @property
    def written(self) -> int:
        """When it was written, by the clock that the expiry was taken from."""
        return self.expiry - VALID


def new_number() -> str:
    """A number that no other cheque of this payer has."""
    return secrets.token_hex(8)


def expiry_of(now: float) -> int:
    """The expiry of a cheque that is written now."""
    return ceil(now) + VALID


def cheque_key(server_key: bytes) -> bytes:
    """The key that signs a payer's cheques, from the ServerKey of the password's verifier."""
    return hmac.digest(server_key, b"chatlib cheque 1", "sha256")


def fingerprint(key: bytes) -> str:
    """Tells one cheque key from another, and nothing else of it."""
    return hashlib.sha256(b"chatlib cheque key\0" + key).hexdigest()[:16]


def fitting_memo(text: str) -> str:
    """`text` as a cheque can carry it: without what a terminal does not show, words with one blank between them."""
    return " ".join(printable(mended(text)).split())


def mended(text: str) -> str:
    """A cheque's line from what was copied of it, with line breaks and blanks that came in on the way."""
    return " ".join(text.split())


def write(cheque: Cheque, key: bytes) -> str:
    """The line. Raises BadCheque for what no cheque may say."""
    if not is_name(cheque.payee):
        raise BadCheque("The payee of a cheque is a user's name.")
    if type(cheque.amount) is not int or not 1 <= cheque.amount <= MAX_AMOUNT:
        raise BadCheque(_AMOUNT)
    if parse(_line(cheque, "0" * 64)) != cheque:
        raise BadCheque("A cheque cannot say this.")
    return _line(cheque, _mac(cheque, key))


def parse(line: str) -> Cheque:
    """What a line says, whoever wrote it. Raises BadCheque for a line that is no cheque."""
    return _parts(line)[0]


def signed(line: str, key: bytes) -> bool:
    """Whether the owner of `key` wrote this line. Raises BadCheque for a line that is no cheque."""
    cheque, mac = _parts(line)
    return hmac.compare_digest(_mac(cheque, key), mac)


def _parts(line: str) -> tuple[Cheque, str]:
    match = _LINE.fullmatch(line) if len(line) <= MAX_LINE else None
    if match is None:
        raise BadCheque('A cheque is one line that begins with "cheque/1": copy it whole, and nothing around it.')
    payer, payee, amount, number, expiry, mac = match.groups()[:6]
    memo = (match[7] or "")[1:]
    if int(amount) > MAX_AMOUNT:
        raise BadCheque(_AMOUNT)
    if len(memo) > MAX_MEMO:
        raise BadCheque(f"The memo of a cheque has at most {MAX_MEMO} characters.")
    if heaped(memo) or fitting_memo(memo) != memo:
        raise BadCheque("The memo of a cheque holds something that cannot be copied.")
    return Cheque(payer, payee, int(amount), number, int(expiry), memo), mac


def _mac(cheque: Cheque, key: bytes) -> str:
    return hmac.digest(key, _line(cheque, "").encode(), "sha256").hex()


def _line(cheque: Cheque, mac: str) -> str:
    """Without a MAC: what is signed. No two cheques have the same, since only a memo holds blanks."""
    said = ("cheque/1", cheque.payer, cheque.payee, cheque.amount, cheque.number, cheque.expiry, mac, cheque.memo)
    return " ".join(str(part) for part in said if part != "")
