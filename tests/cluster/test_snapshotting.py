"""When a node makes a snapshot, of what, and what goes afterwards: with a real engine, and a world without a server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chatlib.core import snapshot
from chatlib.core.effects import NODES
from chatlib.core.nodes import FORMAT, nodes_of
from chatlib.core.world import Command
from chatlib.reactor.loop import Loop
from chatlib.server import snapshotting
from chatlib.server.recovery import prove_files
from chatlib.server.snapshotting import Snapshots
from chatlib.storage import checkpoint
from chatlib.storage.home import Home
from tests.cluster.engine import why_not
from tests.cluster.town import Town, world_files
from tests.patience import LIMIT
from tests.server.house import Clock

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


class Village:
    """A node's world: its commands are carried out at once, each in a message of its own."""

    def __init__(self, town: Town, home: Path, node: str) -> None:
        self.town, self.clock, self.notes, self.saves = town, Clock(), list[str](), list[int]()
        self.home = Home(home)
        self.world = prove_files(home / "data")
        self.loop = Loop(_raise, self.clock.monotonic, time.time)
        self.node, self.refused = node, list[str]()
        self.snapshots = Snapshots(
            home=self.home, loop=self.loop, world=self.world, engine=town.engine, link=town.link, node=node,
            submit=self.submit, save=self.save, note=self.notes.append,
        )  # fmt: skip
        self.submit({"action": "node_up", "at": self.loop.wall, "node": node, "incarnation": 1, "format": FORMAT,
                     "left": 0.0})  # fmt: skip

    def submit(self, command: Command) -> None:
        self.town.log(1)
        reply, effects, _ = self.world.execute(command)
        if reply["status"] != "OK":
            self.refused.append(reply["status"])
        for kind, what, fields in effects:
            if kind == NODES:
                self.snapshots.heard(what, fields)
        log = self.town.pieces.log_state()
        assert log
        nodes_of(self.world).place = log.last, 7

    def save(self, tell: Callable[[str], None]) -> None:
        position, _ = nodes_of(self.world).place
        checkpoint.write(self.home.data, self.world.lsn, snapshot.dump(self.world))
        self.saves.append(position)
        self.loop.call_later(0.0, partial(self.snapshots.saved, position))

    def until(self, what: Callable[[], Any]) -> None:
        deadline = time.monotonic() + LIMIT
        while not what():
            assert time.monotonic() < deadline, self.notes
            self.town.link.wait(lambda: False, 0.01)
            self.clock.now += 0.1  # what got no answer on a busy machine is asked for again in a minute of its own
            self.loop.again(_Idle)
            self.loop.tick()

    def close(self) -> None:
        self.snapshots.end()
        self.loop.close()
        os.close(self.home._lock_fd)


class _Idle:
    @staticmethod
    def again() -> None: ...

    @staticmethod
    def broken() -> None: ...


def _raise(fault: BaseException) -> None:
    raise fault


@pytest.fixture
def village(town: Town, lived: Path) -> Iterator[Village]:
    os.rename(lived, town.home("first"))
    one = Village(town, town.join("first", "north", founds=True), "north")
    yield one
    one.close()


def grow(village: Village) -> None:
    """The log gets longer than its limit."""
    village.world.parameters["JOURNAL_LIMIT"] = 65_536
    for _ in range(20):
        village.town.link.publish(f"{village.town.name}.log", b"x" * 10_000)
    village.submit({"action": "unlock", "at": village.loop.wall, "user": "Columbia"})


def test_a_log_that_has_grown_gets_a_snapshot(village: Village) -> None:
    nodes, town = nodes_of(village.world), village.town
    village.clock.now += snapshotting.EVERY
    village.until(lambda: village.loop._timers.next_deadline() > village.clock.now)  # type: ignore[operator]
    assert not nodes.snapshotting and not village.saves
    grow(village)
    village.clock.now += snapshotting.EVERY
    village.until(lambda: nodes.snapshot[0])
    assert nodes.snapshot == (village.saves[0], 7) and len(village.saves) == 1
    village.until(lambda: any("dropped the log up to message 0" in note for note in village.notes))
    log = town.pieces.log_state()
    assert log and log.first == 1  # what came before the snapshot before the last goes
    assert world_files(town.join("second")) == world_files(village.home.path)


def test_the_log_goes_up_to_the_snapshot_before_the_last(village: Village) -> None:
    nodes, town = nodes_of(village.world), village.town
    for _ in range(2):
        grow(village)
        before = nodes.snapshot[0]
        village.clock.now += snapshotting.FRESH + snapshotting.EVERY
        village.until(lambda before=before: nodes.snapshot[0] > before)  # type: ignore[misc]
    assert nodes.earlier[0] == village.saves[0] and nodes.snapshot[0] == village.saves[1]
    village.until(lambda: any(f"up to message {nodes.earlier[0]}" in note for note in village.notes))
    log = town.pieces.log_state()
    assert log and log.first == nodes.earlier[0] + 1
    assert world_files(town.join("second")) == world_files(village.home.path)


