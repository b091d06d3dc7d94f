"""Backups of a server under load, by a second process: everything acknowledged before is in each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.chance import new_chance
from tests.client.programs import ROOT
from tests.program.peer import Program, make_home, take_some
from tests.program.test_crash import USERS, Sender

Start = Callable[..., Program]


def keep(*flags: str) -> tuple[str, str, int]:
    """What server.py says with these flags, and its exit status."""
    command = [sys.executable, str(ROOT / "server.py"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout, done.stderr, done.returncode


def test_backups_under_load_while_saves_come_in_between(start: Start, tmp_path: Path) -> None:
    chance = new_chance()
    home = make_home(tmp_path / "load", USERS, JOURNAL_LIMIT="64 KiB")
    server = start(at=home)
    senders = [Sender(user) for user in USERS]
    for sender in senders:
        sender.peer = server.login(sender.user)
    backups: list[tuple[Path, set[str]]] = []
    for number in range(3):
        for sender in senders:
            sender.send(200, chance)
        take_some(senders, 300)
        before = set().union(*(sender.acknowledged for sender in senders))
        backups.append((tmp_path / f"{number}.tar.gz", before))
        _, error, status = keep("--home", str(home), "--backup", str(backups[-1][0]))
        assert status == 0, error
        for sender in senders:
            sender.take(sender.open)
    said, _, status = keep("--home", str(home), "--verify")
    assert status == 0, said
    assert f"A server (process {server.process.pid}) uses it" in said
    server.kill()
    for file, acknowledged in backups:
        again = tmp_path / file.stem
        said, error, status = keep("--restore", str(file), "--home", str(again))
        assert status == 0, said + error
        server = start(at=again)
        for user in USERS:
            reader = server.login(user)
            texts = reader.texts()
            assert len(texts) == len(set(texts))
            assert {text for text in acknowledged if text.split("-")[1] == user} <= set(texts)
            reader.reset()
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
