"""Searching: what a user may read of a stored line that has the words, as it is now.

Only asks the world. A line of the message store says for whom it was stored: a user, all, or a thread. Invariant:
nothing is shown that ``history`` or a thread would not show: what a block hid stays hidden, what was deleted is gone,
what was changed is found by what it says now, and what was said to or by an earlier owner of a name is not the new
one's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chatlib.core.history import Item, as_event
from chatlib.core.refused import hides
from chatlib.core.threads import Thread, forum_of
from chatlib.core.wanted import Wanted
from chatlib.protocol.framing import decode
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import World

_SENT = ("message", "file")  # what a sender may read of what others got


class Ours:
    """Which lines at rest may be for the user of that name, without a close look."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._from = b'"from":"%b"' % name
        self._to = re.compile(rb"\n........ (?:%b |all |#)" % re.escape(name))  # behind a checksum

    def has(self, receiver: bytes, event: bytes) -> bool:
        """Whether that line is one."""
        return receiver in (self._name, b"all") or receiver[:1] == b"#" or self._from in event

    def among(self, lines: bytes, most: int) -> list[int]:
        """Where such lines begin, the last first, before the place `most`. The first line is always among them."""
        begins = {found.start() + 1 for found in self._to.finditer(lines, 0, most)}
        at = lines.rfind(self._from, 0, most)
        while at >= 0:
            begin = lines.rfind(b"\n", 0, at) + 1
            begins.add(begin)
            at = lines.rfind(self._from, 0, begin)
        return sorted({*begins, 0}, reverse=True)


def found(world: World, account: Account, receiver: str, line: bytes, wanted: Wanted) -> Item | None:
    """What `account` is shown of an event, stored for `receiver`; None: nothing, or it has not all the words."""
    event = decode(line)
    if not wanted.in_texts(_texts(event)):
        return None
    seq = event["seq"]
    if not isinstance(seq, int) or seq < world.floor:
        return None
    if receiver.startswith("#"):
        return _in_thread(world, receiver, event, seq, wanted)
    if seq <= account.joined:
        return None
    sender = fold(str(event.get("from", "")))
    if receiver == "all":
        return None if hides(account.refused or {}, sender, seq) else event
    if fold(receiver) == account.user:
        return event
    other = world.accounts.get(fold(receiver))
    if sender != account.user or event["event"] not in _SENT or other is None or other.joined > seq:
        return None
    return {**event, "to": receiver}


def _texts(event: Item) -> Iterator[str]:
    """What people wrote of it."""
    return (text for field in ("text", "name", "memo") if isinstance(text := event.get(field), str))


def _in_thread(world: World, stream: str, event: Item, seq: int, wanted: Wanted) -> Item | None:
    """As it stands in the thread now: once, where it was last changed."""
    thread = forum_of(world).get(stream[1:].rpartition("/")[0])
    if thread is None or thread.stream != stream:
        return None
    if event["event"] == "upload":
        file = thread.attachments.get(str(event["name"]))
        return as_event(thread, file) if file is not None and file.seq == seq else None
    place = _place(thread, event, seq)
    if place is None:
        return None
    item = as_event(thread, place)
    return item if wanted.in_texts(_texts(item)) else None


def _place(thread: Thread, event: Item, seq: int) -> int | None:
    """Of the message that says so; None: it was changed or deleted since, or it is none."""
    if event["event"] == "post":
        return None if seq in thread.edited else thread.place_of(seq)
    of = event.get("of")
    if event["event"] != "edit" or not isinstance(of, int) or thread.edited.get(of) != event["time"]:
        return None
    place = thread.place_of(of)
    return place if place is not None and thread.texts[place] == event["text"] else None
