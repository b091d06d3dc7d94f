"""``--found``: a home becomes the first of a cluster, and its world what everybody will have.

A single server's home is recovered through its journal, and saved; so is a new one, which has an empty world. A home
that was a node's founds anew, after an engine that was lost: it gets a new epoch, since the positions of all other
homes mean nothing any more. (What was acknowledged and is in no home is lost with the engine.) Then, in this order:

1. the text files are written: no journal is needed;
2. the streams are made, for the home's epoch;
3. ``data/node.txt`` says that it is a node's, and the journal goes;
4. the bytes of files go to the engine, then snapshot number one does, of position 0.

Whatever a crash cuts short, ``--found`` takes up again: until the snapshot is there, the log counts as empty. The home
keeps the epoch that the streams were made for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from chatlib.cluster.blobs import Mover
from chatlib.cluster.pieces import EngineFailed
from chatlib.cluster.setup import make_streams
from chatlib.cluster.snapshots import upload
from chatlib.cluster.vault import Outcome
from chatlib.core import features
from chatlib.core.world import World
from chatlib.protocol.text import counted
from chatlib.server import erasure, savedset
from chatlib.server.edits import EditedFiles
from chatlib.server.effects import Replayed
from chatlib.server.joining import HomeKind, Joining
from chatlib.server.recovery import Replayable, checkpoint_now, recover
from chatlib.storage import nodefile, replay
from chatlib.storage.blobs import part_of
from chatlib.storage.home import Home, read_epoch, renew_epoch
from chatlib.storage.journal import Journal
from chatlib.storage.syncer import Syncer
from chatlib.storage.textfile import FileError, sync_folder

Fault = Callable[[BaseException], None]


def found(joining: Joining, syncer: Syncer, on_fault: Fault) -> None:
    """For ``join``. Raises FileError, OSError, EngineFailed, EngineUnfit; then it can be done again."""
    home, pieces, say = joining.home, joining.pieces, joining.say
    begun = _refuse_what_is_not_empty(joining)
    again = joining.kind is HomeKind.NODE
    journal: Replayable = NoJournal() if again else Journal(home.data, syncer)
    world = _save(home, journal, joining.node if again else "", say, on_fault)
    if again and not begun:
        renew_epoch(home.data, world.lsn)
        say(f'The log "{joining.log}" is begun anew, with all that this home has, up to command {world.lsn:,}. '
            "Homes of other nodes do not fit it: each takes the snapshot into a new folder.")  # fmt: skip
    make_streams(joining.link, joining.log, home.epoch())
    nodefile.write(home.data, joining.node, joining.log)
    for path in (*replay.segments(home.data), *home.data.glob("torn.*.txt")):
        path.unlink()
    sync_folder(home.data)
    _put_files(joining, world)
    latest = upload(pieces, lambda: savedset.saved_set(home.data))
    if latest is None:
        raise FileError(f'The log "{joining.log}" has just been founded by another server.')
    say(f'The log "{joining.log}" is founded, with the world up to command {world.lsn:,}.')


def _refuse_what_is_not_empty(joining: Joining) -> bool:
    """Whether this home has begun to found it already. Raises FileError, OSError, EngineFailed."""
    log, name, data = joining.pieces.log_state(), joining.log, joining.home.data
    latest = joining.pieces.latest()[0]
    joining.refuse_a_deleted_log(latest, log)
    if (log is not None and log.last) or latest is not None:
        raise FileError(f'The log "{name}" has a world already: leave out --found to take part in it, or give another '
                        "name, or delete its streams if nobody needs them.")  # fmt: skip
    if log is not None and log.epoch != (read_epoch(data) if (data / "epoch.txt").exists() else ""):
        whose = "another home has begun to found it" if log.epoch else "no server like this made it"
        raise FileError(f'The engine has a stream "{name}" already, and {whose}: give another name, or delete the '
                        f'streams "{name}" and "{name}_files" if nobody needs them.')  # fmt: skip
    return log is not None


class NoJournal:
    """What a node's home has instead: nothing. All that was acknowledged since the last save is in the log."""

    given = 0

    def prove(self, after: int, begun: bool) -> bool:
        """As of any log."""
        self.given = after
        return begun

    def mend(self) -> str:
        """Nothing is to be mended."""
        return ""

    def replay(self, _after: int) -> Iterator[tuple[int, bytes]]:
        """There are no records."""
        return iter(())


def _save(home: Home, journal: Replayable, node: str, say: Callable[[str], None], on_fault: Fault) -> World:
    """Recovers the world, ends all sessions in it, and writes the text files."""
    gone: list[str] = []
    world, store, appended = recover(home, journal, say, on_fault, gone.append)
    try:
        edited, at = EditedFiles(home.path), round(time.time(), 3)
        edited.recall(world.by_hand.of(node))
        replayed = Replayed(store, appended, gone.append)
        _, effects, fault = world.execute({"action": "start", "at": at, "left": min(world.at, at),
                                           "written": edited.written, "limited": True})  # fmt: skip
        if fault is not None:
            raise fault
        replayed.carry_out(effects)
        with home.writer.alone():
            if gone:
                erasure.note(home.logs, gone)
            for note in checkpoint_now(home, world, store, appended, edited):
                say(f"Left as it is: {note}")
    finally:
        store.close()
        appended.close()
    return world


def _put_files(joining: Joining, world: World) -> None:
    """The bytes that the world owns go to the engine."""
    folder, count, mover = joining.home.data / "files", 0, Mover(joining.link, joining.log)
    for blob in sorted({blob for feature in features.FEATURES for blob in feature.blobs(world)}):
        try:
            fd = _opened(folder, blob)
        except FileNotFoundError:
            joining.say(f"{folder / blob} is missing: nobody will be able to fetch it.")
            continue
        with open(fd, "rb"):
            ended = mover.alone(partial(mover.put, blob, fd, os.fstat(fd).st_size))
        if ended.outcome is not Outcome.DONE:
            raise EngineFailed(f"{folder / blob} did not get to the engine: {ended.text or os.strerror(ended.error)}")
        count += 1
    if count:
        joining.say(f"{counted(count, 'file')} went to the engine.")


def _opened(folder: Path, blob: str) -> int:
    """Whether it has its name already, or gets it by the next start."""
    try:
        return os.open(folder / blob, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(part_of(folder, blob), os.O_RDONLY | os.O_CLOEXEC)
