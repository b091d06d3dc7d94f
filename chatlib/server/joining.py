"""What a home is before a node starts, and how it becomes one that the log goes on from.

A new home takes the last snapshot. Its para.txt and credentials.txt are put aside, and never taken for edits: they say
nothing of this world. A node's own home goes on from where it stands. If it stands before the log's first message, it
takes the last snapshot, too, and keeps its two files, with what it remembers of them: so edits by hand count as they do
after any other stop. Everything else is refused: another log's home or another epoch's, a single server's, and an empty
log, which `founding` is for.

A snapshot is written into a folder of its own and proven as a start proves a home, before it takes the place of
anything (:mod:`chatlib.storage.takeover`). Legal order: the home is locked, and nothing of it is read yet → ``join``.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from chatlib.cluster.link import EngineLink
from chatlib.cluster.pieces import EngineFailed, Latest, LogState, Pieces
from chatlib.cluster.setup import EngineUnfit, check_streams
from chatlib.cluster.snapshots import fetch
from chatlib.core.nodes import nodes_of
from chatlib.protocol.nats import Engine
from chatlib.server import savedset
from chatlib.server.recovery import prove_files
from chatlib.storage import checkpoint, messagefiles, nodefile, replay, takeover
from chatlib.storage.home import Home, read_epoch
from chatlib.storage.textfile import FileError

_PATIENCE = 1.0  # seconds of waiting for the engine between two looks


class HomeKind(Enum):
    """What a home is."""

    FRESH = "there is nothing of a world in it"
    SINGLE = "it is a single server's"
    NODE = "it is a node's"


def kind_of(home: Home) -> HomeKind:
    """Raises FileError, OSError."""
    if nodefile.read(home.data):
        return HomeKind.NODE
    data = home.data
    begun = checkpoint.where(data, checkpoint.MANIFEST).exists() or checkpoint.where(data, "state.txt").exists()
    begun = begun or bool(replay.segments(data) or messagefiles.listing(data / messagefiles.NAME))
    return HomeKind.SINGLE if begun else HomeKind.FRESH


def join(
    home: Home, engine: Engine, *, node: str, say: Callable[[str], None], found: Callable[[Joining], None] | None = None
) -> str:
    """Makes of a locked home what the log goes on from; the node's name. `found`: the log is empty, and this begins it.

    Waits for the engine. Raises FileError, OSError; then the home is as it was, or the same can be done again.
    """
    joining = Joining(home, engine, node, say)
    try:
        if found:
            found(joining)
        else:
            joining.join()
    except (EngineFailed, EngineUnfit) as failure:
        raise FileError(str(failure)) from None
    finally:
        joining.link.close()
    return joining.node


class Joining:
    """One home and one log."""

    def __init__(self, home: Home, engine: Engine, node: str, say: Callable[[str], None]) -> None:
        """`node`: how it is to be called ("": as before, or at random). Waits for the engine.

        Raises FileError for a home that is another log's or another node's, and for what the engine will never allow.
        """
        self.home, self.log, self.say, self.kind = home, engine.name, say, kind_of(home)
        known = nodefile.read(home.data)
        self.node = node or (known.node if known else f"node-{secrets.token_hex(4)}")
        where = home.path.resolve()
        if known and known.log != self.log:
            raise FileError(f'{where} is a home of the log "{known.log}", not of "{self.log}": name another folder.')
        if known and known.node != self.node:
            raise FileError(f'{where} is the home of the node "{known.node}", not of "{self.node}": leave out --node.')
        self.link = EngineLink(None, engine, say)
        self.pieces = Pieces(self.link, self.log)
        while not self.link.wait(lambda: self.link.connected or bool(self.link.failure), _PATIENCE):
            pass
        if self.link.failure:
            raise FileError(f"The log cannot be used: {self.link.failure}.")

    def join(self) -> None:
        """The home is one that the log goes on from. Raises FileError, OSError, EngineFailed; then it is as it was."""
        latest, log = self.pieces.latest()[0], self.pieces.log_state()
        where = self.home.path.resolve()
        self.refuse_a_deleted_log(latest, log)
        if latest is None or log is None:
            raise FileError(f'The log "{self.log}" is empty: start one server, with the home that is to be '
                            "everybody's, with --found.")  # fmt: skip
        check_streams(self.link, self.log, latest.epoch)
        if self.kind is HomeKind.SINGLE:
            raise FileError(f'{where} is a single server\'s home, and the log "{self.log}" has a world already: name a '
                            "new folder with --home.")  # fmt: skip
        if self.kind is HomeKind.FRESH:
            self._take(log)
            return
        epoch, (position, _) = read_epoch(self.home.data), savedset.place(self.home.data)
        if epoch != latest.epoch:
            raise FileError(f'{where} is of epoch {epoch}, and the log "{self.log}" of {latest.epoch}: it was begun '
                            "anew. What this home alone has is not in it. Name a new folder with --home.")  # fmt: skip
        if position > log.last:
            raise FileError(f'{where} is at message {position} of the log "{self.log}", which ends at {log.last}: the '
                            "engine has lost what it had.")  # fmt: skip
        if position + 1 < log.first:
            self._take(log)

    def refuse_a_deleted_log(self, latest: Latest | None, log: LogState | None) -> None:
        """Snapshots without a log: neither a world to take part in, nor nothing at all. Raises FileError."""
        if latest is not None and log is None:
            files = f"{self.log}_files"
            raise FileError(
                f'The engine has snapshots of the log "{self.log}", in its stream "{files}", but not the log: somebody'
                " has deleted it. Take a --backup of the home that is to be everybody's, with --log, so that the bytes"
                f' of files are in it. Then delete "{files}", --restore the backup, and start that home with --found.'
            )

    def _take(self, log: LogState) -> None:
        """The last snapshot becomes the home's data."""
        home, begun = self.home, time.monotonic()
        self.say(f'Taking the last snapshot of the log "{self.log}" ...')
        folder = takeover.begin(home.data)
        try:
            latest = fetch(self.pieces, folder, home.data, savedset.may_be)
            if latest is None or latest.position + 1 < log.first:
                raise FileError(f'The log "{self.log}" begins with message {log.first:,}, and its last snapshot ends '
                                f"before that{f', with {latest.position:,}' if latest else ''}.")  # fmt: skip
            _prove(folder, latest)
            nodefile.write(folder, self.node, self.log)
            aside = _aside(home) if self.kind is HomeKind.FRESH else {}
            takeover.ready(home.data, folder, savedset.held(home.data), aside)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        for name, new in aside.items():
            self.say(f"{name} is not this world's: it was put aside as {new}.")
        self.say(f"Took the snapshot: the world up to command {latest.lsn:,}, in {time.monotonic() - begun:.1f} s.")


def _prove(folder: Path, latest: Latest) -> None:
    """Raises FileError when no start could read it, or it is of another place than the log says."""
    world = prove_files(folder)
    found = *nodes_of(world).place, world.lsn, read_epoch(folder)
    if found != (latest.position, latest.chain, latest.lsn, latest.epoch):
        raise FileError(f"The log's last snapshot is of {found}, not of {latest[:4]} as the log says: it is not taken.")


def _aside(home: Home) -> dict[str, str]:
    """The two files that people edit, and the names under which they are put aside."""
    found = {}
    for path in (home.parameters, home.credentials):
        if path.exists():
            names = (f"{path.stem}.before{count or ''}.txt" for count in range(1_000_000))
            found[path.name] = next(name for name in names if not (home.path / name).exists())
    return found
