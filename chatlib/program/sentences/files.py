"""Sentences about files: those that wait, those that are on their way, and what became of them."""

from __future__ import annotations

from collections import Counter

from chatlib.client.news import Fields
from chatlib.program.sentences.book import Line, Sentences, items, quiet, says, stamp
from chatlib.protocol.text import visible
from chatlib.protocol.words import quoted, readable_size
from chatlib.terminal.screen import style
from chatlib.terminal.width import display_width

# What a transfer says on its way.


def transfer_begun(name: str, receives: bool, peer: str, size: int, percent: int) -> Line:
    way = f'Fetching "{name}" from' if receives else f'Sending "{name}" to'
    return (f"{way} {peer} ({readable_size(size)})" + (f" goes on at {percent} %." if percent else "."),)


def begun_anew(name: str, to: str) -> Line:
    return (style(f'"{name}" to {to} begins anew: this server has not got what the other one had of it.', "yellow"),)


def passed(name: str, percent: int) -> Line:
    return (f'"{name}": {percent} %',)


def sent(name: str, to: str, size: int) -> Line:
    return (style(f'"{name}" ({readable_size(size)}) has been sent to {to}.', "green"),)


def renamed(path: str, name: str) -> Line:
    return (f'"{path}" is sent as "{name}": characters that cannot be seen are left out.',)


def fetched(name: str, sender: str, path: str) -> Line:
    return (style(f'"{name}" from {sender} has been saved as {path}', "green"),)


def cut(name: str, receives: bool, peer: str) -> Line:
    way = f"from {peer} is not here" if receives else f"has not been sent to {peer}"
    return (style(f'"{name}" {way} yet: the same command goes on from there.', "yellow"),)


_NAMED = 5  # files


def still_waiting(files: list[tuple[str, str, int]]) -> Line:
    """Senders, names and sizes of what was told of before."""
    named = [f"{visible(name)} ({readable_size(size)}) from {sender}" for sender, name, size in files[:_NAMED]]
    more = [f"{len(files) - _NAMED} more"] if len(files) > _NAMED else []
    what = "A file still waits" if len(files) == 1 else "Files still wait"
    return (style(f'{what} for you: {", ".join(named + more)}. Type: fileget', "dim"),)


# Replies and events.


def _waiting(_asked: Fields, reply: Fields, now: float) -> list[Line]:
    found = [each for each in items(reply) if isinstance(each, dict)]
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


def _file(fields: Fields) -> Line:
    sender, name = str(fields.get("from")), str(fields.get("name"))
    command = f"fileget {sender} {quoted(visible(name))}"
    size = readable_size(fields.get("size"))
    if "to" in fields:  # of what one sent oneself
        return (style(f"→ {fields['to']}:", "name"), f" the file {visible(name)} ({size})")
    return (style(sender, "name"), f" has sent you a file: {name} ({size}). Type: {command}")


def _file_gone(fields: Fields) -> Line:
    name, to, outcome = fields.get("name"), fields.get("to"), fields.get("outcome")
    match outcome:
        case "fetched" | "declined":
            return (f'{to} has {outcome} your file "{name}".',)
        case "dropped":
            return (f'The administrator removed your file "{name}" for {to}.',)
    return (f'Your file "{name}" for {to} waits no longer ({outcome}).',)


SENTENCES = Sentences(
    replies={
        "file": quiet,  # the transfer says when it is done
        "fileget": _waiting,  # alone; a transfer says what it has fetched
        "filedecline": says('You have declined "{name}" from {from}.'),
    },
    events={"file": _file, "file_gone": _file_gone},
)
