"""One log makes equal worlds at all nodes, however their sets are ordered, and wherever they stop and start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chatlib.core.nodes import nodes_of
from tests.chance import examples, new_chance
from tests.core.cluster_life import Cluster, Message, Node

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("small_streams")


def test_three_nodes_make_the_same_of_one_log() -> None:
    chance = new_chance()
    clusters = [Cluster(Random(chance.random())) for _ in range(examples(12))]
    lives = [cluster.life(300) for cluster in clusters]
    found = [_elsewhere(lives, seed) for seed in ("0", "1", str(chance.randrange(2, 2**32)))]
    for cluster, *results in zip(clusters, *found, strict=True):
        own = json.loads(json.dumps(cluster.oracle.result()))
        for result in results:
            for name, lines in own["files"].items():
                assert result["files"][name] == lines, name
            assert result == own
        assert own["executed"] > 150 and {*own["faults"]} <= {"KeyError('no such thing')"}


def _elsewhere(lives: list[list[Message]], seed: str) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-m", "tests.core.cluster_life", seed], input=json.dumps(lives), cwd=ROOT,
                          env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_batch_that_comes_again_or_late_or_out_of_turn_changes_nothing() -> None:
    chance = new_chance("once")
    for _ in range(examples(12)):
        cluster = Cluster(Random(chance.random()))
        cluster.life(300)
        node, counted = Node(), 0
        for message in cluster.messages:
            accepted = node.take(message)
            counted += accepted
            place = nodes_of(node.world).place
            assert not node.take(message), "a batch counts once"
            nodes_of(node.world).place, node.position = place, place[0]
            _consistent(node)
        stored = node.recorder.messages.decode()
        for number in range(cluster.said):
            assert stored.count(f'"text":"said {number}."') <= 1
        assert 100 < counted < 300
        assert node.result() == cluster.oracle.result()


def _consistent(node: Node) -> None:
    """Whoever is online is so at a node that is up."""
    world, nodes = node.world, nodes_of(node.world)
    for user, oldest in world.online.items():
        for session in (oldest, *world.further.get(user, ())):
            assert nodes.is_up(session.node)
    assert not nodes.snapshotting or nodes.is_up(nodes.snapshotting)
    for account in world.accounts.values():
        assert account.seen <= world.lsn and account.left <= world.at
