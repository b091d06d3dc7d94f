"""A link and a real engine of three nodes: killed, paused, stopped; what was subscribed to is heard again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatlib.protocol import nats
from tests.cluster.engine import PASSWORD, USER, Engine, why_not
from tests.cluster.linkrig import LinkRig

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


def test_whatever_becomes_of_its_node(tmp_path: Path) -> None:
    with Engine(tmp_path / "engine") as engine:
        engine.wait_ready()
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in engine.nodes.values())
        rig = LinkRig(nats.parse(f"nats://{USER}:{PASSWORD}@{hosts}/world"))
        rig.hear("world.out")
        rig.connected()
        config = {"name": "world", "subjects": ["world.log"], "num_replicas": 3, "allow_direct": True}
        config["republish"] = {"src": "world.log", "dest": "world.out"}
        rig.ask("$JS.API.STREAM.CREATE.world", json.dumps(config).encode())
        rig.until(lambda: "did_create" in rig.told[-1])
        nodes = []
        for number, deed in enumerate(("kill", "pause", "terminate")):
            assert rig.link.info is not None
            node = engine.nodes[rig.link.info.name]
            nodes.append(node.name)
            rig.told.clear()
            getattr(node, deed)()
            rig.until(lambda: "lost" in rig.told and "connected" in rig.told[rig.told.index("lost") :])
            _say(rig, f"message {number}")
            if node.paused:
                node.go_on()
            else:
                node.start()
            engine.wait_whole("world")
        assert nodes[0] != nodes[1] != nodes[2] and rig.link.failure == ""
        wrong = LinkRig(nats.parse(f"nats://{USER}:wrong@{hosts}/world"))
        wrong.until(lambda: wrong.link.failure)
        assert "Authorization Violation" in wrong.link.failure
        wrong.link.close()
        rig.link.close()


def _say(rig: LinkRig, text: str) -> None:
    """Until it is heard: for a while there may be no leader."""
    while text not in rig.told:
        rig.ask("world.log", text.encode(), patience=1.0)
        rig.link.wait(lambda: text in rig.told, 0.3)
