"""Backups of a server under load, by a second process: everything acknowledged before is in each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.client.programs import ROOT
from tests.program.peer import Program, TcpPeer, make_home

Start = Callable[..., Program]


def keep(*flags: str, typed: str = "") -> tuple[str, str, int]:
    """What server.py says with these flags to what is typed, and its exit status."""
    command = [sys.executable, str(ROOT / "server.py"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, input=typed)
    return done.stdout, done.stderr, done.returncode


class Sender:
    """Says numbered texts to bob, many at once, and knows which were acknowledged."""

    def __init__(self, peer: TcpPeer) -> None:
        self.peer, self.sent, self.acknowledged = peer, 0, 0

    def send(self, count: int) -> None:
        numbers = range(self.sent, self.sent + count)
        self.sent += count
        self.peer.send(*({"action": "message", "to": "bob", "text": f"{number} {'x' * 300}"} for number in numbers))

    def take(self, count: int) -> None:
        for _ in range(count):
            assert self.peer.reply()["status"] == "OK"
            self.acknowledged += 1


def test_backups_under_load_while_saves_come_in_between(start: Start, tmp_path: Path) -> None:
    home = make_home(tmp_path / "load", JOURNAL_LIMIT="64 KiB")
    server = start(at=home)
    ann = Sender(server.login("ann"))
    backups: list[tuple[Path, int]] = []
    for number in range(2):
        ann.send(1_000)
        ann.take(200)
        backups.append((tmp_path / f"{number}.tar.gz", ann.acknowledged))
        _, error, status = keep("--home", str(home), "--backup", str(backups[-1][0]))
        assert status == 0, error
        ann.take(ann.sent - ann.acknowledged)
    said, _, status = keep("--home", str(home), "--verify")
    assert status == 0, said
    assert f"A server (process {server.process.pid}) uses it" in said
    server.kill()
    for file, acknowledged in backups:
        again = tmp_path / file.stem
        said, error, status = keep("--restore", str(file), "--home", str(again))
        assert status == 0, said + error
        server = start(at=again)
        texts = [int(text.split(" ")[0]) for text in server.login("bob").texts()]
        assert texts == list(range(len(texts)))
        assert len(texts) >= acknowledged
        server.stop()
        assert keep("--verify", "--home", str(again))[2] == 0


def test_what_the_flags_say(tmp_path: Path) -> None:
    said, error, status = keep("--verify", "--home", str(tmp_path))
    assert (said, status) == ("", 1)
    assert error == f"Error! {tmp_path}: there is no server's home; --home must name one\n"
    assert "--verify starts no server: it takes --home FOLDER alone" in keep("1234", "--verify")[1]
    assert "--restore needs --home FOLDER" in keep("--restore", "x.tar.gz")[1]
    assert keep("--restore", "x.tar.gz")[2] == 2
    (tmp_path / "x.tar.gz").write_text("no archive")
    said, error, status = keep("--restore", str(tmp_path / "x.tar.gz"), "--home", str(tmp_path / "new"))
    assert (said, status) == ("", 1)
    assert "x.tar.gz is damaged, cut short, or no backup" in error
    assert not (tmp_path / "new").exists()


def test_a_repair_asks_and_the_server_starts(start: Start, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    server = start(at=home)
    assert server.login("ann").ask("message", to="bob", text="hello")["status"] == "OK"
    server.kill()
    journal = home / "data" / "journal.txt"
    data = bytearray(journal.read_bytes())
    data[data.index(b"hello")] ^= 1
    data[data.index(b'"action":"login"')] ^= 1
    journal.write_bytes(data)
    status, said = start(at=home, wait=False).ended()
    assert status == 1 and "server.py --verify says what else is damaged" in said
    assert keep("--verify", "--home", str(home))[2] == 1
    said, _, status = keep("--repair", "--home", str(home))
    assert (said.splitlines()[-1], status) == ("Repair it? (yes/no) Nothing was changed.", 1)
    said, _, status = keep("--repair", "--home", str(home), typed="perhaps\nyes\n")
    assert status == 0, said
    assert said.splitlines()[-1] == "All of it is whole now."
    server = start(at=home)
    assert server.login("bob").texts() == ["hello"]
    said, error, status = keep("--repair", "--home", str(home), typed="yes\n")
    assert (status, "uses this home: stop it first" in error) == (1, True)
    server.stop()
