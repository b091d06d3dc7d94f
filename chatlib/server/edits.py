"""Takes what people write into ``para.txt`` and ``credentials.txt`` into the world, and writes both files from it.

Every value is checked before any is taken in; for a bad one, the message names file, line and what is allowed. The
sample users are here, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatlib.core.byhand import ByHand
from chatlib.core.world import Command, World
from chatlib.protocol.scram import MECHANISM, ScramError, make_verifier, parse_verifier, saslprep
from chatlib.protocol.text import ADMIN, RESERVED, counted, fold, is_name
from chatlib.storage.edited import EditedFile, Line
from chatlib.storage.parameters import PARAMETERS, defaults, find, like, template
from chatlib.storage.textfile import FileError

# These users come with the program, so that it can be tried at once. Their passwords are public.
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
    """The salt of a sample user's verifier while the password is the published one. It makes that easy to recognize."""
    return hashlib.sha256(b"chatlib sample user " + name.encode()).digest()[:16]


def samples_in_use(world: World) -> list[str]:
    """The users whose password is the published one."""
    return [
        name
        for name in SAMPLES
        if (account := world.accounts.get(fold(name))) and parse_verifier(account.verifier).salt == sample_salt(name)
    ]


@dataclass(slots=True)
class Changes:
    """What was changed by hand, read and checked: values for the world, and the lines that they came from."""

    parameters: dict[str, Any] = field(default_factory=dict)
    accounts: dict[str, str | None] = field(default_factory=dict)
    lines: list[dict[str, Line | None]] = field(default_factory=lambda: [{}, {}])
    written: tuple[int, int] = (0, 0)  # LSNs up to which the files had been written before
    unknown: list[str] = field(default_factory=list)  # a sentence for each name in para.txt that is no parameter's
    node: str = ""  # of a cluster, whose files they are

    def __bool__(self) -> bool:
        return bool(self.parameters or self.accounts)

    def commands(self, at: float) -> list[Command]:
        """What takes them into the world: several for many accounts, since no log takes a command of any size."""
        names = list(self.accounts)
        parts = [names[begin : begin + _AT_ONCE] for begin in range(0, len(names), _AT_ONCE)] or [[]]
        node = {"node": self.node} if self.node else {}
        return [
            {"action": "edit", "at": at, "parameters": self.parameters if part is parts[0] else {},
             "accounts": {name: self.accounts[name] for name in part}, "written": self.written, **node}
            for part in parts
        ]  # fmt: skip


_NAMED = 5  # of one kind of change, by name
_AT_ONCE = 1_000  # accounts in one command


def reloaded(changes: Changes, names: Mapping[str, str]) -> str:
    """What is said when they are taken in. `names`: those of accounts that were there before, by key."""
    done = [f"{name} is {PARAMETERS[name].show(value)}" for name, value in changes.parameters.items()]
    kinds: dict[tuple[str, str], list[str]] = {}
    for key, verifier in changes.accounts.items():
        if fold(key) == ADMIN:
            done.append(f"the administrator's password was {'removed' if verifier is None else 'set'}")
            continue
        changed = ("password", "changed") if key in names else ("user", "added")
        kinds.setdefault(("user", "removed") if verifier is None else changed, []).append(names.get(key, key))
    for (what, change), found in kinds.items():
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        done.append(f"{counted(len(found), what)} {change} ({', '.join(found[:_NAMED])}{more})")
    return f"Reloaded: {', '.join(done)}."


