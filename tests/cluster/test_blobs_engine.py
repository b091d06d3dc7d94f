"""Blobs and the real engine: its leader is killed in the middle, and comes back with a damaged replica."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chatlib.cluster.blobs import PIECE
from chatlib.cluster.vault import Carried, Outcome
from chatlib.protocol import nats
from tests.chance import new_chance
from tests.cluster.engine import PASSWORD, USER, Engine, why_not
from tests.cluster.test_shipper import Yard

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
FILES = "world_files"
DATA = random.Random(8).randbytes(120 * PIECE + 9)
BLOB = "cd" * 24 + ".01234567"
DONE = Carried(Outcome.DONE)


def url(engine: Engine, *names: str) -> nats.Engine:
    """By way of these nodes, or of all."""
    ports = [engine.nodes[name].port for name in names or engine.nodes]
    return nats.parse(f"nats://{USER}:{PASSWORD}@{','.join(f'127.0.0.1:{port}' for port in ports)}/world")


def make_stream(engine: Engine) -> None:
    config = {"name": FILES, "subjects": ["world.files.>"], "num_replicas": 3, "allow_direct": True}
    with engine.connect() as plain:
        assert "error" not in plain.api(f"STREAM.CREATE.{FILES}", config, 10.0)
    engine.wait_whole(FILES)


def test_whatever_becomes_of_one_node_the_bytes_are_the_same(tmp_path: Path) -> None:
    with Engine(tmp_path / "engine") as engine:
        engine.wait_ready()
        make_stream(engine)
        yard = Yard(tmp_path / "files", url(engine))
        try:
            large = yard.put(DATA, BLOB)
            yard.until(lambda: engine.info(FILES)["state"]["messages"] > 5)
            leader = engine.node("leader", FILES)
            leader.kill()
            assert large.ended is None, "in the middle"
            assert yard.over(large) == [DONE]
            assert yard.over(yard.fetch(DATA, BLOB)) == [DONE] and yard.lying() == {BLOB: DATA}
            leader.flip(FILES, new_chance(1), 200)
            leader.start()
            engine.wait_whole(FILES)
        finally:
            yard.close()
        # By way of the node that is damaged, which asks itself first.
        yard = Yard(tmp_path / "again", url(engine, leader.name, *(engine.nodes.keys() - {leader.name})))
        try:
            assert yard.over(yard.fetch(DATA, BLOB)) == [DONE] and yard.lying() == {BLOB: DATA}
        finally:
            yard.close()
