"""The real engine and what breaks it, under a plain publisher: what the servers build on holds."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from tests.cluster import history
from tests.cluster.engine import Engine, why_not
from tests.cluster.plain import Silence
from tests.cluster.publisher import STREAM, Publisher, holes, make_stream, stored

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


def test_nothing_acknowledged_is_lost_whatever_becomes_of_one_node(tmp_path: Path) -> None:
    """One after the other: killed, damaged, wiped, cut off."""
    with Engine(tmp_path / "engine") as engine:
        engine.wait_ready()
        make_stream(engine)
        publisher = Publisher(engine, pace=0.002)
        _goes_on(engine, publisher)
        follower = engine.node("follower", STREAM)
        follower.kill()
        assert engine.leader(STREAM) not in (follower.name, "")
        _goes_on(engine, publisher)
        assert follower.truncate(STREAM).exists()
        follower.start()
        engine.wait_whole(STREAM)
        follower.kill()
        follower.wipe()
        assert not follower.store.exists()
        follower.start()
        engine.wait_whole(STREAM)
        engine.part(follower.name)
        _goes_on(engine, publisher)
        with engine.connect(follower.name) as cut_off:  # its clients are not
            last = engine.info(STREAM)["state"]["last_seq"]
            with contextlib.suppress(Silence):
                assert cut_off.get(STREAM, last) is None, "it does not know what was said since then"
            engine.join(follower.name)
            engine.wait_whole(STREAM)
            engine.wait_for(lambda: cut_off.get(STREAM, last), "what it missed")
        said = publisher.stop()
        found = {key: seq for seq, key in reversed(stored(engine))}  # what was sent again may be there twice
        lines = sorted((seq, key) for key, seq in found.items())
        assert len(said) > 5 and history.order(said) + history.once(said, {"engine": lines}) == []
        assert {name: holes(engine, name) for name in engine.nodes} == {"n1": [], "n2": [], "n3": []}


def _goes_on(engine: Engine, publisher: Publisher) -> None:
    """An acknowledgement comes after now."""
    now = time.monotonic()
    engine.wait_for(lambda: publisher.last() > now, "an acknowledgement")
