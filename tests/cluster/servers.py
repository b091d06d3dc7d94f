"""Three real chat servers on one engine: started, killed, paused, cut off, stopped; and what they have on disk then.

    with Engine(folder / "engine") as engine, Servers(engine, folder) as servers:
        servers.start()
        servers["s1"].kill()

Each server reaches each engine node through a relay of its own (``s1>n2``), so that it can be cut off from the engine.
s1 founds the world; its home alone has para.txt and credentials.txt. Each has another PYTHONHASHSEED.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.cluster.engine import PASSWORD, USER, Engine, free_ports
from tests.cluster.history import Stored
from tests.cluster.process import Process, dies_with_us
from tests.patience import LIMIT
from tests.program.peer import ITERATIONS, ROOT, VERIFIER

WORLD = "world"
COUNT = 3
HEARTBEAT = 2  # seconds
PARAMETERS = {"SCRAM_ITERATIONS": ITERATIONS, "RATE_LIMIT": 0, "HEARTBEAT": HEARTBEAT, "LOGINS": 0, "STRANGERS": 0,
              "STRANGERS_PER_ADDRESS": 0, "REGISTRATIONS": 0, "MAIL_QUOTA": 0, "MAX_FAILURES": 1_000,
              "INITIAL_BALANCE": 1_000_000}  # fmt: skip
# What is a node's own, and no part of the world.
OWN = frozenset({"node.txt", "lock", "writer.lock", "tls.pem", "journal.txt"})


class Server(Process):
    """One of the servers."""

    def __init__(self, name: str, home: Path, port: int, links: list[str], engine: Engine, hash_seed: int) -> None:
        super().__init__(name)
        self.home, self.port, self.links = home, port, links
        self._engine, self._hash_seed = engine, hash_seed
        self.output = home.with_name(f"{name}.txt")
        self._before = 0  # bytes of the output that earlier processes wrote

    def start(self, *flags: str, wait: bool = True) -> Server:
        assert not self.runs
        relays = self._engine.relays
        addresses = ",".join(f"127.0.0.1:{relays.ports[link]}" for link in self.links)
        words = [str(self.port), "--home", str(self.home), "--log", f"nats://{USER}:{PASSWORD}@{addresses}/{WORLD}",
                 "--node", self.name, "--advertise", f"127.0.0.1:{self.port}", *flags]  # fmt: skip
        self._before = self.output.stat().st_size if self.output.exists() else 0
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": str(self._hash_seed)}
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "server.py"), *words], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, cwd=ROOT, env=environment, start_new_session=True, preexec_fn=dies_with_us,
            )  # fmt: skip
        if wait:
            self.wait_listening()
        return self

    @property
    def listens(self) -> bool:
        """Whether it has said so."""
        return "Listening on port " in self.said()

    def wait_listening(self) -> None:
        """Raises AssertionError when it ends before, or says nothing of it for too long."""
        self.wait_for("Listening on port ")

    def wait_for(self, words: str, patience: float = LIMIT) -> None:
        """Until this process has said that."""
        until = time.monotonic() + patience
        while words not in self.said():
            if not self.runs or time.monotonic() > until:
                status = self.process and self.process.poll()
                raise AssertionError(f"{self.name} never said {words!r} (status {status}), but\n{self.said()[-3_000:]}")
            time.sleep(0.02)

    def said(self) -> str:
        """By the process of now."""
        if not self.output.exists():
            return ""
        return self.output.read_bytes()[self._before :].decode(errors="replace")

    def terminate(self, wait: bool = True) -> int | None:
        """A clean stop; its status."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return self.ended() if wait else None

    def wipe(self) -> None:
        """Its home is empty. Only while it does not run."""
        assert not self.runs
        shutil.rmtree(self.home)
        self.home.mkdir()

    def part(self) -> None:
        """It does not reach the engine; its clients still reach it."""
        self._engine.relays.cut(*self.links)

    def join(self) -> None:
        """The end of that."""
        self._engine.relays.heal(*self.links)

    def hello(self, patience: float = 2.0) -> dict[str, Any] | None:
        """What it answers; None: nothing in time."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=patience) as connection:
                connection.sendall(b'{"action": "hello", "protocol": 1}\n')
                return dict(json.loads(connection.makefile("rb").readline()))
        except (OSError, ValueError):
            return None

    # On disk, after its end.

    def files(self) -> dict[str, bytes]:
        """The text files that must be the same everywhere: the world's own, and the two that people edit.

        Of para.txt what the founder's says, which keeps the shape that somebody gave it.
        """
        found = {path.name: path.read_bytes() for path in (self.home / "data").glob("*.txt") if path.name not in OWN}
        found["credentials.txt"] = (self.home / "credentials.txt").read_bytes()
        lines = [line.split() for line in (self.home / "para.txt").read_text().splitlines()]
        said = {name: float(value) for name, value, *_ in filter(None, lines) if name in PARAMETERS}
        found["para.txt"] = "".join(f"{name} {value}\n" for name, value in sorted(said.items())).encode()
        return found


def stored(home: Path, is_ours: Callable[[str], bool]) -> Stored:
    """(seq, text or memo) of the messages and payments in a home's store whose text is ours, as they stand."""
    found: list[tuple[int, str]] = []
    for path in sorted((home / "data").glob("message_rep*.txt"), key=_begins_at):
        for line in path.read_bytes().split(b"\n"):
            event = _event(line)
            text = event.get("memo" if event.get("event") == "payment" else "text")
            if event.get("event") in ("message", "payment") and isinstance(text, str) and is_ours(text):
                found.append((int(event["seq"]), text))
    return found


