"""What people type: help for it, what a half-typed line may become, and what may be kept of a line.

All of it is made from the command table. Pure functions. Must not know screens, connections, or what was typed before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from chatlib.program.sentences.book import Line, error
from chatlib.program.yesorno import begins_answer
from chatlib.protocol import kinds
from chatlib.protocol.commands import TABLE, Role, Row, UsageError, find, parse, typed_by, usage
from chatlib.terminal import completion
from chatlib.terminal.completion import Names, starting
from chatlib.terminal.screen import style
from chatlib.terminal.width import explained

ROLES = (Role.USER, Role.LOCAL)
BASICS = ("message", "broadcast", "to", "whoelse", "history", "crt", "file", "quit")
_SLASH = re.compile(r"/\w+(\s|$)")  # and not a path
# The last line of a list that is longer than most windows, and so the one that a newcomer sees.
_TO_BEGIN_WITH = ("To begin with:", f"{', '.join(BASICS)}; for more about one, type: help {BASICS[0]}")
_SAID = (kinds.TEXT, kinds.MEMO, kinds.CHEQUE, kinds.WORDS)  # what only the one who reads it should know


# Help.


def no_help(name: str) -> Line:
    return error(TABLE.unknown("There is no command {}.", name, *ROLES))


def help_lines(name: str, columns: int = 0) -> list[Line]:
    """All commands, or how the one called `name` is used. `columns`: how wide lines may be (0: as wide as they are)."""
    rows = typed_by(*ROLES)
    if not name:
        first = max(len(usage(row)) for row in rows) + 2
        told = [(usage(row), row.help) for row in rows] + [_TO_BEGIN_WITH]
        return [
            (style(typed, "bold head"), does)
            for each, meaning in told
            for typed, does in explained(each, meaning, first, columns)
        ]
    found = find(name, *ROLES)
    if found is None or found[2]:
        return [no_help(name)]
    row, called, _ = found
    typed = usage(row, called)
    lines: list[Line] = [
        (style(head, "bold head"), does) for head, does in explained(typed, row.help, len(typed) + 2, columns)
    ]
    lines += [(f"The same: {usage(row, other)}",) for other in row.names if other != called]
    lines += [(f"<{field.name}> is {field.kind.allowed}.",) for field in row.typed if not field.kind.option]
    return lines


def is_text(line: str) -> bool:
    """Whether a line, typed where lines without a command go to somebody, is one of those.

    What begins with a slash was meant as a command, and is not said to anybody when it is none.
    """
    if line[0].isspace() or begins_answer(line):
        return True
    return find(line, *ROLES) is None and _SLASH.match(line) is None


# The history on disk.


def without_text(line: str) -> str:
    """A command as the input history on disk keeps it: nothing of a message's text or of what money is for, no cheque,
    and nothing that is no command.

    Of a line that is not understood only the command's name is kept, since any other word may be part of a text, or a
    password.
    """
    found = find(line, *ROLES)
    if found is None or line[:1].isspace():  # text, where a blank before it says so
        return ""
    row, called, rest = found
    try:
        _, fields = parse(line, *ROLES)
    except UsageError:
        return called
    if all(field.kind not in _SAID for field in row.typed):
        return f"{called} {rest.strip()}".rstrip()
    words = [each.kind.option or str(fields[each.name]) for each in row.typed
             if each.name in fields and each.kind not in _SAID]  # fmt: skip
    return " ".join([called, *words])


# Completion.

# What was seen of what fields name: users, titles.
Seen = Mapping[kinds.Kind, Names]
# What the rest of a feature's own command may become; None: the feature leaves it to the kinds of its fields.
Follow = Callable[[str, str], Iterable[str] | None]


def complete(before: str, seen: Seen, follow: Follow) -> list[str]:
    """What the half-typed line `before` may become, the likeliest first."""
    rows = typed_by(*ROLES)
    found = find(before, *ROLES)

    def words(command: str, rest: str) -> Iterable[str]:
        own = follow(command, rest)
        if own is not None:
            return own
        if command == "help":
            return starting(rest, [name for row in rows for name in row.names])
        assert found is not None
        return _by_kind(found[0], rest, seen)

    return completion.complete(
        before,
        [name + (" " if row.typed else "") for row in rows for name in row.names],
        (found[0].name, found[2]) if found else None,
        words,
    )


def _by_kind(row: Row, rest: str, seen: Seen) -> list[str]:
    words = rest.split(" ")
    index = len(words) - 1
    names = seen.get(row.typed[index].kind) if index < len(row.typed) else None
    if names is None:
        return []
    head = rest[: len(rest) - len(words[-1])]
    more = " " if index + 1 < len(row.typed) else ""
    return [head + name + more for name in names.beginning(words[-1])]
