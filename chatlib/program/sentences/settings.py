"""Sentences about a person's own settings. None of them is about a reply or an event: settings stay in the client."""

from __future__ import annotations

from collections.abc import Iterable

from chatlib.program.sentences.book import Line
from chatlib.program.settings import TABLE, Settings
from chatlib.terminal.screen import style
from chatlib.terminal.width import explained

_LONGEST = 40  # characters of a value that is still explained in the same line


def warning(note: str) -> Line:
    return (style(note, "yellow"),)


def mutes(user: str) -> Line:
    return (f'You no longer see what "{user}" says. It is kept: history finds it, and "unmute {user}" ends this.',)


def unmuted(user: str) -> Line:
    return (f'You see again what "{user}" says.',)


def muted(users: Iterable[str]) -> list[Line]:
    return [(user,) for user in users] or [("You mute nobody.",)]


def unset(name: str, word: str) -> Line:
    if TABLE[name].many:
        return unmuted(word) if name == "mute" else (f'There is no alias "{word}" any more.',)
    return (f"Set: {name} {TABLE[name].default or 'to nothing'}, as at first.",)


def none_such(name: str, word: str) -> str:
    if not word:
        return f"Usage: unset {name} <word>"
    return f'You do not mute "{word}".' if name == "mute" else f'There is no alias "{word}".'


def no_setting(name: str) -> str:
    return f'There is no setting "{name}". There are {", ".join(TABLE)}.'


def is_now(settings: Settings, name: str, value: str) -> Line:
    setting = TABLE[name]
    if name == "mute":
        return mutes(value)
    if name == "alias":
        word, _, words = value.strip().partition(" ")
        return (f'"{word}" stands for "{words.strip()}" now.',)
    return (f"Set: {name} {settings[name]}{', from the next start on' if setting.at_start else ''}.",)


def one_setting(settings: Settings, name: str) -> list[Line]:
    setting = TABLE[name]
    return [*((style(each, "bold"),) for each in _values(settings, name)), (f"{name}: {setting.help}.",),
            (f"<value> is {setting.allowed}.",)]  # fmt: skip


def all_settings(settings: Settings, columns: int) -> list[Line]:
    """A line for each, with what it is; a value that is too long stands above."""
    lines: list[Line] = []
    heads = [(head, name) for name in TABLE for head in _values(settings, name)]
    first = max([len(head) for head, _ in heads if len(head) <= _LONGEST]) + 2
    for head, name in heads:
        if len(head) > _LONGEST:
            lines.append((style(head, "bold"),))
            head = ""
        lines += [(style(typed, "bold"), does) for typed, does in explained(head, TABLE[name].help, first, columns)]
    if settings.path is not None:
        lines.append((style(f"They are kept in {settings.path}.", "dim"),))
    return lines


def _values(settings: Settings, name: str) -> list[str]:
    if TABLE[name].many:
        return [f"{name} {value}" for value in settings.all_of(name).values()] or [f"{name} (none)"]
    return [f"{name} {settings[name] or '(not set)'}"]
