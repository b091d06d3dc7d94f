"""The server under a service manager: the real program, without a terminal."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import server as program
from tests.patience import LIMIT
from tests.program.peer import Program


def test_a_service_from_its_start_to_its_end(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, open(tmp_path / "errors", "wb") as errors:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(LIMIT)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        there = os.fstat(errors.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")

        def told(words: bytes) -> None:
            while words not in manager.recv(1_000):
                pass

        with Program(home, stderr=errors) as server:
            told(b"READY=1")
            server.listening()
            peer = server.login("ann")
            told(b"STATUS=1 user online")
            server.type("online users", "stats --json")
            server.wait_for("ann from 127.0.0.1")
            stats = json.loads(server.wait_for('{"server":'))
            assert stats["people"]["online"] == 1 and stats["server"]["memory"]["now"] > 1 << 20
            server.process.send_signal(signal.SIGHUP)
            told(b"RELOADING=1\nMONOTONIC_USEC=")
            told(b"READY=1")
            peer.ask("message", to="ann", text="hello")
            said = server.stop()
            told(b"STOPPING=1")
    records = (tmp_path / "errors").read_text().splitlines()
    assert records[0] == f"<5>start: port {server.port}"
    assert {"<6>login ann from 127.0.0.1", "<6>console: online users", "<5>Nothing was changed by hand."} <= {*records}
    assert "<5>stop" in records and all(line[:3] in ("<5>", "<6>") for line in records)
    assert "login" not in said, "what nobody asked is in the records alone"
    assert "Everything is saved. Goodbye!" in said


def test_why_it_does_not_start_is_on_standard_error(home: Path) -> None:
    (home / "para.txt").write_text("MaxCon lots\n")
    with Program(home, stderr=subprocess.PIPE) as server:
        assert server.process.wait(LIMIT) == 1 and server.process.stderr
        assert server.process.stderr.read().decode().startswith("Error! ")
        server.process.stderr.close()


# The unit file of the README.

README = Path(__file__).resolve().parents[2] / "README.md"


def unit() -> str:
    """As it stands there, but with the Python of these tests."""
    found = re.search(r"\n(    \[Unit\]\n.*?\n    WantedBy=[^\n]*\n)", README.read_text(), re.DOTALL)
    assert found
    return textwrap.dedent(found[1]).replace("/usr/bin/python3", sys.executable)


def test_the_flags_in_the_unit_are_right() -> None:
    (words,) = (shlex.split(line.partition("=")[2]) for line in unit().splitlines() if line.startswith("ExecStart="))
    options = program.flags(words[2:])
    assert (options.port, options.home, options.tls) == (1234, Path("/var/lib/chat"), True)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here to ask")
def test_systemd_finds_nothing_wrong_in_the_unit_and_calls_it_well_confined(tmp_path: Path) -> None:
    file = tmp_path / "chat.service"
    file.write_text(unit())
    for words in (["verify"], ["security", "--offline=true", "--no-pager", "--threshold=15"]):  # of 100
        asked = subprocess.run(
            ["systemd-analyze", *words, str(file)], capture_output=True, text=True, timeout=LIMIT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (asked.returncode, asked.stderr) == (0, ""), asked.stderr + asked.stdout[-2_000:]
