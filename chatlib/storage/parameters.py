"""The parameters of ``para.txt`` (design, section 6): the table, and how a value is read and shown. Pure data.

Must not know what a parameter does. A value is read from the text that a person wrote, and checked against its row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"(\d+)\s*([A-Za-z]*)")
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+")  # as large numbers are shown


@dataclass(frozen=True, slots=True)
class Parameter:
    """A row: `kind` is ``int``, ``float``, ``size`` (bytes) or ``choice``; the bounds are inclusive."""

    name: str
    default: Any
    help: str
    kind: str
    least: float = 0
    most: float = 0
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        if self.kind == "choice":
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        if self.kind == "size":
            return f"a size from {show_size(int(self.least))} to {show_size(int(self.most))}, such as 512 KiB or 64 MiB"
        what = "a whole number" if self.kind == "int" else "a number"
        return f"{what} from {self.least:,g} to {self.most:,.0f}"

    def parse(self, text: str) -> Any:
        """The value that `text` stands for. Raises ValueError with what is allowed."""
        try:
            value = self._convert(text.strip()) if text.isascii() else None
        except ValueError:
            value = None
        if self.kind == "choice":
            fits = value in self.choices
        else:
            fits = value is not None and self.least <= value <= self.most
        if not fits:
            raise ValueError(f"{self.name} must be {self.allowed}, not {text.strip()[:64]!r}")
        return value

    def _convert(self, text: str) -> Any:
        if self.kind == "int":
            return int(text.replace(",", "") if _GROUPED.fullmatch(text) else text)
        if self.kind == "float":
            return float(text)
        if self.kind == "size":
            match = _SIZE.fullmatch(text)
            if match is None or match[2].upper() not in _UNITS:
                raise ValueError
            return int(match[1]) * _UNITS[match[2].upper()]
        return text.lower()

    def show(self, value: Any) -> str:
        """The text that `parse` reads as `value`."""
        return show_size(value) if self.kind == "size" else str(value)


def show_size(size: int) -> str:
    """Bytes with the largest unit that divides them: ``64 MiB``."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size and size % factor == 0:
            return f"{size // factor} {unit}"
    return str(size)


