"""``--ephemeral``: a server whose home goes at every clean stop, and with nothing but that."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program.peer import PASSWORD, VERIFIER, Program

Start = Callable[..., Program]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the servers make temporary folders."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def begun(start: Start, temporary: Path) -> tuple[Program, Path]:
    """A server that somebody has used, and where it keeps that."""
    server = start("--ephemeral", wait=False)
    said = server.wait_for("The home is ")
    server.listening()
    (folder,) = temporary.iterdir()
    copies = f"copies of credentials.txt and para.txt from {server.home}"
    assert said == f"The home is {folder}, a new one with {copies} in it. A clean stop removes all of it."
    ann = server.login("ann")
    assert ann.ask("message", to="bob", text="for a while")["status"] == "OK"
    assert PASSWORD.encode() not in b"".join(content(folder).values())
    return server, folder


@pytest.mark.parametrize("how", ["stop", "SHT", signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_removes_all_of_it(start: Start, temporary: Path, home: Path, how: str | signal.Signals) -> None:
    with open(home / "credentials.txt", "a") as file:
        file.write(f"admin {VERIFIER}\n")
    before = content(home)
    server, folder = begun(start, temporary)
    if isinstance(how, signal.Signals):
        server.process.send_signal(how)
    elif how == "SHT":
        assert server.login("cid").prove("sht", "admin")["status"] == "OK"
    else:
        server.type(how)
    status, said = server.ended()
    assert (status, said.splitlines()[-1]) == (0, f"{folder} is removed. Goodbye!")
    assert list(temporary.iterdir()) == []
    assert content(home) == before, "the folder that was copied from is as it was"


def test_what_a_crash_leaves_stays_also_when_the_next_one_starts(start: Start, temporary: Path) -> None:
    server, folder = begun(start, temporary)
    server.kill()
    later = start("--ephemeral")
    assert later.stop().endswith("is removed. Goodbye!")
    assert list(temporary.iterdir()) == [folder] and "data/journal.txt" in content(folder)


def test_a_server_that_cannot_start_leaves_nothing(start: Start, temporary: Path, home: Path) -> None:
    (home / "para.txt").write_text("MaxCon many\n")
    status, said = start("--ephemeral", wait=False).ended()
    assert status == 1 and "MaxCon must be a whole number" in said
    assert list(temporary.iterdir()) == []


def test_without_anything_to_copy_it_is_empty(start: Start, temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    server = start("--ephemeral", at=tmp_path / "bare", wait=False)
    assert ", a new one with nothing in it." in server.wait_for("The home is ")
    assert server.listening().stop().endswith("is removed. Goodbye!")
    assert list((tmp_path / "bare").iterdir()) == [] == list(temporary.iterdir())


def test_a_folder_that_is_not_there(start: Start, tmp_path: Path) -> None:
    status, said = start("--ephemeral", at=tmp_path / "nowhere", wait=False).ended()
    wrong = "there is no such folder: make it first, or name another with --home."
    assert (status, said) == (1, f"Error! {tmp_path / 'nowhere'}: {wrong}")
