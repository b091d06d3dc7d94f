"""What a server of a cluster is built with: where the engine is, what the node is called, where clients reach it.

From ``open`` on there is a link to the engine, and the log over it; the other parts that stand on the engine are made
here, too. Must not know what a command does.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.cluster.link import EngineLink
from chatlib.cluster.shipper import SharedVault, Shipper
from chatlib.cluster.stream import ClusterLog
from chatlib.cluster.vault import Vault
from chatlib.core.world import Command, World
from chatlib.protocol.nats import Engine
from chatlib.reactor.loop import Loop
from chatlib.server.snapshotting import Snapshots
from chatlib.storage.blobs import Blobs
from chatlib.storage.home import Home

Tell = Callable[[str], None]


class Cluster:
    """One node's part of it. Legal order: build, before there is a socket to inherit → ``open`` → `link` and `log`,
    ``vault`` and ``snapshots`` → ``close``."""

    link: EngineLink
    log: ClusterLog
    _vault: SharedVault

    def __init__(self, engine: Engine, node: str, advertise: str = "") -> None:
        self.name = engine.name  # of the log
        self.node, self.advertise = node, advertise
        self.engine, self._shipper = engine, Shipper(engine)

    def open(
        self, loop: Loop, say: Tell, inform: Tell, clock: Callable[[], float], wall_clock: Callable[[], float]
    ) -> ClusterLog:
        """The link to the engine, and the log, which is yet to be told its `standing`. The clocks are the loop's.

        `say`: the administrator hears of what is wrong; `inform`: also of what is not.
        """
        self.link = EngineLink(loop, self.engine, inform, clock)
        self.log = ClusterLog(self.link, self.name, self.node, loop, say=say, clock=clock, wall_clock=wall_clock)
        return self.log

    def vault(self, loop: Loop, blobs: Blobs, tell: Tell, on_fault: Callable[[BaseException], None]) -> Vault:
        """Where the bytes of files are for all servers."""
        self._vault = SharedVault(loop, self._shipper, blobs, tell, on_fault)
        return self._vault

    def snapshots(
        self, home: Home, loop: Loop, world: World, submit: Callable[[Command], None], save: Callable[[Tell], None],
        note: Tell,
    ) -> Snapshots:  # fmt: skip
        """What makes the log shorter."""
        return Snapshots(home=home, loop=loop, world=world, engine=self.engine, link=self.link, node=self.node,
                         submit=submit, save=save, note=note)  # fmt: skip

    def close(self) -> None:
        """Gives everything back."""
        self._vault.close()
        self.link.close()
