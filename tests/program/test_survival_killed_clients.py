"""Clients killed at any moment, and started again: nothing is said twice, nothing is lost, nothing is shown twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chance import SEED, new_chance
from tests.patience import LIMIT
from tests.program.cutting_proxy import CuttingProxy, rough
from tests.program.cutting_proxy import Plan as Cut
from tests.program.survival_house import ROOT, UNMEASURED, Server, check_stored, names
from tests.program.survival_plan import Plan, check_shown, for_whom

COUNT = 25  # texts of each
MURDERS = 10  # besides those that the clients do themselves: see the driver


def gentle(rng: random.Random) -> Cut:
    """Mostly a good network: the killing is what is looked at here."""
    return rough(rng, 0.5) if rng.random() < 0.15 else Cut()


class Killed:
    """A client whose program ends again and again; its memory folder and its log stay."""

    def __init__(self, name: str, everyone: list[str], folder: Path, port: int) -> None:
        self.name = name
        self.mode = "own" if int(name[1:]) % 2 else "plain"
        self.log = folder / f"{name}.log"
        self.log.touch()
        driver = ROOT / "tests" / "program" / "survival_driver.py"
        words = [driver, port, name, ",".join(everyone), folder / "memory", SEED, COUNT, self.log, self.mode]
        self.arguments = [sys.executable, *map(str, words)]
        self.process: subprocess.Popen[bytes] | None = None
        self.kills = 0
        self._read = 0
        self.lines: list[str] = []

    def look(self) -> None:
        """Takes in the log; starts the program again when it has ended."""
        if self.log.stat().st_size > self._read:
            with open(self.log, "rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            assert new.endswith(b"\n"), "a line is one write"
            self.lines += new.decode().splitlines()
        if self.process is not None and self.process.poll() is not None:
            assert self.process.returncode in (-9, 3), f"{self.name} ended with {self.process.returncode}"
            self.kills += self.process.returncode == -9
            self.process = None
        if self.process is None:
            self.process = subprocess.Popen(self.arguments, env={**UNMEASURED, "PYTHONDONTWRITEBYTECODE": "1"})

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def shown(self) -> list[str]:
        """The texts. In mode ``plain`` the one whose writing down the program may have died behind comes once more."""
        texts: list[str] = []
        last, fresh = "", False
        for line in self.lines:
            if line == "B":
                fresh = True
            elif line.startswith("S "):
                if not (fresh and self.mode == "plain" and line == last):
                    texts.append(line.split(" ")[2])
                last, fresh = line, False
        return texts


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "home", names(20))
    server.start()
    yield server
    server.close()


def test_clients_killed(server: Server, tmp_path: Path) -> None:
    rng = new_chance()
    proxy = CuttingProxy(rng, gentle, server.port)
    everyone = names(20)
    plans = {name: Plan(name, everyone, SEED, COUNT) for name in everyone}
    expected = {name: sum(map(len, for_whom(plans, name).values())) for name in everyone}
    clients = [Killed(name, everyone, tmp_path, proxy.port) for name in everyone]
    try:
        kill_and_wait(proxy, clients, expected, rng)
    finally:
        for client in clients:
            client.close()
        proxy.close()
    server.stop()
    check_stored(plans, server)
    for client in clients:
        assert not [line for line in client.lines if line.startswith("E")]
        assert {line.split()[2] for line in client.lines if line.startswith("A")} == {"OK"}
        check_shown(plans, client.name, client.shown())
    print(f"{sum(client.kills for client in clients)} killed, {proxy.accepted} connections, {dict(proxy.struck)}")


def kill_and_wait(
    proxy: CuttingProxy, clients: list[Killed], expected: dict[str, int], rng: random.Random
) -> None:
    deadline, lines = time.monotonic() + LIMIT, 0
    total, murders, calm = sum(expected.values()), 0, False
    while not all(len(client.shown()) >= expected[client.name] for client in clients):
        assert time.monotonic() < deadline, {c.name: (len(c.shown()), expected[c.name], c.lines[-3:]) for c in clients}
        look_at = time.monotonic() + 0.05
        while (left := look_at - time.monotonic()) > 0:
            proxy.step(left)
        for client in clients:
            client.look()
        so_far = sum(len(client.shown()) for client in clients)
        if lines < (lines := sum(len(client.lines) for client in clients)):
            deadline = time.monotonic() + LIMIT
        if murders < MURDERS and so_far > total * (murders + 1) // (MURDERS + 3):
            murders += 1
            rng.choice(clients).kill()
        if so_far > 0.9 * total and not calm:
            calm = True
            proxy.calm()