_YEAR = 366 * 86_400.0
_ALL = (
    Parameter("MaxCon", 100, "users logged in at once", "int", 1, 1_000_000),
    Parameter("WAITING_ROOM", 0, "connections that may wait for a seat (0: refused when full)", "int", 0, 1_000_000),
    Parameter("BLOCK_TIME", 60.0, "seconds of lockout after MAX_FAILURES wrong passwords", "float", 0.1, _YEAR),
    Parameter("MAX_FAILURES", 3, "wrong passwords until the lockout, counted per user and address", "int", 1, 1_000),
    Parameter("BLOCK_SCOPE", "user_ip", "what is locked out: a user from one address, or the user", "choice",
              choices=("user_ip", "user")),
    Parameter("DUPLICATE_LOGIN", "refuse", "a second login of a user: refuse it, let it replace the first (that was "
              "left open elsewhere), or share: both stay, and hear the same (for a laptop and a desk)", "choice",
              choices=("refuse", "replace", "share")),
    Parameter("SESSIONS", 8, "sessions that a user may have at once with DUPLICATE_LOGIN share", "int", 1, 100),
    Parameter("LAST_HOUR", 3600.0, "seconds that wholasthr looks back", "float", 1, _YEAR),
    Parameter("TIME_OUT", 1800.0, "seconds without a command or a key typed until a user is logged off", "float", 1,
              _YEAR),
    Parameter("PRESENCE_LIMIT", 500, "with more users online, logins and departures are not announced", "int", 0,
              1_000_000),
    Parameter("HEARTBEAT", 30.0, "seconds between heartbeats; a client is lost after this plus 5", "float", 0.1,
              86_400),
    Parameter("ADDRESS_POLICY", "consent", "who is told a user's address for a private chat: those whom the user lets "
              "have it, all who ask, or nobody", "choice", choices=("consent", "open", "never")),
    Parameter("REQUIRE_TLS", "no", "whether whoever comes without TLS is turned away; yes offers TLS as --tls does",
              "choice", choices=("no", "yes")),
    Parameter("REGISTRATION", "open", "whether new users may register", "choice", choices=("open", "closed")),
    Parameter("MAX_USERS", 10_000, "accounts at most (0: no limit); credentials.txt is the administrator's own", "int",
              0, 1_000_000_000),
    Parameter("REGISTRATIONS", 20, "new accounts from one address in an hour (0: no limit)", "int", 0, 1_000_000),
    Parameter("LOGINS", 30, "logins tried from one address in a minute, but for those that succeed; more are slowed "
              "down (0: no limit)", "int", 0, 1_000_000),
    Parameter("STRANGERS", 512, "connections at once that have not logged in (0: no limit)", "int", 0, 1_000_000),
    Parameter("STRANGERS_PER_ADDRESS", 32, "of these, how many of one address are heard at once; some more wait "
              "(0: no limit)", "int", 0, 1_000_000),
    Parameter("MAIL_QUOTA", 10_000, "messages from one user that may wait for one other (0: no limit)", "int", 0,
              1_000_000_000),
    Parameter("SCRAM_ITERATIONS", 600_000, "cost of a new password verifier (the client pays)", "int", 4_096,
              10_000_000),
    Parameter("RATE_LIMIT", 20, "requests a second and user, in bursts of five times that (0: no limit)", "int", 0,
              1_000_000),
    Parameter("INITIAL_BALANCE", 10_000, "credits of a new account", "int", 0, 10**12),
    Parameter("MAX_FILE_SIZE", 2**30, "the largest file", "size", 0, 2**50),
    Parameter("FILE_QUOTA", 2**32, "what may wait for one receiver", "size", 0, 2**50),
    Parameter("THREAD_QUOTA", 2**32, "what the files of one thread may have in all", "size", 0, 2**50),
    Parameter("FSYNC", "always", "sync before each answer, or once a second (a crash may then cost a second)", "choice",
              choices=("always", "second")),
    Parameter("KEEP_MESSAGES", 0, "days that messages are kept (0: for ever): a save lets go of older ones, 64 MiB "
              "at a time", "int", 0, 36_500),
    Parameter("LOG", "commands", "what stands in the server log (quiet: starts, stops, warnings and errors; presence: "
              "also who comes and goes; commands: also how often who gave which command; debug: also each request, but "
              "never what is in it)", "choice",
              choices=("quiet", "presence", "commands", "debug")),
    Parameter("JOURNAL_LIMIT", 2**26, "the journal is folded into the text files beyond this", "size", 2**16, 2**50),
)  # fmt: skip

PARAMETERS: Mapping[str, Parameter] = {parameter.name: parameter for parameter in _ALL}
_FOLDED = {name.lower(): parameter for name, parameter in PARAMETERS.items()}


def find(name: str) -> Parameter | None:
    """The parameter of that name, whatever its case."""
    return _FOLDED.get(name.lower())


def like(name: str) -> Parameter | None:
    """The parameter that may have been meant by `name`."""
    close = get_close_matches(name[:64].lower(), _FOLDED, 1)
    return _FOLDED[close[0]] if close else None


def defaults() -> dict[str, Any]:
    """Every parameter's default."""
    return {name: parameter.default for name, parameter in PARAMETERS.items()}


def template() -> str:
    """A new ``para.txt``: every parameter with its default, and in a comment what it means and may be."""
    head = "# The server's parameters, NAME value a line. After an edit type \"reload\" at the server's console.\n"
    return head + "".join(
        f"\n# {parameter.help}; {parameter.allowed}\n{name} {parameter.show(parameter.default)}\n"
        for name, parameter in PARAMETERS.items()
    )
