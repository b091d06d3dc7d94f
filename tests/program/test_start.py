"""How a server starts, and why it may not: the Python, the flags, the home, and somebody's second thoughts."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Python
from tests.program.peer import ROOT, Program, make_home

Start = Callable[..., Program]


# The Python.

_OLD = """
import runpy, sys
sys.version_info, sys.argv = (3, 10, 4, "final", 0), ["server.py", "0"]
try:
    runpy.run_path("server.py", run_name="__main__")
finally:
    print([name for name in sys.modules if name.startswith("chatlib.")])
"""


def test_an_old_python_is_told_what_is_needed(python: Python) -> None:
    done = python(_OLD)
    assert (done.returncode, done.stderr) == (1, "Error! Python 3.11 or newer is needed; this is 3.10.\n")
    assert done.stdout == "[]\n", "nothing was imported that an old Python might not understand"


@pytest.mark.parametrize("program", ["server.py", "client.py"])
def test_windows_is_told_what_is_needed(python: Python, program: str) -> None:
    """What Windows lacks is not there, and what was loaded before does not care."""
    done = python(f"""
import argparse, os, pathlib, runpy, sys
for name in ("fcntl", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
os.name, sys.argv = "nt", ["{program}", "127.0.0.1", "1"]
runpy.run_path("{program}", run_name="__main__")
""")
    needed = "Error! Linux or macOS is needed; on Windows, run this inside WSL, which is a Linux.\n"
    assert (done.returncode, done.stderr, done.stdout) == (1, needed, "")


@pytest.mark.parametrize("name", ["server.py", "chatlib/__init__.py"])
def test_an_old_python_can_read_what_tells_it(name: str) -> None:
    source = (ROOT / name).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert "import annotations" not in source, "Python 3.6 refuses that line before it reads on"


# The flags.


@pytest.mark.parametrize("address", ["notahost", "no.such.host.invalid", "203.0.113.9", "x" * 300, "1::2::3"])
def test_an_address_that_is_none_of_this_machines(start: Start, address: str) -> None:
    status, said = start("--bind", address, wait=False).ended()
    assert (status, said) == (1, f"Error! --bind must be an address of this machine, not '{address}'.")


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
def test_an_address_of_this_machine(start: Start, address: str) -> None:
    start("--bind", address).login("ann")


# The home.


def run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """A server in `folder`, without a terminal."""
    return subprocess.run(
        [sys.executable, str(ROOT / "server.py"), "0", *flags],
        cwd=folder, stdin=subprocess.DEVNULL, text=True, capture_output=True,
    )  # fmt: skip


def test_no_home_is_made_in_a_folder_that_nobody_named(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error! There is no server's home in {tmp_path}."
        " Go to the folder that holds it, or name one with --home FOLDER.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_home_is_made_where_the_flag_says_so(start: Start, tmp_path: Path) -> None:
    start(at=tmp_path).stop()
    assert (tmp_path / "para.txt").exists()


def test_a_new_home_is_said_to_be_one_and_how_others_get_there(start: Start, tmp_path: Path) -> None:
    server = start("--bind", "127.0.0.1", at=tmp_path, wait=False)
    server.wait_for(f"New home in {tmp_path}: no users yet. Whoever connects may register.")
    server.listening()
    server.wait_for(f"Only this machine reaches it, with: python3 client.py 127.0.0.1 {server.port}")
    server.stop()
    assert "New home" not in run(tmp_path, "--bind", "notahost").stdout, "it is one by now"


@pytest.mark.parametrize("name", ["para.txt", "credentials.txt", "data"])
def test_one_of_its_files_makes_a_folder_a_home(tmp_path: Path, name: str) -> None:
    make_home(tmp_path)
    (tmp_path / "data").mkdir()
    for other in {"para.txt", "credentials.txt", "data"} - {name}:
        (tmp_path / other).rmdir() if other == "data" else (tmp_path / other).unlink()
    assert "--bind must be an address" in run(tmp_path, "--bind", "notahost").stderr, "it got as far as that"


# Second thoughts.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_is_stopped_says_so_and_has_changed_nothing(
    start: Start, home: Path, number: signal.Signals
) -> None:
    (home / "para.txt").write_text("SCRAM_ITERATIONS 600000\n")
    plain = "".join(f"user{n} secret\n" for n in range(100))
    (home / "credentials.txt").write_text(plain)
    server = start(wait=False, measured=False)  # the signal may hit coverage while it holds a lock of its own
    server.wait_for("Turning 100 passwords of credentials.txt into verifiers")
    server.process.send_signal(number)
    assert server.ended() == (1, "Error! It was stopped before it had started; nothing is lost.")
    assert (home / "credentials.txt").read_text() == plain


def test_one_command_is_not_one_commands(start: Start) -> None:
    start().stop()
    start().kill()
    start(wait=False).wait_for("Recovered 1 command from the journal")


def test_that_it_listens_is_said_before_the_first_tick(python: Python, tmp_path: Path) -> None:
    """Standard input is a pipe that says nothing: the first tick waits."""
    code = """
import os, sys, server
from chatlib.server.server import Server
Server.run = lambda self: (os.write(1, b"the first tick\\n"), self.stop())
server.main(["0", "--home", sys.argv[1]])
"""
    silent, _ = os.pipe()
    said = python(code, tmp_path, stdin=silent).stdout
    assert 0 <= said.find("Listening on port ") < said.find("the first tick")
