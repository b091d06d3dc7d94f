"""The rows of the matrix: data."""

from __future__ import annotations

from dataclasses import dataclass

from tests.cluster import deeds, homes
from tests.cluster.deeds import Deed

TARGETS = {"server": "a server", "leader": "the engine's leader", "follower": "an engine follower",
           "two": "two engine nodes", "all": "all engine nodes"}  # fmt: skip
MANNERS = {"kill": ("KILL", deeds.kill), "stop": ("STOP 8 s", deeds.stop), "term": ("TERM", deeds.term)}


@dataclass(frozen=True)
class Row:
    """`name` is for ONLY=; `parameters` are the world's."""

    name: str
    what: str
    do: Deed
    parameters: tuple[tuple[str, object], ...] = ()


ROWS = (
    *(Row(f"{target}-{manner}", f"{TARGETS[target]}: {words}", do(target))
      for target in TARGETS for manner, (words, do) in MANNERS.items()),
    Row("server-part", "a server cut off from the engine, 8 s", deeds.part_server(8)),
    Row("server-part-long", "a server cut off from the engine, 20 s", deeds.part_server(20)),
    Row("leader-part", "the engine's leader cut off from its nodes, 12 s", deeds.part_leader),
    Row("leader-gone", "the engine's leader cut off from all, 12 s", deeds.part_leader_whole),
    Row("island", "a server and the leader cut off together, 12 s", deeds.part_with_server),
    Row("no-engine", "no engine at all for 20 s", homes.no_engine),
    Row("leader-truncated", "the leader's .blk loses its end; servers restart", deeds.truncate("leader")),
    Row("follower-truncated", "a follower's .blk loses its end; servers restart", deeds.truncate("follower")),
    Row("follower-flipped", "bits of a follower's .blk flip; servers restart", deeds.flip),
    Row("follower-wiped", "a follower loses its store", deeds.wipe),
    Row("leader-full", "the leader's disk is full for 10 s", deeds.full("leader")),
    Row("follower-full", "a follower's disk is full for 10 s", deeds.full("follower")),
    Row("duplicates", "batches come again 3 s later", deeds.duplicates),
    Row("stranger", "what is no batch stands in the log: all stop", deeds.stranger),
    Row("lagging", "one server hears the engine 0.4 s late", deeds.lagging),
    Row("server-wiped", "a server loses its home", homes.wiped_server),
    Row("files", "files outlive the server that took them", homes.files),
    Row("bots", "bots of the library: a server KILL, another STOP", homes.bots),
    Row("snapshots", "the log is cut; two servers join behind it", homes.snapshots, (("JOURNAL_LIMIT", "64 KiB"),)),
    Row("rolling", "each server and node is killed, one at a time", homes.one_after_the_other),
)  # fmt: skip
