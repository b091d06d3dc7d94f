"""What a table of commands is made of, and what it can do; must not know which commands there are.

Data first (:class:`Row`, :class:`Field`), then the operations: ``check`` (a request from the wire), ``parse`` (a typed
line), :func:`usage`. Rows may be added and removed at any time: whoever holds one of a table's mappings sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from itertools import chain
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
    CONSOLE = "at the administrator's console"


class Runs(Enum):
    """What carrying it out takes: READS answers from the world as it is, SEARCHES reads all that is stored, over many
    ticks, CHANGES goes through the journal first, PROVES is a conversation (SCRAM) that ends in a change, CARRIES makes
    the connection one for a file's bytes."""

    READS = "reads"
    SEARCHES = "searches"
    CHANGES = "changes"
    PROVES = "proves"
    CARRIES = "carries"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request. `typed`: a person types it; the others are filled in by programs. `sent`: it goes over the
    wire; the others are for the client program. `default`: what is sent when it is not typed.

    What need not be typed may stand in another order, as far as the kinds tell which is which.
    """

    name: str
    kind: Kind
    required: bool = True
    typed: bool = True
    sent: bool = True
    default: object = None

    @property
    def must_be_typed(self) -> bool:
        """Whether a line without it is wrong."""
        return self.typed and self.required and self.default is None


@dataclass(frozen=True, slots=True)
class Row:
    """A command. `aliases` may have several words (``blacklist add``).

    A name that only people type has a blank in it, or begins with what no action begins with (``/msg``, ``?``)."""

    name: str
    help: str
    fields: tuple[Field, ...] = ()
    aliases: tuple[str, ...] = ()
    role: Role = Role.USER
    states: frozenset[State] = frozenset({State.ONLINE})
    runs: Runs = Runs.READS
    repeats: bool = True  # a program asks again when it has no answer
    needs_key: bool = False  # doing it twice would be so bad that nobody may ask without a key

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called."""
        return (self.name, *self.aliases)

    @property
    def typed(self) -> tuple[Field, ...]:
        """The fields that a person types, in order."""
        return tuple(field for field in self.fields if field.typed)

    @property
    def on_the_wire(self) -> bool:
        """Whether a client may ask for it."""
        return self.role in (Role.WIRE, Role.USER)

    @property
    def takes_key(self) -> bool:
        """Whether a key keeps it from being done twice: it changes something, for a user who is known."""
        return self.on_the_wire and self.repeats and self.runs is Runs.CHANGES and State.ONLINE in self.states


# Fields that several rows have.
USER = Field("user", kinds.NAME)
AFTER = Field("after", kinds.NAME, required=False, typed=False)  # a page of names: those behind it
BEFORE = Field("before", kinds.SEQ, required=False, typed=False)  # a page of events: those before it

# Fields that any request may carry.
COMMON: Mapping[str, Kind] = {"action": kinds.WORD, "id": kinds.ID, "key": kinds.KEY}

_LIKE = 0.7  # how like a command a word must be to have been meant as one (1: the same)

WellFormed = Callable[[Mapping[str, object]], bool]
# Each of these speaks one language: a client program, the person who types into it, and the administrator.
_SPEAKERS = ((Role.WIRE, Role.USER), (Role.USER, Role.LOCAL), (Role.ADMIN,))


def _guard(row: Row) -> WellFormed:
    """A function that says whether a request for `row` is well formed, made of the row: no loop, no look-up, and for
    usual values no call. It runs for every request; ``check`` finds out what is wrong with one."""
    kinds_of = _kinds(row)
    required = _required(row)
    lines = ["def is_well_formed(request):", f"    fields = {1 + len(required)}"]  # the action is known to be right
    for field, kind in kinds_of.items():
        refuse = f"if not ({kind.usual} or accepts_{field}(value)): return False"
        if field in required:
            lines += [f"    value = request.get({field!r})", f"    {refuse}"]
        elif field != "action":
            lines += [f"    if {field!r} in request:", f"        value = request[{field!r}]", f"        {refuse}",
                      "        fields += 1"]  # fmt: skip
    lines.append("    return len(request) == fields")
    names: dict[str, Any] = {f"accepts_{field}": kind.accepts for field, kind in kinds_of.items()}
    exec("\n".join(lines), names)
    guard: WellFormed = names["is_well_formed"]
    return guard


