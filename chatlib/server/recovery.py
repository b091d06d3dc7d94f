"""The start: text files + journal → the world, and the stop: the world → text files (design, section 5).

Recovery finishes a checkpoint that a crash cut short, loads the flat files, cuts the message store to the length that
they name, and replays the journal through ``World.execute``.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Collection, Iterable

from chatlib.core import snapshot
from chatlib.core.world import World
from chatlib.protocol.text import counted
from chatlib.server.edits import EditedFiles
from chatlib.storage import checkpoint, messages
from chatlib.storage.home import Home
from chatlib.storage.journal import Journal
from chatlib.storage.messages import MessageStore
from chatlib.storage.parameters import defaults
from chatlib.storage.textfile import FileError

_FLUSH_EVERY = 1_000  # replayed commands


class _Replay:
    """The audience of a replay: only the message store listens."""

    def __init__(self) -> None:
        self.messages: MessageStore | None = None

    def deliver(self, user: str, line: bytes) -> None: ...

    def fan_out(self, line: bytes, excluded: Collection[str]) -> None: ...

    def end(self, user: str, login: int, status: str, text: str) -> None: ...

    def store(self, line: bytes) -> None:
        assert self.messages is not None
        self.messages.append(line)

    def erase(self, offsets: Iterable[int]) -> None:
        assert self.messages is not None
        self.messages.erase(offsets)

    def adopt(self, blob: str) -> None:
        """Nothing now, for the same reason as below."""

    def unlink(self, blob: str) -> None:
        """Nothing now: a later command may be about the same name, and what nobody needs is found afterwards."""


def recover(
    home: Home, journal: Journal, say: Callable[[str], None], on_fault: Callable[[BaseException], None]
) -> tuple[World, MessageStore]:
    """The world as it was when the last command was committed. Raises FileError for what cannot be trusted."""
    checkpoint.finish(home.data)
    audience = _Replay()
    world = World(defaults(), audience)
    world.store_end = messages.START
    try:
        snapshot.load(world, checkpoint.read(home.data, snapshot.FILES))
    except snapshot.SnapshotError as error:
        raise FileError(f"{home.data}/{error}") from None
    store = audience.messages = MessageStore(home.messages, world.store_end)
    begun, replayed = time.monotonic(), 0
    gc.disable()  # what is read stays: there is no garbage to find
    for lsn, body in journal.replay(world.lsn):
        try:
            world.execute(lsn, json.loads(body))
        except Exception as fault:  # as it was live: one fault of ours does not cost the rest
            on_fault(fault)
        replayed += 1
        if replayed % _FLUSH_EVERY == 0:
            store.flush()
    store.flush()
    gc.enable()
    gc.freeze()
    if journal.torn:
        say(f"The journal's last record was cut short; nothing acknowledged was in it. Its bytes: {journal.torn}")
    if replayed:
        say(f"Recovered {counted(replayed, 'command')} from the journal in {time.monotonic() - begun:.1f} s.")
    return world, store


def checkpoint_now(
    home: Home, world: World, store: MessageStore, edited: EditedFiles, wanted: Callable[[], bool] = lambda: True
) -> list[str]:
    """Writes all text files from `world`. Returns what people must know of the two that are theirs. Raises OSError."""
    store.sync()
    checkpoint.write(home.data, snapshot.dump(world), wanted)
    return edited.write(world)
