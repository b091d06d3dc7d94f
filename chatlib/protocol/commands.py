"""The command table: one entry a command, and the only place that says which commands there are.

Dispatch, guards, usage errors, ``help``, tab completion and README's tables are all made from it. An entry's name is
both the word a person types and, for what goes over the wire, the request's action. Pure data, then the three
operations on it: :func:`check` (a request from the wire), :func:`parse` (a typed line), :func:`usage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from chatlib.protocol import kinds
from chatlib.protocol.kinds import Kind
from chatlib.protocol.text import printable


class Role(Enum):
    """Who gives a command: WIRE and USER come over the wire, LOCAL stays in the client, ADMIN is the console's."""

    WIRE = "wire"  # said by client programs for people, never typed
    USER = "user"
    LOCAL = "local"
    ADMIN = "admin"


class State(Enum):
    """Where a connection's session stands."""

    NEW = "before hello"
    WAITING = "waiting for a seat"
    GREETED = "before login"
    ONLINE = "logged in"


class Runs(Enum):
    """What carrying it out takes: READS answers from the world as it is, CHANGES goes through the journal first,
    PROVES is a conversation (SCRAM) that ends in a change, CARRIES makes the connection one for a file's bytes."""

    READS = "reads"
    CHANGES = "changes"
    PROVES = "proves"
    CARRIES = "carries"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of a request. `typed`: a person types it; the others are filled in by programs. `sent`: it goes over the
    wire; the others are for the client program."""

    name: str
    kind: Kind
    required: bool = True
    typed: bool = True
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table. `aliases` may have several words (``blacklist add``)."""

    name: str
    help: str
    parameters: tuple[Parameter, ...] = ()
    aliases: tuple[str, ...] = ()
    role: Role = Role.USER
    states: frozenset[State] = frozenset({State.ONLINE})
    runs: Runs = Runs.READS

    @property
    def typed(self) -> tuple[Parameter, ...]:
        """The parameters that a person types, in order."""
        return tuple(parameter for parameter in self.parameters if parameter.typed)


_USER = Parameter("user", kinds.NAME)
_TEXT = Parameter("text", kinds.TEXT)
_SCRAM = Parameter("scram", kinds.SCRAM, typed=False)
_VERIFIER = Parameter("verifier", kinds.VERIFIER, required=False, typed=False)
_AFTER = Parameter("after", kinds.NAME, required=False, typed=False)
_SEEN = Parameter("seen", kinds.SEQ, required=False, typed=False)
_BEFORE_LOGIN = frozenset({State.GREETED})

