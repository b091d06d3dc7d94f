"""A real client before and after its server was restored: nothing is shown twice, and nothing left out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.client.programs import ROOT
from tests.program.peer import PASSWORD, Program, make_home
from tests.program.test_keeping import keep

Start = Callable[..., Program]

# Logs in, prints texts until the one that says "end", and says that it has seen them.
BOT = """
import sys
from chatlib.client import Client
with Client("127.0.0.1", int(sys.argv[1]), memory=sys.argv[2]) as chat:
    chat.login("bob", sys.argv[3])
    for event in chat.events():
        if event["event"] == "message":
            print(event["text"], flush=True)
            if event["text"].startswith("end"):
                break
"""


def shown(server: Program, memory: Path, password: str) -> list[str]:
    """What a client shows that begins now and remembers what earlier ones have shown."""
    command = [sys.executable, "-c", BOT, str(server.port), str(memory), password]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_client_goes_on_with_the_restored_server(start: Start, tmp_path: Path) -> None:
    home, memory = make_home(tmp_path / "first"), tmp_path / "memory"
    server = start(at=home)
    ann = server.login("ann")

    def say(*texts: str) -> None:
        for text in texts:
            assert ann.ask("message", to="bob", text=text)["status"] == "OK"

    say("one", "two")
    assert keep("--backup", str(tmp_path / "b.tar.gz"), "--home", str(home))[2] == 0
    say("lost with the disk", "end of the first life")
    assert shown(server, memory, PASSWORD) == ["one", "two", "lost with the disk", "end of the first life"]
    server.kill()
    assert keep("--restore", str(tmp_path / "b.tar.gz"), "--home", str(tmp_path / "second"))[2] == 0
    server = start(at=tmp_path / "second")
    ann = server.login("ann")
    say("three", "four", "five", "six", "seven", "end of the second life")
    assert shown(server, memory, PASSWORD) == ["three", "four", "five", "six", "seven", "end of the second life"]
    say("end of all")
    assert shown(server, memory, PASSWORD) == ["end of all"]
    ann.close()
    server.stop()
    assert keep("--verify", "--home", str(tmp_path / "second"))[2] == 0
