"""Replies to commands and questions. A reply is a dict with a ``status`` and whatever else it says.

Long answers come in pages, of one shape everywhere: ``items``, and ``next`` when there is more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from chatlib.protocol.framing import dumps
from chatlib.protocol.text import printable

Reply = dict[str, Any]

NAMES = 1_000  # names in one page: with the longest ones it still is one line


class Encoded(Reply):
    """A reply whose JSON is known already, so that nobody encodes it again; never a refusal.

    Invariant: `text` is the dict, as JSON.
    """

    __slots__ = ("text",)
    text: str


def encoded(text: str, reply: Reply) -> Encoded:
    """`reply`, whose JSON is `text`."""
    known = Encoded(reply)
    known.text = text
    return known


def remembered(text: str, reply: Reply) -> Reply:
    """`reply`, whose JSON is `text`, and which may be a refusal."""
    return encoded(text, reply) if reply["status"] == "OK" else reply


def text_of(reply: Reply) -> str:
    """The JSON of `reply`."""
    return reply.text if type(reply) is Encoded else dumps(reply)


def refusal(status: str, text: str, **more: Any) -> Reply:
    """A reply that says no, in a sentence for people: what it repeats of a request is not always printable."""
    return {"status": status, "text": printable(text), **more}


def no_such_user(name: str) -> Reply:
    """The refusal for a name that nobody is registered under."""
    return refusal("NO_SUCH_USER", f'There is no user "{name}".')


def page(items: list[Any], following: str | int | None) -> Reply:
    """A page of a long answer. `following`: what to ask for the next one with, as ``after`` (the last name of this one)
    or ``before`` (its least seq); None when there is no more."""
    reply: Reply = {"status": "OK", "items": items}
    if following is not None:
        reply["next"] = following
    return reply


def page_of_names(names: Iterator[str], show: Callable[[str], Any], count: int = NAMES) -> Reply:
    """The first of `names`, which are sorted, each as `show` has it."""
    first = list(islice(names, count))
    return page([show(name) for name in first], first[-1] if next(names, None) is not None else None)


INTERNAL: Reply = refusal("INTERNAL", "The server made a mistake; its log has the details.")
