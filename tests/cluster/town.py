"""One log on a real engine, and the homes of those who share it, without any server."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from chatlib.cluster.link import EngineLink
from chatlib.cluster.pieces import Pieces
from chatlib.core import snapshot
from chatlib.core.nodes import nodes_of
from chatlib.protocol import nats
from chatlib.server.founding import found
from chatlib.server.joining import join
from chatlib.server.recovery import prove_files
from chatlib.storage import checkpoint
from chatlib.storage.home import Home
from tests.cluster.engine import PASSWORD, USER, Engine
from tests.server.house import Disk

OWN = {"lock", "writer.lock", "node.txt", "para.base", "credentials.base", "tls.pem"}  # each server's, in data/


def _raise(fault: BaseException) -> None:
    raise fault


class Town:
    """One log, and homes."""

    def __init__(self, engine: Engine, name: str, folder: Path) -> None:
        places = ",".join(f"127.0.0.1:{node.port}" for node in engine.nodes.values())
        self.engine = nats.parse(f"nats://{USER}:{PASSWORD}@{places}/{name}")
        self.name, self.folder, self.said = name, folder, list[str]()
        self.link = EngineLink(None, self.engine)
        self.pieces = Pieces(self.link, name)
        assert self.link.wait(lambda: self.link.connected, 20.0)

    def home(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def join(self, name: str, node: str = "", founds: bool = False) -> Path:
        home = Home(self.home(name))
        begins = partial(found, syncer=Disk(), on_fault=_raise)  # type: ignore[arg-type]
        try:
            join(home, self.engine, node=node, say=self.said.append, found=begins if founds else None)
        finally:
            os.close(home._lock_fd)
        return home.path

    def log(self, count: int) -> None:
        """Messages that no server sent."""
        answers: list[object] = []
        for number in range(count):
            self.link.request(f"{self.name}.log", b"x" * 10 * number, answers.append)
        assert self.link.wait(lambda: len(answers) == count, 20.0)


def world_files(home: Path) -> dict[str, bytes]:
    """What must be equal everywhere."""
    data = home / "data"
    return {str(path.relative_to(data)): path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()
            and path.name not in OWN and path.relative_to(data).parts[0] not in ("logs", "files")}  # fmt: skip


def save_at(home: Path, place: tuple[int, int]) -> None:
    """As if a node had read on, to that place, and had saved there."""
    data = home / "data"
    world = prove_files(data)
    nodes = nodes_of(world)
    nodes.format, nodes.place = 1, place
    checkpoint.write(data, world.lsn, snapshot.dump(world))
