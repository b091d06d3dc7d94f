"""More of what breaks in a row: homes that are lost, snapshots, files, and everything one after the other."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from chatlib.client import Client
from tests.cluster.deeds import start
from tests.cluster.engine import Node
from tests.cluster.servers import WORLD, Server
from tests.cluster.trial import Trial
from tests.patience import LIMIT
from tests.program.peer import PASSWORD

SIZES = (0, 1, 131_072, 3_000_001)  # bytes of a file: nothing, less than a piece, one piece, many

def wiped_server(trial: Trial) -> None:
    """A server's home is gone: it takes the last snapshot, or the whole log, and has everything again."""
    server = trial.victims("server")[0]
    trial.broken(server.kill)
    server.wipe()
    trial.load(4)
    trial.mended(lambda: server.start(wait=False))
    came = trial.crowd.run(LIMIT, lambda: server.listens or not server.runs)
    trial.expect(came and server.runs, f"{server.name} does not come back with an empty home:\n{server.said()[-800:]}")


def snapshots(trial: Trial) -> None:
    """The log passes its limit again and again; then a server that was away for that, and one without a home, join."""
    away, wiped = trial.servers["s2"], trial.servers["s3"]
    trial.broken(away.kill)
    trial.load(12)
    first = int(trial.engine.info(WORLD)["state"]["first_seq"])
    trial.notes.append(f"the log begins at {first}")
    trial.expect(first > 1, "the log was never cut: no snapshot was taken")
    wiped.kill()
    wiped.wipe()
    trial.mended(lambda: [server.start(wait=False) for server in (away, wiped)])
    for server in (away, wiped):
        came = trial.crowd.run(LIMIT, lambda server=server: server.listens or not server.runs)
        trial.expect(came and server.runs, f"{server.name} does not come back:\n{server.said()[-800:]}")


def one_after_the_other(trial: Trial) -> None:
    """Every server and every engine node is killed and started again, one at a time."""
    trial.broken(lambda: None)
    for victim in [*trial.servers.all.values(), *trial.engine.nodes.values()]:
        victim.kill()
        trial.load(3)
        start(victim)
        if isinstance(victim, Node):
            trial.load(1)
            trial.engine.wait_whole(WORLD)
        else:
            trial.crowd.run(LIMIT, lambda victim=victim: victim.listens or not victim.runs)


def no_engine(trial: Trial) -> None:
    """Without the engine for longer than anybody waits: people are sent away, and come back; nothing is lost."""
    trial.broken(lambda: [node.kill() for node in trial.engine.nodes.values()])
    trial.load(20)
    sent_away = trial.crowd.notes["bye NO_QUORUM"]
    trial.notes.append(f"{sent_away} were told NO_QUORUM")
    trial.mended(lambda: [node.start() for node in trial.engine.nodes.values()])


def files(trial: Trial) -> None:
    """What one server took is fetched from another while it is away, and from itself when it has lost its home."""
    first, second, _ = trial.servers.all.values()
    folder = trial.folder / "files"
    folder.mkdir()
    _register(first, "sender", "taker", "other")
    with Client("127.0.0.1", first.port, timeout=LIMIT) as sender:
        sender.login("sender", PASSWORD)
        for number, size in enumerate(SIZES):
            path = folder / f"file{number}"
            path.write_bytes(trial.chance.randbytes(size))
            for user in ("taker", "other"):
                sender.send_file(user, path)
                trial.load(0.1)
    trial.broken(first.kill)
    _fetch_all(trial, second, "taker", folder)
    first.wipe()
    trial.mended(lambda: first.start(wait=False))
    trial.crowd.run(LIMIT, lambda: first.listens or not first.runs)
    _fetch_all(trial, first, "other", folder)
    trial.notes.append(f"{2 * len(SIZES)} files fetched elsewhere")


def bots(trial: Trial) -> None:
    """Bots of the library: the server of one is killed, and then it stands still; how soon they are answered again."""
    bots = trial.call_bots()
    trial.load(2)
    for what in ("killed", "paused"):
        port = bots.ports()["bot0"]
        server = next(one for one in trial.servers.all.values() if one.port == port)
        hit = {name for name, where in bots.ports().items() if where == port}
        trial.broken(server.kill if what == "killed" else server.pause)
        begun = time.monotonic()

        def back(hit: set[str] = hit, begun: float = begun) -> bool:
            return {one.who for one in bots.said() if (one.answered or 0.0) > begun} >= hit

        while not back() and time.monotonic() < begun + LIMIT:
            trial.load(0.05)
        trial.expect(back(), f"the bots of the {what} server do not come back")
        answers = [(one.who, one.answered or 0.0) for one in bots.said()]
        first = [min(when for who, when in answers if who == name and when > begun) for name in hit if back()]
        trial.notes.append(f"bots of the {what} server back after {max(first, default=begun) - begun:.2f} s")
        if what == "killed":
            server.start(wait=False)
        else:
            server.go_on()
        trial.crowd.run(LIMIT, lambda server=server: server.listens)
        trial.load(2)


def _register(server: Server, *names: str) -> None:
    for name in names:
        with Client("127.0.0.1", server.port, timeout=LIMIT) as newcomer:
            newcomer.register(name, PASSWORD)


def _fetch_all(trial: Trial, server: Server, user: str, folder: Path) -> None:
    kept = folder / user
    kept.mkdir()
    with Client("127.0.0.1", server.port, timeout=LIMIT) as taker:
        taker.login(user, PASSWORD)
        for number in range(len(SIZES)):
            fetched = taker.fetch("sender", f"file{number}", kept)
            trial.load(0.1)
            is_same = _digest(fetched) == _digest(folder / f"file{number}")
            trial.expect(is_same, f"file{number} differs at {server.name}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
