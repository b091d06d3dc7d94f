"""Sentences about threads: what stands in them, and what happens there."""

from __future__ import annotations

from chatlib.client.news import Fields
from chatlib.program.sentences.book import Line, Sentences, items, lists, says, stamp
from chatlib.protocol.text import counted, visible
from chatlib.protocol.words import readable_size
from chatlib.terminal.screen import style


def _threads(_asked: Fields, reply: Fields, now: float) -> list[Line]:
    return [_thread(each, now) for each in items(reply) if isinstance(each, dict)] or [("There are no threads.",)]


def _thread(fields: Fields, now: float) -> Line:
    followed = ", followed" if fields.get("following") else ""
    count = counted(fields.get("messages"), "message")
    return (*stamp(fields.get("time"), now), style(f"#{fields.get('title')}", "cyan"),
            f" by {fields.get('creator')}: {count}{followed}")  # fmt: skip


def _read(_asked: Fields, reply: Fields, now: float) -> list[Line]:
    found = [_item(each, now) for each in items(reply) if isinstance(each, dict)]
    return found or [(f'The thread "{reply.get("thread")}" is empty.',)]


def _item(fields: Fields, now: float) -> Line:
    time, sender = stamp(fields.get("time"), now), str(fields.get("from"))
    if "file" in fields:
        size = readable_size(fields.get("size"))
        return (*time, style(sender, "cyan"), f" uploaded {visible(str(fields['file']))} ({size})")
    edited = " (edited)" if "edited" in fields else ""
    return (*time, f"{fields.get('number')} ", style(f"{sender}:", "cyan"), f" {fields.get('text')}{edited}")


def _title(fields: Fields) -> Line:
    return (style(f"#{fields.get('thread')}", "yellow"), " ")


def _post(fields: Fields) -> Line:
    sender = style(f"{fields.get('from')}:", "cyan")
    return (*_title(fields), f"{fields.get('number')} ", sender, f" {fields.get('text')}")


def _edit(fields: Fields) -> Line:
    return (*_post(fields), " (edited)")


def _delete(fields: Fields) -> Line:
    return (*_title(fields), f"{fields.get('from')} has deleted message {fields.get('number')}.")


def _upload(fields: Fields) -> Line:
    name, size = visible(str(fields.get("name"))), readable_size(fields.get("size"))
    return (*_title(fields), f"{fields.get('from')} uploaded {name} ({size}).")


def _file_removed(fields: Fields) -> Line:
    return (*_title(fields), f"{fields.get('from')} has removed the file {visible(str(fields.get('name')))}.")


def _thread_removed(fields: Fields) -> Line:
    return (*_title(fields), f"{fields.get('from')} has removed this thread.")


SENTENCES = Sentences(
    replies={
        "crt": says('The thread "{thread}" is open.'),
        "lst": _threads,
        "msg": says('It is message {number} of "{title}".'),
        "dlt": says('Message {number} of "{title}" is deleted.'),
        "edt": says('Message {number} of "{title}" is changed.'),
        "rdt": _read,
        "rmv": says('The thread "{thread}" is removed.'),
        "rmf": says('The file "{name}" is removed from "{title}".'),
        "follow": says('You follow "{thread}".'),
        "unfollow": says('You no longer follow "{thread}".'),
        "following": lists(str, "You follow no threads."),
    },
    events={
        "post": _post, "edit": _edit, "delete": _delete, "upload": _upload, "file_removed": _file_removed,
        "thread_removed": _thread_removed,
    },
)  # fmt: skip