def _required(row: Row) -> set[str]:
    return {field.name for field in row.fields if field.required and field.sent} | ({"key"} if row.needs_key else set())


def _kinds(row: Row) -> Mapping[str, Kind]:
    return {**COMMON, **{field.name: field.kind for field in row.fields if field.sent}}


class UsageError(ValueError):
    """A typed line that is no command; the message says what is right."""


class Table:
    """Rows in order, and what is made of them. Invariant: nobody has two rows with one name to say."""

    def __init__(self, *groups: Iterable[Row]) -> None:
        self.rows: list[Row] = []
        self.actions: dict[str, Row] = {}  # what comes over the wire, by name and alias
        self.in_state: dict[State, dict[str, Row]] = {state: {} for state in State}  # what may be asked for there
        self.is_well_formed: dict[str, WellFormed] = {}  # by a row's own name
        self._accepts: dict[str, dict[str, Callable[[object], bool]]] = {}  # likewise, and by the field's
        for rows in groups:
            self.add(rows)

    def add(self, rows: Iterable[Row]) -> None:
        """More rows, behind the others. Raises ValueError, and adds none, when a name is there already."""
        rows = list(rows)
        for roles in _SPEAKERS:
            names = [name for row in [*self.rows, *rows] if row.role in roles for name in row.names]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"two commands have one name: {', '.join(twice)}")
        for row in rows:
            self.rows.append(row)
            if not row.on_the_wire:
                continue
            self.is_well_formed[row.name] = _guard(row)
            self._accepts[row.name] = {name: kind.accepts for name, kind in _kinds(row).items()}
            for name in row.names:
                if " " not in name and name[0].isalpha():
                    self.actions[name] = row
                    for state in row.states:
                        self.in_state[state][name] = row

    def remove(self, rows: Iterable[Row]) -> None:
        """Undoes ``add``."""
        for row in rows:
            self.rows.remove(row)
            if not row.on_the_wire:
                continue
            del self.is_well_formed[row.name], self._accepts[row.name]
            for names in (self.actions, *self.in_state.values()):
                for name in row.names:
                    names.pop(name, None)

    def check(self, row: Row, request: Mapping[str, object]) -> str | None:
        """None when `request` has the fields that `row` takes, else a sentence that names the field."""
        wrong = self._wrong(row, request)
        if wrong is not None:
            return _complaint(row, wrong)
        missing = _required(row) - request.keys()
        return _complaint(row, min(missing), "is missing: it ") if missing else None

    def status(self, row: Row, request: Mapping[str, object]) -> str:
        """The status of the refusal of a request that ``check`` has a sentence about."""
        kind = _kinds(row).get(self._wrong(row, request) or "")
        return kind.status if kind else "BAD_REQUEST"

    def _wrong(self, row: Row, request: Mapping[str, object]) -> str | None:
        """The first field that `row` does not take, or not with this value."""
        accepts = self._accepts[row.name]
        for name, value in request.items():
            accept = accepts.get(name)
            if accept is None or not accept(value):
                return name
        return None

    def typed_by(self, *roles: Role) -> list[Row]:
        """The commands that someone of these roles types, in the table's order."""
        return [row for row in self.rows if row.role in roles]

    def find(self, line: str, *roles: Role) -> tuple[Row, str, str] | None:
        """The command that `line` begins with, the name it was called by, and the rest of the line; or None.

        The longest name wins (``blacklist add bob`` is not ``blacklist``); blanks between words do not matter.
        """
        words = line.split(None, 2)
        for count in (2, 1):
            called = " ".join(words[:count]).lower()
            for row in self.typed_by(*roles):
                if called and len(words) >= count and called in row.names:
                    parts = line.split(None, count)
                    return row, called, parts[count] if len(parts) > count else ""
        return None

    def unknown(self, sentence: str, line: str, *roles: Role) -> str:
        """What is said of a line that begins with no command: `sentence`, with its first word in place of ``{}``."""
        words = line.split()
        close = self.like(words, *roles)
        hint = f'Did you mean "{close}"? ' if close else ""
        return f"""{sentence.format(f'"{"".join(words[:1])[:64]}"')} {hint}Type "help" for what there is."""

    def like(self, words: list[str], *roles: Role) -> str:
        """The command that somebody may have meant who typed `words`; empty: none is like them."""
        names = [name for row in self.typed_by(*roles) for name in row.names]
        for count in (2, 1):
            called = " ".join(words[:count])[:64].lower()
            close = get_close_matches(called, [name for name in names if name.count(" ") == count - 1], 1, _LIKE)
            if close:
                return close[0]
        return ""

    def parse(self, line: str, *roles: Role) -> tuple[Row, dict[str, object]]:
        """A typed line → its command and the fields. Raises UsageError with a sentence that says what is right."""
        called_for = self.find(line, *roles)
        if called_for is None:
            raise UsageError(self.unknown("Unknown command {}.", line, *roles))
        row, called, rest = called_for
        found: dict[str, object] = {}
        wrong = f"Usage: {usage(row, called)}"
        passed_over: list[Field] = []  # the word was none of these, but they may come behind
        for field in chain(row.typed, passed_over):
            if field.kind.option:
                given, rest = _without(field.kind.option, rest)
                if given:
                    found[field.name] = True
                continue
            word, left = (rest.rstrip(), "") if field.kind.rest_of_line else _first_word(rest)
            if not word:
                if field.must_be_typed:
                    raise UsageError(wrong)
            elif (value := _value(field, word)) is not None:
                found[field.name], rest = value, left
            elif field.must_be_typed or field in passed_over:
                left_over = [each for each in passed_over if each.name not in found]
                raise UsageError("\n".join([wrong, *map(_must_be, left_over or [field])]))
            else:
                passed_over.append(field)
        if rest:
            raise UsageError(wrong)
        return row, {**{field.name: field.default for field in row.typed if field.default is not None}, **found}


