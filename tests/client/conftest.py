"""The real server for tests of the client: on a free port, with a temporary home."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.protocol.scram import make_verifier
from tests.client.peerrig import Side, Stage
from tests.client.programs import ROOT, Shell, Terminal
from tests.patience import LIMIT
from tests.ports import free_port

__all__ = ["ROOT", "USERS", "Server"]
USERS = {name: f"{name}-password" for name in ("ann", "bob", "carl")}


# A server is killed at a test's end, and what coverage has counted goes with it: it would only make it slower.
UNMEASURED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


class Server:
    """A process that can be killed and started again on the same port and home."""

    def __init__(
        self, home: Path, users: dict[str, str] = USERS, *, hasty: float = 0, flags: tuple[str, ...] = (),
        **parameters: object,
    ) -> None:  # fmt: skip
        """`hasty`: whoever is asked for an address has that many seconds to answer."""
        self.home, self._hasty, self._flags = home, hasty, flags
        home.mkdir()
        parameters = {"SCRAM_ITERATIONS": 4096, "RATE_LIMIT": 0, **parameters}
        (home / "para.txt").write_text("".join(f"{name} {value}\n" for name, value in parameters.items()))
        verifiers = [f"{name} {make_verifier(password, 4096)}\n" for name, password in users.items()]
        (home / "credentials.txt").write_text("".join(verifiers))
        self.port = free_port()
        self.start()

    def start(self) -> None:
        hasty = [str(ROOT / "tests" / "client" / "hasty.py"), str(self._hasty)] if self._hasty else []
        self.process = subprocess.Popen(
            [sys.executable, *hasty, str(ROOT / "server.py"), str(self.port), "--home", str(self.home), *self._flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=UNMEASURED,
        )  # fmt: skip
        assert self.process.stdout is not None
        said = b""
        for line in self.process.stdout:
            said += line
            if b"Listening on port " in line:
                self.port = int(line.split(b"port ")[1].split(b".")[0])
                return
        raise AssertionError(f"the server did not start: {said!r}")

    def command(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self._wait()

    def stop(self) -> None:
        self.process.terminate()
        self._wait()

    def _wait(self) -> None:
        self.process.wait(timeout=LIMIT)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a server with these parameters."""
    started: list[Server] = []

    def start(users: dict[str, str] = USERS, **parameters: Any) -> Server:
        started.append(Server(tmp_path / f"home{len(started)}", users, **parameters))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.kill()


@pytest.fixture
def server(house: Callable[..., Server]) -> Server:
    return house()


@pytest.fixture
def terminal(server: Server, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts the program for people in a pseudo-terminal of its own."""
    opened: list[Terminal] = []

    def start(*flags: str) -> Terminal:
        opened.append(Terminal(server.port, tmp_path, *flags))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell with job control in a pseudo-terminal."""
    opened = Shell(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Where clients are side by side, and a test introduces them."""
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def ann(stage: Stage) -> Side:
    return stage.side("ann")


@pytest.fixture
def bob(stage: Stage) -> Side:
    return stage.side("Bob")
