"""What the administrator's password does in the client: SHT stops the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.conftest import Server
from tests.client.programs import Terminal, script

PASSWORD = "the keeper's own"
ASKED = "Please enter the administrator's password:"
NOT_SET = "Error! No administrator's password is set. Where the server runs: python server.py --set-admin-password"


@pytest.fixture
def kept(server: Server) -> Server:
    """A server with an administrator's password."""
    server.stop()
    with open(server.home / "credentials.txt", "a") as file:
        file.write(f"admin {PASSWORD}\n")
    server.start()
    return server


# SHT.


@pytest.mark.parametrize("word", ["SHT", "sht"])
def test_sht_stops_the_server(kept: Server, terminal: Callable[..., Terminal], word: str) -> None:
    ann, bob = terminal(), terminal()
    ann.log_in("ann")
    bob.log_in("bob")
    ann.types(f"{word}\r")
    ann.shows(ASKED)
    ann.types("wrong\r")
    ann.shows("Error! Wrong password: 2 tries are left.")
    ann.types(f"{word}\r")
    ann.shows(ASKED)
    ann.types(PASSWORD + "\r")
    ann.shows("The server stops.")
    for each in (ann, bob):
        each.shows('System(broadcast): "ann" stops the server from 127.0.0.1.')
    assert ann.ends() == 0
    bob.shows("The server is shutting down. Trying to come back; what you type is sent then.")
    bob.types("\x03")
    assert bob.ends() == 0
    assert PASSWORD not in ann.all
    kept.process.wait()
    assert kept.process.returncode == 0


@pytest.mark.parametrize("way", ["\r", "\x03", "half\x03"])
def test_the_question_can_be_left(kept: Server, terminal: Callable[..., Terminal], way: str) -> None:
    ann = terminal()
    ann.log_in("ann")
    ann.types("SHT\r")
    ann.shows(ASKED)
    ann.types(way)
    ann.shows("The server goes on.")
    ann.types("whoelse\r")
    ann.shows("Nobody else is online.")
    ann.types("\x04")
    assert ann.ends() == 0


def test_a_server_that_goes_while_the_password_is_asked_for(kept: Server, terminal: Callable[..., Terminal]) -> None:
    ann = terminal()
    ann.log_in("ann")
    ann.types("SHT\r")
    ann.shows(ASKED)
    kept.stop()
    ann.shows("Error! The connection was lost before the server had answered.")
    ann.types("SHT\r")
    ann.shows("Error! There is no connection now.")
    kept.start()
    ann.shows("You are back online.")
    ann.types("SHT\r")
    ann.shows(ASKED)
    ann.types(PASSWORD + "\r")
    ann.shows("The server stops.")
    assert ann.ends() == 0


def test_sht_in_a_script(kept: Server, tmp_path: Path) -> None:
    said, status = script(kept, tmp_path, f"ann\nann-password\nSHT\nwrong\nSHT\n{PASSWORD}\n")
    assert status == 1 and said.splitlines()[-1] == "Error! Wrong password: 2 tries are left."
    said, status = script(kept, tmp_path, f"ann\nann-password\nSHT\n{PASSWORD}\n", "--no-reconnect")
    stops = 'System(broadcast): "ann" stops the server from 127.0.0.1.'
    assert (status, said.splitlines()[-3:]) == (0, [ASKED, "The server stops.", stops])
    kept.process.wait()


def test_without_a_password_the_server_says_how_to_set_one(server: Server, tmp_path: Path) -> None:
    said, status = script(server, tmp_path, "ann\nann-password\nSHT\n")
    assert (said.splitlines()[-1], status) == (NOT_SET, 1)