def usage(row: Row, name: str | None = None) -> str:
    """How `row` is typed, under the alias `name` or its own name: ``message <to> <text>``."""
    words = [
        f"<{field.name}>" if field.must_be_typed else f"[{field.kind.option or field.name}]" for field in row.typed
    ]
    if row.typed and row.typed[-1].kind is kinds.PATHS:
        words[-1] += "..."
    return " ".join([name or row.name, *words])


def _complaint(row: Row, name: str, what: str = "") -> str:
    allowed = _kinds(row)
    if name in allowed:
        return f'Field "{name}" {what}must be {allowed[name].allowed}.'
    fields = ", ".join(f'"{field}"' for field in allowed if field != "action")
    return f'Unknown field "{printable(name[:64])}" for "{row.name}": it takes {fields}.'


def _value(field: Field, word: str) -> object:
    """What `word` says; None: it is not of the field's kind."""
    try:
        value = field.kind.parse(word)
    except ValueError:
        return None
    return value if field.kind.accepts(value) else None


def _must_be(field: Field) -> str:
    return f"<{field.name}> must be {field.kind.allowed}."


def _without(option: str, line: str) -> tuple[bool, str]:
    """Whether `line` begins or ends with that word, and what else is in it."""
    first, rest = _first_word(line)
    if first == option:
        return True, rest
    before, _, last = line.rstrip().rpartition(" ")
    return (True, before) if last == option else (False, line)


def _first_word(line: str) -> tuple[str, str]:
    word, rest = [*line.split(None, 1), "", ""][:2]
    return word, rest