def _begins_at(path: Path) -> int:
    word = path.name.split(".")[1]
    return int(word) if word.isdecimal() else 0


def _event(line: bytes) -> dict[str, Any]:
    """The event in a line of the store; empty where there is none."""
    at = line.find(b"{")
    if at < 0:
        return {}
    try:
        found = json.loads(line[at:])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class Servers:
    """Three of them. Whatever happens, none is left running."""

    def __init__(self, engine: Engine, folder: Path, users: Iterable[str] = (), **parameters: object) -> None:
        self.engine, self._started = engine, False
        self.all: dict[str, Server] = {}
        for number, port in enumerate(free_ports(COUNT)):
            name = f"s{number + 1}"
            links = [f"{name}>{node}" for node in engine.nodes]
            links = links[number:] + links[:number]  # each begins with another node
            for link in links:
                engine.relays.open(link, engine.nodes[link.partition(">")[2]].port)
            home = folder / name
            home.mkdir(parents=True)
            self.all[name] = Server(name, home, port, links, engine, hash_seed=number + 1)
        founder = self.all["s1"].home
        chosen = {**PARAMETERS, **parameters}
        (founder / "para.txt").write_text("".join(f"{name} {value}\n" for name, value in chosen.items()))
        (founder / "credentials.txt").write_text("".join(f"{user} {VERIFIER}\n" for user in users))

    def __getitem__(self, name: str) -> Server:
        return self.all[name]

    def start(self) -> Servers:
        """The founder, and then the others at once; all listen."""
        self.all["s1"].start("--found")
        for server in list(self.all.values())[1:]:
            server.start(wait=False)
        for server in self.all.values():
            server.wait_listening()
        return self

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", server.port) for server in self.all.values()]

    def stop(self) -> list[str]:
        """All of them at one place of the log, cleanly: nobody adds to it any more. What was wrong with that."""
        time.sleep(1.0)  # those who hung up are gone
        self.engine.relays.mute(*(link for server in self.all.values() for link in server.links))
        time.sleep(1.0)  # everybody has read all of it
        for server in self.all.values():
            server.terminate(wait=False)
        wrong = []
        for server in self.all.values():
            if (status := server.ended()) != 0:
                wrong.append(f"{server.name} stopped with status {status}: {server.said()[-600:]}")
        for server in self.all.values():
            server.join()
        return wrong

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.all.values():
            server.kill()
