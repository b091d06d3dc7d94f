"""Who calls, one's sessions and one's settings, in windows of four widths: each thing once, whole, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.client import Client
from tests.client.conftest import USERS, Server
from tests.client.programs import Terminal
from tests.client.test_saying_program import said
from tests.client.test_words_program import WIDTHS, Glass
from tests.patience import LIMIT


@pytest.fixture
def server(house: Callable[..., Server]) -> Server:
    return house(DUPLICATE_LOGIN="share")


@pytest.fixture
def bob(server: Server, tmp_path: Path, columns: int) -> Iterator[Glass]:
    program = Terminal(server.port, tmp_path, "--user", "bob", columns=columns)
    glass = Glass(program, columns)
    glass.shows("enter your password:")
    program.types("bob-password\r")
    glass.ends_with("bob> ")
    yield glass
    program.close()


def come(server: Server, user: str) -> Client:
    client = Client("127.0.0.1", server.port, timeout=LIMIT)
    client.login(user, USERS[user])
    return client


def begun(glass: Glass) -> int:
    """How often the bell has rung."""
    _ = glass.lines
    return glass.program.all.count("\a")


@WIDTHS
def test_who_comes_who_calls_and_who_is_muted(server: Server, bob: Glass, columns: int) -> None:
    with come(server, "ann") as ann, come(server, "carl") as carl:
        bob.shows("logged in")
        rung = begun(bob)
        bob.program.types("mute ann\r")
        bob.shows('You no longer see what "ann" says. It is kept: history finds it, and "unmute ann" ends this.')
        ann.message("bob", "nobody sees this")
        carl.broadcast("no name is in this")
        carl.broadcast("but it is in this, Bob")
        bob.shows("but it is in this, Bob bob> ")
        assert begun(bob) == rung + 1
        bob.program.types("presence off\rbell off\r")
        bob.shows("presence off")
        bob.shows("bell off")
        carl.message("bob", "quietly")
        bob.shows("carl: quietly bob> ")
        assert begun(bob) == rung + 1
        assert "nobody sees" not in said(bob)
    with come(server, "ann") as ann:
        ann.broadcast("still muted")
    bob.program.types("unmute ann\rhistory ann\r")
    bob.shows("ann: nobody sees this bob> ")
    assert said(bob).count("logged in.") == 1, "of those who came before presence was off"
    bob.program.types("\x04")
    assert bob.program.ends() == 0


@WIDTHS
def test_a_laptop_and_a_desk(server: Server, bob: Glass, columns: int) -> None:
    with come(server, "bob") as desk:
        desk.message("ann", "from the desk")
        bob.shows("→ ann: from the desk bob> ")
        bob.program.types("message ann from the laptop\r")
        bob.shows("→ ann: from the laptop")
        event = desk.next_event(LIMIT)
        assert event and (event["event"], event["text"]) == ("sent", "from the laptop")
        bob.program.types("sessions\r")
        bob.shows("2 from 127.0.0.1 bob> ")
        assert "1 from 127.0.0.1 (this one)" in said(bob)
        bob.program.types("logout 2\r")
        bob.shows("Session 2 has ended. bob> ")
    assert said(bob).count("from the desk") == said(bob).count("→ ann: from the laptop") == 1
    bob.program.types("\x04")
    assert bob.program.ends() == 0


@WIDTHS
def test_settings(server: Server, bob: Glass, columns: int) -> None:
    bob.program.types("set bell maybe\r")
    bob.shows('Error! bell must be on or off, not "maybe". bob> ')
    bob.program.types("set alias hi message ann\rhi hello there\r")
    bob.shows('"hi" stands for "message ann" now.')
    bob.shows("→ ann: hello there")
    bob.shows("has stored your message. bob> ")
    bob.program.types("set\r")
    bob.shows("They are kept in ")
    bob.shows("alias hi message ann another word for a command; a line for each")
    bob.program.types("unset alias hi\r")
    bob.shows('There is no alias "hi" any more. bob> ')
    bob.program.types("\x04")
    assert bob.program.ends() == 0
