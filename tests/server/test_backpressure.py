"""A log that does not answer: what waits for it is bounded, since nothing more is read; and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable

from chatlib.protocol.framing import MAX_LINE
from chatlib.server import pipeline
from tests.server.house import House, Peer

LONG = "\N{GRINNING FACE}" * 4_000  # 12 bytes each as the peer writes it


def flood(house: House, peer: Peer, count: int, text: str) -> int:
    """Says so many broadcasts, as far as the connection takes them; how many whole ones that were."""
    line = json.dumps({"action": "broadcast", "text": text}).encode() + b"\n"
    data, sent = line * count, 0
    for _ in range(10_000):
        try:
            sent += peer.socket.send(data[sent : sent + (1 << 20)])
        except BlockingIOError:
            before = house.server.pipeline.submitted
            house.settle()
            if house.server.pipeline.submitted == before:
                break
        if sent == len(data):
            house.settle()
            break
    return sent // len(line)


def released(house: House) -> None:
    """The disk is quick again."""
    house.disk.fast = True
    for _ in range(50):
        house.disk.release()
        house.settle()
        for peer in house.peers:
            peer.hear()


def test_large_commands_that_wait_for_a_slow_disk_are_bounded(build: Callable[..., House]) -> None:
    house = build()
    columbia = house.login("Columbia")
    house.disk.fast = False
    flood(house, columbia, 1_000, LONG)
    waiting = house.server.journal.waiting
    assert pipeline.BYTES < waiting < pipeline.BYTES + 1_024 * MAX_LINE
    assert house.server.pipeline.full
    before = house.server.pipeline.submitted
    for _ in range(50):
        house.tick()
    assert house.server.pipeline.submitted == before, "nothing more is taken"
    assert not house.server.loop._again, "and the loop sleeps meanwhile"
    released(house)
    assert not house.server.pipeline.full


def test_many_small_commands_are_bounded_as_well(build: Callable[..., House]) -> None:
    house = build()
    peers = [house.login(user) for user in ("Columbia", "facebook", "Google")]
    house.disk.fast, before = False, house.server.world.lsn
    said = sum(flood(house, peer, 3_000, "short") for peer in peers)
    waiting = len(house.server.pipeline._waiting)
    assert pipeline.MOST < waiting <= pipeline.MOST + 1_024
    released(house)
    assert house.server.pipeline.idle
    assert house.server.world.lsn - before >= said, "all of it was carried out in the end"


def test_whoever_is_not_read_is_not_lost(build: Callable[..., House]) -> None:
    house = build(HEARTBEAT=10)
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    facebook.ask("alive", seen=0)
    columbia.ask("alive", seen=0)
    house.disk.fast = False
    flood(house, columbia, 6_000, "short")
    for _ in range(8):
        facebook.socket.send(b'{"action":"alive","seen":0}\n')
        house.pass_time(10)
    assert len(house.server.sessions) == 2, "it is we who do not read"
    released(house)
    assert len(house.server.sessions) == 2 and house.server.pipeline.idle
    house.pass_time(40)
    assert len(house.server.sessions) == 0, "now they are read, and say nothing"
