"""What people write into ``para.txt`` and ``credentials.txt``, taken into the world, and the other way round.

Checks every value before any is taken: a bad one names file, line and what is allowed. Also the sample users.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chatlib.core.world import Command, World
from chatlib.protocol.scram import MECHANISM, ScramError, make_verifier, parse_verifier, saslprep
from chatlib.protocol.text import RESERVED, counted, fold, is_name
from chatlib.storage.edited import EditedFile, Line
from chatlib.storage.home import Home
from chatlib.storage.parameters import PARAMETERS, defaults, find, template
from chatlib.storage.textfile import FileError, replace

# The users that come with the program, so that it can be tried at once. Their passwords are public.
SAMPLES: Mapping[str, str] = {
    "Google": "hasglasses",
    "Columbia": "116bway",
    "network": "seemsez",
    "SEAS": "winterbreakisover",
    "foobar": "passpass",
    "wikipedia": "donation",
    "windows": "withglass",
    "facebook": "wastingtime",
    "csee4119": "lotsofexams",
}


def sample_salt(name: str) -> bytes:
    """The salt of a sample user's verifier as long as the password is the published one: so it can be told at once."""
    return hashlib.sha256(b"chatlib sample user " + name.encode()).digest()[:16]


def samples_in_use(world: World) -> list[str]:
    """The users whose password is the published one."""
    return [
        name
        for name in SAMPLES
        if (account := world.accounts.get(fold(name))) and parse_verifier(account.verifier).salt == sample_salt(name)
    ]


@dataclass(slots=True)
class Taken:
    """Edits that were read and checked: values for the world, and the lines that they came from."""

    parameters: dict[str, Any] = field(default_factory=dict)
    accounts: dict[str, str | None] = field(default_factory=dict)
    lines: list[dict[str, Line | None]] = field(default_factory=lambda: [{}, {}])

    def __bool__(self) -> bool:
        return bool(self.parameters or self.accounts)

    def command(self, at: float) -> Command:
        """What takes them into the world."""
        return {"action": "edit", "at": at, "parameters": self.parameters, "accounts": self.accounts}


class EditedFiles:
    """Both files of a home."""

    def __init__(self, home: Home) -> None:
        self.parameters = EditedFile(
            home.parameters, home.data / "para.base", str.lower, lambda name: find(name) is not None
        )
        self.credentials = EditedFile(home.credentials, home.data / "credentials.base", fold, lambda name: True)

    def read(self, iterations: int | None = None, say: Callable[[str], None] = lambda text: None) -> Taken:
        """Checks and converts what was changed by hand. Takes 0.1 to 1 s for each password. Raises FileError.

        `iterations`: for new verifiers; by default what para.txt says.
        """
        taken = Taken(lines=[self.parameters.edits(), self.credentials.edits()])
        for name, line in taken.lines[0].items():
            parameter = find(name)
            assert parameter is not None
            try:
                taken.parameters[parameter.name] = parameter.default if line is None else parameter.parse(line.value)
            except ValueError as wrong:
                raise FileError(f"{self.parameters.path}, line {line.number if line else 0}: {wrong}") from None
        self._check_accounts(taken.lines[1])
        cost = taken.parameters.get("SCRAM_ITERATIONS", iterations or defaults()["SCRAM_ITERATIONS"])
        plain = sum(1 for line in taken.lines[1].values() if line and not line.value.startswith(MECHANISM + "$"))
        if plain:
            say(f"Turning {counted(plain, 'password')} of credentials.txt into verifiers ...")
        for name, line in taken.lines[1].items():
            taken.accounts[name] = None if line is None else _verifier(name, line.value, cost)
        return taken

    def _check_accounts(self, lines: Mapping[str, Line | None]) -> None:
        for name, line in lines.items():
            if line is None:
                continue
            place = f"{self.credentials.path}, line {line.number}"
            if not is_name(name) or fold(name) in RESERVED:
                allowed = f"1 to 32 of A-Z a-z 0-9 _ . - and none of {', '.join(sorted(RESERVED))}"
                raise FileError(f"{place}: a name is {allowed}; not {name[:64]!r}")
            try:
                if line.value.startswith(MECHANISM + "$"):
                    parse_verifier(line.value)
                else:
                    saslprep(line.value)
            except ScramError as wrong:
                raise FileError(f"{place}: {name}: {wrong} A line is 'name password' or 'name verifier'.") from None

    def take(self, taken: Taken) -> None:
        """These edits are in the world now."""
        self.parameters.take(taken.lines[0])
        self.credentials.take(taken.lines[1])

    def write(self, world: World) -> None:
        """Makes both files say what the world says. Raises OSError, FileError."""
        if not self.parameters.path.exists():
            replace(self.parameters.path, template())
            self.parameters.take(self.parameters.edits())  # nobody's edits: the world's values go into it
        self.parameters.write(self._parameter_lines(world))
        self.credentials.write({account.name: account.verifier for account in world.accounts.values()})

    def _parameter_lines(self, world: World) -> dict[str, str]:
        """Only what the file names already or what is not the default; a value is not rewritten for its looks."""
        _, named = self.parameters.read()
        wanted = {}
        for name, value in world.parameters.items():
            parameter, line = PARAMETERS[name], named.get(name.lower())
            if line is not None and _parses_as(parameter.parse, line.value, value):
                wanted[line.name] = line.value
            elif line is not None:
                wanted[line.name] = parameter.show(value)
            elif value != parameter.default:
                wanted[name] = parameter.show(value)
        return wanted

    def refresh(self) -> None:
        """Another process of this server has written the files."""
        self.parameters.refresh()
        self.credentials.refresh()


def _parses_as(parse: Callable[[str], Any], text: str, value: Any) -> bool:
    try:
        return bool(parse(text) == value)
    except ValueError:
        return False


def _verifier(name: str, secret: str, iterations: int) -> str:
    if secret.startswith(MECHANISM + "$"):
        return str(parse_verifier(secret))
    salt = sample_salt(name) if SAMPLES.get(name) == secret else None
    return str(make_verifier(secret, iterations, salt))


def warning(names: Iterable[str]) -> str:
    """What the administrator is told while published passwords are in use; empty when none is."""
    listed = ", ".join(names)
    return f"Warning: the password of {listed} is the published sample: change or remove it." if listed else ""
