"""Rows about the forum: a post to many followers beside a broadcast to as many, and a forum with a long past."""

from __future__ import annotations

import statistics
import time

from figures import MILLISECONDS, RATE, SECONDS, SHARE, Aim, Figure, Row, Scale
from peers import Peer
from testbed import Failure, Server, Testbed

_FOLLOWERS = 1_000
_THREADS = 1_000
_READS = 200


def _follow(server: Server, threads: int) -> None:
    """All users follow that many threads: each run has its own, so that none is full."""
    for number in range(_FOLLOWERS):
        with Peer(server.port, f"u{number:05d}") as peer:
            for thread in range(threads):
                peer.ask("follow" if number else "crt", title=f"t{thread}")


def _rate(bed: Testbed, server: Server, scenario: str, inflight: int, thread: int, scale: Scale) -> float:
    """Deliveries per second of CPU."""
    result = bed.run_load(
        server, scenario, users=_FOLLOWERS, senders=min(8, inflight), inflight=inflight, seconds=scale.seconds,
        first=thread,
    )  # fmt: skip
    return float(result.load["deliveries"]) / max(result.cpu, 0.01)


def _posts(bed: Testbed, scale: Scale) -> list[Figure]:
    """Turn by turn, so that whatever else the machine does concerns both."""
    figures = []
    with bed.home(_FOLLOWERS) as home, Server(home) as server:
        _follow(server, 2 * scale.repeats)
        for number, inflight in enumerate((64, 1)):
            rates: dict[str, list[float]] = {"post": [], "broadcast": []}
            for run in range(scale.repeats):
                for scenario, found in rates.items():
                    found.append(_rate(bed, server, scenario, inflight, number * scale.repeats + run, scale))
            post, broadcast = (statistics.median(found) for found in rates.values())
            figures += [Figure(post), Figure(post / broadcast, note=f"broadcast: {broadcast / 1e6:.2f} M")]
    return figures


def _fill(bed: Testbed, server: Server, scale: Scale) -> str:
    """Threads with messages. Who writes is alone, and follows those that it writes into: no more than it may."""
    messages, seconds, half = 0, 0.0, _THREADS // 2
    for first in (0, half):
        with Peer(server.port, "u00000") as peer:
            for number in range(first):
                peer.ask("unfollow", title=f"t{number}")
            for number in range(first, first + half):
                peer.ask("crt", title=f"t{number}")
        made = bed.run_load(
            server, "post", users=1, senders=1, inflight=64, threads=half, first=first, count=scale.history // 2,
            seconds=300,
        )  # fmt: skip
        messages, seconds = messages + made.load["messages"], seconds + made.seconds
    return f"{messages:,} messages, made in {seconds:.0f} s"


def _forum(bed: Testbed, scale: Scale) -> list[Figure]:
    with bed.home(2, JOURNAL_LIMIT="1 TiB") as home:
        with Server(home) as server:
            note = _fill(bed, server, scale)
            whole = server.stop()
        with Server(home) as server:
            started, memory = server.started_in, server.memory()
            with Peer(server.port, "u00001") as peer:
                reads = [_read(peer, number * 7 % _THREADS) for number in range(_READS)]
                peer.ask("msg", title="t7", text="one more")
            stopping = server.stop()
    return [
        Figure(started, note=f"{note}; {memory / 2**20:.0f} MB"),
        Figure(1e3 * statistics.median(reads), note=f"the worst took {1e3 * max(reads):.2f} ms"),
        Figure(stopping, note=f"that of all took {whole:.1f} s"),
    ]


def _read(peer: Peer, number: int) -> float:
    begun = time.perf_counter()
    found = peer.ask("rdt", title=f"t{number}", count=20)["items"]
    taken = time.perf_counter() - begun
    if len(found) != 20:
        raise Failure(f"t{number} has {len(found)} messages")
    return taken


POSTS = Row(
    "posts",
    (
        Aim("post, 64 in flight, 1,000 followers", 6e6, RATE),
        Aim("its share of a broadcast's rate", 0.8, SHARE),
        Aim("post, 1 in flight, 1,000 followers", 128_000, RATE),
        Aim("its share of a broadcast's rate", 0.8, SHARE),
    ),
    _posts,
)
FORUM = Row(
    "forum",
    (
        Aim("1,000 threads, 1,000,000 messages: start", 5, SECONDS),
        Aim("the last 20 messages of one of them", 5, MILLISECONDS),
        Aim("a stop, with its checkpoint, after one post", 1, SECONDS),
    ),
    _forum,
)
