"""The program with a file of settings, in a pseudo-terminal: its start, what calls the person, and every way out."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.client import Client
from tests.client.conftest import ROOT, USERS, Server
from tests.client.programs import Pseudo, Shell, Terminal, environment, log_in, script
from tests.patience import LIMIT

WATCH, UNWATCH = "\x1b[?1004h", "\x1b[?1004l"
BARE = [sys.executable, str(ROOT / "client.py")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "chatlib" / "client.txt"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Callable[..., Pseudo]]:
    """Starts the program with nothing but these flags."""
    opened: list[Pseudo] = []

    def start(*flags: str) -> Pseudo:
        opened.append(Pseudo([*BARE, *flags], tmp_path, controls=False))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def says(server: Server, user: str, *texts: str, to: str = "bob") -> None:
    with Client("127.0.0.1", server.port, timeout=LIMIT) as chat:
        chat.login(user, USERS[user])
        for text in texts:
            chat.message(to, text)


def test_nothing_need_be_typed_but_the_password(server: Server, file: Path, bare: Callable[..., Pseudo]) -> None:
    file.write_text(f"server localhost:{server.port}\nuser bob\nbell maybe\n")
    person = bare()
    person.shows(f'{file}, line 3: bell must be on or off, not "maybe". The line does not count.')
    person.shows("Please enter your password:")
    person.types("bob-password\r")
    person.shows("bob> ")
    person.types("logout\r")
    assert person.ends() == 0


def test_the_command_line_wins(server: Server, file: Path, bare: Callable[..., Pseudo]) -> None:
    file.write_text("server 127.0.0.1 1\nuser ann\n")
    person = bare("127.0.0.1", str(server.port), "--user", "bob")
    person.shows("Please enter your password:")
    person.types("bob-password\r")
    person.shows("bob> ")
    person.types("\x04")
    assert person.ends() == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "no server is named: HOST PORT, or a line such as server 192.168.1.5 1234 in {}"),
     ("bell maybe\nserver x\n", "{}, line 2: server must be an address and a port, such as 192.168.1.5 1234, or"
      " [::1]:1234; or several, such as a:1234,b:1234: the port is missing: x 1234, for example, or x:1234."
      " The line does not count.")],
)  # fmt: skip
def test_no_server_is_named(tmp_path: Path, file: Path, text: str, why: str) -> None:
    file.write_text(text)
    done = subprocess.run(BARE, capture_output=True, text=True, env=environment(tmp_path), timeout=LIMIT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.rstrip().endswith(f"error: {why.format(file)}")


def test_a_script_goes_by_no_settings_but_the_server(server: Server, tmp_path: Path, file: Path) -> None:
    written = f"server 127.0.0.1 {server.port}\nuser ann\nmute carl\nalias w message bob\nbell maybe\n"
    file.write_text(written)
    lines = "bob\nbob-password\nw hi\nlogout\n"
    assert "Unknown command" in script(server, tmp_path, lines)[0]
    done = subprocess.run(
        BARE, input=lines, text=True, capture_output=True, timeout=LIMIT, env=environment(tmp_path)
    )
    assert 'Welcome to the Chatting room user "bob"!' in done.stdout
    assert file.read_text() == written


def test_a_note_for_whoever_is_elsewhere(
    server: Server, file: Path, terminal: Callable[..., Terminal]
) -> None:
    file.write_text("notify on\n")
    person = terminal()
    log_in(person, "bob")
    person.types("\x1b[O")
    with Client("127.0.0.1", server.port, timeout=LIMIT) as chat:
        chat.login("carl", USERS["carl"])
        person.shows('"carl" has just logged in.')  # what was typed before is heard by now, and perhaps not earlier
        chat.message("bob", "have you gone;?\u202e")
    person.shows("\a\x1b]9;carl: have you gone,?\a")
    person.types("\x1b[Inotify off\r")
    person.shows("Set: notify off.")
    person.shows(UNWATCH)
    person.types("logout\r")
    assert person.ends() == 0
    assert person.all.count(WATCH) == person.all.count(UNWATCH) == 1
    assert file.read_text() == "notify off\n"


@pytest.mark.parametrize("way", ["logout\r", "\x04", "\x03", "terminated"])
def test_the_terminal_stops_to_tell_of_its_focus_whichever_way_one_leaves(
    server: Server, file: Path, terminal: Callable[..., Terminal], way: str
) -> None:
    file.write_text("notify on\n")
    person = terminal()
    log_in(person, "bob")
    if way == "terminated":
        person.process.send_signal(signal.SIGTERM)
    else:
        person.types(way)
    assert person.ends() == 0
    assert person.all.rindex(UNWATCH) > person.all.rindex(WATCH)
    assert person.all.count(WATCH) == person.all.count(UNWATCH)


def test_the_terminal_stops_to_tell_of_its_focus_while_the_client_is_stopped(
    server: Server, file: Path, shell: Shell
) -> None:
    file.write_text("notify on\n")
    shell.runs(shell.program(server))
    shell.log_in("bob")
    for times in (1, 2):
        shell.types("\x1a")
        shell.shows("Stopped")
        assert shell.all.count(WATCH) == shell.all.count(UNWATCH) == times
        assert shell.all.rindex(UNWATCH) < shell.all.rindex("Stopped")
        shell.runs("fg")
        shell.invites("bob> ")
        shell.types("whoelse\r")
        shell.shows("Nobody else is online.")
        assert shell.all.count(WATCH) == times + 1
    shell.types("\x03")
    shell.shows(shell.PROMPT)
    assert shell.all.count(WATCH) == shell.all.count(UNWATCH)


def test_who_is_muted_stays_muted_and_is_found_in_the_history(
    server: Server, file: Path, terminal: Callable[..., Terminal]
) -> None:
    first = terminal()
    log_in(first, "bob")
    first.types("mute ann\r")
    first.shows('You no longer see what "ann" says.')
    first.types("logout\r")
    assert first.ends() == 0
    assert file.read_text().endswith("\nmute ann\n")
    says(server, "ann", "while you were away")
    says(server, "carl", "it is me")
    second = terminal()
    log_in(second, "bob")
    says(server, "ann", "and now")
    says(server, "carl", "me again")
    second.shows("carl: me again")
    assert "carl: it is me" in second.all and "while you were away" not in second.all
    assert "and now" not in second.all and "ann" not in second.all.replace("Chatting", "").split("bob> ")[-1]
    second.types("history\r")
    second.shows("ann: while you were away")
    second.shows("ann: and now")
    second.types("logout\r")
    assert second.ends() == 0
    third = terminal()
    log_in(third, "bob")
    third.types("unread\r")
    third.shows("bob> unread")
    third.types("logout\r")
    assert third.ends() == 0
    assert "While you were away" not in third.all, "what was not shown counts as seen"


def test_plain_lines_ring_and_have_no_notes(server: Server, file: Path, terminal: Callable[..., Terminal]) -> None:
    file.write_text("notify on\n")
    person = terminal("--plain")
    log_in(person, "bob")
    says(server, "ann", "hi")
    person.shows("ann: hi")
    person.shows("\a")
    person.types("logout\n")
    assert person.ends() == 0
    assert "\x1b" not in person.all
