"""What breaks in a row of the matrix, how, and for how long: each deed is done to a trial, and undone."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from chatlib.protocol.scram import ClientExchange
from tests.cluster.engine import Node
from tests.cluster.plain import Silence
from tests.cluster.servers import WORLD
from tests.cluster.trial import Trial
from tests.patience import LIMIT
from tests.program.peer import VERIFIER

Deed = Callable[[Trial], None]

DOWN = 6.0  # seconds that somebody killed is away
PAUSE = 8.0


def kill(target: str) -> Deed:
    def do(trial: Trial) -> None:
        victims = trial.victims(target)
        trial.broken(lambda: [victim.kill() for victim in victims])
        trial.load(0.5 if target == "all" else DOWN)
        trial.mended(lambda: [start(victim) for victim in victims])

    return do


def stop(target: str) -> Deed:
    def do(trial: Trial) -> None:
        victims = trial.victims(target)
        trial.broken(lambda: [victim.pause() for victim in victims])
        trial.load(PAUSE)
        trial.mended(lambda: [victim.go_on() for victim in victims])

    return do


def term(target: str) -> Deed:
    def do(trial: Trial) -> None:
        victims = trial.victims(target)
        trial.broken(lambda: [_terminate(victim) for victim in victims])
        trial.load(0.5 if target == "all" else DOWN)
        for victim in victims:
            victim.ended()
        trial.mended(lambda: [start(victim) for victim in victims])

    return do


def start(victim: Any) -> None:
    if isinstance(victim, Node):
        victim.start()
    else:
        victim.start(wait=False)


def _terminate(victim: Any) -> None:
    if victim.runs:
        victim.process.terminate()


# Partitions.


def part_server(seconds: float) -> Deed:
    def do(trial: Trial) -> None:
        server = trial.victims("server")[0]
        trial.broken(server.part)
        trial.load(seconds)
        trial.mended(server.join)

    return do


def part_leader(trial: Trial) -> None:
    """Its clients still reach it, and it thinks for a while that it leads."""
    node = trial.victims("leader")[0]
    trial.broken(lambda: trial.engine.part(node.name))
    trial.load(12)
    trial.mended(lambda: trial.engine.join(node.name))


def part_leader_whole(trial: Trial) -> None:
    """Neither the other nodes nor the servers reach it."""
    node = trial.victims("leader")[0]
    links = [f"{server}>{node.name}" for server in trial.servers.all]

    def part() -> None:
        trial.engine.part(node.name)
        trial.engine.relays.cut(*links)

    def join() -> None:
        trial.engine.join(node.name)
        trial.engine.relays.heal(*links)

    trial.broken(part)
    trial.load(12)
    trial.mended(join)


def part_with_server(trial: Trial) -> None:
    """A server and an engine node, together cut off from the rest."""
    server, node = trial.victims("server")[0], trial.victims("leader")[0]
    links = [link for link in server.links if not link.endswith(f">{node.name}")]
    others = [f"{other}>{node.name}" for other in trial.servers.all if other != server.name]

    def part() -> None:
        trial.engine.part(node.name)
        trial.engine.relays.cut(*links, *others)

    def join() -> None:
        trial.engine.join(node.name)
        trial.engine.relays.heal(*links, *others)

    trial.broken(part)
    trial.load(12)
    trial.mended(join)


# Damage.


def truncate(target: str) -> Deed:
    def do(trial: Trial) -> None:
        node = trial.victims(target)[0]

        def damage() -> None:
            node.kill()
            node.truncate(WORLD, trial.chance.uniform(0.1, 0.9))

        trial.broken(damage)
        trial.load(1)
        trial.mended(node.start)
        trial.load(4)
        _restart_servers(trial)

    return do


def flip(trial: Trial) -> None:
    node = trial.victims("follower")[0]

    def damage() -> None:
        node.kill()
        node.flip(WORLD, trial.chance)

    trial.broken(damage)
    trial.load(1)
    trial.mended(node.start)
    trial.load(4)
    _restart_servers(trial)


def _restart_servers(trial: Trial) -> None:
    """One server after the other reads the log again, from whichever replica: also the damaged one."""
    for server in trial.servers.all.values():
        server.kill()
        trial.load(1)
        server.start(wait=False)
        trial.crowd.run(LIMIT / 2, lambda server=server: server.listens or not server.runs)


def wipe(trial: Trial) -> None:
    node = trial.victims("follower")[0]

    def wipe() -> None:
        node.kill()
        node.wipe()

    trial.broken(wipe)
    trial.load(3)
    trial.mended(node.start)
    trial.load(3)
    trial.engine.wait_whole(WORLD)


def full(target: str) -> Deed:
    """The disk of one engine node takes nothing more, and then has room again."""

    def do(trial: Trial) -> None:
        node = trial.victims(target)[0]
        trial.broken(lambda: node.fill(16_384))
        trial.load(10)
        trial.notes.append(f"the node {'went on' if node.runs else 'ended'}")

        def room() -> None:
            if node.runs:
                node.fill(0)
                node.terminate()  # what was not written is not tried again until it starts anew
            node.start()

        trial.mended(room)
        trial.load(3)
        trial.engine.wait_whole(WORLD)

    return do


# Late things.


class Echo:
    """Says each batch again after some seconds, without the number that the engine would know it by."""

    def __init__(self, trial: Trial, after: float) -> None:
        self.count, self._stopped = 0, False
        self._trial, self._after = trial, after
        self._plain = trial.engine.connect()
        self._plain.subscribe(f"{WORLD}.out")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        held: list[tuple[float, bytes]] = []
        try:
            while not self._stopped:
                message = self._plain.hear(0.05)
                if message and message.subject == f"{WORLD}.out" and self._trial.chance.random() < 0.2:
                    held.append((time.monotonic() + self._after, message.payload))
                while held and held[0][0] <= time.monotonic():
                    self._plain.publish(f"{WORLD}.log", held.pop(0)[1])
                    self.count += 1
        except (Silence, OSError):
            return

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(10)
        self._plain.close()


def duplicates(trial: Trial) -> None:
    echo = Echo(trial, 3.0)
    trial.load(10)
    echo.stop()
    trial.notes.append(f"{echo.count} batches came twice")
    trial.expect(echo.count > 20, "hardly any batch came twice")


def stranger(trial: Trial) -> None:
    """Somebody else writes into the log, what no node of the engine has otherwise: all servers stop, and save."""
    with trial.engine.connect() as plain:
        trial.broken(lambda: plain.ask(f"{WORLD}.log", b"nonsense\n"))
    servers = trial.servers.all.values()
    trial.crowd.run(LIMIT, lambda: not any(server.runs for server in servers))
    for server in servers:
        trial.expect(not server.runs and server.ended() == 1, f"{server.name} goes on with a log that nobody can read")
        trial.expect("The log cannot be followed" in server.said(), f"{server.name} does not say why")
    trial.all_stop = True


def lagging(trial: Trial) -> None:
    """One server hears the engine 0.4 s later: what was acknowledged elsewhere is known there, too."""
    server = trial.victims("server")[0]
    other = next(one for one in trial.servers.all.values() if one is not server)
    trial.broken(lambda: trial.engine.relays.lag(0.4, *server.links))
    trial.load(3)
    for number in range(3):
        name = f"late{number}"
        trial.expect(_register(other.port, name) == "OK", f"{name} was not registered")
        status = _first_step(server.port, name)
        trial.expect(status == "CONTINUE", f"the lagging {server.name} says {status} to {name}, who is registered")
        trial.load(1)
    trial.mended(lambda: trial.engine.relays.lag(0.0, *server.links))


def _talk(port: int, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    replies: list[dict[str, Any]] = []
    with socket.create_connection(("127.0.0.1", port), timeout=30.0) as connection:
        file = connection.makefile("rb")
        for request in requests:
            connection.sendall(json.dumps(request).encode() + b"\n")
            while "action" not in (reply := json.loads(file.readline() or b'{"action": "", "status": "HUNG_UP"}')):
                pass
            replies.append(reply)
    return replies


def _register(port: int, name: str) -> str:
    hello = {"action": "hello", "protocol": 1}
    return str(_talk(port, hello, {"action": "register", "user": name, "verifier": VERIFIER})[-1]["status"])


def _first_step(port: int, name: str) -> str:
    hello = {"action": "hello", "protocol": 1}
    return str(_talk(port, hello, {"action": "login", "scram": ClientExchange(name, "nonce" * 5).first})[-1]["status"])