def test_what_was_just_saved_is_not_saved_again(village: Village) -> None:
    grow(village)
    village.save(lambda text: None)
    village.until(lambda: nodes_of(village.world).snapshot[0])
    assert len(village.saves) == 1


def test_another_node_that_is_at_it_is_left_alone(village: Village) -> None:
    nodes = nodes_of(village.world)
    village.submit({"action": "node_up", "at": village.loop.wall, "node": "south", "incarnation": 1, "format": FORMAT,
                    "left": 0.0})  # fmt: skip
    village.submit({"action": "snapshot_begin", "at": village.loop.wall, "node": "south", "position": 0})
    grow(village)
    village.clock.now += snapshotting.EVERY
    village.until(lambda: village.loop._timers.next_deadline() > village.clock.now)  # type: ignore[operator]
    assert nodes.snapshotting == "south" and not village.saves and village.snapshots._job is None


def test_a_child_that_is_killed_is_followed_by_another(village: Village) -> None:
    nodes = nodes_of(village.world)
    grow(village)
    village.clock.now += snapshotting.EVERY
    village.until(lambda: village.snapshots._job is not None)
    assert village.snapshots._job
    os.kill(village.snapshots._job._pid, 9)
    village.until(lambda: any("not made" in note for note in village.notes))
    assert nodes.snapshotting == "north"
    village.clock.now += snapshotting.AGAIN
    village.until(lambda: nodes.snapshot[0])


def test_an_engine_without_an_answer_is_asked_again(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = nodes_of(village.world)
    grow(village)
    monkeypatch.setattr(snapshotting, "upload", _fails)
    village.clock.now += snapshotting.EVERY
    village.until(lambda: any("snapshot: not made: the engine stores nothing" in note for note in village.notes))
    monkeypatch.undo()
    assert not nodes.snapshot[0]
    village.clock.now += snapshotting.AGAIN
    village.until(lambda: nodes.snapshot[0])


def _fails(*_: object) -> None:
    raise RuntimeError("the engine stores nothing")


def test_a_stop_ends_the_child(village: Village) -> None:
    grow(village)
    village.clock.now += snapshotting.EVERY
    village.until(lambda: village.snapshots._job is not None)
    assert village.snapshots._job
    pid = village.snapshots._job._pid
    village.snapshots.end()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_snapshot_is_enough(village: Village) -> None:
    """Right behind it the log is as long as before: what may go is not gone yet."""
    nodes = nodes_of(village.world)
    for _ in range(2):
        grow(village)
        before = nodes.snapshot[0]
        village.clock.now += snapshotting.FRESH + snapshotting.EVERY
        village.until(lambda before=before: nodes.snapshot[0] > before)  # type: ignore[misc]
        village.snapshots.saved(village.saves[-1])
        village.until(lambda: village.notes[-1].startswith("snapshot: dropped"))
    assert len(village.saves) == 2 and not nodes.snapshotting
    assert sum(note.startswith("snapshot: made") for note in village.notes) == 2
    assert set(village.refused) == {"NOT_LOCKED_OUT"}


def test_what_a_node_left_that_died_behind_its_snapshot_another_drops(village: Village) -> None:
    nodes, town = nodes_of(village.world), village.town
    grow(village)
    place = nodes.place
    nodes.earlier, nodes.snapshot = place, (place[0] + 1, 0)
    village.snapshots.saved(0)
    village.clock.now += snapshotting.EVERY
    village.until(lambda: any(f"up to message {place[0]}" in note for note in village.notes))
    log = town.pieces.log_state()
    assert log and log.first == place[0] + 1


def test_who_cannot_make_one_leaves_it_to_the_others(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = nodes_of(village.world)
    grow(village)
    monkeypatch.setattr(snapshotting, "upload", _fails)
    village.clock.now += snapshotting.EVERY
    for number in range(snapshotting.TRIES):
        village.until(lambda number=number: sum("not made" in note for note in village.notes) > number)  # type: ignore[misc]
        village.clock.now += snapshotting.AGAIN
    monkeypatch.undo()
    assert not nodes.snapshotting
    village.submit({"action": "node_up", "at": village.loop.wall, "node": "south", "incarnation": 1, "format": FORMAT,
                    "left": 0.0})  # fmt: skip
    village.clock.now += snapshotting.EVERY
    village.until(lambda: village.loop._timers.next_deadline() > village.clock.now)  # type: ignore[operator]
    assert not nodes.snapshotting
    village.clock.now += snapshotting.ABSTAINS
    village.until(lambda: nodes.snapshot[0])
