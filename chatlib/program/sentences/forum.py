"""Sentences about threads: what stands in them, what happens there, and where lines without a command go."""

from __future__ import annotations

from chatlib.client.news import Fields
from chatlib.program.sentences.book import Line, Sentences, error, items, lists, quiet, says, spoken, stamp
from chatlib.protocol.text import counted, visible
from chatlib.protocol.words import readable_size, rest_quoted
from chatlib.terminal.screen import style

# Where lines without a command go.

PLACELESS: Line = (
    style('To talk without commands, type "to #TITLE" (a thread), "to NAME" (a user) or "to all" first.', "dim"),
)
NOWHERE = "You are in no place to do that."
AS_TEXT: Line = (style("To say this as it stands, type a blank before it.", "dim"),)


def goes_to(place: str) -> Line:
    where = "everyone" if place == "all" else place
    return (style(f'Lines without a command go to {where} now. To leave, type "to".', "dim"),)


def unheard(place: str, why: object) -> Line:
    return (style(f"What others say in {place} is not shown here. {why}", "yellow"),)


def goes_nowhere() -> Line:
    return PLACELESS


def left(place: str) -> Line:
    return (style(f"Lines without a command do not go to {place} any more.", "dim"),)


# What a command by number has met.


def changed(number: object, other: object) -> Line:
    what = "is gone" if other is None else f"has the number {other} by now"
    return error(f"Nothing was done: the message that you saw as {number} {what}.")


def is_now(number: object, item: Fields, now: float) -> Line:
    return (*_item(item, now), style(f"  (number {number} is now this one: repeat the command if you mean it)", "dim"))


def no_message(number: object) -> Line:
    return (f"There is no message {number} any more.",)


def without_sign(title: str) -> Line:
    return (f'A title is typed without the "#" that is shown before it: {title[1:]}',)


# Replies.


def _threads(_asked: Fields, reply: Fields, now: float) -> list[Line]:
    found = [_thread(each, now) for each in items(reply) if isinstance(each, dict)]
    return found or [('The forum is empty: there are no threads yet. "crt TITLE" opens one.',)]


def _thread(fields: Fields, now: float) -> Line:
    followed = ", followed" if fields.get("following") else ""
    count = counted(fields.get("messages"), "message")
    return (*stamp(fields.get("time"), now), style(str(fields.get("title")), "cyan"),
            f" by {fields.get('creator')}: {count}{followed}")  # fmt: skip


def _read(asked: Fields, reply: Fields, now: float) -> list[Line]:
    found = [_item(each, now) for each in items(reply) if isinstance(each, dict)]
    title = f'The thread "{reply.get("thread")}"'
    nothing = f"{title} has nothing before message {asked['number']}." if "number" in asked else f"{title} is empty."
    return found or [(nothing,)]


def _item(fields: Fields, now: float) -> Line:
    time, sender = stamp(fields.get("time"), now), str(fields.get("from"))
    if "file" in fields:
        size = readable_size(fields.get("size"))
        return (*time, style(sender, "name"), f" uploaded {visible(str(fields['file']))} ({size})")
    edited = " (edited)" if "edited" in fields else ""
    return (*time, f"{fields.get('number')} ", *spoken(sender, fields.get("text")), edited)


# Events.


def _title(fields: Fields) -> Line:
    return (style(f"#{fields.get('thread')}", "yellow"), " ")


def _by(fields: Fields) -> str:
    by = fields.get("from")
    return "The administrator" if by == "system" else str(by)


def _post(fields: Fields) -> Line:
    edited = " (edited)" if "edited" in fields else ""
    return (*_title(fields), f"{fields.get('number')} ", *spoken(fields.get("from"), fields.get("text")), edited)


def _edit(fields: Fields) -> Line:
    text = f"{_by(fields)} has changed message {fields.get('number')}: {fields.get('text')}"
    return (*_title(fields), text)


def _delete(fields: Fields) -> Line:
    text = f"{_by(fields)} has deleted message {fields.get('number')}; those behind it have moved up."
    return (*_title(fields), text)


def _upload(fields: Fields) -> Line:
    name, size = visible(str(fields.get("name"))), readable_size(fields.get("size"))
    command = f"dwn {fields.get('thread')} {rest_quoted(name)}"
    return (*_title(fields), f"{_by(fields)} uploaded {name} ({size}). Type: {command}")


def _file_removed(fields: Fields) -> Line:
    return (*_title(fields), f"{_by(fields)} has removed the file {visible(str(fields.get('name')))}.")


def _thread_removed(fields: Fields) -> Line:
    return (*_title(fields), f"{_by(fields)} has removed this thread.")


SENTENCES = Sentences(
    replies={
        "crt": says('The thread "{thread}" is open, and you follow it.'),
        "lst": _threads,
        "msg": says('It is message {number} of "{title}".'),
        "dlt": says('Message {number} of "{title}" has been deleted.'),
        "edt": says('Message {number} of "{title}" has been changed.'),
        "rdt": _read,
        "upd": quiet,  # the transfer says when it is done
        "dwn": quiet,
        "rmv": says('The thread "{thread}" has been removed, with its files.'),
        "rmf": says('The file "{name}" has been removed from "{title}".'),
        "follow": says('You follow "{thread}".'),
        "unfollow": says('You no longer follow "{thread}".'),
        "following": lists(lambda title: (str(title),), "You follow no threads."),
    },
    events={
        "post": _post, "edit": _edit, "delete": _delete, "upload": _upload, "file_removed": _file_removed,
        "thread_removed": _thread_removed,
    },
)  # fmt: skip
