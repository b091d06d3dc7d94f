"""``--set-admin-password``: asked for twice, kept as a verifier, and nothing else in the home is touched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import server as program
from chatlib.protocol.scram import parse_verifier
from tests.client.programs import Pseudo
from tests.program.peer import ITERATIONS, PASSWORD, ROOT, Program

Start = Callable[..., Program]
UNCHANGED = "The administrator's password stays as it was."


def words(home: Path) -> list[str]:
    return [sys.executable, str(ROOT / "server.py"), "--set-admin-password", "--home", str(home)]


def set_password(home: Path, *lines: str) -> tuple[int, str]:
    """Typed into a pipe; the exit status, and all that is said."""
    typed = "".join(line + "\n" for line in lines)
    done = subprocess.run(words(home), input=typed, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def lines(home: Path) -> dict[str, str]:
    text = (home / "credentials.txt").read_text()
    return {name: verifier for name, verifier in (line.split(" ", 1) for line in text.splitlines())}


def test_it_becomes_a_line_of_credentials(home: Path, start: Start) -> None:
    before = lines(home)
    assert set_password(home, "topsecret", "topsecret") == (0, "Set. It holds from the server's next start.\n")
    after = lines(home)
    verifier = parse_verifier(after.pop("admin"))
    assert after == before and verifier.iterations == ITERATIONS, "what para.txt says"
    assert not any(b"topsecret" in path.read_bytes() for path in home.rglob("*") if path.is_file())
    server = start()
    assert server.greet().prove("admin", "admin", "topsecret")["status"] == "OK"
    server.stop()
    assert lines(home)["admin"] == str(verifier)


def test_beside_a_running_server_it_holds_after_a_reload(home: Path, start: Start) -> None:
    server = start()
    assert server.greet().prove("admin", "admin")["status"] == "NO_ADMIN"
    said = 'Set. A server runs here: type "reload" at its console, then it holds.\n'
    assert set_password(home, "topsecret", "topsecret") == (0, said)
    server.type("reload")
    server.wait_for("Reloaded: the administrator's password was set.")
    assert server.greet().prove("admin", "admin", "topsecret")["status"] == "OK"
    assert server.login("ann", PASSWORD)


def test_a_later_one_takes_its_place(home: Path) -> None:
    assert set_password(home, "first", "first")[0] == set_password(home, "second", "second")[0] == 0
    assert (home / "credentials.txt").read_text().count("admin ") == 1


@pytest.mark.parametrize("typed, why", [
    (("one", "two"), f"Error! The two passwords differ. {UNCHANGED}\n"),
    (("",), f"Error! {UNCHANGED}\n"),
    ((), f"Error! {UNCHANGED}\n"),
    (("one",), f"Error! {UNCHANGED}\n"),
    (("a\x07b", "a\x07b"), "Error! The password holds a character that no keyboard should send"
     f" (a control character, say). {UNCHANGED}\n"),
])  # fmt: skip
def test_what_is_no_password_changes_nothing(home: Path, typed: tuple[str, ...], why: str) -> None:
    before = (home / "credentials.txt").read_bytes()
    assert set_password(home, *typed) == (1, why)
    assert (home / "credentials.txt").read_bytes() == before


def test_an_ordinary_user_of_an_earlier_version_keeps_the_name(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "users.txt").write_text("# users.txt 2: ...\nann v 1 0.0 null\nAdmin v 1 0.0 null\n")
    said = f'Error! Here "admin" is an ordinary user. Remove that user first. {UNCHANGED}\n'
    assert set_password(home, "topsecret", "topsecret") == (1, said)


def test_at_a_terminal_nothing_of_it_is_shown(home: Path, tmp_path: Path) -> None:
    terminal = Pseudo(words(home), tmp_path, controls=True)
    try:
        terminal.shows("The administrator's new password: ")
        terminal.types("topsecret\n")
        terminal.shows("The same again: ")
        terminal.types("topsecret\n")
        terminal.shows("Set. It holds from the server's next start.")
        assert terminal.ends() == 0
        assert "topsecret" not in terminal.all
    finally:
        terminal.close()


def test_ctrl_c_leaves_it(home: Path, tmp_path: Path) -> None:
    before = (home / "credentials.txt").read_bytes()
    terminal = Pseudo(words(home), tmp_path, controls=True)
    try:
        terminal.shows("The administrator's new password: ")
        terminal.types("\x03")
        terminal.shows(f"Error! {UNCHANGED}")
        assert terminal.ends() == 1 and (home / "credentials.txt").read_bytes() == before
    finally:
        terminal.close()


@pytest.mark.parametrize("flags", [["1234", "--set-admin-password"], ["--set-admin-password", "--ephemeral"], []])
def test_flags_that_do_not_go_together(flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        program.main(flags)
    assert ended.value.code == 2 and list(tmp_path.iterdir()) == []
