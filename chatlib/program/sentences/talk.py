"""Sentences about messages, broadcasts, who is there to talk to, and blocks."""

from __future__ import annotations

from chatlib.client.news import Fields
from chatlib.program.sentences.book import EVENTS, ME, Line, Sentences, lists, named, plain, says, spoken
from chatlib.protocol.text import counted
from chatlib.terminal.screen import style


def _sent(asked: Fields, reply: Fields, _now: float) -> list[Line]:
    if reply.get("delivered") is not False:
        return []
    return [(f'The user "{asked.get("to")}" is not online. The server has stored your message.',)]


def _undelivered(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
    blocked = reply.get("undelivered")
    return [(f"Not delivered to {counted(blocked, 'user')} who blocked you.",)] if blocked else []


def _user(user: object) -> Line:
    if isinstance(user, dict):
        return (*named(user.get("user")), f" ({'online' if user.get('online') else 'offline'})")
    return named(user)


def _message(fields: Fields) -> Line:
    to = fields.get("to")  # of what one sent oneself
    if to is not None:
        text = str(fields.get("text"))
        does = text.removeprefix(ME)
        who = f"* {fields['from']}" if "from" in fields else "*"
        return (style(f"→ {to}:", "name head"), f" {text}" if does == text else f" {who} {does}")
    return spoken(fields.get("from"), fields.get("text"))


def _sent_elsewhere(fields: Fields) -> Line:
    return EVENTS["file" if "name" in fields else "message"](fields)


def _broadcast(fields: Fields) -> Line:
    return spoken(fields.get("from"), fields.get("text"), "(broadcast)")


# What one has said oneself.

NOBODY_WROTE = "Nobody has written to you yet."
UP_BRINGS_IT: Line = (style("The up key brings it back, to be changed.", "dim"),)


def not_sent(place: str, text: object) -> Line:
    return (style(f"Not sent to {place}:", "yellow"), f" {text}")


def unconfirmed(line: Line) -> Line:
    """`line` is what was said; the client ends."""
    return (style(f"{plain(line)} (not confirmed by the server)", "dim"),)


def unconfirmed_note(seconds: float) -> str:
    return f"(not confirmed for {int(seconds)} s)"


def slow_note(seconds: float) -> str:
    return f"(the server takes {seconds:.0f} s)"


SENTENCES = Sentences(
    replies={
        "message": _sent,
        "broadcast": _undelivered,
        "whoelse": lists(_user, "Nobody else is online."),
        "wholasthr": lists(_user, "Nobody else was online in that time."),
        "list_users": lists(_user, "There are no users."),
        "blacklist": lists(_user, "You block nobody."),
        "block": says('You have blocked "{user}".'),
        "unblock": says('You have unblocked "{user}".'),
    },
    events={"message": _message, "broadcast": _broadcast, "sent": _sent_elsewhere},
)