COMMANDS: tuple[Command, ...] = (
    # What client programs say for people.
    Command(
        "hello", "greet the server; the first request of every connection", role=Role.WIRE,
        parameters=(Parameter("protocol", kinds.PROTOCOL), Parameter("client", kinds.CLIENT, required=False)),
        states=frozenset({State.NEW}),
    ),
    Command(
        "register", "make an account", role=Role.WIRE, states=_BEFORE_LOGIN, runs=Runs.CHANGES,
        parameters=(_USER, _VERIFIER),
    ),
    Command("login", "prove the password, in two requests, and come in", (_SCRAM, _SEEN), role=Role.WIRE,
            states=_BEFORE_LOGIN, runs=Runs.PROVES),
    Command("deregister", "prove the password, in two requests, and remove the account with its mail", (_SCRAM,),
            aliases=("de-register",), role=Role.WIRE, states=_BEFORE_LOGIN, runs=Runs.PROVES),
    Command("alive", "heartbeat; `seen` acknowledges the events up to it; `active`: somebody is there",
            (_SEEN, Parameter("active", kinds.FLAG, required=False, typed=False)), role=Role.WIRE),
    Command("received", "the file is here, whole and verified: it need not wait any longer", role=Role.WIRE,
            runs=Runs.CHANGES, parameters=(Parameter("from", kinds.NAME), Parameter("name", kinds.FILE_NAME),
                                           Parameter("sha256", kinds.SHA256))),
    Command("upload", "a file's bytes follow, from `offset`", role=Role.WIRE, states=frozenset({State.NEW}),
            runs=Runs.CARRIES, parameters=(Parameter("ticket", kinds.TICKET), Parameter("offset", kinds.COUNT))),
    Command("download", "asks for a file's bytes, from `offset`", role=Role.WIRE, states=frozenset({State.NEW}),
            runs=Runs.CARRIES, parameters=(Parameter("ticket", kinds.TICKET), Parameter("offset", kinds.COUNT))),
    # What people type.
    Command("message", "send a text to one user, who may be away", (Parameter("to", kinds.NAME), _TEXT),
            aliases=("send",), runs=Runs.CHANGES),
    Command("broadcast", "send a text to everyone registered, except to those who block you", (_TEXT,),
            runs=Runs.CHANGES),
    Command("whoelse", "who else is online", (_AFTER,), aliases=("online",)),
    Command("list_users", "every registered user, online or not", (_AFTER,)),
    Command("wholasthr", "who else was online in the last hour, or in the last so many minutes",
            (Parameter("minutes", kinds.MINUTES, required=False), _AFTER)),
    Command("block", "refuse a user's messages, and hide your coming and going from that user", (_USER,),
            aliases=("blacklist add",), runs=Runs.CHANGES),
    Command("unblock", "undo a block", (_USER,), aliases=("blacklist rm",), runs=Runs.CHANGES),
    Command("blacklist", "whom you block", (_AFTER,)),
    Command("history", "your last so many messages; 0: those that came while you were away",
            (Parameter("count", kinds.COUNT), Parameter("before", kinds.SEQ, required=False, typed=False))),
    Command("file", "put files on the server for a user, who may be away", aliases=("sendfile",), parameters=(
        Parameter("to", kinds.NAME), Parameter("path", kinds.PATHS, sent=False),
        Parameter("name", kinds.NEW_FILE_NAME, typed=False), Parameter("size", kinds.COUNT, typed=False),
        Parameter("sha256", kinds.SHA256, typed=False))),
    Command("fileget", "fetch files: from a sender by name, or just by name; alone: what waits for you",
            aliases=("getfile",), parameters=(
        Parameter("file", kinds.PATHS, required=False, sent=False),
        Parameter("from", kinds.NAME, required=False, typed=False),
        Parameter("name", kinds.FILE_NAME, required=False, typed=False),
        Parameter("before", kinds.SEQ, required=False, typed=False))),
    Command("filedecline", "refuse a file that waits for you",
            (Parameter("from", kinds.NAME), Parameter("name", kinds.FILE_NAME)), runs=Runs.CHANGES),
    Command("password", "change your password", runs=Runs.PROVES,
            parameters=(Parameter("scram", kinds.SCRAM, required=False, typed=False), _VERIFIER)),
    Command("logout", "log out and leave", (_SEEN,), aliases=("exit", "quit"), runs=Runs.CHANGES),
    Command("break", "drop the connection; the client comes back by itself", role=Role.LOCAL),
    Command("help", "what you can type, or how one command is used",
            (Parameter("command", kinds.VALUE, required=False),), role=Role.LOCAL),
    # The administrator's console.
    Command("online users", "who is online, from where, since when", role=Role.ADMIN),
    Command("blocked users", "who is locked out, from where, for how long; and who blocks whom", role=Role.ADMIN),
    Command("all users", "every registered user", role=Role.ADMIN),
    Command("change", "change a parameter; asks for the value when it is not given", role=Role.ADMIN,
            parameters=(Parameter("name", kinds.WORD), Parameter("value", kinds.VALUE, required=False))),
    Command("kick", "log a user off", (_USER,), role=Role.ADMIN),
    Command("unlock", "lift a user's lockout, from every address", (_USER,), role=Role.ADMIN),
    Command("say", "tell everyone online something", (_TEXT,), role=Role.ADMIN),
    Command("files", "the files that wait for someone, with their numbers", role=Role.ADMIN),
    Command("drop", "remove a waiting file", (Parameter("number", kinds.SEQ),), role=Role.ADMIN),
    Command("stats", "how the server is doing", role=Role.ADMIN),
    Command("save", "write the text files now", role=Role.ADMIN),
    Command("reload", "take in what was changed by hand in para.txt and credentials.txt", role=Role.ADMIN),
    Command("help", "what you can type here", (Parameter("command", kinds.VALUE, required=False),), role=Role.ADMIN),
    Command("stop", "save everything and end the server", role=Role.ADMIN),
)  # fmt: skip

# Fields that any request may carry.
COMMON: Mapping[str, Kind] = {"action": kinds.WORD, "id": kinds.ID, "key": kinds.KEY}

_WIRE_ROLES = (Role.WIRE, Role.USER)
ACTIONS: Mapping[str, Command] = {
    name: command
    for command in COMMANDS
    if command.role in _WIRE_ROLES
    for name in (command.name, *command.aliases)
    if " " not in name
}
IN_STATE: Mapping[State, Mapping[str, Command]] = {  # what may be asked for in each state
    state: {name: command for name, command in ACTIONS.items() if state in command.states} for state in State
}
_KINDS: Mapping[str, Mapping[str, Kind]] = {
    command.name: {**COMMON, **{parameter.name: parameter.kind for parameter in command.parameters if parameter.sent}}
    for command in ACTIONS.values()
}
_ACCEPTS: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    name: {field: kind.accepts for field, kind in fields.items()} for name, fields in _KINDS.items()
}
_REQUIRED: Mapping[str, frozenset[str]] = {
    command.name: frozenset(parameter.name for parameter in command.parameters if parameter.required and parameter.sent)
    for command in ACTIONS.values()
}


