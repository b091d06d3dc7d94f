"""The book of sentences: by action what is shown of a reply, by kind what is shown of an event.

A feature brings its own as ``Sentences``. A line is a tuple of parts, each a string or one with a style; the screen
makes every part printable, whatever a server or another user put into it. Must not know any feature, sockets, screens,
or what came before. Invariant: a reply or an event that no feature knows is shown all the same, in general words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from chatlib.client.news import FINE, Fields, status_of, text_of
from chatlib.terminal.screen import Part, style

Line = tuple[Part, ...]
# What was asked for, the reply, which is no refusal, and the time of day.
Says = Callable[[Fields, Fields, float], list[Line]]
Tells = Callable[[Fields], Line]


@dataclass(frozen=True, slots=True)
class Sentences:
    """A feature's: `replies` by the name of the command's row, `events` by their kind."""

    replies: Mapping[str, Says] = field(default_factory=dict)
    events: Mapping[str, Tells] = field(default_factory=dict)


ME = "/me "  # a text that begins so says what its sender does

REPLIES: dict[str, Says] = {}
EVENTS: dict[str, Tells] = {}


def add(sentences: Sentences) -> None:
    """Raises ValueError for what has a sentence already."""
    twice = (REPLIES.keys() & sentences.replies.keys()) | (EVENTS.keys() & sentences.events.keys())
    if twice:
        raise ValueError(f"{', '.join(sorted(twice))}: there are such sentences already")
    REPLIES.update(sentences.replies)
    EVENTS.update(sentences.events)


def remove(sentences: Sentences) -> None:
    """Undoes ``add``."""
    for name in sentences.replies:
        del REPLIES[name]
    for kind in sentences.events:
        del EVENTS[kind]


# Looking up.


def answer(action: str, asked: Fields, reply: Fields, now: float) -> list[Line]:
    """What is shown of the reply to a request; a refusal is shown in the server's words."""
    if status_of(reply) not in FINE:
        return [error(text_of(reply))]
    says = REPLIES.get(action)
    return says(asked, reply, now) if says else [(str(reply.get("text") or f"Done: {action}."),)]


def event(fields: Fields, now: float, times: bool) -> Line:
    """What is shown of an event, with its time when `times` or when it waited."""
    tells = EVENTS.get(str(fields.get("event")), _unknown)
    return (*(stamp(fields.get("time"), now) if times or fields.get("offline") else ()), *tells(fields))


def _unknown(fields: Fields) -> Line:
    told = [f"{name}: {value}" for name, value in fields.items() if name not in ("event", "seq", "time", "offline")]
    what = f"This client has no words for what happened: {fields.get('event')}"
    return (style(f"{what} ({', '.join(told)})." if told else f"{what}.", "yellow"),)


# What features make their sentences of.


def error(text: object) -> Line:
    return (style("Error!", "red head"), f" {text}")


def quiet(_asked: Fields, _reply: Fields, _now: float) -> list[Line]:
    """Nothing: that it was done is seen otherwise."""
    return []


def says(sentence: str) -> Says:
    """`sentence` with the fields of the request in it, and those of the reply, which count for more."""
    return lambda asked, reply, _now: [(sentence.format_map(_Known({**asked, **reply})),)]


class _Known(dict[str, object]):
    """What a server did not say does not stop a sentence."""

    def __missing__(self, name: str) -> str:
        return "?"


def lists(show: Callable[[object], Line], nothing: str) -> Says:
    """A line for each item, or `nothing`."""

    def lines(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
        return [show(item) for item in items(reply)] or [(nothing,)]

    return lines


def named(user: object) -> Line:
    """A user's name, in its colour."""
    return (style(str(user), "name"),)


def spoken(sender: object, text: object, aside: str = "") -> Line:
    """``ann: hi``, with an `aside` behind the name; of what somebody does (``/me waves``), ``* ann waves``."""
    does = str(text).removeprefix(ME)
    if does != text:
        return ("* ", style(f"{sender}{aside}", "name"), f" {does}")
    return (style(f"{sender}{aside}:", "name head"), f" {text}")


def plain(line: Line) -> str:
    """A line without its styles."""
    return "".join(part if isinstance(part, str) else part.text for part in line)


def items(reply: Fields) -> Iterable[object]:
    found = reply.get("items")
    return found if isinstance(found, list) else []


def system(*parts: Part) -> Line:
    return (style("System(broadcast):", "green head"), " ", *parts)


def stamp(at: object, now: float) -> Line:
    """``[14:03] ``, with the date when it is not today's; nothing for what is no time."""
    if not isinstance(at, int | float):
        return ()
    try:
        time, today = datetime.fromtimestamp(at), datetime.fromtimestamp(now)
    except (OverflowError, ValueError, OSError):
        return ()
    form = "[%H:%M] " if time.date() == today.date() else "[%Y-%m-%d %H:%M] "
    return (style(time.strftime(form), "dim head"),)