class EditedFiles:
    """Both files of the home at `folder`; `node`: what its server is called in its cluster, if any."""

    def __init__(self, folder: Path, node: str = "") -> None:
        data, self.node = folder / "data", node
        self.parameters = EditedFile(
            folder / "para.txt", data / "para.base", str.lower, lambda name: find(name) is not None
        )
        self.credentials = EditedFile(folder / "credentials.txt", data / "credentials.base", fold, lambda name: True)

    def recall(self, by_hand: ByHand) -> None:
        """At the start: remembers edits that the world has already, though a crash kept the files from being written.

        Takes 0.1 to 1 s for each password among them. Raises FileError.
        """
        for file, known, same in (
            (self.parameters, by_hand.parameters, _same_value),
            (self.credentials, by_hand.accounts, _same_secret),
        ):
            file.remember({
                name: line
                for name, line in file.edits().items()
                if fold(name) in known and known[fold(name)][0] > file.lsn and same(name, line, known[fold(name)][1])
            })  # fmt: skip

    def read(
        self,
        iterations: int | None = None,
        say: Callable[[str], None] = lambda text: None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Changes:
        """Checks and converts what was changed by hand. Takes 0.1 to 1 s for each password. Raises FileError.

        `iterations`: for new verifiers; by default what para.txt says. Raises InterruptedError when it is not `wanted`.
        """
        found = self.check()
        cost = found.parameters.get("SCRAM_ITERATIONS", iterations or defaults()["SCRAM_ITERATIONS"])
        plain = sum(1 for line in found.lines[1].values() if line and not line.value.startswith(MECHANISM + "$"))
        if plain:
            say(f"Turning {counted(plain, 'password')} of credentials.txt into verifiers ...")
        for name, line in found.lines[1].items():
            if not wanted():
                raise InterruptedError("the server that asked for it is gone")
            found.accounts[name] = None if line is None else _verifier(name, line.value, cost)
        return found

    def check(self) -> Changes:
        """What was changed by hand, with every value checked; but no password is turned into a verifier yet.

        Raises FileError.
        """
        found = Changes(lines=[self.parameters.edits(), self.credentials.edits()], written=self.written, node=self.node)
        found.unknown = [self._unknown(line) for line in self.parameters.unknown()]
        for name, line in found.lines[0].items():
            parameter = find(name)
            assert parameter is not None
            try:
                found.parameters[parameter.name] = parameter.default if line is None else parameter.parse(line.value)
            except ValueError as wrong:
                raise FileError(f"{self.parameters.path}, line {line.number if line else 0}: {wrong}") from None
        self._check_accounts(found.lines[1])
        return found

    def _unknown(self, line: Line) -> str:
        meant = like(line.name)
        hint = f"; {meant.name} perhaps?" if meant else ""
        return f"{self.parameters.path}, line {line.number}: there is no parameter {line.name[:64]!r}{hint}"

    @property
    def written(self) -> tuple[int, int]:
        """The LSNs up to which both files have been written."""
        return self.parameters.lsn, self.credentials.lsn

    def _check_accounts(self, lines: Mapping[str, Line | None]) -> None:
        for name, line in lines.items():
            if line is None:
                continue
            place = f"{self.credentials.path}, line {line.number}"
            reserved = RESERVED - {ADMIN}  # whose password stands in this file, too
            if not is_name(name) or fold(name) in reserved:
                allowed = f"1 to 32 of A-Z a-z 0-9 _ . - and none of {', '.join(sorted(reserved))}"
                raise FileError(f"{place}: a name is {allowed}; not {name[:64]!r}")
            try:
                if line.value.startswith(MECHANISM + "$"):
                    parse_verifier(line.value)
                else:
                    saslprep(line.value)
            except ScramError as wrong:
                raise FileError(f"{place}: {name}: {wrong} A line is 'name password' or 'name verifier'.") from None

    def remember(self, changes: Changes) -> None:
        """These edits are in the world now."""
        self.parameters.remember(changes.lines[0])
        self.credentials.remember(changes.lines[1])

    def write(self, world: World) -> list[str]:
        """Makes both files say what the world says. Raises OSError.

        Returns what people must know. A line that cannot be read is left as it is; everything else is written.
        """
        notes: list[str] = []
        for file, write in ((self.parameters, self._write_parameters), (self.credentials, self._write_credentials)):
            try:
                write(world)
                notes += file.left_alone
            except FileError as wrong:
                notes.append(str(wrong))
        return notes

    def _write_parameters(self, world: World) -> None:
        self.parameters.begin(template())
        self.parameters.write(self._parameter_lines(world), world.lsn)

    def _write_credentials(self, world: World) -> None:
        wanted = {account.name: account.verifier for account in world.accounts.values()}
        if world.admin:
            wanted[world.admin.name] = world.admin.verifier
        self.credentials.write(wanted, world.lsn)

    def _parameter_lines(self, world: World) -> dict[str, str]:
        """The lines for what the file names already, and for what is not the default. Looks are left to people."""
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

    def give_admin(self, password: str) -> list[str]:
        """Writes the administrator's password, as a verifier, as a person would. Takes 0.1 to 1 s.

        Returns what people must know. Raises OSError, ScramError for what cannot be a password, FileError.
        """
        parameter = PARAMETERS["SCRAM_ITERATIONS"]
        line = self.parameters.read()[1].get(parameter.name.lower())
        try:
            iterations = parameter.parse(line.value) if line else parameter.default
        except ValueError as wrong:
            raise FileError(f"{self.parameters.path}, line {line.number if line else 0}: {wrong}") from None
        return self.credentials.put(ADMIN, str(make_verifier(password, iterations)))

    def refresh(self) -> None:
        """Another process of this server may have written the files. Raises FileError."""
        self.parameters.refresh()
        self.credentials.refresh()


def _same_value(name: str, line: Line | None, value: Any) -> bool:
    parameter = find(name)
    assert parameter is not None
    return _parses_as(parameter.parse, line.value, value) if line else bool(value == parameter.default)


def _same_secret(_name: str, line: Line | None, verifier: str | None) -> bool:
    if line is None or verifier is None:
        return line is None and verifier is None
    known = parse_verifier(verifier)
    try:
        given = line.value
        if given.startswith(MECHANISM + "$"):
            return parse_verifier(given) == known
        return make_verifier(given, known.iterations, known.salt) == known
    except ScramError:
        return False


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
    *others, last = list(names) or [""]
    if not last:
        return ""
    whose = f"passwords of {', '.join(others)} and {last} are" if others else f"password of {last} is"
    return (
        f"Warning: the {whose} in the published example, so that anybody can log in with it. "
        'Write another one behind the name in credentials.txt, or remove the line; then type "reload".'
    )
