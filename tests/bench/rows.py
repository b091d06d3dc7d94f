"""The rows of the benchmark: what is done, what is aimed at, how it is measured. Data first, then the measurements.

A row may fill several lines of the table, one for each of its aims; its measurement gives as many figures, in
their order. "In flight" counts requests whose reply is not read yet. A broadcast is delivered to everybody online, the
sender too; 64 in flight come from 8 senders. Direct messages go one way: the first of a pair sends, the other listens.
Homes have the default parameters, but for MaxCon, RATE_LIMIT 0 and SCRAM_ITERATIONS 4096, which only the load pays
for; so the journal passes its limit in some rows, and the checkpoint is in their CPU.
"""

from __future__ import annotations

from collections.abc import Callable

from bank import PAYMENTS
from cluster import ROWS as CLUSTER
from figures import KILOBYTES, MILLISECONDS, PERCENT, RATE, SECONDS, Aim, Figure, Row, Scale
from files import FILES
from forum import FORUM, POSTS
from past import AT_REST, COME_BACK
from sealed import TLS
from search import SEARCH
from testbed import Failure, Measurement, Server, Testbed

SLOW_SYNC = 0.2  # seconds


def _points(measurement: Measurement, name: str) -> str:
    points = measurement.load[name]
    return "  ".join(f"{point} {points[point]:.2f}" for point in ("p50", "p99", "max")) + " ms"


def _figure(count: int, measurement: Measurement, note: str = "") -> Figure:
    return Figure(count / max(measurement.cpu, 0.01), count / measurement.seconds, note)


def _broadcast(online: int, senders: int, inflight: int) -> Callable[[Testbed, Scale], list[Figure]]:
    def measure(bed: Testbed, scale: Scale) -> list[Figure]:
        users = scale.users(online)
        with bed.home(users) as home, Server(home) as server:
            result = bed.run_load(
                server, "broadcast", users=users, senders=senders, inflight=inflight, seconds=scale.seconds
            )
        return [_figure(result.load["deliveries"], result)]

    return measure


def _direct(inflight: int) -> Callable[[Testbed, Scale], list[Figure]]:
    def measure(bed: Testbed, scale: Scale) -> list[Figure]:
        with bed.home(100) as home, Server(home) as server:
            result = bed.run_load(server, "direct", users=100, inflight=inflight, seconds=scale.seconds)
        return [_figure(result.load["messages"], result, _points(result, "delivery_ms"))]

    return measure


def _latency(bed: Testbed, scale: Scale) -> list[Figure]:
    with bed.home(100) as home, Server(home) as server:
        result = bed.run_load(server, "latency", users=100, rate=1000, seconds=scale.seconds)
    return [Figure(result.load["delivery_ms"]["p50"], note=_points(result, "delivery_ms"))]


def _logins(bed: Testbed, scale: Scale) -> list[Figure]:
    with bed.home(2000) as home, Server(home) as server:
        result = bed.run_load(server, "login", users=2000, concurrency=32, seconds=scale.seconds)
    return [_figure(result.load["messages"], result, _points(result, "login_ms"))]


def _idle(bed: Testbed, scale: Scale) -> list[Figure]:
    users = scale.users(10_000)
    with bed.home(users) as home, Server(home) as server:
        before = server.memory()
        result = bed.run_load(server, "idle", users=users, seconds=scale.seconds + 1)
    return [
        Figure((result.memory - before) / users / 1024, note=f"{before / 2**20:.0f} MB before they came"),
        Figure(100 * result.cpu / result.seconds),
    ]


def _restart(bed: Testbed, scale: Scale) -> list[Figure]:
    with bed.home(100, JOURNAL_LIMIT="1 TiB") as home:
        with Server(home) as server:
            made = bed.run_load(server, "direct", users=100, inflight=32, count=scale.history, seconds=100)
        journaled = made.load["messages"]
        with Server(home) as server:
            after_crash, stopping = server.started_in, server.stop()
        with Server(home) as server:
            after_stop = server.started_in
    return [
        Figure(after_crash, note=f"{journaled:,} messages, made in {made.seconds:.0f} s"),
        Figure(after_stop, note=f"the stop took {stopping:.1f} s"),
    ]


def _slow_disk(bed: Testbed, scale: Scale) -> list[Figure]:
    with bed.home(101) as home, Server(home, SLOW_SYNC) as server:
        result = bed.run_load(server, "probe", users=101, inflight=1, interval=5000, seconds=scale.seconds)
    acknowledged = result.load["delivery_ms"]["p50"] / 1e3
    if acknowledged < SLOW_SYNC:
        raise Failure(f"messages arrive after {acknowledged:.3f} s: the disk is not slow, or nobody waits for it")
    return [
        Figure(result.load["hello_ms"]["max"], note=_points(result, "hello_ms")),
        Figure(result.load["whoelse_ms"]["max"], note=_points(result, "whoelse_ms")),
    ]


ROWS: tuple[Row, ...] = (
    Row(
        "broadcast-100",
        (Aim("broadcast, 64 in flight, 100 online", 5e6, RATE, "3.3 M and 5.3 M", "7.5 M"),),
        _broadcast(100, 8, 64),
    ),
    Row(
        "broadcast-1000",
        (Aim("broadcast, 64 in flight, 1,000 online", 7.5e6, RATE, "2.3 M and 3.7 M", "9.1 M"),),
        _broadcast(1000, 8, 64),
    ),
    Row(
        "broadcast-5000",
        (Aim("broadcast, 64 in flight, 5,000 online", 5e6, RATE, "1.9 M and 2.0 M", "7.1 M"),),
        _broadcast(5000, 8, 64),
    ),
    Row(
        "broadcast-single",
        (Aim("broadcast, 1 in flight, 1,000 online", 160_000, RATE, "0.18 M and 0.21 M", "0.21 M"),),
        _broadcast(1000, 1, 1),
    ),
    Row(
        "direct-32",
        (Aim("direct, 50 pairs, 32 in flight each", 100_000, RATE, "0.86 M and 1.2 M", "1.5 M"),),
        _direct(32),
    ),
    Row(
        "direct-1",
        (Aim("direct, 50 pairs, 1 in flight each", 40_000, RATE, "0.15 M", "0.14 M"),),
        _direct(1),
    ),
    Row(
        "logins",
        (Aim("logins by SCRAM (others: no password)", 3000, RATE, "1,700 and 28,000"),),
        _logins,
    ),
    Row(
        "latency",
        (Aim("direct, 1,000 a second: median latency", 3, MILLISECONDS),),
        _latency,
    ),
    Row(
        "idle",
        (
            Aim("memory for an idle user, of 10,000", 6, KILOBYTES, "2.9 and 2.3 KB", "0.7 KB"),
            Aim("10,000 idle users: CPU", 1, PERCENT),
        ),
        _idle,
    ),
    Row(
        "restart",
        (
            Aim("restart after a crash, 1,000,000 messages", 15, SECONDS),
            Aim("restart after a clean stop, the same", 2, SECONDS),
        ),
        _restart,
    ),
    Row(
        "slow-disk",
        (
            Aim("sync takes 200 ms: connect and hello, worst", 5, MILLISECONDS),
            Aim("sync takes 200 ms: whoelse, worst", 5, MILLISECONDS),
        ),
        _slow_disk,
    ),
    COME_BACK,
    AT_REST,
    SEARCH,
    POSTS,
    FORUM,
    PAYMENTS,
    FILES,
    TLS,
    *CLUSTER,
)
