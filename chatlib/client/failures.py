"""What the calls of :class:`chatlib.client.library.Client` raise, besides TimeoutError; and what was found where there
should be a server: sentences that say what a person may do."""

from __future__ import annotations

import errno
import os

from chatlib.client.news import Fields
from chatlib.protocol.framing import MAX_LINE, dumps
from chatlib.protocol.text import printable

NO_SUCH_HOST = 0  # where an errno is expected
NOT_OURS = "It may be no chat server."
NEEDS_TLS = "The server talks over TLS only: start the client with --tls (a program: Client(..., tls=True))."
_ENVELOPE = 200  # bytes of a line beside what is asked: its "id", and a key
_SHOWN = 40  # characters of what a stranger said
_HINTS = {
    NO_SUCH_HOST: "Is the name spelled right? Its address, such as 192.168.1.5, needs no lookup.",
    errno.ECONNREFUSED: "Nothing listens there: has the server been started, and is the port right?",
    errno.EHOSTUNREACH: "Is the address right, and are both machines on the same network?",
    errno.ENETUNREACH: "Is this machine on a network that leads there?",
    errno.ETIMEDOUT: "Nothing answers there: is the address right, is the machine on, does a firewall keep you out?",
}


def unreachable(host: str, port: int, number: int, reason: str = "") -> str:
    """Why there is no connection: `number` is an errno, or NO_SUCH_HOST."""
    why = reason or (os.strerror(number) if number else "no such host")
    return f"The server {host} port {port} cannot be reached: {why}. {_HINTS.get(number, '')}".rstrip()


def none_reached(servers: list[str]) -> str:
    """Of several, each with why in a few words."""
    return f"None of the servers can be reached: {', '.join(servers)}. Is one of them running?"


OUTSIDE = "it turns you away, or somebody in between does"  # before TLS stands, nothing is proven


def no_tls(host: str, port: int, why: str) -> str:
    """Why there is no TLS with whoever has answered."""
    hint = " Was the server started with --tls, is this its port, and does it let your address in?"
    return f"The server {host} port {port} cannot be reached over TLS: {why}.{'' if why.startswith(OUTSIDE) else hint}"


def relayed(fingerprint: str, proving: bool) -> str:
    """The server has refused a proof that is bound to this certificate; `proving`: when all of it was said."""
    guesses = "; but whoever stands there can try guesses at it now: change a weak one" if proving else ""
    return (
        f"Somebody stands between you and the server: the certificate that you were shown ({fingerprint}) is not the "
        f"server's. So the server has refused, and your password was not told{guesses}."
    )


def stranger(chunk: bytes) -> str:
    """Something else listens there, and has said `chunk` first."""
    said = printable(chunk[:1_024].split(b"\n")[0].decode(errors="replace")).strip()
    shown = said if len(said) <= _SHOWN else said[:_SHOWN] + "…"
    return f'What answers there is no chat server: it said "{shown}".'


class Refused(Exception):
    """The answer is no: `status` for programs, `text` for people, and the whole `reply`."""

    def __init__(self, reply: Fields) -> None:
        self.status = str(reply.get("status"))
        self.text = str(reply.get("text", self.status))
        self.reply = reply
        super().__init__(self.status, self.text)

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"


class Disconnected(ConnectionError):
    """The conversation is over and will not come back: `status` for programs, `text` for people."""

    def __init__(self, status: str, text: str) -> None:
        self.status, self.text = status, text
        super().__init__(status, text)

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"


def refuse_unsendable(action: str, fields: Fields, key: str | None) -> None:
    """Raises Refused for what no line can say: it would break the connection, or the program, again at each start."""
    why = ""
    try:
        size = len(dumps({"action": action, **fields}).encode()) + 1
        if size > MAX_LINE - _ENVELOPE:
            why = f"This has {size:,} bytes as a line, and {MAX_LINE - _ENVELOPE:,} are allowed."
        elif key == "":
            why = 'A "key" has 1 to 64 characters; None: there is none.'
    except UnicodeEncodeError as wrong:
        half = wrong.object[wrong.start]
        why = f"A text holds {half!a}, which is half a character: such a text cannot be sent."
    except ValueError:  # TypeError is the program's fault, and is raised as it is
        why = "NaN and infinity are no numbers that can be sent."
    if why:
        raise Refused({"status": "BAD_REQUEST", "text": why})