def _guard(command: Command) -> Callable[[Mapping[str, object]], bool]:
    """A function that says whether a request for `command` is well formed, made of its row: no loop, no look-up.

    It is half of what a request costs before it is carried out; ``check`` finds out what is wrong.
    """
    kinds_of, required = _KINDS[command.name], _REQUIRED[command.name]
    lines = ["def is_well_formed(request):", f"    fields = {1 + len(required)}"]  # the action is known to be right
    for field in kinds_of:
        if field in required:
            lines.append(f"    if not accepts_{field}(request.get({field!r})): return False")
        elif field != "action":
            lines.append(f"    if {field!r} in request:")
            lines.append(f"        if not accepts_{field}(request[{field!r}]): return False")
            lines.append("        fields += 1")
    lines.append("    return len(request) == fields")
    names: dict[str, Any] = {f"accepts_{field}": kind.accepts for field, kind in kinds_of.items()}
    exec("\n".join(lines), names)
    guard: Callable[[Mapping[str, object]], bool] = names["is_well_formed"]
    return guard


IS_WELL_FORMED: Mapping[str, Callable[[Mapping[str, object]], bool]] = {
    command.name: _guard(command) for command in ACTIONS.values()
}


class UsageError(ValueError):
    """A typed line that is no command; the message says what is right."""


def check(command: Command, request: Mapping[str, object]) -> str | None:
    """None when `request` has the fields that `command` takes, else a sentence that names the field."""
    accepts = _ACCEPTS[command.name]
    for name, value in request.items():
        accept = accepts.get(name)
        if accept is None or not accept(value):
            return _complaint(command, name)
    missing = _REQUIRED[command.name] - request.keys()
    return _complaint(command, min(missing), "is missing: it ") if missing else None


def _complaint(command: Command, name: str, what: str = "") -> str:
    allowed = _KINDS[command.name]
    if name in allowed:
        return f'Field "{name}" {what}must be {allowed[name].allowed}.'
    fields = ", ".join(f'"{field}"' for field in allowed if field != "action")
    return f'Unknown field "{printable(name[:64])}" for "{command.name}": it takes {fields}.'


def usage(command: Command, name: str | None = None) -> str:
    """How `command` is typed, under the alias `name` or its own name: ``message <to> <text>``."""
    words = [f"<{p.name}>" if p.required else f"[{p.name}]" for p in command.typed]
    if command.typed and command.typed[-1].kind is kinds.PATHS:
        words[-1] += "..."
    return " ".join([name or command.name, *words])


def typed_by(*roles: Role) -> list[Command]:
    """The commands that someone of these roles types, in the table's order."""
    return [command for command in COMMANDS if command.role in roles]


def find(line: str, *roles: Role) -> tuple[Command, str, str] | None:
    """The command that `line` begins with, the name it was called by, and the rest of the line; or None.

    The longest name wins (``blacklist add bob`` is not ``blacklist``); blanks between words do not matter.
    """
    words = line.split(None, 2)
    for count in (2, 1):
        called = " ".join(words[:count]).lower()
        for command in typed_by(*roles):
            if called and len(words) >= count and called in (command.name, *command.aliases):
                parts = line.split(None, count)
                return command, called, parts[count] if len(parts) > count else ""
    return None


def parse(line: str, *roles: Role) -> tuple[Command, dict[str, object]]:
    """A typed line → its command and the fields. Raises UsageError with a sentence that says what is right."""
    found = find(line, *roles)
    if found is None:
        word = line.split(None, 1)[0] if line.strip() else ""
        raise UsageError(f'Unknown command "{word[:64]}". Type "help" for what there is.')
    command, called, rest = found
    fields: dict[str, object] = {}
    wrong = f"Usage: {usage(command, called)}"
    for parameter in command.typed:
        word, rest = (rest.rstrip(), "") if parameter.kind.rest_of_line else _first_word(rest)
        if not word:
            if parameter.required:
                raise UsageError(wrong)
            continue
        try:
            value = parameter.kind.parse(word)
        except ValueError:
            value = None
        if not parameter.kind.accepts(value):
            raise UsageError(f"{wrong}\n<{parameter.name}> must be {parameter.kind.allowed}.")
        fields[parameter.name] = value
    if rest:
        raise UsageError(wrong)
    return command, fields


def _first_word(line: str) -> tuple[str, str]:
    word, rest = [*line.split(None, 1), "", ""][:2]
    return word, rest
