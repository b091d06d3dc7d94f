"""A person's settings, in one small file: ``$XDG_CONFIG_HOME/chatlib/client.txt``, ``NAME value`` a line.

Data first: TABLE has a row for each setting, of which README's table, ``set``, completion and refusals are made. Must
not know terminals or connections. Nothing in the file can run a program: an alias stands for a command of the command
table, begins with one, hides none, and so cannot call itself.

Invariants: a file is read anew before it is changed, and only the line concerned is written, so no edit by hand is
lost; comments and unknown lines stay; a bad line is named, and all others count. What cannot be written holds until the
program ends.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from chatlib.client.addresses import ServerAddress, addresses_of
from chatlib.program.commandline import ROLES
from chatlib.protocol import kinds
from chatlib.protocol.commands import find
from chatlib.protocol.text import fold, printable
from chatlib.storage.exchange import exchange, read_whole
from chatlib.storage.textfile import FileError

_TRIES = 5  # to write a file that a person saves at the same time
_ALIAS = re.compile(r"/?[A-Za-z0-9_.-]{1,32}", re.ASCII)
_HEAD = "# Settings of the chat client, NAME value a line. What they are is said by \"set\" in the client.\n"


# What a value is read with: each returns it as it is written, or raises ValueError with what is wrong.


def _switch(text: str) -> str:
    return _checked(fold(text), fold(text) in SWITCH, "on or off")


def _user(text: str) -> str:
    return _checked(text, kinds.NAME.accepts(text), kinds.NAME.allowed)


def _server(text: str) -> str:
    _checked(text, text and printable(text) == text and not text.startswith("-"), _SERVER)
    try:
        found = _servers(text)
    except ValueError as wrong:
        raise ValueError(f"must be {_SERVER}: {wrong}") from None
    single = len(found) == 1 and ":" not in found[0].host
    return " ".join(map(str, found[0])) if single else ",".join(map(str, found))


def _servers(text: str) -> tuple[ServerAddress, ...]:
    words = [text] if "," in text else text.split()
    _checked(text, len(words) <= 2, _SERVER)
    return addresses_of(*words)


def _alias(text: str) -> str:
    name, words = [*text.split(None, 1), "", ""][:2]
    _checked(text, _ALIAS.fullmatch(name) and kinds.TEXT.accepts(words), ALIAS_IS)
    if find(name, *ROLES) is not None:
        raise ValueError(f'alias cannot hide a command, and "{name}" is one')
    if find(words, *ROLES) is None:
        raise ValueError(f'alias must stand for a command, and "{words[:64]}" begins with none')
    return f"{name} {words}"


def _checked(text: str, fits: object, allowed: str) -> str:
    if not fits:
        raise ValueError(f'must be {allowed}, not "{printable(text)[:64]}"')
    return text


SWITCH = ("on", "off")
ALIAS_IS = 'a word of your own and the command that it stands for, such as "gm broadcast Good morning"'
_SERVER = "an address and a port, such as 192.168.1.5 1234, or [::1]:1234; or several, such as a:1234,b:1234"


@dataclass(frozen=True, slots=True)
class Setting:
    """A row. `many`: there may be a line for each first word of a value. `at_start`: it counts from the next start."""

    name: str
    help: str
    allowed: str
    read: Callable[[str], str]
    default: str = ""
    many: bool = False
    at_start: bool = False

    def value(self, text: str) -> str:
        """What `text` says, as it is written. Raises ValueError with what is allowed."""
        try:
            return self.read(text.strip())
        except ValueError as wrong:
            said = str(wrong)
            raise ValueError(said if said.startswith(f"{self.name} ") else f"{self.name} {said}") from None


def _row(name: str, help_: str, default: str) -> Setting:
    return Setting(name, help_, "on or off", _switch, default)


TABLE: Mapping[str, Setting] = {setting.name: setting for setting in (
    Setting("server", "the server, where the command line names none", _SERVER, _server, at_start=True),
    Setting("tls", "the server of this file is called over TLS", "on or off", _switch, "off", at_start=True),
    Setting("user", "log in as this user, where the command line names none", kinds.NAME.allowed, _user, at_start=True),
    _row("bell", "the bell rings for a private message, and for your name in any other", "on"),
    _row("notify", "a note on the desktop for the same, while the terminal is not in front", "off"),
    _row("presence", "who logs in and out is shown", "on"),
    _row("times", "messages are shown with their times", "on"),
    _row("colours", "colours are used, where the terminal has some", "on"),
    Setting("mute", "a user whose messages are not shown; a line for each", kinds.NAME.allowed, _user, many=True),
    Setting("alias", "another word for a command; a line for each", ALIAS_IS, _alias, many=True),
)}  # fmt: skip


def default_path(environ: Mapping[str, str]) -> Path:
    """Where programs keep their settings (XDG base directories; a relative path there is to be ignored)."""
    config = environ.get("XDG_CONFIG_HOME", "")
    home = Path(config) if os.path.isabs(config) else Path(environ.get("HOME") or "~").expanduser() / ".config"
    return home / "chatlib" / "client.txt"


def _key(setting: Setting, value: str) -> str:
    """What there is one line of."""
    return fold(value.split(None, 1)[0]) if setting.many and value.strip() else ""


def _split(line: str) -> tuple[str, str] | None:
    """Name and value of a line; None: it is empty, or a comment."""
    words = line.strip().split(None, 1)
    return None if not words or words[0].startswith("#") else (fold(words[0]), words[1] if len(words) > 1 else "")


class Settings:
    """What holds now. `path`: the file; None: there is none. Legal order: any; before ``load`` the defaults hold."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.loaded = False
        self._found: dict[tuple[str, str], str] = {}  # (name, key) → value
        self._held: dict[tuple[str, str], str | None] = {}  # what could not be written; None: taken away
        self._told: set[str] = set()

    # What holds.

    def __getitem__(self, name: str) -> str:
        return self._found.get((name, ""), TABLE[name].default)

    def on(self, name: str) -> bool:
        return self[name] == "on"

    def all_of(self, name: str) -> dict[str, str]:
        """The values of a setting that has many, by their first word."""
        return {key: value for (each, key), value in self._found.items() if each == name}

    def mutes(self, user: object) -> bool:
        return isinstance(user, str) and ("mute", fold(user)) in self._found

    def expanded(self, line: str) -> str:
        """A typed line, with what an alias at its start stands for. A line that begins with a blank is text."""
        name, blank, rest = line.partition(" ")
        alias = self._found.get(("alias", fold(name))) if name else None
        return line if alias is None else alias.split(" ", 1)[1] + blank + rest

    # The file.

    def load(self) -> list[str]:
        """Reads the file anew. Returns what is wrong with it, each thing once."""
        if self.path is None:
            return []
        self.loaded = True
        try:
            lines = self._read()[1]
        except (OSError, FileError) as error:
            wrong = [error.strerror if isinstance(error, OSError) and error.strerror else str(error)]
            wrong = [each if str(self.path) in each else f"{self.path}: {each}" for each in wrong]
        else:
            self._found, wrong = self._understood(lines)
            self._hold()
        new = [each for each in wrong if each not in self._told]
        self._told.update(new)
        return new

    def change(self, name: str, text: str) -> list[str]:
        """One setting, and its line in the file. Raises ValueError; returns what the person must know."""
        setting = TABLE[name]
        value = setting.value(text)
        return self._put(setting, _key(setting, value), value)

    def remove(self, name: str, key: str = "") -> list[str]:
        """Back to its default; of a setting that has many, the one of that first word."""
        return self._put(TABLE[name], fold(key), None)

    @property
    def servers(self) -> tuple[ServerAddress, ...]:
        """Where they are; none is set."""
        return _servers(self["server"]) if self["server"] else ()

    def has(self, name: str, key: str = "") -> bool:
        return (name, fold(key)) in self._found

    # Inside.

    def _hold(self) -> None:
        for place, value in self._held.items():
            self._found.pop(place, None)
            if value is not None:
                self._found[place] = value

    def _understood(self, lines: list[str]) -> tuple[dict[tuple[str, str], str], list[str]]:
        found: dict[tuple[str, str], str] = {}
        wrong = []
        for number, line in enumerate(lines, 1):
            pair = _split(line)
            if pair is None:
                continue
            where, setting = f"{self.path}, line {number}", TABLE.get(pair[0])
            if setting is None:
                wrong.append(f'{where}: "{printable(pair[0])[:64]}" is no setting: those are {", ".join(TABLE)}.')
                continue
            try:
                value = setting.value(pair[1])
            except ValueError as error:
                wrong.append(f"{where}: {error}. The line does not count.")
                continue
            place = setting.name, _key(setting, value)
            if place in found and found[place] != value:
                wrong.append(f"{where}: {' '.join(place).strip()} stands above already. This line counts.")
            found[place] = value
        return found, wrong

    def _read(self) -> tuple[bytes | None, list[str]]:
        """The file, and its lines. Raises OSError, FileError."""
        try:
            data = read_whole(self._file)
            lines = data.decode("utf-8-sig").split("\n")
        except FileNotFoundError:
            return None, []
        except UnicodeDecodeError as error:
            raise FileError(f"{self.path}: not UTF-8 (byte {error.start + 1})") from None
        return data, lines[:-1] if not lines[-1] else lines

    @property
    def _file(self) -> Path:
        """Where a link leads: it stays one."""
        assert self.path is not None
        return Path(os.path.realpath(self.path))

    def _put(self, setting: Setting, key: str, value: str | None) -> list[str]:
        place = setting.name, key
        notes: list[str] = []
        try:
            if self.path is not None:
                self._write(setting, key, value, notes)
                self._held.pop(place, None)
                return [*notes, *self.load()]
        except (OSError, FileError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            notes.append(f"Cannot write {self.path} ({why}): this holds until you leave.")
        self._held[place] = value
        self._hold()
        return notes

    def _write(self, setting: Setting, key: str, value: str | None, notes: list[str]) -> None:
        self._file.parent.mkdir(0o700, parents=True, exist_ok=True)
        with _alone(self._file.parent):
            for _ in range(_TRIES):
                data, lines = self._read()
                if data is None and value is None:
                    return
                if data is None:
                    lines = [_HEAD.rstrip("\n")]
                text = "".join(line + "\n" for line in _with_line(lines, setting, key, value))
                if data == text.encode() or exchange(self._file, data, text, notes):
                    return
        raise FileError("it was saved again and again at the same time")


def _with_line(lines: list[str], setting: Setting, key: str, value: str | None) -> list[str]:
    """`lines` with that value: in the last line of those that have one of it, else behind them all."""

    def is_it(line: str) -> bool:
        pair = _split(line)
        return pair is not None and pair[0] == setting.name and _key(setting, pair[1]) == key

    places = [number for number, line in enumerate(lines) if is_it(line)]
    if value is None:
        return [line for number, line in enumerate(lines) if number not in places]
    line = f"{setting.name} {value}"
    return [*lines[: places[-1]], line, *lines[places[-1] + 1 :]] if places else [*lines, line]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other client changes its settings meanwhile."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
