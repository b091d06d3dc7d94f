"""What people type and read: replies and events → sentences, a half-typed line → what it may become.

Pure functions and data. Must not know sockets, screens, or what came before. A line is a tuple of parts, each a string
or one with a style; the screen makes every part printable, whatever a server or another user put into it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from chatlib.client.news import Fields
from chatlib.protocol import kinds
from chatlib.protocol.commands import Role, Row, UsageError, find, parse, typed_by, usage
from chatlib.protocol.text import counted, fold, visible
from chatlib.protocol.words import quoted, readable_size
from chatlib.terminal.screen import Part, style
from chatlib.terminal.width import display_width

Line = tuple[Part, ...]

USERNAME = 'Please enter your username: (or "register", "de-register", "quit")'
PASSWORD = "Please enter your password:"
NEW_USERNAME = "Please choose a username:"
NEW_PASSWORD = "Please choose a password:"
CURRENT_PASSWORD = "Please enter your current password:"
AGAIN = "Please type it again:"
REMOVE_USERNAME = "Please enter the username to remove:"
YES_OR_NO = 'Please type "yes" or "no".'
UNCHANGED = "Your password stays as it was."
LOGGED_OFF = "(logged off)"
ROLES = (Role.USER, Role.LOCAL)


# Lines that are not about one reply or event.


def error(text: object) -> Line:
    return (style("Error!", "red"), f" {text}")


def welcome(user: str) -> Line:
    return (f'Welcome to the Chatting room user "{user}"! Now you have successfully logged in!',)


def unknown_user(user: str) -> str:
    return f'There is no user "{user}". Do you want to register it? (yes/no)'


def remove_user(user: str) -> str:
    return f'Do you really want to remove the user "{user}", with all messages? (yes/no)'


def waiting(position: int) -> Line:
    return (style(f"The server is full. You are number {position} in the queue.", "dim"),)


def away(count: int) -> Line:
    return (style(f"While you were away ({counted(count, 'message')}):", "dim"),)


def resent(count: int) -> Line:
    return (style(f"Sent again, because they had no answer: {counted(count, 'command')}.", "dim"),)


def unsent(count: int) -> Line:
    return (f"Without an answer: {counted(count, 'command')}.",)


def lost(text: str, logged_in: bool) -> Line:
    return (style(f"{text} Trying to come back" + ("; what you type is sent then." if logged_in else "."), "yellow"),)


def back() -> Line:
    return (style("You are back online.", "green"),)


def server_back() -> Line:
    return (style("The server is back.", "green"),)


def idle(text: str) -> Line:
    return (style(f"{text} The next line you type logs you in again.", "yellow"),)


def transfer_begun(name: str, receives: bool, peer: str, size: int, percent: int) -> Line:
    way = f'Fetching "{name}" from' if receives else f'Sending "{name}" to'
    return (f"{way} {peer} ({readable_size(size)})" + (f" goes on at {percent} %." if percent else "."),)


def sent(name: str, to: str, size: str) -> Line:
    return (style(f'"{name}" ({size}) has been sent to {to}.', "green"),)


def renamed(path: str, name: str) -> Line:
    return (f'"{path}" is sent as "{name}": what cannot be seen stays out of names.',)


def fetched(name: str, sender: str, path: str) -> Line:
    return (style(f'"{name}" from {sender} has been saved as {path}', "green"),)


def cut(name: str, receives: bool, peer: str) -> Line:
    way = f"from {peer} is not here" if receives else f"has not been sent to {peer}"
    return (style(f'"{name}" {way} yet: the same command goes on from there.', "yellow"),)


def offline_note(seconds: float) -> str:
    return f"(offline, retrying in {max(1, round(seconds))} s)" if seconds > 0.5 else "(offline, retrying)"


# Events.


def stamp(at: object, now: float) -> Line:
    """``[14:03] ``, with the date when it is not today's; nothing for what is no time."""
    if not isinstance(at, int | float):
        return ()
    try:
        time, today = datetime.fromtimestamp(at), datetime.fromtimestamp(now)
    except (OverflowError, ValueError, OSError):
        return ()
    form = "[%H:%M] " if time.date() == today.date() else "[%Y-%m-%d %H:%M] "
    return (style(time.strftime(form), "dim"),)


