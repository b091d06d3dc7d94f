"""Snapshots while a node runs: when one is due, who makes it, and what may go afterwards.

The log keeps what came since the snapshot before the last. When it has grown by more than JOURNAL_LIMIT since the last
one, each node asks for the next (``snapshot_begin``); the world lets the first have it. That one saves its text files,
unless it has just done so, and a forked child uploads what was saved. Then it says ``snapshot``, and when that is
carried out, another child drops the log up to the snapshot before, and what nobody needs of pieces and files.

Commands are read again at a start. So nothing happens when they are carried out: it happens in a later tick, if the
world still says that it is this node's turn. What fails is tried again a few times, and then left to the others for a
while (``snapshot_end``). Legal: ``saved`` when all text files were written; ``heard`` with each effect NODES; ``end``
last: it kills the child.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

from chatlib.cluster.link import EngineLink
from chatlib.cluster.pieces import LogState, Pieces
from chatlib.cluster.snapshots import sweep, upload
from chatlib.core import features
from chatlib.core.nodes import nodes_of
from chatlib.core.world import Command, World
from chatlib.protocol.nats import Engine
from chatlib.reactor.jobs import Job
from chatlib.reactor.loop import Loop
from chatlib.server.savedset import saved_set
from chatlib.storage.home import Home

EVERY = 60.0  # seconds between two looks at the log's size
FRESH = 600.0  # seconds for which a save is a recent one
AGAIN = 30.0  # seconds before what has failed is tried again,
TRIES = 3  # so often,
ABSTAINS = 600.0  # and seconds for which it is the others' then

_CLEARED = "cleared up after"

Tell = Callable[[str], None]


class Snapshots:
    """Those of one node."""

    def __init__(
        self, *, home: Home, loop: Loop, world: World, engine: Engine, link: EngineLink, node: str,
        submit: Callable[[Command], None], save: Callable[[Tell], None], note: Tell,
    ) -> None:  # fmt: skip
        """`link`: the loop's. `save`: asks for a save. `note`: the server log."""
        self._home, self._loop, self._world, self._engine, self._link = home, loop, world, engine, link
        self._node, self._submit, self._save, self._note = node, submit, save, note
        self._job: Job | None = None
        self._saved = 0.0, 0  # when the text files were last written, and how far the log is in them
        self._failures, self._abstains_until = 0, loop.now  # in a row
        self._asked = self._clears = self._ended = False  # a save is asked for; what is old may go
        loop.call_later(EVERY, self._every_minute)

    def saved(self, position: int) -> None:
        """All text files were written; what they hold of the log ends at `position`."""
        self._saved, self._asked = (self._loop.now, position), False
        self._look()
        self._soon()

    def heard(self, what: str, fields: Command) -> None:
        """Something about the cluster's nodes was carried out."""
        if what == "snapshot" and fields["node"] == self._node:
            self._clears = True
        if what in ("snapshot", "snapshot_begin"):
            self._soon()

    def end(self) -> None:
        """No more of it."""
        self._ended = True
        if self._job is not None:
            self._job.end()
            self._job = None

    # Whether one is due.

    def _every_minute(self) -> None:
        if not self._ended:
            self._loop.call_later(EVERY, self._every_minute)
            self._look(mends=True)
            self._soon()

    def _look(self, mends: bool = False) -> None:
        """Asks how large the log is, if nobody makes a snapshot. `mends`: also drops what another node has left."""
        nodes = nodes_of(self._world)
        if not self._ended and not nodes.snapshotting and nodes.is_up(self._node):
            Pieces(self._link, self._engine.name).look_at_log(partial(self._looked, mends))

    def _looked(self, mends: bool, log: LogState | None) -> None:
        nodes, limit = nodes_of(self._world), self._world.parameters["JOURNAL_LIMIT"]
        if log is None or self._ended or nodes.snapshotting:
            return
        if log.first <= nodes.earlier[0]:  # who made the last one is about to drop that, or is gone
            self._clears |= mends
            self._soon()
            return
        if self._loop.now < self._abstains_until:
            return
        # It begins behind the snapshot before the last: what stands between the two is a limit's worth already.
        if log.size > (2 * limit if nodes.snapshot[0] else limit):
            self._submit({"action": "snapshot_begin", "at": self._loop.wall, "node": self._node,
                          "position": nodes.snapshot[0]})  # fmt: skip

    # What is to be done.

    def _soon(self) -> None:
        self._loop.call_later(0.0, self._go_on)

    def _go_on(self) -> None:
        """Does what it is this node's turn to do."""
        nodes = nodes_of(self._world)
        if self._ended or self._job is not None:
            return
        if nodes.snapshotting == self._node and nodes.is_up(self._node):
            self._make()
        elif self._clears:
            self._clears = False
            self._clear()

    def _make(self) -> None:
        before = nodes_of(self._world).snapshot[0]
        at, position = self._saved
        if position <= before or self._loop.now - at > FRESH:
            if not self._asked:
                self._asked = True
                self._note("snapshot: the text files are saved for it")
                self._save(self._note)
            return
        engine, data, wanted = self._engine, self._home.data, self._home.writer.wanted

        def work() -> bytes:
            link = EngineLink(None, engine)
            pieces = Pieces(link, engine.name)
            link.wait(lambda: link.connected, EVERY)
            upload(pieces, lambda: saved_set(data, wanted))
            latest, _ = pieces.latest()  # perhaps one of an earlier try, whose end nobody saw
            return json.dumps(latest).encode()

        def done(answer: bytes) -> None:
            position, chain, *_ = json.loads(answer) or (0, 0)
            if position > nodes_of(self._world).snapshot[0]:
                self._submit({"action": "snapshot", "at": self._loop.wall, "node": self._node, "position": position,
                              "chain": chain})  # fmt: skip

        self._fork("made", work, done)

    def _clear(self) -> None:
        engine, before = self._engine, nodes_of(self._world).earlier[0]
        wanted, now = {blob for feature in features.FEATURES for blob in feature.blobs(self._world)}, self._loop.wall

        def work() -> bytes:
            link = EngineLink(None, engine)
            pieces = Pieces(link, engine.name)
            link.wait(lambda: link.connected, EVERY)
            if before:
                pieces.drop_log(before)
            return json.dumps(sweep(pieces, wanted, now)).encode()

        def done(answer: bytes) -> None:
            orphans, unnamed = json.loads(answer)
            self._note(f"snapshot: dropped the log up to message {before}, {orphans} pieces, {unnamed} files")

        self._fork(_CLEARED, work, done)

    def _fork(self, what: str, work: Callable[[], bytes], done: Callable[[bytes], None]) -> None:
        begun = time.monotonic()

        def ended(answer: bytes, failure: str) -> None:
            self._job = None
            if failure:
                self._clears |= what == _CLEARED
                self._failed(what, failure)
                return
            self._failures = 0
            self._note(f"snapshot: {what} in {time.monotonic() - begun:.1f} s")
            done(answer)
            if self._clears:
                self._soon()

        try:
            self._job = Job(self._loop, work, ended)
        except OSError as error:
            self._failed(what, error.strerror or str(error))

    def _failed(self, what: str, failure: str) -> None:
        self._note(f"snapshot: not {what}: {failure}")
        self._failures += 1
        if self._failures == TRIES and nodes_of(self._world).snapshotting == self._node:
            self._failures, self._abstains_until = 0, self._loop.now + ABSTAINS
            self._submit({"action": "snapshot_end", "at": self._loop.wall, "node": self._node})
        self._loop.call_later(AGAIN, self._go_on)
