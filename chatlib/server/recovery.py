"""The start: text files + journal → the world, and the stop: the world → text files (design, section 5).

Recovery first reads and proves everything: the flat files, the journal, the lengths of the message store and of the
files that only grow, and the last line of these. Only then does it change a byte: it finishes a checkpoint that a crash
cut short, cuts off the journal's torn tail, cuts the message store and those files to the lengths that the flat files
name, and replays the journal through ``World.execute``.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from chatlib.core import snapshot
from chatlib.core.effects import Effect
from chatlib.core.feature import AppendOnly
from chatlib.core.features import FEATURES, parties
from chatlib.core.streams import NO_MAIL
from chatlib.core.world import World
from chatlib.protocol.text import counted
from chatlib.server.edits import EditedFiles
from chatlib.server.effects import Replayed
from chatlib.server.stored import Stored
from chatlib.server.upgrade import upgrade
from chatlib.storage import appendfile, checkpoint, messagefiles
from chatlib.storage.appendfile import AppendFile, AppendFiles
from chatlib.storage.blobs import Blobs
from chatlib.storage.home import Home
from chatlib.storage.messages import MessageStore
from chatlib.storage.parameters import defaults
from chatlib.storage.textfile import OLD_FORMAT, REMEDY, FileError

_FLUSH_EVERY = 1_000  # replayed commands


class Replayable(Protocol):
    """What a start asks of the log; see :class:`chatlib.storage.log.Log`."""

    @property
    def given(self) -> int: ...

    def prove(self, after: int, begun: bool) -> bool: ...

    def mend(self) -> str: ...

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]: ...


def recover(
    home: Home, journal: Replayable, say: Callable[[str], None], on_fault: Callable[[BaseException], None],
    gone: Callable[[str], None] = lambda name: None,
) -> tuple[World, MessageStore, AppendFiles]:  # fmt: skip
    """The world as it was when the last command was committed. `gone`: hears who was removed since the last save.

    Raises FileError for what cannot be trusted; then nothing was changed.
    """
    world = World(defaults())
    flat = _prove(home, journal, world)
    checkpoint.finish(home.data)
    if flat.format == OLD_FORMAT:
        say("The text files are of an earlier version's format: they are written anew.")
        upgrade(home, world)
    held = world.lsn
    torn = journal.mend()
    store = MessageStore(home.messages, world.store_end, world.floor_offset)
    appended = AppendFiles({name: AppendFile(home.data / name, file.first_line.encode(), file.end(world))
                            for name, file in snapshot.appends().items()})  # fmt: skip
    world.archive = Stored(store, appended, time.time, say)
    replay = Replayed(store, appended, gone)
    replay.carry_out(seal(world))
    begun, replayed = time.monotonic(), 0
    gc.disable()  # what is read stays: there is no garbage to find
    for lsn, body in journal.replay(held):
        world.lsn = lsn - 1  # the LSNs that FSYNC second gave away, and that never became durable, are skipped
        _, effects, fault = world.execute(json.loads(body))
        if fault is not None:  # as when it was live: one fault of ours costs nothing else
            on_fault(fault)
        replay.carry_out(effects)
        replayed += 1
        if replayed % _FLUSH_EVERY == 0:
            store.flush()
            appended.flush()
    store.flush()
    appended.flush()
    for offset in replay.erased():
        try:
            store.erase([offset])
        except FileError as damage:
            on_fault(damage)
    gc.enable()
    gc.freeze()
    world.lsn = journal.given  # behind all that FSYNC second has given away
    if torn:
        say(torn)
    if replayed:
        say(f"Recovered {counted(replayed, 'command')} from the journal in {time.monotonic() - begun:.1f} s.")
    return world, store, appended


def seal(world: World) -> list[Effect]:
    """An earlier version kept all positions in memory. What must be stored now, each time until a checkpoint holds."""
    for name, stream in world.streams.items():
        world.seal(stream, name)
    for account in world.accounts.values():
        if account.mail is not NO_MAIL:
            world.seal(account.mail, account.name)
    effects, world.effects = world.effects, []
    return effects


def _prove(home: Home, journal: Replayable, world: World) -> checkpoint.Flat:
    """Reads the flat files into `world`, and proves that everything else can be read. Changes nothing on the disk."""
    flat = _load(home.data, world)
    is_new = not journal.prove(world.lsn, bool(flat))
    for name, file in snapshot.appends().items():
        _prove_appended(home.data / name, file, world, is_new and not flat)
    store = checkpoint.where(home.data, home.messages.name)
    if flat:
        _prove_messages(store, flat, world)
        _must_be_there(home.data / "epoch.txt")
        home.epoch()
    elif is_new:
        longest, there = max(messagefiles.START, len(messagefiles.OLD_HEADER)), messagefiles.listing(store)
        if len(there) > 1 or (store.exists() and store.stat().st_size > longest):
            _must_be_there(home.data / checkpoint.MANIFEST)
    else:
        _must_be_there(home.data / "epoch.txt")
        home.epoch()
    return flat


def _load(data: Path, world: World) -> checkpoint.Flat:
    flat = checkpoint.prove(data, snapshot.files(), snapshot.OLD_FILES)
    world.store_end = messagefiles.START
    try:
        snapshot.load(world, flat.read())
    except snapshot.SnapshotError as error:
        raise FileError(f"{data}/{error}") from None
    return flat


def prove_files(data: Path) -> World:
    """The world of files that came from elsewhere, when a start could read them. Raises FileError; changes nothing."""
    world = World(defaults())
    flat = _load(data, world)
    if not flat:
        _must_be_there(data / checkpoint.MANIFEST)
    for name, file in snapshot.appends().items():
        _prove_appended(data / name, file, world, False)
    _prove_messages(data / messagefiles.NAME, flat, world)
    _must_be_there(data / "epoch.txt")
    return world


def _prove_messages(store: Path, flat: checkpoint.Flat, world: World) -> None:
    is_old = store.parent.name != ".next" and flat.format == OLD_FORMAT
    header = messagefiles.OLD_HEADER if is_old else messagefiles.HEADER
    messagefiles.prove(store, world.floor_offset, world.store_end, header)


def _prove_appended(path: Path, file: AppendOnly, world: World, is_new: bool) -> None:
    first_line = file.first_line.encode()
    if is_new and path.exists() and path.stat().st_size > len(first_line):
        _must_be_there(path.with_name(checkpoint.MANIFEST))
    appendfile.prove(path, first_line, file.end(world), lambda line, offset: file.fits(world, line, offset))


def _must_be_there(path: Path) -> None:
    if not path.exists():
        raise FileError(f"{path} is missing: the server does not start without it. {REMEDY}")


def take_stock(blobs: Blobs, world: World, now: float, wall: float) -> None:
    """Of the bytes of files. A node of a cluster knows by now what the others did meanwhile."""
    wanted = {blob for feature in FEATURES for blob in feature.blobs(world)}
    # A crash may have taken the command that adopted a part; of several servers, the log keeps it.
    undo = world.parameters["FSYNC"] == "second" and not blobs.shared
    blobs.take_stock(wanted, now, wall, undo, partial(parties, world))


def checkpoint_now(
    home: Home, world: World, store: MessageStore, appended: AppendFiles, edited: EditedFiles,
    wanted: Callable[[], bool] = lambda: True,
) -> list[str]:  # fmt: skip
    """Writes all text files from `world`. Returns what people must know about their own two. Raises OSError."""
    store.sync()
    appended.sync()
    checkpoint.write(home.data, world.lsn, snapshot.dump(world), wanted, changed=snapshot.changed(world))
    store.forget(world.floor_offset)
    return edited.write(world)