def event(fields: Fields, now: float, times: bool) -> Line | None:
    """What is shown of an event, with its time when `times` or when it waited; None: nothing."""
    form = _EVENTS.get(str(fields.get("event")))
    if form is None:
        return None
    line = form(fields)
    if line is None:
        return None
    return (*(stamp(fields.get("time"), now) if times or fields.get("offline") else ()), *line)


def _message(fields: Fields) -> Line:
    return (style(f"{fields.get('from')}:", "cyan"), f" {fields.get('text')}")


def _broadcast(fields: Fields) -> Line:
    return (style(f"{fields.get('from')}(broadcast):", "magenta"), f" {fields.get('text')}")


def _system(text: str) -> Line:
    return (style("System(broadcast):", "green"), f" {text}")


def _presence(fields: Fields) -> Line:
    return _system(f'"{fields.get("user")}" has just logged {"in" if fields.get("online") else "out"}.')


def _file(fields: Fields) -> Line:
    sender, name = str(fields.get("from")), str(fields.get("name"))
    sent = f" has sent you a file: {name} ({readable_size(fields.get('size'))})."
    return (style(sender, "cyan"), f"{sent} Type: fileget {sender} {quoted(visible(name))}")


_OUTCOMES = {
    "fetched": '{to} has fetched your file "{name}".',
    "declined": '{to} has declined your file "{name}".',
    "dropped": 'The administrator removed your file "{name}" for {to}.',
}


def _file_gone(fields: Fields) -> Line | None:
    form = _OUTCOMES.get(str(fields.get("outcome")))
    return None if form is None else (form.format(to=fields.get("to"), name=fields.get("name")),)


_EVENTS: dict[str, Callable[[Fields], Line | None]] = {
    "message": _message,
    "broadcast": _broadcast,
    "presence": _presence,
    "notice": lambda fields: _system(str(fields.get("text"))),
    "file": _file,
    "file_gone": _file_gone,
}


# Replies.


def answer(action: str, asked: Fields, reply: Fields, now: float) -> list[Line]:
    """What is shown of the reply to a request; a refusal is shown in the server's words."""
    if reply.get("status") != "OK":
        return [error(reply.get("text") or reply.get("status"))]
    form = _ANSWERS.get(action)
    if form is not None:
        return form(asked, reply, now)
    return [(str(reply["text"]),)] if "text" in reply else []


def _sent(asked: Fields, reply: Fields, _now: float) -> list[Line]:
    if reply.get("delivered") is not False:
        return []
    return [(f'The user "{asked.get("to")}" is not online. The server has stored your message.',)]


def _undelivered(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
    blocked = reply.get("undelivered")
    return [(f"Not delivered to {counted(blocked, 'user')} who blocked you.",)] if blocked else []


def _users(nobody: str) -> Callable[[Fields, Fields, float], list[Line]]:
    def lines(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
        users = reply.get("items")
        return [(_user(user),) for user in users] if isinstance(users, list) and users else [(nobody,)]

    return lines


def _user(user: object) -> str:
    if isinstance(user, dict):
        return f"{user.get('user')} ({'online' if user.get('online') else 'offline'})"
    return str(user)


def _history(asked: Fields, reply: Fields, now: float) -> list[Line]:
    messages = reply.get("items")
    if not isinstance(messages, list) or not messages:
        return [("Nothing came while you were away." if asked.get("count") == 0 else "There are no messages yet.",)]
    return [line for each in messages if isinstance(each, dict) and (line := event(each, now, True))]


def _files(_asked: Fields, reply: Fields, now: float) -> list[Line]:
    files = reply.get("items")
    found = [each for each in files if isinstance(each, dict)] if isinstance(files, list) else []
    rows = [[visible(str(each.get(field))) for field in ("from", "name")] for each in found]
    same = Counter(map(tuple, rows))
    for row, each in zip(rows, found, strict=True):
        number = f"number {each.get('seq')}" if same[tuple(row)] > 1 else ""  # it can be told by nothing else
        row += (readable_size(each.get("size")), number)
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    return [
        (*stamp(each.get("time"), now), "  ".join(map(_padded, row, widths)).rstrip())
        for row, each in zip(rows, found, strict=True)
    ] or [("No files wait for you.",)]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))


