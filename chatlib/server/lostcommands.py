"""Commands that the journal has lost, made again from what they had left elsewhere.

The message store and the ledger go on behind the place where the text files say that they end. A start cuts that off,
since the journal says it again. Where the journal is damaged, what stands there is proven by its own checksums: it says
which messages, posts and payments there were, under which LSN. Legal: before anything is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatlib.core.bank import bank_of
from chatlib.core.feature import Command
from chatlib.core.ledger import NAME, parse
from chatlib.core.streams import CHECKSUM
from chatlib.core.world import World
from chatlib.protocol.text import fold
from chatlib.server.storemending import lines_of
from chatlib.storage import appendfile, messagefiles
from chatlib.storage.textfile import is_whole


def find(data: Path, world: World) -> dict[int, Command]:
    """By LSN, the commands later than the text files, of which `world` is made."""
    found: dict[int, Command] = {}
    for command, lsn in (*_said(data / messagefiles.NAME, world), *_paid(data / NAME, bank_of(world).end)):
        if lsn > world.lsn:
            found.setdefault(lsn, command)
    return dict(sorted(found.items()))


def _said(first: Path, world: World) -> Iterator[tuple[Command, int]]:
    there = messagefiles.listing(first)
    if not there:
        return
    end = there[-1].base + there[-1].path.stat().st_size - there[-1].head
    base = messagefiles.place(first, world.store_end).base
    for offset, receiver, event in lines_of(first, base, end):
        seq = event.get("seq")
        command = _command(receiver, event)
        if offset >= world.store_end and isinstance(seq, int) and command:
            yield command, seq


def _command(receiver: str, event: dict[str, Any]) -> Command | None:
    """What an event came of; None: of something else than a text."""
    fields = {"at": event.get("time"), "by": fold(str(event.get("from"))), "text": event.get("text")}
    match event.get("event"):
        case "message":
            return {"action": "message", "to": receiver, **fields}
        case "broadcast":
            return {"action": "broadcast", **fields}
        case "post":
            return {"action": "msg", "title": event.get("thread"), **fields}
    return None


def _paid(path: Path, start: int) -> Iterator[tuple[Command, int]]:
    if not path.exists():
        return
    for _, lines in appendfile.lines(path, start, path.stat().st_size):
        for line in lines:
            try:
                entry = parse(line[CHECKSUM:]) if is_whole(line) else None
            except ValueError:
                entry = None
            if entry and entry.kind in ("pay", "cheque"):
                yield {"action": "pay", "by": entry.source, "to": entry.target, "amount": entry.amount,
                       "at": entry.at, "memo": "made again from the ledger"}, entry.lsn  # fmt: skip
            elif entry and entry.kind == "grant":
                yield {"action": "grant", "user": entry.target, "amount": entry.amount, "at": entry.at}, entry.lsn