def _says(sentence: str) -> Callable[[Fields, Fields, float], list[Line]]:
    return lambda asked, reply, _now: [(sentence.format(reply.get("user") or asked.get("user")),)]


_ANSWERS: dict[str, Callable[[Fields, Fields, float], list[Line]]] = {
    "message": _sent,
    "broadcast": _undelivered,
    "whoelse": _users("Nobody else is online."),
    "wholasthr": _users("Nobody else was online in that time."),
    "list_users": _users("There are no users."),
    "blacklist": _users("You block nobody."),
    "history": _history,
    "fileget": _files,
    "filedecline": lambda asked, _, __: [(f'You have declined "{asked.get("name")}" from {asked.get("from")}.',)],
    "block": _says('You have blocked "{}".'),
    "unblock": _says('You have unblocked "{}".'),
    "register": _says('The user "{}" has been registered.'),
    "deregister": _says('The user "{}" has been removed.'),
    "password": _says("Your password has been changed."),
}


# Help, and completion.


def no_help(name: str) -> Line:
    return error(f'There is no command "{name}". Type "help" for what there is.')


def help_lines(name: str) -> list[Line]:
    """All commands, or how the one called `name` is used."""
    commands = typed_by(*ROLES)
    if not name:
        width = max(len(usage(command)) for command in commands)
        return [(style(usage(command).ljust(width), "bold"), f"  {command.help}") for command in commands]
    found = find(name, *ROLES)
    if found is None or found[2]:
        return [no_help(name)]
    command, called, _ = found
    lines: list[Line] = [(style(usage(command, called), "bold"), f"  {command.help}")]
    for other in (command.name, *command.aliases):
        if other != called:
            lines.append((f"The same: {usage(command, other)}",))
    lines += [(f"<{parameter.name}> is {parameter.kind.allowed}.",) for parameter in command.typed]
    return lines


def without_text(line: str) -> str:
    """A command as the input history on disk keeps it: nothing of a message's text, and nothing that is no command.

    Of a line that is not understood only the command's name is kept, since any other word may be part of a text, or a
    password.
    """
    try:
        command, fields = parse(line, *ROLES)
    except UsageError:
        found = find(line, *ROLES)
        return found[1] if found else ""
    _, called, rest = find(line, *ROLES) or (command, command.name, "")
    if all(parameter.kind is not kinds.TEXT for parameter in command.typed):
        return f"{called} {rest.strip()}".rstrip()
    words = [str(fields[each.name]) for each in command.typed if each.name in fields and each.kind is not kinds.TEXT]
    return " ".join([called, *words])


class Names:
    """User names that were seen, most recent first."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # folded → as seen; the last is the most recent

    def see(self, name: object) -> None:
        if isinstance(name, str):
            self._names.pop(fold(name), None)
            self._names[fold(name)] = name

    def beginning(self, prefix: str) -> list[str]:
        return [name for folded, name in reversed(self._names.items()) if folded.startswith(fold(prefix))]


def complete(before: str, names: Names) -> list[str]:
    """What the half-typed line `before` may become, the likeliest first."""
    found = find(before, *ROLES)
    if found is None or (not found[2] and not before.endswith(" ")):
        return _starting(before, _commands(typed_by(*ROLES)))
    command, _, rest = found
    if command.name == "help":
        return _starting(before, [before[: len(before) - len(rest)] + name for name in _commands(typed_by(*ROLES))])
    words = rest.split(" ")
    index = len(words) - 1
    wider = _starting(before, _commands(typed_by(*ROLES)))  # "blacklist a" may become "blacklist add"
    if index < len(command.typed) and command.typed[index].kind is kinds.NAME:
        head = before[: len(before) - len(words[-1])]
        more = " " if index + 1 < len(command.typed) else ""
        return wider + [head + name + more for name in names.beginning(words[-1])]
    return wider


def _commands(commands: Iterable[Row]) -> list[str]:
    return [
        name + (" " if command.typed else "") for command in commands for name in (command.name, *command.aliases)
    ]


def _starting(before: str, candidates: Iterable[str]) -> list[str]:
    return [each for each in candidates if each.lower().startswith(before.lower()) and each != before]
